/* tests/bench/bench_log.c - what the layouts of the log cost, and the store itself.
 *
 *   bench_log [seconds per cell] [folder on the disk to measure] [layouts|store|memory]
 *
 * Layouts, in bare LMDB with full sync: one database per group (MDB_APPEND), one
 * sequence for the whole node with an index in memory (MDB_APPEND), plain puts of
 * (group, index) into one database, and sixteen databases that groups share. 300-byte
 * entries, the oldest deleted as new ones come, one row per touched group. The store:
 * log_write() of entries over 8 groups with compaction; a checkpoint; state_put().
 * Memory: delta, memory store.
 */
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "raft/base/prng.h"
#include "raft/record.h"
#include "storage/delta.h"
#include "storage/row.h"
#include "storage/state.h"
#include "tests/lib/mem_store.h"
#include "tests/lib/store_dir.h"

enum {
    BENCH_GROUPS_MAX = 64,
    BENCH_KEEP = 80000, /* Entries that stay, over all groups. */
    BENCH_ENTRY_BYTES = 300,
    BENCH_INDEX_ROOM = 1 << 18, /* Per group; more than BENCH_KEEP. */
    BENCH_ROWS = 10000,
};

struct bench {
    double seconds;
    const char *base; /* Folder for data. */
    char dir[STORE_DIR_BYTES];
    struct prng prng;
};

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* What a run cost: on a shared disk only the last two can be compared. */
struct cost {
    double commits_s; /* By the clock on the wall. */
    double cpu_us;    /* Processor time per commit. */
    double kib;       /* Passed to write calls, per commit. */
};

static double cpu_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Bytes passed to write calls so far. */
static double written_bytes(void)
{
    FILE *f = fopen("/proc/self/io", "r");
    char line[100];
    double bytes = 0;

    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "wchar:", 6) == 0) {
            bytes = strtod(line + 6, NULL);
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return bytes;
}

static void check(int rc, const char *what)
{
    if (rc != 0) {
        fprintf(stderr, "%s: %d %s\n", what, rc, mdb_strerror(rc));
        exit(1);
    }
}

static void dir_make(struct bench *b)
{
    (void)setenv("TMPDIR", b->base, 1);
    store_dir_make(b->dir);
}

/* ---- layouts ---- */

enum layout {
    PER_GROUP,
    SEQUENCE,
    PLAIN,
    SHARED,
    LAYOUTS_COUNT
};

static const char *const layout_names[] = {"per group", "sequence", "plain",
                                           "16 shared"};

struct log_bench {
    enum layout layout;
    uint32_t groups;
    MDB_env *env;
    MDB_dbi heads;
    MDB_dbi dbis[BENCH_GROUPS_MAX];
    uint64_t last[BENCH_GROUPS_MAX];
    uint64_t first[BENCH_GROUPS_MAX];
    uint64_t sequence;
    uint64_t *index[BENCH_GROUPS_MAX]; /* SEQUENCE: number of each entry. */
    uint64_t entries;
};

static void layout_open(struct log_bench *l, const char *dir)
{
    uint32_t dbis = l->layout == PER_GROUP ? l->groups : l->layout == SHARED ? 16 : 1;
    MDB_txn *txn;

    check(mdb_env_create(&l->env), "env_create");
    check(mdb_env_set_mapsize(l->env, (size_t)4 << 30), "set_mapsize");
    check(mdb_env_set_maxdbs(l->env, BENCH_GROUPS_MAX + 1), "set_maxdbs");
    check(mdb_env_open(l->env, dir, MDB_NOTLS, 0600), "env_open");
    check(mdb_txn_begin(l->env, NULL, 0, &txn), "begin");
    check(mdb_dbi_open(txn, "heads", MDB_CREATE, &l->heads), "dbi_open");
    for (uint32_t i = 0; i < KV_MAX(dbis, l->groups); i++) {
        uint32_t g = i % BENCH_GROUPS_MAX;
        char name[16];

        snprintf(name, sizeof name, "log%02u", g % dbis);
        check(mdb_dbi_open(txn, name, MDB_CREATE, &l->dbis[g]), "dbi_open");
        l->index[g] = kv_mem_zalloc(BENCH_INDEX_ROOM * sizeof(uint64_t));
        l->first[g] = 1;
    }
    check(mdb_txn_commit(txn), "commit");
}

