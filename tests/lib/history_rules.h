/* tests/lib/history_rules.h - does a history.edn obey the rules that outsiders rely on?
 *
 * Integers where integers belong, indices dense from 0, time that does not go back,
 * invocations and completions in pairs per process, silence after an info, nemesis rows
 * that are infos.
 *
 * Needs:    jepsen/format/edn.h.
 * Used by:  tests/jepsen.
 * Threads:  any.
 */
#ifndef KV_TESTS_LIB_HISTORY_RULES_H
#define KV_TESTS_LIB_HISTORY_RULES_H

#include "raft/base/bytes.h"

/* NULL where it does; else what is wrong. *out_rows: rows read. */
const char *history_rules(struct kv_bytes text, size_t *out_rows);

#endif
