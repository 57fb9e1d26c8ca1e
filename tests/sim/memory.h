/* tests/sim/memory.h - memory that runs out, for nodes only.
 *
 * While a node's code runs, its allocations are counted, and one of them fails when
 * the node's countdown says so. What the simulator itself needs is never refused: it
 * pauses the count where a node calls it. kvsim has an arena.c of its own that asks
 * memory_fails() (tests/sim/main.c); in other programs nothing ever fails.
 *
 * Needs:    libc.
 * Used by:  tests/sim/.
 * Threads:  one.
 */
#ifndef KV_TESTS_SIM_MEMORY_H
#define KV_TESTS_SIM_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

/* A node's code begins and ends. countdown: allocations until one fails; 0: none. */
void memory_enter(uint32_t *countdown);
void memory_leave(void);

/* For the rest of this block it is the simulator that allocates. */
#define MEMORY_OURS() \
    uint32_t *memory_was __attribute__((cleanup(memory_back))) = memory_pause()
uint32_t *memory_pause(void);
void memory_back(uint32_t **was);

/* Must this allocation fail? */
bool memory_fails(void);

#endif
