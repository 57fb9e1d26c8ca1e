/* tests/server/test_request.c - the pool's bounds, phases, lists. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "raft/base/err.h"
#include "server/request.h"

static void end(struct request *req)
{
    request_move(req, REQ_REPLIED);
    request_free(req);
}

static void a_request_owns_a_copy_of_its_message(void **state)
{
    struct request_pool *p;
    struct request *req;
    char text[] = "hello";

    (void)state;
    assert_int_equal(request_pool_new(NULL, 4, 1 << 20, &p), 0);
    assert_int_equal(request_new(p, kv_bytes_str(text), &req), 0);
    memset(text, 'x', 5);
    assert_true(kv_bytes_equal(req->message, kv_bytes_str("hello")));
    assert_int_equal(req->phase, REQ_READING);
    assert_int_equal(req->magic, REQUEST_MAGIC);
    assert_int_equal(request_pool_count(p), 1);
    end(req);
    assert_int_equal(request_pool_count(p), 0);
    assert_int_equal(request_pool_bytes(p), 0);
    request_pool_free(p);
}

static void the_number_is_bounded(void **state)
{
    struct request_pool *p;
    struct request *req[3];

    (void)state;
    assert_int_equal(request_pool_new(NULL, 2, 1 << 20, &p), 0);
    assert_int_equal(request_new(p, kv_bytes_str("a"), &req[0]), 0);
    assert_int_equal(request_new(p, kv_bytes_str("a"), &req[1]), 0);
    assert_int_equal(request_new(p, kv_bytes_str("a"), &req[2]), KV_EBUSY);
    end(req[0]);
    assert_int_equal(request_new(p, kv_bytes_str("a"), &req[2]), 0);
    end(req[1]);
    end(req[2]);
    request_pool_free(p);
}

static void the_bytes_are_bounded(void **state)
{
    static uint8_t big[600 * 1024];
    struct request_pool *p;
    struct request *a;
    struct request *b;

    (void)state;
    assert_int_equal(request_pool_new(NULL, 100, 1 << 20, &p), 0);
    assert_int_equal(request_new(p, kv_bytes(big, sizeof big), &a), 0);
    assert_int_equal(request_new(p, kv_bytes(big, sizeof big), &b), KV_EBUSY);
    assert_int_equal(request_new(p, kv_bytes(big, 1000), &b), 0);
    end(a);
    end(b);
    assert_int_equal(request_new(p, kv_bytes(big, sizeof big), &a), 0);
    end(a);
    request_pool_free(p);
}

/* A used request comes back as new: nothing of the last one is left. */
static void recycling_leaves_nothing_behind(void **state)
{
    struct request_pool *p;
    struct request *req;

    (void)state;
    assert_int_equal(request_pool_new(NULL, 1, 1 << 20, &p), 0);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(request_new(p, kv_bytes_str("message"), &req), 0);
        assert_int_equal(req->tries, 0);
        assert_int_equal(req->pos.index, 0);
        assert_null(req->on_done);
        assert_non_null(arena_alloc(&req->arena, 10000));
        req->tries = 7;
        req->pos.index = 9;
        end(req);
    }
    request_pool_free(p);
}

static void lists_keep_order_and_count(void **state)
{
    struct request_pool *p;
    struct request *req[5];
    struct request_list l = {0};

    (void)state;
    assert_int_equal(request_pool_new(NULL, 5, 1 << 20, &p), 0);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(request_new(p, kv_bytes_str("m"), &req[i]), 0);
        request_list_push(&l, req[i]);
    }
    request_list_remove(&l, req[2]);
    request_list_remove(&l, req[0]);
    request_list_remove(&l, req[4]);
    assert_int_equal(l.count, 2);
    assert_ptr_equal(l.head, req[1]);
    assert_ptr_equal(l.tail, req[3]);
    assert_ptr_equal(l.head->next, req[3]);
    request_list_remove(&l, req[1]);
    request_list_remove(&l, req[3]);
    assert_null(l.head);
    assert_null(l.tail);
    for (int i = 0; i < 5; i++) {
        end(req[i]);
    }
    request_pool_free(p);
}

static void a_request_may_go_around_and_end(void **state)
{
    struct request_pool *p;
    struct request *req;

    (void)state;
    assert_int_equal(request_pool_new(NULL, 1, 1 << 20, &p), 0);
    assert_int_equal(request_new(p, kv_bytes_str("m"), &req), 0);
    request_move(req, REQ_WAITING);
    request_move(req, REQ_FORWARDED);
    request_move(req, REQ_WAITING);
    request_move(req, REQ_PROPOSED);
    request_move(req, REQ_WAITING);
    request_move(req, REQ_READ_INDEX);
    assert_string_equal(request_phase_text(req->phase), "read_index");
    end(req);
    request_pool_free(p);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_owns_a_copy_of_its_message),
        cmocka_unit_test(the_number_is_bounded),
        cmocka_unit_test(the_bytes_are_bounded),
        cmocka_unit_test(recycling_leaves_nothing_behind),
        cmocka_unit_test(lists_keep_order_and_count),
        cmocka_unit_test(a_request_may_go_around_and_end),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/request", tests, NULL, NULL);
}
