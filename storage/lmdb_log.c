/* storage/lmdb_log.c - writing the log: entries, term, vote and base of all groups.
 *
 * A commit stores its entries as batches (storage/batch.h) behind all others, and
 * deletes a few of the oldest batches of which nothing is part of a log any more. What
 * it is going to store is gathered in a plan first; the index in memory is changed when
 * the commit is durable.
 */
#include "raft/base/bug.h"
#include "raft/base/err.h"
#include "raft/record.h"
#include "storage/batch.h"
#include "storage/failpoint.h"
#include "storage/lmdb_page.h"
#include "storage/lmdb_store.h"
#include "storage/meta.h"

enum {
    LOG_DELETE_MAX = 8,    /* Old batches that a commit of entries deletes. */
    LOG_NUMBER_BITS = 12,  /* Of a batch's number: which one of its commit. */
    LOG_HEAD_PAGES = 4,    /* That a group's share may dirty besides its entries. */
    LOG_COMMIT_PAGES = 32, /* Trees, marks, free list. */
    LOG_SWEEP_BYTES = 512 * 1024,       /* That a sweep moves, ... */
    LOG_SWEEP_ITEMS = 16 * 1024,        /* ... and entries at most. */
    LOG_SLACK_BYTES = 16 * 1024 * 1024, /* Dead bytes that are not worth moving for. */
};

struct raft_meta lmdb_log_meta_of(const struct raft_entry *e)
{
    return (struct raft_meta){
        .pos = e->pos,
        .type = e->type,
        .payload_bytes = (uint32_t)e->payload.len,
        .time_ms = e->time_ms,
        .hash = e->hash,
    };
}

static struct raft_meta meta_of_base(const struct raft_base *b)
{
    return (struct raft_meta){.pos = b->pos, .time_ms = b->time_ms, .hash = b->hash};
}

/* ---- the plan ---- */

/* Makes room for `items` entries and `changes`. 0, KV_ENOMEM. */
static int plan_begin(struct log_plan *p, size_t items, size_t changes)
{
    p->items_count = 0;
    p->changes_count = 0;
    p->batches_count = 0;
    if (items > p->items_cap) {
        kv_mem_free(p->items);
        kv_mem_free(p->places);
        kv_mem_free(p->batches);
        p->items = kv_mem_zalloc(items * sizeof *p->items);
        p->places = kv_mem_zalloc(items * sizeof *p->places);
        p->batches = kv_mem_zalloc(items * sizeof *p->batches);
        p->items_cap = items;
    }
    if (changes > p->changes_cap) {
        kv_mem_free(p->changes);
        p->changes = kv_mem_zalloc(changes * sizeof *p->changes);
        p->changes_cap = changes;
    }
    if (p->items_cap > 0 &&
        (p->items == NULL || p->places == NULL || p->batches == NULL)) {
        p->items_cap = 0;
        return KV_ENOMEM;
    }
    if (p->changes_cap > 0 && p->changes == NULL) {
        p->changes_cap = 0;
        return KV_ENOMEM;
    }
    return 0;
}

void lmdb_log_plan_close(struct log_plan *p)
{
    kv_mem_free(p->items);
    kv_mem_free(p->places);
    kv_mem_free(p->batches);
    kv_mem_free(p->changes);
    *p = (struct log_plan){0};
}

/* Adds an entry behind the others; opens another batch where the last one is full. */
static void plan_add(struct log_plan *p, group_id group, raft_index index,
                     struct kv_bytes record)
{
    struct plan_batch *b =
        p->batches_count == 0 ? NULL : &p->batches[p->batches_count - 1];
    size_t bytes = record.len + BATCH_ITEM_BYTES;

