/* tests/server/test_watch_index.c - the index finds what a look at all would find. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "raft/base/prng.h"
#include "server/watch_index.h"

enum {
    NODES = 300,
    STEPS = 20000,
};

struct one {
    struct watch_node node; /* First. */
    bool is_in;
    bool is_found;
    char begin[4], end[4];
};

static void on_found(struct watch_node *node, void *ctx)
{
    struct one *one = (struct one *)node;

    assert_true(one->is_in);
    assert_false(one->is_found); /* Once each. */
    one->is_found = true;
    (*(uint32_t *)ctx)++;
}

static void make(struct one *one, struct prng *p, uint64_t number)
{
    size_t begin = (size_t)prng_below(p, 3);
    size_t end = (size_t)prng_below(p, 4);

    *one = (struct one){.node = {.number = number, .is_key = prng_below(p, 2) == 0}};
    for (size_t i = 0; i < 3; i++) {
        one->begin[i] = (char)('a' + prng_below(p, 4));
        one->end[i] = (char)('a' + prng_below(p, 5));
    }
    one->node.begin = kv_bytes(one->begin, one->node.is_key ? begin + 1 : begin);
    one->node.end = kv_bytes(one->end, one->node.is_key ? 0 : end);
}

static bool holds(const struct watch_node *n, struct kv_bytes key)
{
    return n->is_key ? kv_bytes_equal(n->begin, key)
                     : kv_bytes_compare(n->begin, key) <= 0 &&
                           (n->end.len == 0 || kv_bytes_compare(key, n->end) < 0);
}

static void finds_what_a_look_at_all_finds(void **state)
{
    static struct one ones[NODES];
    struct watch_index x;
    struct prng p;

    (void)state;
    prng_init(&p, 17);
    assert_int_equal(watch_index_init(&x), 0);
    for (uint64_t step = 1; step <= STEPS; step++) {
        struct one *one = &ones[prng_below(&p, NODES)];
        char text[3];
        struct kv_bytes key;
        uint32_t found = 0;

        if (one->is_in) {
            watch_index_remove(&x, &one->node);
            one->is_in = false;
        } else {
            make(one, &p, step);
            watch_index_add(&x, &one->node);
            one->is_in = true;
        }
        for (size_t i = 0; i < sizeof text; i++) {
            text[i] = (char)('a' + prng_below(&p, 4));
        }
        key = kv_bytes(text, 1 + (size_t)prng_below(&p, 3));
        watch_index_match(&x, key, on_found, &found);
        for (uint32_t i = 0; i < NODES; i++) {
            assert_int_equal(ones[i].is_found,
                             ones[i].is_in && holds(&ones[i].node, key));
            ones[i].is_found = false;
        }
    }
    watch_index_close(&x);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_a_look_at_all_finds),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/watch_index", tests, NULL, NULL);
}
