/* client/examples/async.c - adds to a hundred counters at once, on a libuv loop. */
#include "client/kv.h"
#include <signal.h>
#include <stdio.h>
#include <uv.h>

struct sum {
    int done;
    int not_done; /* Certainly not: may be tried again. */
    int unknown;  /* Maybe: look before trying again. */
};

static void on_incr(struct kv_client *c, const struct kv_result *r, void *ctx)
{
    struct sum *sum = ctx;

    sum->done += r->outcome == KV_DONE;
    sum->not_done += r->outcome == KV_NOT_DONE;
    sum->unknown += r->outcome == KV_UNKNOWN;
    if (r->error != 0) {
        fprintf(stderr, "%s\n", r->text);
    }
    if (kv_calls_count(c) == 0) {
        kv_close(c, NULL, NULL); /* The last one: lets uv_run() return. */
    }
}

int main(int argc, char **argv)
{
    static const struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct kv_options options;
    struct sum sum = {0};
    struct kv_client *c;
    uv_loop_t loop;
    char key[32];

    sigaction(SIGPIPE, &ignore, NULL);
    uv_loop_init(&loop);
    kv_options_init(&options);
    options.loop = &loop;
    options.endpoints = argc > 1 ? argv[1] : "127.0.0.1:7410,127.0.0.1:7420";
    if (kv_new(&options, &c) != 0) {
        return 2;
    }
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "counter/%d", i);
        if (kv_start(c, kv_incr(kv_str(key), 1), on_incr, &sum) != 0) {
            sum.not_done++;
        }
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    fprintf(stdout, "%d done, %d not done, %d unknown\n", sum.done, sum.not_done,
            sum.unknown);
    return sum.done == 100 ? 0 : 1;
}
