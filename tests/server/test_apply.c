/* tests/server/test_apply.c - each command against a state over mem_store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "raft/base/err.h"
#include "raft/base/prng.h"
#include "raft/record.h"
#include "rpc/slot.h"
#include "server/apply.h"
#include "tests/lib/mem_store.h"

struct machine {
    struct mem_store *mem;
    struct state *st;
    struct apply apply;
    struct arena keep;
    raft_index last;
};

static struct machine *machine_new(void)
{
    struct machine *m = kv_mem_zalloc(sizeof *m);

    assert_non_null(m);
    assert_int_equal(mem_store_new(1, &m->mem), 0);
    assert_int_equal(state_open(mem_store_base(m->mem), 1, 1 << 20, &m->st), 0);
    assert_int_equal(apply_open(&m->apply, m->st), 0);
    arena_init(&m->keep, 4096, 0);
    return m;
}

static void machine_free(struct machine *m)
{
    apply_close(&m->apply);
    state_close(m->st);
    mem_store_free(m->mem);
    arena_close(&m->keep);
    kv_mem_free(m);
}

static int apply_raw(struct machine *m, uint8_t type, struct kv_bytes payload,
                     struct apply_result *out)
{
    struct raft_entry e = {.pos = {m->last + 1, 1}, .type = type, .payload = payload};
    int rc = apply_entry(&m->apply, &e, &m->keep, out);

    m->last += rc == 0;
    return rc;
}

static struct apply_result run(struct machine *m, const struct command *c)
{
    struct apply_result r;
    uint8_t payload[4096];

    assert_true(command_bytes(c) <= sizeof payload);
    command_encode(c, payload);
    assert_int_equal(
        apply_raw(m, RAFT_ENTRY_COMMAND, kv_bytes(payload, command_bytes(c)), &r), 0);
    return r;
}

static struct command command_for(enum command_kind kind, const char *key)
{
    struct command c = {.kind = kind};

    c.key = kv_bytes_str(key);
    c.slot = slot_of(c.key);
    return c;
}

static struct apply_result own_all(struct machine *m, uint64_t rev_offset)
{
    static uint8_t all[COMMAND_SLOTS_BYTES];
    struct command c = {.kind = COMMAND_OWN_SLOTS, .rev_offset = rev_offset};

    memset(all, 0xff, sizeof all);
    c.slots = kv_bytes(all, sizeof all);
    return run(m, &c);
}

static struct apply_result put(struct machine *m, const char *key, const char *value)
{
    struct command c = command_for(COMMAND_KV_PUT, key);

    c.value = kv_bytes_str(value);
    return run(m, &c);
}

static struct apply_result incr(struct machine *m, const char *key, int64_t delta)
{
    struct command c = command_for(COMMAND_KV_INCR, key);

    c.delta = delta;
    return run(m, &c);
}

static void assert_value(struct machine *m, const char *key, const char *value)
{
    struct row row;
    int rc = state_get(m->st, ROW_KV, kv_bytes_str(key), &m->keep, &row);

    if (value == NULL) {
        assert_int_equal(rc, KV_ENOTFOUND);
        return;
    }
    assert_int_equal(rc, 0);
    assert_true(kv_bytes_equal(row.value, kv_bytes_str(value)));
    assert_int_equal(row.slot, slot_of(kv_bytes_str(key)));
}

static void nothing_is_written_before_the_group_owns_slots(void **state)
{
    struct machine *m = machine_new();
    uint64_t hash = state_meta_get(m->st)->state_hash;
    struct apply_result r = put(m, "a", "1");

    (void)state;
    assert_int_equal(r.code, KV_ENOTFOUND);
    assert_int_equal(state_meta_get(m->st)->applied.pos.index, 1);
    assert_int_equal(state_meta_get(m->st)->state_hash, hash);
    assert_value(m, "a", NULL);
    machine_free(m);
}

static void the_first_owner_command_wins(void **state)
{
    struct machine *m = machine_new();
    struct apply_result first = own_all(m, 100);
    struct apply_result second = own_all(m, 900);

    (void)state;
    assert_int_equal(first.code, 0);
    assert_true(first.is_slots);
    assert_int_equal(second.code, KV_EEXIST);
    assert_int_equal(m->apply.rev_offset, 100);
    machine_free(m);
}

static void only_owned_slots_are_written(void **state)
{
    struct machine *m = machine_new();
    uint8_t slots[COMMAND_SLOTS_BYTES] = {0};
    struct command c = {.kind = COMMAND_OWN_SLOTS};

    (void)state;
    command_slot_set(slots, slot_of(kv_bytes_str("mine")));
    c.slots = kv_bytes(slots, sizeof slots);
    (void)run(m, &c);
    assert_int_equal(put(m, "mine", "1").code, 0);
    assert_int_equal(put(m, "yours", "1").code, KV_ENOTFOUND);
    assert_value(m, "mine", "1");
    assert_value(m, "yours", NULL);
    machine_free(m);
}

static void revisions_are_index_plus_offset(void **state)
{
    struct machine *m = machine_new();

    (void)state;
    (void)own_all(m, 1000);
    assert_int_equal(put(m, "a", "1").rev, 1000 + 2);
    assert_int_equal(put(m, "a", "2").rev, 1000 + 3);
    machine_free(m);
}

static void cas_covers_its_four_cases(void **state)
{
    struct machine *m = machine_new();
    struct command c = command_for(COMMAND_KV_CAS, "a");
    struct apply_result r;

    (void)state;
    (void)own_all(m, 0);
    c.has_replacement = true; /* none -> "" */
    r = run(m, &c);
    assert_true(r.swapped);
    assert_value(m, "a", "");
    r = run(m, &c); /* There is one by now. */
    assert_false(r.swapped);
    assert_true(r.has_value);
    assert_int_equal(r.value.len, 0);
    assert_int_equal(r.rev, 2);
    c.has_expected = true; /* "" -> "x" */
    c.replacement = kv_bytes_str("x");
    assert_true(run(m, &c).swapped);
    r = run(m, &c); /* "" is no longer there. */
    assert_false(r.swapped);
    assert_true(kv_bytes_equal(r.value, kv_bytes_str("x")));
    c.expected = kv_bytes_str("x"); /* "x" -> none */
    c.has_replacement = false;
    c.replacement = kv_bytes(NULL, 0);
    assert_true(run(m, &c).swapped);
    assert_value(m, "a", NULL);
    r = run(m, &c);
    assert_false(r.swapped);
    assert_false(r.has_value);
    assert_int_equal(r.rev, 0);
    machine_free(m);
}

