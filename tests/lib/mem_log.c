/* tests/lib/mem_log.c - the memory store's log: an array of records per group. */
#include "tests/lib/mem_store_impl.h"

#include "raft/base/err.h"
#include "raft/record.h"

/* ---- the array ---- */

static raft_index log_end(const struct mem_log *log)
{
    return log->head.base.pos.index + log->count + 1;
}

static void slots_reserve(struct mem_log *log, size_t more)
{
    size_t room = log->room == 0 ? 16 : log->room;

    if (log->begin + log->count + more <= log->room) {
        return;
    }
    if (log->begin > log->room / 2) { /* Half of it is compacted: amortised. */
        memmove(log->slots, log->slots + log->begin, log->count * sizeof *log->slots);
        log->begin = 0;
    }
    while (log->begin + log->count + more > room) {
        room *= 2;
    }
    if (room != log->room) {
        log->slots = kv_mem_realloc(log->slots, room * sizeof *log->slots);
        KV_ASSERT(log->slots != NULL);
        log->room = room;
    }
}

static void record_free(struct kv_bytes record)
{
    kv_mem_free((void *)(uintptr_t)record.data);
}

/* Moves `count` records from the log's place `at` into an array of their own. */
static struct kv_bytes *slots_take(struct mem_log *log, size_t at, size_t count)
{
    struct kv_bytes *out;

    if (count == 0) {
        return NULL;
    }
    out = kv_mem_zalloc(count * sizeof *out);
    KV_ASSERT(out != NULL);
    memcpy(out, log->slots + log->begin + at, count * sizeof *out);
    return out;
}

/* ---- reading ---- */

int mem_log_record(const struct mem_log *log, raft_index index, struct kv_bytes *out)
{
    if (index <= log->head.base.pos.index) {
        return KV_ECOMPACTED;
    }
    if (index >= log_end(log)) {
        return KV_ENOTFOUND;
    }
    *out = log->slots[log->begin + (size_t)(index - log->head.base.pos.index - 1)];
    return 0;
}

int mem_log_meta(const struct mem_log *log, raft_index index, struct raft_meta *out)
{
    struct kv_bytes record;
    struct raft_entry entry;
    int rc = mem_log_record(log, index, &record);

    if (rc == 0) {
        rc = raft_record_decode(record, &entry);
    }
    if (rc != 0) {
        return rc;
    }
    if (entry.pos.index != index) {
        return KV_EDAMAGED;
    }
    *out = (struct raft_meta){
        .pos = entry.pos,
        .type = entry.type,
        .payload_bytes = (uint32_t)entry.payload.len,
        .time_ms = entry.time_ms,
        .hash = entry.hash,
    };
    return 0;
}

/* ---- writing ---- */

/* Deletes entries up to `to` and makes it the base. */
static void front_drop(struct mem_log *log, struct mem_undo *u,
                       const struct raft_base *to)
{
    size_t count = (size_t)(to->pos.index - log->head.base.pos.index);

    KV_ASSERT(count <= log->count);
    KV_ASSERT(u->front == NULL || count == 0);
    if (count > 0) {
        u->front = slots_take(log, 0, count);
        u->front_count = count;
    }
    log->begin += count;
    log->count -= count;
    log->head.base = *to;
    u->keep_begin = KV_MAX(u->keep_begin, to->pos.index + 1);
}

/* Deletes entries from `from` on. */
static void back_drop(struct mem_log *log, struct mem_undo *u, raft_index from)
{
    size_t at = (size_t)(from - log->head.base.pos.index - 1);

    KV_ASSERT(at <= log->count);
    if (at < log->count) {
        KV_ASSERT(u->back == NULL);
        u->back = slots_take(log, at, log->count - at);
        u->back_count = log->count - at;
        log->count = at;
    }
    u->keep_end = KV_MIN(u->keep_end, from);
}

/* An empty log ends where its base is. */
static void last_set(struct mem_log *log)
{
    const struct raft_base *base = &log->head.base;

    if (log->count == 0) {
        log->head.last = (struct raft_meta){
            .pos = base->pos, .time_ms = base->time_ms, .hash = base->hash};
    }
}

