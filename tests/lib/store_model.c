/* tests/lib/store_model.c - the naive store, and random steps on both. */
#include "tests/lib/store_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>

#include "raft/base/err.h"
#include "raft/base/hash.h"
#include "raft/record.h"
#include "storage/row.h"

enum {
    MODEL_PAYLOAD_MAX = 300
};

/* ---- values and keys that follow from small numbers ---- */

static struct kv_bytes key_of(uint32_t key, char room[32])
{
    snprintf(room, 32, "%s%u", key % 3 == 0 ? "user:" : "", key);
    return kv_bytes_str(room);
}

static uint8_t kind_of(uint32_t key)
{
    return key % 7 == 0 ? ROW_META : ROW_KV;
}

static struct kv_bytes value_of(const struct store_model *m, uint32_t seed,
                                struct arena *arena)
{
    size_t len = seed % (m->value_bytes_max + 1);
    uint8_t *data = arena_alloc(arena, len);

    assert_non_null(data);
    for (size_t i = 0; i < len; i++) {
        data[i] = (uint8_t)(seed + i * 7);
    }
    return kv_bytes(data, len);
}

struct kv_bytes model_record(const struct raft_meta *prev, raft_term term,
                             uint64_t time_ms, uint32_t payload_bytes, uint64_t seed,
                             struct raft_meta *out)
{
    uint8_t *payload = kv_mem_zalloc(payload_bytes + 1);
    uint8_t *record = kv_mem_zalloc(raft_record_bytes(payload_bytes));
    struct raft_entry entry = {
        .pos = {.index = prev->pos.index + 1, .term = term},
        .type = RAFT_ENTRY_COMMAND,
        .time_ms = time_ms,
    };

    assert_non_null(payload);
    assert_non_null(record);
    for (uint32_t i = 0; i < payload_bytes; i++) {
        payload[i] = (uint8_t)(seed * 31 + i);
    }
    entry.payload = kv_bytes(payload, payload_bytes);
    entry.hash = raft_entry_hash(prev->hash, &entry);
    raft_record_encode(&entry, record);
    kv_mem_free(payload);
    *out = (struct raft_meta){
        .pos = entry.pos,
        .type = entry.type,
        .payload_bytes = payload_bytes,
        .time_ms = time_ms,
        .hash = entry.hash,
    };
    return kv_bytes(record, raft_record_bytes(payload_bytes));
}

/* ---- life ---- */

void model_init(struct store_model *m, struct store *s, uint64_t seed)
{
    *m = (struct store_model){
        .store = s, .time_ms = 1000, .value_bytes_max = 200, .batch_max = 20};
    prng_init(&m->prng, seed);
    for (group_id g = 0; g < MODEL_GROUPS; g++) {
        m->groups[g].entries =
            kv_mem_zalloc(MODEL_ENTRIES_MAX * sizeof(struct model_entry));
        assert_non_null(m->groups[g].entries);
        assert_int_equal(state_open(s, g, 64 * 1024, &m->groups[g].state), 0);
    }
}

void model_close(struct store_model *m)
{
    for (group_id g = 0; g < MODEL_GROUPS; g++) {
        for (raft_index i = 0; i < m->groups[g].last; i++) {
            kv_mem_free((void *)(uintptr_t)m->groups[g].entries[i].record.data);
        }
        kv_mem_free(m->groups[g].entries);
        state_close(m->groups[g].state);
    }
}

void model_reopened(struct store_model *m, struct store *s)
{
    m->store = s;
    for (group_id g = 0; g < MODEL_GROUPS; g++) {
        struct model_group *group = &m->groups[g];

        state_close(group->state);
        assert_int_equal(state_open(s, g, 64 * 1024, &group->state), 0);
        memcpy(group->now, group->disk, sizeof group->now);
        group->is_frozen = false;
    }
}

/* ---- the log ---- */

static struct raft_meta meta_at(const struct model_group *g, raft_index index)
{
    struct raft_meta meta = {.pos = g->head.base.pos,
                             .time_ms = g->head.base.time_ms,
                             .hash = g->head.base.hash};

    if (index > g->head.base.pos.index) {
        const struct raft_entry *e = &g->entries[index - 1].entry;

        meta = (struct raft_meta){.pos = e->pos,
                                  .type = e->type,
                                  .payload_bytes = (uint32_t)e->payload.len,
                                  .time_ms = e->time_ms,
                                  .hash = e->hash};
    }
    return meta;
}

