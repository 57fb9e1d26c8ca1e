/* jepsen/checker/watch.h - did watches tell each change once, in order, and whole?
 *
 * Values of the rows, all of them lists. Keys are numbers; WATCH_TAG_KEYS of them share
 * a {tag}, so a group.
 *
 *   write  invoke  id, keys put (a mask), keys deleted (a mask)    of the row's tag
 *          ok      the same, with only those deleted that there were
 *   watch  invoke  begin, end, only, prev, resumes        of the row's watcher
 *          ok      how it ended, then notes:
 *                  events, positions, then so many of each:
 *                  event     key, type, id (-1: none), rev, id before (-1: none,
 *                            -2: not asked for)
 *                  position  group, rev: everything up to it was told
 *
 * The first note of a watch has no events: where it began. An operation that resumes
 * goes on where the last one of its watcher ended; one that does not begins anew.
 *
 * Needs:    jepsen/verdict.h, jepsen/history.h.
 * Used by:  jepsen/judge.c; jepsen/workload/watch.c writes such rows.
 * Threads:  any; the history is only read.
 */
#ifndef KV_JEPSEN_CHECKER_WATCH_H
#define KV_JEPSEN_CHECKER_WATCH_H

#include "jepsen/history.h"
#include "jepsen/verdict.h"

enum {
    WATCH_TAG_KEYS = 4,      /* Keys of one {tag}. */
    WATCH_KEYS_MAX = 1024,   /* Keys of a history. */
    WATCH_GROUPS_MAX = 4096, /* Groups of a history. */
    WATCH_WATCHERS_MAX = 1024,
    WATCH_WRITE_INTS = 3,
    WATCH_SCOPE_INTS = 5,
    WATCH_EVENT_INTS = 5,
    WATCH_POS_INTS = 2,
    WATCH_NONE = -1,      /* No value. */
    WATCH_NOT_ASKED = -2, /* The value before, where it was not asked for. */
};

enum watch_type {
    WATCH_PUT,
    WATCH_DEL,
    WATCH_OTHER, /* expire, delrange: nobody does that here. */
};

enum watch_only {
    WATCH_ALL,
    WATCH_PUTS,
    WATCH_DELS,
};

enum watch_end {
    WATCH_TIME_OVER, /* The next operation may go on from its position. */
    WATCH_COMPACTED, /* The node does not keep the position. */
};

/* Judges `write` and `watch`: all operations of a watcher from one that begins anew to
 * the next such one are one watch. Anomalies:
 *
 *   not-watched     an event of a key, or of a type, that was not asked for
 *   not-written     of what nobody wrote, deleted, or had asked for yet
 *   failed          of a write that certainly failed
 *   wrong-revision  at another revision than the write's answer, or another watch, says
 *   repeated        again, out-of-order: behind a later one, or behind a position that
 *                   promised that everything was told
 *   wrong-prev      the value before is not the one that this watch told last
 *   position-back   a position that is less than an earlier one
 *   position-short  a position that is less than an event told before it
 *   missed          a write that was acknowledged, or that some watch told, lies
 *                   between a watch's begin and its position, and was not told
 *
 * Facts: events, notes, marks (positions without an event), watches, resumes, gaps
 * (positions that a node did not keep), writes. Unknown where no events or no resumes
 * were seen, and where keys changed their group. *out is initialised here. */
void watch_check(const struct history *h, struct verdict *out);

/* ---- looking into values ---- */

struct watch_scope {
    uint32_t begin, end; /* Keys. */
    enum watch_only only;
    bool prev;
    bool resumes;
};
/* Reads the value of an invocation of `watch`; false: it is none. */
bool watch_scope_get(const struct history *h, const struct history_op *op,
                     struct watch_scope *out);

struct watch_note {
    const int64_t *events; /* [events_count][WATCH_EVENT_INTS] */
    uint32_t events_count;
    const int64_t *ats; /* [ats_count][WATCH_POS_INTS] */
    uint32_t ats_count;
};
/* Reads the next note of a completion of `watch`; *io_at is 0 before the first. False
 * behind the last one, or where the value is not well formed: then *io_at is not the
 * value's count. */
bool watch_note_next(const struct history *h, const struct history_op *op,
                     uint32_t *io_at, struct watch_note *out);

#endif
