/* tests/bench/load.c - kvload: writers that remember what was acknowledged.
 *
 *     kvload write  --endpoints H:P,... --acked FILE [--writers 16] [--seconds 10]
 *                   [--bytes 64] [--deadline-ms 5000]
 *     kvload verify --endpoints H:P,... --acked FILE
 *
 * `write` runs writers at once, each with its own client and always one write under
 * way, spread evenly over the groups; every key is new. It reports, per group, the
 * longest time between two successes: what users feel when a leader dies. `verify`
 * reads every acknowledged key back and fails when one is missing or different.
 *
 * Needs:    client/kv.h, libuv.
 * Used by:  tests/bench, tests/e2e.
 * Threads:  one.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "client/kv.h"
#include "raft/base/arena.h"
#include "raft/base/check.h"

enum {
    GROUPS_MAX = 1024,
    WRITERS_MAX = 256,
    SAMPLES_MAX = 1 << 20, /* Latencies kept for the percentiles. */
    VERIFY_FLIGHT = 64,    /* Reads under way. */
    PAUSE_MS = 10,         /* After a write that was not done. */
    LINE_MAX_BYTES = 256
};

struct load_options {
    const char *endpoints;
    const char *acked; /* File: one "key value" per acknowledged write. */
    uint32_t writers;
    uint32_t seconds;
    uint32_t value_bytes;
    uint32_t deadline_ms;
};

struct load_group {
    uint32_t id;
    uint32_t tag;         /* "{t<tag>}" stands in a slot of this group. */
    uint64_t last_ack_ns; /* 0 before the first. */
    uint64_t gap_ns;      /* Longest so far. */
    uint64_t acks;
};

struct load;

struct writer {
    struct load *load;
    struct kv_client *client;
    uv_timer_t pause;
    uint32_t number;
    uint32_t count;           /* Writes begun. */
    struct load_group *group; /* Of the write under way. */
    uint64_t begun_ns;
    char key[64];
    char value[LINE_MAX_BYTES];
};

struct load {
    struct load_options options;
    uv_loop_t loop;
    uint32_t run; /* Stands in each key, so that no run finds the keys of another. */
    uint64_t end_ns;
    FILE *acked;
    struct load_group groups[GROUPS_MAX];
    uint32_t groups_count;
    struct writer writers[WRITERS_MAX];
    uint64_t acks, unknown, not_done;
    uint64_t any_last_ns, any_gap_ns; /* Over all groups together. */
    uint32_t *samples_us;
    uint32_t samples_count;
};

/* ---- write ---- */

static void writer_next(struct writer *w);

static void writer_on_pause(uv_timer_t *timer)
{
    writer_next(timer->data);
}

static void load_count_ack(struct load *l, struct writer *w, uint64_t now)
{
    struct load_group *g = w->group;
    uint64_t spent_us = (now - w->begun_ns) / 1000;

    if (g->last_ack_ns != 0) {
        g->gap_ns = KV_MAX(g->gap_ns, now - g->last_ack_ns);
    }
    if (l->any_last_ns != 0) {
        l->any_gap_ns = KV_MAX(l->any_gap_ns, now - l->any_last_ns);
    }
    g->last_ack_ns = now;
    l->any_last_ns = now;
    g->acks++;
    l->acks++;
    if (l->samples_count < SAMPLES_MAX) {
        l->samples_us[l->samples_count++] =
            spent_us > UINT32_MAX ? UINT32_MAX : (uint32_t)spent_us;
    }
}

static void writer_on_done(struct kv_client *client, const struct kv_result *result,
                           void *ctx)
{
    struct writer *w = ctx;
    struct load *l = w->load;
    uint64_t now = uv_hrtime();

    (void)client;
    if (result->outcome == KV_DONE && result->error == 0) {
        fprintf(l->acked, "%s %s\n", w->key, w->value);
        load_count_ack(l, w, now);
        writer_next(w);
        return;
    }
    if (result->outcome == KV_UNKNOWN) {
        l->unknown++;
    } else {
        l->not_done++;
    }
    fprintf(stderr, "%s: %s (%s)\n", w->key, kv_errname(result->error), result->text);
    uv_timer_start(&w->pause, writer_on_pause, PAUSE_MS, 0);
}

static void writer_next(struct writer *w)
{
    struct load *l = w->load;
    const struct load_options *o = &l->options;
    struct kv_request request;
    int error;
    int len;

    w->begun_ns = uv_hrtime();
    if (w->begun_ns >= l->end_ns) {
        uv_close((uv_handle_t *)&w->pause, NULL);
        kv_close(w->client, NULL, NULL);
        return;
    }
    /* With writers >= groups each writer stays with one group, so that a group without
     * a leader does not hold up the others. */
    w->group = &l->groups[(w->number + w->count * o->writers) % l->groups_count];
    len = snprintf(w->key, sizeof w->key, "{t%u}r%08xw%u-%u", w->group->tag, l->run,
                   w->number, w->count);
    w->count++;
    memset(w->value, 'x', o->value_bytes);
    memcpy(w->value, w->key, KV_MIN((size_t)len, o->value_bytes));
    w->value[o->value_bytes] = '\0';
    request = kv_put(kv_str(w->key), kv_str(w->value));
    request.deadline_ms = o->deadline_ms;
    error = kv_start(w->client, request, writer_on_done, w);
    if (error != 0) {
        l->not_done++;
        uv_timer_start(&w->pause, writer_on_pause, PAUSE_MS, 0);
    }
}

