/* server/metrics.c - counting, and writing what Prometheus reads.
 *
 * Each family is written whole, HELP and TYPE first, as the text format wants. Names
 * end in their unit; counters in _total. Source: prometheus.io, exposition formats.
 */
#include "server/metrics.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "raft/base/err.h"
#include "server/balance.h"
#include "server/conn.h"
#include "server/meta.h"
#include "server/node_parts.h"
#include "server/peers.h"
#include "server/range.h"
#include "server/router.h"
#include "server/upkeep.h"
#include "server/watch.h"

enum {
    METRICS_CODES = KV_ERR_LAST - KV_ERR_FIRST + 2, /* 0, and each KV_E*. */
    METRICS_LINE_BYTES = 512,
};

/* Upper bounds of the buckets in microseconds; the last one is infinity. */
static const uint64_t bucket_us[METRICS_BUCKETS] = {
    100,   250,   500,    1000,   2500,    5000,     10000,
    25000, 50000, 100000, 250000, 1000000, 10000000, UINT64_MAX,
};

struct histogram {
    uint64_t buckets[METRICS_BUCKETS]; /* Not cumulative. */
    uint64_t sum_us;
};

struct metrics {
    uint64_t requests[RPC_METHODS_COUNT][METRICS_CODES];
    struct histogram latency[RPC_METHODS_COUNT];
};

/* ---- counting ---- */

int metrics_new(struct metrics **out)
{
    struct metrics *m = kv_mem_zalloc(sizeof(*m));

    if (m == NULL) {
        return KV_ENOMEM;
    }
    *out = m;
    return 0;
}

void metrics_free(struct metrics *m)
{
    kv_mem_free(m);
}

static uint32_t code_slot(int code)
{
    return code >= KV_ERR_FIRST && code <= KV_ERR_LAST
               ? (uint32_t)(code - KV_ERR_FIRST) + 1
               : 0;
}

void metrics_count(struct metrics *m, enum rpc_method method, int code, uint64_t us)
{
    struct histogram *h;
    uint32_t i = 0;

    KV_ASSERT(method < RPC_METHODS_COUNT);
    m->requests[method][code_slot(code)]++;
    h = &m->latency[method];
    h->sum_us += us;
    while (us > bucket_us[i]) {
        i++;
    }
    h->buckets[i]++;
}

uint64_t metrics_requests(const struct metrics *m, enum rpc_method method, int code)
{
    return m->requests[method][code_slot(code)];
}

/* ---- writing ---- */

static void line(struct buf *b, const char *format, ...) KV_PRINTF(2, 3);
static void line(struct buf *b, const char *format, ...)
{
    char text[METRICS_LINE_BYTES];
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    KV_ASSERT(len > 0 && (size_t)len < sizeof(text));
    buf_append(b, text, (size_t)len);
    buf_append(b, "\n", 1);
}

static void family(struct buf *b, const char *name, const char *type, const char *help)
{
    line(b, "# HELP kvd_%s %s", name, help);
    line(b, "# TYPE kvd_%s %s", name, type);
}

static void counter(struct buf *b, const char *name, uint64_t value, const char *help)
{
    family(b, name, "counter", help);
    line(b, "kvd_%s %" PRIu64, name, value);
}

static void gauge(struct buf *b, const char *name, uint64_t value, const char *help)
{
    family(b, name, "gauge", help);
    line(b, "kvd_%s %" PRIu64, name, value);
}

static double seconds(uint64_t us)
{
    return (double)us / 1e6;
}

static const char *method_label(uint32_t method)
{
    return method == RPC_UNKNOWN ? "unknown" : rpc_method_name((enum rpc_method)method);
}

static void write_requests(const struct metrics *m, struct buf *b)
{
    uint32_t method, slot;

    family(b, "requests_total", "counter",
           "Requests of clients that this node answered, by method and outcome.");
    for (method = 0; method < RPC_METHODS_COUNT; method++) {
        for (slot = 0; slot < METRICS_CODES; slot++) {
            const char *word =
                slot == 0 ? "ok" : kv_err_word((int)slot - 1 + KV_ERR_FIRST);

            if (m->requests[method][slot] == 0 &&
                !(slot == 0 && rpc_method_is_served((enum rpc_method)method))) {
                continue;
            }
            line(b, "kvd_requests_total{method=\"%s\",outcome=\"%s\"} %" PRIu64,
                 method_label(method), word[0] != '\0' ? word : "INTERNAL",
                 m->requests[method][slot]);
        }
    }
}

#define HISTOGRAM "kvd_request_duration_seconds"