    KV_ASSERT(p->items_count < p->items_cap);
    if (b == NULL || b->bytes + bytes > BATCH_BYTES_MAX) {
        b = &p->batches[p->batches_count++];
        *b = (struct plan_batch){.first = (uint32_t)p->items_count,
                                 .bytes = BATCH_HEAD_BYTES};
    }
    p->items[p->items_count++] =
        (struct plan_item){.group = group, .index = index, .record = record};
    b->count++;
    b->bytes += bytes;
}

/* The newest record planned for this entry; false when there is none. */
static bool plan_find(const struct log_plan *p, group_id group, raft_index index,
                      struct kv_bytes *out)
{
    for (size_t i = p->items_count; i-- > 0;) {
        if (p->items[i].group == group && p->items[i].index == index) {
            *out = p->items[i].record;
            return true;
        }
    }
    return false;
}

/* Writes one batch behind all others and notes where its entries lie. */
static int batch_put(struct lmdb_store *ls, MDB_txn *txn, uint64_t number,
                     const struct plan_batch *b)
{
    struct log_plan *p = &ls->plan;
    uint8_t room[LOG_KEY_BYTES];
    MDB_val key = lmdb_val(lmdb_batch_key(number, room));
    MDB_val value = {.mv_size = b->bytes};
    size_t offset = batch_directory_bytes(b->count);
    int rc;

    rc =
        mdb_put(txn, ls->log.dbis[LOG_BATCHES], &key, &value, MDB_RESERVE | MDB_APPEND);
    if (rc != 0) {
        return rc == MDB_KEYEXIST ? MDB_CORRUPTED
                                  : rc; /* A newer one than the newest. */
    }
    for (uint32_t i = 0; i < b->count; i++) {
        const struct plan_item *planned = &p->items[b->first + i];
        const struct batch_item item = {.group = planned->group,
                                        .index = planned->index,
                                        .offset = (uint32_t)offset,
                                        .bytes = (uint32_t)planned->record.len};

        memcpy((uint8_t *)value.mv_data + offset, planned->record.data, item.bytes);
        batch_item_put(value.mv_data, i, &item);
        p->places[b->first + i] =
            (struct log_place){.batch = number, .slot = i, .bytes = item.bytes};
        offset += item.bytes;
    }
    KV_ASSERT(offset == b->bytes);
    batch_seal(value.mv_data, number, b->count);
    return 0;
}

static int plan_put(struct lmdb_store *ls, MDB_txn *txn)
{
    struct log_plan *p = &ls->plan;
    uint64_t first = (uint64_t)mdb_txn_id(txn) << LOG_NUMBER_BITS;
    int rc = 0;

    KV_ASSERT(p->batches_count < 1u << LOG_NUMBER_BITS); /* A gigabyte in one commit. */
    for (uint32_t i = 0; rc == 0 && i < p->batches_count; i++) {
        rc = batch_put(ls, txn, first | i, &p->batches[i]);
    }
    return rc;
}

/* Makes room in the index for all that the plan holds. */
static int plan_reserve(struct lmdb_store *ls)
{
    const struct log_plan *p = &ls->plan;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < p->changes_count; i++) {
        rc = log_index_reserve(&ls->log_index, p->changes[i].group,
                               (uint32_t)p->items_count, p->batches_count);
    }
    return rc;
}

/* The batches are durable: the index may know them. */
static void plan_batches_done(struct lmdb_store *ls)
{
    const struct log_plan *p = &ls->plan;

    for (uint32_t i = 0; i < p->batches_count; i++) {
        const struct plan_batch *b = &p->batches[i];
        int rc =
            log_index_batch(&ls->log_index, p->places[b->first].batch, b->bytes, false);

        KV_ASSERT(rc == 0); /* There is room. */
    }
}

/* ---- old batches ---- */

