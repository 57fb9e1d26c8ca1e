/* tests/lib/raft_cluster.c - carries out updates, in the order that raft.h demands. */
#include "tests/lib/raft_cluster.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "raft/base/err.h"
#include "raft/quorum.h"
#include "raft/record.h"
#include "raft/trace.h"
#include "tests/lib/bug.h"

static const uint8_t chunk_bytes[64 * 1024];

/* ---- trace ---- */

KV_PRINTF(2, 3)
static void trace(struct raft_cluster *c, const char *format, ...)
{
    char line[1024];
    va_list args;

    if (c->trace == NULL) {
        return;
    }
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    c->trace(c->trace_ctx, line);
}

/* ---- life ---- */

struct raft_cluster *raft_cluster_new(uint64_t seed)
{
    struct raft_cluster *c = kv_mem_zalloc(sizeof *c);

    KV_ASSERT(c != NULL);
    arena_init(&c->arena, 1 << 20, 0);
    c->judge = kv_mem_zalloc(sizeof *c->judge);
    KV_ASSERT(c->judge != NULL);
    c->seed = seed;
    c->now_ms = 1000;
    c->auto_snapshot = true;
    c->auto_apply = true;
    return c;
}

void raft_cluster_free(struct raft_cluster *c)
{
    for (raft_id id = 1; id <= RAFT_CLUSTER_NODES_MAX; id++) {
        kv_mem_free(c->nodes[id].mem);
    }
    arena_close(&c->arena);
    kv_mem_free(c->judge);
    kv_mem_free(c);
}

struct raft_cluster_node *raft_cluster_make(struct raft_cluster *c, raft_id id,
                                            const struct raft_config *config)
{
    struct raft_cluster_node *n = &c->nodes[id];

    KV_ASSERT(id >= 1 && id <= RAFT_CLUSTER_NODES_MAX && !n->made);
    n->id = id;
    n->made = true;
    raft_disk_init(&n->disk, &c->arena);
    n->disk.config = *config;
    raft_options_init(&n->options, id, c->seed * 31 + id);
    n->options.window = 64;
    n->options.flight_messages_max = 4;
    n->options.append_entries_max = 8;
    n->options.snapshot_chunk_bytes = 40;
    n->options.snapshot_flight_max = 2;
#ifdef KV_MUTANTS
    n->options.bug = bug_find(getenv("KV_BUG"));
#endif
    return n;
}

void raft_cluster_start(struct raft_cluster *c, raft_id id)
{
    struct raft_cluster_node *n = &c->nodes[id];
    struct raft_disk *d = &n->disk;
    const struct raft_restore found = {
        .term = d->term,
        .vote = d->vote,
        .base = d->log.base,
        .last = d->log.last,
        .applied = d->applied,
        .impaired = d->damaged > d->applied,
        .commit_hint = d->commit_hint,
        .config = d->config,
        .config_index = d->config_index,
    };
    struct raft_log_reader reader = raft_disk_reader(d);
    struct raft_status s;
    int rc;

    KV_ASSERT(n->made && !n->up);
    if (n->mem == NULL) {
        n->mem = kv_mem_zalloc(raft_bytes(&n->options));
        KV_ASSERT(n->mem != NULL);
    }
    n->options.seed = n->options.seed * 7 + 1;
    rc = raft_init(n->mem, &n->options, &found, &reader, raft_cluster_now_ms(c, id),
                   &n->raft);
    KV_ASSERT(rc == 0);
    n->up = true;
    raft_disk_log_copy(&n->view, &c->arena, &d->log);
    raft_status_get(n->raft, &s);
    n->applied = d->applied;
    n->lost = false;
    n->commit = s.commit;
    (void)raft_judge_commit(c->judge, &n->view, 0, n->commit);
    n->role = s.role;
    n->leader = 0;
    n->term = s.term;
    n->snapshot_wanted = false;
    (void)raft_cluster_tick(c, id);
}

void raft_cluster_crash(struct raft_cluster *c, raft_id id, uint32_t keep)
{
    struct raft_cluster_node *n = &c->nodes[id];

    KV_ASSERT(n->up);
    for (uint32_t i = 0; i < keep && n->disk.jobs_count > 0; i++) {
        (void)raft_disk_finish(&n->disk);
    }
    n->disk.jobs_count = 0;
    n->up = false;
    n->raft = NULL;
    for (uint32_t i = 0; i < c->reads_count; i++) {
        if (c->reads[i].node == id) {
            c->reads[i].done = true; /* Whoever asked hears nothing. */
        }
    }
}

