/* jepsen/judge.h - the verdict of a run: its workload's checkers, and what a run itself
 * has to show before anybody may believe it.
 *
 * A run is unknown, not valid, when its rate before the first fault was too low, when a
 * kind of operation never succeeded, or when a nemesis had no effect. It is invalid
 * when a checker says so, when a node ended on its own, does not come back, or does not
 * end when asked to, when logs tell of an assertion or a sanitizer, and when states
 * differ at the end.
 *
 * Needs:    jepsen/run.h, jepsen/checker.
 * Used by:  jepsen/main.c.
 * Threads:  any, one at a time.
 */
#ifndef KV_JEPSEN_JUDGE_H
#define KV_JEPSEN_JUDGE_H

#include "jepsen/run.h"

/* Adds all verdicts to the run and sums them up in r->valid. */
void judge_run(struct run *r);

/* Adds the verdicts of a workload's checkers only: for a stored history. */
void judge_history(struct run *r);

/* Looks for lines in a log that must not be there. Fills v; `node` names it. */
void judge_log(const char *path, uint32_t node, struct verdict *v);

#endif
