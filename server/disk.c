/* server/disk.c - the group commit, and jobs on their way to the disk threads.
 *
 * What groups add while a log job runs waits here, at most one merged write per group
 * (a reset of the log stands alone), and leaves in the next job. On a full disk the
 * writes come back to the front of the queue; then groups with something urgent go
 * first and alone, all of their writes in order, and everything is tried again every
 * DISK_RETRY_MS.
 */
#include "server/disk.h"

#include "raft/base/err.h"
#include "rpc/limits.h"
#include "server/env.h"
#include "server/node.h"
#include "storage/failpoint.h"

enum {
    DISK_RETRY_MS = 250, /* Between tries on a full disk. */
    DISK_JOB_BYTES_MAX =
        32 * 1024 * 1024, /* Record bytes of one commit, or one write. */
    DISK_STATS_MS = 200,  /* Between two looks at the store's space. */
    DISK_FREE_MAX = 256,  /* Idle write structs that are kept. */
};

/* One or more disk_log_add() of a group. */
struct disk_write {
    struct disk_write *next;
    struct log_write w; /* records, compact_to, reset_to point into this struct. */
    struct kv_bytes *records;
    uint32_t records_cap;
    struct raft_base compact_to;
    struct raft_base reset_to;
    struct raft_persisted persisted;
    uint32_t adds;   /* disk_log_add() calls in it. */
    bool was_in_job; /* It came back from a job that met a full disk. */
};

struct disk {
    struct node *node;
    struct env *env;
    struct store *store;

    struct disk_job job; /* The one log job. */
    bool in_flight;
    bool flight_is_all; /* It took all that was queued: its success means space. */
    struct log_write *writes; /* Of the job. */
    size_t writes_cap;
    struct disk_write *flight; /* In the job, in its order. */

    struct disk_write *head, *tail;           /* Queued, in order. */
    uint32_t queued;                          /* Of them. */
    struct disk_write *newest[KV_GROUPS_MAX]; /* Queued, by group; NULL. */
    bool is_urgent[KV_GROUPS_MAX];            /* Scratch of disk_flush(). */
    struct disk_write *free;
    uint32_t free_count;

    bool no_space;          /* The last try of everything met a full disk. */
    bool store_full;        /* The store says that ordinary writes should stop. */
    uint64_t retry_ms;      /* no_space: when everything is tried again. */
    uint64_t urgent_ms;     /* no_space: when urgent writes may be tried. */
    uint64_t stats_next_ms; /* When the store is asked about its space again. */
    struct disk_stats stats;
};

/* ---- jobs ---- */

static const struct {
    enum disk_lane lane;
    const char *text;
} disk_kinds[DISK_KINDS_COUNT] = {
#define DISK_KIND_ROW(name, lane, text) [name] = {lane, text},
    DISK_KIND_MAP(DISK_KIND_ROW)
#undef DISK_KIND_ROW
};

enum disk_lane disk_job_lane(enum disk_kind kind)
{
    KV_ASSERT(kind < DISK_KINDS_COUNT);
    return disk_kinds[kind].lane;
}

const char *disk_kind_text(enum disk_kind kind)
{
    KV_ASSERT(kind < DISK_KINDS_COUNT);
    return disk_kinds[kind].text;
}

