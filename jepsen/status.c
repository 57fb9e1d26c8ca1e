/* jepsen/status.c - compares the states that nodes show on /v1/status. */
#include "jepsen/status.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "jepsen/run.h"
#include "raft/base/arena.h"
#include "raft/base/err.h"

enum {
    STATUS_BYTES = 1 << 20,
    STATUS_HTTP_MS = 2000,
    STATUS_PAUSE_US = 200 * 1000,
    STATUS_GROUPS_MAX = 300,
    STATUS_STATES_MAX = STATUS_GROUPS_MAX * CLUSTER_NODES_MAX,
};

/* Takes one group's object. Returns 1, 0 where the node has no replica, KV_EPROTO. */
static int state_read(const json_t *group, uint32_t node, struct status_state *out)
{
    const json_t *hash = json_object_get(group, "state_hash");
    const json_t *index = json_object_get(group, "state_index");
    const json_t *id = json_object_get(group, "id");

    if (!json_is_object(group) || !json_is_integer(id)) {
        return KV_EPROTO;
    }
    if (hash == NULL) {
        return 0;
    }
    if (!json_is_string(hash) || json_string_length(hash) != 16 ||
        !json_is_integer(index)) {
        return KV_EPROTO;
    }
    out->group = (uint32_t)json_integer_value(id);
    out->node = node;
    out->index = (uint64_t)json_integer_value(index);
    memcpy(out->hash, json_string_value(hash), sizeof out->hash);
    return 1;
}

int status_parse(const char *text, uint32_t node, struct status_state *out,
                 uint32_t cap)
{
    json_error_t error;
    json_t *root = json_loads(text, 0, &error);
    const json_t *groups = json_object_get(root, "groups");
    struct status_state state;
    uint32_t count = 0;
    int rc = json_is_array(groups) ? 0 : KV_EPROTO;

    for (size_t i = 0; rc >= 0 && i <= json_array_size(groups); i++) {
        const json_t *group =
            i == 0 ? json_object_get(root, "meta") : json_array_get(groups, i - 1);

        rc = state_read(group, node, &state);
        if (rc == 1) {
            if (count < cap) {
                out[count] = state;
            }
            count++;
        }
    }
    json_decref(root);
    return rc < 0 ? rc : (int)count;
}

void status_judge(const struct status_state *states, uint32_t count, struct verdict *v,
                  bool *out_same)
{
    *out_same = true;
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            const struct status_state *a = &states[j];
            const struct status_state *b = &states[i];

            if (a->group != b->group) {
                continue;
            }
            if (a->index != b->index) {
                *out_same = false;
                verdict_doubt(
                    v, "group %u: node %u is at index %" PRIu64 ", node %u at %" PRIu64,
                    a->group, a->node, a->index, b->node, b->index);
            } else if (memcmp(a->hash, b->hash, sizeof a->hash) != 0) {
                struct verdict_anomaly anomaly = {.kind = "state-differs"};

                snprintf(anomaly.text, sizeof anomaly.text,
                         "group %u at index %" PRIu64
                         ": state hash %s on node %u, %s on node %u",
                         a->group, a->index, a->hash, a->node, b->hash, b->node);
                *out_same = false;
                verdict_add(v, &anomaly);
            }
        }
    }
}

/* Asks all nodes. Returns the number of states; *out_silent is a node that should have
 * answered and did not, 0 for none. */
static uint32_t states_ask(const struct run *r, struct cluster *c, char *text,
                           struct status_state *states, uint32_t *out_silent)
{
    uint32_t count = 0;

    *out_silent = 0;
    for (uint32_t node = 1; node <= cluster_size(c); node++) {
        int rc =
            cluster_http(c, node, "/v1/status", text, STATUS_BYTES, STATUS_HTTP_MS);

        if (rc == 200) {
            rc = status_parse(text, node, states + count, STATUS_STATES_MAX - count);
        } else {
            rc = KV_ECONNECT;
        }
        if (rc >= 0) {
            count = KV_MIN(count + (uint32_t)rc, (uint32_t)STATUS_STATES_MAX);
        } else if ((r->damaged & CLUSTER_BIT(node)) == 0) {
            *out_silent = node;
        }
    }
    return count;
}

void status_compare(struct run *r, struct cluster *c, uint32_t ms)
{
    struct verdict *v = run_verdict(r, "state");
    struct status_state *states = kv_mem_zalloc(STATUS_STATES_MAX * sizeof *states);
    char *text = kv_mem_zalloc(STATUS_BYTES);
    uint64_t end_ns = uv_hrtime() + ms * UINT64_C(1000000);
    uint32_t silent = 0, count = 0;
    bool same = false;

    if (states == NULL || text == NULL) {
        verdict_doubt(v, "no memory");
        goto out;
    }
    for (;;) {
        verdict_close(v);
        verdict_init(v, "state");
        count = states_ask(r, c, text, states, &silent);
        status_judge(states, count, v, &same);
        if ((same && silent == 0) || uv_hrtime() >= end_ns) {
            break;
        }
        usleep(STATUS_PAUSE_US);
    }
    verdict_fact(v, "replicas", count);
    if (silent != 0) {
        verdict_doubt(v, "node %u does not say its state", silent);
    } else if (!same && v->valid == VERDICT_UNKNOWN) {
        struct verdict_anomaly anomaly = {.kind = "stays-behind"};

        snprintf(anomaly.text, sizeof anomaly.text, "for %u s after the end: %.400s",
                 ms / 1000, v->text);
        verdict_add(v, &anomaly);
    }

out:
    kv_mem_free(states);
    kv_mem_free(text);
}
