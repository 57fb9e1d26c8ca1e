/* jepsen/format/read.h - reads history.edn, ours, Jepsen's or elle-cli's.
 *
 * Every row is checked as it is taken in: indices ascend, invocations and completions
 * pair, values have the shape that the workload's operations have, integers are
 * integers. The first row that is otherwise ends the reading, with its line.
 *
 * :time may be missing (rows are then one nanosecond apart), so may :index; :node,
 * :group, :rev, :at-rev, :term, :error are taken where they are there. Values may be
 * independent tuples [key value] or bare.
 *
 * Needs:    jepsen/history.h, jepsen/format/edn.h.
 * Used by:  jepsen/main.c (kvjepsen check), tests.
 * Threads:  any.
 */
#ifndef KV_JEPSEN_FORMAT_READ_H
#define KV_JEPSEN_FORMAT_READ_H

#include "jepsen/history.h"

/* Why a history was not read. */
struct read_error {
    uint64_t line;  /* From 1; 0: none. */
    char text[160]; /* What is wrong there. */
};

enum {
    READ_FORM_BYTES_MAX = 1 << 30, /* Memory for one row while it is read. */
};

/* Reads all of `input` into `h`, which is initialised here and closed by the caller in
 * any case. Returns 0; KV_EFORMAT with *out_error; KV_ENOMEM. After an error `h` holds
 * the rows before. */
KV_MUST_CHECK int read_history(struct kv_bytes input, enum history_workload workload,
                               struct history *h, struct read_error *out_error);

/* The same from a file. Also KV_EIO: it cannot be opened or read (text says which). */
KV_MUST_CHECK int read_history_file(const char *path, enum history_workload workload,
                                    struct history *h, struct read_error *out_error);

#endif
