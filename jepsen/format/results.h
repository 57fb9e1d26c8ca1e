/* jepsen/format/results.h - writes what the checkers said: results.edn, results.json.
 *
 * One map: :valid? of all together (true, false, :unknown), what the run was, and a map
 * per checker with :valid?, its reason, its numbers and its anomalies with their rows.
 *
 * Needs:    jepsen/verdict.h, jepsen/format/emit.h.
 * Used by:  jepsen/run.c, jepsen/main.c.
 * Threads:  any.
 * Source:   Jepsen's results.edn.
 */
#ifndef KV_JEPSEN_FORMAT_RESULTS_H
#define KV_JEPSEN_FORMAT_RESULTS_H

#include "jepsen/format/emit.h"
#include "jepsen/verdict.h"

/* Something to know of the run: "nemesis", "partition". */
struct results_note {
    const char *name; /* Letters, digits and dashes. */
    const char *text;
};

struct results {
    const struct results_note *notes; /* [notes_count] */
    size_t notes_count;
    const struct verdict *verdicts; /* [verdicts_count] */
    size_t verdicts_count;
};

/* The worst of them; unknown where there are none. */
enum verdict_valid results_valid(const struct results *r);

/* Writes results.edn or results.json. Returns 0 or KV_EIO. */
KV_MUST_CHECK int results_write(FILE *out, const struct results *r,
                                enum emit_style style);

#endif
