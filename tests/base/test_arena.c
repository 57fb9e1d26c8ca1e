/* tests/base/test_arena.c - arenas hand out, forget, and stop at their cap. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "raft/base/arena.h"
#include "raft/base/err.h"

static void hands_out_aligned_memory_that_does_not_overlap(void **state)
{
    struct arena a;
    uint8_t *pieces[100];

    (void)state;
    arena_init(&a, 256, 0);
    for (size_t i = 0; i < 100; i++) {
        pieces[i] = arena_alloc(&a, i + 1);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        memset(pieces[i], (int)i, i + 1);
    }
    for (size_t i = 0; i < 100; i++) {
        for (size_t j = 0; j <= i; j++) {
            assert_int_equal(pieces[i][j], i);
        }
    }
    arena_close(&a);
}

static void zeroed_memory_is_zero_after_a_reset(void **state)
{
    struct arena a;
    uint8_t *p;

    (void)state;
    arena_init(&a, 256, 0);
    p = arena_alloc(&a, 200);
    assert_non_null(p);
    memset(p, 0xff, 200);
    arena_reset(&a);
    p = arena_zalloc(&a, 200);
    assert_non_null(p);
    for (size_t i = 0; i < 200; i++) {
        assert_int_equal(p[i], 0);
    }
    arena_close(&a);
}

static void stops_at_its_cap_and_stays_usable(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a, 128, 512);
    assert_non_null(arena_alloc(&a, 300));
    assert_null(arena_alloc(&a, 300));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 8));
    assert_non_null(arena_alloc(&a, 100));
    assert_true(a.taken_bytes <= 512);
    arena_reset(&a);
    assert_non_null(arena_alloc(&a, 300));
    arena_close(&a);
}

static void reset_keeps_one_usual_block_and_gives_back_large_ones(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a, 128, 0);
    assert_non_null(arena_alloc(&a, 100));
    assert_non_null(arena_alloc(&a, 100000));
    assert_non_null(arena_alloc(&a, 100));
    arena_reset(&a);
    assert_int_equal(a.taken_bytes, 128);
    assert_int_equal(a.used_bytes, 0);
    arena_close(&a);
    assert_int_equal(a.taken_bytes, 0);
}

static void copies_bytes_and_leaves_the_result_alone_on_failure(void **state)
{
    struct arena a;
    struct kv_bytes copy = kv_bytes_str("before");
    char source[] = "source";

    (void)state;
    arena_init(&a, 64, 64);
    assert_int_equal(arena_copy(&a, kv_bytes(NULL, 1000), &copy), KV_ENOMEM);
    assert_true(kv_bytes_equal(copy, kv_bytes_str("before")));
    assert_int_equal(arena_copy(&a, kv_bytes_str(source), &copy), 0);
    source[0] = 'X';
    assert_true(kv_bytes_equal(copy, kv_bytes_str("source")));
    assert_int_equal(arena_copy(&a, kv_bytes(NULL, 0), &copy), 0);
    assert_int_equal(copy.len, 0);
    arena_close(&a);
}

static void single_objects_come_zeroed_and_keep_their_bytes_when_they_grow(void **state)
{
    uint8_t *p = kv_mem_zalloc(100);

    (void)state;
    assert_non_null(p);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(p[i], 0);
    }
    memset(p, 7, 100);
    p = kv_mem_realloc(p, 10000);
    assert_non_null(p);
    assert_int_equal(p[99], 7);
    kv_mem_free(p);
    kv_mem_free(NULL);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hands_out_aligned_memory_that_does_not_overlap),
        cmocka_unit_test(zeroed_memory_is_zero_after_a_reset),
        cmocka_unit_test(stops_at_its_cap_and_stays_usable),
        cmocka_unit_test(reset_keeps_one_usual_block_and_gives_back_large_ones),
        cmocka_unit_test(copies_bytes_and_leaves_the_result_alone_on_failure),
        cmocka_unit_test(
            single_objects_come_zeroed_and_keep_their_bytes_when_they_grow),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("base/arena", tests, NULL, NULL);
}