/* Deletes up to `max` of the oldest batches, of which nothing is left. */
static int dead_delete(struct lmdb_store *ls, MDB_txn *txn, uint32_t max)
{
    struct log_plan *p = &ls->plan;
    int rc = 0;

    KV_ASSERT(max <= LOG_DEAD_MAX);
    p->dead_count = log_index_dead(&ls->log_index, max, p->dead);
    for (uint32_t i = 0; rc == 0 && i < p->dead_count; i++) {
        uint8_t room[LOG_KEY_BYTES];
        MDB_val key = lmdb_val(lmdb_batch_key(p->dead[i], room));

        rc = mdb_del(txn, ls->log.dbis[LOG_BATCHES], &key, NULL);
        rc = rc == MDB_NOTFOUND ? 0 : rc; /* Hidden by damage: it is gone, then. */
    }
    return rc;
}

static void dead_done(struct lmdb_store *ls)
{
    for (uint32_t i = 0; i < ls->plan.dead_count; i++) {
        log_index_oldest_gone(&ls->log_index, ls->plan.dead[i]);
    }
    ls->plan.dead_count = 0;
}

/* ---- the parts of a write ---- */

/* Reads the entry at `index`, which the head says is there, as the transaction will
 * leave it. 0, KV_EDAMAGED, KV_EFORMAT, an LMDB code. */
static int entry_find(struct log_view *v, group_id group, raft_index index,
                      struct raft_entry *out)
{
    struct log_found found;
    struct log_place place;
    int rc;

    if (plan_find(&v->ls->plan, group, index, &found.record)) {
        return raft_record_decode(found.record, out);
    }
    log_index_get(&v->ls->log_index, group, index, index + 1, &place);
    rc = lmdb_log_entry(v, group, index, &place, &found);
    if (rc == 0) {
        *out = found.entry;
    }
    return rc == MDB_NOTFOUND ? KV_EDAMAGED : rc;
}

/* Is the entry that the log holds at `at` the one that it names? 1 yes, 0 no, or a
 * failure. A damaged entry is known by its successor, which hashes it in. When that is
 * damaged as well, nothing speaks against it: what was acked behind them must stay, and
 * the group finds out about the successor. */
static int entry_is(struct log_view *v, group_id group, const struct log_state *h,
                    const struct raft_base *at)
{
    struct raft_entry entry;
    int rc = entry_find(v, group, at->pos.index, &entry);

    if (rc == 0) {
        return entry.pos.term == at->pos.term && entry.hash == at->hash;
    }
    if (rc != KV_EDAMAGED) {
        return rc;
    }
    if (at->pos.index == h->last.pos.index) {
        return h->last.pos.term == at->pos.term && h->last.hash == at->hash;
    }
    rc = entry_find(v, group, at->pos.index + 1, &entry);
    if (rc != 0) {
        return rc == KV_EDAMAGED ? 1 : rc;
    }
    return raft_entry_hash(at->hash, &entry) == entry.hash;
}

/* The log begins behind a snapshot now. */
static int reset_apply(struct log_view *v, struct log_change *c, struct log_state *h,
                       const struct raft_base *to)
{
    bool is_kept = false; /* What lies behind it. */

    if (to->pos.index <= h->base.pos.index) {
        return 0; /* A late snapshot, or the same once more. */
    }
    if (to->pos.index <= h->last.pos.index) {
        int same = entry_is(v, c->group, h, to);

        if (same != 0 && same != 1) {
            return same;
        }
        is_kept = same == 1 && to->pos.index < h->last.pos.index;
    }
    if (!is_kept) { /* Another history, or nothing. */
        c->cut = to->pos.index + 1;
        h->last = meta_of_base(to);
    }
    h->base = *to;
    c->base = to->pos.index;
    h->commit_hint = KV_MAX(h->commit_hint, to->pos.index);
    h->commit_hint = KV_MIN(h->commit_hint, h->last.pos.index);
    return 0;
}

