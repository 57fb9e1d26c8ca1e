/* tests/storage/test_state.c - state.c over the memory store, against naive rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "raft/base/err.h"
#include "tests/lib/mem_store.h"
#include "tests/lib/store_model.h"

static void equals_a_naive_store_after_random_steps(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct mem_store *disk;
        struct store_model m;

        assert_int_equal(mem_store_new(seed, &disk), 0);
        model_init(&m, mem_store_base(disk), seed);
        for (int i = 0; i < 600; i++) {
            model_step(&m);
            if (i % 20 == 0) {
                model_check(&m);
            }
            if (i % 150 == 149) { /* The deltas are lost, the rest is not. */
                assert_int_equal(mem_store_reopen(disk), 0);
                model_reopened(&m, mem_store_base(disk));
                model_check(&m);
            }
        }
        model_check(&m);
        model_close(&m);
        mem_store_free(disk);
    }
}

struct fixture {
    struct mem_store *disk;
    struct state *state;
    struct arena arena;
};

static int setup(void **out)
{
    struct fixture *f = kv_mem_zalloc(sizeof *f);

    assert_non_null(f);
    assert_int_equal(mem_store_new(1, &f->disk), 0);
    assert_int_equal(state_open(mem_store_base(f->disk), 0, 4096, &f->state), 0);
    arena_init(&f->arena, 4096, 0);
    *out = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    arena_close(&f->arena);
    state_close(f->state);
    mem_store_free(f->disk);
    kv_mem_free(f);
    return 0;
}

/* Puts key -> value with an entry in the log, so that a checkpoint may follow. */
static void put(struct fixture *f, const char *key, const char *value)
{
    struct store *s = mem_store_base(f->disk);
    struct log_state head;
    struct raft_meta meta;
    struct kv_bytes record;
    struct log_write w = {.records = &record, .records_count = 1};
    struct raft_base base;
    struct row row = {
        .kind = ROW_KV, .key = kv_bytes_str(key), .value = kv_bytes_str(value)};

    assert_int_equal(s->ops->log_load(s, 0, &head), 0);
    record = model_record(&head.last, 1, 1, 5, 1, &meta);
    w.first_index = meta.pos.index;
    assert_int_equal(s->ops->log_write(s, &w, 1), 0);
    kv_mem_free((void *)(uintptr_t)record.data);
    row.rev = meta.pos.index;
    assert_int_equal(state_put(f->state, &row), 0);
    base = (struct raft_base){meta.pos, meta.hash, meta.time_ms};
    state_applied(f->state, &base, NULL, 0);
}

static void checkpoint(struct fixture *f)
{
    struct store *s = mem_store_base(f->disk);
    struct state_frozen frozen;

    assert_int_equal(state_freeze(f->state, &frozen), 0);
    assert_int_equal(
        s->ops->checkpoint(s, 0, &frozen.meta, frozen.rows, frozen.rows_count), 0);
    state_checkpointed(f->state, true);
}

static void value_is(struct fixture *f, const char *key, const char *want)
{
    struct row row;
    int rc = state_get(f->state, ROW_KV, kv_bytes_str(key), &f->arena, &row);

    assert_int_equal(rc, want == NULL ? KV_ENOTFOUND : 0);
    if (want != NULL) {
        assert_true(kv_bytes_equal(row.value, kv_bytes_str(want)));
    }
}

static void newest_source_wins(void **state)
{
    struct fixture *f = *state;
    struct state_frozen frozen;
    bool existed;

    put(f, "a", "store");
    put(f, "b", "store");
    put(f, "c", "store");
    checkpoint(f);
    put(f, "b", "frozen");
    put(f, "c", "frozen");
    assert_int_equal(state_freeze(f->state, &frozen), 0);
    put(f, "c", "active");
    value_is(f, "a", "store");
    value_is(f, "b", "frozen");
    value_is(f, "c", "active");
    assert_int_equal(state_del(f->state, ROW_KV, kv_bytes_str("b"), &existed), 0);
    assert_true(existed);
    value_is(f, "b", NULL);
    assert_int_equal(state_del(f->state, ROW_KV, kv_bytes_str("b"), &existed), 0);
    assert_false(existed);
    assert_int_equal(state_meta_get(f->state)->rows_count, 2);
}

