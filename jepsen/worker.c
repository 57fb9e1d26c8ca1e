/* jepsen/worker.c - begins operations, sends requests, notes what came of them. */
#include "jepsen/worker.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "raft/base/arena.h"
#include "raft/base/check.h"
#include "raft/base/err.h"

enum {
    WORKER_TICK_MS = 1,
    WORKER_CONNECT_MS = 500,
    WORKER_FINAL_DEADLINE_MS = 5000,
    WORKER_FINAL_PAUSE_MS = 100, /* Before a final read is tried again. */
    WORKER_TEXT_BYTES = 200,
    WORKER_ENDPOINTS_BYTES = 64 * WORKERS_NODES_MAX,
    WORKER_TOKENS_PART = 3, /* Before one read of so many a token is taken over. */
};

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

struct worker {
    struct workers *all;
    struct kv_client *client;
    struct work work;
    struct kv_watch *watch; /* Open, of an operation HISTORY_WATCH. */
    uint32_t number;        /* 0..workers-1 */
    uint32_t node;          /* 1..nodes */
    int32_t process;        /* Grows by the number of workers after each info. */
    uint64_t end_ns;        /* Deadline of the operation under way. */
    uint64_t paused_ns;     /* Begins nothing before. */
    uint64_t wake_ns;       /* Sleeps until then, between two requests; 0: does not. */
    uint32_t final_at;      /* Final read in hand. */
    bool final_has;         /* There is one in hand. */
    bool busy;
};

/* ---- history ---- */

static void row_add(struct worker *w, enum history_type type, const struct kv_result *r,
                    const char *text)
{
    struct workers *all = w->all;
    struct history_op op = {
        .time_ns = (int64_t)(uv_hrtime() - all->o.begin_ns),
        .process = w->process,
        .type = type,
        .f = w->work.f,
        .key = w->work.key,
        .node = w->node,
        .text = text,
    };

    if (r != NULL) { /* Answered: where and when it was true. */
        op.node = r->at.node;
        op.group = r->at.group;
        op.term = r->at.term;
        op.rev = r->rev; /* Of a cas that did not match: what it saw. */
        op.at_rev = r->at.rev;
    }
    if (history_append(all->o.history, &op, w->work.kind, w->work.ints,
                       w->work.ints_count) != 0) {
        all->failed = true;
    }
}

/* ---- the end of an operation ---- */

static void idle_check(struct workers *all)
{
    if (all->idle_owed && all->busy == 0) {
        all->idle_owed = false;
        all->reading = false;
        all->o.on_idle(all->o.ctx);
    }
}

static void worker_end(struct worker *w, enum history_type type,
                       const struct kv_result *r, const char *text)
{
    struct workers *all = w->all;

    KV_ASSERT(w->busy);
    if (type != HISTORY_OK && w->work.f == HISTORY_READ) {
        w->work.kind = HISTORY_NIL; /* Not half an answer. */
        w->work.ints_count = 0;
    }
    row_add(w, type, r, text);
    w->busy = false;
    all->busy--;
    if (type == HISTORY_OK) {
        all->count.ok++;
        all->ok_by_f[w->work.f]++;
        w->final_has = false;
    } else if (type == HISTORY_FAIL) {
        all->count.fail++;
    } else {
        all->count.info++;
        w->process += (int32_t)all->o.setup.workers;
    }
    if (type != HISTORY_OK && all->reading) {
        w->paused_ns = uv_hrtime() + WORKER_FINAL_PAUSE_MS * NS_PER_MS;
    }
    all->failed = all->failed || w->work.failed;
    if (!all->reading) {
        idle_check(all);
    }
}

static void worker_end_error(struct worker *w, enum kv_result_outcome outcome,
                             int error, const char *why)
{
    char text[WORKER_TEXT_BYTES];

    snprintf(text, sizeof text, "%s: %s", kv_errname(error), why);
    worker_end(w, outcome == KV_NOT_DONE ? HISTORY_FAIL : HISTORY_INFO, NULL, text);
}

/* An answer that no kvd may give: kept for the verdict. */
static void worker_end_bad(struct worker *w, const struct kv_result *r)
{
    struct workers *all = w->all;

    if (all->bad[0] == '\0') {
        snprintf(
            all->bad, sizeof all->bad,
            "%s of key %u through node %u: an answer that makes no sense: \"%.*s\"",
            history_f_name(w->work.f), w->work.key, w->node,
            (int)KV_MIN(r->value.len, 64),
            r->value.data == NULL ? "" : (const char *)r->value.data);
        for (char *p = all->bad; *p != '\0'; p++) {
            *p = *p < 0x20 || *p > 0x7e ? '?' : *p;
        }
    }
    worker_end(w, HISTORY_INFO, NULL, "nonsense in the answer");
}

