/* jepsen/env/preload.h - where kvd and the disk layer are, and how they are joined.
 *
 * Needs:    raft/base/check.h.
 * Used by:  jepsen/env/cluster.c, tests/jepsen.
 * Threads:  any.
 */
#ifndef KV_JEPSEN_ENV_PRELOAD_H
#define KV_JEPSEN_ENV_PRELOAD_H

#include <stdbool.h>
#include <stddef.h>

/* Finds a file beside the running program, or up to three folders above, where tests
 * have theirs. False when there is none. */
bool preload_beside(const char *name, char *out, size_t room);

/* LD_PRELOAD that loads `layer` into `program`: behind the runtime of the sanitizer
 * that the program was built with, which insists on being first. False when the
 * program cannot be read or the text has no room. */
bool preload_text(const char *program, const char *layer, char *out, size_t room);

#endif
