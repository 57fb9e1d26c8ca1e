/* tests/rpc/rpc_test.h - what the tests of rpc/ share: seeds, random bytes, fixtures.
 *
 * Needs:    cmocka, raft/base, rpc/buf.h, msgpack-c.
 * Used by:  tests/rpc/test_*.c.
 * Threads:  one.
 */
#ifndef KV_TESTS_RPC_RPC_TEST_H
#define KV_TESTS_RPC_RPC_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "raft/base/bytes.h"
#include "raft/base/prng.h"
#include "rpc/buf.h"

/* Seeds from KV_SEED, else the given one, and says which. */
static inline void test_seed(struct prng *p, uint64_t otherwise)
{
    const char *text = getenv("KV_SEED");
    uint64_t seed = text == NULL ? otherwise : strtoull(text, NULL, 0);

    print_message("seed %llu (KV_SEED=)\n", (unsigned long long)seed);
    prng_init(p, seed);
}

static inline void test_random_bytes(struct prng *p, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        out[i] = (uint8_t)prng_next(p);
    }
}

/* A number of any width: small ones as often as huge ones. */
static inline uint64_t test_random_u64(struct prng *p)
{
    return prng_next(p) >> prng_below(p, 64);
}

static inline void test_assert_bytes(struct kv_bytes got, struct kv_bytes want)
{
    assert_int_equal(got.len, want.len);
    if (want.len > 0) {
        assert_memory_equal(got.data, want.data, want.len);
    }
}

static inline void test_assert_text(struct kv_bytes got, const char *want)
{
    test_assert_bytes(got, kv_bytes_str(want));
}

/* A copy of exactly the right size, so that ASan sees each byte read behind it. */
static inline uint8_t *test_copy(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len == 0 ? 1 : len);

    assert_non_null(copy);
    if (len > 0) {
        memcpy(copy, data, len);
    }
    return copy;
}

#define TEST_MAIN(name, tests)                                       \
    int main(int argc, char **argv)                                  \
    {                                                                \
        if (argc > 1) {                                              \
            cmocka_set_test_filter(argv[1]);                         \
        }                                                            \
        return cmocka_run_group_tests_name(name, tests, NULL, NULL); \
    }

#endif
