/* tests/lib/fault_script.c - the row of verbs. */
#include "tests/lib/fault_script.h"

#include <stdio.h>

#include "raft/base/check.h"
#include "raft/base/err.h"
#include "raft/record.h"
#include "storage/state.h"
#include "tests/lib/mem_store.h"
#include "tests/lib/store_model.h"

enum {
    SCRIPT_BATCH_MAX = 16,
    SCRIPT_CHUNK_BYTES_MAX = 8192,
};

/* ---- verbs ---- */

/* Writes `count` entries of `term` from `first` on (0: behind the last), the payload of
 * each 20 bytes longer than that of the one before. */
static int entries_put(struct store *s, group_id group, raft_index first,
                       raft_term term, uint32_t count, uint32_t payload_bytes)
{
    struct kv_bytes records[SCRIPT_BATCH_MAX];
    struct log_state head;
    struct raft_meta meta;
    struct log_write w = {.group = group,
                          .store_hard = true,
                          .term = term,
                          .vote = 1,
                          .records = records,
                          .records_count = count};
    int rc = s->ops->log_load(s, group, &head);

    if (rc != 0) {
        return rc;
    }
    meta = head.last;
    if (first != 0 && first != head.last.pos.index + 1) {
        if (first == head.base.pos.index + 1) {
            meta = (struct raft_meta){.pos = head.base.pos, .hash = head.base.hash};
        } else {
            rc = s->ops->log_meta(s, group, first - 1, &meta);
        }
    }
    if (rc != 0) {
        return rc;
    }
    w.first_index = meta.pos.index + 1;
    for (uint32_t i = 0; i < count; i++) {
        records[i] =
            model_record(&meta, term, 10 + i, payload_bytes + 20 * i, i + group, &meta);
    }
    rc = s->ops->log_write(s, &w, 1);
    for (uint32_t i = 0; i < count; i++) {
        kv_mem_free((void *)(uintptr_t)records[i].data);
    }
    return rc;
}

static int entries_write(struct store *s, group_id group, raft_index first,
                         raft_term term, uint32_t count)
{
    return entries_put(s, group, first, term, count, 100);
}

static int hint_write(struct store *s, group_id group, raft_index hint)
{
    struct log_write w = {.group = group, .commit_hint = hint};

    return s->ops->log_write(s, &w, 1);
}

static int votes_write(struct store *s)
{
    struct log_write w[3] = {
        {.group = 0, .store_hard = true, .term = 20, .vote = 2, .urgent = true},
        {.group = 1, .store_hard = true, .term = 21, .vote = 3, .urgent = true},
        {.group = 2, .store_hard = true, .term = 22, .vote = 1, .urgent = true}};

    return s->ops->log_write(s, w, 3);
}

/* Checkpoints at `index`: `puts` rows from `first` on, then deletes some. */
static int state_write(struct store *s, group_id group, raft_index index,
                       uint32_t first, uint32_t puts)
{
    struct state_frozen frozen;
    struct raft_meta meta;
    struct raft_base base;
    struct state *st;
    bool existed;
    int rc = s->ops->log_meta(s, group, index, &meta);

    if (rc == 0) {
        rc = state_open(s, group, 1 << 20, &st);
    }
    if (rc != 0) {
        return rc;
    }
    for (uint32_t i = first; rc == 0 && i < first + puts; i++) {
        char key[24];
        struct row row = {
            .kind = i % 5 == 0 ? ROW_META : ROW_KV, .slot = 3, .rev = index};

        snprintf(key, sizeof key, "key-%04u", i);
        row.key = kv_bytes_str(key);
        row.value = kv_bytes(key, i % 9);
        rc = i % 4 == 3 ? state_del(st, row.kind, row.key, &existed)
                        : state_put(st, &row);
    }
    base = (struct raft_base){meta.pos, meta.hash, meta.time_ms};
    if (rc == 0) {
        state_applied(st, &base, NULL, 0);
        rc = state_freeze(st, &frozen);
    }
    if (rc == 0) {
        rc = s->ops->checkpoint(s, group, &frozen.meta, frozen.rows, frozen.rows_count);
    }
    state_close(st);
    return rc;
}

int fault_script_fill(struct store *s, group_id group, raft_index index, uint32_t rows)
{
    return state_write(s, group, index, 0, rows);
}

static int compact(struct store *s, group_id group, raft_index to)
{
    struct raft_meta meta;
    struct raft_base base;
    struct log_write w = {.group = group, .compact_to = &base, .urgent = true};
    int rc = s->ops->log_meta(s, group, to, &meta);

    if (rc == KV_ECOMPACTED) {
        return 0; /* Made again after it was done. */
    }
    if (rc != 0) {
        return rc;
    }
    base = (struct raft_base){meta.pos, meta.hash, meta.time_ms};
    return s->ops->log_write(s, &w, 1);
}

static int identity_write(struct store *s)
{
    struct store_identity id;
    int rc = s->ops->identity_load(s, &id);

    if (rc != 0) {
        return rc;
    }
    id.node = 3;
    id.cluster = 77;
    return s->ops->identity_save(s, &id);
}

static int snapshot_make(struct store *s)
{
    struct raft_snapshot snap;

    return s->ops->snapshot_make(s, 0, &snap);
}

