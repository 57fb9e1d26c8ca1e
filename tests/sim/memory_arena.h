/* tests/sim/memory_arena.h - the house's arena.c, with allocations that can fail.
 *
 * Included by a main.c: its definitions take the place of those in libbase.a.
 *
 * Needs:    raft/base/arena.c, tests/sim/memory.h.
 * Used by:  tests/sim/main.c.
 * Threads:  one.
 */
#ifndef KV_TESTS_SIM_MEMORY_ARENA_H
#define KV_TESTS_SIM_MEMORY_ARENA_H

#include <stdlib.h>

#include "tests/sim/memory.h"

static void *memory_malloc(size_t bytes)
{
    return memory_fails() ? NULL : malloc(bytes);
}

static void *memory_calloc(size_t count, size_t bytes)
{
    return memory_fails() ? NULL : calloc(count, bytes);
}

static void *memory_realloc(void *old, size_t bytes)
{
    return memory_fails() ? NULL : realloc(old, bytes);
}

#define malloc  memory_malloc
#define calloc  memory_calloc
#define realloc memory_realloc
#include "raft/base/arena.c"
#undef malloc
#undef calloc
#undef realloc

#endif
