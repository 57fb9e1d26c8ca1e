/* tests/lib/raft_disk.h - a disk for one replica: jobs in order, lost when it crashes.
 *
 * Writes queue up as jobs and become durable one by one when the test says so. A
 * crash forgets the jobs that are still queued. Entries and payloads live in an
 * arena that the whole cluster shares: nothing is freed before the test ends.
 *
 * Needs:    raft/raft.h, raft/base/arena.h.
 * Used by:  tests/lib/raft_cluster.c, tests/raft.
 * Threads:  one.
 */
#ifndef KV_TESTS_LIB_RAFT_DISK_H
#define KV_TESTS_LIB_RAFT_DISK_H

#include "raft/base/arena.h"
#include "raft/raft.h"

enum {
    RAFT_DISK_JOBS_MAX = 1024
};

/* Entries (base.pos.index, last], entry i in items[i - 1]. */
struct raft_disk_log {
    struct raft_base base;
    raft_index last;
    raft_index cap; /* Slots of items. */
    struct raft_entry *items;
};

enum raft_disk_job_kind {
    RAFT_DISK_STORE,
    RAFT_DISK_CHUNK,
    RAFT_DISK_INSTALL
};

struct raft_disk_job {
    enum raft_disk_job_kind kind;
    /* STORE: always carries the hard state of its moment. */
    raft_term term;
    raft_id vote;
    raft_index commit;
    struct raft_entry *entries;
    uint32_t entries_count;
    /* CHUNK: all bytes before `offset` are durable afterwards. */
    uint64_t snapshot_id;
    uint64_t offset;
    /* INSTALL */
    struct raft_snapshot snapshot;
};

struct raft_disk {
    struct arena *arena;
    /* Durable. */
    raft_term term;
    raft_id vote;
    raft_index commit_hint;
    raft_index applied; /* The checkpointed state holds up to here. */
    struct raft_config config;
    raft_index config_index;
    struct raft_disk_log log;
    raft_index damaged;     /* This entry cannot be read; 0: all can. */
    raft_index damaged_end; /* Nor can those up to here; 0: only that one. */
    raft_index missing;     /* This one is gone, against all rules; 0: none. */
    /* Queued, oldest first. */
    uint32_t jobs_count;
    struct raft_disk_job jobs[RAFT_DISK_JOBS_MAX];
};

/* ---- logs ---- */

/* Replaces everything from entries[0] on; the entries are copied, payloads are not. */
void raft_disk_log_put(struct raft_disk_log *log, struct arena *arena,
                       const struct raft_entry *entries, uint32_t count);

/* Copies what `from` holds. */
void raft_disk_log_copy(struct raft_disk_log *log, struct arena *arena,
                        const struct raft_disk_log *from);

/* NULL when there is no entry `index`. */
const struct raft_entry *raft_disk_log_get(const struct raft_disk_log *log,
                                           raft_index index);

/* True when the log, or what it compacted, has `hash` at `index`. */
bool raft_disk_log_has(const struct raft_disk_log *log, raft_index index,
                       uint64_t hash);

/* Moves the base up to an entry of the log. */
void raft_disk_log_compact(struct raft_disk_log *log, raft_index index);

/* A snapshot took the place of the log, except for what follows a matching entry. */
void raft_disk_log_install(struct raft_disk_log *log, const struct raft_base *base);

/* A copy of `entries` with their payloads. */
struct raft_entry *raft_disk_entries_copy(struct arena *arena,
                                          const struct raft_entry *entries,
                                          uint32_t count);

/* ---- the disk ---- */

void raft_disk_init(struct raft_disk *d, struct arena *arena);

/* Queues a job; its entries must be copies. */
void raft_disk_queue(struct raft_disk *d, const struct raft_disk_job *job);

/* Makes the oldest job durable and takes it out. */
struct raft_disk_job raft_disk_finish(struct raft_disk *d);

/* A reader over the durable log. */
struct raft_log_reader raft_disk_reader(struct raft_disk *d);

#endif
