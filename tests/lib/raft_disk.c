/* tests/lib/raft_disk.c - logs in arrays, jobs in a queue. */
#include "tests/lib/raft_disk.h"

#include "raft/base/err.h"

/* ---- logs ---- */

static void log_grow(struct raft_disk_log *log, struct arena *arena, raft_index last)
{
    raft_index cap = log->cap == 0 ? 64 : log->cap;
    struct raft_entry *items;

    while (cap < last) {
        cap *= 2;
    }
    if (cap == log->cap) {
        return;
    }
    items = arena_zalloc(arena, (size_t)cap * sizeof *items);
    KV_ASSERT(items != NULL);
    if (log->cap > 0) {
        memcpy(items, log->items, (size_t)log->cap * sizeof *items);
    }
    log->items = items;
    log->cap = cap;
}

void raft_disk_log_put(struct raft_disk_log *log, struct arena *arena,
                       const struct raft_entry *entries, uint32_t count)
{
    raft_index first = entries[0].pos.index;

    KV_ASSERT(count > 0);
    KV_ASSERT(first > log->base.pos.index && first <= log->last + 1);
    log_grow(log, arena, first + count);
    for (uint32_t i = 0; i < count; i++) {
        log->items[first + i - 1] = entries[i];
    }
    log->last = first + count - 1;
}

void raft_disk_log_copy(struct raft_disk_log *log, struct arena *arena,
                        const struct raft_disk_log *from)
{
    log_grow(log, arena, from->last + 1);
    if (from->last > 0 && from->items != NULL) {
        memcpy(log->items, from->items, (size_t)from->last * sizeof *log->items);
    }
    log->base = from->base;
    log->last = from->last;
}

const struct raft_entry *raft_disk_log_get(const struct raft_disk_log *log,
                                           raft_index index)
{
    if (index <= log->base.pos.index || index > log->last) {
        return NULL;
    }
    return &log->items[index - 1];
}

bool raft_disk_log_has(const struct raft_disk_log *log, raft_index index, uint64_t hash)
{
    const struct raft_entry *e = raft_disk_log_get(log, index);

    if (index == log->base.pos.index) {
        return log->base.hash == hash;
    }
    return e != NULL ? e->hash == hash : index < log->base.pos.index;
}

void raft_disk_log_compact(struct raft_disk_log *log, raft_index index)
{
    const struct raft_entry *e = raft_disk_log_get(log, index);

    KV_ASSERT(e != NULL);
    log->base =
        (struct raft_base){.pos = e->pos, .hash = e->hash, .time_ms = e->time_ms};
}

void raft_disk_log_install(struct raft_disk_log *log, const struct raft_base *base)
{
    const struct raft_entry *e = raft_disk_log_get(log, base->pos.index);

    if (base->pos.index == log->base.pos.index) {
        return; /* In place of a lost state. */
    }
    KV_ASSERT(base->pos.index > log->base.pos.index);
    if (e == NULL || e->pos.term != base->pos.term) {
        log->last = base->pos.index;
    }
    log->base = *base;
}

struct raft_entry *raft_disk_entries_copy(struct arena *arena,
                                          const struct raft_entry *entries,
                                          uint32_t count)
{
    struct raft_entry *copy = arena_zalloc(arena, (count + 1) * sizeof *copy);

    KV_ASSERT(copy != NULL);
    for (uint32_t i = 0; i < count; i++) {
        copy[i] = entries[i];
        if (entries[i].payload.len > 0) {
            int rc = arena_copy(arena, entries[i].payload, &copy[i].payload);

            KV_ASSERT(rc == 0);
        }
    }
    return copy;
}

/* ---- the disk ---- */

void raft_disk_init(struct raft_disk *d, struct arena *arena)
{
    memset(d, 0, sizeof *d);
    d->arena = arena;
}

void raft_disk_queue(struct raft_disk *d, const struct raft_disk_job *job)
{
    KV_ASSERT(d->jobs_count < RAFT_DISK_JOBS_MAX);
    d->jobs[d->jobs_count++] = *job;
}

static void install(struct raft_disk *d, const struct raft_snapshot *s)
{
    raft_disk_log_install(&d->log, &s->last);
    if (d->log.cap == 0 || d->log.last > d->log.cap) {
        log_grow(&d->log, d->arena, d->log.last + 1);
    }
    d->applied = s->last.pos.index;
    d->config = s->config;
    d->config_index = s->config_index;
}

struct raft_disk_job raft_disk_finish(struct raft_disk *d)
{
    struct raft_disk_job job = d->jobs[0];

    KV_ASSERT(d->jobs_count > 0);
    d->jobs_count--;
    memmove(d->jobs, d->jobs + 1, d->jobs_count * sizeof d->jobs[0]);
    switch (job.kind) {
    case RAFT_DISK_STORE:
        KV_ASSERT(job.term >= d->term);
        KV_ASSERT(job.term > d->term || d->vote == 0 || job.vote == d->vote);
        d->term = job.term;
        d->vote = job.vote;
        if (job.entries_count > 0) {
            raft_disk_log_put(&d->log, d->arena, job.entries, job.entries_count);
        }
        d->commit_hint = KV_MAX(d->commit_hint, job.commit);
        break;
    case RAFT_DISK_INSTALL:
        install(d, &job.snapshot);
        break;
    default:
        break;
    }
    return job;
}

/* ---- reader ---- */

static int reader_entry(void *ctx, raft_index index, struct raft_entry *out)
{
    const struct raft_disk *d = ctx;
    const struct raft_entry *e = raft_disk_log_get(&d->log, index);

    if (e != NULL && d->damaged != 0 && index >= d->damaged &&
        index <= KV_MAX(d->damaged, d->damaged_end)) {
        return KV_EDAMAGED;
    }
    if (e != NULL && index == d->missing) {
        return KV_ENOTFOUND;
    }
    if (e == NULL) {
        return index <= d->log.base.pos.index ? KV_ECOMPACTED : KV_ENOTFOUND;
    }
    *out = *e;
    return 0;
}

static int reader_meta(void *ctx, raft_index index, struct raft_meta *out)
{
    struct raft_entry e;
    int rc = reader_entry(ctx, index, &e);

    if (rc == 0) {
        *out = (struct raft_meta){.pos = e.pos,
                                  .type = e.type,
                                  .payload_bytes = (uint32_t)e.payload.len,
                                  .time_ms = e.time_ms,
                                  .hash = e.hash};
    }
    return rc;
}

struct raft_log_reader raft_disk_reader(struct raft_disk *d)
{
    return (struct raft_log_reader){
        .ctx = d, .meta = reader_meta, .entry = reader_entry};
}