static int compact_apply(struct log_view *v, struct log_change *c, struct log_state *h,
                         const struct raft_base *to)
{
    struct raft_entry entry;
    int rc;

    if (to->pos.index <= h->base.pos.index) {
        return 0;
    }
    if (to->pos.index > h->last.pos.index) {
        return KV_EINVAL;
    }
    rc = entry_find(v, c->group, to->pos.index, &entry);
    if (rc == 0 && (entry.pos.term != to->pos.term || entry.hash != to->hash)) {
        return KV_EINVAL;
    }
    if (rc != 0 && rc != KV_EDAMAGED) { /* A damaged entry may go: the state has it. */
        return rc;
    }
    h->base = *to;
    c->base = to->pos.index;
    if (h->last.pos.index == to->pos.index) {
        h->last = meta_of_base(to);
    }
    h->commit_hint = KV_MAX(h->commit_hint, to->pos.index);
    return 0;
}

static int records_apply(struct log_plan *p, struct log_change *c,
                         const struct log_write *w, struct log_state *h)
{
    raft_index old_last = h->last.pos.index;
    uint64_t hash = 0; /* Of the entry before. */

    if (w->first_index <= h->base.pos.index || w->first_index > old_last + 1) {
        return KV_EINVAL; /* A gap, or behind the base. */
    }
    if (w->first_index <= h->commit_hint) {
        return KV_ECORRUPT; /* It would replace what is committed. */
    }
    c->cut = KV_MIN(c->cut, w->first_index);
    c->first = w->first_index;
    c->count = w->records_count;
    c->item = (uint32_t)p->items_count;
    for (uint32_t i = 0; i < w->records_count; i++) {
        struct raft_entry entry;
        int rc = raft_record_decode(w->records[i], &entry);

        if (rc != 0 || entry.pos.index != w->first_index + i ||
            (i > 0 && raft_entry_hash(hash, &entry) != entry.hash)) {
            return KV_EINVAL; /* Never store what could not be read again. */
        }
        hash = entry.hash;
        plan_add(p, w->group, entry.pos.index, w->records[i]);
        h->last = lmdb_log_meta_of(&entry);
    }
    if (c->first <= old_last) {
        (void)KV_FAILPOINT(log_truncate);
    }
    return 0;
}

static int head_put(struct lmdb_store *ls, MDB_txn *txn, group_id group,
                    const struct log_state *h)
{
    uint8_t room[4];
    uint8_t record[META_LOG_BYTES];
    MDB_val key = lmdb_val(lmdb_group_key(group, room));
    MDB_val value = {sizeof record, record};

    KV_ASSERT(h->base.pos.index <= h->last.pos.index);
    KV_ASSERT(h->commit_hint <= h->last.pos.index);
    meta_log_encode(group, h, record);
    return mdb_put(txn, ls->log.dbis[LOG_HEADS], &key, &value, 0);
}

/* One group's share. Order: storage/store.h. */
static int write_apply(struct log_view *v, const struct log_write *w)
{
    struct lmdb_store *ls = v->ls;
    struct log_change *c = &ls->plan.changes[ls->plan.changes_count];
    struct log_state h;
    int rc = w->group < ls->groups_max ? 0 : KV_EINVAL;

    *c = (struct log_change){.group = w->group, .cut = UINT64_MAX};
    if (rc == 0) {
        rc = lmdb_log_head(ls, v->txn, w->group, &h);
    }
    if (rc == 0 && w->reset_to != NULL) {
        rc = reset_apply(v, c, &h, w->reset_to);
        (void)KV_FAILPOINT(log_reset);
    }
    if (rc == 0 && w->compact_to != NULL) {
        rc = compact_apply(v, c, &h, w->compact_to);
        (void)KV_FAILPOINT(log_compact);
    }
    if (rc == 0 && w->records_count > 0) {
        rc = records_apply(&ls->plan, c, w, &h);
    }
    if (rc != 0) {
        return rc;
    }
    ls->plan.changes_count++;
    if (w->store_hard) {
        if (w->term < h.term) {
            return KV_ECORRUPT; /* Terms never go back. */
        }
        h.term = w->term;
        h.vote = w->vote;
        rc = KV_FAILPOINT(log_hard);
    }
    if (w->commit_hint > h.last.pos.index) {
        return KV_EINVAL;
    }
    h.commit_hint = KV_MAX(h.commit_hint, w->commit_hint);
    return rc != 0 ? rc : head_put(ls, v->txn, w->group, &h);
}

