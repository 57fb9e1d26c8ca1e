/* server/admin.c - texts for operators and their tools. */
#include "server/admin.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "raft/base/err.h"
#include "rpc/buf.h"
#include "rpc/msg.h"
#include "server/meta.h"
#include "server/metrics.h"
#include "server/node_parts.h"
#include "server/peers.h"
#include "server/router.h"
#include "storage/failpoint.h"

enum {
    ADMIN_LINE_BYTES = 512,
    HTTP_OK = 200,
    HTTP_NOT_FOUND = 404,
    HTTP_ERROR = 500,
    HTTP_UNAVAILABLE = 503,
};

static void text(struct buf *b, const char *format, ...) KV_PRINTF(2, 3);
static void text(struct buf *b, const char *format, ...)
{
    char line[ADMIN_LINE_BYTES];
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    KV_ASSERT(len >= 0);
    buf_append(b, line, KV_MIN((size_t)len, sizeof(line) - 1));
}

/* ---- readiness ---- */

static void check_set(struct admin_check *c, const char *name, bool ok,
                      const char *format, ...) KV_PRINTF(4, 5);
static void check_set(struct admin_check *c, const char *name, bool ok,
                      const char *format, ...)
{
    va_list args;

    c->name = name;
    c->ok = ok;
    c->reason[0] = '\0';
    if (!ok) {
        va_start(args, format);
        vsnprintf(c->reason, sizeof(c->reason), format, args);
        va_end(args);
    }
}

/* Groups on this node, and the first of them without a leader. */
static uint32_t groups_leaderless(const struct node *n, uint32_t *out_first)
{
    uint32_t count = 0, i;

    for (i = 0; i < n->groups_cap; i++) {
        if (n->groups[i] != NULL && group_leader_node(n->groups[i]) == 0) {
            *out_first = count == 0 ? i : *out_first;
            count++;
        }
    }
    return count;
}

bool admin_checks(const struct node *n, struct admin_check out[ADMIN_CHECKS])
{
    uint32_t first = 0;
    uint32_t leaderless = groups_leaderless(n, &first);
    bool all = true;
    uint32_t i;

    check_set(&out[0], "formed", n->phase != NODE_FORMING, "waiting: %s",
              n->waiting_for);
    check_set(&out[1], "map", n->map_known, "waiting: %s", n->waiting_for);
    check_set(&out[2], "groups", n->phase != NODE_FORMING && leaderless == 0,
              "%u groups without a known leader, the first is %u", leaderless, first);
    check_set(
        &out[3], "disk", !disk_no_space(n->disk),
        "no space: writes are refused, reads and deletes work; free or add space");
    check_set(&out[4], "running", n->phase == NODE_RUNNING || n->phase == NODE_FORMING,
              "the node is stopping");
    for (i = 0; i < ADMIN_CHECKS; i++) {
        all = all && out[i].ok;
    }
    return all;
}

static int get_readyz(struct node *n, const char *query, struct buf *out)
{
    struct admin_check checks[ADMIN_CHECKS];
    bool ready = admin_checks(n, checks);
    bool verbose = query != NULL && strstr(query, "verbose") != NULL;
    uint32_t i;

    for (i = 0; i < ADMIN_CHECKS && (verbose || !ready); i++) {
        if (checks[i].ok) {
            text(out, "[+]%s ok\n", checks[i].name);
        } else {
            text(out, "[-]%s failed: %s\n", checks[i].name, checks[i].reason);
        }
    }
    text(out, "%s\n",
         ready ? (verbose ? "readyz check passed" : "ok") : "readyz check failed");
    return ready ? HTTP_OK : HTTP_UNAVAILABLE;
}

/* ---- status as JSON ---- */

/* A JSON string; what is not printable ASCII becomes an escape. */
static void json_string(struct buf *b, const char *s)
{
    text(b, "\"");
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;

        if (c == '"' || c == '\\') {
            text(b, "\\%c", c);
        } else if (c < 0x20 || c >= 0x7f) {
            text(b, "\\u%04x", c);
        } else {
            text(b, "%c", c);
        }
    }
    text(b, "\"");
}

static const char *phase_text(enum node_phase phase)
{
    static const char *const texts[] = {
        [NODE_FORMING] = "forming",
        [NODE_RUNNING] = "running",
        [NODE_STOPPING] = "stopping",
        [NODE_HALTED] = "halted",
    };

    return texts[phase];
}

