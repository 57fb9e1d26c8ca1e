/* tests/lib/raft_script.h - one command of a scenario file in, what happened out.
 *
 * The commands are listed in tests/scenarios/raft/README.md. Each one moves a
 * cluster of tests/lib/raft_cluster.h and writes what happened as lines of text;
 * indented lines are what a replica did, the others what reached it.
 *
 * Needs:    tests/lib/raft_cluster.h.
 * Used by:  tests/raft/test_scenario.c.
 * Threads:  one.
 */
#ifndef KV_TESTS_LIB_RAFT_SCRIPT_H
#define KV_TESTS_LIB_RAFT_SCRIPT_H

#include <stddef.h>

struct raft_script;

struct raft_script *raft_script_new(void);
void raft_script_free(struct raft_script *s);

/* Carries out one line and appends what happened to the output. */
void raft_script_run(struct raft_script *s, const char *line);

/* What the commands since the last call wrote, NUL-terminated; "ok\n" when nothing.
 * Valid until the next run. */
const char *raft_script_take(struct raft_script *s);

#endif
