/* tests/sim/test_holders.c - locks: each promise broken once on purpose. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "raft/base/arena.h"
#include "tests/sim/chain.h"
#include "tests/sim/holders.h"

enum {
    LOCK = 0,
    NOW_US = 1000000,
};

static struct sim *begin(void)
{
    struct sim *s = kv_mem_zalloc(sizeof *s);

    assert_non_null(s);
    arena_init(&s->peek, 4096, 0);
    s->now_us = NOW_US;
    holders_open(s);
    chain_open(s);
    return s;
}

static void end(struct sim *s, enum judge_number violated)
{
    if (s->judge.violated != violated) {
        print_message("%s\n", s->judge.why);
    }
    assert_int_equal(s->judge.violated, violated);
    holders_free(s);
    chain_free(s);
    arena_close(&s->peek);
    kv_mem_free(s);
}

/* The group has applied up to `applied`; ids hold and then wait. 5, 9, 13... are of one
 * owner, and so on. */
static void state_is(struct sim *s, raft_index applied, uint32_t holders,
                     const uint64_t *ids, uint32_t count)
{
    static const char *const owners[] = {"ann", "bob", "cat", "dan"};
    struct lock_claim claims[4];
    struct lock l = {.permits = holders_permits(LOCK),
                     .claims = claims,
                     .holders_count = holders,
                     .waiters_count = count - holders};
    uint8_t value[256];

    assert_true(count <= 4);
    if (count == 0) {
        holders_see(s, LOCK, applied, kv_bytes(NULL, 0));
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        claims[i] = (struct lock_claim){
            .id = ids[i], .ttl_ms = 1000, .owner = kv_bytes_str(owners[ids[i] % 4])};
        l.last_token = i < holders ? ids[i] : l.last_token;
    }
    lock_encode(&l, value);
    arena_reset(&s->peek);
    holders_see(s, LOCK, applied, kv_bytes(value, lock_bytes(&l)));
}

static void lets_a_lock_go_round(void **ctx)
{
    struct sim *s = begin();

    (void)ctx;
    state_is(s, 4, 1, (const uint64_t[]){4}, 1);
    holders_told(s, LOCK, 4, holders_until_us(s->now_us, 1000));
    state_is(s, 6, 1, (const uint64_t[]){4, 5, 6}, 3);
    s->now_us += 950000; /* 1000 ms of a clock that is fast by 5 % have passed. */
    state_is(s, 9, 1, (const uint64_t[]){9, 6}, 2);
    holders_told(s, LOCK, 9, holders_until_us(s->now_us, 1000));
    holders_given_up(s, LOCK, 9);
    state_is(s, 10, 1, (const uint64_t[]){10}, 1);
    state_is(s, 11, 0, NULL, 0);
    assert_true(holders_had_ended(s, LOCK, 10, s->now_us));
    end(s, JUDGE_NOTHING);
}

static void sees_a_lease_that_ends_too_early(void **ctx)
{
    struct sim *s = begin();

    (void)ctx;
    state_is(s, 4, 1, (const uint64_t[]){4}, 1);
    holders_told(s, LOCK, 4, holders_until_us(s->now_us, 1000));
    s->now_us += 940000;
    state_is(s, 5, 0, NULL, 0);
    end(s, JUDGE_LOCK);
}

static void sees_a_keepalive_of_what_has_ended(void **ctx)
{
    struct sim *s = begin();

    (void)ctx;
    state_is(s, 4, 1, (const uint64_t[]){4}, 1);
    state_is(s, 5, 0, NULL, 0);
    holders_told(s, LOCK, 4, s->now_us + 1);
    end(s, JUDGE_LOCK);
}

static void sees_two_who_hold(void **ctx)
{
    struct sim *s = begin();

    (void)ctx;
    holders_told(s, LOCK, 4, s->now_us + 1000);
    s->now_us += 999;
    holders_told(s, LOCK, 5, s->now_us + 1000);
    end(s, JUDGE_LOCK);
}

static void sees_a_token_that_is_given_again(void **ctx)
{
    struct sim *s = begin();

    (void)ctx;
    state_is(s, 4, 1, (const uint64_t[]){4}, 1);
    state_is(s, 5, 0, NULL, 0);
    state_is(s, 6, 1, (const uint64_t[]){4}, 1);
    end(s, JUDGE_LOCK);
}

