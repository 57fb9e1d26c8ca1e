/* storage/lmdb_log_read.c - reading the log: heads, entries, and the index at open.
 *
 * Readers ask the index for the places first and begin their transaction then, so that
 * it is at least as new as what the index says. A batch that is moved is deleted by a
 * later commit than the one that copied it; who still misses it looks again.
 */
#include "raft/base/err.h"
#include "storage/batch.h"
#include "storage/lmdb_page.h"
#include "storage/lmdb_store.h"
#include "storage/meta.h"

enum {
    LOG_RECORD_BYTES_MIN = RAFT_RECORD_HEAD_BYTES,
    LOG_TRIES = 4, /* Of a read that met a batch on the move. */
};

int lmdb_log_head(struct lmdb_store *ls, MDB_txn *txn, group_id group,
                  struct log_state *out)
{
    uint8_t room[4];
    MDB_val key = lmdb_val(lmdb_group_key(group, room));
    MDB_val value;
    int rc = mdb_get(txn, ls->log.dbis[LOG_HEADS], &key, &value);

    if (rc == MDB_NOTFOUND) {
        if (group < ls->groups_max && lmdb_is_known(&ls->log_known[group], txn)) {
            return KV_EDAMAGED; /* It was there. */
        }
        *out = (struct log_state){0};
        return 0;
    }
    if (rc == 0 && lmdb_is_reader(ls, txn) && !lmdb_page_leaf_ok(value.mv_data)) {
        return KV_EDAMAGED;
    }
    return rc != 0 ? rc : meta_log_decode(group, lmdb_bytes(&value), out);
}

/* ---- entries ---- */

/* Fetches the batch unless it is there. 0, an LMDB code. */
static int batch_fetch(struct log_view *v, uint64_t number)
{
    uint8_t room[LOG_KEY_BYTES];
    MDB_val key = lmdb_val(lmdb_batch_key(number, room));
    int rc;

    if (v->number == number) {
        return 0;
    }
    v->number = 0;
    rc = mdb_get(v->txn, v->ls->log.dbis[LOG_BATCHES], &key, &v->batch);
    if (rc == 0) {
        v->number = number;
    }
    return rc;
}

int lmdb_log_entry(struct log_view *v, group_id group, raft_index index,
                   const struct log_place *place, struct log_found *out)
{
    struct batch_item item;
    int rc = place->batch == 0 ? KV_EDAMAGED : batch_fetch(v, place->batch);

    if (rc == 0) {
        rc = batch_item_get(lmdb_bytes(&v->batch), place->slot, &item);
    }
    if (rc == 0 && (item.group != group || item.index != index)) {
        rc = KV_EDAMAGED;
    }
    if (rc != 0) {
        return rc;
    }
    out->record = kv_bytes((const uint8_t *)v->batch.mv_data + item.offset, item.bytes);
    rc = raft_record_decode(out->record, &out->entry);
    return rc == 0 && out->entry.pos.index != index ? KV_EDAMAGED : rc;
}

int lmdb_log_chain(struct log_view *v, group_id group, const struct log_state *h,
                   const struct raft_entry *entry, const struct log_place *before)
{
    struct log_found found = {.entry = {.hash = h->base.hash}};
    int rc = 0;

    if (entry->pos.index == h->last.pos.index && entry->hash != h->last.hash) {
        return KV_EDAMAGED;
    }
    if (entry->pos.index > h->base.pos.index + 1) {
        rc = lmdb_log_entry(v, group, entry->pos.index - 1, before, &found);
    }
    if (rc != 0) {
        return rc == KV_EDAMAGED ? 0 : rc;
    }
    return raft_entry_hash(found.entry.hash, entry) == entry->hash ? 0 : KV_EDAMAGED;
}

/* ---- verbs ---- */

