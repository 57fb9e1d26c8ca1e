/* tests/storage/test_store.c - one suite for both stores: LMDB and memory.
 *
 * Each case runs twice, over a struct bed that hides which store it is. The model of
 * tests/lib/store_model.h does the same verbs and is compared.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>

#include "raft/base/err.h"
#include "raft/record.h"
#include "tests/lib/mem_store.h"
#include "tests/lib/store_dir.h"
#include "tests/lib/store_model.h"

/* A store that can be closed and opened again. */
struct bed {
    bool in_memory;
    struct mem_store *disk;
    char dir[STORE_DIR_BYTES];
    struct store *s;
    struct arena arena;
};

static void bed_open(struct bed *b, bool in_memory)
{
    *b = (struct bed){.in_memory = in_memory};
    arena_init(&b->arena, 4096, 0);
    if (in_memory) {
        assert_int_equal(mem_store_new(12345, &b->disk), 0);
        b->s = mem_store_base(b->disk);
    } else {
        store_dir_make_fast(b->dir);
        assert_int_equal(store_dir_open(b->dir, &b->s), 0);
    }
}

static int bed_reopen(struct bed *b)
{
    b->s->ops->close(b->s);
    return b->in_memory ? mem_store_reopen(b->disk) : store_dir_open(b->dir, &b->s);
}

static void bed_close(struct bed *b)
{
    b->s->ops->close(b->s);
    if (b->in_memory) {
        mem_store_free(b->disk);
    } else {
        store_dir_remove(b->dir);
    }
    arena_close(&b->arena);
}

static int bed_setup(void **state, bool in_memory)
{
    struct bed *b = kv_mem_zalloc(sizeof *b);

    assert_non_null(b);
    bed_open(b, in_memory);
    *state = b;
    return 0;
}

static int setup_memory(void **state)
{
    return bed_setup(state, true);
}

static int setup_lmdb(void **state)
{
    return bed_setup(state, false);
}

static int teardown(void **state)
{
    bed_close(*state);
    kv_mem_free(*state);
    return 0;
}

/* ---- identity ---- */

static void identity_survives_and_boots_are_counted(void **state)
{
    struct bed *b = *state;
    struct store_identity id;

    assert_int_equal(b->s->ops->identity_load(b->s, &id), 0);
    assert_int_equal(id.node, 0);
    assert_int_equal(id.cluster, 0);
    assert_int_equal(id.incarnation, 12345);
    assert_int_equal(id.boots, 1);
    id.node = 2;
    id.cluster = 0xfeed;
    id.peers_count = 2;
    id.peers[0].node = 1;
    id.peers[0].incarnation = 111;
    id.peers[1].node = 3;
    id.peers[1].incarnation = 333;
    assert_int_equal(b->s->ops->identity_save(b->s, &id), 0);
    assert_int_equal(bed_reopen(b), 0);
    assert_int_equal(b->s->ops->identity_load(b->s, &id), 0);
    assert_int_equal(id.boots, 2);
    assert_int_equal(id.node, 2);
    assert_int_equal(id.cluster, 0xfeed);
    assert_int_equal(id.incarnation, 12345);
    assert_int_equal(id.peers_count, 2);
    assert_int_equal(id.peers[1].incarnation, 333);
}

/* ---- the log ---- */

/* Appends `count` entries of `term` behind what is there. */
static int append(struct bed *b, group_id group, raft_term term, uint32_t count)
{
    struct kv_bytes records[32];
    struct log_state head;
    struct raft_meta meta;
    struct log_write w = {.group = group, .records = records, .records_count = count};
    int rc;

    assert_int_equal(b->s->ops->log_load(b->s, group, &head), 0);
    w.first_index = head.last.pos.index + 1;
    meta = head.last;
    for (uint32_t i = 0; i < count; i++) {
        records[i] = model_record(&meta, term, 7, 40, i, &meta);
    }
    rc = b->s->ops->log_write(b->s, &w, 1);
    for (uint32_t i = 0; i < count; i++) {
        kv_mem_free((void *)(uintptr_t)records[i].data);
    }
    return rc;
}

