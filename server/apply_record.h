/* server/apply_record.h - exactly once: what a group remembers of the writes it did.
 *
 * A write with a session or an idempotency key leaves its result in a row of the same
 * state, by the same entry. When it comes again, that result is the answer and nothing
 * is applied. One row per (slot, session) and per (slot, idempotency key), kind
 * ROW_RECORD:
 *
 *   key    u16be slot, 's', u64be session      or  u16be slot, 'i', idempotency key
 *          ('r' instead of 's': range deletes, in one of the group's slots)
 *   value  u8 version (1), u64 until ms, u64 floor, u16 count, then per result:
 *          u64 seq, u64 hash of the request, u8 code, u8 flags, u64 rev, i64 number
 *
 * all behind the key little-endian. `until` is the replicated time up to which the row
 * is kept: that of the last write, or its stamp if that is later, plus the retention.
 * A write whose stamp plus the retention has passed, and whose result is not there, is
 * refused: so whatever may have been forgotten is refused, and what is not refused
 * cannot have been forgotten. `floor` is the highest ack: what is below it has ended at
 * the client, is not kept, and is refused.
 *
 * Every outcome is kept, also those that changed nothing: a cas that did not swap must
 * not swap when a copy of it comes late.
 *
 * Needs:    server/command.h, storage/state.h.
 * Used by:  server/apply.c, group_record.c.
 * Threads:  loop thread.
 * Source:   diss. §6.3; design.md section 7, "Forgotten or new".
 */
#ifndef KV_SERVER_APPLY_RECORD_H
#define KV_SERVER_APPLY_RECORD_H

#include "raft/base/arena.h"
#include "raft/base/check.h"
#include "server/command.h"
#include "storage/state.h"

struct apply;
struct apply_result;

enum {
    RECORD_RESULTS_MAX = 128,    /* Of one session in one slot, not yet acknowledged. */
    RECORD_SWEEP_ROWS_MAX = 256, /* Looked at by one RECORD_SWEEP. */
    RECORD_VALUE_BYTES_MAX = 8 * 1024,
};

/* What the row of a command says; made by apply_record_begin(). */
struct apply_record {
    bool is_used;        /* The command has a session or an idempotency key. */
    bool is_answered;    /* It is not to be carried out: the result says why. */
    struct kv_bytes key; /* Of the row, in the scratch arena. */
    uint64_t until_ms;   /* That the row must be kept to, for this command. */
    uint64_t floor;      /* What it has become with this command. */
    uint64_t hash;       /* Of the request. */
    struct kv_bytes old; /* The row's value; empty: there is none. */
};

/* Looks up what is known of the command, before it is carried out.
 *
 * time_ms  of the entry.
 * keep     [in] takes the current value for a repeated cas; may be NULL.
 * Returns 0: with is_answered *io is complete (a repeated result; KV_ESESSION;
 * KV_EEXIST: the number or key was used for another request; KV_EBUSY: too many results
 * wait to be acknowledged; KV_EAGAIN: the stamp lies ahead of time). KV_EDAMAGED,
 * KV_ENOMEM, KV_EFORMAT, KV_EIO: this replica cannot go on. */
KV_MUST_CHECK int apply_record_begin(struct apply *a, const struct command *c,
                                     uint64_t time_ms, struct arena *keep,
                                     struct apply_record *out, struct apply_result *io);

/* Keeps the result, after it was carried out. Errors as above, without KV_EFORMAT. */
KV_MUST_CHECK int apply_record_end(struct apply *a, const struct command *c,
                                   const struct apply_record *rec,
                                   const struct apply_result *result);

/* Deletes the rows of RECORD_SWEEP's stretch that need not be kept at `time_ms`. */
KV_MUST_CHECK int apply_record_sweep(struct apply *a, const struct command *c,
                                     uint64_t time_ms);

/* Until when a row is kept. False: no row that this version can read. */
KV_MUST_CHECK bool apply_record_until(struct kv_bytes value, uint64_t *out_until_ms);

#endif
