/* client/kvctl_load.c - load on a cluster, and what it answered. */
#include "client/kvctl_load.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <uv.h>

#include "raft/base/arena.h"

enum {
    NS_PER_S = 1000 * 1000 * 1000,
    SECOND_MS = 1000,
    KEY_BYTES_MAX = 32,
    LATE_AT_ONCE = 256, /* Due calls begun in one turn of the loop. */
    VALUES = 64,        /* Different values in turn. */
    FILL_FLIGHT = 1024, /* Puts under way over all clients. */
};

struct load;

/* One call that may be under way. */
struct load_slot {
    struct load_client *client;
    struct load_slot *next; /* In the list of free ones (open loop). */
    enum load_op op;
    uint64_t due_ns; /* Latency counts from here. */
};

struct load_client {
    struct load *load;
    struct kv_client *kv;
};

enum load_phase {
    LOAD_FILLING,
    LOAD_COUNTING, /* And the warm-up before it. */
    LOAD_ENDING,   /* Nothing new begins. */
};

struct load {
    const struct load_options *o;
    struct load_result *out;
    uv_loop_t loop;
    uv_signal_t on_int;
    uv_timer_t second;
    uv_poll_t due; /* On `timer_fd`: the next call of the open loop. */
    int timer_fd;
    enum load_phase phase;
    struct keys keys;
    struct prng prng;
    uint32_t weights_sum;
    uint8_t *value;    /* VALUES + value_bytes random bytes: a window of them. */
    uint64_t began_ns; /* Warm-up. */
    uint64_t count_ns; /* End of the warm-up. */
    uint64_t end_ns;   /* Nothing begins from here on. */
    uint64_t last_ns;  /* Last counted answer. */
    uint64_t begun;    /* Counted calls. */
    uint64_t under_way;
    uint64_t filled;    /* Keys whose put was begun. */
    double next_due_ns; /* Open loop. */
    struct load_slot *free_slots;
    struct hist recent; /* Since the last progress. */
    uint64_t recent_failed;
    int fill_error;
    struct load_client *clients; /* [o->clients] */
    struct load_slot *slots;     /* [o->clients * o->flight] */
};

const char *load_op_name(enum load_op op)
{
    static const char *const names[] = {
#define LOAD_OP_NAME(op, name) [LOAD_##op] = name,
        LOAD_OP_MAP(LOAD_OP_NAME)
#undef LOAD_OP_NAME
    };

    KV_ASSERT(op < LOAD_OPS_COUNT);
    return names[op];
}

/* ---- one call ---- */

static enum load_op op_draw(struct load *l)
{
    uint64_t at = prng_below(&l->prng, l->weights_sum);
    uint32_t op = 0;

    while (at >= l->o->weights[op]) {
        at -= l->o->weights[op++];
    }
    return (enum load_op)op;
}

/* Counters have keys of their own: their values are numbers. */
static struct kv_request request_make(struct load *l, enum load_op op, uint64_t key,
                                      char *name)
{
    int len = snprintf(name, KEY_BYTES_MAX, "bench/%s%010llu",
                       op == LOAD_INCR ? "n" : "", (unsigned long long)key);
    struct kv_view view = kv_mem(name, (size_t)len);
    struct kv_view value =
        kv_mem(l->value + prng_below(&l->prng, VALUES), l->o->value_bytes);
    struct kv_request request;

    switch (op) {
    case LOAD_GET:
        return kv_get(view);
    case LOAD_PUT:
        return kv_put(view, value);
    case LOAD_DEL:
        return kv_del(view);
    case LOAD_INCR:
        return kv_incr(view, 1);
    case LOAD_CAS:
        return kv_cas(view, kv_mem(l->value, l->o->value_bytes), value);
    case LOAD_RANGE:
        request = kv_range(view, kv_str("bench/:"));
        request.limit = LOAD_RANGE_LIMIT;
        return request;
    default:
        KV_UNREACHABLE();
    }
}

static void slot_on_done(struct kv_client *kv, const struct kv_result *r, void *ctx);

static bool load_is_over(struct load *l, uint64_t now)
{
    return l->phase == LOAD_ENDING || now >= l->end_ns ||
           (l->o->count != 0 && l->begun >= l->o->count);
}