static void entry_set(struct model_group *g, raft_index index, struct kv_bytes record)
{
    struct model_entry *at = &g->entries[index - 1];

    if (index <= g->last) {
        kv_mem_free((void *)(uintptr_t)at->record.data);
    }
    at->record = record;
    assert_int_equal(raft_record_decode(record, &at->entry), 0);
}

static void truncate_to(struct model_group *g, raft_index last)
{
    for (raft_index i = last; i < g->last; i++) {
        kv_mem_free((void *)(uintptr_t)g->entries[i].record.data);
    }
    g->last = last;
}

/* Writes `count` entries from `first` on, with hard state when the term grew. */
static int write_entries(struct store_model *m, group_id group, raft_index first,
                         uint32_t count, bool new_term)
{
    struct model_group *g = &m->groups[group];
    struct kv_bytes records[64];
    struct raft_meta prev = meta_at(g, first - 1);
    raft_term term = KV_MAX(g->head.term, (raft_term)1) + new_term;
    struct log_write w = {.group = group,
                          .store_hard = new_term,
                          .term = term,
                          .vote = 1 + (raft_id)prng_below(&m->prng, 3),
                          .records = records,
                          .records_count = count,
                          .first_index = first};
    int rc;

    assert_true(count <= KV_ARRAY_COUNT(records));
    for (uint32_t i = 0; i < count; i++) {
        m->time_ms++;
        records[i] = model_record(&prev, term, m->time_ms,
                                  (uint32_t)prng_below(&m->prng, MODEL_PAYLOAD_MAX),
                                  prng_next(&m->prng), &prev);
    }
    rc = m->store->ops->log_write(m->store, &w, 1);
    if (rc != 0) {
        for (uint32_t i = 0; i < count; i++) {
            kv_mem_free((void *)(uintptr_t)records[i].data);
        }
        return rc;
    }
    truncate_to(g, first - 1);
    for (uint32_t i = 0; i < count; i++) {
        assert_true(first + i <= MODEL_ENTRIES_MAX);
        entry_set(g, first + i, records[i]);
        g->last = first + i;
    }
    g->head.last = meta_at(g, g->last);
    if (new_term) {
        g->head.term = term;
        g->head.vote = w.vote;
    }
    return 0;
}

int model_append(struct store_model *m, group_id group, uint32_t count)
{
    struct model_group *g = &m->groups[group];

    return write_entries(m, group, g->last + 1, count, g->head.term == 0);
}

static void step_truncate(struct store_model *m, group_id group)
{
    struct model_group *g = &m->groups[group];
    raft_index low = KV_MAX(g->head.commit_hint, g->head.base.pos.index) + 1;

    if (g->last >= low) {
        raft_index first = prng_between(&m->prng, low, g->last);
        uint32_t count = (uint32_t)prng_between(&m->prng, 1, m->batch_max);

        assert_int_equal(write_entries(m, group, first, count, true), 0);
    }
}

static void step_hint(struct store_model *m, group_id group)
{
    struct model_group *g = &m->groups[group];
    struct log_write w = {.group = group};

    if (g->last > g->head.commit_hint) {
        w.commit_hint = prng_between(&m->prng, g->head.commit_hint + 1, g->last);
        assert_int_equal(m->store->ops->log_write(m->store, &w, 1), 0);
        g->head.commit_hint = w.commit_hint;
    }
}

/* Two groups' hard states in one commit. */
static void step_votes(struct store_model *m)
{
    struct log_write w[2] = {{.group = 0, .store_hard = true, .urgent = true},
                             {.group = 2, .store_hard = true, .urgent = true}};

    for (size_t i = 0; i < 2; i++) {
        struct model_group *g = &m->groups[w[i].group];

        g->head.term++;
        g->head.vote = (raft_id)prng_below(&m->prng, 4);
        w[i].term = g->head.term;
        w[i].vote = g->head.vote;
    }
    assert_int_equal(m->store->ops->log_write(m->store, w, 2), 0);
}

static void step_compact(struct store_model *m, group_id group)
{
    struct model_group *g = &m->groups[group];
    raft_index to = g->disk_meta.applied.pos.index;
    struct raft_base base;
    struct log_write w = {.group = group, .compact_to = &base, .urgent = true};
    struct raft_meta meta;

    if (to <= g->head.base.pos.index) {
        return;
    }
    to = prng_between(&m->prng, g->head.base.pos.index + 1, to);
    meta = meta_at(g, to);
    base = (struct raft_base){meta.pos, meta.hash, meta.time_ms};
    assert_int_equal(m->store->ops->log_write(m->store, &w, 1), 0);
    g->head.base = base;
    g->head.commit_hint = KV_MAX(g->head.commit_hint, to);
    g->head.last = meta_at(g, g->last);
}

