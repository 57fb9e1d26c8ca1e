/* tests/rpc/test_scan.c - bounds, hostile headers, and agreement with msgpack-c. */
#include "tests/rpc/rpc_test.h"

#include <msgpack.h>

#include "raft/base/err.h"
#include "rpc/scan.h"

static const struct scan_limits small = {
    .bytes_max = 1000, .nodes_max = 100, .depth_max = 4};
static const struct scan_limits wide = {
    .bytes_max = 1 << 20, .nodes_max = 1 << 16, .depth_max = 16};

/* A literal with its length, so that it may hold zeros. */
#define LITERAL(text) (const uint8_t *)(text), sizeof(text) - 1

static int scan_once(const struct scan_limits *limits, const uint8_t *data, size_t len,
                     size_t *out_used)
{
    struct scan s;
    int rc;

    *out_used = 0;
    scan_init(&s, limits);
    rc = scan_feed(&s, data, len, out_used);
    /* Whoever is refused is told why. */
    assert_int_equal(rc != 0 && rc != KV_EAGAIN, scan_why(&s)[0] != '\0');
    return rc;
}

static void expect(const struct scan_limits *limits, const uint8_t *data, size_t len,
                   int want)
{
    size_t used;
    uint8_t *copy = test_copy(data, len);

    assert_int_equal(scan_once(limits, copy, len, &used), want);
    if (want == 0) {
        assert_int_equal(used, len);
    }
    free(copy);
}

/* Feeds byte by byte, each byte in an allocation of its own. */
static int scan_slowly(const struct scan_limits *limits, const uint8_t *data,
                       size_t len, size_t *out_used)
{
    struct scan s;
    int rc = KV_EAGAIN;

    scan_init(&s, limits);
    for (size_t i = 0; i < len && rc == KV_EAGAIN; i++) {
        uint8_t *one = test_copy(data + i, 1);

        rc = scan_feed(&s, one, 1, out_used);
        if (rc == 0) {
            assert_int_equal(*out_used, i + 1);
        }
        free(one);
    }
    return rc;
}

static void takes_every_type_that_we_use(void **state)
{
    (void)state;
    expect(&small, LITERAL("\xc0"), 0);
    expect(&small, LITERAL("\xc2"), 0);
    expect(&small, LITERAL("\x7f"), 0);
    expect(&small, LITERAL("\xe0"), 0);
    expect(&small, LITERAL("\xcc\x01"), 0);
    expect(&small, LITERAL("\xcf\0\0\0\0\0\0\0\x01"), 0);
    expect(&small, LITERAL("\xd3\xff\xff\xff\xff\xff\xff\xff\xff"), 0);
    expect(&small, LITERAL("\xca\0\0\0\0"), 0);
    expect(&small, LITERAL("\xcb\0\0\0\0\0\0\0\0"), 0);
    expect(&small, LITERAL("\xa0"), 0);
    expect(&small,
           LITERAL("\xa3"
                   "abc"),
           0);
    expect(&small, LITERAL("\xd9\x02xy"), 0);
    expect(&small, LITERAL("\xc4\0"), 0);
    expect(&small, LITERAL("\xc5\0\x01z"), 0);
    expect(&small, LITERAL("\xdb\0\0\0\x01z"), 0);
    expect(&small, LITERAL("\x90"), 0);
    expect(&small, LITERAL("\x80"), 0);
    expect(&small, LITERAL("\x81\xa1k\xc0"), 0);
    expect(&small, LITERAL("\xdc\0\x02\x01\x02"), 0);
    expect(&small, LITERAL("\xde\0\x01\x01\x02"), 0);
    expect(&small, LITERAL("\xdf\0\0\0\x01\x01\x02"), 0);
}

static void refuses_ext_types_and_c1(void **state)
{
    static const uint8_t bad[] = {0xc1, 0xc7, 0xc8, 0xc9, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8};

    (void)state;
    for (size_t i = 0; i < sizeof bad; i++) {
        uint8_t nested[] = {0x91, bad[i]};

        expect(&small, &bad[i], 1, KV_EPROTO);
        expect(&small, nested, 2, KV_EPROTO);
    }
}

