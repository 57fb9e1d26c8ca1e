/* tests/storage/test_row.c - rows and small records as bytes: right, or refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "raft/base/err.h"
#include "storage/meta.h"
#include "storage/row.h"

static const struct row sample = {.kind = ROW_KV,
                                  .slot = 16383,
                                  .rev = 0x123456789abcdef0,
                                  .key = {(const uint8_t *)"a key", 5},
                                  .value = {(const uint8_t *)"its value", 9}};

static void a_row_comes_back_as_it_went_in(void **unused)
{
    uint8_t bytes[64];
    struct row r;

    (void)unused;
    row_encode(7, &sample, bytes);
    assert_int_equal(
        row_decode(7, ROW_KV, sample.key, kv_bytes(bytes, ROW_HEAD_BYTES + 9), &r), 0);
    assert_int_equal(r.slot, sample.slot);
    assert_int_equal(r.rev, sample.rev);
    assert_true(kv_bytes_equal(r.value, sample.value));
    assert_int_equal(row_hash(&r), row_hash(&sample));
}

static void a_row_under_another_key_kind_or_group_is_damage(void **unused)
{
    uint8_t bytes[64];
    struct kv_bytes value = kv_bytes(bytes, ROW_HEAD_BYTES + 9);
    struct row r;

    (void)unused;
    row_encode(7, &sample, bytes);
    assert_int_equal(row_decode(8, ROW_KV, sample.key, value, &r), KV_EDAMAGED);
    assert_int_equal(row_decode(7, ROW_META, sample.key, value, &r), KV_EDAMAGED);
    assert_int_equal(row_decode(7, ROW_KV, kv_bytes_str("a kez"), value, &r),
                     KV_EDAMAGED);
    for (size_t bit = 0; bit < value.len * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_int_equal(row_decode(7, ROW_KV, sample.key, value, &r), KV_EDAMAGED);
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    for (size_t len = 0; len < value.len; len++) {
        assert_int_equal(row_decode(7, ROW_KV, sample.key, kv_bytes(bytes, len), &r),
                         KV_EDAMAGED);
    }
}

/* Every field counts, and bytes cannot move from the key to the value. */
static void the_hash_covers_every_field(void **unused)
{
    struct row r = sample;

    (void)unused;
    r.kind = ROW_META;
    assert_int_not_equal(row_hash(&r), row_hash(&sample));
    r = sample;
    r.slot--;
    assert_int_not_equal(row_hash(&r), row_hash(&sample));
    r = sample;
    r.rev++;
    assert_int_not_equal(row_hash(&r), row_hash(&sample));
    r = sample;
    r.key = kv_bytes("a keyits", 8);
    r.value = kv_bytes(" value", 6);
    assert_int_not_equal(row_hash(&r), row_hash(&sample));
}

static void a_log_record_comes_back_and_every_bit_counts(void **unused)
{
    uint8_t bytes[META_LOG_BYTES];
    uint8_t again[META_LOG_BYTES];
    struct log_state in = {.term = 9,
                           .vote = 2,
                           .base = {.pos = {5, 3}, .hash = 11, .time_ms = 12},
                           .last = {.pos = {50, 8},
                                    .type = 2,
                                    .payload_bytes = 77,
                                    .time_ms = 13,
                                    .hash = 14},
                           .commit_hint = 40};
    struct log_state out;

    (void)unused;
    meta_log_encode(3, &in, bytes);
    assert_int_equal(meta_log_decode(3, kv_bytes(bytes, sizeof bytes), &out), 0);
    meta_log_encode(3, &out, again);
    assert_memory_equal(bytes, again, sizeof bytes);
    assert_int_equal(out.last.payload_bytes, 77);
    assert_int_equal(meta_log_decode(4, kv_bytes(bytes, sizeof bytes), &out),
                     KV_EDAMAGED);
    for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_int_equal(meta_log_decode(3, kv_bytes(bytes, sizeof bytes), &out),
                         KV_EDAMAGED);
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
}

static void a_state_record_comes_back_with_its_configuration(void **unused)
{
    uint8_t bytes[META_STATE_BYTES_MAX];
    struct state_meta in = {.applied = {.pos = {5, 3}, .hash = 11, .time_ms = 12},
                            .config = {.voters_count = 2, .voters = {1, 4}, .w = 2},
                            .config_index = 3,
                            .state_hash = 99,
                            .rows_count = 7,
                            .rows_bytes = 70,
                            .mark = true};
    struct state_meta out;
    uint32_t generation;
    size_t len;

    (void)unused;
    len = meta_state_encode(3, &in, 6, bytes);
    assert_int_equal(meta_state_decode(3, kv_bytes(bytes, len), &out, &generation), 0);
    assert_int_equal(out.state_hash, 99);
    assert_int_equal(out.config.voters[1], 4);
    assert_true(out.mark);
    assert_int_equal(generation, 6);
    for (size_t cut = 0; cut < len; cut++) {
        assert_int_equal(meta_state_decode(3, kv_bytes(bytes, cut), &out, &generation),
                         KV_EDAMAGED);
    }
    in.config = (struct raft_config){0}; /* A replica that waits to be told. */
    len = meta_state_encode(3, &in, 6, bytes);
    assert_int_equal(meta_state_decode(3, kv_bytes(bytes, len), &out, &generation), 0);
    assert_int_equal(out.config.voters_count, 0);
}

static void an_identity_comes_back_with_its_peers(void **unused)
{
    uint8_t bytes[META_IDENTITY_BYTES_MAX];
    struct store_identity in = {.cluster = 1,
                                .node = 2,
                                .incarnation = 3,
                                .boots = 4,
                                .peers_count = STORE_NODES_MAX};
    struct store_identity out;
    size_t len;

    (void)unused;
    for (uint32_t i = 0; i < STORE_NODES_MAX; i++) {
        in.peers[i].node = i + 1;
        in.peers[i].incarnation = 1000 + i;
    }
    len = meta_identity_encode(&in, bytes);
    assert_int_equal(meta_identity_decode(kv_bytes(bytes, len), &out), 0);
    assert_int_equal(out.peers_count, STORE_NODES_MAX);
    assert_int_equal(out.peers[63].incarnation, 1063);
    assert_int_equal(meta_identity_decode(kv_bytes(bytes, len - 12), &out),
                     KV_EDAMAGED);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_comes_back_as_it_went_in),
        cmocka_unit_test(a_row_under_another_key_kind_or_group_is_damage),
        cmocka_unit_test(the_hash_covers_every_field),
        cmocka_unit_test(a_log_record_comes_back_and_every_bit_counts),
        cmocka_unit_test(a_state_record_comes_back_with_its_configuration),
        cmocka_unit_test(an_identity_comes_back_with_its_peers),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("storage/row", tests, NULL, NULL);
}