/* ---- the state ---- */

static struct row row_of(const struct store_model *m, uint32_t key,
                         const struct model_row *row, char room[32],
                         struct arena *arena)
{
    return (struct row){.kind = kind_of(key),
                        .slot = row->slot,
                        .rev = row->rev,
                        .key = key_of(key, room),
                        .value = value_of(m, row->value_seed, arena)};
}

/* Applies up to the commit hint: one change of the state per entry. */
static void step_apply(struct store_model *m, group_id group)
{
    struct model_group *g = &m->groups[group];
    raft_index applied = state_meta_get(g->state)->applied.pos.index;
    struct arena arena;

    arena_init(&arena, 4096, 0);
    while (applied < g->head.commit_hint && !state_full(g->state)) {
        uint32_t key = (uint32_t)prng_below(&m->prng, MODEL_KEYS);
        struct model_row *row = &g->now[key];
        struct raft_meta meta;
        struct raft_base base;
        char room[32];

        applied++;
        if (prng_below(&m->prng, 4) == 0) {
            bool existed;

            assert_int_equal(
                state_del(g->state, kind_of(key), key_of(key, room), &existed), 0);
            assert_int_equal(existed, row->exists);
            row->exists = false;
        } else {
            struct row r;

            *row = (struct model_row){true, (uint16_t)prng_below(&m->prng, 16384),
                                      applied, (uint32_t)prng_next(&m->prng)};
            r = row_of(m, key, row, room, &arena);
            assert_int_equal(state_put(g->state, &r), 0);
        }
        meta = meta_at(g, applied);
        base = (struct raft_base){meta.pos, meta.hash, meta.time_ms};
        state_applied(g->state, &base, NULL, 0);
        arena_reset(&arena);
    }
    arena_close(&arena);
}

static void step_freeze(struct store_model *m, group_id group)
{
    struct model_group *g = &m->groups[group];

    if (!g->is_frozen) {
        assert_int_equal(state_freeze(g->state, &g->frozen_state), 0);
        memcpy(g->frozen, g->now, sizeof g->frozen);
        g->is_frozen = true;
    }
}

static void step_checkpoint(struct store_model *m, group_id group)
{
    struct model_group *g = &m->groups[group];
    const struct state_frozen *f = &g->frozen_state;

    if (g->is_frozen) {
        assert_int_equal(m->store->ops->checkpoint(m->store, group, &f->meta, f->rows,
                                                   f->rows_count),
                         0);
        memcpy(g->disk, g->frozen, sizeof g->disk);
        g->disk_meta = f->meta;
        state_checkpointed(g->state, true);
        g->is_frozen = false;
    }
}

static void step_sweep(struct store_model *m)
{
    bool more = true;

    for (int i = 0; more && i < 1000; i++) {
        assert_int_equal(m->store->ops->sweep(m->store, &more), 0);
    }
    assert_false(more);
}

void model_step(struct store_model *m)
{
    group_id group = (group_id)prng_below(&m->prng, MODEL_GROUPS);
    struct model_group *g = &m->groups[group];
    uint32_t count = (uint32_t)prng_between(&m->prng, 1, m->batch_max);

    switch (prng_below(&m->prng, 12)) {
    case 0:
    case 1:
    case 2:
        if (g->last + count <= MODEL_ENTRIES_MAX) {
            assert_int_equal(model_append(m, group, count), 0);
        }
        break;
    case 3:
        step_truncate(m, group);
        break;
    case 4:
    case 5:
        step_hint(m, group);
        break;
    case 6:
        step_votes(m);
        break;
    case 7:
        step_apply(m, group);
        break;
    case 8:
        step_freeze(m, group);
        break;
    case 9:
        step_checkpoint(m, group);
        break;
    case 10:
        step_compact(m, group);
        break;
    default:
        step_sweep(m);
        break;
    }
}

/* ---- comparing ---- */

static void check_head(const struct model_group *g, const struct log_state *s)
{
    assert_int_equal(s->term, g->head.term);
    assert_int_equal(s->vote, g->head.vote);
    assert_int_equal(s->commit_hint, g->head.commit_hint);
    assert_memory_equal(&s->base, &g->head.base, sizeof s->base);
    assert_int_equal(s->last.pos.index, g->head.last.pos.index);
    assert_int_equal(s->last.pos.term, g->head.last.pos.term);
    assert_int_equal(s->last.hash, g->head.last.hash);
    assert_int_equal(s->last.time_ms, g->head.last.time_ms);
}