/* A snapshot became the state: the log begins behind it. */
/* Is the entry that the log holds at `at` the one that it names? As in lmdb_log.c. */
static bool log_is(const struct mem_log *log, const struct raft_base *at)
{
    struct raft_meta meta;
    struct raft_entry next;
    struct kv_bytes record;

    if (mem_log_meta(log, at->pos.index, &meta) == 0) {
        KV_ASSERT(meta.pos.term != at->pos.term || meta.hash == at->hash);
        return meta.pos.term == at->pos.term;
    }
    if (at->pos.index == log->head.last.pos.index) {
        return log->head.last.pos.term == at->pos.term &&
               log->head.last.hash == at->hash;
    }
    if (mem_log_record(log, at->pos.index + 1, &record) != 0) {
        KV_UNREACHABLE();
    }
    return raft_record_decode(record, &next) != 0 ||
           raft_entry_hash(at->hash, &next) == next.hash;
}

static void log_reset(struct mem_log *log, struct mem_undo *u,
                      const struct raft_base *to)
{
    if (to->pos.index <= log->head.base.pos.index) {
        return; /* A late snapshot, or the same again. */
    }
    if (to->pos.index < log_end(log) && log_is(log, to)) {
        front_drop(log, u, to);
        return;
    }
    back_drop(log, u, log->head.base.pos.index + 1);
    log->head.base = *to;
    u->keep_begin = u->keep_end; /* Nothing was kept. */
}

static void records_append(struct mem_log *log, const struct log_write *w)
{
    slots_reserve(log, w->records_count);
    for (uint32_t i = 0; i < w->records_count; i++) {
        struct raft_entry entry;
        int rc = raft_record_decode(w->records[i], &entry);

        KV_ASSERT(rc == 0);
        KV_ASSERT(entry.pos.index == w->first_index + i);
        KV_ASSERT(i == 0 || entry.pos.term >= log->head.last.pos.term);
        log->slots[log->begin + log->count] = mem_store_copy(w->records[i]);
        log->count++;
        log->head.last = (struct raft_meta){
            .pos = entry.pos,
            .type = entry.type,
            .payload_bytes = (uint32_t)entry.payload.len,
            .time_ms = entry.time_ms,
            .hash = entry.hash,
        };
    }
}

/* One step of a write, with an undo record of its own: undoing them newest first puts
 * everything back. */
static struct mem_undo *step_begin(struct mem_store *m, struct mem_group *g)
{
    struct mem_undo *u = mem_store_undo_new(m, MEM_UNDO_LOG, MEM_LOG, g);

    u->head = g->log.head;
    u->hard_damaged = g->log.hard_damaged;
    u->keep_begin = g->log.head.base.pos.index + 1;
    u->keep_end = log_end(&g->log);
    return u;
}

int mem_log_apply(struct mem_store *m, const struct log_write *w)
{
    struct mem_group *g = mem_store_group(m, w->group);
    struct mem_log *log = &g->log;

    if (w->reset_to != NULL) {
        log_reset(log, step_begin(m, g), w->reset_to);
        last_set(log);
    }
    if (w->compact_to != NULL && w->compact_to->pos.index > log->head.base.pos.index) {
        struct raft_meta meta;

        KV_ASSERT(w->compact_to->pos.index <= g->meta.applied.pos.index);
        if (mem_log_meta(log, w->compact_to->pos.index, &meta) == 0) {
            KV_ASSERT(meta.pos.term == w->compact_to->pos.term);
            KV_ASSERT(meta.hash == w->compact_to->hash);
        }
        front_drop(log, step_begin(m, g), w->compact_to);
        last_set(log);
    }
    if (w->records_count > 0 || w->store_hard || w->commit_hint > 0) {
        struct mem_undo *u = step_begin(m, g);

        if (w->records_count > 0) {
            KV_ASSERT(w->first_index > log->head.base.pos.index);
            KV_ASSERT(w->first_index <= log_end(log));
            KV_ASSERT(w->first_index > log->head.commit_hint);
            back_drop(log, u, w->first_index);
            records_append(log, w);
        }
        if (w->store_hard) {
            KV_ASSERT(w->term >= log->head.term);
            log->head.term = w->term;
            log->head.vote = w->vote;
            log->hard_damaged = false;
        }
        log->head.commit_hint = KV_MAX(log->head.commit_hint, w->commit_hint);
    }
    log->head.commit_hint = KV_MAX(log->head.commit_hint, log->head.base.pos.index);
    KV_ASSERT(log->head.commit_hint <= log->head.last.pos.index);
    return 0;
}