/* ---- one watch ---- */

static void watch_over(struct worker *w, enum work_step step)
{
    struct kv_result nothing = {.value = kv_nil()};

    kv_watch_stop(w->watch);
    w->watch = NULL;
    w->all->sleeping--;
    w->wake_ns = 0;
    if (step == WORK_OK) {
        worker_end(w, HISTORY_OK, NULL, NULL);
    } else if (step == WORK_BAD) {
        worker_end_bad(w, &nothing);
    } else {
        w->work.ints_count = 0;
        worker_end(w, HISTORY_FAIL, NULL, "did not come so far");
    }
}

static void worker_on_watch(struct kv_client *client, struct kv_watch *watch,
                            const struct kv_watch_batch *batch, void *ctx)
{
    struct worker *w = ctx;
    enum work_step step = w->all->o.workload->heard(&w->all->state, &w->work, batch);

    (void)client;
    (void)watch;
    if (batch->error != 0) {
        w->watch = NULL; /* Freed behind this call. */
    }
    if (batch->error != 0 || step != WORK_MORE) {
        watch_over(w, step);
    }
}

static void watch_begin(struct worker *w)
{
    struct workers *all = w->all;
    struct kv_watch_options options = all->o.workload->watch(&all->state, &w->work);
    int error;

    options.callback = worker_on_watch;
    options.ctx = w;
    w->wake_ns = uv_hrtime() + w->work.watch_ms * NS_PER_MS;
    all->sleeping++;
    error = kv_watch_start(w->client, &options, &w->watch);
    if (error != 0) {
        w->watch = NULL;
        watch_over(w, WORK_FAIL);
    }
}

/* ---- one request ---- */

static void worker_send(struct worker *w);

/* Sends the next request of an operation, or sleeps before. */
static void worker_go_on(struct worker *w)
{
    if (w->work.sleep_ms == 0) {
        worker_send(w);
        return;
    }
    w->wake_ns = uv_hrtime() + w->work.sleep_ms * NS_PER_MS;
    w->work.sleep_ms = 0;
    w->all->sleeping++;
}

static void wake_due(struct workers *all, uint64_t now)
{
    for (uint32_t i = 0; i < all->o.setup.workers && all->sleeping > 0; i++) {
        struct worker *w = &all->list[i];

        if (w->wake_ns != 0 && w->wake_ns <= now && w->watch != NULL) {
            watch_over(w, all->o.workload->heard(&all->state, &w->work, NULL));
        } else if (w->wake_ns != 0 && w->wake_ns <= now) {
            w->wake_ns = 0;
            all->sleeping--;
            worker_send(w);
        }
    }
}

static void worker_on_result(struct kv_client *client, const struct kv_result *r,
                             void *ctx)
{
    struct worker *w = ctx;
    struct workers *all = w->all;

    (void)client;
    if (r->error != 0 || r->outcome != KV_DONE) {
        if (w->work.is_settled) {
            worker_end(w, HISTORY_OK, NULL, NULL);
        } else {
            worker_end_error(w, r->outcome, r->error, r->text);
        }
        return;
    }
    switch (all->o.workload->result(&all->state, &w->work, r)) {
    case WORK_OK:
        worker_end(w, HISTORY_OK, r, NULL);
        break;
    case WORK_FAIL:
        worker_end(w, HISTORY_FAIL, r, "did not match");
        break;
    case WORK_MORE:
        w->work.stage++;
        worker_go_on(w);
        break;
    case WORK_BAD:
        worker_end_bad(w, r);
        break;
    }
}

static void worker_send(struct worker *w)
{
    struct workers *all = w->all;
    struct kv_request request = all->o.workload->request(&all->state, &w->work);
    uint64_t now = uv_hrtime();
    int error;

    if (w->work.failed) {
        worker_end_error(w, KV_NOT_DONE, KV_ERR_NO_MEMORY, "no memory");
        return;
    }
    if (w->work.f == HISTORY_READ &&
        (request.op == KV_OP_GET || request.op == KV_OP_RANGE)) {
        request.level = all->o.level;
    }
    request.deadline_ms =
        w->end_ns <= now ? 1 : (uint32_t)((w->end_ns - now) / NS_PER_MS + 1);
    error = kv_start(w->client, request, worker_on_result, w);
    if (error != 0 && w->work.is_settled) {
        worker_end(w, HISTORY_OK, NULL, NULL);
    } else if (error != 0) {
        worker_end_error(w, KV_NOT_DONE, error, kv_last_error(w->client));
    }
}