static void check_log(struct store_model *m, group_id group)
{
    struct model_group *g = &m->groups[group];
    const struct store_ops *ops = m->store->ops;
    raft_index begin = g->head.base.pos.index + 1;
    struct log_state head;
    struct raft_meta meta;
    struct arena arena;

    assert_int_equal(ops->log_load(m->store, group, &head), 0);
    check_head(g, &head);
    if (begin > 1) {
        assert_int_equal(ops->log_meta(m->store, group, begin - 1, &meta),
                         KV_ECOMPACTED);
    }
    assert_int_equal(ops->log_meta(m->store, group, g->last + 1, &meta), KV_ENOTFOUND);
    arena_init(&arena, 4096, 0);
    for (raft_index i = begin; i <= g->last;) {
        struct kv_bytes *records;
        uint32_t count;

        assert_int_equal(ops->log_read(m->store, group, i, g->last + 1, 1000, &arena,
                                       &records, &count),
                         0);
        assert_true(count >= 1);
        for (uint32_t k = 0; k < count; k++, i++) {
            assert_true(kv_bytes_equal(records[k], g->entries[i - 1].record));
            assert_int_equal(ops->log_meta(m->store, group, i, &meta), 0);
            assert_int_equal(meta.hash, g->entries[i - 1].entry.hash);
        }
        arena_reset(&arena);
    }
    arena_close(&arena);
}

static void check_row(const struct store_model *m, uint32_t key,
                      const struct model_row *want, int rc, const struct row *got,
                      struct arena *arena)
{
    char room[32];
    struct row r;

    if (!want->exists) {
        assert_int_equal(rc, KV_ENOTFOUND);
        return;
    }
    assert_int_equal(rc, 0);
    r = row_of(m, key, want, room, arena);
    assert_int_equal(got->slot, r.slot);
    assert_int_equal(got->rev, r.rev);
    assert_true(kv_bytes_equal(got->key, r.key));
    assert_true(kv_bytes_equal(got->value, r.value));
}

static void check_meta(const struct store_model *m, const struct model_row *rows,
                       const struct state_meta *meta, struct arena *arena)
{
    uint64_t hash = 0;
    uint64_t bytes = 0;
    uint64_t count = 0;

    for (uint32_t key = 0; key < MODEL_KEYS; key++) {
        char room[32];
        struct row r;

        if (rows[key].exists) {
            r = row_of(m, key, &rows[key], room, arena);
            hash += row_hash(&r);
            bytes += r.key.len + r.value.len;
            count++;
        }
    }
    assert_int_equal(meta->rows_count, count);
    assert_int_equal(meta->rows_bytes, bytes);
    assert_int_equal(meta->state_hash, hash);
}

/* A random range through deltas and store against the naive rows. */
static void check_range(struct store_model *m, struct model_group *g,
                        struct arena *arena)
{
    char begin_room[32];
    char end_room[32];
    struct kv_bytes begin =
        key_of((uint32_t)prng_below(&m->prng, MODEL_KEYS), begin_room);
    struct kv_bytes end = key_of((uint32_t)prng_below(&m->prng, MODEL_KEYS), end_room);
    uint32_t rows_max = (uint32_t)prng_between(&m->prng, 1, 60);
    size_t bytes_max = prng_between(&m->prng, 1, 4000);
    uint32_t want = 0;
    uint32_t count;
    struct row *rows;
    bool more;

    if (prng_below(&m->prng, 4) == 0) {
        end.len = 0;
    }
    assert_int_equal(state_range(g->state, ROW_KV, begin, end, rows_max, bytes_max,
                                 arena, &rows, &count, &more),
                     0);
    for (uint32_t i = 1; i < count; i++) {
        assert_true(kv_bytes_compare(rows[i - 1].key, rows[i].key) < 0);
    }
    for (uint32_t key = 0; key < MODEL_KEYS; key++) {
        char room[32];
        struct kv_bytes k = key_of(key, room);

        if (!g->now[key].exists || kind_of(key) != ROW_KV ||
            kv_bytes_compare(k, begin) < 0 ||
            (end.len > 0 && kv_bytes_compare(k, end) >= 0) ||
            (more && count > 0 && kv_bytes_compare(k, rows[count - 1].key) > 0)) {
            continue;
        }
        want++;
        for (uint32_t i = 0; i < count; i++) {
            if (kv_bytes_equal(rows[i].key, k)) {
                check_row(m, key, &g->now[key], 0, &rows[i], arena);
            }
        }
    }
    assert_int_equal(count, want);
    assert_true(count <= rows_max);
}

