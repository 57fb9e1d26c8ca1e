/* tests/raft/test_record.c - entries and configurations as bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "raft/base/crc.h"
#include "raft/base/err.h"
#include "raft/base/prng.h"
#include "raft/record.h"

static struct raft_entry sample(void)
{
    struct raft_entry e = {.pos = {0x0102030405060708u, 0x1112131415161718u},
                           .type = RAFT_ENTRY_COMMAND,
                           .time_ms = 0x2122232425262728u,
                           .payload = kv_bytes("hello", 5)};

    e.hash = raft_entry_hash(0x99, &e);
    return e;
}

static void seal(uint8_t *record, size_t len)
{
    kv_put_u32le(record, kv_crc32c(0, record + 4, len - 4));
}

static void decodes_what_it_encoded(void **state)
{
    struct raft_entry e = sample();
    struct raft_entry back;
    uint8_t record[64];
    size_t len = raft_record_bytes(e.payload.len);

    (void)state;
    assert_int_equal(len, 49);
    raft_record_encode(&e, record);
    assert_int_equal(raft_record_decode(kv_bytes(record, len), &back), 0);
    assert_int_equal(back.pos.index, e.pos.index);
    assert_int_equal(back.pos.term, e.pos.term);
    assert_int_equal(back.type, e.type);
    assert_int_equal(back.time_ms, e.time_ms);
    assert_int_equal(back.hash, e.hash);
    assert_true(kv_bytes_equal(back.payload, e.payload));
    assert_ptr_equal(back.payload.data, record + RAFT_RECORD_HEAD_BYTES);
}

/* The format is on disks: these bytes must never change. */
static void layout_is_fixed(void **state)
{
    static const uint8_t head[RAFT_RECORD_HEAD_BYTES - 4] = {
        1,    2,    0,    0,    8,    7,    6,    5,    4,    3,
        2,    1,    0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11,
        0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, 0xef, 0xcd,
        0xab, 0x89, 0x67, 0x45, 0x23, 0x01, 5,    0,    0,    0};
    struct raft_entry e = sample();
    uint8_t record[64];

    (void)state;
    e.hash = 0x0123456789abcdefu;
    raft_record_encode(&e, record);
    assert_memory_equal(record + 4, head, sizeof head);
    assert_memory_equal(record + RAFT_RECORD_HEAD_BYTES, "hello", 5);
    assert_int_equal(kv_get_u32le(record), kv_crc32c(0, record + 4, 45));
}

