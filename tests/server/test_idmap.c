/* tests/server/test_idmap.c - the table against a plain array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/base/err.h"
#include "raft/base/prng.h"
#include "server/idmap.h"

enum {
    IDS = 300
};

static void finds_what_was_added_and_nothing_else(void **state)
{
    static char objects[IDS];
    bool in[IDS] = {false};
    struct idmap m;
    struct prng prng;
    uint32_t step, count = 0;

    (void)state;
    prng_init(&prng, 1);
    assert_int_equal(idmap_init(&m, IDS), 0);
    for (step = 0; step < 200000; step++) {
        uint64_t id = prng_below(&prng, IDS);

        if (in[id]) {
            assert_ptr_equal(idmap_find(&m, (id + 1) << 40), &objects[id]);
            assert_ptr_equal(idmap_remove(&m, (id + 1) << 40), &objects[id]);
            count--;
        } else {
            assert_null(idmap_find(&m, (id + 1) << 40));
            assert_null(idmap_remove(&m, (id + 1) << 40));
            assert_int_equal(idmap_add(&m, (id + 1) << 40, &objects[id]), 0);
            count++;
        }
        in[id] = !in[id];
        assert_int_equal(m.count, count);
    }
    for (step = 0; step < IDS; step++) {
        assert_ptr_equal(idmap_find(&m, ((uint64_t)step + 1) << 40),
                         in[step] ? &objects[step] : NULL);
    }
    idmap_close(&m);
}

static void refuses_more_than_its_maximum(void **state)
{
    struct idmap m;
    int object;

    (void)state;
    assert_int_equal(idmap_init(&m, 2), 0);
    assert_int_equal(idmap_add(&m, 1, &object), 0);
    assert_int_equal(idmap_add(&m, 2, &object), 0);
    assert_int_equal(idmap_add(&m, 3, &object), KV_EBUSY);
    idmap_close(&m);
}

static void walks_over_each_object_once(void **state)
{
    struct idmap m;
    uint32_t cursor = 0, i;
    uint64_t sum = 0;
    uint64_t values[100];
    uint64_t *v;

    (void)state;
    assert_int_equal(idmap_init(&m, 100), 0);
    for (i = 0; i < 100; i++) {
        values[i] = i;
        assert_int_equal(idmap_add(&m, i + 1, &values[i]), 0);
    }
    while ((v = idmap_next(&m, &cursor)) != NULL) {
        sum += *v;
    }
    assert_int_equal(sum, 99 * 100 / 2);
    idmap_close(&m);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_was_added_and_nothing_else),
        cmocka_unit_test(refuses_more_than_its_maximum),
        cmocka_unit_test(walks_over_each_object_once),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/idmap", tests, NULL, NULL);
}