/* ---- carrying out an update ---- */

static void do_store(struct raft_cluster *c, struct raft_cluster_node *n,
                     const struct raft_update *up)
{
    struct raft_disk_job job = {.kind = RAFT_DISK_STORE,
                                .term = up->term,
                                .vote = up->vote,
                                .commit = up->commit,
                                .entries_count = up->entries_count};

    if (!up->store_hard && up->entries_count == 0) {
        return;
    }
    if (up->store_hard) {
        trace(c, "  %u store term=%lu vote=%u", n->id, up->term, up->vote);
    }
    if (up->entries_count > 0) {
        const struct raft_entry *last = &up->entries[up->entries_count - 1];

        trace(c, "  %u store %lu/%lu..%lu/%lu", n->id, up->entries[0].pos.index,
              up->entries[0].pos.term, last->pos.index, last->pos.term);
        c->truncations += up->entries[0].pos.index <= n->view.last;
        raft_judge_store(c->judge, &n->view, up->entries[0].pos.index);
        job.entries = raft_disk_entries_copy(&c->arena, up->entries, up->entries_count);
        raft_disk_log_put(&n->view, &c->arena, job.entries, job.entries_count);
        for (uint32_t i = 0; i < job.entries_count; i++) {
            const struct raft_entry *e = &job.entries[i];
            const struct raft_entry *before =
                raft_disk_log_get(&n->view, e->pos.index - 1);

            KV_ASSERT(before == NULL || before->time_ms <= e->time_ms);
            raft_judge_entry(c->judge, e);
        }
    }
    raft_disk_queue(&n->disk, &job);
}

static void do_message(struct raft_cluster *c, struct raft_cluster_node *n,
                       const struct raft_msg *m)
{
    struct raft_cluster_msg *q;
    char text[RAFT_TRACE_BYTES];

    raft_judge_message(c->judge, m, &n->disk);
    raft_trace_msg(m, text, sizeof text);
    trace(c, "  %s", text);
    if (c->queue_count == RAFT_CLUSTER_QUEUE_MAX) {
        return;
    }
    q = &c->queue[c->queue_count++];
    q->m = *m;
    q->number = ++c->messages_sent;
    if (m->type == RAFT_MSG_APPEND && m->entries_count > 0) {
        const struct raft_entry *first = raft_disk_log_get(&n->view, m->prev.index + 1);

        KV_ASSERT(first != NULL && m->prev.index + m->entries_count <= n->view.last);
        q->m.entries = raft_disk_entries_copy(&c->arena, first, m->entries_count);
    }
    if (m->type == RAFT_MSG_SNAPSHOT) {
        q->m.chunk.data = kv_bytes(chunk_bytes, m->chunk.len);
    }
}

/* Enough voters of a half have the entry on disk. Counts for itself: it must not
 * share a mistake with raft/quorum.c. */
static bool durable_on(const struct raft_cluster *c, const raft_id *voters,
                       uint32_t count, uint32_t w, raft_index index)
{
    uint32_t need = w;
    uint32_t durable = 0;

    while (w == 0 && 2 * need <= count) {
        need++;
    }
    for (uint32_t i = 0; i < count; i++) {
        durable += raft_disk_log_has(&c->nodes[voters[i]].disk.log, index,
                                     c->judge->committed[index]);
    }
    return durable >= need;
}

static struct raft_pos log_last(const struct raft_disk_log *log)
{
    const struct raft_entry *e = raft_disk_log_get(log, log->last);

    return e == NULL ? log->base.pos : e->pos;
}

/* Voters of a half that would vote for `n`, going by what is on their disks. */
static uint32_t voters_for(const struct raft_cluster *c,
                           const struct raft_cluster_node *n, const raft_id *voters,
                           uint32_t count)
{
    struct raft_pos last = log_last(&n->view);
    uint32_t votes = 0;

    for (uint32_t i = 0; i < count; i++) {
        struct raft_pos theirs = log_last(&c->nodes[voters[i]].disk.log);

        votes += voters[i] == n->id || last.term > theirs.term ||
                 (last.term == theirs.term && last.index >= theirs.index);
    }
    return votes;
}