static int job_run(struct disk_job *job)
{
    struct store *s = job->store;
    const struct store_ops *ops = s->ops;

    switch (job->kind) {
    case DISK_LOG:
        return ops->log_write(s, job->u.log.writes, job->u.log.count);
    case DISK_REPAIR:
        return ops->log_repair(s, job->group, job->u.repair.index,
                               job->u.repair.record);
    case DISK_IDENTITY:
        return ops->identity_save(s, &job->u.identity);
    case DISK_CHECKPOINT:
        if (KV_BUG(*s, B41)) {
            (void)ops->checkpoint(s, job->group, &job->u.checkpoint.meta, NULL, 0);
        }
        return ops->checkpoint(s, job->group, &job->u.checkpoint.meta,
                               job->u.checkpoint.rows, job->u.checkpoint.rows_count);
    case DISK_SNAPSHOT_MAKE:
        return ops->snapshot_make(s, job->group, &job->u.snapshot);
    case DISK_CHUNK_STORE:
        return ops->chunk_store(s, job->group, &job->u.chunk.snapshot,
                                &job->u.chunk.chunk);
    case DISK_INSTALL:
        return ops->install(s, job->group, &job->u.snapshot);
    case DISK_MARK_CLEAR:
        return ops->mark_clear(s, job->group);
    case DISK_SWEEP:
        return ops->sweep(s, &job->u.sweep.more);
    case DISK_SCRUB:
        return ops->scrub(s, job->u.scrub.bytes, &job->u.scrub.done);
    case DISK_KINDS_COUNT:
        break;
    }
    KV_UNREACHABLE();
}

void disk_job_run(struct disk_job *job)
{
    job->result = job_run(job);
}

/* ---- life ---- */

int disk_new(struct node *n, struct env *env, struct store *store, struct disk **out)
{
    struct disk *d = kv_mem_zalloc(sizeof *d);

    if (d == NULL) {
        return KV_ENOMEM;
    }
    d->node = n;
    d->env = env;
    d->store = store;
    *out = d;
    return 0;
}

static void writes_free(struct disk_write *w)
{
    while (w != NULL) {
        struct disk_write *next = w->next;

        kv_mem_free(w->records);
        kv_mem_free(w);
        w = next;
    }
}

void disk_free(struct disk *d)
{
    if (d == NULL) {
        return;
    }
    writes_free(d->head);
    writes_free(d->flight);
    writes_free(d->free);
    kv_mem_free(d->writes);
    kv_mem_free(d);
}

/* ---- the queue ---- */

static struct disk_write *write_take(struct disk *d)
{
    struct disk_write *w = d->free;
    struct kv_bytes *records;
    uint32_t cap;

    if (w == NULL) {
        return kv_mem_zalloc(sizeof *w);
    }
    d->free = w->next;
    d->free_count--;
    records = w->records;
    cap = w->records_cap;
    *w = (struct disk_write){.records = records, .records_cap = cap};
    return w;
}

static void write_give(struct disk *d, struct disk_write *w)
{
    if (d->free_count >= DISK_FREE_MAX) {
        w->next = NULL;
        writes_free(w);
        return;
    }
    w->next = d->free;
    d->free = w;
    d->free_count++;
}

static int write_room(struct disk_write *w, uint32_t count)
{
    uint32_t cap = KV_MAX(w->records_cap, 16u);
    struct kv_bytes *records;

    if (count <= w->records_cap) {
        return 0;
    }
    while (cap < count) {
        cap *= 2;
    }
    records = kv_mem_realloc(w->records, cap * sizeof *records);
    if (records == NULL) {
        return KV_ENOMEM;
    }
    w->records = records;
    w->records_cap = cap;
    return 0;
}

/* Adds entries: they replace everything from w->first_index on. */
static int write_merge_records(struct disk_write *q, const struct log_write *w)
{
    raft_index end = q->w.first_index + q->w.records_count;
    uint32_t keep = 0;

    if (q->w.records_count > 0 && w->first_index > q->w.first_index) {
        KV_ASSERT(w->first_index <= end); /* No gap. */
        keep = (uint32_t)(w->first_index - q->w.first_index);
    }
    if (write_room(q, keep + w->records_count) != 0) {
        return KV_ENOMEM;
    }
    memcpy(q->records + keep, w->records, w->records_count * sizeof *w->records);
    if (keep == 0) {
        q->w.first_index = w->first_index;
    }
    q->w.records_count = keep + w->records_count;
    q->w.records = q->records;
    return 0;
}