static struct raft_base base_at(struct bed *b, group_id group, raft_index index)
{
    struct raft_meta meta;

    assert_int_equal(b->s->ops->log_meta(b->s, group, index, &meta), 0);
    return (struct raft_base){meta.pos, meta.hash, meta.time_ms};
}

static int log_reset(struct bed *b, group_id group, const struct raft_base *to)
{
    struct log_write w = {.group = group, .reset_to = to};

    return b->s->ops->log_write(b->s, &w, 1);
}

static void an_empty_group_is_all_zero(void **state)
{
    struct bed *b = *state;
    struct log_state head;
    struct raft_meta meta;
    struct state_meta sm;
    struct row row;

    assert_int_equal(b->s->ops->log_load(b->s, 5, &head), 0);
    assert_int_equal(head.term, 0);
    assert_int_equal(head.vote, 0);
    assert_int_equal(head.base.pos.index, 0);
    assert_int_equal(head.last.pos.index, 0);
    assert_int_equal(head.commit_hint, 0);
    assert_int_equal(b->s->ops->log_meta(b->s, 5, 1, &meta), KV_ENOTFOUND);
    assert_int_equal(b->s->ops->log_meta(b->s, 5, 0, &meta), KV_ECOMPACTED);
    assert_int_equal(b->s->ops->state_load(b->s, 5, &sm), 0);
    assert_int_equal(sm.applied.pos.index, 0);
    assert_int_equal(
        b->s->ops->state_get(b->s, 5, ROW_KV, kv_bytes_str("k"), &b->arena, &row),
        KV_ENOTFOUND);
}

static void a_reset_keeps_entries_behind_a_matching_one(void **state)
{
    struct bed *b = *state;
    struct log_state head;
    struct raft_base to;
    struct raft_meta meta;

    assert_int_equal(append(b, 1, 3, 10), 0);
    to = base_at(b, 1, 6);
    assert_int_equal(log_reset(b, 1, &to), 0);
    assert_int_equal(b->s->ops->log_load(b->s, 1, &head), 0);
    assert_int_equal(head.base.pos.index, 6);
    assert_int_equal(head.last.pos.index, 10);
    assert_int_equal(head.commit_hint, 6);
    assert_int_equal(b->s->ops->log_meta(b->s, 1, 6, &meta), KV_ECOMPACTED);
    assert_int_equal(b->s->ops->log_meta(b->s, 1, 7, &meta), 0);
    to.pos.index = 2; /* Late: nothing happens. */
    assert_int_equal(log_reset(b, 1, &to), 0);
    assert_int_equal(b->s->ops->log_load(b->s, 1, &head), 0);
    assert_int_equal(head.base.pos.index, 6);
    assert_int_equal(append(b, 1, 4, 2), 0);
}

static void a_reset_drops_everything_when_the_entry_differs(void **state)
{
    struct bed *b = *state;
    struct raft_base to = {.pos = {.index = 6, .term = 9}, .hash = 99, .time_ms = 50};
    struct log_write hard = {.group = 1, .store_hard = true, .term = 9, .vote = 2};
    struct log_state head;
    struct raft_meta meta;

    assert_int_equal(append(b, 1, 3, 10), 0);
    assert_int_equal(b->s->ops->log_write(b->s, &hard, 1), 0);
    assert_int_equal(log_reset(b, 1, &to), 0);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(b->s->ops->log_load(b->s, 1, &head), 0);
        assert_int_equal(head.term, 9); /* Hard state stays. */
        assert_int_equal(head.vote, 2);
        assert_int_equal(head.base.pos.index, 6);
        assert_int_equal(head.last.pos.index, 6);
        assert_int_equal(head.last.pos.term, 9);
        assert_int_equal(head.last.hash, 99);
        assert_int_equal(b->s->ops->log_meta(b->s, 1, 7, &meta), KV_ENOTFOUND);
        assert_int_equal(b->s->ops->log_meta(b->s, 1, 6, &meta), KV_ECOMPACTED);
        assert_int_equal(log_reset(b, 1, &to), 0); /* The same again. */
    }
    assert_int_equal(append(b, 1, 9, 3), 0);
    assert_int_equal(b->s->ops->log_meta(b->s, 1, 9, &meta), 0);
    assert_int_equal(meta.pos.term, 9);
}

