/* server/log.c - the line format, and counting lines by shape. */
#include "server/log.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "raft/base/hash.h"

static const char *const level_texts[] = {
    [LOG_ERROR] = "ERROR",
    [LOG_WARN] = "WARN",
    [LOG_INFO] = "INFO",
    [LOG_DEBUG] = "DEBUG",
};

void log_sink_init(struct log_sink *s, int fd, enum log_level level)
{
    *s = (struct log_sink){.fd = fd, .level = level};
}

bool log_level_parse(const char *text, enum log_level *out)
{
    static const char *const names[] = {
        [LOG_ERROR] = "error",
        [LOG_WARN] = "warn",
        [LOG_INFO] = "info",
        [LOG_DEBUG] = "debug",
    };

    for (size_t i = 0; i < KV_ARRAY_COUNT(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

size_t log_line_format(char *out, size_t size, enum log_level level, uint64_t wall_ms,
                       const char *text)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    size_t len;
    int head;

    KV_ASSERT(size >= 64);
    KV_ASSERT(level <= LOG_DEBUG);
    if (gmtime_r(&seconds, &tm) == NULL) {
        memset(&tm, 0, sizeof tm);
    }
    head = snprintf(out, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03uZ %-5s ",
                    tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
                    tm.tm_sec, (unsigned)(wall_ms % 1000), level_texts[level]);
    len = KV_MIN((size_t)KV_MAX(head, 0), size - 2);
    for (const char *p = text; *p != '\0' && len < size - 2; p++) {
        unsigned char byte = (unsigned char)*p;

        out[len++] = byte < 0x20 || byte == 0x7f ? '?' : *p;
    }
    out[len++] = '\n';
    out[len] = '\0';
    return len;
}

/* Hash of a line without its digits: what tells one call site from another. */
static uint64_t shape_hash(const char *text)
{
    char shape[160];
    size_t len = 0;
    uint64_t hash;

    for (const char *p = text; *p != '\0' && len < sizeof shape; p++) {
        if (*p < '0' || *p > '9') {
            shape[len++] = *p;
        }
    }
    hash = kv_hash64(shape, len);
    return hash == 0 ? 1 : hash;
}

static void line_out(struct log_sink *s, enum log_level level, uint64_t wall_ms,
                     const char *text)
{
    char line[LOG_LINE_BYTES_MAX];
    size_t len = log_line_format(line, sizeof line, level, wall_ms, text);
    ssize_t wrote = write(s->fd, line, len);

    (void)wrote;
}

/* Ends a shape's window and says what was dropped in it. */
static void shape_end(struct log_sink *s, struct log_shape *shape, uint64_t wall_ms)
{
    char text[LOG_SHAPE_TEXT + 96];

    if (shape->dropped > 0) {
        snprintf(text, sizeof text, "%s... and %u more like it in %u s", shape->text,
                 (unsigned)shape->dropped, (unsigned)(LOG_WINDOW_MS / 1000));
        line_out(s, shape->level, wall_ms, text);
    }
    *shape = (struct log_shape){.hash = 0};
}

static bool shape_is_over(const struct log_shape *shape, uint64_t wall_ms)
{
    /* A clock that was set back ends the window as well. */
    return wall_ms < shape->begin_ms || wall_ms - shape->begin_ms >= LOG_WINDOW_MS;
}

void log_sink_write(struct log_sink *s, enum log_level level, uint64_t wall_ms,
                    const char *text)
{
    uint64_t hash;
    struct log_shape *shape;

    if (level > s->level) {
        return;
    }
    if (level == LOG_DEBUG) {
        line_out(s, level, wall_ms, text);
        return;
    }
    hash = shape_hash(text);
    shape = &s->shapes[hash % LOG_SHAPES];
    if (shape->hash != hash || shape_is_over(shape, wall_ms)) {
        shape_end(s, shape, wall_ms);
        *shape = (struct log_shape){.hash = hash, .begin_ms = wall_ms};
    }
    shape->level = level;
    if (shape->lines < LOG_WINDOW_LINES) {
        shape->lines++;
        line_out(s, level, wall_ms, text);
        return;
    }
    if (shape->dropped < UINT32_MAX) {
        shape->dropped++;
    }
    snprintf(shape->text, sizeof shape->text, "%s", text);
}

void log_sink_flush(struct log_sink *s, uint64_t wall_ms, bool all)
{
    for (size_t i = 0; i < LOG_SHAPES; i++) {
        struct log_shape *shape = &s->shapes[i];

        if (shape->hash != 0 && (all || shape_is_over(shape, wall_ms))) {
            shape_end(s, shape, wall_ms);
        }
    }
}
