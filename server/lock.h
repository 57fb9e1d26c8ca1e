/* server/lock.h - one lock: who holds it and who waits, and how that changes.
 *
 * Pure. A lock, a semaphore and an election are the same thing: a name with permits
 * (a lock and an election have one), holders and a queue. Each holder has a token, the
 * revision of the entry that granted it: tokens of one lock only grow. A permit that
 * comes free goes to the first in the queue by the same change, so that nobody can
 * come in between and only one waiter hears of it.
 *
 * Who asks is known by `owner`, which must be another one for each party: asking again
 * finds one's place or token, so that a request can be sent twice.
 *
 * A row holds (little-endian)
 *
 *   0  u8   format version (1)
 *   1  u16  permits
 *   3  u16  number of holders
 *   5  u16  number of waiters
 *   7  u64  the last token
 *  15  ...  claims, holders first, each: u64 id, u32 ttl_ms, u8 owner bytes,
 *           u16 value bytes, owner, value
 *
 * and is deleted with the last claim.
 *
 * Needs:    raft/base, rpc/limits.h.
 * Used by:  server/apply_lock.c, apply_fence.c, group_lock.c; kvsim's judge.
 * Threads:  any.
 */
#ifndef KV_SERVER_LOCK_H
#define KV_SERVER_LOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "raft/base/arena.h"
#include "raft/base/bytes.h"
#include "raft/base/check.h"
#include "rpc/limits.h"

/* A holder or waiter. Bytes are views. */
struct lock_claim {
    uint64_t id;           /* Holder: its token. Waiter: revision of its arrival. */
    uint32_t ttl_ms;       /* Lease of the holder; the waiter's, while nobody asks. */
    struct kv_bytes owner; /* 1..KV_LOCK_OWNER_BYTES_MAX bytes, unique in the lock. */
    struct kv_bytes value; /* What lock.info shows. */
};

/* holders_count <= permits; waiters_count > 0 only when holders_count == permits;
 * tokens of holders <= last_token. */
struct lock {
    uint32_t permits; /* 0: the lock does not exist. */
    uint64_t last_token;
    struct lock_claim *claims; /* Holders in the order of their tokens, then waiters
                                * in order of arrival; and room for one more. */
    uint32_t holders_count;
    uint32_t waiters_count;
};

/* What became of a change, for the one who asked and for whoever keeps the leases.
 * Views are those of the lock and of the ask. */
struct lock_change {
    int code;               /* 0; KV_EBADREQUEST (another number of permits),
                            * KV_EBUSY (too many claims). Nothing was changed then. */
    bool changed;           /* The row is to be written. */
    bool held;              /* The one who asked, or who was meant, holds: */
    uint64_t token;         /* held: this token; */
    uint32_t place;         /* not held, in the queue: 1 is the next; 0: not in it. */
    bool released;          /* A token ended. */
    uint64_t ended;         /* Claim that ended; 0: none. */
    uint64_t waited;        /* Claim of a waiter that became a holder; 0: none, */
    uint64_t granted;       /* its token, */
    struct lock_claim own;  /* held or place > 0: the claim that stands there. */
    struct lock_claim next; /* granted > 0: the new holder. */
};

/* Reads a row's value, or makes an empty lock of an empty value. Views into `value`.
 * 0, KV_ENOMEM, KV_EFORMAT (another version, or nothing that lock_encode() writes). */
KV_MUST_CHECK int lock_decode(struct kv_bytes value, struct arena *arena,
                              struct lock *out);
size_t lock_bytes(const struct lock *l);
/* Writes lock_bytes(l) bytes. The lock must have claims. */
void lock_encode(const struct lock *l, uint8_t *out);

/* Who asks for a permit. */
struct lock_ask {
    struct lock_claim claim; /* id is set by the lock. */
    uint32_t permits;        /* Of the lock; 1..KV_LOCK_PERMITS_MAX. */
    bool may_wait;
};

/* Takes a permit, or a place in the queue, or finds the owner's. `rev` is that of the
 * entry: higher than in every earlier change. */
void lock_acquire(struct lock *l, const struct lock_ask *ask, uint64_t rev,
                  struct lock_change *out);
/* Ends the holder with this token: by its own will, or because its lease ran out. */
void lock_release(struct lock *l, uint64_t token, uint64_t rev,
                  struct lock_change *out);
/* Takes an owner out of the queue; if it holds by now, tells so, or ends that as well
 * (give_back). */
void lock_cancel(struct lock *l, struct kv_bytes owner, bool give_back, uint64_t rev,
                 struct lock_change *out);

/* ---- looking in ---- */

/* The holder with this token; NULL: none. */
const struct lock_claim *lock_holder(const struct lock *l, uint64_t token);
/* The i-th waiter, i < waiters_count; 0 is the next. */
const struct lock_claim *lock_waiter(const struct lock *l, uint32_t i);

#endif