static void incr_counts_to_the_ends_of_int64(void **state)
{
    struct machine *m = machine_new();

    (void)state;
    (void)own_all(m, 0);
    assert_true(incr(m, "n", INT64_MAX).number == INT64_MAX);
    assert_value(m, "n", "9223372036854775807");
    assert_int_equal(incr(m, "n", 1).code, KV_EOVERFLOW);
    assert_value(m, "n", "9223372036854775807");
    assert_true(incr(m, "n", INT64_MIN).number == -1);
    (void)put(m, "n", "-9223372036854775808");
    assert_int_equal(incr(m, "n", -1).code, KV_EOVERFLOW);
    assert_true(incr(m, "n", 0).number == INT64_MIN);
    assert_value(m, "n", "-9223372036854775808");
    machine_free(m);
}

static void incr_refuses_what_is_no_decimal_int64(void **state)
{
    static const char *const bad[] = {"",
                                      "-",
                                      " 1",
                                      "1 ",
                                      "+1",
                                      "0x1",
                                      "1.0",
                                      "--1",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "123456789012345678901"};
    static const char *const good[] = {"0", "-0", "007", "-9223372036854775808"};
    struct machine *m = machine_new();

    (void)state;
    (void)own_all(m, 0);
    for (size_t i = 0; i < KV_ARRAY_COUNT(bad); i++) {
        (void)put(m, "n", bad[i]);
        assert_int_equal(incr(m, "n", 0).code, KV_EBADREQUEST);
        assert_value(m, "n", bad[i]);
    }
    for (size_t i = 0; i < KV_ARRAY_COUNT(good); i++) {
        (void)put(m, "n", good[i]);
        assert_int_equal(incr(m, "n", 0).code, 0);
    }
    machine_free(m);
}

