/* server/group_internal.h - the whole of a group, and the calls between its files.
 *
 *   group.c           life, events, questions
 *   group_feed.c      the one call of raft_step(), and the duties of its update
 *   group_write.c     requests in, proposals, deadlines
 *   group_apply.c     committed entries into the state, results to their requests
 *   group_w.c         W is changed; writes that want more replicas than W
 *   group_record.c    the leader forgets records whose time has passed
 *   group_ttl.c       and ends keys whose time to live has
 *   group_read.c      ReadIndex batches, gets and ranges
 *   group_local.c     reads of what this replica has (levels session, stale)
 *   group_lock.c      leases of locks, and requests that wait for one
 *   group_fence.c     reads that carry a lock's token
 *   group_store.c     checkpoints, compaction, the tail's front, reading the log
 *   group_snapshot.c  snapshots out and in
 *   group_repair.c    damaged entries and rows
 *
 * Everything that happens later comes as an event of group.h; what has to be done but
 * must not be done on the stack of raft_step() is noted here and done in group_flush().
 *
 * Needs:    server/group.h, apply.h, tail.h, env.h, node.h.
 * Used by:  server/group*.c only.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_GROUP_INTERNAL_H
#define KV_SERVER_GROUP_INTERNAL_H

#include "raft/base/err.h"
#include "server/apply.h"
#include "server/apply_record.h"
#include "server/command.h"
#include "server/env.h"
#include "server/group.h"
#include "server/history.h"
#include "server/lease.h"
#include "server/node.h"
#include "server/pending.h"
#include "server/reply.h"
#include "server/tail.h"

enum {
    GROUP_MAGIC = 0x47524f50,
    GROUP_RING_CAP = 4096,    /* Proposed and not yet applied indexes with requests. */
    GROUP_READ_BATCHES = 128, /* ReadIndex rounds asked for and not yet served. */
    GROUP_APPLY_BATCH = 64,   /* Entries between two rounds of replies. */
    GROUP_LOG_MARKS = 64,     /* Places where the log may be cut by its bytes. */
    GROUP_NO_SPACE_MS = 1000, /* Until a job is tried again on a full disk. */
    GROUP_QUIET_PART = 30, /* Of checkpoint_ms_max without a change: it is due, too. */
    GROUP_FETCH_MS = 500,  /* Between two tries to get a damaged entry. */
    GROUP_FETCH_TRIES = 4, /* While a leader is known: then it is compacted there. */
    GROUP_EXPIRE_MS = 5,   /* Deadlines are looked at no more often than that. */
    GROUP_SET_W_MAX = 16,  /* Changes of W that wait for each other. */
    GROUP_REROUTE_MS = 10, /* Pause before a request tries its way again. */
};

/* How long the log had become when a checkpoint was there. */
struct group_log_mark {
    raft_index index; /* Of the checkpoint. */
    uint64_t bytes;   /* g->log_bytes then. */
};

/* One RAFT_EV_READ and the requests that wait for it. */
struct group_read_batch {
    uint64_t tag;
    bool confirmed;
    bool failed;      /* Leadership ended first. */
    raft_index index; /* confirmed: served once this is applied. */
    struct request_list requests;
};

/* A received chunk of a snapshot on its way to the disk. */
struct group_chunk {
    struct disk_job job; /* First. */
    uint8_t data[];
};

/*  NONE ──► WANTED ──► INSTALLING ──► RESETTING ──► CLEARING ──► NONE
 *              └────────────┴── failed ──────────────────────────► */
enum group_install_phase {
    GROUP_INSTALL_NONE,
    GROUP_INSTALL_WANTED,     /* A checkpoint has to end first. */
    GROUP_INSTALL_INSTALLING, /* The state lane writes rows. */
    GROUP_INSTALL_RESETTING,  /* The log lane resets the log. */
    GROUP_INSTALL_CLEARING,   /* The state lane clears the mark. */
};

/* A row of the state is damaged, or an entry that nobody else has any more: only a
 * snapshot of the leader helps. */
