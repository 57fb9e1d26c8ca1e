/* jepsen/checker/append.h - are transactions over lists strictly serializable?
 *
 * Each element is appended once, so whoever reads a list reads its history. The longest
 * read of a key is the order of its versions, and the others must be beginnings of it;
 * from that follow edges between transactions, and a cycle of edges is a proof. Besides
 * cycles it looks for what no order needs: reads of failed, unfinished or invented
 * appends, elements twice, transactions that contradict themselves, lost updates.
 *
 * An acknowledged append that no read saw stands behind the longest read, since lists
 * only grow: that catches writes that were lost (Elle leaves them out).
 *
 * Needs:    jepsen/verdict.h, jepsen/checker/cycles.h.
 * Used by:  jepsen/judge.c.
 * Threads:  any; the history is only read.
 * Source:   Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies", VLDB 2020.
 */
#ifndef KV_JEPSEN_CHECKER_APPEND_H
#define KV_JEPSEN_CHECKER_APPEND_H

#include "jepsen/history.h"
#include "jepsen/verdict.h"

/* Judges the txn operations of a history. Facts: txns, keys, appends, edges,
 * components (with a cycle). Anomalies: garbage-read, G1a, G1b, duplicate-elements,
 * incompatible-order, internal, future-read, dirty-update, lost-update, and those of
 * cycles.h. Unknown: an element is appended twice by the clients, or no transaction
 * succeeded. *out is initialised here. Cost: linear in the size of the history. */
void append_check(const struct history *h, struct verdict *out);

#endif