static void worker_reset(struct worker *w)
{
    struct work *k = &w->work;

    k->worker = w->number;
    k->prng = &w->all->prng;
    k->kind = HISTORY_NIL;
    k->ints_count = 0;
    k->key = k->stage = 0;
    k->extra = 0;
    k->text_len = k->expected_len = 0;
    k->token = 0;
    k->sleep_ms = 0;
    k->watch_ms = 0;
    k->is_settled = false;
}

/* Sometimes somebody else's token; the read's value says whose. */
static void token_take(struct worker *w)
{
    struct workers *all = w->all;
    struct worker *from = &all->list[prng_below(&all->prng, all->o.setup.workers)];

    if (from == w || prng_below(&all->prng, WORKER_TOKENS_PART) != 0) {
        return;
    }
    if (kv_token_add(w->client, kv_token(from->client)) != 0) {
        all->failed = true;
        return;
    }
    w->work.kind = HISTORY_INT;
    workload_push(&w->work, from->process);
}

static void worker_begin(struct worker *w, uint64_t deadline_ms)
{
    if (w->all->o.workload->passes_tokens && w->work.f == HISTORY_READ) {
        token_take(w);
    }
    w->busy = true;
    w->all->busy++;
    w->end_ns = uv_hrtime() + deadline_ms * NS_PER_MS;
    row_add(w, HISTORY_INVOKE, NULL, NULL);
    if (w->work.f == HISTORY_WATCH) {
        watch_begin(w);
    } else {
        worker_send(w);
    }
}

/* ---- whose turn it is ---- */

/* A free worker, drawn at random; NULL when all are busy. */
static struct worker *worker_free(struct workers *all)
{
    uint32_t n = all->o.setup.workers;
    uint32_t at = (uint32_t)prng_below(&all->prng, n);

    for (uint32_t i = 0; i < n; i++) {
        struct worker *w = &all->list[(at + i) % n];

        if (!w->busy) {
            return w;
        }
    }
    return NULL;
}

/* Begins what is due. Where everybody is busy, the time is not made up for: a burst
 * after a fault would tell nothing. */
static void begin_due(struct workers *all, uint64_t now)
{
    uint64_t mean = NS_PER_S / all->o.rate;

    while (all->next_ns <= now) {
        struct worker *w = worker_free(all);

        if (w == NULL) {
            all->next_ns = now;
            return;
        }
        all->next_ns += prng_between(&all->prng, 0, 2 * mean);
        worker_reset(w);
        all->o.workload->next(&all->state, &w->work);
        worker_begin(w, all->o.deadline_ms);
    }
}

/* Gives a worker its next final read; false when its node has none left. */
static bool final_take(struct worker *w)
{
    struct workers *all = w->all;

    worker_reset(w);
    if (!w->final_has) {
        if (!all->o.workload->last(&all->state, all->final_next[w->node], &w->work)) {
            return false;
        }
        w->final_at = all->final_next[w->node]++;
        w->final_has = true;
        return true;
    }
    return all->o.workload->last(&all->state, w->final_at, &w->work);
}

static void begin_final(struct workers *all, uint64_t now)
{
    bool late = now >= all->final_end_ns;
    bool left = false;

    for (uint32_t i = 0; i < all->o.setup.workers; i++) {
        struct worker *w = &all->list[i];

        if (w->busy || late) {
            left = left || w->busy;
            if (!w->busy && w->final_has) {
                all->final_failed |= 1u << (w->node - 1);
            }
            w->final_has = w->final_has && w->busy;
            continue;
        }
        if (w->paused_ns > now) {
            left = true;
        } else if (final_take(w)) {
            left = true;
            worker_begin(w, WORKER_FINAL_DEADLINE_MS);
        }
    }
    if (late) { /* Reads that nobody began count as failed. */
        for (uint32_t node = 1; node <= all->o.setup.nodes && !left; node++) {
            struct work probe = {.prng = &all->prng};

            if (all->o.workload->last(&all->state, all->final_next[node], &probe)) {
                all->final_failed |= 1u << (node - 1);
            }
            workload_work_close(&probe);
        }
    }
    if (!left) {
        idle_check(all);
    }
}