/* Pages that entries of so many bytes, directories included, may take. */
static void demand_add(struct lmdb_demand *d, uint64_t bytes)
{
    uint64_t pages = bytes / LMDB_PAGE_BYTES + 2 * (bytes / BATCH_BYTES_MAX + 1);

    d->pages += pages;
    if (!lmdb_page_is_inline(LOG_KEY_BYTES, bytes)) {
        d->run_pages = pages;
    }
}

static struct lmdb_demand demand_of(const struct log_write *writes, size_t count)
{
    struct lmdb_demand d = {.pages = LOG_COMMIT_PAGES + LOG_HEAD_PAGES * count,
                            .urgent = true};
    uint64_t bytes = BATCH_HEAD_BYTES;

    for (size_t i = 0; i < count; i++) {
        d.urgent = d.urgent && writes[i].urgent;
        for (uint32_t k = 0; k < writes[i].records_count; k++) {
            bytes += writes[i].records[k].len + BATCH_ITEM_BYTES;
        }
    }
    demand_add(&d, bytes);
    return d;
}

/* ---- verbs that write ---- */

static int writes_commit(struct lmdb_store *ls, const struct log_write *writes,
                         size_t count, uint64_t *out_id)
{
    struct lmdb_demand d = demand_of(writes, count);
    struct log_view v = {.ls = ls};
    int rc = KV_FAILPOINT(log_write);

    if (rc == 0) {
        rc = lmdb_write_begin(&ls->log, &d, &v.txn);
    }
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = write_apply(&v, &writes[i]);
    }
    if (rc == 0) {
        rc = plan_reserve(ls);
    }
    if (rc == 0) {
        rc = plan_put(ls, v.txn);
    }
    if (rc == 0) {
        rc = dead_delete(ls, v.txn, LOG_DELETE_MAX);
    }
    if (rc == 0) {
        rc = KV_FAILPOINT(log_filled);
    }
    if (KV_BUG(ls->base, K16)) {
        (void)mdb_env_set_flags(ls->log.env, MDB_NOSYNC, 1);
    }
    *out_id = (uint64_t)mdb_txn_id(v.txn);
    return lmdb_write_end(&ls->log, v.txn, rc);
}

/* The commit is there, and nobody knows of it. */
static void written(const struct log_write *w)
{
    (void)KV_FAILPOINT(log_written);
    if (w->store_hard) {
        (void)KV_FAILPOINT(log_hard_written);
    }
    if (w->compact_to != NULL) {
        (void)KV_FAILPOINT(log_compacted);
    }
    if (w->reset_to != NULL) {
        (void)KV_FAILPOINT(log_was_reset);
    }
}

/* The commit is durable: memory follows. */
static void writes_done(struct lmdb_store *ls, uint64_t id)
{
    const struct log_plan *p = &ls->plan;

    plan_batches_done(ls);
    for (size_t i = 0; i < p->changes_count; i++) {
        const struct log_change *c = &p->changes[i];
        uint64_t none = 0;

        log_index_change(&ls->log_index, c, p->places + c->item);
        (void)atomic_compare_exchange_strong(&ls->log_known[c->group], &none, id);
    }
    dead_done(ls);
}

int lmdb_log_write(struct store *s, const struct log_write *writes, size_t count)
{
    struct lmdb_store *ls = lmdb_store_of(s);
    size_t items = 0;
    uint64_t id;
    int rc;

    for (size_t i = 0; i < count; i++) {
        items += writes[i].records_count;
    }
    pthread_mutex_lock(&ls->log_writer);
    rc = plan_begin(&ls->plan, items, count);
    if (rc == 0) {
        rc = writes_commit(ls, writes, count, &id);
    }
    if (rc == 0) {
        writes_done(ls, id);
    }
    pthread_mutex_unlock(&ls->log_writer);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        written(&writes[i]);
    }
    return rc;
}

