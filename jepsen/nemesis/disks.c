/* jepsen/nemesis/disks.c - power, slow-disk, full-disk, clock: the disk layer's. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jepsen/nemesis/nemesis_own.h"
#include "raft/base/err.h"

enum {
    KEEP_HALF_PPM = 500000,
    SLOW_SYNC_US = 100000,
    SEEN_STEP_MS = 50,
    SEEN_MS = 3000,        /* For a sync or a refused write to come along. */
    CLOCK_SLACK_MS = 250,  /* Of what hello tells, on a busy machine. */
    CLOCK_SHIFT_MIN = 9,   /* 2^9 ms ... */
    CLOCK_SHIFT_MAX = 18,  /* ... to 2^18 ms, 262 s. */
    STROBE_SHIFT_MAX = 10, /* 1 ms to 1 s. */
    STROBE_LOOKS = 60,
};

static bool mask_draw(struct nemesis *n, struct nemesis_fault *f,
                      struct nemesis_outcome *out)
{
    f->mask = nemesis_targets(n, f);
    return f->mask != 0 || nemesis_blame(out, "no node is %s", f->word);
}

/* ---- power ---- */

static bool power_begin(struct nemesis *n, struct nemesis_fault *f,
                        struct nemesis_outcome *out)
{
    uint32_t keep_ppm = prng_below(&f->prng, 2) == 0 ? 0 : KEEP_HALF_PPM;
    uint64_t lost = 0;
    char set[64];

    if (!mask_draw(n, f, out)) {
        return false;
    }
    if (fault_power(n->c, f->mask, keep_ppm, &lost) != 0) {
        return nemesis_blame(out, "%s", cluster_error(n->c));
    }
    nemesis_say(out, "{:nodes %s, :lost-bytes %" PRIu64 ", :keep-ppm %u}",
                nemesis_set(f->mask, set), lost, keep_ppm);
    return (cluster_up(n->c) & f->mask) == 0 || nemesis_blame(out, "a node is up");
}

static bool power_end(struct nemesis *n, struct nemesis_fault *f,
                      struct nemesis_outcome *out)
{
    char set[64];

    nemesis_say(out, "%s", nemesis_set(f->mask, set));
    return nemesis_start(n, f->mask, out);
}

const struct nemesis_action nemesis_power = {
    .kind = {"power", "one minority majority all",
             "SIGKILL at once, and what was not synced is gone, or half of it", true,
             false, true},
    .f_begin = "power-fail",
    .f_end = "start",
    .begin = power_begin,
    .end = power_end,
};

/* ---- slow-disk, full-disk ---- */

static bool disks_set(struct nemesis *n, uint32_t mask, const struct fault_disk *d,
                      struct nemesis_outcome *out)
{
    struct fault_disk_seen seen;

    for (uint32_t i = 1; i <= n->nodes; i++) {
        if ((mask & CLUSTER_BIT(i)) != 0 &&
            (fault_disk(n->c, i, d) != 0 || fault_disk_seen(n->c, i, &seen) != 0)) {
            return nemesis_blame(out, "%s", cluster_error(n->c));
        }
    }
    return true;
}

static bool disks_end(struct nemesis *n, struct nemesis_fault *f,
                      struct nemesis_outcome *out)
{
    const struct fault_disk well = {0};
    char set[64];

    nemesis_say(out, "%s", nemesis_set(f->mask, set));
    return disks_set(n, f->mask, &well, out);
}

/* What the layers of a mask have seen: the longest sync since the last look, and all
 * refused writes. */
static void seen_sum(struct nemesis *n, uint32_t mask, uint32_t *slowest_us,
                     uint64_t *refused)
{
    *refused = 0;
    for (uint32_t i = 1; i <= n->nodes; i++) {
        struct fault_disk_seen seen = {0};

        if ((mask & CLUSTER_BIT(i)) != 0 && fault_disk_seen(n->c, i, &seen) == 0) {
            *slowest_us = KV_MAX(*slowest_us, seen.sync_us_max);
            *refused += seen.refused;
        }
    }
}

static bool slow_disk_begin(struct nemesis *n, struct nemesis_fault *f,
                            struct nemesis_outcome *out)
{
    const struct fault_disk slow = {.sync_delay_us = SLOW_SYNC_US};
    uint32_t slowest_us = 0;
    uint64_t refused = 0;
    char set[64];

    if (!mask_draw(n, f, out) || !disks_set(n, f->mask, &slow, out)) {
        return false;
    }
    for (uint32_t ms = 0; ms < SEEN_MS && slowest_us < SLOW_SYNC_US;
         ms += SEEN_STEP_MS) {
        nemesis_sleep_ms(SEEN_STEP_MS);
        seen_sum(n, f->mask, &slowest_us, &refused);
    }
    nemesis_say(out, "{:nodes %s, :sync-us-max %u}", nemesis_set(f->mask, set),
                slowest_us);
    return slowest_us >= SLOW_SYNC_US ||
           nemesis_blame(out, "no sync took that long within %d ms", SEEN_MS);
}