/* 4: nobody without the entry that was committed just now could be elected (§5.4.1). */
static void check_elections(const struct raft_cluster *c, raft_index index)
{
    for (raft_id id = 1; id <= RAFT_CLUSTER_NODES_MAX; id++) {
        const struct raft_cluster_node *n = &c->nodes[id];
        const struct raft_config *config;

        if (!n->up || n->view.base.pos.index >= index ||
            raft_disk_log_has(&n->view, index, c->judge->committed[index])) {
            continue;
        }
        config = raft_config_get(n->raft, NULL);
        if (!raft_quorum_votes(config, id)) {
            continue;
        }
        KV_ASSERT(2 * voters_for(c, n, config->voters, config->voters_count) <=
                      config->voters_count ||
                  (config->voters_old_count > 0 &&
                   2 * voters_for(c, n, config->voters_old, config->voters_old_count) <=
                       config->voters_old_count));
    }
}

static void do_commit(struct raft_cluster *c, struct raft_cluster_node *n,
                      raft_index to)
{
    const struct raft_config *config = raft_config_get(n->raft, NULL);
    raft_index from = n->commit;

    KV_ASSERT(to >= from);
    if (to == from) {
        return;
    }
    trace(c, "  %u commit %lu", n->id, to);
    n->commit = to;
    if (!raft_judge_commit(c->judge, &n->view, from, to) || c->judge->forgiving) {
        return;
    }
    /* 8, 9: what is committed is on the disks of a write quorum of each half. The
     * configuration is the one that counted, or the final one right behind it. */
    KV_ASSERT(durable_on(c, config->voters, config->voters_count, config->w, to));
    KV_ASSERT(
        config->voters_old_count == 0 ||
        durable_on(c, config->voters_old, config->voters_old_count, config->w_old, to));
    check_elections(c, to);
}

static void do_reads(struct raft_cluster *c, struct raft_cluster_node *n,
                     const struct raft_update *up)
{
    for (uint32_t i = 0; i < up->reads_count; i++) {
        const struct raft_read *answer = &up->reads[i];
        struct raft_cluster_read *read = &c->reads[answer->tag - 1];

        KV_ASSERT(answer->tag >= 1 && answer->tag <= c->reads_count && !read->done);
        read->done = true;
        read->ok = answer->error == 0;
        read->index = answer->index;
        if (read->ok) {
            trace(c, "  %u read %lu index=%lu", n->id, answer->tag, answer->index);
            /* 11: it sees everything that anybody knew committed when it was asked. */
            KV_ASSERT(answer->index >= read->commit_max || c->judge->forgiving);
            /* A majority confirmed that it leads after it was asked: none had left. */
            KV_ASSERT(n->term >= read->leader_max || c->judge->forgiving);
            KV_ASSERT(answer->index <= n->commit);
        } else {
            trace(c, "  %u read %lu %s", n->id, answer->tag,
                  kv_err_name(answer->error));
        }
    }
}

static void do_snapshot(struct raft_cluster *c, struct raft_cluster_node *n,
                        const struct raft_update *up)
{
    if (up->snapshot_wanted && !n->snapshot_wanted) {
        trace(c, "  %u wants a snapshot", n->id);
    }
    n->snapshot_wanted = up->snapshot_wanted;
    if (up->chunk_store != NULL) {
        trace(c, "  %u store chunk id=%lu offset=%lu len=%u", n->id,
              up->chunk_store->snapshot_id, up->chunk_store->offset,
              up->chunk_store->len);
        raft_disk_queue(&n->disk,
                        &(struct raft_disk_job){
                            .kind = RAFT_DISK_CHUNK,
                            .snapshot_id = up->chunk_store->snapshot_id,
                            .offset = up->chunk_store->offset + up->chunk_store->len,
                        });
    }
    if (up->install != NULL) {
        trace(c, "  %u install snapshot id=%lu last=%lu/%lu", n->id, up->install->id,
              up->install->last.pos.index, up->install->last.pos.term);
        raft_disk_queue(&n->disk, &(struct raft_disk_job){.kind = RAFT_DISK_INSTALL,
                                                          .snapshot = *up->install});
    }
}