static int write_merge(struct disk_write *q, const struct log_write *w,
                       const struct raft_persisted *persisted)
{
    if (w->records_count > 0 && write_merge_records(q, w) != 0) {
        return KV_ENOMEM;
    }
    if (w->store_hard) {
        q->w.store_hard = true;
        q->w.term = w->term;
        q->w.vote = w->vote;
    }
    if (w->commit_hint > q->w.commit_hint) {
        q->w.commit_hint = w->commit_hint;
    }
    if (w->compact_to != NULL) {
        q->compact_to = *w->compact_to;
        q->w.compact_to = &q->compact_to;
    }
    if (w->reset_to != NULL) {
        q->reset_to = *w->reset_to;
        q->w.reset_to = &q->reset_to;
    }
    q->w.urgent = q->w.urgent || w->urgent;
    q->persisted.term = persisted->term;
    q->persisted.vote = persisted->vote;
    if (persisted->last.index > 0) {
        q->persisted.last = persisted->last;
    }
    q->adds++;
    return 0;
}

static void queue_push(struct disk *d, struct disk_write *q)
{
    if (d->tail == NULL) {
        d->head = q;
    } else {
        d->tail->next = q;
    }
    d->tail = q;
    d->newest[q->w.group] = q;
    d->queued++;
}

void disk_log_add(struct disk *d, const struct log_write *w,
                  const struct raft_persisted *persisted)
{
    struct disk_write *q;
    bool is_new;

    KV_ASSERT(w->group < KV_GROUPS_MAX);
    q = d->newest[w->group];
    is_new = q == NULL || q->w.reset_to != NULL || w->reset_to != NULL;
    if (is_new) {
        q = write_take(d);
    }
    if (q == NULL) {
        node_halt(d->node, KV_ENOMEM, "no memory for a write to the log");
        return;
    }
    q->w.group = w->group;
    if (write_merge(q, w, persisted) != 0) {
        if (is_new) {
            write_give(d, q);
        }
        node_halt(d->node, KV_ENOMEM, "no memory for a write to the log");
        return;
    }
    if (is_new) {
        queue_push(d, q);
    }
}

void disk_submit(struct disk *d, struct disk_job *job)
{
    job->store = d->store;
    job->next = NULL;
    job->result = 0;
    job->submit_us = d->env->ops->now_us(d->env);
    job->done_us = 0;
    d->env->ops->disk_submit(d->env, job);
}

/* ---- space ---- */

/* Groups give up what they keep for convenience. */
static void tell_groups(const struct disk *d)
{
    struct node *n = d->node;

    for (group_id id = 0; id < n->groups_cap; id++) {
        if (n->groups[id] != NULL) {
            node_group_touch(n, id);
            group_on_no_space(n->groups[id]);
        }
    }
}

/* Looks at the store's space, not too often. */
static void look_at_space(struct disk *d)
{
    struct store_stats st;
    uint64_t now = d->node->now_ms;
    bool full;

    if (now < d->stats_next_ms) {
        return;
    }
    d->stats_next_ms = now + DISK_STATS_MS;
    memset(&st, 0, sizeof st);
    d->store->ops->stats(d->store, &st);
    full = st.log_full || st.state_full;
    if (full != d->store_full) {
        node_log(d->node, full ? LOG_ERROR : LOG_INFO,
                 "disk %s log_bytes=%llu state_bytes=%llu",
                 full ? "is=full writes=refused" : "is=free writes=accepted",
                 (unsigned long long)st.log_bytes, (unsigned long long)st.state_bytes);
    }
    if (full && !disk_no_space(d)) {
        tell_groups(d);
    }
    d->store_full = full;
}