static void a_reset_beyond_the_log_empties_it(void **state)
{
    struct bed *b = *state;
    struct raft_base to = {.pos = {.index = 100, .term = 9}, .hash = 99, .time_ms = 50};
    struct log_state head;

    assert_int_equal(append(b, 1, 3, 10), 0);
    assert_int_equal(log_reset(b, 1, &to), 0);
    assert_int_equal(b->s->ops->log_load(b->s, 1, &head), 0);
    assert_int_equal(head.base.pos.index, 100);
    assert_int_equal(head.last.pos.index, 100);
    assert_int_equal(append(b, 1, 9, 1), 0);
    assert_int_equal(base_at(b, 1, 101).pos.term, 9);
}

/* Reads stop after bytes_max, but not before one entry. */
static void reads_are_bounded_by_bytes(void **state)
{
    struct bed *b = *state;
    struct kv_bytes *records;
    uint32_t count;

    assert_int_equal(append(b, 1, 1, 20), 0);
    assert_int_equal(
        b->s->ops->log_read(b->s, 1, 1, 21, 1, &b->arena, &records, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(
        b->s->ops->log_read(b->s, 1, 1, 21, 85, &b->arena, &records, &count), 0);
    assert_int_equal(count, 2);
    assert_int_equal(
        b->s->ops->log_read(b->s, 1, 1, 1000000, SIZE_MAX, &b->arena, &records, &count),
        0);
    assert_int_equal(count, 20);
    assert_int_equal(
        b->s->ops->log_read(b->s, 1, 21, 22, 100, &b->arena, &records, &count),
        KV_ENOTFOUND);
}

static void only_the_right_entry_repairs(void **state)
{
    struct bed *b = *state;
    struct raft_meta meta = {0};
    struct kv_bytes right;
    struct kv_bytes wrong;

    assert_int_equal(append(b, 1, 1, 3), 0);
    wrong = model_record(&meta, 1, 7, 40, 77, &meta); /* Index 1, another payload. */
    assert_int_equal(b->s->ops->log_repair(b->s, 1, 1, wrong), KV_EINVAL);
    meta = (struct raft_meta){0};
    right = model_record(&meta, 1, 7, 40, 0, &meta); /* As append() makes it. */
    assert_int_equal(b->s->ops->log_repair(b->s, 1, 1, right), 0);
    assert_int_equal(b->s->ops->log_repair(b->s, 1, 2, right), KV_EINVAL);
    assert_int_equal(b->s->ops->log_repair(b->s, 1, 4, right), KV_EINVAL);
    kv_mem_free((void *)(uintptr_t)right.data);
    kv_mem_free((void *)(uintptr_t)wrong.data);
}

/* ---- everything at once, against the model ---- */

static void model_run(bool in_memory, uint64_t seed, int steps)
{
    struct store_model m;
    struct bed b;

    bed_open(&b, in_memory);
    model_init(&m, b.s, seed);
    for (int i = 1; i <= steps; i++) {
        model_step(&m);
        if (i % 40 == 0) {
            model_check(&m);
        }
        if (i % 100 == 0) {
            assert_int_equal(bed_reopen(&b), 0);
            model_reopened(&m, b.s);
            model_check(&m);
        }
    }
    model_check(&m);
    model_close(&m);
    bed_close(&b);
}

static void memory_equals_a_naive_store(void **unused)
{
    (void)unused;
    for (uint64_t seed = 100; seed < 130; seed++) {
        model_run(true, seed, 400);
    }
}

static void lmdb_equals_a_naive_store(void **unused)
{
    (void)unused;
    for (uint64_t seed = 200; seed < 206; seed++) {
        model_run(false, seed, 400);
    }
}

/* Both stores do the same verbs: what can be read of them is the same. */
static void both_stores_print_the_same(void **unused)
{
    struct store_model memory;
    struct store_model lmdb;
    struct bed a;
    struct bed b;

    (void)unused;
    bed_open(&a, true);
    bed_open(&b, false);
    model_init(&memory, a.s, 5);
    model_init(&lmdb, b.s, 5);
    for (int i = 0; i < 300; i++) {
        model_step(&memory);
        model_step(&lmdb);
        if (i % 30 == 0) {
            assert_int_equal(model_print_log(a.s), model_print_log(b.s));
            assert_int_equal(model_print_state(a.s), model_print_state(b.s));
        }
    }
    model_close(&memory);
    model_close(&lmdb);
    bed_close(&a);
    bed_close(&b);
}

/* ---- snapshots ---- */

/* A group with rows that were checkpointed at index 30. */
static void fill(struct bed *b, group_id group, uint32_t rows_count, size_t value_bytes)
{
    struct state *st;
    struct state_frozen frozen;
    struct raft_base base;
    uint8_t *value = arena_zalloc(&b->arena, value_bytes);
    struct raft_config config = {
        .voters_count = 3, .voters = {1, 2, 3}, .learners_count = 1, .learners = {9}};

    assert_int_equal(append(b, group, 2, 30), 0);
    assert_int_equal(state_open(b->s, group, 64 << 20, &st), 0);
    for (uint32_t i = 0; i < rows_count; i++) {
        char key[32];
        struct row row = {.kind = ROW_KV, .slot = (uint16_t)(i % 16384), .rev = i + 1};

        snprintf(key, sizeof key, "key-%06u", i);
        row.key = kv_bytes_str(key);
        row.value = kv_bytes(value, i % (value_bytes + 1));
        assert_int_equal(state_put(st, &row), 0);
    }
    base = base_at(b, group, 30);
    state_applied(st, &base, &config, 4);
    assert_int_equal(state_freeze(st, &frozen), 0);
    assert_int_equal(b->s->ops->checkpoint(b->s, group, &frozen.meta, frozen.rows,
                                           frozen.rows_count),
                     0);
    state_close(st);
}

/* Sends up to `limit` bytes in chunks of `chunk_bytes`. Returns the last code. */
static int transfer(struct bed *from, struct bed *to, group_id group,
                    const struct raft_snapshot *snap, uint32_t chunk_bytes,
                    uint64_t limit)
{
    uint64_t offset;

    assert_int_equal(to->s->ops->chunk_offset(to->s, group, snap->id, &offset), 0);
    while (offset < snap->bytes && offset < limit) {
        uint32_t len = (uint32_t)KV_MIN((uint64_t)chunk_bytes, snap->bytes - offset);
        uint8_t *data = kv_mem_zalloc(len);
        struct raft_chunk chunk = {.snapshot_id = snap->id,
                                   .offset = offset,
                                   .len = len,
                                   .done = offset + len == snap->bytes,
                                   .data = kv_bytes(data, len)};
        int rc;

        assert_int_equal(
            from->s->ops->snapshot_read(from->s, group, snap->id, offset, len, data),
            0);
        rc = to->s->ops->chunk_store(to->s, group, snap, &chunk);
        kv_mem_free(data);
        if (rc != 0) {
            return rc;
        }
        offset += len;
    }
    return 0;
}

static void same_rows(struct bed *a, struct bed *b, group_id group, uint32_t rows_count)
{
    struct state_meta ma;
    struct state_meta mb;
    struct row *ra;
    struct row *rb;
    uint32_t na;
    uint32_t nb;

    assert_int_equal(a->s->ops->state_load(a->s, group, &ma), 0);
    assert_int_equal(b->s->ops->state_load(b->s, group, &mb), 0);
    assert_int_equal(ma.applied.hash, mb.applied.hash);
    assert_int_equal(ma.applied.pos.index, mb.applied.pos.index);
    assert_int_equal(ma.state_hash, mb.state_hash);
    assert_int_equal(ma.rows_count, mb.rows_count);
    assert_int_equal(ma.rows_bytes, mb.rows_bytes);
    assert_int_equal(a->s->ops->state_range(a->s, group, ROW_KV, kv_bytes(NULL, 0),
                                            kv_bytes(NULL, 0), UINT32_MAX, &a->arena,
                                            &ra, &na),
                     0);
    assert_int_equal(b->s->ops->state_range(b->s, group, ROW_KV, kv_bytes(NULL, 0),
                                            kv_bytes(NULL, 0), UINT32_MAX, &b->arena,
                                            &rb, &nb),
                     0);
    assert_int_equal(na, rows_count);
    assert_int_equal(nb, rows_count);
    for (uint32_t i = 0; i < na; i++) {
        assert_int_equal(row_hash(&ra[i]), row_hash(&rb[i]));
    }
    arena_reset(&a->arena);
    arena_reset(&b->arena);
}

static void sweep_all(struct bed *b)
{
    bool more = true;

    for (int i = 0; more; i++) {
        assert_true(i < 10000);
        assert_int_equal(b->s->ops->sweep(b->s, &more), 0);
    }
}

static void snapshot_travels(bool from_memory, bool to_memory)
{
    struct raft_snapshot snap;
    struct raft_snapshot again;
    struct log_state head;
    struct state_meta meta;
    struct bed from;
    struct bed to;

    bed_open(&from, from_memory);
    bed_open(&to, to_memory);
    fill(&from, 2, 3000, 500);
    fill(&to, 1, 10, 10); /* Neighbours that must not be touched. */
    fill(&to, 3, 10, 10);
    assert_int_equal(from.s->ops->snapshot_make(from.s, 2, &snap), 0);
    assert_int_equal(from.s->ops->snapshot_make(from.s, 2, &again), 0);
    assert_int_equal(snap.id, again.id);
    assert_int_equal(transfer(&from, &to, 2, &snap, 10000, snap.bytes / 2), 0);
    if (!to_memory) { /* Goes on where whole frames ended. */
        assert_int_equal(bed_reopen(&to), 0);
    }
    assert_int_equal(to.s->ops->install(to.s, 2, &snap),
                     KV_EDAMAGED); /* Not complete. */
    assert_int_equal(transfer(&from, &to, 2, &snap, 70000, UINT64_MAX), 0);
    assert_int_equal(to.s->ops->install(to.s, 2, &snap), 0);
    assert_int_equal(to.s->ops->state_load(to.s, 2, &meta), 0);
    assert_true(meta.mark);
    assert_int_equal(meta.config.voters_count, 3);
    assert_int_equal(meta.config_index, 4);
    same_rows(&from, &to, 2, 3000);

    /* The process dies here: opening finishes the reset. */
    assert_int_equal(bed_reopen(&to), 0);
    assert_int_equal(to.s->ops->state_load(to.s, 2, &meta), 0);
    assert_false(meta.mark);
    assert_int_equal(to.s->ops->log_load(to.s, 2, &head), 0);
    assert_int_equal(head.base.pos.index, 30);
    assert_int_equal(head.last.pos.index, 30);
    same_rows(&from, &to, 2, 3000);

    /* Once more over what is there; the old rows are swept. */
    assert_int_equal(transfer(&from, &to, 2, &snap, 70000, UINT64_MAX), 0);
    assert_int_equal(to.s->ops->install(to.s, 2, &snap), 0);
    same_rows(&from, &to, 2, 3000);
    assert_int_equal(to.s->ops->mark_clear(to.s, 2), 0);
    sweep_all(&to);
    same_rows(&from, &to, 2, 3000);
    assert_int_equal(to.s->ops->state_load(to.s, 1, &meta), 0);
    assert_int_equal(meta.rows_count, 10);
    bed_close(&from);
    bed_close(&to);
}

static void snapshots_travel_between_all_stores(void **unused)
{
    (void)unused;
    snapshot_travels(false, false);
    snapshot_travels(true, true);
    snapshot_travels(true, false);
    snapshot_travels(false, true);
}

/* A replica that has old rows and an old log. */
static void an_old_state_is_replaced_as_a_whole(void **state)
{
    struct bed *b = *state;
    struct bed from;
    struct raft_snapshot snap;
    struct row row;

    bed_open(&from, true);
    fill(&from, 2, 50, 10);
    fill(b, 2, 400, 30); /* The same index, other rows. */
    assert_int_equal(from.s->ops->snapshot_make(from.s, 2, &snap), 0);
    assert_int_equal(transfer(&from, b, 2, &snap, 1000, UINT64_MAX), 0);
    assert_int_equal(b->s->ops->install(b->s, 2, &snap), 0);
    same_rows(&from, b, 2, 50);
    assert_int_equal(b->s->ops->state_get(b->s, 2, ROW_KV, kv_bytes_str("key-000100"),
                                          &b->arena, &row),
                     KV_ENOTFOUND);
    bed_close(&from);
}

static void chunks_must_follow_each_other(void **state)
{
    struct bed *b = *state;
    struct raft_snapshot snap = {.id = 7, .bytes = 100};
    uint8_t data[60] = {0};
    struct raft_chunk c = {.snapshot_id = 7, .len = 60, .data = kv_bytes(data, 60)};
    uint64_t offset;

    c.offset = 10;
    assert_int_equal(b->s->ops->chunk_store(b->s, 1, &snap, &c), KV_EINVAL);
    c.offset = 0;
    assert_int_equal(b->s->ops->chunk_store(b->s, 1, &snap, &c), 0);
    assert_int_equal(b->s->ops->chunk_offset(b->s, 1, 7, &offset), 0);
    assert_int_equal(offset, 60);
    assert_int_equal(b->s->ops->chunk_offset(b->s, 1, 8, &offset), 0);
    assert_int_equal(offset, 0);
    c.offset = 60; /* 120 bytes of 100. */
    assert_int_equal(b->s->ops->chunk_store(b->s, 1, &snap, &c), KV_EINVAL);
    c.len = 40;
    c.data.len = 40;
    assert_int_equal(b->s->ops->chunk_store(b->s, 1, &snap, &c), 0);
    assert_int_equal(b->s->ops->install(b->s, 1, &snap), KV_EDAMAGED);
    assert_int_equal(b->s->ops->chunk_offset(b->s, 1, 7, &offset), 0);
    assert_int_equal(offset, 0); /* The bad file is gone. */
    c.offset = 0;
    snap.id = 8;
    c.snapshot_id = 8;
    assert_int_equal(b->s->ops->chunk_store(b->s, 1, &snap, &c), 0);
    assert_int_equal(b->s->ops->chunk_offset(b->s, 1, 8, &offset), 0);
    assert_int_equal(offset, 40);
}

/* ---- scrubbing ---- */

static void a_clean_store_scrubs_clean_in_bounded_steps(void **state)
{
    struct bed *b = *state;
    struct store_scrub scrub = {0};
    int calls = 0;

    fill(b, 0, 300, 100);
    fill(b, 2, 300, 100);
    while (scrub.round < 2) {
        assert_int_equal(b->s->ops->scrub(b->s, 2000, &scrub), 0);
        assert_false(scrub.found);
        assert_true(++calls < 1000);
    }
    assert_true(calls > 20);
    /* It says what it read, and not what it might have read. */
    assert_int_equal(b->s->ops->scrub(b->s, 10 << 20, &scrub), 0);
    assert_int_equal(scrub.round, 3);
    assert_in_range(scrub.bytes, 30000, 100000);
}

#define ON_BOTH(test)                                        \
    {#test " (memory)", test, setup_memory, teardown, NULL}, \
    {                                                        \
#test " (lmdb)", test, setup_lmdb, teardown, NULL    \
    }

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(identity_survives_and_boots_are_counted),
        ON_BOTH(an_empty_group_is_all_zero),
        ON_BOTH(a_reset_keeps_entries_behind_a_matching_one),
        ON_BOTH(a_reset_drops_everything_when_the_entry_differs),
        ON_BOTH(a_reset_beyond_the_log_empties_it),
        ON_BOTH(reads_are_bounded_by_bytes),
        ON_BOTH(only_the_right_entry_repairs),
        ON_BOTH(an_old_state_is_replaced_as_a_whole),
        ON_BOTH(chunks_must_follow_each_other),
        ON_BOTH(a_clean_store_scrubs_clean_in_bounded_steps),
        cmocka_unit_test(snapshots_travel_between_all_stores),
        cmocka_unit_test(memory_equals_a_naive_store),
        cmocka_unit_test(lmdb_equals_a_naive_store),
        cmocka_unit_test(both_stores_print_the_same),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("storage/store", tests, NULL, NULL);
}