static void write_latency(const struct metrics *m, struct buf *b)
{
    uint32_t method, i;

    family(b, "request_duration_seconds", "histogram",
           "Time from a request's last byte to its reply, by method.");
    for (method = 0; method < RPC_METHODS_COUNT; method++) {
        const struct histogram *h = &m->latency[method];
        const char *label = method_label(method);
        uint64_t sum = 0;

        if (!rpc_method_is_served((enum rpc_method)method)) {
            continue;
        }
        for (i = 0; i < METRICS_BUCKETS; i++) {
            sum += h->buckets[i];
            if (bucket_us[i] == UINT64_MAX) {
                line(b, HISTOGRAM "_bucket{method=\"%s\",le=\"+Inf\"} %" PRIu64, label,
                     sum);
            } else {
                line(b, HISTOGRAM "_bucket{method=\"%s\",le=\"%g\"} %" PRIu64, label,
                     seconds(bucket_us[i]), sum);
            }
        }
        line(b, HISTOGRAM "_sum{method=\"%s\"} %.6f", label, seconds(h->sum_us));
        line(b, HISTOGRAM "_count{method=\"%s\"} %" PRIu64, label, sum);
    }
}

/* X(family, type, help, format of the value, expression over g, st, gs, meta) */
#define METRICS_GROUP_MAP(X)                                                         \
    X("group_has_leader", "gauge", "1 when this replica knows a leader.",            \
      group_leader_node(g) != 0 ? 1 : 0)                                             \
    X("group_is_leader", "gauge", "1 when this replica leads the group.",            \
      group_is_leader(g) ? 1 : 0)                                                    \
    X("group_term", "gauge", "Current Raft term.", st.term)                          \
    X("group_last_index", "gauge", "Index of the last log entry.", st.last.index)    \
    X("group_durable_index", "gauge", "Last log entry on this node's disk.",         \
      st.last_durable)                                                               \
    X("group_commit_index", "gauge", "Last committed log entry.", st.commit)         \
    X("group_applied_index", "gauge", "Last applied log entry.", st.applied)         \
    X("group_base_index", "gauge", "Log entries up to here are compacted.",          \
      st.base.pos.index)                                                             \
    X("group_rows", "gauge", "Rows of the group's state.", meta->rows_count)         \
    X("group_rows_bytes", "gauge", "Bytes of keys and values of the group's state.", \
      meta->rows_bytes)                                                              \
    X("group_delta_bytes", "gauge", "Bytes applied and not yet checkpointed.",       \
      gs.delta_bytes)                                                                \
    X("group_tail_bytes", "gauge", "Bytes of log entries held in memory.",           \
      gs.tail_bytes)                                                                 \
    X("group_requests_waiting", "gauge", "Requests that wait in the group.",         \
      group_requests_count(g))                                                       \
    X("group_proposals_total", "counter", "Writes proposed.", gs.proposals)          \
    X("group_applied_total", "counter", "Entries applied.", gs.applied)              \
    X("group_reads_total", "counter", "Reads served.", gs.reads)                     \
    X("group_unknown_total", "counter", "Writes that ended with unknown outcome.",   \
      gs.unknown)                                                                    \
    X("group_busy_total", "counter", "Writes refused because a queue was full.",     \
      gs.busy)                                                                       \
    X("group_role_changes_total", "counter", "Changes of role, leader or term.",     \
      gs.role_changes)                                                               \
    X("group_elections_won_total", "counter", "Elections won.", gs.elections_won)    \
    X("group_checkpoints_total", "counter", "Checkpoints written.", gs.checkpoints)  \
    X("group_snapshots_made_total", "counter", "Snapshots made for other nodes.",    \
      gs.snapshots_made)                                                             \
    X("group_snapshots_installed_total", "counter",                                  \
      "Snapshots received and installed.", gs.snapshots_installed)                   \
    X("group_compactions_total", "counter", "Log compactions.", gs.compactions)

struct group_facts {
    const struct group *g;
    struct raft_status st;
    struct group_stats gs;
    const struct state_meta *meta;
    group_id id;
};