struct group_lost {
    bool is_lost;     /* Until other rows are switched in. */
    bool told;        /* The core knows, and goes without us until then. */
    raft_index least; /* The snapshot must not end before; 0: the checkpoint decides. */
};

/* Damaged entries. index 0: none. Neighbours are often damaged together: they are
 * repaired from the last one down, because an entry is known by what follows it. */
struct group_damage {
    raft_index index;        /* The first one. */
    raft_index wanted;       /* The one that is being fetched or repaired. */
    bool told;               /* The core knows that it is impaired. */
    bool repairing;          /* The repair job is under way. */
    uint64_t fetch_ms;       /* When peers are asked (again). */
    uint32_t tries;          /* How often they were asked while there was a leader. */
    uint64_t overwritten_by; /* Number of the disk write that replaces it; 0: none. */
    uint8_t *record;         /* repairing: the bytes that the job writes. */
};

/* The leader's way through the records of finished writes. */
struct group_records {
    raft_term term;      /* It began in; another one: from the start again. */
    uint64_t look_ms;    /* When the next stretch is looked at; UINT64_MAX: never. */
    raft_index wait_for; /* A sweep was proposed: not before this is applied; 0. */
    uint64_t first_ms; /* Earliest time that a record seen in this round is kept to. */
    bool seen;         /* This round has met a record. */
    size_t cursor_len; /* Of the first key not looked at yet; 0: a round begins. */
    uint8_t cursor[KV_BOUND_BYTES_MAX];
};

/* When the leader looks for keys whose time to live has passed. */
struct group_ttl {
    raft_term term;      /* It plans in; another one: anew. */
    uint64_t due_ms;     /* What apply.due_ms was when it did. */
    uint64_t look_ms;    /* Not before. */
    raft_index wait_for; /* An EXPIRE was proposed: not before this is applied; 0. */
};

/* Leases of locks, while this replica leads; see group_lock.c. */
struct group_locks {
    raft_term term;           /* Whose no-op began it; 0: not a leader. */
    struct leases leases;     /* With requests that wait for a lock. */
    struct request_list held; /* Keepalives of claims whose end is proposed. */
    bool is_scanning;         /* Rows of locks are still to be read, */
    size_t scan_len;          /* from here on. */
    uint8_t scan_from[KV_LOCK_NAME_BYTES_MAX + 1];
    uint64_t seen_ms;  /* When the loop came by last. */
    uint64_t quiet_ms; /* Nobody's lease ends before: the loop was late. */
};

/* Changes of W, and writes that want more. */
struct group_w {
    struct request_list queued; /* cluster.set_w; the first one is being carried out. */
    struct raft_pos asked;      /* Last entry once it was proposed; index 0: not yet. */
    struct request_list held;   /* Applied; too few replicas hold their entries. */
};

/* state's checkpoint <= applied <= commit; checkpoint <= durable <= last. */
struct group {
    uint32_t magic;
    group_id id;
    raft_id self;
    struct node *node;
    struct group_options options;
    int halted;            /* 0, or the KV_E* that stopped this replica. */
    bool requests_dropped; /* halted: its requests were ended. */

    /* Parts. */
    struct raft *raft;
    void *raft_memory;
    struct state *st;
    struct apply apply;
    struct history history;
    struct tail tail;
    struct pending pending;

    /* What the core said last. */
    bool feeding;
    bool dirty;   /* group_flush() has something to do. */
    bool changed; /* node_group_changed() has to be told. */
    enum raft_role role;
    raft_id leader;
    raft_term term;
    raft_index commit;
    uint64_t raft_deadline_ms;
    uint64_t now_ms;   /* Of the last event; never goes back. */
    bool handing_over; /* Leader that takes no proposals: a transfer is going on. */

    /* The log, as handed out. */
    struct raft_pos last;
    raft_index durable;  /* Entries up to here are on this node's disk. */
    raft_term hard_term; /* Newest hard state handed out. */
    raft_id hard_vote;
    uint64_t writes_added;      /* disk_log_add() calls. */
    uint64_t writes_done;       /* Of them durable. */
    struct arena records_arena; /* group_records() from the log. */

