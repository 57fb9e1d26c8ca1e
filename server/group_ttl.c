/* server/group_ttl.c - the leader ends keys whose time to live has passed.
 *
 * It knows when the first is due (apply_ttl_load()), sleeps until then, and proposes
 * an EXPIRE: what is deleted is decided when that is applied, by replicated time. One
 * entry at a time, of a bounded number of keys, so that many that end together do not
 * keep others waiting. Times are compared with the wall clock, as entries are stamped
 * with it: the next leader goes on with the same times.
 */
#include "server/group_internal.h"

enum {
    TTL_KEYS_MAX = 256,      /* Of one entry, */
    TTL_STEP_MS = 10,        /* and between two. */
    TTL_RETRY_MS = 200,      /* The core took nothing, or the state was not readable. */
    TTL_SLEEP_MS_MAX = 5000, /* A wall clock may be set forward meanwhile. */
};

static bool is_due_here(const struct group *g)
{
    return group_is_leader(g) && g->apply.has_leases && g->ttl.wait_for == 0 &&
           group_applied(g) >= g->commit;
}

uint64_t group_ttl_deadline_ms(const struct group *g)
{
    const struct group_ttl *t = &g->ttl;

    if (!is_due_here(g)) {
        return UINT64_MAX;
    }
    /* Another leader's plan, or a key that ends before the first one that was. */
    return t->term == g->term && t->due_ms == g->apply.due_ms ? t->look_ms : 0;
}

/* Sleeps until the first key is due, not less than `least_ms`. */
static void sleep_on(struct group *g, uint64_t time_ms, uint64_t least_ms)
{
    struct group_ttl *t = &g->ttl;
    uint64_t wait_ms = g->apply.due_ms > time_ms ? g->apply.due_ms - time_ms : 0;

    t->due_ms = g->apply.due_ms;
    t->look_ms =
        g->now_ms + KV_MIN(KV_MAX(wait_ms, least_ms), (uint64_t)TTL_SLEEP_MS_MAX);
}

static void propose_expire(struct group *g)
{
    uint8_t payload[16];
    struct command c = {.kind = COMMAND_EXPIRE, .rows_max = TTL_KEYS_MAX};

    KV_ASSERT(command_bytes(&c) <= sizeof payload);
    command_encode(&c, payload);
    if (group_propose(g, kv_bytes(payload, command_bytes(&c))) == 0) {
        g->ttl.wait_for = g->last.index;
    } else {
        g->ttl.look_ms = g->now_ms + TTL_RETRY_MS;
    }
}

void group_ttl_flush(struct group *g)
{
    struct group_ttl *t = &g->ttl;
    uint64_t time_ms;

    if (t->wait_for != 0 && (group_applied(g) >= t->wait_for || !group_is_leader(g))) {
        t->wait_for = 0;
        sleep_on(g, group_entry_time_ms(g), TTL_STEP_MS);
    }
    if (!is_due_here(g)) {
        return;
    }
    time_ms = group_entry_time_ms(g);
    if (t->term != g->term || t->due_ms != g->apply.due_ms) {
        t->term = g->term;
        sleep_on(g, time_ms, 0);
    }
    if (t->look_ms > g->now_ms) {
        return;
    }
    /* The first one may have been overwritten since. */
    arena_reset(&g->records_arena);
    if (apply_ttl_load(&g->apply, &g->records_arena) != 0) {
        t->look_ms = g->now_ms + TTL_RETRY_MS;
    } else if (g->apply.has_leases && g->apply.due_ms <= time_ms) {
        propose_expire(g);
    } else {
        sleep_on(g, time_ms, TTL_STEP_MS);
    }
}