int lmdb_log_load(struct store *s, group_id group, struct log_state *out)
{
    struct lmdb_store *ls = lmdb_store_of(s);
    int rc = lmdb_read_begin(&ls->log, &ls->log_reader);

    if (rc == 0) {
        rc = lmdb_log_head(ls, ls->log_reader.txn, group, out);
        lmdb_read_end(&ls->log_reader);
    }
    return lmdb_error(rc);
}

/* Reads the head and says whether `index` is in the log. */
static int place_check(struct log_view *v, group_id group, raft_index index,
                       struct log_state *h)
{
    int rc = lmdb_log_head(v->ls, v->txn, group, h);

    if (rc == 0 && index <= h->base.pos.index) {
        rc = KV_ECOMPACTED;
    }
    if (rc == 0 && index > h->last.pos.index) {
        rc = KV_ENOTFOUND;
    }
    return rc;
}

/* One try. MDB_NOTFOUND: a batch has moved. */
static int meta_try(struct lmdb_store *ls, group_id group, raft_index index,
                    struct raft_meta *out)
{
    struct log_view v = {.ls = ls};
    struct log_place places[2]; /* Of index - 1 and index. */
    struct log_found found;
    struct log_state h;
    int rc;

    log_index_get(&ls->log_index, group, index - 1, index + 1, places);
    rc = lmdb_read_begin(&ls->log, &ls->log_reader);
    if (rc != 0) {
        return rc;
    }
    v.txn = ls->log_reader.txn;
    rc = place_check(&v, group, index, &h);
    if (rc == 0) {
        rc = lmdb_log_entry(&v, group, index, &places[1], &found);
    }
    if (rc == 0) {
        rc = lmdb_log_chain(&v, group, &h, &found.entry, &places[0]);
    }
    if (rc == 0) {
        *out = lmdb_log_meta_of(&found.entry);
    }
    lmdb_read_end(&ls->log_reader);
    return rc;
}

int lmdb_log_meta(struct store *s, group_id group, raft_index index,
                  struct raft_meta *out)
{
    struct lmdb_store *ls = lmdb_store_of(s);
    int rc = MDB_NOTFOUND;

    if (index == 0) {
        return KV_ECOMPACTED;
    }
    for (int i = 0; i < LOG_TRIES && rc == MDB_NOTFOUND; i++) {
        rc = meta_try(ls, group, index, out);
    }
    return rc == MDB_NOTFOUND ? KV_EDAMAGED : lmdb_error(rc);
}

/* A read under way. */
struct log_range {
    group_id group;
    raft_index begin;
    uint32_t room; /* Entries at most. */
    size_t bytes_max;
    struct arena *arena;
    struct log_place *places; /* Of begin - 1, begin, ...: room + 1 of them. */
    struct kv_bytes *records; /* [room] */
    uint32_t count;           /* Whole, right, and following each other. */
};

/* Copies entries until there are no more, or bytes_max is passed. */
static int range_take(struct log_view *v, const struct log_state *h,
                      struct log_range *r)
{
    uint64_t before = 0; /* Chain hash of the entry before. */
    size_t bytes = 0;
    int rc = 0;

    while (rc == 0 && r->count < r->room && (r->count == 0 || bytes < r->bytes_max)) {
        raft_index index = r->begin + r->count;
        struct log_found found;

        if (index > h->last.pos.index) {
            break;
        }
        rc = lmdb_log_entry(v, r->group, index, &r->places[r->count + 1], &found);
        if (rc == 0 && (r->count == 0 || index == h->last.pos.index)) {
            rc = lmdb_log_chain(v, r->group, h, &found.entry, &r->places[r->count]);
        } else if (rc == 0 &&
                   raft_entry_hash(before, &found.entry) != found.entry.hash) {
            rc = KV_EDAMAGED;
        }
        if (rc == 0) {
            rc = arena_copy(r->arena, found.record, &r->records[r->count]);
        }
        if (rc == 0) {
            before = found.entry.hash;
            bytes += found.record.len;
            r->count++;
        }
    }
    return r->count > 0 ? 0
                        : rc; /* What is wrong behind them shows when it is asked. */
}