static void layout_close(struct log_bench *l)
{
    for (uint32_t g = 0; g < l->groups; g++) {
        kv_mem_free(l->index[g]);
    }
    mdb_env_close(l->env);
}

/* The key of (group, index) in this layout. */
static MDB_val layout_key(const struct log_bench *l, uint32_t g, uint64_t i,
                          uint8_t room[12])
{
    switch (l->layout) {
    case PER_GROUP:
        kv_put_u64be(room, i);
        return (MDB_val){8, room};
    case SEQUENCE:
        kv_put_u64be(room, l->index[g][i % BENCH_INDEX_ROOM]);
        return (MDB_val){8, room};
    default:
        kv_put_u32be(room, g);
        kv_put_u64be(room + 4, i);
        return (MDB_val){12, room};
    }
}

static void layout_put(struct log_bench *l, MDB_txn *txn, uint32_t g)
{
    static uint8_t bytes[BENCH_ENTRY_BYTES];
    uint64_t i = ++l->last[g];
    uint8_t room[12];
    MDB_val value = {sizeof bytes, bytes};
    MDB_val key;
    int rc = MDB_KEYEXIST;

    if (l->layout == SEQUENCE) {
        l->index[g][i % BENCH_INDEX_ROOM] = ++l->sequence;
    }
    key = layout_key(l, g, i, room);
    if (l->layout != PLAIN) {
        rc = mdb_put(txn, l->dbis[g], &key, &value, MDB_APPEND);
    }
    if (rc == MDB_KEYEXIST) {
        value = (MDB_val){sizeof bytes, bytes};
        rc = mdb_put(txn, l->dbis[g], &key, &value, 0);
    }
    check(rc, "put");
    l->entries++;
}

/* Deletes what is too much, and writes the group's row. */
static void layout_tail(struct log_bench *l, MDB_txn *txn, uint32_t g)
{
    uint8_t head[104] = {0};
    uint8_t room[12];
    MDB_val value = {sizeof head, head};
    MDB_val key;

    for (int n = 0; n < 64 && l->last[g] - l->first[g] >= BENCH_KEEP / l->groups; n++) {
        key = layout_key(l, g, l->first[g]++, room);
        check(mdb_del(txn, l->dbis[g], &key, NULL), "del");
    }
    kv_put_u32be(room, g);
    key = (MDB_val){4, room};
    check(mdb_put(txn, l->heads, &key, &value, 0), "put");
}

/* One commit of `entries` entries, a few of each group they happen to fall on. */
static void layout_commit(struct bench *b, struct log_bench *l, uint32_t entries)
{
    bool touched[BENCH_GROUPS_MAX] = {false};
    MDB_txn *txn;

    check(mdb_txn_begin(l->env, NULL, 0, &txn), "begin");
    while (entries > 0) {
        uint32_t g = (uint32_t)prng_below(&b->prng, l->groups);
        uint32_t some = (uint32_t)prng_between(&b->prng, 1, 4);
        uint32_t n = KV_MIN(entries, some);

        entries -= n;
        touched[g] = true;
        while (n-- > 0) {
            layout_put(l, txn, g);
        }
    }
    for (uint32_t g = 0; g < l->groups; g++) {
        if (touched[g]) {
            layout_tail(l, txn, g);
        }
    }
    check(mdb_txn_commit(txn), "commit");
}