static void write_groups(struct node *n, struct buf *b)
{
    struct group_facts *facts = kv_mem_zalloc(n->groups_cap * sizeof(*facts));
    uint32_t count = 0, i;

    if (facts == NULL) {
        b->error = KV_ENOMEM;
        return;
    }
    for (i = 0; i < n->groups_cap; i++) {
        if (n->groups[i] != NULL) {
            struct group_facts *f = &facts[count++];

            f->g = n->groups[i];
            f->id = i;
            group_raft_status(f->g, &f->st);
            group_stats_get(f->g, &f->gs);
            f->meta = group_state_meta(f->g);
        }
    }
#define METRICS_GROUP_FAMILY(name, type, help, value)               \
    family(b, name, type, help);                                    \
    for (i = 0; i < count; i++) {                                   \
        const struct group *g = facts[i].g;                         \
        const struct raft_status st = facts[i].st;                  \
        const struct group_stats gs = facts[i].gs;                  \
        const struct state_meta *meta = facts[i].meta;              \
                                                                    \
        (void)g, (void)st, (void)gs, (void)meta;                    \
        line(b, "kvd_%s{group=\"%u\"} %" PRIu64, name, facts[i].id, \
             (uint64_t)(value));                                    \
    }
    METRICS_GROUP_MAP(METRICS_GROUP_FAMILY)
#undef METRICS_GROUP_FAMILY
    kv_mem_free(facts);
}

static void write_disk(struct node *n, struct buf *b)
{
    struct disk_stats d;
    struct store_stats s;
    struct upkeep_stats u;
    uint32_t i;

    disk_stats_get(n->disk, &d);
    n->store->ops->stats(n->store, &s);
    upkeep_stats_get(n->upkeep, &u);
    family(b, "log_commit_duration_seconds", "summary",
           "Time of commits to the log, waiting for the disk thread included.");
    line(b, "kvd_log_commit_duration_seconds_sum %.6f", seconds(d.log_us_total));
    line(b, "kvd_log_commit_duration_seconds_count %" PRIu64, d.log_jobs);
    counter(b, "log_writes_total", d.log_writes,
            "Groups' writes in commits to the log.");
    counter(b, "log_records_total", d.log_records, "Log entries written.");
    counter(b, "log_written_bytes_total", d.log_bytes, "Bytes of log entries written.");
    gauge(b, "log_queued_writes", d.log_queued,
          "Writes that wait for the disk thread.");
    family(b, "state_jobs_total", "counter", "Jobs of the state thread, by kind.");
    for (i = 0; i < DISK_KINDS_COUNT; i++) {
        if (disk_job_lane((enum disk_kind)i) == DISK_LANE_STATE) {
            line(b, "kvd_state_jobs_total{kind=\"%s\"} %" PRIu64,
                 disk_kind_text((enum disk_kind)i), d.state_jobs[i]);
        }
    }
    family(b, "store_used_bytes", "gauge", "Bytes in use, by environment.");
    line(b, "kvd_store_used_bytes{env=\"log\"} %" PRIu64, s.log_bytes);
    line(b, "kvd_store_used_bytes{env=\"state\"} %" PRIu64, s.state_bytes);
    family(b, "store_quota_bytes", "gauge", "Most bytes that may be in use.");
    line(b, "kvd_store_quota_bytes{env=\"log\"} %" PRIu64, s.log_bytes_max);
    line(b, "kvd_store_quota_bytes{env=\"state\"} %" PRIu64, s.state_bytes_max);
    gauge(b, "disk_no_space", disk_no_space(n->disk) ? 1 : 0,
          "1 while ordinary writes are refused because the disk or the quota is full.");
    counter(b, "scrubbed_bytes_total", u.scrub_bytes,
            "Bytes that the scrubber verified.");
    counter(b, "scrub_rounds_total", u.scrub_rounds, "Passes of the scrubber.");
    counter(b, "damages_found_total", u.damages, "Damaged records that it found.");
}

static void write_watches(struct node *n, struct buf *b)
{
    struct watches_stats w;

    watches_stats_get(n->watches, &w);
    gauge(b, "watches", w.open, "Watches of clients.");
    gauge(b, "watches_behind", w.behind, "Watches that have not been told everything.");
    gauge(b, "watches_bytes", w.bytes, "Memory of the watches.");
    counter(b, "watch_events_total", w.events, "Events sent to watches.");
    counter(b, "watch_overflows_total", w.overflows,
            "Watches ended because the client read too slowly.");
}

