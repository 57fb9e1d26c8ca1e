/* tests/sim/store.c - a node's store: memory, or LMDB on a simulated disk. */
#include <stdio.h>

#include "raft/base/err.h"
#include "tests/lib/fault_io.h"
#include "tests/lib/mem_store.h"
#include "tests/lib/store_dir.h"
#include "tests/sim/sim.h"
#include "tests/sim/store_lmdb.h"

enum {
    STORE_BRIM_BYTES = 16 * 1024 * 1024, /* More than the reserve gives back. */
};

int store_make(struct sim *s, uint32_t id, char *text, size_t text_bytes)
{
    struct sim_node *n = &s->nodes[id];
    uint64_t incarnation = prng_next(&s->prng) | 1;
    char dir[STORE_DIR_BYTES + 16];

    if (!s->swarm.lmdb) {
        return mem_store_new(incarnation, &n->disk);
    }
    if (s->dir[0] == '\0') {
        store_dir_make_fast(s->dir);
    }
    snprintf(dir, sizeof dir, "%s/n%u", s->dir, id);
    return store_lmdb_new(dir, incarnation, s->seed * SIM_NODES_MAX + id, &s->counts,
                          &n->lmdb, text, text_bytes);
}

void store_free_all(struct sim *s)
{
    for (uint32_t i = 1; i <= SIM_NODES_MAX; i++) {
        if (s->nodes[i].disk != NULL) {
            mem_store_free(s->nodes[i].disk);
        }
        store_lmdb_free(s->nodes[i].lmdb);
    }
    if (s->dir[0] != '\0' && s->swarm.keep) {
        printf("seed %llu: data directories are in %s\n", (unsigned long long)s->seed,
               s->dir);
    } else if (s->dir[0] != '\0') {
        store_dir_remove(s->dir);
    }
}

struct store *store_of(struct sim_node *n)
{
    return n->lmdb != NULL ? store_lmdb_base(n->lmdb) : mem_store_base(n->disk);
}

void store_fail_write(struct sim_node *n)
{
    struct sim *s = n->sim;

    if (n->lmdb != NULL) {
        store_lmdb_fail(n->lmdb, faults_draw_between(s, 1, 30));
    } else {
        mem_store_fail(n->disk, faults_draw_between(s, 1, 4), KV_EIO, faults_coin(s));
    }
}

void store_full(struct sim_node *n, bool full)
{
    if (n->lmdb != NULL) {
        store_lmdb_space(n->lmdb, full ? 0 : FAULT_IO_ENDLESS);
    } else {
        mem_store_full(n->disk, full);
    }
}

void store_full_to_the_brim(struct sim_node *n)
{
    if (n->lmdb != NULL) {
        store_lmdb_space(n->lmdb, -STORE_BRIM_BYTES);
    } else {
        mem_store_full_to_the_brim(n->disk);
    }
}

void store_run(struct sim_node *n, struct disk_job *job)
{
    if (n->lmdb != NULL) {
        store_lmdb_run(n->lmdb, job);
    } else {
        disk_job_run(job);
    }
}

/* The newest of the commits that are not synced never happened. A job that made one
 * commit was drawn to be done; usually there are no others. */
static void lose_unsynced(struct sim_node *n, uint32_t log_before)
{
    uint32_t log = mem_store_pending(n->disk, MEM_LOG);
    uint32_t state = mem_store_pending(n->disk, MEM_STATE);

    log = log > 1 || log_before > 0 ? (uint32_t)prng_below(&n->prng, log + 1) : 0;
    state = state > 1 ? (uint32_t)prng_below(&n->prng, state + 1) : 0;
    mem_store_crash(n->disk, log, state);
}

void store_crash_begin(struct sim_node *n)
{
    struct sim *s = n->sim;
    uint32_t log_before;

    if (n->lmdb != NULL) {
        store_lmdb_stop(n->lmdb, n->running);
        return;
    }
    log_before = mem_store_pending(n->disk, MEM_LOG);
    mem_store_hold(n->disk, true);
    for (int lane = 0; lane < DISK_LANES_COUNT; lane++) {
        /* What the disk was at may have happened or not. */
        if (n->running[lane] != NULL && prng_below(&n->prng, 2) == 0) {
            disk_job_run(n->running[lane]);
        } else if (n->running[lane] != NULL) {
            s->counts.jobs_lost++;
        }
    }
    lose_unsynced(n, log_before);
}

void store_crash_end(struct sim_node *n)
{
    char text[256] = "";
    int rc;

    if (n->lmdb == NULL) {
        return;
    }
    rc = store_lmdb_start(n->lmdb, text, sizeof text);
    if (rc != 0) {
        sim_fail(n->sim, "node %u: its store does not open after a crash: %s %s", n->id,
                 kv_err_name(rc), text);
    }
}

int store_start(struct sim_node *n, char *text, size_t text_bytes)
{
#ifdef KV_MUTANTS
    store_of(n)->bug = n->sim->swarm.bug;
#endif
    if (n->disk != NULL) {
        return mem_store_reopen(n->disk);
    }
    if (!store_lmdb_is_open(n->lmdb)) {
        snprintf(text, text_bytes, "the store did not open");
        return KV_EIO;
    }
    return 0;
}
