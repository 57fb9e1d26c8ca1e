/* raft/base/check.c - what a failed assertion does. */
#include "raft/base/check.h"

#include <stdio.h>
#include <stdlib.h>

void kv_assert_failed(const char *expr, const char *file, int line)
{
    fprintf(stderr, "ASSERTION failed: %s (%s:%d)\n", expr, file, line);
    fflush(stderr);
    abort();
}
