/* tests/rpc/test_token.c - session tokens: small, checked, merged. */
#include "tests/rpc/rpc_test.h"

#include "raft/base/prng.h"
#include "rpc/token.h"

enum {
    CLUSTER = 77
};

struct tok {
    uint8_t bytes[KV_TOKEN_BYTES_MAX];
    size_t len;
};

static struct kv_bytes view(const struct tok *t)
{
    return kv_bytes(t->bytes, t->len);
}

static void add(struct tok *t, uint32_t group, uint64_t rev)
{
    uint8_t one[TOKEN_ONE_BYTES_MAX];
    size_t one_len = token_make(CLUSTER, group, rev, one);
    struct tok *out = calloc(1, sizeof *out);

    out->len = token_merge(view(t), kv_bytes(one, one_len), out->bytes);
    assert_true(out->len <= t->len + one_len);
    *t = *out;
    free(out);
}

static void positions_only_grow(void **state)
{
    struct tok *t = calloc(1, sizeof *t);
    uint64_t naive[64] = {0};
    struct prng p;

    (void)state;
    prng_init(&p, 5);
    t->len = 0;
    for (uint32_t i = 0; i < 2000; i++) {
        uint32_t group = (uint32_t)prng_below(&p, 64);
        uint64_t rev = prng_next(&p) >> prng_below(&p, 64);

        naive[group] = rev > naive[group] ? rev : naive[group];
        add(t, group, rev);
        assert_true(token_is_valid(view(t), CLUSTER));
        for (uint32_t g = 0; g < 64; g++) {
            assert_true(token_rev(view(t), g) == naive[g]);
        }
    }
    free(t);
}

static void an_array_of_revisions_makes_the_same_token(void **state)
{
    static uint64_t revs[KV_GROUPS_MAX];
    static uint8_t bytes[KV_TOKEN_BYTES_MAX];
    struct tok *t = calloc(1, sizeof *t);

    (void)state;
    assert_int_equal(token_pack(token_fold(CLUSTER), revs, KV_GROUPS_MAX, bytes), 0);
    assert_int_equal(token_raise(kv_bytes(NULL, 0), revs), 0);
    t->len = 0;
    for (uint32_t i = 0; i < 40; i++) {
        uint32_t group = i * i * 37 % KV_GROUPS_MAX;

        add(t, group, 1000 + 7919 * i);
        assert_in_range(token_raise(view(t), revs), group + 1, KV_GROUPS_MAX);
        assert_int_equal(revs[group], token_rev(view(t), group));
        assert_int_equal(token_pack(token_cluster(view(t)), revs, KV_GROUPS_MAX, bytes),
                         t->len);
        assert_memory_equal(bytes, t->bytes, t->len);
    }
    add(t, 3, 1);
    revs[3] = 9;
    (void)token_raise(view(t), revs);
    assert_int_equal(revs[3], 9);
    free(t);
}

static void eight_groups_take_few_bytes(void **state)
{
    struct tok *t = calloc(1, sizeof *t);

    (void)state;
    t->len = 0;
    add(t, 3, 1000000);
    assert_int_equal(t->len, 13);
    for (uint32_t g = 1; g <= 8; g++) {
        add(t, g, 1000000);
    }
    assert_int_equal(t->len, 41);
    for (uint32_t g = 0; g < KV_GROUPS_MAX; g++) {
        add(t, g, UINT64_MAX);
    }
    assert_true(t->len <= KV_TOKEN_BYTES_MAX);
    assert_true(token_is_valid(view(t), CLUSTER));
    free(t);
}

static void what_is_changed_or_foreign_is_refused(void **state)
{
    struct tok *t = calloc(1, sizeof *t);

    (void)state;
    t->len = 0;
    assert_true(token_is_valid(view(t), CLUSTER));
    add(t, 2, 300);
    add(t, 9, 70000);
    assert_true(token_is_valid(view(t), 0));
    assert_false(token_is_valid(view(t), CLUSTER + 1));
    for (size_t i = 0; i < t->len * 8; i++) {
        t->bytes[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_false(token_is_valid(view(t), CLUSTER));
        t->bytes[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    for (size_t len = 1; len < t->len; len++) {
        assert_false(token_is_valid(kv_bytes(t->bytes, len), CLUSTER));
    }
    free(t);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(positions_only_grow),
    cmocka_unit_test(an_array_of_revisions_makes_the_same_token),
    cmocka_unit_test(eight_groups_take_few_bytes),
    cmocka_unit_test(what_is_changed_or_foreign_is_refused),
};

TEST_MAIN("token", tests)
