/* jepsen/nemesis/points.c - panic: a node ends at a failpoint of a test build.
 *
 * A point is armed on a running node, or for the start of one that was down a moment.
 * Points of this run that no node has ended at come first. When nobody reaches it, a
 * neighbour is killed and started: that brings elections and new links about.
 */
#include <stdio.h>
#include <string.h>

#include "jepsen/nemesis/nemesis_own.h"
#include "raft/base/err.h"

enum {
    POINTS_TEXT_BYTES = 16384,
    POINTS_NAME_BYTES = 40,
    POINTS_ASK_MS = 1000,
    POINTS_DRAWS = 8,    /* Points tried before the fault has failed. */
    POINTS_NTH_MAX = 20, /* It ends at the first to the twentieth time. */
    POINTS_LOOK_MS = 10,
    POINTS_WAIT_MS = 250, /* To be reached, and again after a push. */
    POINTS_DOWN_MS = 300, /* A node that starts armed was away so long. */
    POINTS_HTTP_OK = 200,
};

/* The point of a fault. */
struct point {
    uint32_t at;          /* Place in kvd's list. */
    unsigned long passed; /* How often some node has. */
    char name[POINTS_NAME_BYTES];
};

/* The points of a test build, one a line; false where the node knows none. */
static bool list_ask(struct nemesis *n, char *text)
{
    for (uint32_t i = 1; i <= n->nodes; i++) {
        if ((cluster_up(n->c) & CLUSTER_BIT(i)) != 0 &&
            cluster_http(n->c, i, "/debug/failpoints", text, POINTS_TEXT_BYTES,
                         POINTS_ASK_MS) == POINTS_HTTP_OK) {
            return true;
        }
    }
    return false;
}

/* Reads the at-th line, "NAME HITS"; false behind the last. */
static bool list_line(const char *text, uint32_t at, struct point *out)
{
    for (uint32_t i = 0; i < at; i++) {
        text = strchr(text, '\n');
        if (text == NULL) {
            return false;
        }
        text++;
    }
    out->at = at;
    return at < NEMESIS_POINTS_MAX &&
           sscanf(text, "%39[a-z_0-9] %lu", out->name, &out->passed) == 2;
}

/* Points to draw from, from the best on. */
enum pool {
    POOL_LIKELY, /* Nobody has ended there, and it was passed before. */
    POOL_FRESH,  /* Nobody has ended there. */
    POOL_ALL,
    POOLS_COUNT,
};

static bool in_pool(const struct nemesis *n, const struct point *p, enum pool pool)
{
    return pool == POOL_ALL ||
           (!n->points_hit[p->at] && (pool == POOL_FRESH || p->passed > 0));
}

/* Draws a point, mostly of the first pool that has any. */
static bool point_draw(struct nemesis *n, struct prng *p, const char *text,
                       struct point *out)
{
    enum pool pool = prng_below(p, 4) == 0 ? POOL_FRESH : POOL_LIKELY;
    uint32_t count = 0;
    uint32_t skip;

    for (; pool < POOLS_COUNT && count == 0; pool += count == 0) {
        for (uint32_t i = 0; list_line(text, i, out); i++) {
            count += in_pool(n, out, pool);
        }
    }
    if (count == 0) {
        return false;
    }
    skip = (uint32_t)prng_below(p, count);
    for (uint32_t i = 0; list_line(text, i, out); i++) {
        if (in_pool(n, out, pool) && skip-- == 0) {
            return true;
        }
    }
    KV_UNREACHABLE();
}

/* Arms (or disarms) a point of running nodes. */
static void point_arm(struct nemesis *n, uint32_t mask, const struct point *p,
                      uint32_t nth)
{
    char path[128];
    char text[POINTS_TEXT_BYTES];

    if (nth == 0) {
        snprintf(path, sizeof path, "/debug/failpoints?%s=off", p->name);
    } else {
        snprintf(path, sizeof path, "/debug/failpoints?%s=panic@%u", p->name, nth);
    }
    for (uint32_t i = 1; i <= n->nodes; i++) {
        if ((mask & CLUSTER_BIT(i)) != 0 &&
            cluster_http(n->c, i, path, text, sizeof text, POINTS_ASK_MS) < 0) {
            continue; /* It is gone already, or paused: ended_wait() looks. */
        }
    }
}