static void set_no_space(struct disk *d, bool no_space)
{
    if (no_space != d->no_space) {
        node_log(d->node, no_space ? LOG_ERROR : LOG_INFO, "disk log=%s",
                 no_space ? "full writes=refused (free space on the volume of the data "
                            "directory, or delete keys)"
                          : "free writes=accepted");
    }
    if (no_space && !disk_no_space(d)) {
        tell_groups(d);
    }
    d->no_space = no_space;
}

/* ---- handing out ---- */

static size_t write_bytes(const struct disk_write *q)
{
    size_t bytes = 0;

    for (uint32_t i = 0; i < q->w.records_count; i++) {
        bytes += q->records[i].len;
    }
    return bytes;
}

/* Does this write go into the next job? */
static bool flush_wants(const struct disk *d, const struct disk_write *q, bool all)
{
    return all || d->is_urgent[q->w.group];
}

/* Moves writes from the queue to the flight, in order. Returns how many. */
static uint32_t flush_take(struct disk *d, bool all)
{
    struct disk_write **link = &d->head;
    struct disk_write **out = &d->flight;
    struct disk_write *previous = NULL;
    uint32_t count = 0;
    size_t bytes = 0;

    KV_ASSERT(d->flight == NULL);
    while (*link != NULL) {
        struct disk_write *q = *link;

        if (bytes >= DISK_JOB_BYTES_MAX || !flush_wants(d, q, all)) {
            previous = q;
            link = &q->next;
            continue;
        }
        bytes += write_bytes(q);
        *link = q->next;
        if (d->tail == q) {
            d->tail = previous;
        }
        if (d->newest[q->w.group] == q) {
            d->newest[q->w.group] = NULL;
        }
        q->next = NULL;
        q->was_in_job = false;
        q->w.urgent = q->w.urgent || !all;
        *out = q;
        out = &q->next;
        d->queued--;
        count++;
    }
    d->stats.log_bytes += bytes;
    return count;
}

/* Finds the groups with something urgent; false when there is none. */
static bool flush_mark_urgent(struct disk *d)
{
    bool any = false;

    memset(d->is_urgent, 0, sizeof d->is_urgent);
    for (const struct disk_write *q = d->head; q != NULL; q = q->next) {
        if (q->w.urgent) {
            d->is_urgent[q->w.group] = true;
            any = true;
        }
    }
    return any;
}

static void flush_job(struct disk *d, uint32_t count)
{
    uint32_t at = 0;

    if (count > d->writes_cap) {
        struct log_write *writes = kv_mem_realloc(d->writes, count * sizeof *writes);

        if (writes == NULL) {
            node_halt(d->node, KV_ENOMEM, "no memory for a write to the log");
            return;
        }
        d->writes = writes;
        d->writes_cap = count;
    }
    for (const struct disk_write *q = d->flight; q != NULL; q = q->next) {
        d->writes[at++] = q->w;
        d->stats.log_records += q->w.records_count;
    }
    KV_ASSERT(at == count);
    d->job = (struct disk_job){.kind = DISK_LOG};
    d->job.u.log.writes = d->writes;
    d->job.u.log.count = count;
    d->in_flight = true;
    d->stats.log_jobs++;
    d->stats.log_writes += count;
    disk_submit(d, &d->job);
}

void disk_flush(struct disk *d)
{
    uint64_t now = d->node->now_ms;
    bool all = !d->no_space || now >= d->retry_ms;
    uint32_t count;

    if (d->store_full) {
        look_at_space(d); /* It may have healed without a job of ours. */
    }
    if (d->in_flight || d->node->phase == NODE_HALTED) {
        return;
    }
    if (d->head == NULL) {
        if (d->no_space && all) {
            set_no_space(d,
                         false); /* Nothing is left to try with: the next write is. */
        }
        return;
    }
    if (!all && (now < d->urgent_ms || !flush_mark_urgent(d))) {
        return;
    }
    count = flush_take(d, all);
    KV_ASSERT(count > 0);
    d->flight_is_all = all;
    flush_job(d, count);
}

/* ---- coming back ---- */

