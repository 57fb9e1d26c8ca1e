/* tests/server/test_command.c - payloads come back whole, or are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "raft/base/err.h"
#include "raft/base/prng.h"
#include "server/command.h"

static uint8_t slots[COMMAND_SLOTS_BYTES];

static const struct command *examples(size_t *out_count)
{
    static struct command c[18];

    c[0] = (struct command){.kind = COMMAND_KV_PUT, .slot = 77};
    c[0].key = kv_bytes_str("key");
    c[0].value = kv_bytes_str("value");
    c[1] = (struct command){.kind = COMMAND_KV_DEL, .slot = KV_SLOTS - 1};
    c[1].key = kv_bytes_str("k");
    c[2] = (struct command){.kind = COMMAND_KV_CAS, .slot = 1};
    c[2].key = kv_bytes_str("k");
    c[2].has_expected = true;
    c[2].expected = kv_bytes_str("old");
    c[3] = c[2];
    c[3].has_expected = false;
    c[3].expected = kv_bytes(NULL, 0);
    c[3].has_replacement = true; /* And an empty one: not the same as none. */
    c[4] = (struct command){.kind = COMMAND_KV_INCR, .slot = 5, .delta = INT64_MIN};
    c[4].key = kv_bytes_str("counter");
    c[5] = (struct command){.kind = COMMAND_MAP_SET, .epoch_replaced = 3, .epoch = 4};
    c[5].map = kv_bytes_str("map");
    c[6] = (struct command){.kind = COMMAND_OWN_SLOTS, .rev_offset = 9};
    command_slot_set(slots, 0);
    command_slot_set(slots, 9999);
    c[6].slots = kv_bytes(slots, sizeof slots);
    c[7] = c[0];
    c[7].session = (struct command_session){UINT64_MAX, 9, 9, 1234};
    c[8] = c[1];
    c[8].idem = (struct command_idem){kv_bytes_str("order-1"), 77, 60000};
    c[9] = c[4];
    c[9].fence = (struct command_fence){kv_bytes_str("lock"), 3};
    c[10] = c[2];
    c[10].session = (struct command_session){1, 2, 0, 0};
    c[10].fence = c[9].fence;
    c[11] = (struct command){.kind = COMMAND_LOCK_ACQUIRE, .slot = 3};
    c[11].key = kv_bytes_str("lock");
    c[11].owner = kv_bytes_str("me");
    c[11].value = kv_bytes_str("here");
    c[11].permits = KV_LOCK_PERMITS_MAX;
    c[11].ttl_ms = KV_LOCK_TTL_MS_MIN;
    c[11].may_wait = true;
    c[12] = (struct command){.kind = COMMAND_LOCK_EXPIRE, .slot = 4, .token = 17};
    c[12].key = kv_bytes_str("lock");
    c[13] = (struct command){.kind = COMMAND_LOCK_CANCEL, .give_back = true};
    c[13].key = kv_bytes_str("lock");
    c[13].owner = kv_bytes_str("me");
    c[14] = (struct command){.kind = COMMAND_RECORD_SWEEP, .rows_max = 256};
    c[14].key = kv_bytes_str("row");
    c[15] = (struct command){.kind = COMMAND_KV_DELRANGE, .rows_max = 7};
    c[15].begin = kv_bytes_str("a");
    c[15].end = kv_bytes_str("b");
    c[16] = (struct command){.kind = COMMAND_EXPIRE, .rows_max = 256};
    c[17] = c[0];
    c[17].ttl_ms = 1234;
    *out_count = 18;
    return c;
}

