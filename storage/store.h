/* storage/store.h - what the server may ask of the disk, as one table of verbs.
 *
 * Two implementations: LMDB (storage/lmdb_*.c, two environments: log and state) and
 * memory (tests/lib/mem_store.c, for tests and the simulator). All verbs block; the
 * store has no threads. It never logs and never retries: it returns a code. After
 * any failure other than KV_ENOSPACE of a verb that writes, the caller must end the
 * process: nothing in memory may be believed (fsyncgate).
 *
 * Threads, by verb:
 *   log_write                          one thread at a time: the disk thread
 *   checkpoint, install, mark_clear,
 *   snapshot_make, chunk_store, sweep,
 *   scrub                              one thread at a time: the checkpoint thread
 *   everything else                    the loop thread
 * Verbs of different threads may run at the same time.
 *
 * Needs:    raft/types.h, raft/base.
 * Used by:  server/, storage/state.c, tests/, tests/sim.
 * Source:   design.md section 5 (see storage/README.md for layout and decisions).
 */
#ifndef KV_STORAGE_STORE_H
#define KV_STORAGE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "raft/base/arena.h"
#include "raft/base/bytes.h"
#include "raft/base/check.h"
#include "raft/types.h"

typedef uint32_t group_id; /* 0 is the meta group; data groups are 1..n. */

/* ---- the log ---- */

/* One group's share of a commit. What is zero is left as it is. Order within one
 * write: reset, compaction, truncation and entries, hard state, commit hint. */
struct log_write {
    group_id group;
    bool store_hard;
    raft_term term;
    raft_id vote;
    /* [borrowed for the call] Encoded entries (raft/record.h) first_index,
     * first_index + 1, ...; they replace everything from first_index on. */
    const struct kv_bytes *records;
    uint32_t records_count;
    raft_index first_index;
    raft_index commit_hint; /* Never above the last entry after this write. */
    /* Entries up to it are deleted (perhaps later, in bounded steps; they are gone for
     * readers at once). Not above the checkpoint. */
    const struct raft_base *compact_to;
    /* A snapshot was installed: base becomes this. Entries behind it stay if the entry
     * at it had the same term, else all are dropped. A damaged entry at it is known by
     * what follows; when that is damaged too, all stay. Hard state stays. Nothing
     * happens when the base is there or further already. */
    const struct raft_base *reset_to;
    /* May use the reserve: votes, no-ops, deletes, compaction. A call gets it only when
     * all its writes are urgent. */
    bool urgent;
};

/* What the log holds of a group; all zero for a group that was never written. */
struct log_state {
    raft_term term;
    raft_id vote;
    struct raft_base base;
    struct raft_meta last; /* Of the last entry, or of base where the log is empty. */
    raft_index commit_hint;
};

/* ---- the state ---- */

enum row_kind {
    ROW_KV = 1,      /* A client's key. */
    ROW_META = 2,    /* The meta group's own rows: the cluster map. */
    ROW_OWNED = 3,   /* Slot ownership of the group, and its revision offset. */
    ROW_RECORD = 16, /* Results of writes with a session or an idempotency key. */
    ROW_LOCK = 17,   /* A lock: who holds it and who waits (server/lock.h). */
    ROW_FENCE = 18,  /* Tokens of other groups' locks that were seen here. */
    ROW_LEASE = 19,  /* A key with a time to live: when it ends (server/apply_ttl.c). */
    ROW_DUE = 20,    /* The same by the time. */
};

/* One row of a group's state. Rows are ordered by (kind, key bytes). */
struct row {
    uint8_t kind;        /* enum row_kind */
    bool deleted;        /* Tombstone in a delta; never stored. */
    uint16_t slot;       /* Slot of the key (rpc/slot.h); 0 for kinds without slots. */
    uint64_t rev;        /* Revision of the last change. */
    struct kv_bytes key; /* 1..480 bytes. */
    struct kv_bytes value; /* Up to 1 MiB. */
};

/* What a group's state on disk is worth. */
struct state_meta {
    struct raft_base applied;  /* The last entry that it contains. */
    struct raft_config config; /* In force at applied. */
    raft_index config_index;
    uint64_t state_hash; /* Sum over rows of row_hash(), mod 2^64. */
    uint64_t rows_count;
    uint64_t rows_bytes; /* Keys and values. */
    bool mark;           /* A snapshot was switched in, and the log not yet reset. */
};