/* Ends everything once nothing is under way; its handles are all that is left. */
static void load_finish(struct load *l)
{
    l->phase = LOAD_ENDING;
    if (l->under_way == 0) {
        uv_stop(&l->loop);
    }
}

/* Begins a call in the slot; a call that cannot even begin is counted as refused. */
static void slot_begin(struct load_slot *slot, uint64_t due_ns)
{
    struct load *l = slot->client->load;
    char name[KEY_BYTES_MAX];
    struct kv_request request;
    int rc;

    slot->op = l->phase == LOAD_FILLING ? LOAD_PUT : op_draw(l);
    slot->due_ns = due_ns;
    request = request_make(l, slot->op,
                           l->phase == LOAD_FILLING ? l->filled++ : keys_next(&l->keys),
                           name);
    request.deadline_ms = l->o->deadline_ms;
    l->under_way++;
    if (l->phase != LOAD_FILLING && due_ns >= l->count_ns) {
        l->begun++;
    }
    rc = kv_start(slot->client->kv, request, slot_on_done, slot);
    /* The limits of libkv are above ours, so only memory can be short. */
    if (rc != 0) {
        l->under_way--;
        l->out->kinds[slot->op].not_done++;
        load_finish(l);
    }
}

static void error_count(struct load *l, const struct kv_result *r)
{
    if (l->out->error[0] == '\0') {
        (void)snprintf(l->out->error, sizeof l->out->error, "%s", r->text);
    }
    for (uint32_t i = 0; i < LOAD_ERRORS_MAX; i++) {
        if (l->out->errors[i].error == r->error || l->out->errors[i].error == 0) {
            l->out->errors[i].error = r->error;
            l->out->errors[i].count++;
            return;
        }
    }
}

static void call_count(struct load *l, struct load_slot *slot,
                       const struct kv_result *r, uint64_t now)
{
    struct load_kind *kind = &l->out->kinds[slot->op];

    /* Open loop: what came due during the warm-up and still waits is part of the load
     * that is measured. */
    if ((l->o->rate > 0 ? now : slot->due_ns) < l->count_ns) {
        return;
    }
    l->last_ns = now;
    if (r->error == 0) {
        kind->done++;
        hist_record(&kind->latency_ns, now - slot->due_ns);
        hist_record(&l->recent, now - slot->due_ns);
        return;
    }
    kind->not_done += r->outcome == KV_NOT_DONE;
    kind->unknown += r->outcome == KV_UNKNOWN;
    l->recent_failed++;
    error_count(l, r);
}

/* ---- fill ---- */

static void fill_next(struct load_slot *slot)
{
    struct load *l = slot->client->load;

    if (l->filled < l->o->keys_count && l->fill_error == 0 &&
        l->phase == LOAD_FILLING) {
        slot_begin(slot, uv_hrtime());
    } else if (l->under_way == 0) {
        uv_stop(&l->loop);
    }
}

/* The time between two calls of a Poisson process. */
static double gap_draw(struct load *l)
{
    double u = (double)((prng_next(&l->prng) >> 11) + 1) * 0x1p-53;

    return -log(u) * NS_PER_S / l->o->rate;
}

static void due_arm(struct load *l, uint64_t now)
{
    uint64_t at = (uint64_t)l->next_due_ns;
    uint64_t in = at > now ? at - now : 1;
    struct itimerspec spec = {.it_value = {.tv_sec = (time_t)(in / NS_PER_S),
                                           .tv_nsec = (long)(in % NS_PER_S)}};

    (void)timerfd_settime(l->timer_fd, 0, &spec, NULL);
}

/* ---- loops ---- */

static void slot_next(struct load_slot *slot, uint64_t now)
{
    struct load *l = slot->client->load;

    if (l->o->rate > 0) {
        if (l->free_slots == NULL) {
            due_arm(l, now); /* Somebody may have waited for it. */
        }
        slot->next = l->free_slots;
        l->free_slots = slot;
    } else if (!load_is_over(l, now)) {
        slot_begin(slot, now);
        return;
    }
    if (load_is_over(l, now)) {
        load_finish(l);
    }
}