static void assert_same(const struct command *a, const struct command *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->slot, b->slot);
    assert_int_equal(a->has_expected, b->has_expected);
    assert_int_equal(a->has_replacement, b->has_replacement);
    assert_true(kv_bytes_equal(a->key, b->key));
    assert_true(kv_bytes_equal(a->value, b->value));
    assert_true(kv_bytes_equal(a->begin, b->begin));
    assert_true(kv_bytes_equal(a->end, b->end));
    assert_true(kv_bytes_equal(a->expected, b->expected));
    assert_true(kv_bytes_equal(a->replacement, b->replacement));
    assert_true(a->delta == b->delta);
    assert_int_equal(a->rows_max, b->rows_max);
    assert_true(a->epoch == b->epoch && a->epoch_replaced == b->epoch_replaced);
    assert_true(kv_bytes_equal(a->map, b->map));
    assert_true(a->rev_offset == b->rev_offset);
    assert_int_equal(a->may_wait, b->may_wait);
    assert_int_equal(a->give_back, b->give_back);
    assert_int_equal(a->permits, b->permits);
    assert_int_equal(a->ttl_ms, b->ttl_ms);
    assert_true(a->token == b->token);
    assert_true(kv_bytes_equal(a->owner, b->owner));
    assert_true(kv_bytes_equal(a->slots, b->slots));
    assert_true(a->session.session == b->session.session &&
                a->session.seq == b->session.seq && a->session.ack == b->session.ack &&
                a->session.stamp_ms == b->session.stamp_ms);
    assert_true(kv_bytes_equal(a->idem.key, b->idem.key));
    assert_true(a->idem.stamp_ms == b->idem.stamp_ms);
    assert_int_equal(a->idem.ttl_ms, b->idem.ttl_ms);
    assert_true(kv_bytes_equal(a->fence.lock, b->fence.lock));
    assert_true(a->fence.token == b->fence.token);
}

static void decodes_what_it_encodes(void **state)
{
    uint8_t out[4096];
    size_t count;
    const struct command *c = examples(&count);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        struct command back;
        size_t len = command_bytes(&c[i]);

        assert_true(len <= sizeof out);
        command_encode(&c[i], out);
        assert_int_equal(command_decode(kv_bytes(out, len), &back), 0);
        assert_same(&c[i], &back);
    }
}

static void refuses_every_other_length(void **state)
{
    uint8_t out[4096];
    size_t count;
    const struct command *c = examples(&count);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        struct command back;
        size_t len = command_bytes(&c[i]);

        memset(out, 0, sizeof out);
        command_encode(&c[i], out);
        for (size_t cut = 0; cut < len; cut++) {
            assert_int_equal(command_decode(kv_bytes(out, cut), &back), KV_ECORRUPT);
        }
        assert_int_equal(command_decode(kv_bytes(out, len + 1), &back), KV_ECORRUPT);
    }
}

static void unknown_version_and_kind_are_told_apart_from_damage(void **state)
{
    uint8_t out[64];
    struct command c = {.kind = COMMAND_KV_DEL};
    struct command back;
    size_t len;

    (void)state;
    c.key = kv_bytes_str("k");
    len = command_bytes(&c);
    command_encode(&c, out);
    out[0] = COMMAND_VERSION_PREFIXED + 1;
    assert_int_equal(command_decode(kv_bytes(out, len), &back), KV_EFORMAT);
    out[0] = COMMAND_VERSION;
    out[1] = 99;
    assert_int_equal(command_decode(kv_bytes(out, len), &back), KV_EFORMAT);
    out[1] = COMMAND_KV_DEL;
    kv_put_u16le(out + 2, KV_SLOTS);
    assert_int_equal(command_decode(kv_bytes(out, len), &back), KV_ECORRUPT);
}

static void without_a_prefix_version_1_is_written(void **state)
{
    uint8_t out[4096];
    size_t count;
    const struct command *c = examples(&count);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        bool prefixed = c[i].session.session != 0 || c[i].idem.key.len > 0 ||
                        c[i].fence.lock.len > 0 ||
                        (c[i].kind == COMMAND_KV_PUT && c[i].ttl_ms > 0);

        command_encode(&c[i], out);
        assert_int_equal(out[0], prefixed ? COMMAND_VERSION_PREFIXED : COMMAND_VERSION);
    }
}

static void the_body_is_the_same_whatever_the_prefix_says(void **state)
{
    uint8_t plain[64];
    uint8_t prefixed[128];
    struct command c = {.kind = COMMAND_KV_INCR, .delta = 5};
    struct command back[2];
    size_t len;

    (void)state;
    c.key = kv_bytes_str("k");
    len = command_bytes(&c);
    command_encode(&c, plain);
    assert_int_equal(command_decode(kv_bytes(plain, len), &back[0]), 0);
    c.session = (struct command_session){1, 2, 1, 4};
    c.fence = (struct command_fence){kv_bytes_str("lock"), 3};
    len = command_bytes(&c);
    command_encode(&c, prefixed);
    assert_int_equal(command_decode(kv_bytes(prefixed, len), &back[1]), 0);
    assert_true(back[0].body.len > 0);
    assert_true(kv_bytes_equal(back[0].body, back[1].body));
}