/* Do the entry's neighbours, or the head, demand exactly this entry? */
static int repair_check(struct log_view *v, group_id group,
                        const struct raft_entry *entry)
{
    struct raft_entry next;
    struct log_state h;
    int rc = lmdb_log_head(v->ls, v->txn, group, &h);

    if (rc != 0) {
        return rc;
    }
    if (entry->pos.index <= h.base.pos.index || entry->pos.index > h.last.pos.index) {
        return KV_EINVAL;
    }
    if (entry->pos.index == h.last.pos.index) {
        return entry->pos.term == h.last.pos.term && entry->hash == h.last.hash
                   ? 0
                   : KV_EINVAL;
    }
    rc = entry_find(v, group, entry->pos.index + 1, &next);
    if (rc != 0) {
        return rc == KV_EDAMAGED ? KV_EINVAL : rc; /* Repair that one first. */
    }
    return raft_entry_hash(entry->hash, &next) == next.hash ? 0 : KV_EINVAL;
}

static int repair_commit(struct lmdb_store *ls, group_id group,
                         const struct raft_entry *entry, struct kv_bytes record)
{
    struct lmdb_demand d = {.pages = LOG_COMMIT_PAGES, .urgent = true};
    struct log_view v = {.ls = ls};
    int rc;

    demand_add(&d, BATCH_HEAD_BYTES + BATCH_ITEM_BYTES + record.len);
    rc = lmdb_write_begin(&ls->log, &d, &v.txn);
    if (rc != 0) {
        return rc;
    }
    rc = repair_check(&v, group, entry);
    if (rc == 0) {
        (void)KV_FAILPOINT(log_repair);
        plan_add(&ls->plan, group, entry->pos.index, record);
        rc = log_index_reserve(&ls->log_index, group, 0, 1);
    }
    if (rc == 0) {
        rc = plan_put(ls, v.txn);
    }
    return lmdb_write_end(&ls->log, v.txn, rc);
}

int lmdb_log_repair(struct store *s, group_id group, raft_index index,
                    struct kv_bytes record)
{
    struct lmdb_store *ls = lmdb_store_of(s);
    struct raft_entry entry;
    int rc;

    if (raft_record_decode(record, &entry) != 0 || entry.pos.index != index) {
        return KV_EINVAL;
    }
    pthread_mutex_lock(&ls->log_writer);
    rc = plan_begin(&ls->plan, 1, 0);
    if (rc == 0) {
        rc = repair_commit(ls, group, &entry, record);
    }
    if (rc == 0) {
        plan_batches_done(ls);
        log_index_move(&ls->log_index, group, index, &ls->plan.places[0]);
    }
    pthread_mutex_unlock(&ls->log_writer);
    (void)KV_FAILPOINT(log_repaired);
    return rc;
}

/* ---- sweeping ---- */

/* Plans to move what is left in a batch. 0 and the bytes; MDB_NOTFOUND and others. */
static int move_plan(struct log_view *v, const struct log_batch *b, uint64_t *bytes)
{
    struct lmdb_store *ls = v->ls;
    uint8_t room[LOG_KEY_BYTES];
    MDB_val key = lmdb_val(lmdb_batch_key(b->number, room));
    MDB_val value;
    uint32_t count;
    int rc = mdb_get(v->txn, ls->log.dbis[LOG_BATCHES], &key, &value);

    if (rc == 0) {
        rc = batch_check(lmdb_bytes(&value), b->number, &count);
    }
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        struct batch_item item;
        struct log_place place = {0};

        rc = batch_item_get(lmdb_bytes(&value), i, &item);
        if (rc == 0 && item.group < ls->groups_max && item.index < UINT64_MAX) {
            log_index_get(&ls->log_index, item.group, item.index, item.index + 1,
                          &place);
        }
        if (place.batch == b->number && place.slot == i) {
            plan_add(
                &ls->plan, item.group, item.index,
                kv_bytes((const uint8_t *)value.mv_data + item.offset, item.bytes));
            *bytes += item.bytes;
        }
    }
    return rc;
}

