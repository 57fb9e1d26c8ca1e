/* jepsen/nemesis/nemesis.c - the registry, and the life of a nemesis. */
#include "jepsen/nemesis/nemesis.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "jepsen/nemesis/nemesis_own.h"
#include "raft/base/arena.h"
#include "raft/base/err.h"

static const struct nemesis_action *const actions[] = {
    &nemesis_partition, &nemesis_kill,      &nemesis_term,      &nemesis_pause,
    &nemesis_power,     &nemesis_storm,     &nemesis_packet,    &nemesis_slow_link,
    &nemesis_slow_cpu,  &nemesis_slow_disk, &nemesis_full_disk, &nemesis_clock,
    &nemesis_corrupt,   &nemesis_rollback,  &nemesis_wipe,      &nemesis_clone,
    &nemesis_panic,
};

const struct nemesis_kind *nemesis_kind(uint32_t i)
{
    return i < KV_ARRAY_COUNT(actions) ? &actions[i]->kind : NULL;
}

/* ---- for the actions ---- */

uint32_t nemesis_targets(struct nemesis *n, struct nemesis_fault *f)
{
    uint32_t groups;
    uint32_t mask = 0;

    if (strcmp(f->word, "leaders") != 0) {
        return targets_nodes(&f->prng, n->nodes, f->word);
    }
    groups = cluster_groups(n->c);
    if (groups != 0) {
        mask = cluster_leaders(n->c, 1 + (uint32_t)prng_below(&f->prng, groups));
    }
    return mask;
}

void nemesis_say(struct nemesis_outcome *out, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(out->value, sizeof out->value, format, args);
    va_end(args);
}

bool nemesis_blame(struct nemesis_outcome *out, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(out->why, sizeof out->why, format, args);
    va_end(args);
    return false;
}

const char *nemesis_set(uint32_t mask, char text[64])
{
    size_t at = 0;

    text[at++] = '[';
    for (uint32_t i = 1; i <= CLUSTER_NODES_MAX; i++) {
        if ((mask & CLUSTER_BIT(i)) != 0) {
            at += (size_t)snprintf(text + at, 64 - at, "%s%u", at > 1 ? " " : "", i);
        }
    }
    snprintf(text + at, 64 - at, "]");
    return text;
}

bool nemesis_start(struct nemesis *n, uint32_t mask, struct nemesis_outcome *out)
{
    char set[64];
    uint32_t down;

    if (cluster_start(n->c, mask) != 0) {
        return nemesis_blame(out, "%s", cluster_error(n->c));
    }
    down = mask & ~cluster_up(n->c);
    if (down != 0) {
        return nemesis_blame(out, "nodes %s did not stay up", nemesis_set(down, set));
    }
    return true;
}

void nemesis_sleep_ms(uint32_t ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    while (nanosleep(&t, &t) != 0 && errno == EINTR) {
    }
}

/* ---- life ---- */

/* Can the cluster's environment do what the text asks for? */
static int kinds_check(const struct nemesis *n, char *error)
{
    struct fault_disk_seen seen;
    bool layer = fault_disk_seen(n->c, 1, &seen) == 0;

    for (uint32_t i = 0; i < n->plan.items_count; i++) {
        const struct nemesis_kind *k = nemesis_kind(n->plan.items[i].kind);

        if (k->needs_shape && cluster_env(n->c) == CLUSTER_VETH) {
            snprintf(error, CLUSTER_ERROR_BYTES,
                     "%s shapes links, which --env netns and proxy can", k->name);
            return KV_EINVAL;
        }
        if (k->needs_disk && !layer) {
            snprintf(error, CLUSTER_ERROR_BYTES, "%s needs the disk layer", k->name);
            return KV_EINVAL;
        }
    }
    return 0;
}

int nemesis_open(struct cluster *c, const struct nemesis_options *o,
                 struct nemesis **out_n, char *error)
{
    struct nemesis *n = kv_mem_zalloc(sizeof *n);
    struct prng p;
    int rc;

