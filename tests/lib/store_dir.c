/* tests/lib/store_dir.c - temporary folders. */
#include "tests/lib/store_dir.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
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
        .reserve_bytes = 1024 * 1024,
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