static void do_role(struct raft_cluster *c, struct raft_cluster_node *n,
                    const struct raft_update *up)
{
    KV_ASSERT(up->term >= n->term);
    KV_ASSERT(up->role_changed ==
              (up->role != n->role || up->leader != n->leader || up->term != n->term));
    if (up->role != n->role || (up->role == RAFT_CANDIDATE && up->term != n->term)) {
        trace(c, "  %u %s -> %s term=%lu", n->id, raft_trace_role(n->role),
              raft_trace_role(up->role), up->term);
    } else if (up->role_changed) {
        trace(c, "  %u %s term=%lu leader=%u", n->id, raft_trace_role(up->role),
              up->term, up->leader);
    }
    if (up->role == RAFT_LEADER && (n->role != RAFT_LEADER || n->term != up->term)) {
        raft_judge_leader(c->judge, n->id, up->term, &n->view);
    }
    n->role = up->role;
    n->leader = up->leader;
    n->term = up->term;
    n->deadline_ms = up->deadline_ms;
}

static void do_config(struct raft_cluster *c, struct raft_cluster_node *n)
{
    char text[RAFT_TRACE_BYTES];
    raft_index index;
    const struct raft_config *config = raft_config_get(n->raft, &index);

    c->configs++;
    raft_trace_config(config, text, sizeof text);
    trace(c, "  %u config %lu: %s", n->id, index, text);
}

static void apply(struct raft_cluster *c, struct raft_cluster_node *n)
{
    struct raft_event ev = {.kind = RAFT_EV_APPLIED, .u.index = n->commit};

    if (n->applied < n->commit && n->up) {
        n->applied = n->commit;
        (void)raft_cluster_step(c, n->id, &ev);
    }
}

int raft_cluster_step(struct raft_cluster *c, raft_id id, struct raft_event *ev)
{
    struct raft_cluster_node *n = &c->nodes[id];
    struct raft_update up;
    int rc;

    KV_ASSERT(n->up);
    ev->now_ms = raft_cluster_now_ms(c, id);
    ev->wall_ms = 1000000 + ev->now_ms;
    c->steps++;
    rc = raft_step(n->raft, ev, &up);
    if (rc != 0) {
        trace(c, "  %u error %s", id, kv_err_name(rc));
    }
    do_role(c, n, &up);
    do_store(c, n, &up);
    if (up.config_changed) {
        do_config(c, n);
    }
    for (uint32_t i = 0; i < up.messages_count; i++) {
        do_message(c, n, &up.messages[i]);
    }
    do_commit(c, n, up.commit);
    do_reads(c, n, &up);
    do_snapshot(c, n, &up);
    if (n->snapshot_wanted && c->auto_snapshot) {
        n->snapshot_wanted = false;
        raft_cluster_snapshot(c, id, 0);
    }
    if (c->auto_apply) {
        apply(c, n);
    }
    return rc;
}

/* ---- events ---- */

int raft_cluster_tick(struct raft_cluster *c, raft_id id)
{
    struct raft_event ev = {.kind = RAFT_EV_TICK};

    return raft_cluster_step(c, id, &ev);
}

int raft_cluster_propose(struct raft_cluster *c, raft_id id, uint32_t count)
{
    struct raft_proposal items[RAFT_PROPOSALS_MAX];
    uint64_t numbers[RAFT_PROPOSALS_MAX];
    struct raft_event ev = {.kind = RAFT_EV_PROPOSE};

    KV_ASSERT(count >= 1 && count <= RAFT_PROPOSALS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        numbers[i] = ++c->commands_made;
        items[i] = (struct raft_proposal){.payload = kv_bytes(&numbers[i], 8)};
    }
    ev.u.propose.items = items;
    ev.u.propose.count = count;
    return raft_cluster_step(c, id, &ev);
}

int raft_cluster_propose_bytes(struct raft_cluster *c, raft_id id, uint32_t bytes)
{
    struct raft_proposal item = {.payload = kv_bytes(chunk_bytes, bytes)};
    struct raft_event ev = {.kind = RAFT_EV_PROPOSE};

    KV_ASSERT(bytes <= sizeof chunk_bytes);
    ev.u.propose.items = &item;
    ev.u.propose.count = 1;
    return raft_cluster_step(c, id, &ev);
}

int raft_cluster_propose_config(struct raft_cluster *c, raft_id id,
                                const struct raft_config *config)
{
    struct raft_event ev = {.kind = RAFT_EV_PROPOSE_CONFIG, .u.config = config};

    return raft_cluster_step(c, id, &ev);
}