/* Nodes of the mask that ended at a point, once all did or the time is over. */
static uint32_t ended_wait(struct nemesis *n, uint32_t mask, uint32_t wait_ms)
{
    for (uint32_t ms = 0;; ms += POINTS_LOOK_MS) {
        uint32_t gone = mask & ~cluster_up(n->c);

        if (gone == mask || ms >= wait_ms) {
            return gone;
        }
        nemesis_sleep_ms(POINTS_LOOK_MS);
    }
}

/* Makes something happen around the armed nodes. */
static void push(struct nemesis *n, struct nemesis_fault *f)
{
    uint32_t others = cluster_up(n->c) & ~f->mask;
    struct nemesis_outcome unseen;
    uint32_t node;

    if (others == 0) {
        return;
    }
    node = targets_any(&f->prng, others);
    cluster_kill(n->c, CLUSTER_BIT(node));
    (void)nemesis_start(n, CLUSTER_BIT(node), &unseen);
}

/* One point; the nodes that ended there. */
static uint32_t point_try(struct nemesis *n, struct nemesis_fault *f,
                          const struct point *p)
{
    char armed[64];
    uint32_t gone;

    if (strcmp(f->word, "start") == 0) {
        cluster_kill(n->c, f->mask);
        nemesis_sleep_ms((uint32_t)prng_below(&f->prng, POINTS_DOWN_MS));
        snprintf(armed, sizeof armed, "%s=panic", p->name);
        if (cluster_start_armed(n->c, f->mask, armed) != 0) {
            return 0;
        }
    } else {
        point_arm(n, f->mask, p, (uint32_t)prng_between(&f->prng, 1, POINTS_NTH_MAX));
    }
    gone = ended_wait(n, f->mask, POINTS_WAIT_MS);
    if (gone == 0) {
        point_arm(n, f->mask, p, 1);
        push(n, f);
        gone = ended_wait(n, f->mask, POINTS_WAIT_MS);
    }
    point_arm(n, f->mask & ~gone, p, 0);
    return gone;
}

/* Half of the time what the nodes had not synced is gone with them. */
static const char *power_perhaps(struct nemesis *n, struct nemesis_fault *f,
                                 uint32_t gone)
{
    struct fault_disk_seen seen;

    if (fault_disk_seen(n->c, 1, &seen) != 0 || prng_below(&f->prng, 2) == 0) {
        return "kept";
    }
    return fault_power(n->c, gone, 0, NULL) == 0 ? "lost" : "unclear";
}

static bool panic_begin(struct nemesis *n, struct nemesis_fault *f,
                        struct nemesis_outcome *out)
{
    char text[POINTS_TEXT_BYTES];
    char set[64];
    struct point p;
    uint32_t gone = 0;

    if (!list_ask(n, text)) {
        return nemesis_blame(out,
                             "this kvd has no failpoints; build it with MODE=debug");
    }
    for (int i = 0; i < POINTS_DRAWS && gone == 0; i++) {
        f->mask = targets_nodes(&f->prng, n->nodes,
                                strcmp(f->word, "start") == 0 ? "one" : f->word) &
                  cluster_up(n->c);
        if (!point_draw(n, &f->prng, text, &p)) {
            return nemesis_blame(out, "an empty list of failpoints");
        }
        gone = f->mask == 0 ? 0 : point_try(n, f, &p);
    }
    if (gone == 0) {
        nemesis_say(out, "{:point %s}", p.name);
        return nemesis_blame(out, "nobody reached any of %d points", POINTS_DRAWS);
    }
    n->sum.points += !n->points_hit[p.at];
    n->points_hit[p.at] = true;
    nemesis_say(out, "{:point %s, :nodes %s, :unsynced :%s}", p.name,
                nemesis_set(gone, set), power_perhaps(n, f, gone));
    return true;
}

static bool panic_end(struct nemesis *n, struct nemesis_fault *f,
                      struct nemesis_outcome *out)
{
    char set[64];

    nemesis_say(out, "%s", nemesis_set(f->mask, set));
    return nemesis_start(n, f->mask, out);
}

const struct nemesis_action nemesis_panic = {
    .kind = {"panic", "one minority all start",
             "a node of a test build ends at a failpoint, perhaps without what it had "
             "not synced; start: at one on its way up",
             false, false, false},
    .f_begin = "panic",
    .f_end = "start",
    .begin = panic_begin,
    .end = panic_end,
};
