/* tests/jepsen/test_worker.c - clients against a node that misbehaves on demand. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "jepsen/worker.h"
#include "raft/base/err.h"
#include "tests/lib/fake_server.h"

static struct fake_server *server;
static struct history history;
static struct workers workers;
static uv_loop_t loop;
static uv_timer_t timer;
static uint32_t idles;

static void on_idle(void *ctx)
{
    (void)ctx;
    idles++;
    uv_stop(&loop);
}

static int begin(void **state)
{
    (void)state;
    history_init(&history);
    idles = 0;
    server = fake_server_start(1, 0);
    uv_loop_init(&loop);
    uv_timer_init(&loop, &timer);
    return server == NULL;
}

static int end(void **state)
{
    (void)state;
    workers_close(&workers);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    fake_server_stop(server);
    history_close(&history);
    return 0;
}

static void open_workers(const char *workload, uint32_t count, uint32_t rate)
{
    static const char *endpoints[1];
    struct workers_options o = {
        .loop = &loop,
        .workload = workload_find(workload),
        .setup = {.keys = 1, .workers = count, .nodes = 1, .ops_per_key = 1000},
        .endpoints = endpoints,
        .rate = rate,
        .deadline_ms = 300,
        .seed = 3,
        .begin_ns = uv_hrtime(),
        .history = &history,
        .on_idle = on_idle,
    };

    endpoints[0] = fake_server_endpoint(server);
    assert_int_equal(workers_open(&workers, &o), 0);
}

static void on_timer(uv_timer_t *t)
{
    (void)t;
    workers_stop(&workers);
}

/* Works for `ms`, then until all have ended. */
static void work_for(uint64_t ms)
{
    workers_start(&workers);
    uv_timer_start(&timer, on_timer, ms, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(idles, 1);
    assert_false(workers.failed);
}

static uint32_t rows_of(enum history_type type)
{
    uint32_t count = 0;

    for (size_t i = 0; i < history.count; i++) {
        count += history.ops[i].type == type;
    }
    return count;
}

static void operations_come_at_the_rate_and_end_once(void **state)
{
    uint32_t sent;

    (void)state;
    open_workers("register", 8, 1000);
    work_for(1000);
    assert_in_range(rows_of(HISTORY_INVOKE), 200, 1200);
    assert_int_equal(rows_of(HISTORY_INVOKE),
                     rows_of(HISTORY_OK) + rows_of(HISTORY_FAIL));
    sent = fake_server_requests(server, RPC_KV_GET) +
           fake_server_requests(server, RPC_KV_PUT) +
           fake_server_requests(server, RPC_KV_CAS);
    assert_int_equal(sent, rows_of(HISTORY_INVOKE));
    assert_int_equal(workers.count.ok, rows_of(HISTORY_OK));
    assert_true(workers.ok_by_f[HISTORY_READ] > 0);
    assert_true(workers.ok_by_f[HISTORY_WRITE] > 0);
    assert_true(workers.ok_by_f[HISTORY_CAS] > 0);
}

static void an_unknown_outcome_ends_the_process_not_the_worker(void **state)
{
    const struct fake_step step = {
        .method = RPC_KV_INCR, .action = FAKE_DROP_DONE, .times = 1};
    size_t unknown = 0;
    int32_t process = 0;

    (void)state;
    fake_server_script(server, step);
    open_workers("ids", 1, 200);
    work_for(300);
    assert_int_equal(rows_of(HISTORY_INFO), 1);
    while (history.ops[unknown].type != HISTORY_INFO) {
        unknown++;
    }
    assert_non_null(history.ops[unknown].text);
    assert_int_equal(history.ops[unknown].process, 0);
    assert_true(history.count > unknown + 4);
    for (size_t i = unknown + 1; i < history.count; i++) {
        process = history.ops[i].process;
        assert_int_equal(process, 1); /* 0 + the number of workers. */
    }
}

static void a_refusal_is_a_failure_of_the_same_process(void **state)
{
    const struct fake_step step = {
        .method = RPC_KV_INCR, .action = FAKE_ERROR, .code = KV_EBUSY, .times = 3};

    (void)state;
    fake_server_script(server, step);
    open_workers("ids", 1, 200);
    work_for(300);
    assert_int_equal(rows_of(HISTORY_FAIL), 3); /* Each was sent once. */
    assert_int_equal(rows_of(HISTORY_INFO), 0);
    for (size_t i = 0; i < history.count; i++) {
        assert_int_equal(history.ops[i].process, 0);
    }
    assert_int_equal(fake_server_requests(server, RPC_KV_INCR),
                     rows_of(HISTORY_INVOKE));
}

static void silence_ends_at_the_deadline_as_unknown(void **state)
{
    const struct fake_step step = {
        .method = RPC_KV_INCR, .action = FAKE_SILENT, .times = 1};
    const struct history_op *info = NULL;

    (void)state;
    fake_server_script(server, step);
    open_workers("ids", 2, 100);
    work_for(600);
    for (size_t i = 0; i < history.count; i++) {
        info = history.ops[i].type == HISTORY_INFO ? &history.ops[i] : info;
    }
    assert_non_null(info);
    assert_in_range(info->time_ns - history.ops[info->mate].time_ns, 290000000,
                    2000000000);
}

static void an_answer_without_sense_is_kept_for_the_verdict(void **state)
{
    (void)state;
    open_workers("counter", 4, 500);
    /* Somebody else's bytes below the first key. */
    {
        struct kv_client *c = NULL;
        const struct kv_result *r;

        assert_int_equal(kv_open(fake_server_endpoint(server), &c), 0);
        r = kv_wait(c, kv_put(kv_str("counter/0"), kv_str("x\n1")));
        assert_int_equal(r->error, 0);
        kv_result_free(r);
        kv_free(c);
    }
    work_for(200);
    assert_non_null(strstr(workers.bad, "x?1"));
}

static void final_reads_are_tried_until_they_succeed(void **state)
{
    const struct fake_step step = {
        .method = RPC_KV_GET, .action = FAKE_ERROR, .code = KV_ENOLEADER, .times = 5};
    uint64_t ok;

    (void)state;
    open_workers("counter", 2, 500);
    work_for(200);
    ok = workers.count.ok;
    fake_server_script(server, step);
    workers_read_last(&workers, 5000);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(idles, 2);
    assert_int_equal(workers.final_failed, 0);
    assert_int_equal(workers.count.ok, ok + 1); /* One key, one node. */
    assert_int_equal(history.ops[history.count - 1].type, HISTORY_OK);
    assert_int_equal(history.ops[history.count - 1].f, HISTORY_READ);
}

static void final_reads_that_never_succeed_name_their_node(void **state)
{
    const struct fake_step step = {.method = RPC_KV_GET,
                                   .action = FAKE_ERROR,
                                   .code = KV_ENOLEADER,
                                   .times = FAKE_FOREVER};

    (void)state;
    open_workers("counter", 2, 500);
    work_for(200);
    fake_server_script(server, step);
    workers_read_last(&workers, 500);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(idles, 2);
    assert_int_equal(workers.final_failed, 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(int argc, char **argv)
{
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    const struct CMUnitTest tests[] = {
        CASE(operations_come_at_the_rate_and_end_once),
        CASE(an_unknown_outcome_ends_the_process_not_the_worker),
        CASE(a_refusal_is_a_failure_of_the_same_process),
        CASE(silence_ends_at_the_deadline_as_unknown),
        CASE(an_answer_without_sense_is_kept_for_the_verdict),
        CASE(final_reads_are_tried_until_they_succeed),
        CASE(final_reads_that_never_succeed_name_their_node),
    };

    sigaction(SIGPIPE, &ignore, NULL);
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
