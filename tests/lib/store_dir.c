/* tests/lib/store_dir.c - temporary folders. */
#include "tests/lib/store_dir.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void store_dir_make(char path[STORE_DIR_BYTES])
{
    const char *base = getenv("TMPDIR");

    snprintf(path, STORE_DIR_BYTES, "%s/kvd-test-XXXXXX",
             base != NULL && base[0] != 0 ? base : "/tmp");
    if (mkdtemp(path) == NULL) {
        perror(path);
        exit(1);
    }
}

void store_dir_make_fast(char path[STORE_DIR_BYTES])
{
    snprintf(path, STORE_DIR_BYTES, "/dev/shm/kvd-test-XXXXXX");
    if (getenv("TMPDIR") != NULL || mkdtemp(path) == NULL) {
        store_dir_make(path);
    }
}

static void file_copy(const char *from, const char *to)
{
    static uint8_t buffer[65536];
    FILE *in = fopen(from, "rb");
    FILE *out = fopen(to, "wb");
    struct stat st;
    size_t len;
    bool done = in != NULL && out != NULL && fstat(fileno(in), &st) == 0;

    while (done && (len = fread(buffer, 1, sizeof buffer, in)) > 0) {
        /* Holes stay holes. */
        if (buffer[0] == 0 && memcmp(buffer, buffer + 1, len - 1) == 0) {
            done = fseek(out, (long)len, SEEK_CUR) == 0;
        } else {
            done = fwrite(buffer, 1, len, out) == len;
        }
    }
    done = done && fflush(out) == 0 && ftruncate(fileno(out), st.st_size) == 0;
    if (!done || fclose(in) != 0 || fclose(out) != 0) {
        perror(to);
        exit(1);
    }
}

void store_dir_copy(const char *from, const char *to)
{
    DIR *dir = opendir(from);
    struct dirent *entry;

    if (dir == NULL) {
        perror(from);
        exit(1);
    }
    (void)mkdir(to, 0700);
    while ((entry = readdir(dir)) != NULL) {
        char a[2 * STORE_DIR_BYTES];
        char b[2 * STORE_DIR_BYTES];
        struct stat st;

        if (entry->d_name[0] == '.' || strstr(entry->d_name, "lock.mdb") != NULL) {
            continue;
        }
        snprintf(a, sizeof a, "%.250s/%.250s", from, entry->d_name);
        snprintf(b, sizeof b, "%.250s/%.250s", to, entry->d_name);
        if (stat(a, &st) == 0 && S_ISDIR(st.st_mode)) {
            store_dir_copy(a, b);
        } else {
            file_copy(a, b);
        }
    }
    (void)closedir(dir);
}

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    (void)remove(path);
    return 0;
}

void store_dir_remove(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int store_dir_open(const char *path, struct store **out)
{
    struct store_options o = {
        .dir = path,
        .map_bytes = 64 * 1024 * 1024,
        .reserve_bytes = 64 * 1024,
        .groups_max = 8,
        .incarnation_seed = 12345,
    };
    char text[400];
    int rc = store_open(&o, out, text, sizeof text);

    if (rc != 0 && getenv("KV_TEST_VERBOSE") != NULL) {
        fprintf(stderr, "store_open: %s\n", text);
    }
    return rc;
}
