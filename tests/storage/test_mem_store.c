/* tests/storage/test_mem_store.c - the memory store's own promises: crashes and
 * faults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "raft/base/err.h"
#include "tests/lib/mem_store.h"
#include "tests/lib/store_model.h"

/* Holds, does random verbs, loses some of the newest: what is left is exactly what was
 * there after the others. */
static void a_crash_loses_exactly_the_newest_verbs(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        enum {
            STEPS = 40
        };
        uint64_t log_print[STEPS + 1], state_print[STEPS + 1];
        struct mem_store *disk;
        struct store *s;
        struct store_model m;
        struct prng p;
        uint32_t log_done = 0, state_done = 0, lose_log, lose_state;

        prng_init(&p, seed);
        assert_int_equal(mem_store_new(seed, &disk), 0);
        s = mem_store_base(disk);
        model_init(&m, s, seed);
        for (int i = 0; i < 200; i++) {
            model_step(&m);
        }
        mem_store_hold(disk, true);
        log_print[0] = model_print_log(s);
        state_print[0] = model_print_state(s);
        for (int i = 0; i < STEPS; i++) {
            model_step(&m);
            if (mem_store_pending(disk, MEM_LOG) > log_done) {
                log_print[++log_done] = model_print_log(s);
            }
            if (mem_store_pending(disk, MEM_STATE) > state_done) {
                state_print[++state_done] = model_print_state(s);
            }
        }
        assert_true(log_done > 5);
        lose_log = (uint32_t)prng_below(&p, log_done + 1);
        lose_state = (uint32_t)prng_below(&p, state_done + 1);
        mem_store_crash(disk, lose_log, lose_state);
        assert_int_equal(model_print_log(s), log_print[log_done - lose_log]);
        assert_int_equal(model_print_state(s), state_print[state_done - lose_state]);
        model_close(&m);
        mem_store_free(disk);
    }
}

struct fixture {
    struct mem_store *disk;
    struct store_model model;
};

static int setup(void **out)
{
    struct fixture *f = kv_mem_zalloc(sizeof *f);

    assert_non_null(f);
    assert_int_equal(mem_store_new(77, &f->disk), 0);
    model_init(&f->model, mem_store_base(f->disk), 1);
    *out = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    model_close(&f->model);
    mem_store_free(f->disk);
    kv_mem_free(f);
    return 0;
}

static void the_nth_verb_fails_with_or_without_its_effect(void **state)
{
    struct fixture *f = *state;
    struct store *s = mem_store_base(f->disk);
    uint64_t print;

    mem_store_fail(f->disk, 3, KV_EIO, false);
    assert_int_equal(model_append(&f->model, 0, 2), 0);
    assert_int_equal(model_append(&f->model, 1, 2), 0);
    print = model_print_log(s);
    assert_int_equal(model_append(&f->model, 0, 1), KV_EIO);
    assert_int_equal(model_print_log(s), print);
    assert_int_equal(model_append(&f->model, 0, 1), 0);

    mem_store_fail(f->disk, 1, KV_EIO, true);
    print = model_print_log(s);
    assert_int_equal(model_append(&f->model, 0, 1), KV_EIO);
    assert_int_not_equal(model_print_log(s), print);
}

static void a_full_disk_lets_only_urgent_writes_through(void **state)
{
    struct fixture *f = *state;
    struct store *s = mem_store_base(f->disk);
    struct log_write w[2] = {
        {.group = 0, .store_hard = true, .term = 5, .vote = 1, .urgent = true},
        {.group = 1, .store_hard = true, .term = 6, .vote = 2, .urgent = false}};

    mem_store_full(f->disk, true);
    assert_int_equal(s->ops->log_write(s, w, 2), KV_ENOSPACE);
    assert_int_equal(s->ops->log_write(s, w, 1), 0);
    mem_store_full(f->disk, false);
    assert_int_equal(s->ops->log_write(s, w, 2), 0);
}

static void without_a_reserve_nothing_gets_through(void **state)
{
    struct fixture *f = *state;
    struct mem_store *m = f->disk;
    struct store *s = mem_store_base(m);
    struct log_write w = {
        .group = 1, .store_hard = true, .term = 9, .vote = 1, .urgent = true};
    uint64_t met = mem_store_faults_met(m);

    mem_store_full_to_the_brim(m);
    assert_int_equal(s->ops->log_write(s, &w, 1), KV_ENOSPACE);
    assert_int_equal(mem_store_faults_met(m), met + 1);
    mem_store_full(m, false);
    assert_int_equal(s->ops->log_write(s, &w, 1), 0);
}

