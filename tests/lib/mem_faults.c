/* tests/lib/mem_faults.c - the memory store's faults: failures, full disks, bit rot. */
#include "raft/base/err.h"
#include "storage/row.h"
#include "tests/lib/mem_store_impl.h"

/* ---- failures ---- */

void mem_store_fail(struct mem_store *m, uint32_t nth, int code, bool done)
{
    KV_ASSERT_IMPLIES(nth > 0, code != 0);
    m->fail_in = nth;
    m->fail_code = nth == 0 ? 0 : code;
    m->fail_done = done;
}

void mem_store_misread(struct mem_store *m, uint32_t nth)
{
    m->read_fail_in = nth;
}

bool mem_store_will_misread(const struct mem_store *m)
{
    return m->read_fail_in > 0;
}

void mem_store_full(struct mem_store *m, bool full)
{
    m->is_full = full;
    m->is_reserve_used = false;
}

void mem_store_full_to_the_brim(struct mem_store *m)
{
    m->is_full = true;
    m->is_reserve_used = true;
}

void mem_store_observe(struct mem_store *m, bool on)
{
    m->is_observed = on;
}

uint64_t mem_store_faults_met(const struct mem_store *m)
{
    return m->faults_met;
}

/* ---- bit rot ---- */

static void bit_flip(struct kv_bytes bytes, uint64_t bit)
{
    uint8_t *data = (uint8_t *)(uintptr_t)bytes.data;

    bit %= 8 * (uint64_t)bytes.len;
    data[bit / 8] ^= (uint8_t)(1U << (bit % 8));
}

static bool flip_row(struct mem_row *row, uint64_t bit)
{
    if (row->row.value.len > 0) {
        bit_flip(row->row.value, bit);
    } else {
        row->row.rev ^= 1ULL << (bit % 64);
    }
    return true;
}

bool mem_store_flip_entry(struct mem_store *m, group_id group, raft_index index,
                          uint64_t bit)
{
    struct kv_bytes record;

    if (mem_log_record(&mem_store_group(m, group)->log, index, &record) != 0) {
        return false;
    }
    bit_flip(record, bit);
    return true;
}

bool mem_store_flip_row(struct mem_store *m, group_id group, uint8_t kind,
                        struct kv_bytes key, uint64_t bit)
{
    struct mem_rows *v = &mem_store_group(m, group)->rows;
    size_t at = mem_rows_seek(v, kind, key);

    if (at == v->count ||
        row_compare(v->rows[at]->row.kind, v->rows[at]->row.key, kind, key) != 0) {
        return false;
    }
    return flip_row(v->rows[at], bit);
}

void mem_store_flip_hard(struct mem_store *m, group_id group)
{
    mem_store_group(m, group)->log.hard_damaged = true;
}

bool mem_store_flip_any_entry(struct mem_store *m, group_id group, uint64_t chance,
                              raft_index *out_index)
{
    const struct mem_log *log = &mem_store_group(m, group)->log;

    if (log->count == 0) {
        return false;
    }
    *out_index = log->head.base.pos.index + 1 + chance % log->count;
    return mem_store_flip_entry(m, group, *out_index, chance >> 20);
}

bool mem_store_flip_any_row(struct mem_store *m, group_id group, uint64_t chance)
{
    const struct mem_rows *v = &mem_store_group(m, group)->rows;

    return v->count > 0 && flip_row(v->rows[chance % v->count], chance >> 20);
}

bool mem_store_flip_file(struct mem_store *m, group_id group, bool received,
                         uint64_t chance)
{
    struct mem_group *g = mem_store_group(m, group);
    struct mem_file *f = received ? &g->received : &g->made;

    if (f->about.id == 0 || f->len == 0) {
        return false;
    }
    bit_flip(kv_bytes(f->data, f->len), chance);
    return true;
}

/* ---- what is whole ---- */

bool mem_store_is_whole(struct mem_store *m, group_id group)
{
    const struct mem_group *g = mem_store_group(m, group);
    struct raft_meta meta;

    if (g->log.hard_damaged) {
        return false;
    }
    for (size_t i = 0; i < g->log.count; i++) {
        if (mem_log_meta(&g->log, g->log.head.base.pos.index + 1 + i, &meta) != 0) {
            return false;
        }
    }
    for (size_t i = 0; i < g->rows.count; i++) {
        if (!mem_rows_intact(g->rows.rows[i])) {
            return false;
        }
    }
    return true;
}
