/* raft/update.h - the update of one step, while it is being made.
 *
 * The only place that puts something into an outgoing array, so that one rule holds
 * for all messages: nothing is said in a term that is not durable here. The
 * exceptions are pre-votes, which ask about a term that does not exist yet.
 *
 * Needs:    raft/raft.h.
 * Used by:  raft/ only.
 * Threads:  the object's owner.
 */
#ifndef KV_RAFT_UPDATE_H
#define KV_RAFT_UPDATE_H

#include "raft/raft.h"

/* Empties the arrays for a new step. */
void raft_update_begin(struct raft *r);

/* Adds a message from us in our term. Returns it for the caller to fill in (valid
 * until the step ends), or NULL when the array is full: the next step goes on. */
struct raft_msg *raft_update_message(struct raft *r, enum raft_msg_type type,
                                     raft_id to);

/* Entries that this step may still append. */
uint32_t raft_update_entry_room(const struct raft *r);

/* Appends an entry to the log and to what has to be stored; puts a configuration
 * in force. There must be room; a CONFIG payload must have been checked. */
void raft_update_entry(struct raft *r, const struct raft_entry *entry);

/* Answers a read. */
void raft_update_read(struct raft *r, uint64_t tag, raft_index index, int error);

/* Remembers the first error that sending or answering met: the step reports it at
 * its end. KV_ECOMPACTED is none: RAFT_EV_COMPACTED is on its way. */
void raft_update_defer(struct raft *r, int error);

/* Writes down what the step decided; after an error only the standing facts, and
 * what has to be stored waits for the next step. */
void raft_update_fill(struct raft *r, bool failed, struct raft_update *out);

#endif