static void a_misread_is_no_damage(void **state)
{
    struct fixture *f = *state;
    struct mem_store *m = f->disk;
    struct store *s = mem_store_base(m);
    struct raft_meta meta;
    int rc;

    assert_int_equal(model_append(&f->model, 1, 2), 0);
    rc = s->ops->log_meta(s, 1, 1, &meta);
    assert_int_equal(rc, 0);
    mem_store_misread(m, 2);
    assert_int_equal(s->ops->log_meta(s, 1, 1, &meta), rc);
    assert_int_equal(s->ops->log_meta(s, 1, 1, &meta), KV_EDAMAGED);
    assert_int_equal(s->ops->log_meta(s, 1, 1, &meta), rc);
    assert_true(mem_store_is_whole(m, 1));
}

static void a_reset_over_damaged_entries_keeps_what_is_behind(void **state)
{
    struct fixture *f = *state;
    struct store *s = mem_store_base(f->disk);
    struct log_state before, after;
    struct raft_meta meta;
    struct raft_base to;
    struct log_write w = {.group = 1, .reset_to = &to};

    assert_int_equal(model_append(&f->model, 1, 6), 0);
    assert_int_equal(s->ops->log_load(s, 1, &before), 0);
    assert_int_equal(s->ops->log_meta(s, 1, before.last.pos.index - 3, &meta), 0);
    to = (struct raft_base){meta.pos, meta.hash, meta.time_ms};
    assert_true(mem_store_flip_entry(f->disk, 1, to.pos.index, 99));
    assert_true(mem_store_flip_entry(f->disk, 1, to.pos.index + 1, 99));
    assert_int_equal(s->ops->log_write(s, &w, 1), 0);
    assert_int_equal(s->ops->log_load(s, 1, &after), 0);
    assert_int_equal(after.base.pos.index, to.pos.index);
    assert_int_equal(after.last.pos.index, before.last.pos.index);
}

static void flipped_bits_are_found_on_reading_and_scrubbing(void **state)
{
    struct fixture *f = *state;
    struct store *s = mem_store_base(f->disk);
    struct store_scrub scrub = {0};
    struct raft_meta meta;

    assert_int_equal(model_append(&f->model, 2, 10), 0);
    assert_int_equal(s->ops->scrub(s, SIZE_MAX, &scrub), 0);
    assert_false(scrub.found);
    assert_int_equal(scrub.round, 1);
    for (uint64_t bit = 0; bit < 500; bit++) {
        assert_true(mem_store_flip_entry(f->disk, 2, 4, bit));
        assert_int_equal(s->ops->log_meta(s, 2, 4, &meta), KV_EDAMAGED);
        assert_true(mem_store_flip_entry(f->disk, 2, 4, bit));
    }
    assert_int_equal(s->ops->log_meta(s, 2, 4, &meta), 0);
    assert_true(mem_store_flip_entry(f->disk, 2, 4, 99));
    for (int i = 0; i < 100 && !scrub.found; i++) {
        assert_int_equal(s->ops->scrub(s, 100, &scrub), 0);
    }
    assert_true(scrub.found);
    assert_int_equal(scrub.damage.group, 2);
    assert_int_equal(scrub.damage.index, 4);
    assert_false(scrub.damage.in_state);
}

static void a_wiped_disk_is_a_new_directory(void **state)
{
    struct fixture *f = *state;
    struct store *s = mem_store_base(f->disk);
    struct store_identity id;
    struct log_state head;

    assert_int_equal(s->ops->identity_load(s, &id), 0);
    assert_int_equal(id.incarnation, 77);
    assert_int_equal(id.boots, 1);
    id.node = 3;
    assert_int_equal(s->ops->identity_save(s, &id), 0);
    assert_int_equal(mem_store_reopen(f->disk), 0);
    assert_int_equal(s->ops->identity_load(s, &id), 0);
    assert_int_equal(id.boots, 2);
    assert_int_equal(id.node, 3);
    assert_int_equal(model_append(&f->model, 0, 3), 0);
    mem_store_wipe(f->disk, 78);
    assert_int_equal(s->ops->identity_load(s, &id), 0);
    assert_int_equal(id.incarnation, 78);
    assert_int_equal(id.node, 0);
    assert_int_equal(s->ops->log_load(s, 0, &head), 0);
    assert_int_equal(head.last.pos.index, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crash_loses_exactly_the_newest_verbs),
        cmocka_unit_test_setup_teardown(the_nth_verb_fails_with_or_without_its_effect,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_lets_only_urgent_writes_through,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(without_a_reserve_nothing_gets_through, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            a_reset_over_damaged_entries_keeps_what_is_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(a_misread_is_no_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(flipped_bits_are_found_on_reading_and_scrubbing,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_wiped_disk_is_a_new_directory, setup,
                                        teardown),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("storage/mem_store", tests, NULL, NULL);
}