    /* Writes. */
    struct request_list queued; /* WAITING, in the order in which they came. */
    struct request **ring;      /* PROPOSED: chain of index i at i % GROUP_RING_CAP. */
    raft_index ring_begin;      /* Requests have indexes in [ring_begin, ring_end). */
    raft_index ring_end;
    uint32_t proposed_count;
    bool propose_blocked; /* The window or ring is full; wait for progress. */
    raft_term slots_term; /* OWN_SLOTS was proposed in this term; 0 not yet. */
    struct arena batch;   /* Commands of one PROPOSE. */

    /* Reads. */
    struct request_list reads_queued;
    struct group_read_batch batches[GROUP_READ_BATCHES]; /* Tag t at t % count. */
    uint64_t tag_begin; /* Batches in use: [tag_begin, tag_end). */
    uint64_t tag_end;
    uint32_t reads_waiting;          /* Requests in batches. */
    struct request_list reads_local; /* Answered here, once enough is applied. */
    bool reads_blocked; /* The core takes no more rounds; wait for one to end. */

    struct group_locks locks;

    /* Requests that certainly did nothing and go back to the router. */
    struct request_list rerouted;
    uint64_t expire_ms; /* No deadline of a request here is earlier. */

    /* Apply. */
    struct arena ahead_arena; /* Records read from the log. */
    struct kv_bytes *ahead;   /* [ahead_begin, ahead_begin + ahead_count) */
    raft_index ahead_begin;
    uint32_t ahead_count;

    /* Checkpoints. */
    struct disk_job checkpoint_job;
    bool checkpoint_running;
    bool checkpoint_retry;  /* It met a full disk; again at checkpoint_ms. */
    uint64_t checkpoint_ms; /* When the next one is due; UINT64_MAX: not by time. */
    uint64_t quiet_ms;      /* The same, if nothing more changes until then. */

    /* Compaction. */
    uint64_t
        log_bytes; /* Of all records that were appended since the group was opened. */
    struct group_log_mark marks[GROUP_LOG_MARKS]; /* Oldest first; indexes ascend. */
    uint32_t marks_count;
    bool is_pressed; /* Space ran out: keep no more log than needed. */

    /* Snapshots out. */
    struct disk_job make_job;
    bool make_running;
    bool snapshot_wanted;      /* The core wants one, */
    raft_index snapshot_least; /* that does not end before this. */
    bool snapshot_lost;        /* The file that was announced is gone. */
    uint64_t snapshot_lost_id;
    bool snapshot_made; /* `snapshot` describes the file made last. */
    struct raft_snapshot snapshot;

    /* Snapshots in. */
    uint32_t chunks_count;        /* On their way to the disk. */
    struct disk_job *chunks_done; /* Stored; to be freed. */
    bool chunk_dropped;           /* One could not be taken: tell the core. */
    uint64_t chunk_dropped_id;
    enum group_install_phase install_phase;
    struct disk_job install_job;
    struct raft_snapshot install;
    uint64_t install_write; /* RESETTING: number of the write that resets the log. */
    uint64_t clear_ms; /* CLEARING: the disk was full, again then; 0: it is at it. */

    /* Damage. */
    struct group_damage damage;
    struct group_lost lost;
    struct disk_job repair_job;

    struct group_records records;
    struct group_ttl ttl;
    struct group_w w;

    struct group_stats stats;
};

/* ---- group.c ---- */

/* This replica cannot go on: unknown format, broken log or state. The node goes on. */
void group_halt(struct group *g, int code, const char *why);
void group_log(struct group *g, enum log_level level, const char *format, ...)
    KV_PRINTF(3, 4);
