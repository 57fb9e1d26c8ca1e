/* jepsen/layer/layer.h - what the disk layer in a kvd and the harness share.
 *
 * The layer is a library that is loaded before kvd (LD_PRELOAD). It stands between
 * kvd and the file system below one folder, and between kvd and the wall clock. It
 * keeps an undo log of everything written and not synced, and obeys a page of memory
 * that the harness maps too. Both lie in a folder of their own:
 *
 *   control   struct layer_control, mapped by both sides
 *   undo      records, each a struct layer_record and `bytes` bytes behind it
 *   kept.N    hard links to files that were removed or replaced, N the record's number
 *
 * The environment of kvd says where: KVLAYER_DIR, KVLAYER_STATE (absolute paths).
 *
 * Needs:    libc only; the layer links nothing of ours.
 * Used by:  jepsen/layer/layer.c, jepsen/env/power.c.
 * Threads:  atomics; the undo log has one writer process at a time.
 */
#ifndef KV_JEPSEN_LAYER_LAYER_H
#define KV_JEPSEN_LAYER_LAYER_H

#include <stdatomic.h>
#include <stdint.h>

#define LAYER_MAGIC 0x314c564bu /* "KVL1" */

enum {
    LAYER_SECTOR_BYTES = 512, /* What a disk writes whole or not at all. */
    LAYER_PAGE_BYTES = 4096,  /* What the page cache writes back at a time. */
    LAYER_NAME_BYTES = 256,
};

/* The first group is the harness's, the second the layer's. */
struct layer_control {
    _Atomic uint32_t sync_delay_us;
    _Atomic uint32_t write_delay_us;
    _Atomic uint32_t full;
    _Atomic uint32_t failing;
    _Atomic int64_t free_bytes; /* While full: what was freed and not yet used. */
    _Atomic int64_t clock_offset_ms;
    _Atomic uint32_t clock_strobe_ms;
    _Atomic uint32_t loaded; /* Processes that the layer was loaded into. */
    _Atomic uint64_t writes;
    _Atomic uint64_t syncs;
    _Atomic uint64_t refused;
    _Atomic uint64_t failed;
    _Atomic uint32_t sync_us_max; /* The harness sets it back to 0. */
    _Atomic uint32_t broken;      /* The undo log is not whole: no power failure. */
};

enum layer_kind {
    LAYER_WRITE = 1,  /* Before a write: what stood there. */
    LAYER_CUT,        /* Before a file gets shorter: what will be gone. */
    LAYER_GROW,       /* Before a file gets longer without data. */
    LAYER_WRITTEN,    /* After a synchronous write: `offset` to `until` hold. */
    LAYER_SYNCED,     /* After a sync: records of this file up to `until` hold. */
    LAYER_CREATED,    /* Before: a name comes into being. */
    LAYER_REMOVED,    /* Before: a name goes; the file is kept as kept.number. */
    LAYER_RENAMED,    /* Before: `name` becomes `other`; a file of that name is kept. */
    LAYER_DIR_SYNCED, /* After: names in this folder up to `until` hold. */
};

/* All integers as the machine has them: the log never leaves it. */
struct layer_record {
    uint32_t magic;
    uint32_t kind;
    uint64_t number;   /* 1, 2, 3 ... over the life of the log. */
    uint64_t file;     /* Inode; of names: of their folder. */
    uint64_t offset;   /* WRITE, CUT. */
    uint64_t length;   /* WRITE: of the write; the bytes kept may be fewer. */
    uint64_t old_size; /* WRITE, CUT, GROW: the file's size before. */
    uint64_t until;
    uint64_t bytes; /* Behind this record: old content, or "name\0other\0". */
};

#endif