static void state_hash_does_not_depend_on_the_way(void **state)
{
    struct fixture *f = *state;
    uint64_t hash;
    bool existed;

    put(f, "a", "1");
    hash = state_meta_get(f->state)->state_hash;
    put(f, "x", "2");
    checkpoint(f);
    put(f, "x", "3");
    assert_int_not_equal(state_meta_get(f->state)->state_hash, hash);
    assert_int_equal(state_del(f->state, ROW_KV, kv_bytes_str("x"), &existed), 0);
    assert_int_equal(state_meta_get(f->state)->state_hash, hash);
}

static void a_failed_checkpoint_stays_frozen_and_can_be_tried_again(void **state)
{
    struct fixture *f = *state;
    struct store *s = mem_store_base(f->disk);
    struct state_frozen frozen;
    struct state_meta meta;

    put(f, "a", "1");
    assert_int_equal(state_freeze(f->state, &frozen), 0);
    mem_store_fail(f->disk, 1, KV_ENOSPACE, false);
    assert_int_equal(
        s->ops->checkpoint(s, 0, &frozen.meta, frozen.rows, frozen.rows_count),
        KV_ENOSPACE);
    state_checkpointed(f->state, false);
    put(f, "b", "2");
    value_is(f, "a", "1");
    assert_int_equal(state_checkpoint_base(f->state)->pos.index, 0);
    assert_int_equal(
        s->ops->checkpoint(s, 0, &frozen.meta, frozen.rows, frozen.rows_count), 0);
    state_checkpointed(f->state, true);
    assert_int_equal(state_checkpoint_base(f->state)->pos.index, 1);
    assert_int_equal(s->ops->state_load(s, 0, &meta), 0);
    assert_int_equal(meta.rows_count, 1);
    value_is(f, "a", "1");
    value_is(f, "b", "2");
}

static void is_full_only_while_one_delta_is_frozen(void **state)
{
    struct fixture *f = *state;
    struct state_frozen frozen;

    assert_false(state_full(f->state));
    for (int i = 0; i < 300; i++) {
        put(f, "k", "a value");
        put(f, i % 2 == 0 ? "kk" : "a rather long key that takes room", "a value");
    }
    assert_false(state_full(f->state));
    assert_int_equal(state_freeze(f->state, &frozen), 0);
    assert_false(state_full(f->state));
    for (char c = 'a'; c <= 'z'; c++) {
        char key[2] = {c, 0};

        put(f, key,
            "a value that is a little longer, 26 of them pass the bound of four "
            "kilobytes easily; padding padding padding padding padding padding");
    }
    assert_true(state_full(f->state));
    state_checkpointed(f->state, true);
    assert_false(state_full(f->state));
}

static void reports_a_damaged_row(void **state)
{
    struct fixture *f = *state;
    struct row row = {.kind = ROW_KV, .key = kv_bytes_str("a")};

    put(f, "a", "1");
    checkpoint(f);
    assert_true(mem_store_flip_row(f->disk, 0, ROW_KV, kv_bytes_str("a"), 3));
    assert_int_equal(state_get(f->state, ROW_KV, row.key, &f->arena, &row),
                     KV_EDAMAGED);
    row = (struct row){.kind = ROW_KV, .key = kv_bytes_str("a")};
    assert_int_equal(state_put(f->state, &row), KV_EDAMAGED);
}

/* A look and the change behind it: the second one does not ask the store again, which
 * the store shows by being damaged in between. */