static void sees_a_token_that_is_lower(void **ctx)
{
    struct sim *s = begin();

    (void)ctx;
    state_is(s, 4, 1, (const uint64_t[]){4}, 1);
    state_is(s, 5, 1, (const uint64_t[]){3}, 1);
    end(s, JUDGE_LOCK);
}

static void sees_somebody_overtaken(void **ctx)
{
    struct sim *s = begin();

    (void)ctx;
    state_is(s, 7, 1, (const uint64_t[]){4, 5, 6}, 3);
    state_is(s, 10, 1, (const uint64_t[]){10, 5}, 2);
    end(s, JUDGE_LOCK);
}

static void sees_a_newcomer_who_does_not_wait(void **ctx)
{
    struct sim *s = begin();

    (void)ctx;
    state_is(s, 7, 1, (const uint64_t[]){4, 5}, 2);
    state_is(s, 11, 1, (const uint64_t[]){11, 5}, 2);
    end(s, JUDGE_LOCK);
}

/* ---- changes ---- */

static struct chain_list list_of(uint32_t a, uint32_t b, uint32_t count)
{
    return (struct chain_list){.numbers = {a, b}, .count = count};
}

static void lets_changes_follow_each_other(void **ctx)
{
    struct sim *s = begin();
    struct chain_place at = chain_choose(s, LOCK, true);
    uint32_t a = chain_number(s), b = chain_number(s), none = chain_number(s);
    struct chain_list one = list_of(a, 0, 1), two = list_of(a, b, 2);
    struct chain_list refused = list_of(a, none, 2);

    (void)ctx;
    chain_written(s, &at, &one, CHAIN_MAYBE);
    assert_int_equal(chain_least(s, &at), 0);
    chain_written(s, &at, &refused, CHAIN_NOT);
    chain_seen(s, &at, &one, 0);
    assert_int_equal(chain_least(s, &at), 1);
    chain_written(s, &at, &two, CHAIN_DONE);
    assert_int_equal(chain_least(s, &at), 2);
    chain_seen(s, &at, &one, 1); /* Asked before the second was done. */
    end(s, JUDGE_NOTHING);
}

static void sees_a_change_that_is_overwritten(void **ctx)
{
    struct sim *s = begin();
    struct chain_place at = chain_choose(s, LOCK, true);
    struct chain_list one = list_of(chain_number(s), 0, 1);
    struct chain_list other = list_of(chain_number(s), 0, 1);

    (void)ctx;
    chain_written(s, &at, &one, CHAIN_DONE);
    chain_written(s, &at, &other, CHAIN_DONE);
    end(s, JUDGE_LOCK);
}

static void sees_a_change_that_is_gone(void **ctx)
{
    struct sim *s = begin();
    struct chain_place at = chain_choose(s, LOCK, false);
    struct chain_list one = list_of(chain_number(s), 0, 1), empty = list_of(0, 0, 0);

    (void)ctx;
    chain_written(s, &at, &one, CHAIN_DONE);
    chain_seen(s, &at, &empty, chain_least(s, &at));
    end(s, JUDGE_LOCK);
}

static void sees_a_refused_change_that_is_there(void **ctx)
{
    struct sim *s = begin();
    struct chain_place at = chain_choose(s, LOCK, false);
    struct chain_list one = list_of(chain_number(s), 0, 1);

    (void)ctx;
    chain_written(s, &at, &one, CHAIN_NOT);
    chain_seen(s, &at, &one, 0);
    end(s, JUDGE_LOCK);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lets_a_lock_go_round),
        cmocka_unit_test(sees_a_lease_that_ends_too_early),
        cmocka_unit_test(sees_a_keepalive_of_what_has_ended),
        cmocka_unit_test(sees_two_who_hold),
        cmocka_unit_test(sees_a_token_that_is_given_again),
        cmocka_unit_test(sees_a_token_that_is_lower),
        cmocka_unit_test(sees_somebody_overtaken),
        cmocka_unit_test(sees_a_newcomer_who_does_not_wait),
        cmocka_unit_test(lets_changes_follow_each_other),
        cmocka_unit_test(sees_a_change_that_is_overwritten),
        cmocka_unit_test(sees_a_change_that_is_gone),
        cmocka_unit_test(sees_a_refused_change_that_is_there),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("sim/holders", tests, NULL, NULL);
}