static void a_map_replaces_only_the_epoch_it_names(void **state)
{
    struct machine *m = machine_new();
    struct command c = {.kind = COMMAND_MAP_SET, .epoch = 5};
    struct kv_bytes map;
    uint64_t epoch;

    (void)state;
    assert_int_equal(apply_map_read(m->st, &m->keep, &map, &epoch), KV_ENOTFOUND);
    c.map = kv_bytes_str("five");
    assert_true(run(m, &c).is_map);
    c.epoch = 6;
    c.map = kv_bytes_str("six");
    assert_int_equal(run(m, &c).code, KV_EEXIST);
    c.epoch_replaced = 5;
    assert_int_equal(run(m, &c).code, 0);
    assert_int_equal(apply_map_read(m->st, &m->keep, &map, &epoch), 0);
    assert_int_equal(epoch, 6);
    assert_true(kv_bytes_equal(map, kv_bytes_str("six")));
    machine_free(m);
}

static void configurations_reach_the_state(void **state)
{
    struct machine *m = machine_new();
    struct raft_config config = {.voters_count = 1, .voters = {4}};
    uint8_t payload[RAFT_CONFIG_BYTES_MAX];
    size_t len = raft_config_encode(&config, payload);
    struct apply_result r;

    (void)state;
    assert_int_equal(apply_raw(m, RAFT_ENTRY_NOOP, kv_bytes(NULL, 0), &r), 0);
    assert_int_equal(apply_raw(m, RAFT_ENTRY_CONFIG, kv_bytes(payload, len), &r), 0);
    assert_int_equal(state_meta_get(m->st)->config_index, 2);
    assert_int_equal(state_meta_get(m->st)->config.voters[0], 4);
    machine_free(m);
}

static void what_it_does_not_know_stops_it_and_changes_nothing(void **state)
{
    static const uint8_t future[] = {COMMAND_VERSION_PREFIXED + 1, 1, 0, 0};
    static const uint8_t broken[] = {COMMAND_VERSION, COMMAND_KV_DEL, 0, 0, 9, 0};
    struct machine *m = machine_new();
    struct apply_result r;

    (void)state;
    assert_int_equal(apply_raw(m, RAFT_ENTRY_COMMAND, kv_bytes(future, 4), &r),
                     KV_EFORMAT);
    assert_int_equal(apply_raw(m, RAFT_ENTRY_COMMAND, kv_bytes(broken, 6), &r),
                     KV_ECORRUPT);
    assert_int_equal(apply_raw(m, 77, kv_bytes(NULL, 0), &r), KV_EFORMAT);
    assert_int_equal(state_meta_get(m->st)->applied.pos.index, 0);
    machine_free(m);
}

/* The same entries give the same state, also through checkpoints and a new start. */
static void two_replicas_agree_however_they_checkpoint(void **state)
{
    struct machine *a = machine_new();
    struct machine *b = machine_new();
    struct prng p;

    (void)state;
    prng_init(&p, 5);
    (void)own_all(a, 0);
    (void)own_all(b, 0);
    for (int i = 0; i < 2000; i++) {
        char key[8], value[8];
        struct command c;

        (void)snprintf(key, sizeof key, "k%d", (int)prng_below(&p, 30));
        (void)snprintf(value, sizeof value, "%d", (int)prng_below(&p, 5));
        c = command_for((enum command_kind)prng_between(&p, 1, 4), key);
        if (c.kind == COMMAND_KV_PUT) {
            c.value = kv_bytes_str(value);
        } else if (c.kind == COMMAND_KV_CAS) {
            c.has_expected = prng_below(&p, 2) == 0;
            c.expected = c.has_expected ? kv_bytes_str(value) : kv_bytes(NULL, 0);
            c.has_replacement = prng_below(&p, 2) == 0;
        } else if (c.kind == COMMAND_KV_INCR) {
            c.delta = (int64_t)prng_below(&p, 9) - 4;
        }
        (void)run(a, &c);
        (void)run(b, &c);
        if (prng_below(&p, 50) == 0) {
            struct state_frozen frozen;
            struct store *s = mem_store_base(b->mem);
            struct raft_base base = state_meta_get(b->st)->applied;
            struct log_write w = {.group = 1, .reset_to = &base};

            /* mem_store wants the log to hold what is checkpointed. */
            assert_int_equal(s->ops->log_write(s, &w, 1), 0);
            assert_int_equal(state_freeze(b->st, &frozen), 0);
            assert_int_equal(
                s->ops->checkpoint(s, 1, &frozen.meta, frozen.rows, frozen.rows_count),
                0);
            state_checkpointed(b->st, true);
            assert_int_equal(apply_reload(&b->apply), 0);
        }
        assert_int_equal(state_meta_get(a->st)->state_hash,
                         state_meta_get(b->st)->state_hash);
    }
    assert_int_equal(state_meta_get(a->st)->rows_count,
                     state_meta_get(b->st)->rows_count);
    machine_free(a);
    machine_free(b);
}