static void check_state(struct store_model *m, group_id group)
{
    struct model_group *g = &m->groups[group];
    struct state_meta meta;
    struct arena arena;
    char room[32];

    arena_init(&arena, 16384, 0);
    for (uint32_t key = 0; key < MODEL_KEYS; key++) {
        struct row row;
        int rc = state_get(g->state, kind_of(key), key_of(key, room), &arena, &row);

        check_row(m, key, &g->now[key], rc, &row, &arena);
        rc = m->store->ops->state_get(m->store, group, kind_of(key), key_of(key, room),
                                      &arena, &row);
        check_row(m, key, &g->disk[key], rc, &row, &arena);
    }
    check_meta(m, g->now, state_meta_get(g->state), &arena);
    assert_int_equal(m->store->ops->state_load(m->store, group, &meta), 0);
    check_meta(m, g->disk, &meta, &arena);
    assert_int_equal(meta.applied.pos.index, g->disk_meta.applied.pos.index);
    assert_int_equal(meta.applied.hash, g->disk_meta.applied.hash);
    assert_int_equal(state_checkpoint_base(g->state)->pos.index,
                     g->disk_meta.applied.pos.index);
    check_range(m, g, &arena);
    arena_close(&arena);
}

void model_check(struct store_model *m)
{
    for (group_id g = 0; g < MODEL_GROUPS; g++) {
        check_log(m, g);
        check_state(m, g);
    }
}

/* ---- fingerprints ---- */

static uint64_t mix(uint64_t print, const void *data, size_t len)
{
    return kv_hash64_seed(data, len, print);
}

static uint64_t print_entries(struct store *s, group_id g, const struct log_state *head,
                              uint64_t print)
{
    for (raft_index i = head->base.pos.index + 1; i <= head->last.pos.index; i++) {
        struct kv_bytes *records = NULL;
        uint32_t count = 0;
        struct arena arena;
        int rc;

        arena_init(&arena, 4096, 0);
        rc = s->ops->log_read(s, g, i, i + 1, 1, &arena, &records, &count);
        print = mix(print, &rc, sizeof rc);
        if (rc == 0 && count == 1) {
            print = mix(print, records[0].data, records[0].len);
        }
        arena_close(&arena);
    }
    return print;
}

uint64_t model_print_log(struct store *s)
{
    uint64_t print = 1;

    for (group_id g = 0; g < MODEL_PRINT_GROUPS; g++) {
        struct log_state head = {0};
        uint64_t numbers[10];
        int rc = s->ops->log_load(s, g, &head);

        numbers[0] = (uint64_t)(uint32_t)rc;
        numbers[1] = head.term;
        numbers[2] = head.vote;
        numbers[3] = head.base.pos.index;
        numbers[4] = head.base.pos.term;
        numbers[5] = head.base.hash;
        numbers[6] = head.last.pos.index;
        numbers[7] = head.last.pos.term;
        numbers[8] = head.last.hash;
        numbers[9] = head.commit_hint;
        print = mix(print, numbers, sizeof numbers);
        print = print_entries(s, g, &head, print);
    }
    return print;
}

static uint64_t print_rows(struct store *s, group_id g, uint8_t kind, uint64_t print)
{
    struct row *rows = NULL;
    uint32_t count = 0;
    struct arena arena;
    int rc;

    arena_init(&arena, 4096, 0);
    rc = s->ops->state_range(s, g, kind, kv_bytes(NULL, 0), kv_bytes(NULL, 0), 100000,
                             &arena, &rows, &count);
    print = mix(print, &rc, sizeof rc);
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        uint64_t hash = row_hash(&rows[i]);

        print = mix(print, &hash, sizeof hash);
    }
    arena_close(&arena);
    return print;
}

uint64_t model_print_state(struct store *s)
{
    uint64_t print = 2;

    for (group_id g = 0; g < MODEL_PRINT_GROUPS; g++) {
        struct state_meta meta = {0};
        uint64_t numbers[8];
        int rc = s->ops->state_load(s, g, &meta);

        numbers[0] = (uint64_t)(uint32_t)rc;
        numbers[1] = meta.applied.pos.index;
        numbers[2] = meta.applied.pos.term;
        numbers[3] = meta.applied.hash;
        numbers[4] = meta.state_hash;
        numbers[5] = meta.rows_count;
        numbers[6] = meta.rows_bytes;
        numbers[7] = meta.mark;
        print = mix(print, numbers, sizeof numbers);
        print = print_rows(s, g, ROW_KV, print);
        print = print_rows(s, g, ROW_META, print);
    }
    return print;
}