/* A full disk: everything goes back to the front, in order. */
static void log_job_requeue(struct disk *d)
{
    struct disk_write *last = NULL;
    uint64_t now = d->node->now_ms;

    for (struct disk_write *q = d->flight; q != NULL; q = q->next) {
        struct disk_write *newest = d->newest[q->w.group];

        if (newest == NULL || newest->was_in_job) {
            d->newest[q->w.group] = q;
        }
        q->was_in_job = true;
        last = q;
        d->queued++;
    }
    last->next = d->head;
    if (d->head == NULL) {
        d->tail = last;
    }
    d->head = d->flight;
    d->flight = NULL;
    if (d->flight_is_all) {
        d->retry_ms = now + DISK_RETRY_MS;
    } else {
        d->urgent_ms = now + DISK_RETRY_MS; /* Not even the reserve is enough. */
    }
    set_no_space(d, true);
}

static void log_job_done(struct disk *d, const struct disk_job *job)
{
    struct disk_write *q = d->flight;

    KV_ASSERT(d->in_flight && job == &d->job);
    d->in_flight = false;
    (void)KV_FAILPOINT(log_heard);
    if (job->result == KV_ENOSPACE) {
        log_job_requeue(d);
        return;
    }
    if (job->result != 0) {
        node_halt(d->node, job->result, "a commit to the log failed: %s",
                  kv_err_text(job->result));
        return;
    }
    if (d->flight_is_all) {
        set_no_space(d, false);
    }
    d->flight = NULL;
    while (q != NULL) {
        struct disk_write *next = q->next;
        struct group *g = node_group(d->node, q->w.group);

        if (g != NULL && d->node->phase != NODE_HALTED) {
            const struct disk_write *w = d->newest[q->w.group];

            w = KV_BUG(d->node->config, K12) && w != NULL ? w : q;
            group_on_log_done(g, &w->persisted, q->adds);
        }
        write_give(d, q);
        q = next;
    }
}

static bool is_group_job(enum disk_kind kind)
{
    return kind == DISK_REPAIR || kind == DISK_CHECKPOINT ||
           kind == DISK_SNAPSHOT_MAKE || kind == DISK_CHUNK_STORE ||
           kind == DISK_INSTALL || kind == DISK_MARK_CLEAR;
}

/* Failures that a group can live with; the others end the process. */
static bool is_weather(int rc)
{
    return rc == 0 || rc == KV_ENOSPACE || rc == KV_EINVAL || rc == KV_ENOTFOUND ||
           rc == KV_EDAMAGED;
}

void disk_done(struct disk *d, struct disk_job *job)
{
    uint64_t us = job->done_us > job->submit_us ? job->done_us - job->submit_us : 0;
    struct group *g;

    if (job->kind == DISK_LOG) {
        d->stats.log_us_total += us;
        log_job_done(d, job);
    } else {
        d->stats.state_jobs[job->kind]++;
        (void)KV_FAILPOINT(job_heard);
        if (!is_weather(job->result)) {
            node_halt(d->node, job->result, "disk job %s failed: %s",
                      disk_kind_text(job->kind), kv_err_text(job->result));
            return;
        }
        g = is_group_job(job->kind) ? node_group(d->node, job->group) : NULL;
        if (g != NULL && d->node->phase != NODE_HALTED) {
            group_on_job(g, job);
        }
    }
    look_at_space(d);
}

bool disk_no_space(const struct disk *d)
{
    return d->no_space || d->store_full;
}

uint64_t disk_deadline_ms(const struct disk *d)
{
    uint64_t at = d->store_full ? d->stats_next_ms : UINT64_MAX;

    if (d->no_space && !d->in_flight) {
        at = KV_MIN(at, d->retry_ms);
    }
    return at;
}

void disk_stats_get(const struct disk *d, struct disk_stats *out)
{
    *out = d->stats;
    out->log_queued = d->queued;
}