/* Hash of one row for the state hash: XXH3 over kind, slot, rev, key and value. */
uint64_t row_hash(const struct row *r);

/* ---- identity ---- */

enum {
    STORE_NODES_MAX = 64
};

struct store_identity {
    uint64_t cluster;     /* 0 until the cluster is formed. */
    uint32_t node;        /* 0: the directory is new. */
    uint64_t incarnation; /* Random, drawn once for a directory. */
    uint64_t boots;       /* How often this directory was opened. */
    uint32_t peers_count;
    struct store_peer {
        uint32_t node;
        uint64_t incarnation; /* First one seen of that node; another is refused. */
    } peers[STORE_NODES_MAX];
};

/* ---- space and scrubbing ---- */

struct store_stats {
    uint64_t log_bytes, log_bytes_max;     /* In use, and quota. */
    uint64_t state_bytes, state_bytes_max; /* In use, and quota. */
    uint64_t commits;                      /* Log commits since open. */
    uint64_t checkpoints;
    bool log_full;   /* Only urgent writes get through. */
    bool state_full; /* Ordinary writes get NO_SPACE at the group. */
};

/* A finding of the scrubber. */
struct store_damage {
    group_id group;
    bool in_state;    /* A row of the state; else an entry of the log. */
    raft_index index; /* Of the entry. */
};

/* What one call of the scrubber did. */
struct store_scrub {
    size_t bytes;   /* Of records that it read. */
    uint64_t round; /* Passes over everything, so far. */
    bool found;     /* `damage` is filled. */
    struct store_damage damage;
};

/* ---- the table ---- */

struct store;

struct store_ops {
    /* Reads and writes the node's identity (log environment, own durable commit).
     * A new directory has node and cluster 0, no peers, and what open drew: incarnation
     * and boots 1. save keeps those two as loaded. 0, KV_EDAMAGED, KV_ENOSPACE,
     * KV_EIO. */
    int (*identity_load)(struct store *s, struct store_identity *out);
    int (*identity_save)(struct store *s, const struct store_identity *id);

    /* Commits all writes in one fully synced transaction: all or nothing.
     * 0; KV_ENOSPACE: nothing was changed, the same call may be made again later;
     * anything else is fatal. */
    int (*log_write)(struct store *s, const struct log_write *writes, size_t count);
    /* What the log holds of `group`. 0, KV_EDAMAGED (its hard state), KV_EIO. */
    int (*log_load)(struct store *s, group_id group, struct log_state *out);
    /* Position, type, time, hash of one entry. 0, KV_ECOMPACTED, KV_ENOTFOUND,
     * KV_EDAMAGED. Sees every finished log_write. */
    int (*log_meta)(struct store *s, group_id group, raft_index index,
                    struct raft_meta *out);
    /* Copies encoded records [begin, end) into `arena` until bytes_max is passed (at
     * least one). *out_records: array of *out_count. Errors as log_meta. */
    int (*log_read)(struct store *s, group_id group, raft_index begin, raft_index end,
                    size_t bytes_max, struct arena *arena,
                    struct kv_bytes **out_records, uint32_t *out_count);
    /* Replaces the damaged record at `index` by this one: its index, term and hash
     * must be those that the damaged entry's successor or the log's meta demands; a
     * disk-thread verb with a commit of its own. 0, KV_EINVAL, KV_ENOSPACE, fatal. */
    int (*log_repair)(struct store *s, group_id group, raft_index index,
                      struct kv_bytes record);

    /* What the state holds of `group`; all zero when it was never written. */
    int (*state_load)(struct store *s, group_id group, struct state_meta *out);
    /* Copies one row into `arena`. 0, KV_ENOTFOUND, KV_EDAMAGED, KV_ENOMEM. */
    int (*state_get)(struct store *s, group_id group, uint8_t kind, struct kv_bytes key,
                     struct arena *arena, struct row *out);
    /* Copies up to rows_max rows of `kind` with begin <= key < end (end empty: no
     * end) into `arena`, ascending. *out_rows: array of *out_count. */
    int (*state_range)(struct store *s, group_id group, uint8_t kind,
                       struct kv_bytes begin, struct kv_bytes end, uint32_t rows_max,
                       struct arena *arena, struct row **out_rows, uint32_t *out_count);
    /* Writes a frozen delta (ascending, tombstones included) and its meta in one fully
     * synced transaction. 0, KV_ENOSPACE (nothing changed), fatal. */
    int (*checkpoint)(struct store *s, group_id group, const struct state_meta *meta,
                      const struct row *rows, size_t count);

