/* jepsen/format/rows.h - writes histories as Jepsen does: history.edn, history.txt.
 *
 * history.edn has one map per line, as Clojure prints it, so that elle-cli, Knossos and
 * Jepsen itself read it. Values of registers, and of several sets or counters, are
 * Jepsen's independent tuples [key value]; in the files of a single key they are bare.
 *
 * Needs:    jepsen/history.h, jepsen/checker/keys.h.
 * Used by:  jepsen/run.c, tests.
 * Threads:  any; the history is only read.
 * Source:   jepsen.store/write-history!, jepsen.util/prn-op, jepsen.independent.
 */
#ifndef KV_JEPSEN_FORMAT_ROWS_H
#define KV_JEPSEN_FORMAT_ROWS_H

#include <stdio.h>

#include "jepsen/history.h"

enum rows_format {
    ROWS_EDN, /* history.edn */
    ROWS_TXT, /* history.txt: process, type, f, value and error, between tabs. */
};

/* Writes the whole history. Returns 0 or KV_EIO. */
KV_MUST_CHECK int rows_write(FILE *out, const struct history *h,
                             enum history_workload workload, enum rows_format format);

/* Writes independent/<key>/history.edn and history.txt below `folder` (there already)
 * for each key, with the nemesis' rows. :index counts from 0 in each file, :row is the
 * index in the whole. Returns 0, KV_ENOMEM or KV_EIO (a folder or file cannot be made
 * or written). */
KV_MUST_CHECK int rows_write_independent(const char *folder, const struct history *h,
                                         enum history_workload workload);

/* Are values written as [key value]? */
bool rows_are_keyed(const struct history *h, enum history_workload workload);

#endif
