/* tests/rpc/test_map_decode.c - a stored map is read strictly. */
#include "tests/rpc/rpc_test.h"

#include "raft/base/err.h"
#include "rpc/map.h"
#include "rpc/pack.h"

struct fixture {
    struct map got;
    struct arena scratch;
    struct buf b;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    arena_init(&f->scratch, 256 * 1024, 0);
    buf_init(&f->b, 1 << 20);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    arena_close(&f->scratch);
    buf_close(&f->b);
    free(f);
    return 0;
}

static int decode(struct fixture *f)
{
    arena_reset(&f->scratch);
    return map_decode(buf_bytes(&f->b), &f->scratch, &f->got);
}

/* A map without nodes and groups, all keys but those in `without` (a bit each). */
static void pack_empty(struct fixture *f, uint32_t version, uint32_t without)
{
    static const char *const names[] = {"v",      "cluster", "epoch",
                                        "vnodes", "nodes",   "groups"};

    buf_reset(&f->b);
    pack_map(&f->b, 6 - (uint32_t)__builtin_popcount(without));
    for (uint32_t i = 0; i < 6; i++) {
        if ((without & (1u << i)) != 0) {
            continue;
        }
        pack_str(&f->b, names[i]);
        if (i == 1) {
            pack_str(&f->b, "00000000000000ff");
        } else if (i < 4) {
            pack_uint(&f->b, i == 0 ? version : 7);
        } else {
            pack_array(&f->b, 0);
        }
    }
}

static void reads_keys_in_any_order_and_as_bin(void **state)
{
    struct fixture *f = *state;

    pack_map(&f->b, 6);
    pack_bin(&f->b, kv_bytes_str("groups"));
    pack_array(&f->b, 0);
    pack_str(&f->b, "nodes");
    pack_array(&f->b, 0);
    pack_str(&f->b, "vnodes");
    pack_uint(&f->b, 3);
    pack_str(&f->b, "epoch");
    pack_uint(&f->b, UINT64_MAX);
    pack_str(&f->b, "cluster");
    pack_str(&f->b, "ffffffffffffffff");
    pack_str(&f->b, "v");
    pack_uint(&f->b, MAP_FORMAT);
    assert_int_equal(decode(f), 0);
    assert_true(f->got.epoch == UINT64_MAX);
    assert_true(f->got.cluster == UINT64_MAX);
    assert_int_equal(f->got.vnodes, 3);
}

static void refuses_a_map_without_one_of_its_keys(void **state)
{
    struct fixture *f = *state;

    pack_empty(f, MAP_FORMAT, 0);
    assert_int_equal(decode(f), 0);
    for (uint32_t i = 0; i < 6; i++) {
        pack_empty(f, MAP_FORMAT, 1u << i);
        assert_int_equal(decode(f), KV_EPROTO);
    }
}

static void refuses_another_format(void **state)
{
    struct fixture *f = *state;

    pack_empty(f, MAP_FORMAT + 1, 0);
    assert_int_equal(decode(f), KV_EFORMAT);
}

/* The same bytes with one more pair. */
static void pack_with_pair(struct fixture *f, const char *key)
{
    pack_empty(f, MAP_FORMAT, 0);
    f->b.data[0] = 0x87;
    pack_str(&f->b, key);
    pack_uint(&f->b, 7);
}

static void refuses_unknown_keys_in_state_and_takes_them_in_replies(void **state)
{
    struct fixture *f = *state;

    pack_with_pair(f, "moves");
    assert_int_equal(decode(f), KV_EPROTO);
    assert_int_equal(map_decode_reply(buf_bytes(&f->b), &f->scratch, &f->got), 0);
    pack_with_pair(f, "epoch");
    assert_int_equal(decode(f), KV_EPROTO);
    assert_int_equal(map_decode_reply(buf_bytes(&f->b), &f->scratch, &f->got),
                     KV_EPROTO);
}

static void refuses_bytes_behind_it_and_bombs(void **state)
{
    static const char *const bad[] = {
        "\xdf\xff\xff\xff\xff", "\xdd\xff\xff\xff\xff", "\xc0", "\x90", "\x80", ""};
    struct fixture *f = *state;

    pack_empty(f, MAP_FORMAT, 0);
    pack_nil(&f->b);
    assert_int_equal(decode(f), KV_EPROTO);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        buf_reset(&f->b);
        buf_append_bytes(&f->b, kv_bytes_str(bad[i]));
        assert_int_equal(decode(f), KV_EPROTO);
    }
}

static void refuses_every_truncation_and_survives_every_flip(void **state)
{
    struct fixture *f = *state;
    static struct map m;
    size_t len;

    map_init(&m, 1);
    m.vnodes = 1;
    m.nodes_count = 1;
    m.nodes[0] =
        (struct map_node){.id = 1, .host = "h", .client_port = 1, .peer_port = 2};
    m.groups_count = 1;
    m.groups[0] =
        (struct map_group){.id = 1, .replicas_count = 1, .replicas = {{1, 1}}};
    map_encode(&f->b, &m);
    assert_int_equal(decode(f), 0);
    len = f->b.len;
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *copy = test_copy(f->b.data, cut);

        arena_reset(&f->scratch);
        assert_int_equal(map_decode(kv_bytes(copy, cut), &f->scratch, &f->got),
                         KV_EPROTO);
        free(copy);
    }
    for (size_t bit = 0; bit < 8 * len; bit++) {
        uint8_t *copy = test_copy(f->b.data, len);
        int rc;

        copy[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        arena_reset(&f->scratch);
        rc = map_decode(kv_bytes(copy, len), &f->scratch, &f->got);
        assert_true(rc == 0 || rc == KV_EPROTO || rc == KV_EFORMAT);
        if (rc == 0) {
            assert_int_equal(map_validate(&f->got, NULL), 0);
        }
        free(copy);
    }
}

static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    TEST(reads_keys_in_any_order_and_as_bin),
    TEST(refuses_a_map_without_one_of_its_keys),
    TEST(refuses_another_format),
    TEST(refuses_unknown_keys_in_state_and_takes_them_in_replies),
    TEST(refuses_bytes_behind_it_and_bombs),
    TEST(refuses_every_truncation_and_survives_every_flip),
};

TEST_MAIN("rpc/map_decode", tests)
