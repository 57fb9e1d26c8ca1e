/* tests/client/test_kvctl_load.c - load against fake servers: what is counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "client/kvctl_load.h"
#include "tests/lib/fake_server.h"

enum {
    MS = 1000 * 1000,
};

static struct load_result result; /* Large. */

struct bed {
    struct fake_server *server;
    struct load_options o;
};

static int setup(void **state)
{
    static struct bed bed;

    bed.server = fake_server_start(1, 0);
    bed.o = (struct load_options){
        .endpoints = fake_server_endpoint(bed.server),
        .weights = {[LOAD_PUT] = 1},
        .keys = "uniform",
        .keys_count = 100,
        .value_bytes = 16,
        .clients = 2,
        .flight = 3,
        .count = 500,
        .seed = 1,
        .deadline_ms = 2000,
    };
    *state = &bed;
    return bed.server == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    struct bed *bed = *state;

    fake_server_stop(bed->server);
    return 0;
}

#define WITH_BED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static void a_count_is_kept_exactly(void **state)
{
    struct bed *bed = *state;

    assert_int_equal(load_run(&bed->o, &result), 0);
    assert_int_equal(result.kinds[LOAD_PUT].done, 500);
    assert_int_equal(result.kinds[LOAD_PUT].latency_ns.count, 500);
    assert_int_equal(fake_server_requests(bed->server, RPC_KV_PUT), 500);
    assert_true(result.elapsed_ns > 0);
}

static void the_mix_is_drawn_by_its_weights(void **state)
{
    struct bed *bed = *state;

    bed->o.count = 4000;
    bed->o.weights[LOAD_GET] = 3;
    assert_int_equal(load_run(&bed->o, &result), 0);
    assert_in_range(result.kinds[LOAD_GET].done, 2800, 3200);
    assert_int_equal(result.kinds[LOAD_GET].done + result.kinds[LOAD_PUT].done, 4000);
}

static void fill_writes_every_key_once(void **state)
{
    struct bed *bed = *state;

    bed->o.fill = true;
    bed->o.keys_count = 3000;
    bed->o.count = 10;
    bed->o.weights[LOAD_PUT] = 0;
    bed->o.weights[LOAD_GET] = 1;
    assert_int_equal(load_run(&bed->o, &result), 0);
    assert_int_equal(fake_server_requests(bed->server, RPC_KV_PUT), 3000);
    assert_int_equal(result.kinds[LOAD_PUT].done, 0);
    assert_int_equal(result.kinds[LOAD_GET].done, 10);
}

static void outcomes_are_kept_apart(void **state)
{
    struct bed *bed = *state;

    fake_server_script(bed->server, (struct fake_step){.method = RPC_KV_PUT,
                                                       .action = FAKE_ERROR,
                                                       .code = KV_ETOOLARGE,
                                                       .text = "too much",
                                                       .times = 7});
    fake_server_script(
        bed->server,
        (struct fake_step){.method = RPC_KV_PUT, .action = FAKE_DROP_DONE, .times = 1});
    bed->o.clients = bed->o.flight = 1;
    bed->o.count = 50;
    bed->o.sessions = KV_SESSIONS_OFF;
    assert_int_equal(load_run(&bed->o, &result), 0);
    assert_int_equal(result.kinds[LOAD_PUT].not_done, 7);
    assert_int_equal(result.kinds[LOAD_PUT].unknown, 1);
    assert_int_equal(result.kinds[LOAD_PUT].done, 42);
    assert_int_equal(result.errors[0].error, KV_ERR_TOO_LARGE);
    assert_int_equal(result.errors[0].count, 7);
    assert_non_null(strstr(result.error, "too much"));
}

/* One answer is 300 ms late; at 100 calls a second some 30 calls come due meanwhile:
 * they have waited, although each was answered at once when it was sent. */
static void waiting_counts_in_the_open_loop(void **state)
{
    struct bed *bed = *state;

    fake_server_script(bed->server, (struct fake_step){.method = RPC_KV_PUT,
                                                       .action = FAKE_OK_LATE,
                                                       .ms = 300,
                                                       .times = 1});
    bed->o.clients = bed->o.flight = 1;
    bed->o.rate = 100;
    bed->o.count = 100;
    assert_int_equal(load_run(&bed->o, &result), 0);
    assert_int_equal(result.kinds[LOAD_PUT].done, 100);
    assert_true(hist_quantile(&result.kinds[LOAD_PUT].latency_ns, 0.9) > 100 * MS);

    bed->o.rate = 0; /* The closed loop does not see it. */
    fake_server_script(bed->server, (struct fake_step){.method = RPC_KV_PUT,
                                                       .action = FAKE_OK_LATE,
                                                       .ms = 300,
                                                       .times = 1});
    assert_int_equal(load_run(&bed->o, &result), 0);
    assert_true(hist_quantile(&result.kinds[LOAD_PUT].latency_ns, 0.9) < 100 * MS);
    assert_true(result.kinds[LOAD_PUT].latency_ns.max > 250 * MS);
}

static void what_never_began_is_said(void **state)
{
    struct bed *bed = *state;

    fake_server_script(bed->server, (struct fake_step){.method = RPC_KV_PUT,
                                                       .action = FAKE_OK_LATE,
                                                       .ms = 50,
                                                       .times = FAKE_FOREVER});
    bed->o.clients = bed->o.flight = 1;
    bed->o.rate = 1000;
    bed->o.count = 0;
    bed->o.duration_ns = 300 * (uint64_t)MS;
    assert_int_equal(load_run(&bed->o, &result), 0);
    assert_in_range(result.kinds[LOAD_PUT].done, 1, 20);
    assert_in_range(result.missed, 100, 400);
}

static void refuses_endpoints_that_are_none(void **state)
{
    struct bed *bed = *state;

    bed->o.endpoints = "nonsense";
    assert_int_equal(load_run(&bed->o, &result), KV_ERR_INVALID);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WITH_BED(a_count_is_kept_exactly),
        WITH_BED(the_mix_is_drawn_by_its_weights),
        WITH_BED(fill_writes_every_key_once),
        WITH_BED(outcomes_are_kept_apart),
        WITH_BED(waiting_counts_in_the_open_loop),
        WITH_BED(what_never_began_is_said),
        WITH_BED(refuses_endpoints_that_are_none),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("client/kvctl_load", tests, NULL, NULL);
}