static void a_change_asks_the_store_once_after_a_look(void **state)
{
    struct fixture *f = *state;
    struct row record = {.kind = ROW_RECORD, .key = kv_bytes_str("r"), .rev = 9};
    struct row found;
    uint64_t hash;
    bool existed;

    put(f, "a", "1");
    hash = state_meta_get(f->state)->state_hash;
    assert_int_equal(state_put(f->state, &record), 0);
    checkpoint(f);
    assert_int_equal(state_get(f->state, ROW_RECORD, record.key, &f->arena, &found), 0);
    value_is(f, "b", NULL);
    assert_true(mem_store_flip_row(f->disk, 0, ROW_RECORD, record.key, 3));
    assert_int_equal(state_del(f->state, ROW_RECORD, record.key, &existed), 0);
    assert_true(existed);
    assert_int_equal(state_meta_get(f->state)->state_hash, hash);
    assert_int_equal(state_meta_get(f->state)->rows_count, 1);
    put(f, "b", "2");
    assert_int_equal(state_meta_get(f->state)->rows_count, 2);
}

/* What a look found is not true any more once a checkpoint has changed the store. */
static void a_look_ends_with_a_checkpoint(void **state)
{
    struct fixture *f = *state;
    struct state_frozen frozen;
    struct store *s = mem_store_base(f->disk);
    struct row row = {.kind = ROW_RECORD, .key = kv_bytes_str("r"), .rev = 9};
    struct row found;
    bool existed;

    put(f, "a", "1");
    assert_int_equal(state_get(f->state, ROW_RECORD, row.key, &f->arena, &found),
                     KV_ENOTFOUND);
    assert_int_equal(state_put(f->state, &row), 0);
    assert_int_equal(state_freeze(f->state, &frozen), 0);
    assert_int_equal(
        s->ops->checkpoint(s, 0, &frozen.meta, frozen.rows, frozen.rows_count), 0);
    state_checkpointed(f->state, true);
    assert_int_equal(state_del(f->state, ROW_RECORD, row.key, &existed), 0);
    assert_true(existed);
    assert_int_equal(state_meta_get(f->state)->rows_count, 1);
}

static void shown(void *ctx, const struct row *before, const struct row *after)
{
    struct kv_bytes *seen = ctx;

    assert_non_null(before);
    assert_int_equal(after->kind, ROW_KV);
    assert_int_equal(before->value.len, 5);
    memcpy((void *)(uintptr_t)seen->data, before->value.data, 5);
}

static void a_row_that_was_looked_at_is_shown_when_it_changes(void **state)
{
    struct fixture *f = *state;
    uint8_t room[6] = {0};
    struct kv_bytes seen = kv_bytes(room, sizeof room);
    struct state_observer observer = {shown, &seen, ROW_KV};
    struct row record = {.kind = ROW_RECORD, .key = kv_bytes_str("r")};

    put(f, "a", "first");
    checkpoint(f);
    value_is(f, "a", "first"); /* Kept: nobody wants it shown yet. */
    state_observe(f->state, &observer);
    assert_int_equal(state_put(f->state, &record), 0); /* Not shown. */
    put(f, "a", "other");
    assert_string_equal((char *)room, "first");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(newest_source_wins, setup, teardown),
        cmocka_unit_test_setup_teardown(state_hash_does_not_depend_on_the_way, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            a_failed_checkpoint_stays_frozen_and_can_be_tried_again, setup, teardown),
        cmocka_unit_test_setup_teardown(is_full_only_while_one_delta_is_frozen, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(reports_a_damaged_row, setup, teardown),
        cmocka_unit_test_setup_teardown(a_change_asks_the_store_once_after_a_look,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_look_ends_with_a_checkpoint, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_row_that_was_looked_at_is_shown_when_it_changes, setup, teardown),
        cmocka_unit_test(equals_a_naive_store_after_random_steps),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("storage/state", tests, NULL, NULL);
}
