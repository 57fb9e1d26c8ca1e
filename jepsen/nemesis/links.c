/* jepsen/nemesis/links.c - faults of the network: partition, packet, slow-link. */
#include <stdio.h>
#include <string.h>

#include "jepsen/nemesis/nemesis_own.h"
#include "raft/base/err.h"

enum {
    PROBE_CUT_MS = 60, /* What has not come through a cut by then does not come. */
    PROBE_OPEN_MS = 500,
    PROBE_PAIRS = 3, /* Cut links looked at, and open ones. */
    PACKET_PROBES = 50,
    PACKET_PPM = 200000, /* 20 %, as everybody's. */
    PACKET_DELAY_US = 50000,
    PACKET_JITTER_US = 10000,
    PACKET_RATE = 125000, /* 1 Mbit/s. */
    SLOW_DELAY_US = 100000,
    SLOW_JITTER_US = 20000,
};

/* ---- partition ---- */

/* "bridge-in" is a bridge, one way. */
static enum targets_way way_split(char *word)
{
    char *dash = strrchr(word, '-');

    if (dash != NULL && strcmp(dash, "-in") == 0) {
        *dash = '\0';
        return TARGETS_IN;
    }
    if (dash != NULL && strcmp(dash, "-out") == 0) {
        *dash = '\0';
        return TARGETS_OUT;
    }
    return TARGETS_BOTH;
}

/* {2 [1 3], ...}: who does not hear whom. */
static void grudge_say(const struct fault_grudge *g, uint32_t n,
                       struct nemesis_outcome *out)
{
    char text[NEMESIS_VALUE_BYTES] = "{";
    size_t at = 1;

    for (uint32_t to = 1; to <= n; to++) {
        char set[64];

        if (g->from[to] >> 1 != 0) {
            at += (size_t)snprintf(text + at, sizeof text - at, "%s%u %s",
                                   at > 1 ? ", " : "", to,
                                   nemesis_set(g->from[to] >> 1, set));
        }
    }
    nemesis_say(out, "%s}", text);
}

/* Looks at up to PROBE_PAIRS links that are cut, or are not. */
static bool links_look(struct nemesis *n, struct prng *p, const struct fault_grudge *g,
                       bool cut, struct nemesis_outcome *out)
{
    uint32_t seen = 0;

    for (int tries = 0; tries < 100 && seen < PROBE_PAIRS; tries++) {
        uint32_t from = (uint32_t)prng_between(p, 1, n->nodes);
        uint32_t to = (uint32_t)prng_between(p, 1, n->nodes);
        struct fault_probe probe;

        if (from == to || targets_cuts(g, from, to) != cut) {
            continue;
        }
        fault_probe(n->c, from, to, cut ? 2 : 5, cut ? PROBE_CUT_MS : PROBE_OPEN_MS,
                    &probe);
        if ((probe.received == 0) != cut || probe.sent == 0) {
            return nemesis_blame(out, "node %u sent %u to %u, %u arrived", from,
                                 probe.sent, to, probe.received);
        }
        seen++;
    }
    return true;
}

static bool partition_begin(struct nemesis *n, struct nemesis_fault *f,
                            struct nemesis_outcome *out)
{
    char shape[PLAN_WORD_BYTES];
    struct fault_grudge g;
    enum targets_way way;
    uint32_t leaders = 0;

    memcpy(shape, f->word, sizeof shape);
    way = way_split(shape);
    if (strcmp(shape, "leaders") == 0) {
        memcpy(f->word, shape, sizeof shape);
        leaders = nemesis_targets(n, f);
    }
    if (!targets_grudge(&f->prng, n->nodes, shape, way, leaders, &g)) {
        return nemesis_blame(out, "no %s of %u nodes", shape, n->nodes);
    }
    fault_cut(n->c, &g);
    n->cut = g;
    grudge_say(&g, n->nodes, out);
    return links_look(n, &f->prng, &g, true, out) &&
           links_look(n, &f->prng, &g, false, out);
}

static bool partition_end(struct nemesis *n, struct nemesis_fault *f,
                          struct nemesis_outcome *out)
{
    const struct fault_grudge none = {{0}};

    fault_cut(n->c, &none);
    n->cut = none;
    nemesis_say(out, ":healed");
    return links_look(n, &f->prng, &none, false, out);
}

const struct nemesis_action nemesis_partition = {
    .kind =
        {"partition",
         "one minority-third halves majority majorities-ring bridge leaders "
         "one-in one-out halves-in halves-out minority-third-in minority-third-out "
         "majority-in majority-out majorities-ring-in bridge-in leaders-in leaders-out",
         "cuts links between nodes; -in, -out: the drawn side does not hear, is not "
         "heard",
         false, false, true},
    .f_begin = "start-partition",
    .f_end = "stop-partition",
    .begin = partition_begin,
    .end = partition_end,
};

/* ---- shapes ---- */

/* Shapes all links between nodes, or with `only`, all of that node, clients' too. */
static bool links_shape(struct nemesis *n, uint32_t only, const struct fault_link *l,
                        struct nemesis_outcome *out)
{
    for (uint32_t a = 0; a <= n->nodes; a++) {
        for (uint32_t b = 0; b <= n->nodes; b++) {
            bool wanted = only == 0 ? a != 0 && b != 0 : a == only || b == only;

            if (a != b && wanted && fault_shape(n->c, a, b, l) != 0) {
                return nemesis_blame(out, "%s", cluster_error(n->c));
            }
        }
    }
    return true;
}