static void workers_on_timer(uv_timer_t *timer)
{
    struct workers *all = timer->data;
    uint64_t now = uv_hrtime();

    wake_due(all, now);
    if (all->running) {
        begin_due(all, now);
    } else if (all->reading) {
        begin_final(all, now);
    } else {
        idle_check(all);
    }
}

/* ---- life ---- */

/* All nodes, those behind the worker's own first. */
static void endpoints_join(const struct workers *all, uint32_t node, char *out)
{
    size_t len = 0;

    for (uint32_t i = 0; i < all->o.setup.nodes; i++) {
        len += (size_t)snprintf(out + len, WORKER_ENDPOINTS_BYTES - len, "%s%s",
                                i == 0 ? "" : ",",
                                all->o.endpoints[(node - 1 + i) % all->o.setup.nodes]);
        KV_ASSERT(len < WORKER_ENDPOINTS_BYTES);
    }
}

static int worker_open(struct workers *all, uint32_t number)
{
    char endpoints[WORKER_ENDPOINTS_BYTES];
    struct worker *w = &all->list[number];
    struct kv_options options;
    int rc;

    w->all = all;
    w->number = number;
    w->process = (int32_t)number;
    w->node = workload_node(&all->o.setup, number);
    kv_options_init(&options);
    options.endpoints = all->o.endpoints[w->node - 1];
    options.loop = all->o.loop;
    options.deadline_ms = all->o.deadline_ms;
    options.connect_ms = WORKER_CONNECT_MS;
    options.retries = 0;
    if (all->o.workload->retries || all->o.workload->knows_all) {
        endpoints_join(all, w->node, endpoints);
        options.endpoints = endpoints;
    }
    if (all->o.workload->retries) {
        options.retries = KV_RETRIES_UNLIMITED;
    }
    options.routing = KV_ROUTE_ENDPOINTS;
    options.seed = all->o.seed + number + 1;
    rc = kv_new(&options, &w->client);
    return rc == 0 ? 0 : rc == KV_ERR_NO_MEMORY ? KV_ENOMEM : KV_EINVAL;
}

int workers_open(struct workers *w, const struct workers_options *o)
{
    int rc = 0;

    KV_ASSERT(o->setup.workers >= 1 && o->setup.workers <= WORKERS_MAX);
    KV_ASSERT(o->setup.nodes >= 1 && o->setup.nodes <= WORKERS_NODES_MAX);
    KV_ASSERT(o->rate >= 1);
    *w = (struct workers){.o = *o};
    prng_init(&w->prng, o->seed);
    workload_state_init(&w->state, &o->setup, &w->prng);
    w->list = kv_mem_zalloc(o->setup.workers * sizeof *w->list);
    if (w->list == NULL) {
        return KV_ENOMEM;
    }
    for (uint32_t i = 0; i < o->setup.workers && rc == 0; i++) {
        rc = worker_open(w, i);
    }
    if (rc != 0) {
        workers_close(w);
        return rc;
    }
    uv_timer_init(o->loop, &w->timer);
    w->timer.data = w;
    w->timer_open = true;
    return 0;
}

void workers_start(struct workers *w)
{
    w->running = true;
    w->next_ns = uv_hrtime();
    uv_timer_start(&w->timer, workers_on_timer, WORKER_TICK_MS, WORKER_TICK_MS);
}

void workers_stop(struct workers *w)
{
    w->running = false;
    w->idle_owed = true;
}

void workers_read_last(struct workers *w, uint64_t ms)
{
    KV_ASSERT(w->busy == 0 && !w->running);
    w->idle_owed = true;
    w->reading = w->o.workload->last != NULL;
    w->final_end_ns = uv_hrtime() + ms * NS_PER_MS;
    uv_timer_start(&w->timer, workers_on_timer, WORKER_TICK_MS, WORKER_TICK_MS);
}

void workers_close(struct workers *w)
{
    w->running = w->reading = w->idle_owed = false;
    for (uint32_t i = 0; w->list != NULL && i < w->o.setup.workers; i++) {
        kv_free(w->list[i].client);
        workload_work_close(&w->list[i].work);
    }
    if (w->timer_open) {
        uv_close((uv_handle_t *)&w->timer, NULL);
        w->timer_open = false;
    }
    kv_mem_free(w->list);
    w->list = NULL;
}