static void getset_tells_what_was_there(void **state)
{
    struct machine *m = machine_new();
    struct command c = command_for(COMMAND_KV_GETSET, "a");
    struct apply_result r;

    (void)state;
    (void)own_all(m, 0);
    c.value = kv_bytes_str("1");
    r = run(m, &c);
    assert_int_equal(r.code, 0);
    assert_false(r.has_value);
    c.value = kv_bytes_str("2");
    r = run(m, &c);
    assert_true(r.has_value);
    assert_true(kv_bytes_equal(r.value, kv_bytes_str("1")));
    assert_value(m, "a", "2");
    machine_free(m);
}

static void if_rev_lets_through_one_revision_only(void **state)
{
    static const enum command_kind kinds[] = {COMMAND_KV_PUT, COMMAND_KV_GETSET,
                                              COMMAND_KV_DEL};
    struct machine *m = machine_new();

    (void)state;
    (void)own_all(m, 0);
    for (size_t i = 0; i < KV_ARRAY_COUNT(kinds); i++) {
        struct command c = command_for(kinds[i], "a");
        uint64_t rev = put(m, "a", "old").rev;
        struct apply_result r;

        c.has_if_rev = true;
        c.if_rev = rev - 1;
        c.value = kinds[i] == COMMAND_KV_DEL ? c.value : kv_bytes_str("new");
        r = run(m, &c);
        assert_int_equal(r.code, 0);
        assert_false(r.swapped);
        assert_int_equal(r.rev, rev);
        assert_value(m, "a", "old");
        c.if_rev = 0; /* Only where it does not exist. */
        r = run(m, &c);
        assert_false(r.swapped);
        c.if_rev = rev;
        r = run(m, &c);
        assert_true(r.swapped);
        assert_value(m, "a", kinds[i] == COMMAND_KV_DEL ? NULL : "new");
    }
    machine_free(m);
}

static void if_rev_0_is_for_keys_that_do_not_exist(void **state)
{
    struct machine *m = machine_new();
    struct command c = command_for(COMMAND_KV_PUT, "a");
    struct apply_result r;

    (void)state;
    (void)own_all(m, 0);
    c.has_if_rev = true;
    c.value = kv_bytes_str("1");
    r = run(m, &c);
    assert_true(r.swapped);
    r = run(m, &c);
    assert_false(r.swapped);
    assert_int_equal(r.rev, 2);
    machine_free(m);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_written_before_the_group_owns_slots),
        cmocka_unit_test(getset_tells_what_was_there),
        cmocka_unit_test(if_rev_lets_through_one_revision_only),
        cmocka_unit_test(if_rev_0_is_for_keys_that_do_not_exist),
        cmocka_unit_test(the_first_owner_command_wins),
        cmocka_unit_test(only_owned_slots_are_written),
        cmocka_unit_test(revisions_are_index_plus_offset),
        cmocka_unit_test(cas_covers_its_four_cases),
        cmocka_unit_test(incr_counts_to_the_ends_of_int64),
        cmocka_unit_test(incr_refuses_what_is_no_decimal_int64),
        cmocka_unit_test(a_map_replaces_only_the_epoch_it_names),
        cmocka_unit_test(configurations_reach_the_state),
        cmocka_unit_test(what_it_does_not_know_stops_it_and_changes_nothing),
        cmocka_unit_test(two_replicas_agree_however_they_checkpoint),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/apply", tests, NULL, NULL);
}