static struct cost layout_run(struct bench *b, enum layout layout, uint32_t groups,
                              uint32_t entries)
{
    struct log_bench *l = kv_mem_zalloc(sizeof *l);
    struct cost cost;
    uint64_t commits = 0;
    double begin;
    double end;

    KV_ASSERT(l != NULL);
    l->layout = layout;
    l->groups = groups;
    dir_make(b);
    layout_open(l, b->dir);
    while (l->entries < BENCH_KEEP + 2000) {
        layout_commit(b, l, 256); /* Until it deletes as much as it adds. */
    }
    begin = now_s();
    cost.cpu_us = cpu_s();
    cost.kib = written_bytes();
    do {
        layout_commit(b, l, entries);
        commits++;
        end = now_s();
    } while (end - begin < b->seconds);
    cost.commits_s = (double)commits / (end - begin);
    cost.cpu_us = (cpu_s() - cost.cpu_us) * 1e6 / (double)commits;
    cost.kib = (written_bytes() - cost.kib) / 1024 / (double)commits;
    layout_close(l);
    kv_mem_free(l);
    store_dir_remove(b->dir);
    return cost;
}

static void bench_layouts(struct bench *b)
{
    static const uint32_t groups[] = {1, 8, 64};
    static const uint32_t entries[] = {1, 64, 256};

    printf("commits/s, processor us and KiB written per commit; 300-byte entries\n");
    printf("%7s %8s", "groups", "entries");
    for (int layout = 0; layout < LAYOUTS_COUNT; layout++) {
        printf(" %17s", layout_names[layout]);
    }
    printf("\n");
    for (size_t g = 0; g < KV_ARRAY_COUNT(groups); g++) {
        for (size_t e = 0; e < KV_ARRAY_COUNT(entries); e++) {
            printf("%7u %8u", groups[g], entries[e]);
            for (int layout = 0; layout < LAYOUTS_COUNT; layout++) {
                struct cost c =
                    layout_run(b, (enum layout)layout, groups[g], entries[e]);

                printf("  %5.0f %4.0f %5.0f", c.commits_s, c.cpu_us, c.kib);
                fflush(stdout);
            }
            printf("\n");
        }
    }
}

/* ---- the store ---- */

static int store_make(struct bench *b, struct store **out)
{
    struct store_options o = {
        .dir = b->dir, .groups_max = BENCH_GROUPS_MAX, .incarnation_seed = 1};
    char text[300];
    int rc;

    dir_make(b);
    rc = store_open(&o, out, text, sizeof text);
    if (rc != 0) {
        fprintf(stderr, "%s\n", text);
    }
    return rc;
}

/* Entries of one group, encoded and chained. */
struct feed {
    struct raft_meta last;
};

static void feed_take(struct feed *f, struct kv_bytes *out, uint8_t *room,
                      uint32_t count)
{
    static const uint8_t payload[BENCH_ENTRY_BYTES - RAFT_RECORD_HEAD_BYTES];

    for (uint32_t i = 0; i < count; i++) {
        struct raft_entry e = {.pos = {f->last.pos.index + 1, 1},
                               .type = RAFT_ENTRY_COMMAND,
                               .time_ms = 1,
                               .payload = kv_bytes(payload, sizeof payload)};

        e.hash = raft_entry_hash(f->last.hash, &e);
        raft_record_encode(&e, room + (size_t)i * BENCH_ENTRY_BYTES);
        out[i] = kv_bytes(room + (size_t)i * BENCH_ENTRY_BYTES, BENCH_ENTRY_BYTES);
        f->last.pos = e.pos;
        f->last.hash = e.hash;
    }
}

/* Keeps each log short: checkpoints of no rows, then compaction in the next commit. */
static void compact_behind(struct store *s, group_id g, const struct feed *f,
                           struct raft_base *base, struct log_write *w)
{
    struct state_meta meta = {.applied = {f->last.pos, f->last.hash, 1}};