const struct nemesis_action nemesis_slow_disk = {
    .kind = {"slow-disk", "one minority leaders", "each sync takes 100 ms longer", true,
             false, true},
    .f_begin = "start-slow-disk",
    .f_end = "stop-slow-disk",
    .begin = slow_disk_begin,
    .end = disks_end,
};

static bool full_disk_begin(struct nemesis *n, struct nemesis_fault *f,
                            struct nemesis_outcome *out)
{
    const struct fault_disk full = {.full = true};
    uint32_t slowest_us = 0;
    uint64_t before = 0, refused = 0;
    char set[64];

    if (!mask_draw(n, f, out)) {
        return false;
    }
    seen_sum(n, f->mask, &slowest_us, &before);
    if (!disks_set(n, f->mask, &full, out)) {
        return false;
    }
    for (uint32_t ms = 0; ms < SEEN_MS && refused <= before; ms += SEEN_STEP_MS) {
        nemesis_sleep_ms(SEEN_STEP_MS);
        seen_sum(n, f->mask, &slowest_us, &refused);
    }
    nemesis_say(out, "{:nodes %s, :refused %" PRIu64 "}", nemesis_set(f->mask, set),
                refused - before);
    return refused > before ||
           nemesis_blame(out, "nothing asked for space within %d ms", SEEN_MS);
}

const struct nemesis_action nemesis_full_disk = {
    .kind = {"full-disk", "one minority majority all",
             "no file grows any more; what is freed can be used", true, false, false},
    .f_begin = "start-full-disk",
    .f_end = "stop-full-disk",
    .begin = full_disk_begin,
    .end = disks_end,
};

/* ---- clock ---- */

/* Looks at one node's clock: is it off by that much? A strobe must be seen at both. */
static bool clock_look(struct nemesis *n, uint32_t node, int64_t offset_ms, bool strobe,
                       struct nemesis_outcome *out)
{
    bool shifted = false, straight = false;
    int64_t seen_ms = 0;

    for (int i = 0; i < (strobe ? STROBE_LOOKS : 3); i++) {
        if (fault_clock_offset(n->c, node, &seen_ms) == 0) {
            shifted = shifted || llabs(seen_ms - offset_ms) <= CLOCK_SLACK_MS;
            straight = straight || llabs(seen_ms) <= CLOCK_SLACK_MS;
        }
        if (shifted && (straight || !strobe)) {
            return true;
        }
        nemesis_sleep_ms(strobe ? 23 : 100);
    }
    return nemesis_blame(out, "node %u is off by %" PRId64 " ms", node, seen_ms);
}

static bool clock_begin(struct nemesis *n, struct nemesis_fault *f,
                        struct nemesis_outcome *out)
{
    bool strobe = strncmp(f->word, "strobe", 6) == 0;
    int64_t offset_ms;
    uint32_t strobe_ms = 0;
    char set[64];

    f->mask = targets_draw(&f->prng, n->nodes,
                           (uint32_t)prng_between(&f->prng, 1, n->nodes)) &
              cluster_up(n->c);
    offset_ms = (int64_t)1 << prng_between(&f->prng, CLOCK_SHIFT_MIN, CLOCK_SHIFT_MAX);
    offset_ms = prng_below(&f->prng, 2) == 0 ? offset_ms : -offset_ms;
    if (strobe) {
        strobe_ms = 1u << prng_below(&f->prng, STROBE_SHIFT_MAX + 1);
    }
    for (uint32_t i = 1; i <= n->nodes; i++) {
        if ((f->mask & CLUSTER_BIT(i)) != 0 &&
            fault_clock(n->c, i, offset_ms, strobe_ms) != 0) {
            return nemesis_blame(out, "%s", cluster_error(n->c));
        }
    }
    nemesis_say(out, "{:nodes %s, :offset-ms %" PRId64 ", :strobe-ms %u}",
                nemesis_set(f->mask, set), offset_ms, strobe_ms);
    if (f->mask == 0) {
        return nemesis_blame(out, "no node is up");
    }
    return clock_look(n, targets_any(&f->prng, f->mask), offset_ms, strobe, out);
}

static bool clock_end(struct nemesis *n, struct nemesis_fault *f,
                      struct nemesis_outcome *out)
{
    uint32_t up = f->mask & cluster_up(n->c);
    char set[64];

    for (uint32_t i = 1; i <= n->nodes; i++) {
        if ((f->mask & CLUSTER_BIT(i)) != 0 && fault_clock(n->c, i, 0, 0) != 0) {
            return nemesis_blame(out, "%s", cluster_error(n->c));
        }
    }
    nemesis_say(out, "%s", nemesis_set(f->mask, set));
    return up == 0 || clock_look(n, targets_any(&f->prng, up), 0, false, out);
}

const struct nemesis_action nemesis_clock = {
    .kind = {"clock", "bump strobe",
             "wall clocks of some nodes are 0.5 to 262 s off, or jump to and fro", true,
             false, true},
    .f_begin = "start-clock",
    .f_end = "stop-clock",
    .begin = clock_begin,
    .end = clock_end,
};