static void if_rev_goes_there_and_back(void **state)
{
    uint8_t out[128];
    struct command c = {.kind = COMMAND_KV_GETSET, .has_if_rev = true, .if_rev = 77};
    struct command back;

    (void)state;
    c.key = kv_bytes_str("k");
    c.value = kv_bytes_str("v");
    command_encode(&c, out);
    assert_int_equal(command_decode(kv_bytes(out, command_bytes(&c)), &back), 0);
    assert_true(back.has_if_rev && back.if_rev == 77);
    assert_true(kv_bytes_equal(back.value, c.value));
    out[1] = COMMAND_KV_INCR; /* Nothing that can have it. */
    assert_int_equal(command_decode(kv_bytes(out, command_bytes(&c)), &back),
                     KV_ECORRUPT);
}

static void a_prefix_of_a_later_version_stops_the_replica(void **state)
{
    uint8_t out[128];
    struct command c = {.kind = COMMAND_KV_DEL};
    struct command back;
    size_t len;

    (void)state;
    c.key = kv_bytes_str("k");
    c.session = (struct command_session){1, 2, 1, 4};
    len = command_bytes(&c);
    command_encode(&c, out);
    for (int bit = 5; bit < 8; bit++) {
        out[4] = (uint8_t)(1 | 1 << bit);
        assert_int_equal(command_decode(kv_bytes(out, len), &back), KV_EFORMAT);
    }
}

static void prefixes_that_no_encoder_writes_are_refused(void **state)
{
    uint8_t out[512];
    struct command c = {.kind = COMMAND_KV_DEL};
    struct command back;
    size_t len;

    (void)state;
    c.key = kv_bytes_str("k");
    c.session = (struct command_session){1, 2, 1, 4};
    len = command_bytes(&c);
    command_encode(&c, out);
    kv_put_u64le(out + 5, 0); /* No session. */
    assert_int_equal(command_decode(kv_bytes(out, len), &back), KV_ECORRUPT);
    kv_put_u64le(out + 5, 1);
    kv_put_u64le(out + 5 + 16, 3); /* Acknowledged before it was sent. */
    assert_int_equal(command_decode(kv_bytes(out, len), &back), KV_ECORRUPT);
    kv_put_u64le(out + 5 + 16, 2);
    assert_int_equal(command_decode(kv_bytes(out, len), &back), 0);
    out[1] = COMMAND_MAP_SET; /* A kind without a slot has none. */
    assert_int_equal(command_decode(kv_bytes(out, len), &back), KV_ECORRUPT);

    c.session.session = 0;
    len = command_bytes(&c);
    command_encode(&c, out);
    memmove(out + 5, out + 4, len - 4);
    out[0] = COMMAND_VERSION_PREFIXED;
    out[4] = 0; /* An empty mask. */
    assert_int_equal(command_decode(kv_bytes(out, len + 1), &back), KV_ECORRUPT);
}

static void a_session_and_an_idempotency_key_exclude_each_other(void **state)
{
    uint8_t out[128];
    struct command c = {.kind = COMMAND_KV_DEL};
    struct command back;
    size_t len;

    (void)state;
    c.key = kv_bytes_str("k");
    c.idem = (struct command_idem){kv_bytes_str("i"), 1, 1};
    len = command_bytes(&c);
    command_encode(&c, out);
    memmove(out + 5 + 32, out + 5, len - 5);
    memset(out + 5, 0, 32);
    out[5] = 1; /* The session. */
    out[4] = 3;
    assert_int_equal(command_decode(kv_bytes(out, len + 32), &back), KV_ECORRUPT);
    out[4] = 1;
    assert_int_equal(command_decode(kv_bytes(out, len + 32), &back), KV_ECORRUPT);
}

