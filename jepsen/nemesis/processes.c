/* jepsen/nemesis/processes.c - kill, term, pause, storm, slow-cpu. */
#include <stdio.h>

#include "jepsen/nemesis/nemesis_own.h"
#include "raft/base/err.h"

enum {
    TERM_WAIT_MS = 10000,
    ANSWER_MS = 150,
    STORM_ROUNDS = 6,
    STORM_GAP_MS = 150,
    SLOW_CPU_PERCENT = 10,
    SLOW_CPU_LOOKS = 40,
};

/* Draws the fault's nodes; false when there are none. */
static bool mask_draw(struct nemesis *n, struct nemesis_fault *f,
                      struct nemesis_outcome *out)
{
    char set[64];

    f->mask = nemesis_targets(n, f);
    nemesis_say(out, "%s", nemesis_set(f->mask, set));
    return f->mask != 0 || nemesis_blame(out, "no node is %s", f->word);
}

/* ---- kill, term ---- */

static bool down_look(struct nemesis *n, uint32_t mask, struct nemesis_outcome *out)
{
    uint32_t up = mask & cluster_up(n->c);
    char set[64];

    return up == 0 || nemesis_blame(out, "still up: %s", nemesis_set(up, set));
}

static bool kill_begin(struct nemesis *n, struct nemesis_fault *f,
                       struct nemesis_outcome *out)
{
    if (!mask_draw(n, f, out)) {
        return false;
    }
    cluster_kill(n->c, f->mask);
    return down_look(n, f->mask, out);
}

static bool term_begin(struct nemesis *n, struct nemesis_fault *f,
                       struct nemesis_outcome *out)
{
    if (!mask_draw(n, f, out)) {
        return false;
    }
    if (cluster_stop(n->c, f->mask, TERM_WAIT_MS) != 0) {
        return nemesis_blame(out, "%s", cluster_error(n->c));
    }
    return down_look(n, f->mask, out);
}

static bool start_end(struct nemesis *n, struct nemesis_fault *f,
                      struct nemesis_outcome *out)
{
    char set[64];

    nemesis_say(out, "%s", nemesis_set(f->mask, set));
    return nemesis_start(n, f->mask, out);
}

const struct nemesis_action nemesis_kill = {
    .kind = {"kill", "one minority majority all leaders",
             "SIGKILL, started again later", false, false, true},
    .f_begin = "kill",
    .f_end = "start",
    .begin = kill_begin,
    .end = start_end,
};

const struct nemesis_action nemesis_term = {
    .kind = {"term", "one minority majority all leaders",
             "SIGTERM, started again later", false, false, true},
    .f_begin = "term",
    .f_end = "start",
    .begin = term_begin,
    .end = start_end,
};

/* ---- pause ---- */

static bool answers(struct nemesis *n, uint32_t node)
{
    char text[64];

    return cluster_http(n->c, node, "/livez", text, sizeof text, ANSWER_MS) > 0;
}

static bool pause_begin(struct nemesis *n, struct nemesis_fault *f,
                        struct nemesis_outcome *out)
{
    uint32_t up = cluster_up(n->c);
    bool asked = false;

    if (!mask_draw(n, f, out)) {
        return false;
    }
    f->mask &= up;
    if (f->mask == 0) {
        return nemesis_blame(out, "they are down");
    }
    cluster_pause(n->c, f->mask);
    for (uint32_t i = 1; i <= n->nodes; i++) {
        if ((f->mask & CLUSTER_BIT(i)) == 0) {
            continue;
        }
        if (!cluster_is_stopped(n->c, i) || (!asked && answers(n, i))) {
            return nemesis_blame(out, "node %u goes on", i);
        }
        asked = true; /* Each would cost its whole time-out. */
    }
    return true;
}

static bool pause_end(struct nemesis *n, struct nemesis_fault *f,
                      struct nemesis_outcome *out)
{
    char set[64];

    cluster_resume(n->c, f->mask);
    nemesis_say(out, "%s", nemesis_set(f->mask, set));
    for (uint32_t i = 1; i <= n->nodes; i++) {
        if ((f->mask & CLUSTER_BIT(i)) != 0 && cluster_is_stopped(n->c, i)) {
            return nemesis_blame(out, "node %u is still stopped", i);
        }
    }
    return true;
}

