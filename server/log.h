/* server/log.h - log lines for operators: time, level, text, and limits on repeats.
 *
 * One event, one line, written with one write(2):
 *   2026-11-23T09:41:07.123Z INFO  group=3 node=1 term=7 became=leader votes=2/3
 * Lines of the same shape (equal but for their digits) share a budget per window;
 * what exceeds it is counted and reported when the window ends, so that no peer and
 * no client can fill a disk. Bytes that could move a terminal's cursor are replaced.
 *
 * Needs:    server/env.h (levels).
 * Used by:  server/uv_env.c, main.c.
 * Threads:  one owner at a time (the loop thread).
 */
#ifndef KV_SERVER_LOG_H
#define KV_SERVER_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "raft/base/check.h"
#include "server/env.h"

enum {
    LOG_LINE_BYTES_MAX = 1024, /* Longer lines are cut; the newline included. */
    LOG_SHAPES = 64,           /* Shapes that are counted at the same time. */
    LOG_SHAPE_TEXT = 48,       /* Bytes of a shape that its report repeats. */
    LOG_WINDOW_MS = 10000,
    LOG_WINDOW_LINES = 40, /* Lines of one shape per window; DEBUG has no limit. */
};

/* What was written of one shape in its window. */
struct log_shape {
    uint64_t hash;     /* 0: unused. */
    uint64_t begin_ms; /* When the window began, on the wall clock. */
    uint32_t lines;    /* Written in it. */
    uint32_t dropped;  /* Not written in it. */
    enum log_level level;
    char text[LOG_SHAPE_TEXT]; /* Beginning of its latest line, NUL-terminated. */
};

struct log_sink {
    int fd;
    enum log_level level; /* Lines above it are dropped. */
    struct log_shape shapes[LOG_SHAPES];
};

/* Prepares a sink that writes to `fd` [borrowed] what is at most `level`. */
void log_sink_init(struct log_sink *s, int fd, enum log_level level);

/* Writes one line; `text` is without time, level and newline.
 * wall_ms  milliseconds since 1970. Errors of write(2) are ignored: there is no
 *          better place to report them to. */
void log_sink_write(struct log_sink *s, enum log_level level, uint64_t wall_ms,
                    const char *text);

/* Reports what was dropped in windows that ended by now; to be called each second or
 * so. `all`: also of windows that have not ended, at the end of a process. */
void log_sink_flush(struct log_sink *s, uint64_t wall_ms, bool all);

/* "error", "warn", "info", "debug" to a level; false for anything else. */
KV_MUST_CHECK bool log_level_parse(const char *text, enum log_level *out);

/* Renders `text` as the line that log_sink_write() writes, newline included.
 * size  of `out`, at least 64. Returns the number of bytes, NUL not counted. */
size_t log_line_format(char *out, size_t size, enum log_level level, uint64_t wall_ms,
                       const char *text);

#endif
