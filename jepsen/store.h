/* jepsen/store.h - where runs are kept: STORE/NAME/TIME/.
 *
 *   history.edn, history.txt        what clients and nemesis did
 *   independent/KEY/history.edn     the same per key, values without the key
 *   results.json, results.edn       verdicts, with their rows
 *   run.json                        numbers of the run and its faults, for tables
 *   report.html                     to look at
 *   nI/                             log and data of each node
 *
 * STORE/latest and STORE/NAME/latest point to the newest run, STORE/index.html lists
 * all of them.
 *
 * Needs:    jepsen/run.h, jepsen/format, jansson.
 * Used by:  jepsen/main.c.
 * Threads:  main thread; it does file I/O.
 */
#ifndef KV_JEPSEN_STORE_H
#define KV_JEPSEN_STORE_H

#include "jepsen/run.h"

/* Makes the run's folder (r->dir, an absolute path) and the links to it. 0, or KV_EIO
 * with the reason in r->error. */
KV_MUST_CHECK int store_begin(struct run *r);

/* Writes history and results. 0, or KV_EIO with the reason in r->error. */
KV_MUST_CHECK int store_write(struct run *r);

/* Deletes the nodes' data unless it is worth keeping: the run is not valid, or
 * --keep-data says so. */
void store_trim(const struct run *r);

/* Removes a folder with all that is in it; stays on its file system. */
void store_remove(const char *path);

#endif