static void an_empty_key_and_a_long_one_are_refused(void **state)
{
    uint8_t out[1024] = {COMMAND_VERSION, COMMAND_KV_DEL};
    struct command back;

    (void)state;
    assert_int_equal(command_decode(kv_bytes(out, 6), &back), KV_ECORRUPT);
    kv_put_u16le(out + 4, KV_KEY_BYTES_MAX + 1);
    assert_int_equal(command_decode(kv_bytes(out, 6 + KV_KEY_BYTES_MAX + 1), &back),
                     KV_ECORRUPT);
    kv_put_u16le(out + 4, KV_KEY_BYTES_MAX);
    assert_int_equal(command_decode(kv_bytes(out, 6 + KV_KEY_BYTES_MAX), &back), 0);
}

static void a_map_must_move_the_epoch_up(void **state)
{
    uint8_t out[64];
    struct command c = {.kind = COMMAND_MAP_SET, .epoch = 1};
    struct command back;
    size_t len;

    (void)state;
    c.map = kv_bytes_str("m");
    len = command_bytes(&c);
    command_encode(&c, out);
    kv_put_u64le(out + 4, 1);
    assert_int_equal(command_decode(kv_bytes(out, len), &back), KV_ECORRUPT);
}

/* Any bytes: an error or a command whose parts lie within the payload. */
static void random_bytes_never_reach_outside(void **state)
{
    struct prng p;

    (void)state;
    prng_init(&p, 11);
    for (int i = 0; i < 200000; i++) {
        uint8_t bytes[64];
        size_t len = prng_below(&p, sizeof bytes + 1);
        struct command c = {0};

        for (size_t k = 0; k < len; k++) {
            bytes[k] =
                (uint8_t)(prng_below(&p, 3) == 0 ? prng_next(&p) : prng_below(&p, 6));
        }
        if (len > 0) {
            bytes[0] = i % 2 == 0 ? COMMAND_VERSION : COMMAND_VERSION_PREFIXED;
        }
        if (command_decode(kv_bytes(bytes, len), &c) == 0 && c.key.len > 0) {
            assert_true(c.key.data >= bytes && c.key.data + c.key.len <= bytes + len);
            assert_true(c.value.len == 0 || c.value.data + c.value.len <= bytes + len);
            assert_true(c.expected.len == 0 ||
                        c.expected.data + c.expected.len <= bytes + len);
        }
    }
}

static void deletes_and_the_clusters_own_commands_are_urgent(void **state)
{
    uint8_t out[4096];
    size_t count;
    const struct command *c = examples(&count);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        bool urgent = c[i].kind == COMMAND_KV_DEL || c[i].kind >= COMMAND_MAP_SET ||
                      c[i].kind == COMMAND_RECORD_SWEEP ||
                      c[i].kind == COMMAND_KV_DELRANGE || c[i].kind == COMMAND_EXPIRE ||
                      c[i].kind == COMMAND_LOCK_EXPIRE ||
                      c[i].kind == COMMAND_LOCK_CANCEL;

        command_encode(&c[i], out);
        assert_int_equal(command_is_urgent(kv_bytes(out, command_bytes(&c[i]))),
                         urgent);
    }
    assert_false(command_is_urgent(kv_bytes(out, 3)));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_what_it_encodes),
        cmocka_unit_test(refuses_every_other_length),
        cmocka_unit_test(unknown_version_and_kind_are_told_apart_from_damage),
        cmocka_unit_test(without_a_prefix_version_1_is_written),
        cmocka_unit_test(the_body_is_the_same_whatever_the_prefix_says),
        cmocka_unit_test(if_rev_goes_there_and_back),
        cmocka_unit_test(a_prefix_of_a_later_version_stops_the_replica),
        cmocka_unit_test(prefixes_that_no_encoder_writes_are_refused),
        cmocka_unit_test(a_session_and_an_idempotency_key_exclude_each_other),
        cmocka_unit_test(an_empty_key_and_a_long_one_are_refused),
        cmocka_unit_test(a_map_must_move_the_epoch_up),
        cmocka_unit_test(random_bytes_never_reach_outside),
        cmocka_unit_test(deletes_and_the_clusters_own_commands_are_urgent),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/command", tests, NULL, NULL);
}