/* Finds for each group that owns slots a tag that stands in one of them. */
static int load_find_groups(struct load *l)
{
    struct kv_client *client = NULL;
    const struct kv_result *result;
    char tag[32];
    int rc = kv_open(l->options.endpoints, &client);

    if (rc != 0) {
        fprintf(stderr, "kvload: %s: %s\n", l->options.endpoints, kv_strerror(rc));
        return rc;
    }
    result = kv_wait(client, kv_map());
    rc = result->error;
    if (rc != 0) {
        fprintf(stderr, "kvload: no map: %s\n", result->text);
        goto out;
    }
    for (size_t i = 0; i < result->cluster->groups_count; i++) {
        const struct kv_group *g = &result->cluster->groups[i];

        if (g->slots_count == 0 || l->groups_count == GROUPS_MAX) {
            continue;
        }
        for (uint32_t t = 0; t < 1000000; t++) {
            snprintf(tag, sizeof tag, "{t%u}", t);
            if (result->cluster->slots[kv_slot(kv_str(tag))] == g->id) {
                l->groups[l->groups_count++] =
                    (struct load_group){.id = g->id, .tag = t};
                break;
            }
        }
    }
    rc = l->groups_count > 0 ? 0 : KV_ERR_PROTOCOL;

out:
    kv_result_free(result);
    kv_free(client);
    return rc;
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static int load_report(struct load *l, double seconds)
{
    struct load_group *worst = &l->groups[0];
    uint64_t now = uv_hrtime();
    uint32_t n = l->samples_count;

    for (uint32_t i = 0; i < l->groups_count; i++) {
        struct load_group *g = &l->groups[i];

        if (g->acks == 0) {
            fprintf(stderr, "kvload: no write to group %u succeeded\n", g->id);
            g->gap_ns = UINT64_MAX / 2;
        } else if (now > g->last_ack_ns && g->last_ack_ns < l->end_ns) {
            g->gap_ns = KV_MAX(g->gap_ns, l->end_ns - g->last_ack_ns);
        }
        if (g->gap_ns > worst->gap_ns) {
            worst = g;
        }
    }
    qsort(l->samples_us, n, sizeof l->samples_us[0], compare_u32);
    printf("writes=%" PRIu64 " unknown=%" PRIu64 " not_done=%" PRIu64
           " rate=%.0f p50_us=%u p99_us=%u max_us=%u\n",
           l->acks, l->unknown, l->not_done, (double)l->acks / seconds,
           n == 0 ? 0 : l->samples_us[n / 2],
           n == 0 ? 0 : l->samples_us[n * 99ull / 100],
           n == 0 ? 0 : l->samples_us[n - 1]);
    printf("gap_ms=%" PRIu64 " group=%u any_gap_ms=%" PRIu64 "\n",
           worst->gap_ns / 1000000, worst->id, l->any_gap_ns / 1000000);
    return l->acks > 0 ? 0 : 1;
}

static int load_write(struct load *l)
{
    struct kv_options options;
    uint64_t begin;
    int rc;

    rc = load_find_groups(l);
    if (rc != 0) {
        return 3;
    }
    l->samples_us = kv_mem_zalloc(SAMPLES_MAX * sizeof l->samples_us[0]);
    l->acked = fopen(l->options.acked, "a");
    if (l->acked == NULL || l->samples_us == NULL) {
        fprintf(stderr, "kvload: %s: %s\n", l->options.acked, strerror(errno));
        return 7;
    }
    rc = uv_loop_init(&l->loop);
    KV_ASSERT(rc == 0);
    kv_options_init(&options);
    options.endpoints = l->options.endpoints;
    options.loop = &l->loop;
    begin = uv_hrtime();
    l->run = (uint32_t)(begin >> 16);
    l->end_ns = begin + l->options.seconds * 1000000000ull;
    for (uint32_t i = 0; i < l->options.writers; i++) {
        struct writer *w = &l->writers[i];

        w->load = l;
        w->number = i;
        rc = kv_new(&options, &w->client);
        KV_ASSERT(rc == 0);
        uv_timer_init(&l->loop, &w->pause);
        w->pause.data = w;
        writer_next(w);
    }
    uv_run(&l->loop, UV_RUN_DEFAULT);
    rc = load_report(l, (double)(uv_hrtime() - begin) / 1e9);
    uv_loop_close(&l->loop);
    if (fclose(l->acked) != 0) {
        rc = 7;
    }
    kv_mem_free(l->samples_us);
    return rc;
}

/* ---- verify ---- */

struct verify;

struct reader {
    struct verify *verify;
    char key[64];
    char value[LINE_MAX_BYTES];
};

struct verify {
    FILE *acked;
    struct kv_client *client;
    struct reader readers[VERIFY_FLIGHT];
    uint32_t busy;
    uint64_t checked, missing, different, errors;
};

static void reader_next(struct reader *r);

static void reader_on_done(struct kv_client *client, const struct kv_result *result,
                           void *ctx)
{
    struct reader *r = ctx;
    struct verify *v = r->verify;
    const char *what = NULL;

    (void)client;
    v->checked++;
    if (result->error != 0) {
        v->errors++;
        what = result->text;
    } else if (!result->found) {
        v->missing++;
        what = "acknowledged, but missing";
    } else if (result->value.len != strlen(r->value) ||
               memcmp(result->value.data, r->value, result->value.len) != 0) {
        v->different++;
        what = "has another value than acknowledged";
    }
    if (what != NULL && v->errors + v->missing + v->different <= 20) {
        fprintf(stderr, "%s: %s\n", r->key, what);
    }
    reader_next(r);
}

static void reader_next(struct reader *r)
{
    struct verify *v = r->verify;
    int error;

    if (fscanf(v->acked, "%63s %255s", r->key, r->value) != 2) {
        v->busy--;
        if (v->busy == 0) {
            kv_close(v->client, NULL, NULL);
        }
        return;
    }
    error = kv_start(v->client, kv_get(kv_str(r->key)), reader_on_done, r);
    KV_ASSERT(error == 0);
}

static int load_verify(const struct load_options *o)
{
    static const struct verify zero;
    struct verify v = zero;
    struct kv_options options;
    uv_loop_t loop;
    int rc;

    v.acked = fopen(o->acked, "r");
    if (v.acked == NULL) {
        fprintf(stderr, "kvload: %s: %s\n", o->acked, strerror(errno));
        return 7;
    }
    rc = uv_loop_init(&loop);
    KV_ASSERT(rc == 0);
    kv_options_init(&options);
    options.endpoints = o->endpoints;
    options.loop = &loop;
    options.deadline_ms = 20000;
    rc = kv_new(&options, &v.client);
    if (rc != 0) {
        fprintf(stderr, "kvload: %s: %s\n", o->endpoints, kv_strerror(rc));
        fclose(v.acked);
        return 3;
    }
    v.busy = VERIFY_FLIGHT;
    for (uint32_t i = 0; i < VERIFY_FLIGHT; i++) {
        v.readers[i].verify = &v;
        reader_next(&v.readers[i]);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    fclose(v.acked);
    printf("checked=%" PRIu64 " missing=%" PRIu64 " different=%" PRIu64
           " errors=%" PRIu64 "\n",
           v.checked, v.missing, v.different, v.errors);
    return v.checked > 0 && v.missing + v.different + v.errors == 0 ? 0 : 1;
}

/* ---- command line ---- */

static int usage(void)
{
    fputs("usage: kvload write|verify --endpoints H:P,... --acked FILE [--writers N]\n"
          "       [--seconds N] [--bytes N] [--deadline-ms N]\n",
          stderr);
    return 2;
}

/* Reads a number of at most `max`; false when it is none. */
static bool number_of(const char *text, uint32_t max, uint32_t *out)
{
    char *rest = NULL;
    unsigned long n = strtoul(text, &rest, 10);

    if (rest == text || *rest != '\0' || n < 1 || n > max) {
        return false;
    }
    *out = (uint32_t)n;
    return true;
}

static bool option_set(struct load_options *o, const char *name, const char *text)
{
    if (strcmp(name, "--endpoints") == 0) {
        o->endpoints = text;
        return true;
    }
    if (strcmp(name, "--acked") == 0) {
        o->acked = text;
        return true;
    }
    if (strcmp(name, "--writers") == 0) {
        return number_of(text, WRITERS_MAX, &o->writers);
    }
    if (strcmp(name, "--seconds") == 0) {
        return number_of(text, 3600, &o->seconds);
    }
    if (strcmp(name, "--bytes") == 0) {
        return number_of(text, LINE_MAX_BYTES - 1, &o->value_bytes);
    }
    if (strcmp(name, "--deadline-ms") == 0) {
        return number_of(text, 60000, &o->deadline_ms);
    }
    return false;
}

int main(int argc, char **argv)
{
    /* As kv.h asks for a loop of one's own: a killed node must not end us. */
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct load *l = kv_mem_zalloc(sizeof *l);
    int rc;

    if (l == NULL) {
        return 7;
    }
    sigaction(SIGPIPE, &ignore, NULL);
    l->options = (struct load_options){
        .writers = 16, .seconds = 10, .value_bytes = 64, .deadline_ms = 5000};
    for (int i = 2; i < argc; i += 2) {
        if (i + 1 >= argc || !option_set(&l->options, argv[i], argv[i + 1])) {
            kv_mem_free(l);
            return usage();
        }
    }
    if (argc < 2 || l->options.endpoints == NULL || l->options.acked == NULL) {
        rc = usage();
    } else if (strcmp(argv[1], "write") == 0) {
        rc = load_write(l);
    } else if (strcmp(argv[1], "verify") == 0) {
        rc = load_verify(&l->options);
    } else {
        rc = usage();
    }
    kv_mem_free(l);
    return rc;
}