/* Five bytes that make msgpack-c reserve gigabytes. */
static void refuses_bombs_at_their_header(void **state)
{
    (void)state;
    expect(&wide, LITERAL("\xdd\xff\xff\xff\xff"), KV_ETOOLARGE);
    expect(&wide, LITERAL("\xdd\x0f\xff\xff\xff"), KV_ETOOLARGE);
    expect(&wide, LITERAL("\xdf\x07\xff\xff\xff"), KV_ETOOLARGE);
    expect(&wide, LITERAL("\xdf\xff\xff\xff\xff"), KV_ETOOLARGE);
    expect(&wide, LITERAL("\xdf\x80\x00\x00\x00"), KV_ETOOLARGE);
    expect(&wide, LITERAL("\xdb\xff\xff\xff\xff"), KV_ETOOLARGE);
    expect(&wide, LITERAL("\xc6\xff\xff\xff\xff"), KV_ETOOLARGE);
    expect(&wide, LITERAL("\xc6\x00\x10\x00\x00"), KV_ETOOLARGE);
    expect(&small, LITERAL("\xdc\x03\xe8"), KV_ETOOLARGE);
    expect(&small, LITERAL("\xde\x01\xf4"), KV_ETOOLARGE);
}

static void a_refused_stream_stays_refused(void **state)
{
    struct scan s;
    size_t used;

    (void)state;
    scan_init(&s, &wide);
    assert_int_equal(scan_feed(&s, LITERAL("\xdd\xff\xff\xff\xff"), &used),
                     KV_ETOOLARGE);
    assert_int_equal(scan_feed(&s, LITERAL("\xc0"), &used), KV_EPROTO);
    scan_init(&s, &wide);
    assert_int_equal(scan_feed(&s, LITERAL("\xc0"), &used), 0);
}

/* Each header alone would pass; their sum does not (msgpackr#200). */
static void bounds_the_sum_of_nested_headers(void **state)
{
    (void)state;
    expect(&small, LITERAL("\xdc\0\x32\xdc\0\x31\x90\x90"), KV_EAGAIN);
    expect(&small, LITERAL("\xdc\0\x32\xdc\0\x32"), KV_ETOOLARGE);
    expect(&small, LITERAL("\x92\xdc\0\x20\xdc\0\x20\xdc\0\x24"), KV_ETOOLARGE);
    /* Bytes as well: 998 of the 1000 are spoken for. */
    expect(&small, LITERAL("\x92\xc5\x03\xe4"), KV_ETOOLARGE);
    expect(&small, LITERAL("\x92\xc5\x03\xe3"), KV_EAGAIN);
}

/* The byte limit bounds it too, where more items would be allowed: 94 items are still
 * to come behind 9 bytes of at most 100. */
static void bounds_the_sum_of_nested_headers_by_bytes(void **state)
{
    const struct scan_limits few_bytes = {
        .bytes_max = 100, .nodes_max = 10000, .depth_max = 16};

    (void)state;
    expect(&few_bytes, LITERAL("\xdc\0\x20\xdc\0\x20\xdc\0\x1d"), KV_EAGAIN);
    expect(&few_bytes, LITERAL("\xdc\0\x20\xdc\0\x20\xdc\0\x1e"), KV_ETOOLARGE);
    expect(&few_bytes, LITERAL("\xdc\0\x20\xde\0\x1f"), KV_EAGAIN);
    expect(&few_bytes, LITERAL("\xdc\0\x20\xde\0\x20"), KV_ETOOLARGE);
}

static void bounds_depth(void **state)
{
    (void)state;
    expect(&small, LITERAL("\x91\x91\x91\x90"), 0);
    expect(&small, LITERAL("\x91\x91\x91\x91\x90"), KV_ETOOLARGE);
    expect(&small, LITERAL("\x81\x01\x81\x01\x81\x01\x81\x01\x80"), KV_ETOOLARGE);
    /* Siblings do not add up. */
    expect(&small, LITERAL("\x93\x91\x91\x90\x91\x91\x90\x91\x91\x90"), 0);
}

static void bounds_bytes_to_the_byte(void **state)
{
    uint8_t data[1001] = {0xc5, 0x03, 0xe5};
    size_t used;

    (void)state;
    assert_int_equal(scan_once(&small, data, 1000, &used), 0);
    assert_int_equal(used, 1000);
    data[2] = 0xe6;
    assert_int_equal(scan_once(&small, data, 1001, &used), KV_ETOOLARGE);
}

static void bounds_nodes_to_the_node(void **state)
{
    uint8_t data[103] = {0xdc, 0, 99};
    size_t used;

    (void)state;
    memset(data + 3, 0xc0, 100);
    assert_int_equal(scan_once(&small, data, sizeof data, &used), 0);
    assert_int_equal(used, 102);
    data[2] = 100;
    assert_int_equal(scan_once(&small, data, sizeof data, &used), KV_ETOOLARGE);
}

