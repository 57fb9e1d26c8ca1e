/* jepsen/env/preload.c - where kvd and the disk layer are, and how they are joined. */
#include "jepsen/env/preload.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raft/base/check.h"

enum {
    PRELOAD_UP = 4, /* Folders looked into. */
    PRELOAD_NAME_BYTES = 32,
};

bool preload_beside(const char *name, char *out, size_t room)
{
    ssize_t len = readlink("/proc/self/exe", out, room - 1);

    if (len <= 0) {
        return false;
    }
    out[len] = '\0';
    for (int up = 0; up < PRELOAD_UP; up++) {
        char *slash = strrchr(out, '/');

        if (slash == NULL || (size_t)(slash - out) + strlen(name) + 2 > room) {
            return false;
        }
        memcpy(slash + 1, name, strlen(name) + 1);
        if (access(out, R_OK) == 0) {
            return true;
        }
        *slash = '\0';
    }
    return false;
}

/* Finds the name of a sanitizer's runtime, "libasan.so.8", in a program's bytes. */
static void runtime_find(const char *map, size_t bytes, char out[PRELOAD_NAME_BYTES])
{
    static const char *const names[] = {"libasan.so.", "libtsan.so."};

    out[0] = '\0';
    for (size_t i = 0; i < KV_ARRAY_COUNT(names); i++) {
        size_t len = strlen(names[i]);
        const char *at = map;

        while ((at = memmem(at, (size_t)(map + bytes - at), names[i], len)) != NULL) {
            size_t left = (size_t)(map + bytes - at);

            /* Without its number it is this table, when the program is ours. */
            if (left > len && at[len] >= '0' && at[len] <= '9') {
                snprintf(out, PRELOAD_NAME_BYTES, "%.*s", (int)strnlen(at, left), at);
                return;
            }
            at += len;
        }
    }
}

bool preload_text(const char *program, const char *layer, char *out, size_t room)
{
    char runtime[PRELOAD_NAME_BYTES];
    int fd = open(program, O_RDONLY | O_CLOEXEC);
    void *map = MAP_FAILED;
    struct stat st;
    int len;

    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0) {
        map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    if (map == MAP_FAILED) {
        return false;
    }
    runtime_find(map, (size_t)st.st_size, runtime);
    (void)munmap(map, (size_t)st.st_size);
    len = snprintf(out, room, "%s%s%s", runtime, runtime[0] != '\0' ? ":" : "", layer);
    return len > 0 && (size_t)len < room;
}
