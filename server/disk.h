/* server/disk.h - work for the two disk threads, and the group commit.
 *
 * A job is filled in on the loop thread, run by a thread (or by the simulator, at a
 * time of its choosing) and comes back through node_disk_done(). The log lane
 * carries one job at a time with everything that all groups queued during the last
 * one: that is the group commit. The state lane carries checkpoints, snapshots,
 * sweeping and scrubbing, one job at a time.
 *
 * Needs:    storage/store.h.
 * Used by:  server/group.c, node.c, uv_disk.c, tests/sim.
 * Threads:  disk_job_run: the job's lane; everything else: loop thread.
 */
#ifndef KV_SERVER_DISK_H
#define KV_SERVER_DISK_H

#include "raft/base/arena.h"
#include "raft/raft.h"
#include "storage/state.h"
#include "storage/store.h"

struct env;
struct node;

enum disk_lane {
    DISK_LANE_LOG,
    DISK_LANE_STATE,
    DISK_LANES_COUNT
};

/* X(name, lane, text) */
#define DISK_KIND_MAP(X)                                    \
    X(DISK_LOG, DISK_LANE_LOG, "log")                       \
    X(DISK_REPAIR, DISK_LANE_LOG, "repair")                 \
    X(DISK_IDENTITY, DISK_LANE_LOG, "identity")             \
    X(DISK_CHECKPOINT, DISK_LANE_STATE, "checkpoint")       \
    X(DISK_SNAPSHOT_MAKE, DISK_LANE_STATE, "snapshot_make") \
    X(DISK_CHUNK_STORE, DISK_LANE_STATE, "chunk_store")     \
    X(DISK_INSTALL, DISK_LANE_STATE, "install")             \
    X(DISK_MARK_CLEAR, DISK_LANE_STATE, "mark_clear")       \
    X(DISK_SWEEP, DISK_LANE_STATE, "sweep")                 \
    X(DISK_SCRUB, DISK_LANE_STATE, "scrub")

enum disk_kind {
#define DISK_KIND_ENUM(name, lane, text) name,
    DISK_KIND_MAP(DISK_KIND_ENUM)
#undef DISK_KIND_ENUM
    DISK_KINDS_COUNT,
};

/* One job. Belongs to who submits it (usually embedded in a group) until it is done. */
struct disk_job {
    enum disk_kind kind;
    group_id group; /* Not for DISK_LOG, IDENTITY, SWEEP, SCRUB. */
    struct store *store;
    struct disk_job *next; /* For the lane's queue. */
    int result;            /* Out: 0 or what the verb returned. */
    uint64_t submit_us;    /* For latency figures. */
    uint64_t done_us;
    union {
        struct {
            const struct log_write *writes; /* In disk.c's arena. */
            uint32_t count;
        } log;
        struct {
            raft_index index;
            struct kv_bytes record; /* Borrowed until done. */
        } repair;
        struct store_identity identity;
        struct state_frozen checkpoint;
        struct raft_snapshot snapshot; /* MAKE: out. INSTALL: in. */
        struct {
            struct raft_snapshot snapshot;
            struct raft_chunk chunk; /* Its data: borrowed until done. */
        } chunk;
        struct {
            bool more; /* Out. */
        } sweep;
        struct {
            size_t bytes;            /* To read, about. */
            struct store_scrub done; /* Out. */
        } scrub;
    } u;
};

/* Which thread runs it. */
enum disk_lane disk_job_lane(enum disk_kind kind);
const char *disk_kind_text(enum disk_kind kind);

/* Calls the store's verb and sets job->result. Blocks. */
void disk_job_run(struct disk_job *job);

/* ---- the loop's side ---- */

struct disk; /* One per node. */

KV_MUST_CHECK int disk_new(struct node *n, struct env *env, struct store *store,
                           struct disk **out);
void disk_free(struct disk *d); /* No job may be running. */

/* Queues one group's duty 1 for the next commit. The write's array of records is
 * copied; the record bytes are borrowed until group_on_log_done() for it.
 * persisted  what to feed to the group's core when it is durable.
 * Cannot fail: the queues' bounds are the groups' windows. */
void disk_log_add(struct disk *d, const struct log_write *w,
                  const struct raft_persisted *persisted);

/* Queues a job of either lane; group jobs come back through group_on_job(). */
void disk_submit(struct disk *d, struct disk_job *job);

/* Turn end: hands the queued log writes out if no log job is running. */
void disk_flush(struct disk *d);

/* A job is done: sorts out who wanted it (group_on_log_done, group_on_job). Jobs of the
 * node itself (IDENTITY, SWEEP, SCRUB) are only counted here: node_disk_done() looks at
 * them behind this call. A log job that got KV_ENOSPACE is kept and tried again with
 * what is urgent first; meanwhile disk_no_space() is true. Failures that nobody can
 * live with halt the node. */
void disk_done(struct disk *d, struct disk_job *job);

/* True while ordinary writes must be refused with NO_SPACE. */
bool disk_no_space(const struct disk *d);
/* When disk_flush() has something to try again; UINT64_MAX when not. */
uint64_t disk_deadline_ms(const struct disk *d);

/* Counters for /metrics. */
struct disk_stats {
    uint64_t log_jobs, log_writes, log_records, log_bytes;
    uint64_t log_us_total;
    uint64_t state_jobs[DISK_KINDS_COUNT];
    uint32_t log_queued; /* Writes waiting. */
};
void disk_stats_get(const struct disk *d, struct disk_stats *out);

#endif