static void knows_a_message_of_rpc_by_its_first_byte(void **state)
{
    struct scan_limits rpc = small;
    size_t used;

    (void)state;
    rpc.is_rpc = true;
    expect(&rpc, LITERAL("\x94\0\0\0\0"), 0);
    expect(&rpc, LITERAL("\x93\0\0\0"), 0);
    expect(&rpc, LITERAL("\xdc\0\x04\0\0\0\0"), 0);
    expect(&rpc, LITERAL("\xdd\0\0\0\x03\0\0\0"), 0);
    expect(&rpc, LITERAL("\xdc\0\x05"), KV_EPROTO);
    expect(&rpc, LITERAL("\xdd\0\0\x04\0"), KV_EPROTO);
    for (int first = 0; first < 256; first++) {
        uint8_t byte = (uint8_t)first;
        int want = KV_EPROTO;

        if (byte == 0x93 || byte == 0x94 || byte == 0xdc || byte == 0xdd) {
            want = KV_EAGAIN;
        }
        assert_int_equal(scan_once(&rpc, &byte, 1, &used), want);
    }
}

static void finds_pipelined_messages_one_by_one(void **state)
{
    static const uint8_t stream[] = "\x94\x00\x01\xa1m\x90\x93\x02\xa1n\x91\xc0\x94";
    const struct scan_limits limits = scan_limits_request;
    struct scan s;
    size_t used = 0;

    (void)state;
    scan_init(&s, &limits);
    assert_int_equal(scan_feed(&s, stream, 13, &used), 0);
    assert_int_equal(used, 6);
    assert_int_equal(scan_feed(&s, stream + 6, 7, &used), 0);
    assert_int_equal(used, 6);
    assert_int_equal(scan_feed(&s, stream + 12, 1, &used), KV_EAGAIN);
    assert_int_equal(scan_feed(&s, NULL, 0, &used), KV_EAGAIN);
}

/* ---- against msgpack-c ---- */

static void pack_random(msgpack_packer *pk, struct prng *p, uint32_t depth)
{
    static const uint32_t sizes[] = {0, 1, 2, 15, 16, 31, 32, 255, 256, 300, 70000};
    uint64_t kind = prng_below(p, depth < 6 ? 10 : 8);
    uint32_t size = sizes[prng_below(p, depth == 0 ? 11 : 8)];

    switch (kind) {
    case 0:
        (void)msgpack_pack_nil(pk);
        break;
    case 1:
        (void)msgpack_pack_true(pk);
        break;
    case 2:
        (void)msgpack_pack_uint64(pk, test_random_u64(p));
        break;
    case 3:
        (void)msgpack_pack_int64(pk, -(int64_t)(test_random_u64(p) >> 1));
        break;
    case 4:
        (void)msgpack_pack_double(pk, 0.5);
        break;
    case 5:
        (void)msgpack_pack_float(pk, 0.5f);
        break;
    case 6:
    case 7: {
        char *bytes = calloc(1, size + 1u);

        assert_non_null(bytes);
        if (kind == 6) {
            (void)msgpack_pack_str_with_body(pk, bytes, size);
        } else {
            (void)msgpack_pack_bin_with_body(pk, bytes, size);
        }
        free(bytes);
        break;
    }
    case 8:
        size = (uint32_t)prng_below(p, depth == 0 ? 40 : 4);
        (void)msgpack_pack_array(pk, size);
        for (uint32_t i = 0; i < size; i++) {
            pack_random(pk, p, depth + 1);
        }
        break;
    default:
        size = (uint32_t)prng_below(p, depth == 0 ? 20 : 3);
        (void)msgpack_pack_map(pk, size);
        for (uint32_t i = 0; i < 2 * size; i++) {
            pack_random(pk, p, depth + 1);
        }
        break;
    }
}

/* msgpack-c's verdict on the start of data: 0 and a length, KV_EAGAIN, or KV_EPROTO. */
static int msgpack_says(const uint8_t *data, size_t len, size_t *out_used)
{
    msgpack_zone zone;
    msgpack_object o;
    msgpack_unpack_return rc;
    size_t at = 0;

    if (len == 0) {
        return KV_EAGAIN;
    }
    assert_true(msgpack_zone_init(&zone, 4096));
    rc = msgpack_unpack((const char *)data, len, &at, &zone, &o);
    msgpack_zone_destroy(&zone);
    if (rc == MSGPACK_UNPACK_SUCCESS || rc == MSGPACK_UNPACK_EXTRA_BYTES) {
        *out_used = at;
        return 0;
    }
    return rc == MSGPACK_UNPACK_CONTINUE ? KV_EAGAIN : KV_EPROTO;
}