/* Repairs an entry with itself. */
static int repair(struct store *s, group_id group, raft_index index)
{
    struct kv_bytes *records;
    struct arena arena;
    uint32_t count;
    int rc;

    arena_init(&arena, 4096, 0);
    rc = s->ops->log_read(s, group, index, index + 1, 1, &arena, &records, &count);
    if (rc == 0) {
        rc = s->ops->log_repair(s, group, index, records[0]);
    }
    arena_close(&arena);
    return rc;
}

static int sweep(struct store *s)
{
    bool more;

    return s->ops->sweep(s, &more);
}

/* ---- the snapshot ---- */

static int chunk_write(const struct fault_script *f, struct store *s, uint32_t number)
{
    struct store *from = mem_store_base(f->source_disk);
    uint8_t data[SCRIPT_CHUNK_BYTES_MAX];
    uint64_t half = f->snapshot.bytes / 2 + 1; /* Two chunks. */
    uint64_t offset = number * half;
    struct raft_chunk chunk = {.snapshot_id = f->snapshot.id, .offset = offset};
    int rc;

    chunk.len = (uint32_t)KV_MIN(half, f->snapshot.bytes - offset);
    chunk.data = kv_bytes(data, chunk.len);
    rc = from->ops->snapshot_read(from, SCRIPT_GROUP, chunk.snapshot_id, offset,
                                  chunk.len, data);
    KV_ASSERT(rc == 0);
    return s->ops->chunk_store(s, SCRIPT_GROUP, &f->snapshot, &chunk);
}

static int reset(const struct fault_script *f, struct store *s)
{
    struct log_write w = {
        .group = SCRIPT_GROUP, .reset_to = &f->snapshot.last, .urgent = true};

    return s->ops->log_write(s, &w, 1);
}

void fault_script_open(struct fault_script *f)
{
    struct store *s;
    int rc = mem_store_new(7, &f->source_disk);

    KV_ASSERT(rc == 0);
    s = mem_store_base(f->source_disk);
    for (uint32_t i = 0; i < 4; i++) {
        rc = entries_write(s, SCRIPT_GROUP, 0, 5, SCRIPT_BATCH_MAX);
        KV_ASSERT(rc == 0);
    }
    rc = state_write(s, SCRIPT_GROUP, 60, 0, SCRIPT_ROWS);
    KV_ASSERT(rc == 0);
    rc = s->ops->snapshot_make(s, SCRIPT_GROUP, &f->snapshot);
    KV_ASSERT(rc == 0);
    f->steps = 28;
    KV_ASSERT(f->snapshot.bytes / 2 < SCRIPT_CHUNK_BYTES_MAX);
}

void fault_script_close(struct fault_script *f)
{
    mem_store_free(f->source_disk);
}

/* ---- the row ---- */

const char *fault_script_name(const struct fault_script *f, uint32_t step)
{
    static const char *const names[] = {
        "entries 0",      "entries 1",      "entries 2",   "identity",
        "hint 0",         "checkpoint 0",   "compact 0",   "truncate 1",
        "votes",          "entries 0 more", "hint 0 more", "checkpoint 0 more",
        "compact 0 more", "repair 1",       "snapshot 0",  "snapshot 0 again",
        "old entries 3",  "old state 3",    "chunk 0",     "chunk 1",
        "install 3",      "reset 3",        "mark 3",      "sweep",
        "sweep",          "sweep",          "entries 3",   "large entries 2",
    };

    return step < f->steps && step < KV_ARRAY_COUNT(names) ? names[step] : "?";
}

int fault_script_step(const struct fault_script *f, struct store *s, uint32_t step)
{
    switch (step) {
    case 0:
        return entries_write(s, 0, 0, 1, 10);
    case 1:
        return entries_write(s, 1, 0, 1, 12);
    case 2:
        return entries_write(s, 2, 0, 1, 3);
    case 3:
        return identity_write(s);
    case 4:
        return hint_write(s, 0, 8);
    case 5:
        return state_write(s, 0, 6, 0, 30);
    case 6:
        return compact(s, 0, 4);
    case 7:
        return entries_write(s, 1, 5, 2, 3);
    case 8:
        return votes_write(s);
    case 9:
        return entries_write(s, 0, 11, 20, 10);
    case 10:
        return hint_write(s, 0, 19);
    case 11:
        return state_write(s, 0, 18, 15, 30);
    case 12:
        return compact(s, 0, 17);
    case 13:
        return repair(s, 1, 2);
    case 14:
    case 15:
        return snapshot_make(s);
    case 16:
        return entries_write(s, SCRIPT_GROUP, 0, 3, 9);
    case 17:
        return state_write(s, SCRIPT_GROUP, 5, 20, 50);
    case 18:
    case 19:
        return chunk_write(f, s, step - 18);
    case 20:
        return s->ops->install(s, SCRIPT_GROUP, &f->snapshot);
    case 21:
        return reset(f, s);
    case 22:
        return s->ops->mark_clear(s, SCRIPT_GROUP);
    case 23:
    case 24:
    case 25:
        return sweep(s);
    case 26:
        return entries_write(s, SCRIPT_GROUP, 0, 9, 5);
    default: /* More than the file has room for. */
        return entries_put(s, 2, 0, 23, 3, 100 * 1024);
    }
}
