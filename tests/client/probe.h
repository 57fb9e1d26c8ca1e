/* tests/client/probe.h - what the tests of libkv share: probes that count callbacks.
 *
 * Needs:    client/kv.h, tests/lib/fake_server.h, cmocka, uv.
 * Used by:  tests/client.
 * Threads:  the test's.
 */
#ifndef KV_TESTS_CLIENT_PROBE_H
#define KV_TESTS_CLIENT_PROBE_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <uv.h>

#include "client/kv.h"
#include "raft/base/err.h"
#include "tests/lib/fake_server.h"

enum {
    PROBE_WAIT_MS = 20000 /* No test waits longer than this for callbacks. */
};

/* What a call's callback saw. */
struct probe {
    uint32_t calls; /* Must be 1 in the end. */
    int error;
    enum kv_result_outcome outcome;
    uint32_t sendings;
    bool repeated;
    uint64_t ended_ms;
    bool found;
    bool swapped;
    int64_t number;
    size_t items_count;
    char value[64];
    char text[1024];
    char endpoint[64];
    struct kv_client *free_it;  /* Freed in the callback. */
    struct kv_client *close_it; /* Closed in the callback. */
};

static inline void probe_on_done(struct kv_client *client, const struct kv_result *r,
                                 void *ctx)
{
    struct probe *p = ctx;

    (void)client;
    p->calls++;
    p->error = r->error;
    p->outcome = r->outcome;
    p->sendings = r->sendings;
    p->repeated = r->repeated;
    p->ended_ms = uv_hrtime() / 1000000;
    p->found = r->found;
    p->swapped = r->swapped;
    p->number = r->number;
    p->items_count = r->items_count;
    (void)snprintf(p->value, sizeof p->value, "%.*s", (int)r->value.len,
                   r->value.data != NULL ? (const char *)r->value.data : "");
    (void)snprintf(p->text, sizeof p->text, "%s", r->text);
    (void)snprintf(p->endpoint, sizeof p->endpoint, "%s", r->endpoint);
    /* The result must be readable whole: a sanitizer watches. */
    for (size_t i = 0; i < r->items_count; i++) {
        assert_non_null(r->items[i].key.data);
    }
    if (p->close_it != NULL) {
        kv_close(p->close_it, NULL, NULL);
    }
    if (p->free_it != NULL) {
        kv_free(p->free_it);
    }
}

/* A server, a loop and a client of it. */
struct rig {
    uv_loop_t loop;
    struct fake_server *server;
    struct kv_client *client;
};

static inline struct kv_options rig_options(struct rig *rig)
{
    struct kv_options options;

    kv_options_init(&options);
    options.loop = &rig->loop;
    options.endpoints = fake_server_endpoint(rig->server);
    options.routing = KV_ROUTE_ENDPOINTS;
    options.deadline_ms = 3000;
    options.seed = 1;
    options.sessions = KV_SESSIONS_OFF; /* test_session.c has them on. */
    return options;
}

/* Replaces the client by one with these options. */
static inline void rig_client(struct rig *rig, const struct kv_options *options)
{
    kv_free(rig->client);
    rig->client = NULL;
    assert_int_equal(kv_new(options, &rig->client), 0);
}

static inline int rig_setup(void **state)
{
    static const struct sigaction ignore = {.sa_handler = SIG_IGN};
    static struct rig rigs[1]; /* One test at a time. */
    struct rig *rig = &rigs[0];
    struct kv_options options;

    (void)sigaction(SIGPIPE, &ignore, NULL); /* As kv_start() asks of a program. */
    memset(rig, 0, sizeof *rig);
    assert_int_equal(uv_loop_init(&rig->loop), 0);
    rig->server = fake_server_start(1, 0);
    options = rig_options(rig);
    rig_client(rig, &options);
    *state = rig;
    return 0;
}

/* Runs the loop until it has nothing left, and demands that it can be closed. */
static inline void rig_finish(struct rig *rig)
{
    (void)uv_run(&rig->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&rig->loop), 0);
}

static inline int rig_teardown(void **state)
{
    struct rig *rig = *state;

    kv_free(rig->client);
    rig_finish(rig);
    fake_server_stop(rig->server);
    return 0;
}

/* Runs the loop until every probe was called back, then a little longer: a second
 * callback would come then. */
static inline void rig_run(struct rig *rig, struct probe *probes, size_t count)
{
    uint64_t begin = uv_hrtime() / 1000000;
    size_t done = 0;

    while (done < count) {
        (void)uv_run(&rig->loop, UV_RUN_NOWAIT);
        uv_sleep(1);
        done = 0;
        for (size_t i = 0; i < count; i++) {
            done += probes[i].calls > 0;
        }
        assert_true(uv_hrtime() / 1000000 - begin < PROBE_WAIT_MS);
    }
    for (int i = 0; i < 5; i++) {
        (void)uv_run(&rig->loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(probes[i].calls, 1);
    }
}

/* Carries out one request and returns what its callback saw. */
static inline struct probe rig_call(struct rig *rig, struct kv_request request)
{
    struct probe probe = {0};

    assert_int_equal(kv_start(rig->client, request, probe_on_done, &probe), 0);
    assert_int_equal(probe.calls, 0); /* Never before kv_start() has returned. */
    rig_run(rig, &probe, 1);
    return probe;
}

static inline struct kv_request put_request(void)
{
    return kv_put(kv_str("k"), kv_str("v"));
}

static inline struct kv_request get_request(void)
{
    return kv_get(kv_str("k"));
}

#endif
