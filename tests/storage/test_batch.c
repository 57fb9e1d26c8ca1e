/* tests/storage/test_batch.c - a batch as bytes: what it gives back and refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "raft/base/crc.h"
#include "raft/base/err.h"
#include "storage/batch.h"

enum {
    COUNT = 3,
    RECORD_BYTES = 50,
    BYTES = BATCH_HEAD_BYTES + COUNT * (BATCH_ITEM_BYTES + RECORD_BYTES),
};

static const uint64_t number = 0x123456789abcu;

static void make(uint8_t batch[BYTES])
{
    for (uint32_t i = 0; i < COUNT; i++) {
        const struct batch_item item = {
            .group = i + 7,
            .index = 1000 + i,
            .offset = (uint32_t)batch_directory_bytes(COUNT) + i * RECORD_BYTES,
            .bytes = RECORD_BYTES};

        memset(batch + item.offset, (int)('a' + i), RECORD_BYTES);
        batch_item_put(batch, i, &item);
    }
    batch_seal(batch, number, COUNT);
}

static void gives_back_what_was_put(void **state)
{
    uint8_t batch[BYTES];
    struct batch_item item;
    uint32_t count = 0;

    (void)state;
    make(batch);
    assert_int_equal(batch_check(kv_bytes(batch, BYTES), number, &count), 0);
    assert_int_equal(count, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(batch_item_get(kv_bytes(batch, BYTES), i, &item), 0);
        assert_int_equal(item.group, i + 7);
        assert_int_equal(item.index, 1000 + i);
        assert_int_equal(item.bytes, RECORD_BYTES);
        assert_int_equal(batch[item.offset], 'a' + i);
    }
}

static void a_flipped_bit_in_the_directory_is_seen(void **state)
{
    uint8_t batch[BYTES];
    uint32_t count;

    (void)state;
    for (size_t bit = 0; bit < 8 * batch_directory_bytes(COUNT); bit++) {
        make(batch);
        batch[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(batch_check(kv_bytes(batch, BYTES), number, &count), 0);
    }
}

static void another_number_is_another_batch(void **state)
{
    uint8_t batch[BYTES];
    uint32_t count;

    (void)state;
    make(batch);
    assert_int_equal(batch_check(kv_bytes(batch, BYTES), number + 1, &count),
                     KV_EDAMAGED);
}

static void another_version_is_told_apart_from_damage(void **state)
{
    uint8_t batch[BYTES];
    uint32_t count;

    (void)state;
    make(batch);
    batch[4] = BATCH_VERSION + 1;
    kv_put_u32le(batch, kv_crc32c(0, batch + 4, batch_directory_bytes(COUNT) - 4));
    assert_int_equal(batch_check(kv_bytes(batch, BYTES), number, &count), KV_EFORMAT);
}

/* Every length and count is checked before anything is read by it. */
static void a_cut_or_lying_batch_is_never_read_beyond_its_end(void **state)
{
    uint8_t batch[BYTES];
    uint32_t count;

    (void)state;
    for (size_t len = 0; len < BYTES; len++) {
        struct batch_item item;

        make(batch);
        assert_int_equal(batch_check(kv_bytes(batch, len), number, &count),
                         KV_EDAMAGED);
        for (uint32_t slot = 0; slot < 10; slot++) {
            if (batch_item_get(kv_bytes(batch, len), slot, &item) == 0) {
                assert_true((size_t)item.offset + item.bytes <= len);
            }
        }
    }
    make(batch);
    kv_put_u32le(batch + 16, UINT32_MAX); /* Entries. */
    assert_int_equal(batch_check(kv_bytes(batch, BYTES), number, &count), KV_EDAMAGED);
    make(batch);
    kv_put_u32le(batch + BATCH_HEAD_BYTES + 8, UINT32_MAX); /* Bytes of a record. */
    assert_int_equal(batch_item_get(kv_bytes(batch, BYTES), 0, &(struct batch_item){0}),
                     KV_EDAMAGED);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_back_what_was_put),
        cmocka_unit_test(a_flipped_bit_in_the_directory_is_seen),
        cmocka_unit_test(another_number_is_another_batch),
        cmocka_unit_test(another_version_is_told_apart_from_damage),
        cmocka_unit_test(a_cut_or_lying_batch_is_never_read_beyond_its_end),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("storage/batch", tests, NULL, NULL);
}
