/* server/lease.h - the leases of a group's locks, as its leader keeps them.
 *
 * One for each claim: a holder's, or that of a place in the queue with the request
 * that waits for it. Found by lock and claim, and by what is due first. They are the
 * leader's own clockwork and nothing that is replicated: what a lease decides is
 * proposed.
 *
 * Needs:    raft/base; struct request is only pointed to.
 * Used by:  server/group_lock.c.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_LEASE_H
#define KV_SERVER_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "raft/base/bytes.h"
#include "raft/base/check.h"

struct request;

struct lease {
    uint64_t id;          /* The claim's: token, or revision of its arrival. */
    uint64_t deadline_ms; /* When something is to be done about it. */
    struct request *req;  /* Waiter: the request that waits here; NULL: none. */
    uint32_t ttl_ms;
    uint16_t slot;  /* Of the lock. */
    bool is_holder; /* Else it waits. */
    bool deciding;  /* Its end was proposed; nothing is said until it is applied. */
    bool gave_up;   /* req was told to wait no longer: it is to hear so. */
    struct kv_bytes name;  /* Of the lock; */
    struct kv_bytes owner; /* both in `data`. */
    uint32_t heap_at;
    struct lease *next; /* Of the same cell. */
    uint8_t data[];
};

/* cells_count is 0 or a power of two; heap[0] is due first. */
struct leases {
    struct lease **heap;
    uint32_t count;
    uint32_t heap_cap;
    struct lease **cells;
    uint32_t cells_count;
};

/* What a lease begins with. */
struct lease_ask {
    struct kv_bytes name; /* Copied, as the owner. */
    struct kv_bytes owner;
    uint64_t id;
    uint64_t deadline_ms;
    uint32_t ttl_ms;
    uint16_t slot;
    bool is_holder;
};

/* Frees all; the caller has taken the requests out. An all-zero struct is empty. */
void leases_clear(struct leases *t);
/* Adds one that is not there. NULL: no memory. */
KV_MUST_CHECK struct lease *leases_add(struct leases *t, const struct lease_ask *ask);
struct lease *leases_find(const struct leases *t, struct kv_bytes name, uint64_t id);
/* Frees it. */
void leases_remove(struct leases *t, struct lease *l);
/* What is due first; NULL: there is none. */
struct lease *leases_first(const struct leases *t);
void leases_set(struct leases *t, struct lease *l, uint64_t deadline_ms);

#endif