/* One try. MDB_NOTFOUND: a batch has moved. */
static int read_try(struct lmdb_store *ls, struct log_range *r)
{
    struct log_view v = {.ls = ls};
    struct log_state h;
    int rc;

    log_index_get(&ls->log_index, r->group, r->begin - 1, r->begin + r->room,
                  r->places);
    rc = lmdb_read_begin(&ls->log, &ls->log_reader);
    if (rc != 0) {
        return rc;
    }
    v.txn = ls->log_reader.txn;
    rc = place_check(&v, r->group, r->begin, &h);
    if (rc == 0) {
        rc = r->room == 0 ? KV_EDAMAGED : range_take(&v, &h, r);
    }
    lmdb_read_end(&ls->log_reader);
    return rc;
}

int lmdb_log_read(struct store *s, group_id group, raft_index begin, raft_index end,
                  size_t bytes_max, struct arena *arena, struct kv_bytes **out_records,
                  uint32_t *out_count)
{
    struct lmdb_store *ls = lmdb_store_of(s);
    struct log_range r = {
        .group = group, .begin = begin, .bytes_max = bytes_max, .arena = arena};
    uint64_t room;
    int rc = MDB_NOTFOUND;

    KV_ASSERT(begin < end);
    if (begin == 0) {
        return KV_ECOMPACTED;
    }
    room = KV_MIN(end - begin, (uint64_t)log_index_count(&ls->log_index, group, begin));
    r.room = (uint32_t)KV_MIN(room, bytes_max / LOG_RECORD_BYTES_MIN + 1);
    r.records = arena_alloc(arena, r.room * sizeof *r.records);
    r.places = arena_alloc(arena, ((size_t)r.room + 1) * sizeof *r.places);
    if (r.records == NULL || r.places == NULL) {
        return KV_ENOMEM;
    }
    for (int i = 0; i < LOG_TRIES && rc == MDB_NOTFOUND; i++) {
        rc = read_try(ls, &r);
    }
    if (rc == 0) {
        *out_records = r.records;
        *out_count = r.count;
    }
    return rc == MDB_NOTFOUND ? KV_EDAMAGED : lmdb_error(rc);
}

/* ---- the index at open ---- */

/* Takes in a batch's directory; one that cannot be read leaves holes. */
static int batch_visit(struct lmdb_store *ls, const MDB_val *key, const MDB_val *value)
{
    struct kv_bytes batch = lmdb_bytes(value);
    uint64_t number = kv_get_u64be(key->mv_data);
    uint32_t count = 0;
    bool is_bad = batch_check(batch, number, &count) != 0;
    int rc = log_index_batch(&ls->log_index, number, batch.len, is_bad);

    for (uint32_t i = 0; rc == 0 && !is_bad && i < count; i++) {
        struct batch_item item;

        if (batch_item_get(batch, i, &item) == 0) { /* It was checked. */
            log_index_found(&ls->log_index, item.group, item.index, i, item.bytes);
        }
    }
    return rc;
}

int lmdb_log_index_load(struct lmdb_store *ls, MDB_txn *txn)
{
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val value;
    uint64_t before = 0;
    int rc = mdb_cursor_open(txn, ls->log.dbis[LOG_BATCHES], &cursor);

    if (rc != 0) {
        return rc;
    }
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        if (key.mv_size != LOG_KEY_BYTES || kv_get_u64be(key.mv_data) <= before) {
            continue; /* Its entries are holes: each is asked for by its index. */
        }
        before = kv_get_u64be(key.mv_data);
        rc = batch_visit(ls, &key, &value);
        if (rc != 0) {
            break;
        }
    }
    mdb_cursor_close(cursor);
    /* Where a page cannot be read, what lies behind it are holes, too. */
    return rc == MDB_NOTFOUND || rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND ? 0
                                                                                : rc;
}
