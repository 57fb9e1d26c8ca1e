/* tests/server/test_lease.c - leases are found by claim and by what is due first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "raft/base/prng.h"
#include "server/lease.h"

enum {
    IDS = 300,
};

static struct lease *add(struct leases *t, const char *name, uint64_t id, uint64_t at)
{
    struct lease_ask ask = {.id = id, .deadline_ms = at, .ttl_ms = 5, .slot = 3};
    struct lease *l;

    ask.name = kv_bytes_str(name);
    ask.owner = kv_bytes_str("owner");
    l = leases_add(t, &ask);
    assert_non_null(l);
    assert_true(kv_bytes_equal(l->owner, ask.owner));
    return l;
}

static void the_same_number_in_two_locks_are_two_leases(void **state)
{
    struct leases t = {0};
    struct lease *a = add(&t, "a", 7, 50);
    struct lease *b = add(&t, "b", 7, 40);

    (void)state;
    assert_ptr_equal(leases_find(&t, kv_bytes_str("a"), 7), a);
    assert_ptr_equal(leases_find(&t, kv_bytes_str("b"), 7), b);
    assert_null(leases_find(&t, kv_bytes_str("c"), 7));
    assert_ptr_equal(leases_first(&t), b);
    leases_set(&t, b, 60);
    assert_ptr_equal(leases_first(&t), a);
    leases_remove(&t, a);
    assert_null(leases_find(&t, kv_bytes_str("a"), 7));
    assert_ptr_equal(leases_first(&t), b);
    leases_clear(&t);
    assert_null(leases_first(&t));
}

/* deadlines[i] 0: there is no lease i. */
static void assert_first(const struct leases *t, const uint64_t *deadlines)
{
    uint64_t least = UINT64_MAX;

    for (uint32_t i = 1; i < IDS; i++) {
        if (deadlines[i] != 0 && deadlines[i] < least) {
            least = deadlines[i];
        }
    }
    if (least == UINT64_MAX) {
        assert_null(leases_first(t));
    } else {
        assert_true(leases_first(t)->deadline_ms == least);
    }
}

static void random_changes_keep_the_first_one_first(void **state)
{
    uint64_t deadlines[IDS] = {0};
    struct leases t = {0};
    struct prng p;

    (void)state;
    prng_init(&p, 11);
    for (int step = 0; step < 20000; step++) {
        uint32_t id = 1 + (uint32_t)prng_below(&p, IDS - 1);
        struct lease *l = leases_find(&t, kv_bytes_str("lock"), id);

        assert_int_equal(l != NULL, deadlines[id] != 0);
        if (l == NULL) {
            deadlines[id] = 1 + prng_below(&p, 1000);
            (void)add(&t, "lock", id, deadlines[id]);
        } else if (prng_below(&p, 2) == 0) {
            deadlines[id] = 1 + prng_below(&p, 1000);
            leases_set(&t, l, deadlines[id]);
        } else {
            deadlines[id] = 0;
            leases_remove(&t, l);
        }
        assert_first(&t, deadlines);
    }
    leases_clear(&t);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_number_in_two_locks_are_two_leases),
        cmocka_unit_test(random_changes_keep_the_first_one_first),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/lease", tests, NULL, NULL);
}