static void every_flipped_bit_is_noticed(void **state)
{
    struct raft_entry e = sample();
    struct raft_entry back;
    uint8_t record[64];
    size_t len = raft_record_bytes(e.payload.len);

    (void)state;
    raft_record_encode(&e, record);
    for (size_t bit = 0; bit < 8 * len; bit++) {
        record[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_int_equal(raft_record_decode(kv_bytes(record, len), &back), KV_EDAMAGED);
        record[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
}

static void refuses_every_wrong_length(void **state)
{
    struct raft_entry e = sample();
    struct raft_entry back;
    uint8_t record[64] = {0};
    size_t len = raft_record_bytes(e.payload.len);

    (void)state;
    raft_record_encode(&e, record);
    for (size_t cut = 0; cut <= sizeof record; cut++) {
        if (cut != len) {
            assert_int_equal(raft_record_decode(kv_bytes(record, cut), &back),
                             KV_EDAMAGED);
        }
    }
    /* A right checksum over a wrong length. */
    kv_put_u32le(record + 40, 6);
    seal(record, len);
    assert_int_equal(raft_record_decode(kv_bytes(record, len), &back), KV_EDAMAGED);
}

static void another_version_is_another_format(void **state)
{
    struct raft_entry e = sample();
    struct raft_entry back;
    uint8_t record[64];
    size_t len = raft_record_bytes(e.payload.len);

    (void)state;
    raft_record_encode(&e, record);
    record[4] = 2;
    seal(record, len);
    assert_int_equal(raft_record_decode(kv_bytes(record, len), &back), KV_EFORMAT);
}

/* Equal hashes must mean equal entries behind equal logs. */
static void hash_depends_on_everything(void **state)
{
    const struct raft_entry e = sample();
    struct raft_entry other[6] = {e, e, e, e, e, e};
    uint64_t hash = raft_entry_hash(1, &e);

    (void)state;
    other[0].pos.index++;
    other[1].pos.term++;
    other[2].type = RAFT_ENTRY_NOOP;
    other[3].time_ms++;
    other[4].payload = kv_bytes("hellp", 5);
    other[5].payload = kv_bytes("hell", 4);
    for (size_t i = 0; i < KV_ARRAY_COUNT(other); i++) {
        assert_int_not_equal(raft_entry_hash(1, &other[i]), hash);
    }
    assert_int_not_equal(raft_entry_hash(2, &e), hash);
    assert_int_equal(raft_entry_hash(1, &e), hash);
    other[0] = e;
    other[0].hash = 77; /* Not part of it. */
    assert_int_equal(raft_entry_hash(1, &other[0]), hash);
}

/* The chain is on disks and between versions: the function must never change. */
static void hash_is_fixed(void **state)
{
    struct raft_entry e = {
        .pos = {1, 1}, .type = RAFT_ENTRY_COMMAND, .time_ms = 1000, .payload = {0}};

    (void)state;
    assert_int_equal(raft_entry_hash(0, &e), 0x267032799e8591d9u);
    e.payload = kv_bytes("hello", 5);
    assert_int_equal(raft_entry_hash(0x267032799e8591d9u, &e), 0x75d0d6cce5346d01u);
}

/* ---- configurations ---- */

static struct raft_config joint(void)
{
    return (struct raft_config){.voters_count = 3,
                                .voters = {1, 2, 7},
                                .voters_old_count = 2,
                                .voters_old = {2, 9},
                                .learners_count = 1,
                                .learners = {9},
                                .w = 3,
                                .w_old = 2};
}

static void config_decodes_what_it_encoded(void **state)
{
    struct raft_config c = joint();
    struct raft_config back;
    uint8_t bytes[RAFT_CONFIG_BYTES_MAX];
    size_t len = raft_config_encode(&c, bytes);

    (void)state;
    assert_int_equal(len, 21 + 6 * 4);
    assert_int_equal(raft_config_decode(kv_bytes(bytes, len), &back), 0);
    assert_memory_equal(&back, &c, sizeof c);
    for (size_t cut = 0; cut < len; cut++) {
        assert_int_equal(raft_config_decode(kv_bytes(bytes, cut), &back), KV_ECORRUPT);
    }
    bytes[0] = 9;
    assert_int_equal(raft_config_decode(kv_bytes(bytes, len), &back), KV_ECORRUPT);
}

static void config_that_waits_to_be_told_is_valid(void **state)
{
    const struct raft_config none = {0};
    struct raft_config c = {.learners_count = 1, .learners = {1}};
    struct raft_config back;
    uint8_t bytes[RAFT_CONFIG_BYTES_MAX];

    (void)state;
    assert_true(raft_config_valid(&none));
    assert_int_equal(
        raft_config_decode(kv_bytes(bytes, raft_config_encode(&none, bytes)), &back),
        0);
    assert_false(raft_config_valid(&c)); /* Somebody must vote where somebody learns. */
}

static void config_refuses_what_cannot_be(void **state)
{
    struct raft_config bad[12];

    (void)state;
    for (size_t i = 0; i < KV_ARRAY_COUNT(bad); i++) {
        bad[i] = joint();
    }
    bad[0].voters[0] = 0;
    bad[1].voters[1] = 1;   /* Twice. */
    bad[2].voters[1] = 8;   /* Out of order. */
    bad[3].learners[0] = 7; /* Votes and learns. */
    bad[4].w = 1;           /* Less than the majority. */
    bad[5].w = 4;           /* More than there are. */
    bad[6].w_old = 1;
    bad[7].voters_count = RAFT_REPLICAS_MAX + 1;
    bad[8].learners_count = UINT32_MAX;
    bad[9].voters_old_count = 0; /* w_old without a second half. */
    bad[10].voters_count = 0;
    bad[11].voters_old[0] = 9; /* Twice in the old half. */
    for (size_t i = 0; i < KV_ARRAY_COUNT(bad); i++) {
        assert_false(raft_config_valid(&bad[i]));
    }
}

/* Sixteen replicas in all, whatever their parts. */
static void config_has_at_most_so_many_replicas(void **state)
{
    struct raft_config c = {.voters_count = 10, .voters_old_count = 10};

    (void)state;
    for (uint32_t i = 0; i < 10; i++) {
        c.voters[i] = i + 1;
        c.voters_old[i] = i + 7; /* 7..16: sixteen different ones. */
    }
    assert_true(raft_config_valid(&c));
    c.voters_old[9] = 17;
    assert_true(raft_config_valid(&c)); /* 1..15 and 17. */
    c.learners_count = 1;
    c.learners[0] = 18;
    assert_false(raft_config_valid(&c));
}

static void config_survives_random_bytes(void **state)
{
    struct prng p;

    (void)state;
    prng_init(&p, 3);
    for (int round = 0; round < 100000; round++) {
        uint8_t bytes[RAFT_CONFIG_BYTES_MAX + 8];
        struct raft_config c = joint();
        size_t len = raft_config_encode(&c, bytes);

        for (uint64_t flips = 1 + prng_below(&p, 3); flips > 0; flips--) {
            bytes[prng_below(&p, len)] = (uint8_t)prng_next(&p);
        }
        if (raft_config_decode(kv_bytes(bytes, len - prng_below(&p, 2) * 4), &c) == 0) {
            assert_true(raft_config_valid(&c));
        }
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_what_it_encoded),
        cmocka_unit_test(layout_is_fixed),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(refuses_every_wrong_length),
        cmocka_unit_test(another_version_is_another_format),
        cmocka_unit_test(hash_depends_on_everything),
        cmocka_unit_test(hash_is_fixed),
        cmocka_unit_test(config_decodes_what_it_encoded),
        cmocka_unit_test(config_that_waits_to_be_told_is_valid),
        cmocka_unit_test(config_refuses_what_cannot_be),
        cmocka_unit_test(config_has_at_most_so_many_replicas),
        cmocka_unit_test(config_survives_random_bytes),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("raft/record", tests, NULL, NULL);
}
