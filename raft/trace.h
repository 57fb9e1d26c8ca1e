/* raft/trace.h - messages, roles and configurations as one line of text.
 *
 * The one place that turns the core's values into text: tests compare these lines,
 * the simulator and the server's ring of recent events print them. No printf, no
 * memory: the caller brings a buffer, and what does not fit is cut off.
 *
 * Needs:    raft/types.h.
 * Used by:  tests/lib, tests/sim, server/.
 * Threads:  any.
 */
#ifndef KV_RAFT_TRACE_H
#define KV_RAFT_TRACE_H

#include "raft/types.h"

enum {
    RAFT_TRACE_BYTES = 512
}; /* Enough for any line below. */

/* A static name: "follower", "pre_candidate", "candidate", "leader". */
const char *raft_trace_role(enum raft_role role);

/* A static name as in RAFT_MSG_MAP, "none" for anything else. */
const char *raft_trace_type(enum raft_msg_type type);

/* Writes "1 > 2 append term=3 prev=7/2 entries=2 commit=7 round=9" to `out`, with a
 * NUL. Fields that are 0 or do not belong to the type are left out.
 * Returns the length, at most cap - 1; cap >= 1. */
size_t raft_trace_msg(const struct raft_msg *m, char *out, size_t cap);

/* Writes "voters=1,2,3 w=2 old=1,2 learners=4"; as raft_trace_msg(). */
size_t raft_trace_config(const struct raft_config *c, char *out, size_t cap);

#endif
