/* tests/rpc/test_news.c - who leads: written, read, refused. */
#include "tests/rpc/rpc_test.h"

#include "rpc/news.h"
#include "rpc/pack.h"

static void what_is_written_is_read(void **state)
{
    const struct rpc_leader first = {.group = 1, .node = 3, .term = UINT64_MAX};
    const struct rpc_leader second = {.group = 70000, .node = 0, .term = 2};
    struct rpc_leader leader;
    struct rpc_decoder d;
    struct rpc_list list;
    struct buf b;

    (void)state;
    assert_int_equal(rpc_decoder_init(&d), 0);
    buf_init(&b, 4096);
    rpc_leaders_begin(&b, 2);
    rpc_leaders_add(&b, &first);
    rpc_leaders_add(&b, &second);
    assert_int_equal(b.error, 0);
    assert_int_equal(rpc_leaders_decode(&d, buf_bytes(&b), &list), 0);
    assert_int_equal(list.count, 2);
    rpc_leader_get(&list, 0, &leader);
    assert_true(leader.group == 1 && leader.node == 3 && leader.term == UINT64_MAX);
    rpc_leader_get(&list, 1, &leader);
    assert_true(leader.group == 70000 && leader.node == 0 && leader.term == 2);
    for (size_t len = 0; len < b.len; len++) {
        assert_int_not_equal(rpc_leaders_decode(&d, kv_bytes(b.data, len), &list), 0);
    }
    buf_close(&b);
    rpc_decoder_close(&d);
}

static void what_is_none_of_it_is_told_apart(void **state)
{
    struct rpc_decoder d;
    struct rpc_list list;
    struct buf b;

    (void)state;
    assert_int_equal(rpc_decoder_init(&d), 0);
    buf_init(&b, 4096);
    pack_array(&b, 3);
    pack_uint(&b, RPC_NOTIFICATION);
    pack_str(&b, "kv.event");
    pack_array(&b, 0);
    assert_int_equal(rpc_leaders_decode(&d, buf_bytes(&b), &list), KV_ENOTFOUND);
    buf_reset(&b);
    rpc_leaders_begin(&b, 1);
    pack_array(&b, 3);
    pack_uint(&b, 1);
    pack_str(&b, "three");
    pack_uint(&b, 2);
    assert_int_equal(rpc_leaders_decode(&d, buf_bytes(&b), &list), KV_EPROTO);
    buf_reset(&b);
    pack_array(&b, 3);
    pack_uint(&b, RPC_NOTIFICATION);
    pack_str(&b, "cluster.leaders");
    pack_array(&b, 1);
    pack_uint(&b, 7);
    assert_int_equal(rpc_leaders_decode(&d, buf_bytes(&b), &list), KV_EPROTO);
    buf_close(&b);
    rpc_decoder_close(&d);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(what_is_none_of_it_is_told_apart),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("rpc/news", tests, NULL, NULL);
}
