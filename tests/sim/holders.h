/* tests/sim/holders.h - locks: what clients were promised, and what the state says.
 *
 * A client that was told that it holds a lock may count on it until its lease has run
 * out, counted from when it asked, on a clock that is as wrong as any may be. The state
 * of the lock's group is looked at after each entry that some replica applied: a token
 * must not end before that, tokens only grow, and the queue is served in its order.
 *
 * Needs:    tests/sim/kinds.h, server/lock.h.
 * Used by:  tests/sim/lockers.c, watch.c, peace.c, run.c.
 * Threads:  one.
 */
#ifndef KV_TESTS_SIM_HOLDERS_H
#define KV_TESTS_SIM_HOLDERS_H

#include "server/lock.h"
#include "tests/sim/sim.h"

enum {
    HOLDERS_LOCKS = 4, /* Two locks, a semaphore and an election. */
    HOLDERS_SEM = 2,
    HOLDERS_ELECTION = 3,
    HOLDERS_SEM_PERMITS = 2,
    HOLDERS_NAME_BYTES = 16,
};

/* What there is to know of the locks of a seed. */
struct holders;

/* Makes it, unless it is there. */
void holders_open(struct sim *s);
void holders_free(struct sim *s);

struct kv_bytes holders_name(uint32_t lock, char *out);
uint32_t holders_permits(uint32_t lock);

/* When a lease of ttl_ms that was asked for at sent_us ends at the earliest. */
uint64_t holders_until_us(uint64_t sent_us, uint32_t ttl_ms);
/* A client was told that it holds the lock, with this token, until then. */
void holders_told(struct sim *s, uint32_t lock, uint64_t token, uint64_t until_us);
/* The client wants it no more: nothing is promised from here on. */
void holders_given_up(struct sim *s, uint32_t lock, uint64_t token);
/* May its client still count on it? */
bool holders_is_promised(const struct sim *s, uint32_t lock, uint64_t token);
/* Was it seen, at this time or before, that the token had ended? */
bool holders_had_ended(const struct sim *s, uint32_t lock, uint64_t token,
                       uint64_t at_us);

/* Accesses with a token: by group, the highest one that was let in so far. */
void holders_show(struct sim *s, uint32_t lock, uint32_t group, uint64_t token);
void holders_shown(const struct sim *s, uint32_t lock, uint64_t out[SIM_GROUPS_MAX]);

/* A replica has taken a step: looks at the locks of its group, where it has applied
 * more than any before. */
void holders_look(struct sim *s, uint32_t node, uint32_t group, raft_index applied);
/* The same for one lock whose row is `value` (empty: there is none). */
void holders_see(struct sim *s, uint32_t lock, raft_index applied,
                 struct kv_bytes value);

/* At peace: does nobody hold or wait any more? Else says in *out_lock which lock has
 * somebody. */
bool holders_are_gone(struct sim *s, const struct peace *p, uint32_t *out_lock);

#endif