static void agrees_with_msgpack_on_random_messages(void **state)
{
    struct prng p;

    (void)state;
    test_seed(&p, 1);
    for (int round = 0; round < 3000; round++) {
        msgpack_sbuffer sb;
        msgpack_packer pk;
        size_t used = 0;
        size_t cut;

        msgpack_sbuffer_init(&sb);
        msgpack_packer_init(&pk, &sb, msgpack_sbuffer_write);
        pack_random(&pk, &p, 0);

        assert_int_equal(scan_once(&wide, (uint8_t *)sb.data, sb.size, &used), 0);
        assert_int_equal(used, sb.size);
        if (sb.size < 2000) {
            used = 0;
            assert_int_equal(scan_slowly(&wide, (uint8_t *)sb.data, sb.size, &used), 0);
            assert_int_equal(used, sb.size);
        }
        cut = prng_below(&p, sb.size);
        expect(&wide, (uint8_t *)sb.data, cut, KV_EAGAIN);
        msgpack_sbuffer_destroy(&sb);
    }
}

/* Where the scan lets a message through, msgpack-c must agree on its length; where it
 * wants more, msgpack-c wants more as well; byte by byte gives the same verdict. */
static void agrees_with_msgpack_on_mutated_messages(void **state)
{
    uint32_t verdicts[3] = {0};
    struct prng p;

    (void)state;
    test_seed(&p, 2);
    for (int round = 0; round < 20000; round++) {
        uint8_t data[64];
        size_t len = 1 + prng_below(&p, sizeof data);
        size_t used = 0;
        size_t used_slow = 0;
        size_t used_msgpack = 0;
        uint8_t *copy;
        int rc;

        for (size_t i = 0; i < len; i++) {
            /* Headers more often than chance has it. */
            data[i] = (uint8_t)(prng_below(&p, 2) == 0 ? 0x80 + prng_below(&p, 0x60)
                                                       : prng_next(&p));
        }
        copy = test_copy(data, len);
        rc = scan_once(&wide, copy, len, &used);
        assert_int_equal(scan_slowly(&wide, copy, len, &used_slow), rc);
        if (rc == 0) {
            assert_int_equal(used_slow, used);
            assert_int_equal(msgpack_says(copy, len, &used_msgpack), 0);
            assert_int_equal(used_msgpack, used);
        } else if (rc == KV_EAGAIN) {
            assert_int_equal(msgpack_says(copy, len, &used_msgpack), KV_EAGAIN);
        }
        verdicts[rc == 0 ? 0 : rc == KV_EAGAIN ? 1 : 2]++;
        free(copy);
    }
    /* The mixture must have tried all three. */
    for (size_t i = 0; i < 3; i++) {
        assert_true(verdicts[i] > 500);
    }
}

/* Quadratic work over a message of a megabyte would take minutes here. */
static void works_linearly_when_bytes_come_one_by_one(void **state)
{
    size_t len = 1000 * 1000;
    uint8_t *data = calloc(1, len);
    struct scan s;
    size_t used = 0;

    (void)state;
    assert_non_null(data);
    memcpy(data, "\xc6\x00\x0f\x42\x3b", 5); /* bin32 of len - 5 */
    scan_init(&s, &wide);
    for (size_t i = 0; i + 1 < len; i++) {
        assert_true(scan_feed(&s, data + i, 1, &used) == KV_EAGAIN);
    }
    assert_int_equal(scan_feed(&s, data + len - 1, 1, &used), 0);
    assert_int_equal(used, len);
    free(data);
}

static void wants_exactly_one_message_as_a_whole(void **state)
{
    (void)state;
    assert_int_equal(scan_whole(&small, LITERAL("\x92\x01\x02")), 0);
    assert_int_equal(scan_whole(&small, LITERAL("\x92\x01")), KV_EPROTO);
    assert_int_equal(scan_whole(&small, LITERAL("\x92\x01\x02\x03")), KV_EPROTO);
    assert_int_equal(scan_whole(&small, NULL, 0), KV_EPROTO);
    assert_int_equal(scan_whole(&small, LITERAL("\xdd\xff\xff\xff\xff")), KV_ETOOLARGE);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(takes_every_type_that_we_use),
    cmocka_unit_test(refuses_ext_types_and_c1),
    cmocka_unit_test(refuses_bombs_at_their_header),
    cmocka_unit_test(a_refused_stream_stays_refused),
    cmocka_unit_test(bounds_the_sum_of_nested_headers),
    cmocka_unit_test(bounds_the_sum_of_nested_headers_by_bytes),
    cmocka_unit_test(bounds_depth),
    cmocka_unit_test(bounds_bytes_to_the_byte),
    cmocka_unit_test(bounds_nodes_to_the_node),
    cmocka_unit_test(knows_a_message_of_rpc_by_its_first_byte),
    cmocka_unit_test(finds_pipelined_messages_one_by_one),
    cmocka_unit_test(agrees_with_msgpack_on_random_messages),
    cmocka_unit_test(agrees_with_msgpack_on_mutated_messages),
    cmocka_unit_test(works_linearly_when_bytes_come_one_by_one),
    cmocka_unit_test(wants_exactly_one_message_as_a_whole),
};

TEST_MAIN("rpc/scan", tests)
