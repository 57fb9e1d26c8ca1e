/* tests/sim/memory.c - whose allocation it is, and whether it fails. */
#include "tests/sim/memory.h"

#include <stddef.h>

/* malloc() takes no context, so this has to be found without one. */
static uint32_t *memory_countdown;

void memory_enter(uint32_t *countdown)
{
    memory_countdown = countdown;
}

void memory_leave(void)
{
    memory_countdown = NULL;
}

uint32_t *memory_pause(void)
{
    uint32_t *was = memory_countdown;

    memory_countdown = NULL;
    return was;
}

void memory_back(uint32_t **was)
{
    memory_countdown = *was;
}

bool memory_fails(void)
{
    if (memory_countdown == NULL || *memory_countdown == 0) {
        return false;
    }
    (*memory_countdown)--;
    return *memory_countdown == 0;
}