    /* Writes the group's state, as of its last checkpoint, into a snapshot file and
     * describes it. An older file of the group is deleted when no longer needed; one of
     * the same content is replaced, as its bytes may have been damaged since.
     * 0, KV_ENOTFOUND (nothing checkpointed yet), KV_ENOSPACE, KV_EDAMAGED, KV_EIO. */
    int (*snapshot_make)(struct store *s, group_id group, struct raft_snapshot *out);
    /* Copies bytes [offset, offset + len) of the snapshot file made last into `out`.
     * 0, KV_ENOTFOUND (another id by now), KV_EIO. Loop thread; from the page cache. */
    int (*snapshot_read)(struct store *s, group_id group, uint64_t id, uint64_t offset,
                         uint32_t len, uint8_t *out);
    /* Stores a received chunk durably at its offset; offset 0 starts a new file and
     * drops that of another id. 0, KV_EINVAL (not the next offset), KV_ENOSPACE,
     * KV_EIO. */
    int (*chunk_store)(struct store *s, group_id group,
                       const struct raft_snapshot *snap,
                       const struct raft_chunk *chunk);
    /* How many bytes of snapshot `id` are stored, for resuming; 0 for another id. */
    int (*chunk_offset)(struct store *s, group_id group, uint64_t id, uint64_t *out);
    /* Verifies the received file (checksums, counts, state hash), writes its rows
     * under a new generation in bounded transactions, and switches it in with
     * `mark` set. The caller then resets the log (log_write.reset_to) and calls
     * mark_clear. 0, KV_EDAMAGED (bad file: it is deleted), KV_ENOSPACE, fatal. */
    int (*install)(struct store *s, group_id group, const struct raft_snapshot *snap);
    int (*mark_clear)(struct store *s, group_id group);
    /* Deletes rows of old generations and compacted entries in one bounded step.
     * *out_more: call again. */
    int (*sweep)(struct store *s, bool *out_more);

    /* Verifies about `bytes` bytes of records from where it stopped, but never more
     * than one pass. 0 also where it found damage. */
    int (*scrub)(struct store *s, size_t bytes, struct store_scrub *out);

    void (*stats)(struct store *s, struct store_stats *out);
    /* Closes files and frees the object. No verb may be running. */
    void (*close)(struct store *s);
};

/* First member of every implementation. */
struct store {
    const struct store_ops *ops;
#ifdef KV_MUTANTS
    uint32_t bug; /* Planted: enum kv_bug in raft/base/bug.h; 0: none. */
#endif
};

/* ---- opening the LMDB store ---- */

struct store_options {
    const char *dir;        /* Made if missing (one level). */
    uint64_t map_bytes;     /* 0: 48 GiB, 1 GiB under sanitizers. Per environment. */
    uint64_t quota_bytes;   /* Of each environment; 0: 7/8 of the map. */
    uint64_t reserve_bytes; /* Ballast for urgent writes; 0: 64 MiB. */
    uint32_t groups_max;
    uint64_t incarnation_seed; /* Random bits for a new directory's incarnation. */
#ifdef KV_MUTANTS
    uint32_t bug; /* Of the store; struct store. */
#endif
};

/* Opens or makes a data directory, takes its lock, counts the boot, and finishes what a
 * crash interrupted.
 * error_text/error_bytes  one clear line when it fails. When it succeeds: "" or a
 *                         warning (overlayfs, network or memory file system).
 * Returns 0; KV_EEXIST (another process holds the directory), KV_ELOST (state and log
 * contradict each other: a part was lost or replaced), KV_EDAMAGED, KV_EFORMAT,
 * KV_ENOSPACE, KV_EIO. */
KV_MUST_CHECK int store_open(const struct store_options *o, struct store **out,
                             char *error_text, size_t error_bytes);

#endif