static void write_network(struct node *n, struct buf *b)
{
    struct peers_stats p;
    struct conns_stats c;
    struct router_stats r;

    peers_stats_get(n, &p);
    conns_stats_get(n->conns, &c);
    router_stats_get(n->router, &r);
    gauge(b, "peers_up", p.up, "Other nodes with a link that is up.");
    family(b, "peer_frames_total", "counter", "Frames between nodes, by direction.");
    line(b, "kvd_peer_frames_total{direction=\"in\"} %" PRIu64, p.frames_in);
    line(b, "kvd_peer_frames_total{direction=\"out\"} %" PRIu64, p.frames_out);
    family(b, "peer_bytes_total", "counter", "Bytes between nodes, by direction.");
    line(b, "kvd_peer_bytes_total{direction=\"in\"} %" PRIu64, p.bytes_in);
    line(b, "kvd_peer_bytes_total{direction=\"out\"} %" PRIu64, p.bytes_out);
    family(b, "raft_messages_total", "counter", "Raft messages, by direction.");
    line(b, "kvd_raft_messages_total{direction=\"in\"} %" PRIu64, p.messages_in);
    line(b, "kvd_raft_messages_total{direction=\"out\"} %" PRIu64, p.messages_out);
    counter(b, "raft_messages_dropped_total", p.messages_dropped,
            "Raft messages not sent: no link, or its queue was full.");
    counter(b, "peers_refused_total", p.refused,
            "Other nodes' hellos that were refused.");
    counter(b, "peer_protocol_errors_total", p.closed_protocol,
            "Links closed because of broken frames.");
    gauge(b, "peer_queued_bytes", p.queued_bytes,
          "Bytes that wait to be sent to nodes.");
    gauge(b, "connections", c.open, "Clients' connections.");
    gauge(b, "connections_paused", c.paused, "Connections that are not read for now.");
    counter(b, "connections_accepted_total", c.accepted, "Connections accepted.");
    counter(b, "connections_refused_total", c.refused, "Connections above the limit.");
    counter(b, "connections_slow_total", c.closed_slow,
            "Connections closed because the client read or sent too slowly.");
    counter(b, "client_protocol_errors_total", c.closed_protocol,
            "Connections closed because of bytes that are no request.");
    family(b, "client_bytes_total", "counter", "Bytes of clients, by direction.");
    line(b, "kvd_client_bytes_total{direction=\"in\"} %" PRIu64, c.bytes_in);
    line(b, "kvd_client_bytes_total{direction=\"out\"} %" PRIu64, c.bytes_out);
    counter(b, "requests_busy_total", c.busy,
            "Requests refused before they were read.");
    gauge(b, "requests_waiting_for_leader", r.waiting,
          "Requests that wait for a leader.");
    gauge(b, "requests_forwarded", r.forwarded, "Requests under way at other nodes.");
    counter(b, "forwards_total", r.forwards, "Requests passed on to other nodes.");
    counter(b, "forward_retries_total", r.retries, "Requests passed on again.");
    counter(b, "forwards_unknown_total", r.forwards_unknown,
            "Writes passed on whose outcome stayed unknown.");
}

static void write_node(struct node *n, struct buf *b)
{
    struct conns_stats c;

    conns_stats_get(n->conns, &c);
    family(b, "build_info", "gauge", "Version of the program.");
    line(b, "kvd_build_info{version=\"%s\"} 1", KV_VERSION_STRING);
    family(b, "node_info", "gauge", "Which node of which cluster this is.");
    line(b, "kvd_node_info{node=\"%u\",cluster=\"%016" PRIx64 "\"} 1", n->config.id,
         meta_cluster(n));
    family(b, "uptime_seconds", "gauge", "Time since the process began.");
    line(b, "kvd_uptime_seconds %.3f", (double)(n->now_ms - n->start_ms) / 1e3);
    gauge(b, "map_epoch", n->map.epoch, "Epoch of the cluster map; 0: none yet.");
    gauge(b, "groups_led", balance_leading(n),
          "Groups that this node leads, meta included.");
    counter(b, "balance_transfers_total", balance_transfers(n),
            "Leaderships handed over to spread them.");
    gauge(b, "requests_in_use", request_pool_count(n->requests), "Requests under way.");
    family(b, "memory_bytes", "gauge",
           "Bytes of the node's budget in use, by purpose.");
    line(b, "kvd_memory_bytes{purpose=\"requests\"} %zu",
         request_pool_bytes(n->requests));
    line(b, "kvd_memory_bytes{purpose=\"client_input\"} %zu", c.input_bytes);
    line(b, "kvd_memory_bytes{purpose=\"client_output\"} %zu", c.output_bytes);
    gauge(b, "memory_budget_bytes", n->config.memory_bytes_max,
          "The node's memory budget.");
    gauge(b, "ranges", ranges_count(n->ranges), "Range requests under way.");
}

void metrics_write(struct node *n, struct buf *b)
{
    write_node(n, b);
    write_requests(n->metrics, b);
    write_latency(n->metrics, b);
    write_groups(n, b);
    write_disk(n, b);
    write_network(n, b);
    write_watches(n, b);
}