    if (n == NULL) {
        snprintf(error, CLUSTER_ERROR_BYTES, "no memory");
        return KV_ENOMEM;
    }
    n->c = c;
    n->nodes = cluster_size(c);
    rc = plan_init(&n->plan, o, error);
    if (rc == 0) {
        rc = kinds_check(n, error);
    }
    if (rc != 0) {
        kv_mem_free(n);
        return rc;
    }
    prng_init(&p, o->seed ^ 0x76696374696d73ull);
    n->victims = targets_draw(&p, n->nodes, KV_MAX((n->nodes - 1) / 2, 1u));
    n->sum.kinds = n->plan.items_count;
    *out_n = n;
    return 0;
}

void nemesis_close(struct nemesis *n)
{
    kv_mem_free(n);
}

/* ---- work ---- */

bool nemesis_next(struct nemesis *n, struct nemesis_step *out)
{
    bool begins;
    int slot = plan_next(&n->plan, &begins);
    const struct plan_fault *f;
    const struct nemesis_action *a;

    if (slot < 0) {
        return false;
    }
    f = &n->plan.faults[slot];
    a = actions[f->kind];
    *out = (struct nemesis_step){
        .at_ms = begins ? f->begin_ms : f->end_ms,
        .f = begins ? a->f_begin : a->f_end,
        .kind = a->kind.name,
        .begins = begins,
        .fault = f->number,
        .slot = (uint32_t)slot,
    };
    snprintf(out->value, sizeof out->value, ":%s", f->word);
    if (begins) {
        n->faults[slot] = (struct nemesis_fault){.action = a};
        memcpy(n->faults[slot].word, f->word, sizeof f->word);
        prng_init(&n->faults[slot].prng, f->seed);
    }
    return true;
}

/* Items of the text that this kind stands for were proven. */
static void proven_note(struct nemesis *n, const struct nemesis_action *a)
{
    for (uint32_t i = 0; i < n->plan.items_count; i++) {
        if (actions[n->plan.items[i].kind] == a) {
            n->kinds_proven |= 1ull << i;
        }
    }
}

void nemesis_do(struct nemesis *n, const struct nemesis_step *step,
                struct nemesis_outcome *out)
{
    struct nemesis_fault *f = &n->faults[step->slot];

    *out = (struct nemesis_outcome){.effective = false};
    KV_ASSERT(step->slot < PLAN_ITEMS_MAX && f->action != NULL);
    if (step->begins) {
        n->sum.begun++;
        f->begun = true;
        out->effective = f->action->begin(n, f, out);
        if (out->effective) {
            n->sum.effective++;
            proven_note(n, f->action);
        }
    } else {
        f->begun = false;
        out->effective = f->action->end(n, f, out);
    }
    n->sum.failed += !out->effective;
    if (out->wrong && n->sum.wrongs++ == 0) {
        memcpy(n->sum.wrong, out->why, sizeof n->sum.wrong);
    }
    if (out->value[0] == '\0') {
        nemesis_say(out, "nil");
    }
}

void nemesis_heal(struct nemesis *n, uint32_t timeout_ms, struct nemesis_outcome *out)
{
    *out = (struct nemesis_outcome){.effective = true};
    for (uint32_t i = 0; i < PLAN_ITEMS_MAX; i++) {
        struct nemesis_fault *f = &n->faults[i];

        if (f->begun) {
            f->begun = false;
            out->effective = f->action->end(n, f, out) && out->effective;
        }
    }
    fault_heal_all(n->c);
    out->value[0] = '\0';
    if (nemesis_start(n, CLUSTER_ALL(n->nodes), out)) {
        int rc = cluster_wait_ready(n->c, CLUSTER_ALL(n->nodes), timeout_ms);

        out->effective = rc == 0;
        if (rc != 0) {
            (void)nemesis_blame(out, "%s", cluster_error(n->c));
        }
    } else {
        out->effective = false;
    }
    if (out->effective) {
        out->why[0] = '\0';
    }
    nemesis_say(out, out->effective ? ":ready" : ":not-ready");
}

/* ---- looking in ---- */

void nemesis_summary(const struct nemesis *n, struct nemesis_summary *out)
{
    *out = n->sum;
    out->kinds_unproven =
        n->sum.kinds - (uint32_t)__builtin_popcountll(n->kinds_proven);
}

uint32_t nemesis_damaged(const struct nemesis *n)
{
    return n->damaged;
}
