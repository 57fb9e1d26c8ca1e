/* storage/lmdb_snapfile.c - names and files of snapshots; the folder at open. */
#include "storage/lmdb_snapfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raft/base/err.h"

int snap_errno(void)
{
    return errno == ENOSPC || errno == EDQUOT ? KV_ENOSPACE : KV_EIO;
}

const char *snap_name(group_id group, uint64_t id, const char *kind,
                      char room[SNAP_NAME_BYTES])
{
    (void)snprintf(room, SNAP_NAME_BYTES, "%" PRIu32 "-%016" PRIx64 ".%s", group, id,
                   kind);
    return room;
}

void snap_delete(struct lmdb_store *ls, group_id group, uint64_t id, const char *kind)
{
    char room[SNAP_NAME_BYTES];

    (void)unlinkat(ls->snap_fd, snap_name(group, id, kind, room), 0);
}

int snap_write_all(int fd, const uint8_t *data, size_t len, uint64_t offset)
{
    while (len > 0) {
        ssize_t done = pwrite(fd, data, len, (off_t)offset);

        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return done < 0 ? snap_errno() : KV_EIO;
        }
        data += done;
        len -= (size_t)done;
        offset += (uint64_t)done;
    }
    return 0;
}

ssize_t snap_read_some(int fd, uint8_t *out, size_t len, uint64_t offset)
{
    size_t got = 0;

    while (got < len) {
        ssize_t done = pread(fd, out + got, len - got, (off_t)(offset + got));

        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done < 0) {
            return -1;
        }
        if (done == 0) {
            break;
        }
        got += (size_t)done;
    }
    return (ssize_t)got;
}

struct snapshot_slot *snap_slot(struct lmdb_store *ls, group_id group)
{
    if (ls->files[group] == NULL) {
        ls->files[group] = kv_mem_zalloc(sizeof **ls->files);
    }
    return ls->files[group];
}

/* ---- at open ---- */

/* Reads "<group>-<id>.<kind>". */
static bool name_split(const char *name, group_id *out_group, uint64_t *out_id,
                       const char **out_kind)
{
    char *end;
    unsigned long group;

    errno = 0;
    group = strtoul(name, &end, 10);
    if (errno != 0 || end == name || *end != '-' || group >= UINT32_MAX) {
        return false;
    }
    name = end + 1;
    *out_id = strtoull(name, &end, 16);
    if (errno != 0 || end != name + 16 || *end != '.') {
        return false;
    }
    *out_group = (group_id)group;
    *out_kind = end + 1;
    return true;
}

/* Goes through the folder's files: keeps what was being received, deletes the rest. */
static int files_tidy(struct lmdb_store *ls)
{
    int fd = openat(ls->dir_fd, "snap", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    if (dir == NULL) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return KV_EIO;
    }
    while ((entry = readdir(dir)) != NULL) {
        group_id group;
        uint64_t id;
        const char *kind;

        if (!name_split(entry->d_name, &group, &id, &kind)) {
            continue; /* ".", "..", and what is not ours. */
        }
        if (strcmp(kind, "recv") != 0 || !snap_received_keep(ls, group, id)) {
            (void)unlinkat(ls->snap_fd, entry->d_name, 0);
        }
    }
    (void)closedir(dir);
    return fsync(ls->snap_fd) == 0 ? 0 : KV_EIO;
}

int lmdb_snapshot_open(struct lmdb_store *ls)
{
    if (mkdirat(ls->dir_fd, "snap", 0700) == 0) {
        if (fsync(ls->dir_fd) != 0) {
            return snap_errno();
        }
    } else if (errno != EEXIST) {
        return snap_errno();
    }
    ls->snap_fd = openat(ls->dir_fd, "snap", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return ls->snap_fd < 0 ? KV_EIO : files_tidy(ls);
}

void lmdb_snapshot_close(struct lmdb_store *ls)
{
    for (uint32_t i = 0; ls->files != NULL && i < ls->groups_max; i++) {
        kv_mem_free(ls->files[i]);
    }
    kv_mem_free(ls->files);
    ls->files = NULL;
    if (ls->snap_fd >= 0) {
        (void)close(ls->snap_fd);
        ls->snap_fd = -1;
    }
}