int mem_log_repair(struct mem_store *m, group_id group, raft_index index,
                   struct kv_bytes record)
{
    struct mem_group *g = mem_store_group(m, group);
    struct kv_bytes old;
    struct raft_entry entry;
    struct raft_entry next;
    struct mem_undo *u;
    int rc = mem_log_record(&g->log, index, &old);

    if (rc != 0 || raft_record_decode(record, &entry) != 0 ||
        entry.pos.index != index) {
        return KV_EINVAL;
    }
    if (index == g->log.head.last.pos.index) {
        if (entry.pos.term != g->log.head.last.pos.term ||
            entry.hash != g->log.head.last.hash) {
            return KV_EINVAL;
        }
    } else {
        rc = mem_log_record(&g->log, index + 1, &old);
        KV_ASSERT(rc == 0);
        if (raft_record_decode(old, &next) != 0 ||
            raft_entry_hash(entry.hash, &next) != next.hash) {
            return KV_EINVAL;
        }
    }
    u = mem_store_undo_new(m, MEM_UNDO_REPAIR, MEM_LOG, g);
    u->index = index;
    rc = mem_log_record(&g->log, index, &u->record);
    KV_ASSERT(rc == 0);
    g->log.slots[g->log.begin + (size_t)(index - g->log.head.base.pos.index - 1)] =
        mem_store_copy(record);
    return 0;
}

/* ---- undoing ---- */

static void log_restore(struct mem_log *log, struct mem_undo *u)
{
    raft_index base = log->head.base.pos.index;
    size_t keep_at = 0;
    size_t keep_count = 0;

    if (u->keep_end > u->keep_begin) {
        keep_at = (size_t)(u->keep_begin - base - 1);
        keep_count = (size_t)(u->keep_end - u->keep_begin);
    }
    KV_ASSERT(keep_at + keep_count <= log->count);
    for (size_t i = 0; i < log->count; i++) {
        if (i < keep_at || i >= keep_at + keep_count) {
            record_free(log->slots[log->begin + i]);
        }
    }
    log->begin += keep_at;
    log->count = keep_count;
    slots_reserve(log, u->front_count + u->back_count);
    memmove(log->slots + log->begin + u->front_count, log->slots + log->begin,
            keep_count * sizeof *log->slots);
    if (u->front_count > 0) {
        memcpy(log->slots + log->begin, u->front, u->front_count * sizeof *u->front);
    }
    if (u->back_count > 0) {
        memcpy(log->slots + log->begin + u->front_count + keep_count, u->back,
               u->back_count * sizeof *u->back);
    }
    log->count = u->front_count + keep_count + u->back_count;
    log->head = u->head;
    log->hard_damaged = u->hard_damaged;
    KV_ASSERT(log_end(log) == log->head.last.pos.index + 1);
}

void mem_log_undo(struct mem_undo *u)
{
    struct mem_log *log = &u->group->log;
    size_t at;

    if (u->kind == MEM_UNDO_LOG) {
        log_restore(log, u);
        kv_mem_free(u->front);
        kv_mem_free(u->back);
        return;
    }
    at = log->begin + (size_t)(u->index - log->head.base.pos.index - 1);
    record_free(log->slots[at]);
    log->slots[at] = u->record;
}

void mem_log_forget(struct mem_undo *u)
{
    for (size_t i = 0; i < u->front_count; i++) {
        record_free(u->front[i]);
    }
    for (size_t i = 0; i < u->back_count; i++) {
        record_free(u->back[i]);
    }
    kv_mem_free(u->front);
    kv_mem_free(u->back);
    record_free(u->record);
}

void mem_log_close(struct mem_log *log)
{
    for (size_t i = 0; i < log->count; i++) {
        record_free(log->slots[log->begin + i]);
    }
    kv_mem_free(log->slots);
    *log = (struct mem_log){0};
}