const struct nemesis_action nemesis_pause = {
    .kind = {"pause", "one minority majority all leaders", "SIGSTOP, SIGCONT later",
             false, false, true},
    .f_begin = "pause",
    .f_end = "resume",
    .begin = pause_begin,
    .end = pause_end,
};

/* ---- storm ---- */

static bool storm_begin(struct nemesis *n, struct nemesis_fault *f,
                        struct nemesis_outcome *out)
{
    struct cluster_node_info before, after;
    uint32_t starts = 0;

    f->mask = CLUSTER_ALL(n->nodes);
    for (int round = 0; round < STORM_ROUNDS; round++) {
        uint32_t mask = targets_nodes(&f->prng, n->nodes, f->word);
        uint32_t node = targets_any(&f->prng, mask);

        cluster_node(n->c, node, &before);
        cluster_kill(n->c, mask);
        nemesis_sleep_ms((uint32_t)prng_below(&f->prng, STORM_GAP_MS));
        if (!nemesis_start(n, mask, out)) {
            return false;
        }
        cluster_node(n->c, node, &after);
        starts += after.starts - before.starts;
        /* Long enough to get somewhere, often not long enough to get ready. */
        nemesis_sleep_ms((uint32_t)prng_below(&f->prng, 2 * STORM_GAP_MS));
    }
    nemesis_say(out, "{:rounds %d, :restarts %u}", STORM_ROUNDS, starts);
    return starts >= STORM_ROUNDS ||
           nemesis_blame(out, "only %u of %d started again", starts, STORM_ROUNDS);
}

static bool storm_end(struct nemesis *n, struct nemesis_fault *f,
                      struct nemesis_outcome *out)
{
    nemesis_say(out, ":over");
    return nemesis_start(n, f->mask, out);
}

const struct nemesis_action nemesis_storm = {
    .kind = {"storm", "one minority majority all",
             "six rounds of SIGKILL and start within about a second", false, false,
             true},
    .f_begin = "start-storm",
    .f_end = "stop-storm",
    .begin = storm_begin,
    .end = storm_end,
};

/* ---- slow-cpu ---- */

/* How often of SLOW_CPU_LOOKS the process is stopped. */
static uint32_t stopped_count(struct nemesis *n, uint32_t node)
{
    uint32_t count = 0;

    for (int i = 0; i < SLOW_CPU_LOOKS; i++) {
        count += cluster_is_stopped(n->c, node);
        nemesis_sleep_ms(7);
    }
    return count;
}

static bool slow_cpu_begin(struct nemesis *n, struct nemesis_fault *f,
                           struct nemesis_outcome *out)
{
    uint32_t count;
    uint32_t node;

    if (!mask_draw(n, f, out)) {
        return false;
    }
    node = targets_any(&f->prng, f->mask);
    f->mask = CLUSTER_BIT(node);
    fault_cpu(n->c, node, SLOW_CPU_PERCENT);
    count = stopped_count(n, node);
    nemesis_say(out, "{:node %u, :percent %d, :stopped [%u %d]}", node,
                SLOW_CPU_PERCENT, count, SLOW_CPU_LOOKS);
    return count > SLOW_CPU_LOOKS / 3 ||
           nemesis_blame(out, "it was stopped %u of %d times", count, SLOW_CPU_LOOKS);
}

static bool slow_cpu_end(struct nemesis *n, struct nemesis_fault *f,
                         struct nemesis_outcome *out)
{
    char set[64];

    for (uint32_t i = 1; i <= n->nodes; i++) {
        if ((f->mask & CLUSTER_BIT(i)) != 0) {
            fault_cpu(n->c, i, 100);
        }
    }
    nemesis_say(out, "%s", nemesis_set(f->mask, set));
    return true;
}

const struct nemesis_action nemesis_slow_cpu = {
    .kind = {"slow-cpu", "one leaders", "one process runs 5 of each 50 ms", false,
             false, true},
    .f_begin = "start-slow-cpu",
    .f_end = "stop-slow-cpu",
    .begin = slow_cpu_begin,
    .end = slow_cpu_end,
};
