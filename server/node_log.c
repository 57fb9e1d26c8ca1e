/* server/node_log.c - lines for operators, and the end of a broken node. */
#include <stdarg.h>
#include <stdio.h>

#include "server/node.h"

enum {
    NODE_LINE_BYTES = 512
};

void node_log(struct node *n, enum log_level level, const char *format, ...)
{
    char line[NODE_LINE_BYTES];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    n->env->ops->log(n->env, level, line);
}

void node_halt(struct node *n, int code, const char *format, ...)
{
    char why[NODE_LINE_BYTES];
    va_list args;

    if (n->phase == NODE_HALTED) {
        return;
    }
    n->phase = NODE_HALTED;
    va_start(args, format);
    vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    n->env->ops->halt(n->env, code, why);
}