/* Copies what is left in the oldest batches behind all others; the next sweep deletes
 * them. Two commits, so that a reader finds an entry in one place or the other. */
static int oldest_move(struct lmdb_store *ls, MDB_txn *txn)
{
    struct log_view v = {.ls = ls, .txn = txn};
    struct log_batch b;
    uint64_t bytes = 0;
    int rc = 0;

    for (size_t i = 0; rc == 0 && bytes < LOG_SWEEP_BYTES &&
                       log_index_oldest(&ls->log_index, i, &b) &&
                       ls->plan.items_count + b.live <= ls->plan.items_cap;
         i++) {
        rc = b.live == 0 ? 0 : move_plan(&v, &b, &bytes);
    }
    /* One that cannot be read stays: damage is not mended by deleting. */
    return rc == MDB_NOTFOUND || rc == KV_EDAMAGED || rc == KV_EFORMAT ? 0 : rc;
}

static int sweep_commit(struct lmdb_store *ls, bool is_wasteful)
{
    struct lmdb_demand d = {.pages = LOG_COMMIT_PAGES, .urgent = true};
    MDB_txn *txn;
    int rc;

    (void)KV_FAILPOINT(log_sweep);
    if (is_wasteful) {
        /* It stops behind the batch that passes the bound. */
        demand_add(&d, LOG_SWEEP_BYTES + BATCH_BYTES_MAX + RAFT_RECORD_PAYLOAD_MAX +
                           LOG_SWEEP_ITEMS * BATCH_ITEM_BYTES);
    }
    rc = lmdb_write_begin(&ls->log, &d, &txn);
    if (rc != 0) {
        return rc;
    }
    rc = dead_delete(ls, txn, LOG_DEAD_MAX);
    if (rc == 0 && is_wasteful && ls->plan.dead_count == 0) {
        rc = oldest_move(ls, txn);
        if (rc == 0) {
            rc = log_index_reserve(&ls->log_index, 0, 0, ls->plan.batches_count);
        }
        if (rc == 0) {
            rc = plan_put(ls, txn);
        }
    }
    return lmdb_write_end(&ls->log, txn, rc);
}

int lmdb_log_sweep(struct lmdb_store *ls, bool *out_more)
{
    const struct log_plan *p = &ls->plan;
    uint64_t slack = KV_MIN((uint64_t)LOG_SLACK_BYTES, ls->log.quota_bytes / 8);
    uint64_t number;
    bool is_dead, is_wasteful;
    int rc = 0;

    pthread_mutex_lock(&ls->log_writer);
    is_dead = log_index_dead(&ls->log_index, 1, &number) > 0;
    is_wasteful = !is_dead && log_index_wasteful(&ls->log_index, slack);
    if (is_dead || is_wasteful) {
        rc = plan_begin(&ls->plan, LOG_SWEEP_ITEMS, 0);
        if (rc == 0) {
            rc = sweep_commit(ls, is_wasteful);
        }
        if (rc == 0) {
            *out_more = p->dead_count > 0 || p->items_count > 0;
            plan_batches_done(ls);
            for (size_t i = 0; i < p->items_count; i++) {
                log_index_move(&ls->log_index, p->items[i].group, p->items[i].index,
                               &p->places[i]);
            }
            dead_done(ls);
        }
        (void)KV_FAILPOINT(log_swept);
    } else {
        *out_more = false;
    }
    pthread_mutex_unlock(&ls->log_writer);
    return rc;
}