static struct fault_link packet_link(const struct nemesis *n, const char *word)
{
    struct fault_link l = {0};
    bool all = strcmp(word, "all") == 0;
    bool stream = cluster_env(n->c) == CLUSTER_PROXY;

    if (all || strcmp(word, "delay") == 0 || strcmp(word, "reorder") == 0) {
        l.delay_us = PACKET_DELAY_US;
        l.jitter_us = PACKET_JITTER_US;
    }
    l.loss_ppm = all || strcmp(word, "loss") == 0 ? PACKET_PPM : 0;
    l.duplicate_ppm =
        !stream && (all || strcmp(word, "duplicate") == 0) ? PACKET_PPM : 0;
    l.reorder_ppm = !stream && (all || strcmp(word, "reorder") == 0) ? PACKET_PPM : 0;
    l.rate_bytes_per_s = strcmp(word, "rate") == 0 ? PACKET_RATE : 0;
    return l;
}

/* Does what a probe saw show what the link is to do? On a stream a loss is a message
 * that comes late. */
static bool packet_seen(const struct nemesis *n, const struct fault_link *l,
                        const struct fault_probe *p)
{
    bool stream = cluster_env(n->c) == CLUSTER_PROXY;

    return (l->delay_us == 0 || p->median_us > l->delay_us / 2) &&
           (l->loss_ppm == 0 ||
            (stream ? p->max_us >= 150000 : p->received < p->sent)) &&
           (l->duplicate_ppm == 0 || p->copies > p->received) &&
           (l->reorder_ppm == 0 || p->late > 0);
}

/* Probes a link between nodes that no partition has cut just now; nothing is sent
 * when there is none. */
static void open_probe(struct nemesis *n, uint32_t count, struct fault_probe *out)
{
    for (uint32_t a = 1; a <= n->nodes; a++) {
        for (uint32_t b = 1; b <= n->nodes; b++) {
            if (a != b && !targets_cuts(&n->cut, a, b) &&
                !targets_cuts(&n->cut, b, a)) {
                fault_probe(n->c, a, b, count, PROBE_OPEN_MS, out);
                return;
            }
        }
    }
    *out = (struct fault_probe){.sent = 0};
}

static bool packet_begin(struct nemesis *n, struct nemesis_fault *f,
                         struct nemesis_outcome *out)
{
    struct fault_link l = packet_link(n, f->word);
    struct fault_probe p;

    if (n->shaping) {
        return nemesis_blame(out, "another fault shapes the links");
    }
    if (!links_shape(n, 0, &l, out)) {
        return false;
    }
    n->shaping = true;
    f->mask = CLUSTER_ALL(n->nodes);
    open_probe(n, PACKET_PROBES, &p);
    nemesis_say(out,
                "{:%s {:sent %u, :received %u, :copies %u, :late %u, :median-us %u, "
                ":max-us %u}}",
                f->word, p.sent, p.received, p.copies, p.late, p.median_us, p.max_us);
    /* A slow wire shows with more bytes than a probe has: it is taken at its word. */
    return (p.received > 0 && packet_seen(n, &l, &p)) ||
           nemesis_blame(out, "the probe saw nothing of it");
}

static bool shapes_end(struct nemesis *n, struct nemesis_fault *f,
                       struct nemesis_outcome *out)
{
    const struct fault_link none = {0};
    struct fault_probe p;

    if (f->mask == 0) {
        return nemesis_blame(out, "it had not begun");
    }
    n->shaping = false;
    if (!links_shape(n, 0, &none, out)) {
        return false;
    }
    for (uint32_t i = 1; i <= n->nodes; i++) {
        if (!links_shape(n, i, &none, out)) {
            return false;
        }
    }
    nemesis_say(out, ":healed");
    open_probe(n, 5, &p);
    return p.received > 0 || p.sent == 0 ||
           nemesis_blame(out, "nothing of %u got through", p.sent);
}

const struct nemesis_action nemesis_packet = {
    .kind = {"packet", "delay loss duplicate reorder rate all",
             "delays, loses, doubles, reorders what nodes send each other", false, true,
             true},
    .f_begin = "start-packet",
    .f_end = "stop-packet",
    .begin = packet_begin,
    .end = shapes_end,
};

static bool slow_link_begin(struct nemesis *n, struct nemesis_fault *f,
                            struct nemesis_outcome *out)
{
    const struct fault_link l = {.delay_us = SLOW_DELAY_US,
                                 .jitter_us = SLOW_JITTER_US,
                                 .rate_bytes_per_s = PACKET_RATE};
    struct fault_probe p;
    uint32_t mask = nemesis_targets(n, f);
    uint32_t node;

    if (n->shaping || mask == 0) {
        return nemesis_blame(out, mask == 0 ? "no such node"
                                            : "another fault shapes the links");
    }
    node = targets_any(&f->prng, mask);
    if (!links_shape(n, node, &l, out)) {
        return false;
    }
    n->shaping = true;
    f->mask = CLUSTER_BIT(node);
    fault_probe(n->c, node, FAULT_CLIENTS, 5, PROBE_OPEN_MS, &p); /* Never cut. */
    nemesis_say(out, "{:node %u, :median-us %u}", node, p.median_us);
    return p.median_us > SLOW_DELAY_US / 2 ||
           nemesis_blame(out, "the probe took %u us", p.median_us);
}

const struct nemesis_action nemesis_slow_link = {
    .kind = {"slow-link", "one leaders", "one node's links: 100 ms, 1 Mbit/s", false,
             true, true},
    .f_begin = "start-slow-link",
    .f_end = "stop-slow-link",
    .begin = slow_link_begin,
    .end = shapes_end,
};