int raft_cluster_read(struct raft_cluster *c, raft_id id)
{
    struct raft_event ev = {.kind = RAFT_EV_READ};
    int rc;

    if (c->reads_count == RAFT_CLUSTER_READS_MAX) {
        return KV_EBUSY;
    }
    c->reads[c->reads_count++] =
        (struct raft_cluster_read){.node = id,
                                   .commit_max = c->judge->commit_max,
                                   .leader_max = c->judge->leader_max};
    ev.u.read_tag = c->reads_count;
    rc = raft_cluster_step(c, id, &ev);
    if (rc != 0) {
        c->reads[ev.u.read_tag - 1].done = true;
    }
    return rc;
}

int raft_cluster_transfer(struct raft_cluster *c, raft_id id, raft_id to)
{
    struct raft_event ev = {.kind = RAFT_EV_TRANSFER, .u.peer = to};

    return raft_cluster_step(c, id, &ev);
}

/* Feeds the completion of jobs that were finished. */
static void report(struct raft_cluster *c, struct raft_cluster_node *n,
                   const struct raft_disk_job *job, struct raft_pos last)
{
    struct raft_event ev = {.kind = RAFT_EV_PERSISTED};

    switch (job->kind) {
    case RAFT_DISK_STORE:
        ev.u.persisted =
            (struct raft_persisted){.term = job->term, .vote = job->vote, .last = last};
        break;
    case RAFT_DISK_CHUNK:
        ev.kind = RAFT_EV_SNAPSHOT_STORED;
        ev.u.stored.snapshot_id = job->snapshot_id;
        ev.u.stored.offset = job->offset;
        break;
    case RAFT_DISK_INSTALL:
        ev.kind = RAFT_EV_SNAPSHOT_INSTALLED;
        ev.u.snapshot = &job->snapshot;
        c->installs++;
        raft_disk_log_install(&n->view, &job->snapshot.last);
        n->applied = job->snapshot.last.pos.index;
        n->lost = false;
        break;
    }
    (void)raft_cluster_step(c, n->id, &ev);
}

static struct raft_pos job_last(const struct raft_disk_job *job, struct raft_pos before)
{
    return job->entries_count > 0 ? job->entries[job->entries_count - 1].pos : before;
}

uint32_t raft_cluster_persist(struct raft_cluster *c, raft_id id, uint32_t jobs,
                              bool merge)
{
    struct raft_cluster_node *n = &c->nodes[id];
    uint32_t done = 0;

    while (done < jobs && n->up && n->disk.jobs_count > 0) {
        struct raft_disk_job job = raft_disk_finish(&n->disk);
        struct raft_pos last = job_last(&job, (struct raft_pos){0});

        done++;
        while (merge && done < jobs && job.kind == RAFT_DISK_STORE &&
               n->disk.jobs_count > 0 && n->disk.jobs[0].kind == RAFT_DISK_STORE) {
            job = raft_disk_finish(&n->disk);
            last = job_last(&job, last);
            done++;
        }
        report(c, n, &job, last);
    }
    return done;
}

void raft_cluster_lose(struct raft_cluster *c, raft_id id)
{
    struct raft_cluster_node *n = &c->nodes[id];
    struct raft_event ev = {.kind = RAFT_EV_STATE_LOST, .u.index = n->disk.applied};

    n->lost = true;
    (void)raft_cluster_step(c, id, &ev);
}

/* The configuration in force at an applied index. */
static void config_at(const struct raft_cluster_node *n, raft_index index,
                      struct raft_config *out, raft_index *out_index)
{
    *out = n->disk.config;
    *out_index = n->disk.config_index;
    for (raft_index i = n->disk.applied + 1; i <= index; i++) {
        const struct raft_entry *e = raft_disk_log_get(&n->view, i);

        if (e != NULL && e->type == RAFT_ENTRY_CONFIG) {
            int rc = raft_config_decode(e->payload, out);

            KV_ASSERT(rc == 0);
            *out_index = i;
        }
    }
}

void raft_cluster_checkpoint(struct raft_cluster *c, raft_id id)
{
    struct raft_cluster_node *n = &c->nodes[id];
    struct raft_status s;
    raft_index to;

    KV_ASSERT(n->up);
    raft_status_get(n->raft, &s);
    to = KV_MIN(n->applied, s.last_durable);
    if (to > n->disk.applied) {
        config_at(n, to, &n->disk.config, &n->disk.config_index);
        n->disk.applied = to;
    }
    trace(c, "  %u checkpoint %lu", id, n->disk.applied);
}

