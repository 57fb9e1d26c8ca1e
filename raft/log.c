/* raft/log.c - the ring of metas and what moves it. */
#include "raft/log.h"

#include "raft/base/err.h"

static struct raft_meta *log_slot(const struct raft_log *log, raft_index index)
{
    return &log->ring[index & (log->window - 1)];
}

static struct raft_meta log_base_meta(const struct raft_log *log)
{
    return (struct raft_meta){
        .pos = log->base.pos, .time_ms = log->base.time_ms, .hash = log->base.hash};
}

static void log_tail_set(struct raft_log *log, const struct raft_meta *meta)
{
    log->last = meta->pos;
    log->last_hash = meta->hash;
    log->last_time_ms = meta->time_ms;
}

void raft_log_reset(struct raft_log *log, const struct raft_base *base)
{
    struct raft_meta tail;

    log->base = *base;
    log->ring_begin = base->pos.index + 1;
    log->last_durable = base->pos.index;
    tail = log_base_meta(log);
    log_tail_set(log, &tail);
}

/* A meta as the reader gave it, checked against its predecessor. */
static int log_load_one(struct raft_log *log, raft_index index, bool tolerant)
{
    struct raft_meta meta;
    int rc = log->reader.meta(log->reader.ctx, index, &meta);

    if (rc == KV_EDAMAGED && tolerant) {
        log->ring_begin = index + 1;
        log->last = (struct raft_pos){.index = index};
        log->last_hash = 0;
        return 0;
    }
    if (rc != 0) {
        return rc;
    }
    if (meta.pos.index != index || meta.pos.term < log->last.term ||
        meta.time_ms < log->last_time_ms) {
        return KV_ECORRUPT;
    }
    *log_slot(log, index) = meta;
    log_tail_set(log, &meta);
    return 0;
}

int raft_log_load(struct raft_log *log, const struct raft_base *base, raft_index last,
                  bool tolerant)
{
    raft_index begin = base->pos.index + 1;

    if (last < base->pos.index) {
        return KV_ECORRUPT;
    }
    raft_log_reset(log, base);
    if (last - base->pos.index > log->window) {
        begin = last - log->window + 1;
        log->ring_begin = begin;
        log->last = (struct raft_pos){.index = begin - 1, .term = base->pos.term};
    }
    for (raft_index i = begin; i <= last; i++) {
        int rc = log_load_one(log, i, tolerant);

        if (rc != 0) {
            return rc == KV_ENOTFOUND || rc == KV_ECOMPACTED ? KV_ECORRUPT : rc;
        }
    }
    log->last_durable = last;
    return 0;
}

int raft_log_repair(struct raft_log *log)
{
    struct raft_meta meta;
    int rc;

    if (log->last.term != 0 || log->last.index == log->base.pos.index) {
        return 0;
    }
    rc = log->reader.meta(log->reader.ctx, log->last.index, &meta);
    if (rc == 0) {
        log_tail_set(log, &meta);
    }
    return rc;
}

int raft_log_meta(const struct raft_log *log, raft_index index,
                  struct raft_meta *out_meta)
{
    if (index > log->last.index) {
        return KV_ENOTFOUND;
    }
    if (index <= log->base.pos.index) {
        if (index < log->base.pos.index) {
            return KV_ECOMPACTED;
        }
        *out_meta = log_base_meta(log);
        return 0;
    }
    if (index >= log->ring_begin) {
        *out_meta = *log_slot(log, index);
        KV_ASSERT(out_meta->pos.index == index);
        return 0;
    }
    return log->reader.meta(log->reader.ctx, index, out_meta);
}

uint32_t raft_log_room(const struct raft_log *log)
{
    raft_index waiting = log->last.index - log->last_durable;

    KV_ASSERT(waiting <= log->window);
    return log->window - (uint32_t)waiting;
}

void raft_log_append(struct raft_log *log, const struct raft_meta *meta)
{
    KV_ASSERT(raft_log_room(log) > 0);
    KV_ASSERT(meta->pos.index == log->last.index + 1);
    KV_ASSERT(meta->pos.term >= log->last.term);
    KV_ASSERT(meta->time_ms >= log->last_time_ms);
    *log_slot(log, meta->pos.index) = *meta;
    log_tail_set(log, meta);
    if (log->last.index - log->ring_begin >= log->window) {
        log->ring_begin = log->last.index - log->window + 1;
    }
}

int raft_log_truncate(struct raft_log *log, raft_index from)
{
    struct raft_meta tail;
    int rc;

    KV_ASSERT(from > log->base.pos.index && from <= log->last.index);
    KV_ASSERT(log->last_durable == log->last.index);
    rc = raft_log_meta(log, from - 1, &tail);
    if (rc != 0) {
        return rc;
    }
    log_tail_set(log, &tail);
    log->last_durable = from - 1;
    log->ring_begin = KV_MIN(log->ring_begin, from);
    return 0;
}

void raft_log_persisted(struct raft_log *log, struct raft_pos pos)
{
    struct raft_meta meta;

    if (pos.index <= log->last_durable || pos.index > log->last.index) {
        return;
    }
    /* What is not durable is in the ring, so this cannot fail. */
    if (raft_log_meta(log, pos.index, &meta) == 0 && meta.pos.term == pos.term) {
        log->last_durable = pos.index;
    }
}

void raft_log_compact(struct raft_log *log, const struct raft_base *base)
{
    KV_ASSERT(base->pos.index >= log->base.pos.index);
    KV_ASSERT(base->pos.index <= log->last_durable);
    log->base = *base;
    log->ring_begin = KV_MAX(log->ring_begin, base->pos.index + 1);
}

struct raft_pos raft_log_back_up(const struct raft_log *log, raft_index index,
                                 raft_term term, raft_index floor)
{
    struct raft_pos pos = {.index = KV_MIN(index, log->last.index)};

    for (uint32_t steps = 0; steps <= log->window; steps++) {
        struct raft_meta meta;

        if (raft_log_meta(log, pos.index, &meta) != 0) {
            break;
        }
        pos.term = meta.pos.term;
        if (pos.term <= term || pos.index <= floor) {
            break;
        }
        pos.index--;
    }
    return pos;
}