static void status_nodes(const struct node *n, struct buf *b)
{
    uint32_t i;

    text(b, "\"nodes\":[");
    for (i = 0; i < n->map.nodes_count; i++) {
        const struct map_node *m = &n->map.nodes[i];
        bool self = m->id == n->config.id;

        text(b, "%s{\"id\":%u,\"host\":", i > 0 ? "," : "", m->id);
        json_string(b, m->host);
        text(b, ",\"client\":%u,\"peer\":%u,\"http\":%u,\"zone\":", m->client_port,
             m->peer_port, m->http_port);
        json_string(b, m->zone);
        text(b, ",\"up\":%s,\"trouble\":",
             self || peers_is_up(n, m->id) ? "true" : "false");
        json_string(b, self ? "" : peers_trouble(n, m->id));
        text(b, "}");
    }
    text(b, "]");
}

static void status_group(const struct node *n, group_id id, struct buf *b)
{
    const struct group *g = node_group(n, id);
    struct rpc_group_status s;
    uint32_t i;

    node_group_status(n, id, &s);
    text(b,
         "{\"id\":%u,\"leader\":%u,\"term\":%" PRIu64 ",\"commit\":%" PRIu64
         ",\"applied\":%" PRIu64 ",\"w\":%u,\"voters\":[",
         s.id, s.leader, s.term, s.commit, s.applied, s.w);
    for (i = 0; i < s.voters_count; i++) {
        text(b, "%s%u", i > 0 ? "," : "", s.voters[i]);
    }
    text(b, "]");
    if (g != NULL) { /* Equal on all replicas at the same index. */
        const struct state_meta *m = group_state_meta(g);

        text(b, ",\"state_index\":%" PRIu64 ",\"state_hash\":\"%016" PRIx64 "\"",
             m->applied.pos.index, m->state_hash);
    }
    text(b, "}");
}

static int get_status(struct node *n, struct buf *b)
{
    uint32_t i;

    text(b,
         "{\"node\":%u,\"cluster\":\"%016" PRIx64
         "\",\"version\":\"%s\",\"phase\":\"%s\",",
         n->config.id, meta_cluster(n), KV_VERSION_STRING, phase_text(n->phase));
    text(b, "\"uptime_ms\":%" PRIu64 ",\"waiting_for\":", n->now_ms - n->start_ms);
    json_string(b, n->waiting_for);
    text(b, ",\"epoch\":%" PRIu64 ",", n->map.epoch);
    status_nodes(n, b);
    text(b, ",\"meta\":");
    status_group(n, NODE_META_GROUP, b);
    text(b, ",\"groups\":[");
    for (i = 0; i < n->map.groups_count; i++) {
        text(b, "%s", i > 0 ? "," : "");
        status_group(n, n->map.groups[i].id, b);
    }
    text(b, "]}\n");
    return HTTP_OK;
}

/* ---- failpoints, in test builds ---- */

#ifdef KV_FAILPOINTS
/* Arms what the query says; then lists all points with how often they were reached. */
static int get_failpoints(const char *query, struct buf *b)
{
    struct failpoint_about about;

    if (query != NULL && query[0] != '\0' && !failpoint_arm(query)) {
        text(b, "no such point, or it cannot do that; see kvd --failpoints\n");
        return HTTP_NOT_FOUND;
    }
    for (size_t i = 0; failpoint_about(i, &about); i++) {
        text(b, "%s %" PRIu64 "\n", about.name, about.hits);
    }
    return HTTP_OK;
}
#endif

/* ---- paths ---- */

int admin_get(struct node *n, const char *path, const char *query, struct buf *out,
              const char **out_type)
{
    int status;

    *out_type = "text/plain; charset=utf-8";
    if (strcmp(path, "/livez") == 0) {
        text(out, "ok\n");
        status = HTTP_OK;
    } else if (strcmp(path, "/readyz") == 0 || strcmp(path, "/health") == 0) {
        status = get_readyz(n, query, out);
    } else if (strcmp(path, "/metrics") == 0) {
        *out_type = "text/plain; version=0.0.4; charset=utf-8";
        metrics_write(n, out);
        status = HTTP_OK;
    } else if (strcmp(path, "/v1/status") == 0) {
        *out_type = "application/json";
        status = get_status(n, out);
#ifdef KV_FAILPOINTS
    } else if (strcmp(path, "/debug/failpoints") == 0) {
        status = get_failpoints(query, out);
#endif
    } else {
        text(out, "not found; try /livez, /readyz?verbose, /metrics or /v1/status\n");
        status = HTTP_NOT_FOUND;
    }
    if (out->error != 0) {
        buf_reset(out);
        *out_type = "text/plain; charset=utf-8";
        text(out, "no memory for the answer\n");
        status = HTTP_ERROR;
    }
    return status;
}