    if (f->last.pos.index % 2500 == 0) {
        check(s->ops->checkpoint(s, g, &meta, NULL, 0), "checkpoint");
        *base = meta.applied;
        w->compact_to = base;
    }
}

static void bench_log_write(struct bench *b, struct store *s, uint32_t groups,
                            uint32_t entries)
{
    static uint8_t room[512 * BENCH_ENTRY_BYTES];
    struct feed feeds[BENCH_GROUPS_MAX] = {0};
    struct raft_base bases[BENCH_GROUPS_MAX];
    double begin = now_s();
    double end;
    uint64_t commits = 0;

    do {
        struct kv_bytes records[512];
        struct log_write writes[BENCH_GROUPS_MAX];
        uint32_t used = KV_MIN(groups, entries);
        uint32_t each = entries / used;

        for (uint32_t g = 0; g < used; g++) {
            group_id group = used < groups ? (group_id)(commits % groups) : g;

            writes[g] =
                (struct log_write){.group = group,
                                   .records = records + g * each,
                                   .records_count = each,
                                   .first_index = feeds[group].last.pos.index + 1};
            feed_take(&feeds[group], records + g * each,
                      room + (size_t)g * each * BENCH_ENTRY_BYTES, each);
        }
        check(s->ops->log_write(s, writes, used), "log_write");
        for (uint32_t g = 0; g < used; g++) {
            struct log_write w = {.group = writes[g].group};

            compact_behind(s, w.group, &feeds[w.group], &bases[g], &w);
            if (w.compact_to != NULL) {
                check(s->ops->log_write(s, &w, 1), "compaction");
            }
        }
        commits++;
        end = now_s();
    } while (end - begin < b->seconds);
    printf("log_write: %2u groups, %3u entries per commit: %7.0f commits/s, "
           "%8.0f entries/s\n",
           groups, entries, (double)commits / (end - begin),
           (double)commits * entries / (end - begin));
}

/* state_put of `count` rows in a random order; ns per put. */
static double put_all(struct bench *b, struct state *st, uint32_t count, uint64_t rev)
{
    static uint8_t value[256];
    double begin = now_s();

    for (uint32_t i = 0; i < count; i++) {
        char key[24];
        struct row row = {.kind = ROW_KV,
                          .slot = 1,
                          .rev = rev,
                          .value = kv_bytes(value, sizeof value)};

        snprintf(key, sizeof key, "user:%08u",
                 (unsigned)prng_below(&b->prng, BENCH_ROWS));
        row.key = kv_bytes_str(key);
        check(state_put(st, &row), "state_put");
    }
    return (now_s() - begin) * 1e9 / count;
}

static void bench_state(struct bench *b, struct store *s)
{
    struct state_frozen frozen;
    struct state *st;
    group_id group = 9;
    struct feed feed = {0};
    uint8_t room[16 * BENCH_ENTRY_BYTES];

    check(state_open(s, group, 64 << 20, &st), "state_open");
    for (uint32_t round = 1; round <= 3; round++) {
        struct kv_bytes record;
        struct log_write w = {.group = group,
                              .records = &record,
                              .records_count = 1,
                              .first_index = round};
        struct raft_base base;
        double put_ns = put_all(b, st, 3 * BENCH_ROWS, round);
        double begin;

        feed_take(&feed, &record, room, 1);
        check(s->ops->log_write(s, &w, 1), "log_write");
        base = (struct raft_base){feed.last.pos, feed.last.hash, 1};
        state_applied(st, &base, NULL, 0);
        check(state_freeze(st, &frozen), "freeze");
        begin = now_s();
        check(
            s->ops->checkpoint(s, group, &frozen.meta, frozen.rows, frozen.rows_count),
            "checkpoint");
        printf(
            "state_put: %4.0f ns (%s); checkpoint of %zu rows of 256 bytes: %5.1f ms\n",
            put_ns, round == 1 ? "new rows" : "old rows in LMDB", frozen.rows_count,
            (now_s() - begin) * 1e3);
        state_checkpointed(st, true);
    }
    state_close(st);
}

