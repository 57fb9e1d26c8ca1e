/* tests/rpc/test_map.c - the map's rules, its bytes, and routing by it. */
#include "tests/rpc/rpc_test.h"

#include "raft/base/err.h"
#include "rpc/map.h"
#include "rpc/pack.h"
#include "rpc/slot.h"

struct fixture {
    struct map m;
    struct map got;
    struct arena scratch;
    struct buf b;
};

/* Three nodes, meta and eight groups of three replicas. */
static void fill(struct map *m)
{
    map_init(m, 0xc0ffee);
    m->epoch = 5;
    m->nodes_count = 3;
    for (uint32_t i = 0; i < 3; i++) {
        struct map_node *n = &m->nodes[i];

        n->id = i + 1;
        (void)snprintf(n->host, sizeof n->host, "10.0.0.%u", i + 1);
        (void)snprintf(n->zone, sizeof n->zone, "z%u", i);
        n->client_port = (uint16_t)(7410 + 10 * i);
        n->peer_port = (uint16_t)(7411 + 10 * i);
        n->http_port = (uint16_t)(7412 + 10 * i);
    }
    m->groups_count = 9;
    for (uint32_t g = 0; g < 9; g++) {
        m->groups[g].id = (uint16_t)g;
        m->groups[g].w = g == 3 ? 3 : 0;
        m->groups[g].replicas_count = 3;
        for (uint32_t r = 0; r < 3; r++) {
            m->groups[g].replicas[r] =
                (struct map_replica){.replica = r + 10, .node = (g + r) % 3 + 1};
        }
    }
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    fill(&f->m);
    arena_init(&f->scratch, 256 * 1024, 0);
    buf_init(&f->b, KV_RESPONSE_BYTES_MAX);
    assert_int_equal(map_derive_slots(&f->m, &f->scratch), 0);
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
    uint8_t *copy = test_copy(f->b.data, f->b.len);
    int rc;

    arena_reset(&f->scratch);
    rc = map_decode(kv_bytes(copy, f->b.len), &f->scratch, &f->got);
    free(copy);
    return rc;
}

static void comes_back_from_bytes_as_it_was(void **state)
{
    struct fixture *f = *state;

    map_encode(&f->b, &f->m);
    assert_int_equal(f->b.error, 0);
    assert_int_equal(decode(f), 0);
    assert_memory_equal(&f->got, &f->m, sizeof f->m);
}

static void an_empty_map_is_a_map(void **state)
{
    struct fixture *f = *state;

    map_init(&f->m, 0);
    map_encode(&f->b, &f->m);
    assert_int_equal(decode(f), 0);
    assert_memory_equal(&f->got, &f->m, sizeof f->m);
    assert_int_equal(map_group_for_key(&f->got, kv_bytes_str("k")), RING_NO_GROUP);
}

static void the_largest_map_fits(void **state)
{
    struct fixture *f = *state;
    struct map *m = &f->m;

    m->vnodes = 1;
    m->nodes_count = KV_NODES_MAX;
    for (uint32_t i = 0; i < KV_NODES_MAX; i++) {
        m->nodes[i] = m->nodes[0];
        m->nodes[i].id = UINT32_MAX - KV_NODES_MAX + i;
        memset(m->nodes[i].host, 'h', KV_HOST_BYTES_MAX);
        memset(m->nodes[i].zone, 'z', KV_ZONE_BYTES_MAX);
    }
    m->groups_count = KV_GROUPS_MAX;
    for (uint32_t g = 0; g < KV_GROUPS_MAX; g++) {
        m->groups[g].id = (uint16_t)(RING_NO_GROUP - KV_GROUPS_MAX + g);
        m->groups[g].w = KV_REPLICAS_MAX;
        m->groups[g].replicas_count = KV_REPLICAS_MAX;
        for (uint32_t r = 0; r < KV_REPLICAS_MAX; r++) {
            m->groups[g].replicas[r] = (struct map_replica){
                .replica = UINT32_MAX - r, .node = m->nodes[(g + r) % KV_NODES_MAX].id};
        }
    }
    assert_int_equal(map_validate(m, NULL), 0);
    assert_int_equal(map_derive_slots(m, &f->scratch), 0);
    map_encode(&f->b, m);
    assert_int_equal(f->b.error, 0);
    assert_int_equal(decode(f), 0);
    assert_memory_equal(&f->got, m, sizeof *m);
}

