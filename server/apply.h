/* server/apply.h - the state machine: a committed entry changes the state.
 *
 * Deterministic: the outcome depends on the entry and the state alone, so that all
 * replicas hold the same. A command that fails (a number that is none, a slot that
 * the group does not own) is an applied entry like any other; it changes nothing.
 *
 * rev = Raft index + the group's revision offset. Only raft/ and the group speak of
 * bare indexes.
 *
 * Needs:    storage/state.h, raft/types.h, server/command.h.
 * Used by:  server/group_apply.c, group_read.c; meta.c (apply_map_read).
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_APPLY_H
#define KV_SERVER_APPLY_H

#include "raft/base/arena.h"
#include "raft/base/bug.h"
#include "raft/base/check.h"
#include "rpc/msg.h"
#include "server/command.h"
#include "server/lock.h"
#include "storage/state.h"

enum {
    APPLY_TXN_RESULT_BYTES_MAX =
        2 * 1024 * 1024,                         /* Keys and values that a txn reads. */
    APPLY_TXN_UNDO_BYTES_MAX = 16 * 1024 * 1024, /* Values that it replaces. */
    /* Keys and values that a delrange deletes: what reaches it is the last one. */
    APPLY_DELRANGE_BYTES_MAX = 1024 * 1024,
};

/* A group's state machine: the state, and what of it is needed so often that it is kept
 * decoded. */
struct apply {
    struct state *st;     /* [borrowed] */
    bool has_slots;       /* The state has a ROW_OWNED row. */
    uint64_t rev_offset;  /* From it; 0 without. */
    uint32_t marks_count; /* Rows of fences in the state, */
    uint32_t marks_max;   /* at most so many; the same on all replicas. */
    uint64_t map_epoch;   /* Of the map in the state; 0: none. */
    bool has_leases;      /* There may be keys with a time to live; */
    uint64_t due_ms;  /* none of them ends before this; UINT64_MAX: there is none. */
    uint64_t time_ms; /* Of the entry that is being applied. */
    uint8_t slots[COMMAND_SLOTS_BYTES];
    /* Exactly once (apply_record.h). The first two are the same on all replicas:
     * apply_open() sets the defaults, its caller may change them before any entry. */
    uint32_t retention_ms;
    uint32_t results_max; /* <= RECORD_RESULTS_MAX */
    bool has_records; /* There may be ROW_RECORD rows; who has looked and found none may
                       * clear it. */
#ifdef KV_MUTANTS
    uint32_t bug; /* As node_config.bug. */
#endif
    struct arena scratch; /* For the length of one call. */
    struct history
        *history; /* [borrowed] Gets what entries change; NULL: nobody does. */
};

/* What came of an entry. */
struct apply_result {
    /* 0, or why nothing was changed: KV_EBADREQUEST (not a number), KV_EOVERFLOW,
     * KV_ENOTFOUND (the group does not own the slot), KV_EEXIST (another map or slots
     * were there first; a write: its number or key was used for another request),
     * KV_ESESSION, KV_EBUSY and KV_EAGAIN (apply_record_begin()), KV_ETOOLARGE (a txn
     * reads or replaces too much), KV_ENOMEM (no room in `keep`); of a lock
     * KV_EBADREQUEST (another number of permits), KV_EBUSY (too many wait);
     * KV_EFENCED. */
    int code;
    uint64_t rev; /* Of the entry; not swapped: of the current value, 0 without. */
    bool deleted; /* del */
    bool swapped; /* cas; with if_rev: the revision was that one. */
    /* cas, not swapped: there is a current value; getset: there was one before. */
    bool has_value;
    struct kv_bytes value; /* That one, in the caller's arena. */
    int64_t number;        /* incr; delrange: keys that were deleted. */
    bool more;             /* delrange: the group has more keys of the range, */
    struct kv_bytes next;  /* from here on; in the caller's arena. */
    bool succeeded;        /* txn: all compares were true. */
    bool results_lost;     /* Carried out, but `keep` had no room for what it read. */
    const struct rpc_txn_result *results; /* txn, in the caller's arena. */
    uint32_t results_count;
    bool is_map; /* The map changed: `map` is it, a view into the entry. */
    struct kv_bytes map;
    bool is_repeated;    /* It was applied before; this is what came of it then. */
    uint64_t entry_rev;  /* Of this entry, whatever `rev` says. */
    uint64_t time_ms;    /* Writes with a session or an idempotency key: the entry's. */
    bool is_change;      /* Keys changed: the newest batch of the history; or, */
    bool is_change_lost; /* without memory for it, the history begins anew. */
    bool is_slots;       /* The slots of the group are known from here on. */
    bool is_lock;        /* A lock's command: */
    struct kv_bytes lock_name; /* a view into the entry, */
    struct lock_change lock;   /* views that live until the next call. */
};