static void bench_store(struct bench *b)
{
    static const uint32_t entries[] = {1, 64, 256};
    struct store *s;

    for (uint32_t groups = 1; groups <= 8; groups *= 8) {
        for (size_t i = 0; i < KV_ARRAY_COUNT(entries); i++) {
            check(store_make(b, &s), "store_open");
            bench_log_write(b, s, groups, entries[i]);
            s->ops->close(s);
            store_dir_remove(b->dir);
        }
    }
    check(store_make(b, &s), "store_open");
    bench_state(b, s);
    s->ops->close(s);
    store_dir_remove(b->dir);
}

/* ---- memory ---- */

static void bench_delta(struct bench *b)
{
    static char keys[BENCH_ROWS][24];
    static uint8_t value[256];
    struct delta d;
    double begin;
    double put_ns = 0;
    double over_ns = 0;

    for (uint32_t i = 0; i < BENCH_ROWS; i++) {
        snprintf(keys[i], sizeof keys[i], "user:%08u",
                 (unsigned)prng_below(&b->prng, 100000000));
    }
    delta_init(&d, 0);
    for (int round = 0; round < 2; round++) {
        begin = now_s();
        for (uint32_t i = 0; i < BENCH_ROWS; i++) {
            struct row row = {.kind = ROW_KV,
                              .key = kv_bytes_str(keys[i]),
                              .value = kv_bytes(value, sizeof value)};

            check(delta_put(&d, &row, 1), "delta_put");
        }
        over_ns = (now_s() - begin) * 1e9 / BENCH_ROWS;
        put_ns = round == 0 ? over_ns : put_ns;
    }
    begin = now_s();
    for (uint32_t i = 0; i < 10 * BENCH_ROWS; i++) {
        const char *key = keys[prng_below(&b->prng, BENCH_ROWS)];

        KV_ASSERT(delta_find(&d, ROW_KV, kv_bytes_str(key)) != NULL);
    }
    printf("delta of %d rows: insert %.0f ns, overwrite %.0f ns, find %.0f ns\n",
           BENCH_ROWS, put_ns, over_ns, (now_s() - begin) * 1e8 / BENCH_ROWS);
    delta_close(&d);
}

static void bench_memory(struct bench *b)
{
    struct mem_store *disk;
    struct store *s;
    struct feed feed = {0};
    static uint8_t room[4 * BENCH_ENTRY_BYTES];
    double spent = 0;
    uint32_t writes = 200000;

    bench_delta(b);
    check(mem_store_new(1, &disk), "mem_store");
    s = mem_store_base(disk);
    for (uint32_t i = 0; i < writes; i++) {
        struct kv_bytes records[4];
        struct log_write w = {.records = records,
                              .records_count = 4,
                              .first_index = feed.last.pos.index + 1};
        double begin;

        feed_take(&feed, records, room, 4);
        begin = now_s();
        check(s->ops->log_write(s, &w, 1), "log_write");
        spent += now_s() - begin;
    }
    printf("memory store: log_write of 4 entries of 300 bytes: %.0f ns\n",
           spent * 1e9 / writes);
    mem_store_free(disk);
}

int main(int argc, char **argv)
{
    struct bench b = {.seconds = argc > 1 ? strtod(argv[1], NULL) : 1.0,
                      .base = argc > 2 ? argv[2] : "/tmp"};
    const char *what = argc > 3 ? argv[3] : "";

    prng_init(&b.prng, 1);
    if (what[0] == 0 || strcmp(what, "memory") == 0) {
        bench_memory(&b);
    }
    if (what[0] == 0 || strcmp(what, "store") == 0) {
        bench_store(&b);
    }
    if (what[0] == 0 || strcmp(what, "layouts") == 0) {
        bench_layouts(&b);
    }
    return 0;
}