static void slot_on_done(struct kv_client *kv, const struct kv_result *r, void *ctx)
{
    struct load_slot *slot = ctx;
    struct load *l = slot->client->load;
    uint64_t now = uv_hrtime();

    (void)kv;
    l->under_way--;
    if (l->phase == LOAD_FILLING) {
        if (r->error != 0) {
            l->fill_error = r->error;
            (void)snprintf(l->out->error, sizeof l->out->error, "%s", r->text);
        }
        fill_next(slot);
        return;
    }
    call_count(l, slot, r, now);
    slot_next(slot, now);
}

/* Begins what is due. While all slots are taken the rest waits, and its latency grows:
 * due times do not move. */
static void on_due(uv_poll_t *poll, int status, int events)
{
    struct load *l = poll->data;
    uint64_t now = uv_hrtime();
    uint64_t ticks;

    (void)status;
    (void)events;
    (void)!read(l->timer_fd, &ticks, sizeof ticks);
    for (uint32_t i = 0; i < LATE_AT_ONCE && l->next_due_ns <= (double)now; i++) {
        struct load_slot *slot = l->free_slots;

        if (load_is_over(l, now) || slot == NULL) {
            break;
        }
        l->free_slots = slot->next;
        slot_begin(slot, (uint64_t)l->next_due_ns);
        l->next_due_ns += gap_draw(l);
    }
    if (load_is_over(l, now)) {
        load_finish(l);
        return;
    }
    if (l->free_slots != NULL) {
        due_arm(l, now);
    }
}

static void on_second(uv_timer_t *timer)
{
    struct load *l = timer->data;
    uint64_t now = uv_hrtime();

    if (l->o->progress != NULL && l->phase != LOAD_FILLING && now >= l->count_ns) {
        l->o->progress(l->o->progress_ctx, (double)(now - l->count_ns) / NS_PER_S,
                       &l->recent, l->recent_failed);
    }
    l->recent = (struct hist){0};
    l->recent_failed = 0;
    if (l->phase != LOAD_FILLING && load_is_over(l, now)) {
        load_finish(l);
    }
}

static void on_int(uv_signal_t *handle, int number)
{
    struct load *l = handle->data;

    (void)number;
    if (l->out->interrupted) {
        uv_stop(&l->loop); /* The second time: at once. */
    }
    l->out->interrupted = true;
    if (l->phase == LOAD_FILLING) {
        l->fill_error = KV_ERR_CLOSED;
    } else {
        load_finish(l);
    }
}

/* ---- life ---- */

static uint64_t slots_count(const struct load_options *o)
{
    return KV_MAX((uint64_t)o->clients * o->flight, (uint64_t)FILL_FLIGHT);
}

static int clients_open(struct load *l)
{
    struct kv_options options;
    int rc;

    kv_options_init(&options);
    options.endpoints = l->o->endpoints;
    options.routing = l->o->routing;
    options.sessions = l->o->sessions;
    options.loop = &l->loop;
    options.deadline_ms = l->o->deadline_ms;
    for (uint32_t i = 0; i < l->o->clients; i++) {
        options.seed = l->o->seed + i;
        l->clients[i].load = l;
        rc = kv_new(&options, &l->clients[i].kv);
        if (rc != 0) {
            return rc;
        }
    }
    for (uint64_t i = 0; i < slots_count(l->o); i++) {
        l->slots[i].client = &l->clients[i % l->o->clients];
    }
    return 0;
}

static int memory_take(struct load *l)
{
    const struct load_options *o = l->o;

    l->clients = kv_mem_zalloc(o->clients * sizeof *l->clients);
    l->slots = kv_mem_zalloc(slots_count(o) * sizeof *l->slots);
    l->value = kv_mem_zalloc(VALUES + (size_t)o->value_bytes);
    if (l->clients == NULL || l->slots == NULL || l->value == NULL) {
        return KV_ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < VALUES + (size_t)o->value_bytes; i++) {
        l->value[i] = (uint8_t)prng_next(&l->prng);
    }
    return 0;
}