/* group_flush() has something to do. */
static inline void group_wake(struct group *g)
{
    g->dirty = true;
}
static inline raft_index group_applied(const struct group *g)
{
    return state_meta_get(g->st)->applied.pos.index;
}
static inline bool group_leads(const struct group *g)
{
    return g->halted == 0 && g->role == RAFT_LEADER;
}
/* A data group's leader that has yet to tell the group which slots are its own. */
static inline bool group_wants_slots(const struct group *g)
{
    return group_leads(g) && g->id != NODE_META_GROUP && !g->apply.has_slots;
}

/* ---- group_feed.c ---- */

/* Gives the core one event and carries out its update. Returns what raft_step()
 * returned, or g->halted. */
int group_feed(struct group *g, struct raft_event *ev);
int group_feed_kind(struct group *g, enum raft_event_kind kind);
/* Adds a write of this group that is not one of the core's (compaction, reset). */
void group_log_add(struct group *g, struct log_write *w);
/* The core's access to the log. */
struct raft_log_reader group_reader(struct group *g);

/* ---- group_write.c ---- */

void group_write_flush(struct group *g);
/* Ends what waits for indexes up to `index`, whose terms are not known any more. */
void group_write_lost(struct group *g, raft_index index);
/* Requests proposed at `index`, chained by `next`, taken out; NULL when none. */
struct request *group_write_take(struct group *g, raft_index index);
/* The earliest deadline of all. */
void group_note_deadline(struct group *g, const struct request *req);
/* Back to the router at the end of group_flush(). */
void group_reroute(struct group *g, struct request *req, bool later);
void group_reroute_list(struct group *g, struct request_list *l, bool later);
void group_reroute_flush(struct group *g);
/* Ends all requests: the group is closed or halted. */
void group_write_end_all(struct group *g, const char *why);

/* ---- group_apply.c ---- */

void group_apply_flush(struct group *g);
/* Forgets records read ahead: the log changed underneath. */
void group_apply_forget(struct group *g);

/* ---- group_read.c ---- */

void group_read_flush(struct group *g);
/* The core answered a read. */
void group_read_confirmed(struct group *g, const struct raft_read *read);
void group_read_serve(struct group *g);
void group_read_expire(struct group *g, uint64_t now_ms, uint64_t *io_next_ms);
void group_read_reroute_all(struct group *g);
struct rpc_at group_at(const struct group *g, uint64_t rev);
/* Answers a get or a range from the state as it is; or gives it back. */
void group_read_answer(struct group *g, struct request *req);

/* ---- group_local.c ---- */

void group_local_serve(struct group *g);
void group_local_expire(struct group *g, uint64_t now_ms, uint64_t *io_next_ms);

/* ---- group_w.c ---- */

/* Takes a cluster.set_w, at the leader. */
void group_w_submit(struct group *g, struct request *req);
/* The write wants more replicas than the group has voters. */
bool group_w_refuses(const struct group *g, const struct request *req);
/* Ends a write that is applied: with option w when enough replicas hold its entry. */
void group_w_reply(struct group *g, struct request *req, const struct reply_result *r);
/* Something waits for other replicas. */
bool group_w_waits(const struct group *g);
void group_w_flush(struct group *g);
void group_w_expire(struct group *g, uint64_t now_ms, uint64_t *io_next_ms);
void group_w_end_all(struct group *g, const char *why);

/* ---- group_record.c ---- */

/* Looks at the next stretch of records when it is due; proposes to forget some. */
void group_record_flush(struct group *g);
/* When it is due; UINT64_MAX: it leads nothing, or there are no records. */
uint64_t group_record_deadline_ms(const struct group *g);
/* What an entry's time would be at least, were it proposed now. */
uint64_t group_entry_time_ms(const struct group *g);

/* ---- group_ttl.c ---- */

/* Proposes to delete keys whose time to live has passed. */
void group_ttl_flush(struct group *g);
/* When it is due; UINT64_MAX: it leads nothing, or no key ends. */
uint64_t group_ttl_deadline_ms(const struct group *g);

/* ---- group_lock.c ---- */

