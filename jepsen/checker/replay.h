/* jepsen/checker/replay.h - do all replies agree with the order that kvd itself names?
 *
 * Replies carry a position: group and revision. Sorted by it, they are replayed through
 * one register per key, in O(n log n): a read must return the last write at or below
 * its position, with that write's revision; a cas must have found what it expected; one
 * that did not match must not have found it. And positions must agree with real time:
 * what is invoked after a reply arrived stands behind it, writes strictly. Faster than
 * a search and stricter, since nothing is left to guess but for unknown writes: those
 * count as done where a read saw their revision, each once.
 *
 * Real time is judged for all operations with a position, values for registers (read,
 * write, cas).
 *
 * Needs:    jepsen/verdict.h, jepsen/history.h.
 * Used by:  jepsen/checker/judge.c.
 * Threads:  any; the history is only read.
 */
#ifndef KV_JEPSEN_CHECKER_REPLAY_H
#define KV_JEPSEN_CHECKER_REPLAY_H

#include "jepsen/history.h"
#include "jepsen/verdict.h"

/* Judges all replies of a history that have a position. Facts: replies, writes, reads,
 * found (unknown writes that a read saw). Anomalies: real-time, duplicate-revision,
 * future-read, stale-read, wrong-value, phantom-write (nobody wrote it, or an unknown
 * write took effect twice), cas-mismatch, false-mismatch. Unknown where no reply has a
 * position. *out is initialised here. */
void replay_check(const struct history *h, struct verdict *out);

/* The same without real time, for reads whose positions are not ordered by it: a quorum
 * read answers at a position behind every write of its key, which may lie before writes
 * of other keys that were acknowledged earlier. */
void replay_check_values(const struct history *h, struct verdict *out);

#endif