static int handles_open(struct load *l)
{
    if (uv_loop_init(&l->loop) != 0) {
        return KV_ERR_IO;
    }
    (void)uv_timer_init(&l->loop, &l->second);
    l->second.data = l;
    (void)uv_signal_init(&l->loop, &l->on_int);
    l->on_int.data = l;
    l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (l->timer_fd < 0 || uv_poll_init(&l->loop, &l->due, l->timer_fd) != 0 ||
        uv_signal_start(&l->on_int, on_int, SIGINT) != 0 ||
        uv_timer_start(&l->second, on_second, SECOND_MS, SECOND_MS) != 0) {
        return KV_ERR_IO;
    }
    l->due.data = l;
    return 0;
}

/* Closes whatever was opened; the clients first, so that their calls end. */
static void all_close(struct load *l)
{
    for (uint32_t i = 0; l->clients != NULL && i < l->o->clients; i++) {
        kv_free(l->clients[i].kv);
    }
    if (l->second.data != NULL) {
        uv_close((uv_handle_t *)&l->second, NULL);
        uv_close((uv_handle_t *)&l->on_int, NULL);
        if (l->due.data != NULL) {
            uv_close((uv_handle_t *)&l->due, NULL);
        }
        (void)uv_run(&l->loop, UV_RUN_DEFAULT);
        (void)uv_loop_close(&l->loop);
    }
    if (l->timer_fd >= 0) {
        (void)close(l->timer_fd);
    }
    kv_mem_free(l->clients);
    kv_mem_free(l->slots);
    kv_mem_free(l->value);
    kv_mem_free(l);
}

/* ---- the run ---- */

static int fill(struct load *l)
{
    uint64_t slots = KV_MIN((uint64_t)FILL_FLIGHT, l->o->keys_count);

    l->phase = LOAD_FILLING;
    for (uint64_t i = 0; i < slots; i++) {
        slot_begin(&l->slots[i], uv_hrtime());
    }
    (void)uv_run(&l->loop, UV_RUN_DEFAULT);
    return l->fill_error;
}

static void measure(struct load *l)
{
    const struct load_options *o = l->o;
    uint64_t slots = (uint64_t)o->clients * o->flight;

    l->phase = LOAD_COUNTING;
    l->began_ns = uv_hrtime();
    l->count_ns = l->began_ns + o->warmup_ns;
    l->end_ns = o->duration_ns == 0 ? UINT64_MAX : l->count_ns + o->duration_ns;
    l->last_ns = l->count_ns;
    if (o->rate > 0) {
        for (uint64_t i = 0; i < slots; i++) {
            l->slots[i].next = l->free_slots;
            l->free_slots = &l->slots[i];
        }
        l->next_due_ns = (double)l->began_ns + gap_draw(l);
        (void)uv_poll_start(&l->due, UV_READABLE, on_due);
        due_arm(l, l->began_ns);
    } else {
        for (uint64_t i = 0; i < slots && l->phase != LOAD_ENDING; i++) {
            slot_begin(&l->slots[i], uv_hrtime());
        }
    }
    (void)uv_run(&l->loop, UV_RUN_DEFAULT);
    l->out->elapsed_ns = l->last_ns - l->count_ns;
    while (o->rate > 0 && !l->out->interrupted && l->end_ns != UINT64_MAX &&
           l->next_due_ns < (double)l->end_ns &&
           (o->count == 0 || l->begun + l->out->missed < o->count)) {
        l->out->missed++;
        l->next_due_ns += gap_draw(l);
    }
}

int load_run(const struct load_options *o, struct load_result *out)
{
    struct load *l = kv_mem_zalloc(sizeof *l);
    int rc;

    if (l == NULL) {
        return KV_ERR_NO_MEMORY;
    }
    memset(out, 0, sizeof *out);
    l->o = o;
    l->out = out;
    l->timer_fd = -1;
    prng_init(&l->prng, o->seed);
    for (uint32_t i = 0; i < LOAD_OPS_COUNT; i++) {
        l->weights_sum += o->weights[i];
    }
    KV_ASSERT(l->weights_sum > 0 && o->clients >= 1 && o->flight >= 1);
    rc = keys_init(&l->keys, o->keys, o->keys_count, prng_next(&l->prng))
             ? memory_take(l)
             : KV_ERR_INVALID;
    rc = rc == 0 ? handles_open(l) : rc;
    rc = rc == 0 ? clients_open(l) : rc;
    rc = rc == 0 && o->fill ? fill(l) : rc;
    if (rc == 0) {
        measure(l);
    }
    all_close(l);
    return rc;
}