/* An entry was applied. Takes *io_req, when it is a lock's and its outcome is no error:
 * it is answered now or later. */
void group_lock_applied(struct group *g, const struct raft_entry *entry,
                        struct apply_result *r, struct request **io_req);
/* Answers a lock's command that changed nothing: KV_EBADREQUEST, KV_EBUSY. */
void group_lock_refused(struct request *req, int code);
/* A read of this group was taken: a keepalive counts from here. */
void group_lock_arrived(struct group *g, const struct request *req);
/* Answers lock.keepalive and lock.info, with the index applied. */
void group_lock_serve(struct group *g, struct request *req);
/* Ends what has run out; begins and ends with the term. */
void group_lock_flush(struct group *g);
/* Gives back what waits: another leads, or nobody. */
void group_lock_stop(struct group *g);
/* Keepalives that were held back are looked at again. */
void group_lock_unhold(struct group *g);
void group_lock_expire(struct group *g, uint64_t now_ms, uint64_t *io_next_ms);
uint64_t group_lock_deadline_ms(const struct group *g);
/* Fills in the command of acquire and release. */
void group_lock_command(const struct request *req, struct command *out);

/* ---- group_fence.c ---- */

/* Puts the fence of a request into its command: a write's prefix, or a read's mark. */
void group_fence_command(const struct request *req, struct command *out);
/* A read whose token is higher than all that was seen: to be proposed. */
bool group_fence_wants_mark(struct group *g, const struct request *req);
/* May it be answered? False: it was, or goes another way. */
bool group_fence_pass(struct group *g, struct request *req);
/* Ends a request whose token is too old. */
void group_fence_refused(struct group *g, struct request *req);
/* Its mark was applied (code 0), or it is fenced. Ends it. */
void group_fence_marked(struct group *g, struct request *req, int code);

/* ---- group_store.c ---- */

void group_store_flush(struct group *g);
/* When a checkpoint is due by time; UINT64_MAX while none can begin. */
uint64_t group_store_deadline_ms(const struct group *g);
void group_store_job(struct group *g, struct disk_job *job);
/* Drops what the tail need not hold. */
void group_tail_trim(struct group *g);
/* Deletes log entries up to `base`, which the checkpoint covers. */
void group_compact(struct group *g, const struct raft_base *base);
/* Notes that something changed that a checkpoint will write. */
void group_store_touched(struct group *g);
/* A record from the tail or the log, in `arena` then. Errors of log_read. */
KV_MUST_CHECK int group_record(struct group *g, raft_index index, struct arena *arena,
                               struct kv_bytes *out);

/* ---- group_snapshot.c ---- */

/* Takes over what an update says about snapshots. */
void group_snapshot_note(struct group *g, const struct raft_update *up);
void group_snapshot_flush(struct group *g);
void group_snapshot_job(struct group *g, struct disk_job *job);
/* Disk writes are done: the log may be reset. */
void group_snapshot_written(struct group *g);
void group_chunks_free(struct group *g);
/* When a job that met a full disk is tried again; UINT64_MAX: none waits. */
uint64_t group_snapshot_deadline_ms(const struct group *g);

/* ---- group_repair.c ---- */

/* The entry at `index` failed its checksum. Safe on the stack of raft_step(). */
void group_entry_damaged(struct group *g, raft_index index);
/* A row failed its checksum. Safe on the stack of raft_step(). */
void group_state_damaged(struct group *g);
/* Other rows were switched in. */
void group_state_replaced(struct group *g);
/* Disk write number `write` replaces everything from `first` on. */
void group_repair_overwritten(struct group *g, raft_index first, uint64_t write);
void group_repair_flush(struct group *g);
/* When peers are to be asked (again); UINT64_MAX when they are not. */
uint64_t group_repair_deadline_ms(const struct group *g);
void group_repair_job(struct group *g, struct disk_job *job);
/* Looks for the first damaged entry in [from, last]; 0 when there is none. */
raft_index group_repair_scan(struct group *g, raft_index from, raft_index last);

#endif
