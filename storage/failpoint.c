/* storage/failpoint.c - the armed points of a test build; empty in others. */
#include "storage/failpoint.h"

#ifdef KV_FAILPOINTS

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "raft/base/bytes.h"
#include "raft/base/check.h"
#include "raft/base/err.h"

enum {
    FAILPOINT_EXIT = 99, /* As a test's script can tell it from other ends. */
    FAILPOINT_TEXT_BYTES = 128,
};

enum action {
    ACTION_OFF,
    ACTION_PANIC,
    ACTION_SLEEP,
    ACTION_ERROR,
    ACTION_NOSPACE,
    ACTION_TORN,
};

struct point {
    _Atomic uint64_t hits; /* Since the start. */
    _Atomic uint64_t left; /* Armed: hits until it acts; 1 is the next. */
    _Atomic uint32_t sleep_ms;
    _Atomic int action;     /* enum action; written last. */
    atomic_bool and_always; /* It stays armed. */
};

/* Test builds alone have this. */
static struct point points[FAILPOINTS_COUNT];

static const struct {
    const char *name, *kinds, *where, *leaves;
    int can;
} table[FAILPOINTS_COUNT] = {
#define FAILPOINT_ROW(name, kinds, where, leaves) \
    {#name, #kinds, where, leaves, FAILPOINT_##kinds},
    FAILPOINT_MAP(FAILPOINT_ROW)
#undef FAILPOINT_ROW
};

/* ---- being reached ---- */

/* Ends the process as kill -9 does: nothing is flushed, nobody is told. */
static _Noreturn void die(enum failpoint p, const char *how)
{
    char line[FAILPOINT_TEXT_BYTES];
    int len =
        snprintf(line, sizeof line, "kvd: failpoint %s: %s\n", table[p].name, how);
    ssize_t wrote = write(STDERR_FILENO, line, (size_t)len);

    (void)wrote;
    _exit(FAILPOINT_EXIT);
}

static void pause_ms(uint32_t ms)
{
    struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};

    while (nanosleep(&t, &t) != 0 && errno == EINTR) {
    }
}

/* Counts the hit; what to do now. */
static enum action reach(enum failpoint p)
{
    struct point *at = &points[p];
    enum action action = (enum action)atomic_load(&at->action);

    atomic_fetch_add_explicit(&at->hits, 1, memory_order_relaxed);
    if (action == ACTION_OFF) {
        return ACTION_OFF;
    }
    if (atomic_load(&at->left) > 1) {
        atomic_fetch_sub(&at->left, 1);
        return ACTION_OFF;
    }
    if (!atomic_load(&at->and_always)) {
        atomic_store(&at->action, ACTION_OFF);
    }
    return action;
}

int failpoint_hit(enum failpoint p)
{
    switch (reach(p)) {
    case ACTION_PANIC:
    case ACTION_TORN:
        die(p, "panic");
    case ACTION_SLEEP:
        pause_ms(atomic_load(&points[p].sleep_ms));
        return 0;
    case ACTION_ERROR:
        return KV_EIO;
    case ACTION_NOSPACE:
        return KV_ENOSPACE;
    case ACTION_OFF:
        break;
    }
    return 0;
}

void failpoint_hit_write(enum failpoint p, int fd, const void *data, size_t len,
                         off_t offset)
{
    enum action action = reach(p);
    ssize_t wrote;

    if (action == ACTION_TORN) {
        wrote = pwrite(fd, data, len / 2, offset);
        (void)wrote;
        die(p, "torn");
    }
    if (action == ACTION_PANIC) {
        die(p, "panic");
    }
    if (action == ACTION_SLEEP) {
        pause_ms(atomic_load(&points[p].sleep_ms));
    }
}

/* ---- arming ---- */

static bool point_find(struct kv_bytes name, enum failpoint *out)
{
    for (int i = 0; i < FAILPOINTS_COUNT; i++) {
        if (kv_bytes_equal(kv_bytes_str(table[i].name), name)) {
            *out = (enum failpoint)i;
            return true;
        }
    }
    return false;
}

/* Reads ACTION[@N[..]] and arms the point with it. */
static bool point_arm(enum failpoint p, const char *text)
{
    static const struct {
        const char *word;
        enum action action;
        int needs; /* What the point must be able to do. */
    } words[] = {
        {"off", ACTION_OFF, FAILPOINT_PLAIN},
        {"panic", ACTION_PANIC, FAILPOINT_PLAIN},
        {"sleep:", ACTION_SLEEP, FAILPOINT_PLAIN},
        {"error", ACTION_ERROR, FAILPOINT_ERROR},
        {"nospace", ACTION_NOSPACE, FAILPOINT_ERROR},
        {"torn", ACTION_TORN, FAILPOINT_WRITE},
    };
    struct point *at = &points[p];
    unsigned long nth = 1;
    unsigned long ms = 0;
    size_t w = 0;
    char *end;

    while (w < KV_ARRAY_COUNT(words) &&
           strncmp(text, words[w].word, strlen(words[w].word)) != 0) {
        w++;
    }
    if (w == KV_ARRAY_COUNT(words) ||
        (words[w].needs != FAILPOINT_PLAIN && words[w].needs != table[p].can)) {
        return false;
    }
    text += strlen(words[w].word);
    if (words[w].action == ACTION_SLEEP) {
        ms = strtoul(text, &end, 10);
        text = end;
    }
    if (*text == '@') {
        nth = strtoul(text + 1, &end, 10);
        text = end;
    }
    atomic_store(&at->action, ACTION_OFF);
    atomic_store(&at->left, nth);
    atomic_store(&at->sleep_ms, (uint32_t)KV_MIN(ms, 60000UL));
    atomic_store(&at->and_always, strcmp(text, "..") == 0);
    if (nth < 1 || (*text != '\0' && strcmp(text, "..") != 0)) {
        return false;
    }
    atomic_store(&at->action, (int)words[w].action);
    return true;
}

static bool one_arm(struct kv_bytes text)
{
    const uint8_t *sign = text.len == 0 ? NULL : memchr(text.data, '=', text.len);
    char action[FAILPOINT_TEXT_BYTES];
    enum failpoint p;
    size_t name;
    size_t len;

    if (sign == NULL) {
        return false;
    }
    name = (size_t)(sign - text.data);
    len = text.len - name - 1;
    if (len >= sizeof action || !point_find(kv_bytes(text.data, name), &p)) {
        return false;
    }
    memcpy(action, sign + 1, len);
    action[len] = '\0';
    return point_arm(p, action);
}

bool failpoint_arm(const char *text)
{
    for (;;) {
        size_t len = strcspn(text, ",");

        if (!one_arm(kv_bytes(text, len))) {
            return false;
        }
        if (text[len] == '\0') {
            return true;
        }
        text += len + 1;
    }
}

bool failpoint_about(size_t at, struct failpoint_about *out)
{
    if (at >= FAILPOINTS_COUNT) {
        return false;
    }
    *out = (struct failpoint_about){table[at].name, table[at].kinds, table[at].where,
                                    table[at].leaves, atomic_load(&points[at].hits)};
    return true;
}

#endif