void raft_cluster_compact(struct raft_cluster *c, raft_id id, raft_index index,
                          bool tell)
{
    struct raft_cluster_node *n = &c->nodes[id];
    struct raft_event ev = {.kind = RAFT_EV_COMPACTED};

    KV_ASSERT(n->up && index <= n->disk.applied);
    if (index > n->disk.log.base.pos.index) {
        raft_disk_log_compact(&n->disk.log, index);
    }
    if (tell && n->disk.log.base.pos.index > n->view.base.pos.index) {
        raft_disk_log_compact(&n->view, n->disk.log.base.pos.index);
        ev.u.base = n->disk.log.base;
        (void)raft_cluster_step(c, id, &ev);
    }
}

void raft_cluster_snapshot(struct raft_cluster *c, raft_id id, raft_index index)
{
    struct raft_cluster_node *n = &c->nodes[id];
    struct raft_event ev = {.kind = RAFT_EV_SNAPSHOT_READY, .u.snapshot = &n->snapshot};
    raft_index at = index == 0 ? n->applied : index;
    const struct raft_entry *e = raft_disk_log_get(&n->view, at);

    if (at == 0) {
        return;
    }
    KV_ASSERT(e != NULL || at == n->view.base.pos.index);
    n->snapshot = (struct raft_snapshot){
        .id = ++c->snapshots_made, .bytes = 100, .last = n->view.base};
    if (e != NULL) {
        n->snapshot.last =
            (struct raft_base){.pos = e->pos, .hash = e->hash, .time_ms = e->time_ms};
    }
    config_at(n, at, &n->snapshot.config, &n->snapshot.config_index);
    trace(c, "  %u snapshot id=%lu last=%lu/%lu", id, n->snapshot.id,
          n->snapshot.last.pos.index, n->snapshot.last.pos.term);
    (void)raft_cluster_step(c, id, &ev);
}

void raft_cluster_forget(struct raft_cluster *c, raft_id id, raft_index from)
{
    struct raft_cluster_node *n = &c->nodes[id];

    KV_ASSERT(!n->up && from > n->disk.applied);
    n->disk.log.last = KV_MIN(n->disk.log.last, from - 1);
    n->disk.commit_hint = KV_MIN(n->disk.commit_hint, from - 1);
}

/* ---- network ---- */

void raft_cluster_drop(struct raft_cluster *c, uint32_t at)
{
    KV_ASSERT(at < c->queue_count);
    c->queue_count--;
    memmove(c->queue + at, c->queue + at + 1,
            (c->queue_count - at) * sizeof c->queue[0]);
}

void raft_cluster_deliver(struct raft_cluster *c, uint32_t at, bool keep)
{
    struct raft_msg m = c->queue[at].m;
    struct raft_event ev = {.kind = RAFT_EV_MESSAGE, .u.message = &m};
    char text[RAFT_TRACE_BYTES];

    if (!keep) {
        raft_cluster_drop(c, at);
    }
    raft_trace_msg(&m, text, sizeof text);
    if (m.to > RAFT_CLUSTER_NODES_MAX || !c->nodes[m.to].up ||
        c->blocked[m.from][m.to]) {
        trace(c, "lost %s", text);
        return;
    }
    trace(c, "%s", text);
    (void)raft_cluster_step(c, m.to, &ev);
}

void raft_cluster_settle(struct raft_cluster *c)
{
    bool busy = true;

    for (uint32_t rounds = 0; busy && rounds < 10000; rounds++) {
        busy = c->queue_count > 0;
        if (c->queue_count > 0) {
            raft_cluster_deliver(c, 0, false);
        }
        for (raft_id id = 1; id <= RAFT_CLUSTER_NODES_MAX; id++) {
            if (c->nodes[id].up &&
                raft_cluster_persist(c, id, RAFT_DISK_JOBS_MAX, false) > 0) {
                busy = true;
            }
        }
    }
    KV_ASSERT(!busy);
}

/* ---- looking in ---- */

uint64_t raft_cluster_now_ms(const struct raft_cluster *c, raft_id id)
{
    return c->now_ms + c->nodes[id].clock_ms;
}

raft_id raft_cluster_leader(const struct raft_cluster *c)
{
    raft_id leader = 0;

    for (raft_id id = 1; id <= RAFT_CLUSTER_NODES_MAX; id++) {
        const struct raft_cluster_node *n = &c->nodes[id];

        if (n->up && n->role == RAFT_LEADER &&
            (leader == 0 || n->term > c->nodes[leader].term)) {
            leader = id;
        }
    }
    return leader;
}
