/* tests/bench/rival_redis.c - RESP by hand: SET and GET, answers in order. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "raft/base/arena.h"
#include "tests/bench/rival.h"

/* Answers come in the order of the requests. */
struct redis {
    uint64_t begun[RIVAL_FLIGHT_MAX]; /* A ring. */
    uint32_t first, count;
    char line[32]; /* What has come of a head line. */
    uint32_t line_len;
    size_t body; /* Bytes of a bulk string and its end that are still to come. */
};

static void redis_open(struct rival_client *c)
{
    c->wire = kv_mem_zalloc(sizeof(struct redis));
    if (c->wire == NULL) {
        rival_die("out of memory");
    }
}

static void redis_request(struct rival_client *c, uint64_t begun_ns)
{
    struct rival *r = c->rival;
    struct redis *w = c->wire;
    char key[RIVAL_KEY_BYTES], head[96];
    size_t len = rival_key(r, key);
    int n = r->put ? snprintf(head, sizeof head,
                              "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%" PRIu32 "\r\n", len,
                              key, r->value_bytes)
                   : snprintf(head, sizeof head, "*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n",
                              len, key);

    memcpy(rival_out(c, (size_t)n), head, (size_t)n);
    if (r->put) {
        uint8_t *at = rival_out(c, r->value_bytes + 2);

        memcpy(at, r->value, r->value_bytes);
        memcpy(at + r->value_bytes, "\r\n", 2);
    }
    w->begun[(w->first + w->count++) % RIVAL_FLIGHT_MAX] = begun_ns;
}

static void redis_answer(struct rival_client *c, bool good)
{
    struct redis *w = c->wire;
    uint64_t begun = w->begun[w->first];

    if (w->count == 0) {
        rival_die("an answer to nothing");
    }
    w->first = (w->first + 1) % RIVAL_FLIGHT_MAX;
    w->count--;
    rival_done(c, begun, good);
}

/* A whole head line: "+OK", "$256", "$-1", "-ERR ...". */
static void redis_line(struct rival_client *c)
{
    struct redis *w = c->wire;
    unsigned bytes;

    w->line[w->line_len] = '\0';
    w->line_len = 0;
    if (w->line[0] == '$' && w->line[1] != '-') {
        if (sscanf(w->line + 1, "%u", &bytes) != 1 || bytes > RIVAL_VALUE_MAX) {
            rival_die("an answer that is none");
        }
        w->body = bytes + 2;
        return;
    }
    redis_answer(c, w->line[0] == '+' || w->line[0] == '$');
}

static void redis_take(struct rival_client *c, const uint8_t *data, size_t len)
{
    struct redis *w = c->wire;

    for (size_t at = 0; at < len;) {
        if (w->body > 0) {
            size_t part = KV_MIN(w->body, len - at);

            at += part;
            w->body -= part;
            if (w->body == 0) {
                redis_answer(c, true);
            }
            continue;
        }
        if (data[at] == '\n') {
            redis_line(c);
        } else if (data[at] != '\r' && w->line_len < sizeof w->line - 1) {
            w->line[w->line_len++] = (char)data[at];
        }
        at++;
    }
}

const struct rival_wire rival_redis = {"redis", redis_open, redis_request, redis_take};