/* ---- life ---- */

/* Reads what is kept decoded. 0; KV_EDAMAGED, KV_ENOMEM, KV_EFORMAT (a row of ours that
 * this version cannot read). */
KV_MUST_CHECK int apply_open(struct apply *a, struct state *st);
/* Another state was installed underneath. Errors as apply_open. */
KV_MUST_CHECK int apply_reload(struct apply *a);
void apply_close(struct apply *a);

/* ---- work ---- */

/* Applies the entry behind state_meta_get()->applied.
 *
 * keep  [in] takes a cas' current value; NULL when nobody waits for the result.
 * Returns 0 with *out filled. An error means that this replica cannot go on:
 * KV_EFORMAT (unknown kind or version), KV_ECORRUPT (a payload that no encoder
 * writes), KV_EDAMAGED (a row of the state), KV_ENOMEM, KV_EIO. The state is then as
 * before the entry. */
KV_MUST_CHECK int apply_entry(struct apply *a, const struct raft_entry *entry,
                              struct arena *keep, struct apply_result *out);

/* apply_lock.c: carries out LOCK_*. 0, or what apply_entry() returns for rows. */
KV_MUST_CHECK int apply_lock(struct apply *a, const struct command *c,
                             struct apply_result *out);

/* apply_fence.c: counts the marks of a state. 0, KV_EDAMAGED, KV_ENOMEM. */
KV_MUST_CHECK int apply_fence_load(struct apply *a);
/* Lets an access with this token pass, and notes the token where it is the highest; or
 * sets out->code to KV_EFENCED. Errors as apply_entry() for rows. */
KV_MUST_CHECK int apply_fence(struct apply *a, const struct command_fence *fence,
                              struct apply_result *out);

/* apply_ttl.c: reads from the state which key ends first: has_leases, due_ms. 0,
 * KV_EDAMAGED, KV_ENOMEM, KV_EFORMAT. */
KV_MUST_CHECK int apply_ttl_load(struct apply *a, struct arena *arena);

/* ---- looking in ---- */

/* When a key ends, in replicated time. */
struct ttl {
    uint64_t until_ms; /* 0: it does not. */
    uint64_t rev;      /* Of its row. */
    uint16_t ordinal;  /* Among the keys of that revision. */
};

/* Errors as apply_ttl_load(). */
KV_MUST_CHECK int apply_ttl_find(struct apply *a, struct kv_bytes key,
                                 struct arena *arena, struct ttl *out);

enum fence_verdict {
    FENCE_PASSES,
    FENCE_STALE, /* A higher token was seen, or it is not held any more. */
    FENCE_MARK,  /* It is higher than all that was seen: to be noted by an entry. */
};

/* What an access with this token would meet. 0, KV_EDAMAGED, KV_ENOMEM, KV_EFORMAT. */
KV_MUST_CHECK int apply_fence_look(struct apply *a, const struct command_fence *fence,
                                   enum fence_verdict *out);

/* Reads a lock; one without claims where there is none. Views into `arena`. 0,
 * KV_EDAMAGED, KV_ENOMEM, KV_EFORMAT. */
KV_MUST_CHECK int apply_lock_read(struct state *st, struct kv_bytes name,
                                  struct arena *arena, struct lock *out);

/* May a key of this slot be read or written here? */
static inline bool apply_owns(const struct apply *a, uint16_t slot)
{
    return a->has_slots && command_slot_get(a->slots, slot);
}

/* Revision of a position in this group's log. */
static inline uint64_t apply_rev(const struct apply *a, raft_index index)
{
    return index + a->rev_offset;
}

/* Reads the encoded cluster map out of the meta group's state.
 * *out_map is valid while `arena` lives and until the next change of the state.
 * 0; KV_ENOTFOUND (none yet), KV_EDAMAGED, KV_ENOMEM. */
KV_MUST_CHECK int apply_map_read(struct state *st, struct arena *arena,
                                 struct kv_bytes *out_map, uint64_t *out_epoch);

#endif