static void routes_keys_to_data_groups_only(void **state)
{
    struct fixture *f = *state;
    bool met[9] = {false};

    for (uint32_t i = 0; i < 1000; i++) {
        char key[16];
        int len = snprintf(key, sizeof key, "key%u", i);
        struct kv_bytes bytes = kv_bytes(key, (size_t)len);
        uint16_t group = map_group_for_key(&f->m, bytes);

        assert_in_range(group, 1, 8);
        assert_int_equal(group, f->m.slots[slot_of(bytes)]);
        met[group] = true;
    }
    for (int g = 1; g <= 8; g++) {
        assert_true(met[g]);
    }
}

static void finds_nodes_groups_and_replicas(void **state)
{
    struct fixture *f = *state;
    const struct map_group *g = map_group_find(&f->m, 4);

    assert_non_null(g);
    assert_int_equal(g->id, 4);
    assert_null(map_group_find(&f->m, 9));
    assert_int_equal(map_node_find(&f->m, 2)->client_port, 7420);
    assert_null(map_node_find(&f->m, 4));
    assert_int_equal(map_node_of_replica(g, 11), 3);
    assert_int_equal(map_node_of_replica(g, 13), 0);
    assert_int_equal(map_replica_on_node(g, 3), 11);
    assert_int_equal(map_replica_on_node(g, 9), 0);
    map_init(&f->got, 1);
    assert_null(map_group_find(&f->got, 0));
}

/* ---- rules ---- */

static void break_node_order(struct map *m)
{
    m->nodes[1].id = 1;
}
static void break_node_zero(struct map *m)
{
    m->nodes[0].id = 0;
}
static void break_host_empty(struct map *m)
{
    m->nodes[2].host[0] = '\0';
}
static void break_host_unterminated(struct map *m)
{
    memset(m->nodes[2].host, 'a', sizeof m->nodes[2].host);
}
static void break_host_blank(struct map *m)
{
    m->nodes[2].host[1] = ' ';
}
static void break_zone_control(struct map *m)
{
    m->nodes[2].zone[0] = '\n';
}
static void break_port(struct map *m)
{
    m->nodes[0].client_port = 0;
}
static void break_vnodes_none(struct map *m)
{
    m->vnodes = 0;
}
static void break_vnodes_many(struct map *m)
{
    m->vnodes = KV_VNODES_MAX + 1;
}
static void break_group_order(struct map *m)
{
    m->groups[4].id = m->groups[3].id;
}
static void break_group_id(struct map *m)
{
    m->groups[8].id = RING_NO_GROUP;
}
static void break_w_below_majority(struct map *m)
{
    m->groups[3].w = 1;
}
static void break_w_above_replicas(struct map *m)
{
    m->groups[3].w = 4;
}
static void break_replica_zero(struct map *m)
{
    m->groups[3].replicas[1].replica = 0;
}
static void break_replica_twice(struct map *m)
{
    m->groups[3].replicas[1].replica = m->groups[3].replicas[0].replica;
}
static void break_node_twice(struct map *m)
{
    m->groups[3].replicas[1].node = m->groups[3].replicas[0].node;
}
static void break_node_unknown(struct map *m)
{
    m->groups[3].replicas[1].node = 77;
}

static void refuses_maps_that_cannot_be(void **state)
{
    static void (*const breaks[])(struct map *) = {
        break_node_order,
        break_node_zero,
        break_host_empty,
        break_host_unterminated,
        break_host_blank,
        break_zone_control,
        break_port,
        break_vnodes_none,
        break_vnodes_many,
        break_group_order,
        break_group_id,
        break_w_below_majority,
        break_w_above_replicas,
        break_replica_zero,
        break_replica_twice,
        break_node_twice,
        break_node_unknown,
    };
    struct fixture *f = *state;

    assert_int_equal(map_validate(&f->m, NULL), 0);
    for (size_t i = 0; i < sizeof breaks / sizeof breaks[0]; i++) {
        const char *why = NULL;

        fill(&f->m);
        breaks[i](&f->m);
        assert_int_equal(map_validate(&f->m, &why), KV_EINVAL);
        assert_non_null(why);
        if (breaks[i] != break_host_unterminated) {
            buf_reset(&f->b);
            map_encode(&f->b, &f->m);
            assert_int_equal(decode(f), KV_EPROTO);
        }
    }
}

static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    TEST(comes_back_from_bytes_as_it_was),
    TEST(an_empty_map_is_a_map),
    TEST(the_largest_map_fits),
    TEST(routes_keys_to_data_groups_only),
    TEST(finds_nodes_groups_and_replicas),
    TEST(refuses_maps_that_cannot_be),
};

TEST_MAIN("rpc/map", tests)
