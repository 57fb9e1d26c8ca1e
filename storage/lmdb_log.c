/* storage/lmdb_log.c - entries, term, vote and base of all groups. */
#include "raft/base/err.h"
#include "raft/record.h"
#include "storage/failpoint.h"
#include "storage/lmdb_page.h"
#include "storage/lmdb_store.h"
#include "storage/meta.h"

enum {
    LOG_SMALL_RECORD_BYTES = 1000, /* Longer ones may lie on pages of their own. */
    LOG_RECORD_BYTES_MIN = RAFT_RECORD_HEAD_BYTES,
};

MDB_dbi lmdb_log_dbi(const struct lmdb_store *ls, group_id group)
{
    return ls->log.dbis[LOG_ENTRIES + group % LOG_SHARDS];
}

static struct kv_bytes entry_key(group_id group, raft_index index,
                                 uint8_t room[LOG_KEY_BYTES])
{
    kv_put_u32be(room, group);
    kv_put_u64be(room + 4, index);
    return kv_bytes(room, LOG_KEY_BYTES);
}

/* Is it an entry of `group`? *out_index is its index then. */
static bool entry_key_of(const MDB_val *key, group_id group, raft_index *out_index)
{
    const uint8_t *p = key->mv_data;

    if (key->mv_size != LOG_KEY_BYTES || kv_get_u32be(p) != group) {
        return false;
    }
    *out_index = kv_get_u64be(p + 4);
    return true;
}

static struct raft_meta meta_of(const struct raft_entry *e)
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

/* ---- reading inside a transaction ---- */

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

/* Reads and checks the entry at `index`, which the head says is there. Views into the
 * map. 0, KV_EDAMAGED, KV_EFORMAT, an LMDB code. */
static int entry_get(struct lmdb_store *ls, MDB_txn *txn, group_id group,
                     raft_index index, struct kv_bytes *out_record,
                     struct raft_entry *out)
{
    uint8_t room[LOG_KEY_BYTES];
    MDB_val key = lmdb_val(entry_key(group, index, room));
    MDB_val value;
    int rc = mdb_get(txn, lmdb_log_dbi(ls, group), &key, &value);

    if (rc != 0) {
        return rc == MDB_NOTFOUND ? KV_EDAMAGED : rc;
    }
    *out_record = lmdb_bytes(&value);
    rc = raft_record_decode(*out_record, out);
    if (rc == 0 && out->pos.index != index) {
        rc = KV_EDAMAGED;
    }
    return rc;
}

/* Does the entry's chain hash follow from its predecessor's? An entry of an older
 * history may be whole and still not belong here. 0, KV_EDAMAGED, an LMDB code. A
 * predecessor that cannot be read says nothing. */
static int chain_check(struct lmdb_store *ls, MDB_txn *txn, group_id group,
                       const struct log_state *h, const struct raft_entry *entry)
{
    struct raft_entry before = {.hash = h->base.hash};
    struct kv_bytes record;
    int rc = 0;

    if (entry->pos.index == h->last.pos.index && entry->hash != h->last.hash) {
        return KV_EDAMAGED;
    }
    if (entry->pos.index > h->base.pos.index + 1) {
        rc = entry_get(ls, txn, group, entry->pos.index - 1, &record, &before);
    }
    if (rc != 0) {
        return rc == KV_EDAMAGED ? 0 : rc;
    }
    return raft_entry_hash(before.hash, entry) == entry->hash ? 0 : KV_EDAMAGED;
}

/* ---- deleting ---- */

/* Deletes entries [begin, end) of the group, at most `max`. 0 or an LMDB code. */
static int entries_delete(struct lmdb_store *ls, MDB_txn *txn, group_id group,
                          raft_index begin, raft_index end, uint32_t max)
{
    uint8_t room[LOG_KEY_BYTES];
    MDB_val key = lmdb_val(entry_key(group, begin, room));
    MDB_val value;
    MDB_cursor *cursor;
    uint32_t count = 0;
    int rc = mdb_cursor_open(txn, lmdb_log_dbi(ls, group), &cursor);

    if (rc != 0) {
        return rc;
    }
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (rc == 0 && count < max) {
        raft_index index;

        if (!entry_key_of(&key, group, &index) || index >= end) {
            break;
        }
        rc = mdb_cursor_del(cursor, 0);
        if (rc == 0) {
            count++;
            rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        }
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* ---- the parts of a write ---- */

/* Is the entry that the log holds at `at` the one that it names? 1 yes, 0 no, or a
 * failure. A damaged entry is known by its successor, which hashes it in. When that is
 * damaged as well, nothing speaks against it: what was acked behind them must stay, and
 * the group finds out about the successor. */
static int entry_is(struct lmdb_store *ls, MDB_txn *txn, group_id group,
                    const struct log_state *h, const struct raft_base *at)
{
    struct raft_entry entry;
    struct kv_bytes record;
    int rc = entry_get(ls, txn, group, at->pos.index, &record, &entry);

    if (rc == 0) {
        return entry.pos.term == at->pos.term && entry.hash == at->hash;
    }
    if (rc != KV_EDAMAGED) {
        return rc;
    }
    if (at->pos.index == h->last.pos.index) {
        return h->last.pos.term == at->pos.term && h->last.hash == at->hash;
    }
    rc = entry_get(ls, txn, group, at->pos.index + 1, &record, &entry);
    if (rc != 0) {
        return rc == KV_EDAMAGED ? 1 : rc;
    }
    return raft_entry_hash(at->hash, &entry) == entry.hash;
}

/* The log begins behind a snapshot now. */
static int reset_apply(struct lmdb_store *ls, MDB_txn *txn, group_id group,
                       struct log_state *h, const struct raft_base *to)
{
    int rc = 0;

    if (to->pos.index <= h->base.pos.index) {
        return 0; /* A late snapshot, or the same once more. */
    }
    if (to->pos.index <= h->last.pos.index) {
        int same = entry_is(ls, txn, group, h, to);

        if (same != 0 && same != 1) {
            return same;
        }
        if (same == 0) { /* Another history: none of it is kept. */
            rc = entries_delete(ls, txn, group, to->pos.index + 1, UINT64_MAX,
                                UINT32_MAX);
            h->last = meta_of_base(to);
        }
    } else {
        h->last = meta_of_base(to);
    }
    h->base = *to;
    if (h->last.pos.index == to->pos.index) {
        h->last = meta_of_base(to);
    }
    h->commit_hint = KV_MAX(h->commit_hint, to->pos.index);
    if (h->commit_hint > h->last.pos.index) {
        h->commit_hint = h->last.pos.index;
    }
    if (rc == 0) { /* The rest of what lies before the base is swept. */
        rc = entries_delete(ls, txn, group, 0, to->pos.index + 1, SWEEP_STEP);
    }
    return rc;
}

static int compact_apply(struct lmdb_store *ls, MDB_txn *txn, group_id group,
                         struct log_state *h, const struct raft_base *to)
{
    struct raft_entry entry;
    struct kv_bytes record;
    int rc;

    if (to->pos.index <= h->base.pos.index) {
        return 0;
    }
    if (to->pos.index > h->last.pos.index) {
        return KV_EINVAL;
    }
    rc = entry_get(ls, txn, group, to->pos.index, &record, &entry);
    if (rc == 0 && (entry.pos.term != to->pos.term || entry.hash != to->hash)) {
        return KV_EINVAL;
    }
    if (rc != 0 && rc != KV_EDAMAGED) { /* A damaged entry may go: the state has it. */
        return rc;
    }
    h->base = *to;
    if (h->last.pos.index == to->pos.index) {
        h->last = meta_of_base(to);
    }
    h->commit_hint = KV_MAX(h->commit_hint, to->pos.index);
    return entries_delete(ls, txn, group, 0, to->pos.index + 1, SWEEP_STEP);
}

/* Puts the records through one cursor: each finds its place beside the one before. */
static int records_put(struct lmdb_store *ls, MDB_txn *txn, const struct log_write *w,
                       struct log_state *h)
{
    struct raft_entry before = {0};
    MDB_cursor *cursor;
    unsigned flags = MDB_APPEND;
    int rc = mdb_cursor_open(txn, lmdb_log_dbi(ls, w->group), &cursor);

    if (rc != 0) {
        return rc;
    }
    for (uint32_t i = 0; rc == 0 && i < w->records_count; i++) {
        uint8_t room[LOG_KEY_BYTES];
        MDB_val key = lmdb_val(entry_key(w->group, w->first_index + i, room));
        MDB_val value = lmdb_val(w->records[i]);
        struct raft_entry entry;

        rc = raft_record_decode(w->records[i], &entry);
        if (rc != 0 || entry.pos.index != w->first_index + i ||
            (i > 0 && raft_entry_hash(before.hash, &entry) != entry.hash)) {
            rc = KV_EINVAL; /* Never store what could not be read again. */
            break;
        }
        before = entry;
        rc = mdb_cursor_put(cursor, &key, &value, flags);
        if (rc == MDB_KEYEXIST && flags != 0) {
            flags = 0; /* Not at the very end: another group, or a truncation. */
            value = lmdb_val(w->records[i]);
            rc = mdb_cursor_put(cursor, &key, &value, 0);
        }
        h->last = meta_of(&entry);
    }
    mdb_cursor_close(cursor);
    return rc;
}

static int records_apply(struct lmdb_store *ls, MDB_txn *txn, const struct log_write *w,
                         struct log_state *h)
{
    raft_index old_last = h->last.pos.index;
    raft_index end = w->first_index + w->records_count;
    int rc = 0;

    if (w->first_index <= h->base.pos.index || w->first_index > old_last + 1) {
        return KV_EINVAL; /* A gap, or behind the base. */
    }
    if (w->first_index <= h->commit_hint) {
        return KV_ECORRUPT; /* It would replace what is committed. */
    }
    if (end <= old_last) {
        rc = entries_delete(ls, txn, w->group, end, UINT64_MAX, UINT32_MAX);
    }
    if (rc == 0) {
        rc = records_put(ls, txn, w, h);
    }
    if (w->first_index <= old_last) {
        (void)KV_FAILPOINT(log_truncate);
    }
    return rc;
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
static int write_apply(struct lmdb_store *ls, MDB_txn *txn, const struct log_write *w)
{
    struct log_state h;
    int rc = w->group < ls->groups_max ? 0 : KV_EINVAL;

    if (rc == 0) {
        rc = lmdb_log_head(ls, txn, w->group, &h);
    }
    if (rc == 0 && w->reset_to != NULL) {
        rc = reset_apply(ls, txn, w->group, &h, w->reset_to);
        (void)KV_FAILPOINT(log_reset);
    }
    if (rc == 0 && w->compact_to != NULL) {
        rc = compact_apply(ls, txn, w->group, &h, w->compact_to);
        (void)KV_FAILPOINT(log_compact);
    }
    if (rc == 0 && w->records_count > 0) {
        rc = records_apply(ls, txn, w, &h);
    }
    if (rc != 0) {
        return rc;
    }
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
    return rc != 0 ? rc : head_put(ls, txn, w->group, &h);
}

static struct lmdb_demand demand_of(const struct log_write *writes, size_t count)
{
    struct lmdb_demand d = {.pages = 32, .urgent = true};
    uint64_t small_bytes = 0;

    for (size_t i = 0; i < count; i++) {
        d.urgent = d.urgent && writes[i].urgent;
        d.pages += 4;
        for (uint32_t k = 0; k < writes[i].records_count; k++) {
            size_t len = writes[i].records[k].len;

            if (len <= LOG_SMALL_RECORD_BYTES) {
                small_bytes += len + 32;
            } else {
                d.pages += len / LMDB_PAGE_BYTES + 2;
            }
        }
    }
    d.pages += small_bytes / (LMDB_PAGE_BYTES / 2);
    return d;
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

int lmdb_log_write(struct store *s, const struct log_write *writes, size_t count)
{
    struct lmdb_store *ls = lmdb_store_of(s);
    struct lmdb_demand d = demand_of(writes, count);
    MDB_txn *txn;
    uint64_t id;
    int rc = KV_FAILPOINT(log_write);

    if (rc == 0) {
        rc = lmdb_write_begin(&ls->log, &d, &txn);
    }
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = write_apply(ls, txn, &writes[i]);
    }
    if (rc == 0) {
        rc = KV_FAILPOINT(log_filled);
    }
    id = (uint64_t)mdb_txn_id(txn);
    rc = lmdb_write_end(&ls->log, txn, rc);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        uint64_t none = 0;

        (void)atomic_compare_exchange_strong(&ls->log_known[writes[i].group], &none,
                                             id);
        written(&writes[i]);
    }
    return rc;
}

/* ---- reading ---- */

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
static int place_check(struct lmdb_store *ls, group_id group, raft_index index,
                       struct log_state *h)
{
    int rc = lmdb_log_head(ls, ls->log_reader.txn, group, h);

    if (rc == 0 && index <= h->base.pos.index) {
        rc = KV_ECOMPACTED;
    }
    if (rc == 0 && index > h->last.pos.index) {
        rc = KV_ENOTFOUND;
    }
    return rc;
}

int lmdb_log_meta(struct store *s, group_id group, raft_index index,
                  struct raft_meta *out)
{
    struct lmdb_store *ls = lmdb_store_of(s);
    struct raft_entry entry;
    struct kv_bytes record;
    struct log_state h;
    int rc = lmdb_read_begin(&ls->log, &ls->log_reader);

    if (rc != 0) {
        return rc;
    }
    rc = place_check(ls, group, index, &h);
    if (rc == 0) {
        rc = entry_get(ls, ls->log_reader.txn, group, index, &record, &entry);
    }
    if (rc == 0) {
        rc = chain_check(ls, ls->log_reader.txn, group, &h, &entry);
    }
    if (rc == 0) {
        *out = meta_of(&entry);
    }
    lmdb_read_end(&ls->log_reader);
    return lmdb_error(rc);
}

/* Copies the record behind the cursor, which must be that of `index`. */
static int record_take(const MDB_val *key, const MDB_val *value, group_id group,
                       raft_index index, struct arena *arena, struct kv_bytes *out,
                       struct raft_entry *out_entry)
{
    raft_index found;
    int rc;

    if (!entry_key_of(key, group, &found) || found != index) {
        return KV_EDAMAGED; /* The head says that it is there. */
    }
    rc = raft_record_decode(lmdb_bytes(value), out_entry);
    if (rc == 0 && out_entry->pos.index != index) {
        rc = KV_EDAMAGED;
    }
    return rc != 0 ? rc : arena_copy(arena, lmdb_bytes(value), out);
}

/* A read under way. */
struct log_range {
    group_id group;
    raft_index begin, end;
    size_t bytes_max;
    struct arena *arena;
    struct kv_bytes *records;
    uint32_t count; /* Whole, right, and following each other. */
};

/* Is the entry the right one at its place: after the one before it, or the base? */
static int range_check(struct lmdb_store *ls, const struct log_state *h,
                       const struct log_range *r, const struct raft_entry *before,
                       const struct raft_entry *entry)
{
    if (r->count == 0 || entry->pos.index == h->last.pos.index) {
        return chain_check(ls, ls->log_reader.txn, r->group, h, entry);
    }
    return raft_entry_hash(before->hash, entry) == entry->hash ? 0 : KV_EDAMAGED;
}

/* Copies [begin, end) until bytes_max is passed. */
static int range_take(struct lmdb_store *ls, const struct log_state *h,
                      struct log_range *r)
{
    uint8_t room[LOG_KEY_BYTES];
    MDB_val key = lmdb_val(entry_key(r->group, r->begin, room));
    MDB_val value;
    MDB_cursor *cursor;
    struct raft_entry before = {0};
    size_t bytes = 0;
    int rc = mdb_cursor_open(ls->log_reader.txn, lmdb_log_dbi(ls, r->group), &cursor);

    if (rc != 0) {
        return rc;
    }
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (rc == 0) {
        struct raft_entry entry;

        rc = record_take(&key, &value, r->group, r->begin + r->count, r->arena,
                         &r->records[r->count], &entry);
        if (rc == 0) {
            rc = range_check(ls, h, r, &before, &entry);
        }
        if (rc != 0) {
            break;
        }
        before = entry;
        bytes += r->records[r->count].len;
        r->count++;
        if (r->begin + r->count == r->end || bytes >= r->bytes_max) {
            break;
        }
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    if (r->count > 0) {
        rc = 0; /* What is wrong behind them shows when it is asked for. */
    }
    return rc == MDB_NOTFOUND ? KV_EDAMAGED : rc;
}

int lmdb_log_read(struct store *s, group_id group, raft_index begin, raft_index end,
                  size_t bytes_max, struct arena *arena, struct kv_bytes **out_records,
                  uint32_t *out_count)
{
    struct lmdb_store *ls = lmdb_store_of(s);
    struct log_range r = {
        .group = group, .begin = begin, .bytes_max = bytes_max, .arena = arena};
    struct log_state h;
    uint64_t room;
    int rc;

    KV_ASSERT(begin < end);
    rc = lmdb_read_begin(&ls->log, &ls->log_reader);
    if (rc != 0) {
        return rc;
    }
    rc = place_check(ls, group, begin, &h);
    if (rc == 0) {
        end = KV_MIN(end, h.last.pos.index + 1);
        room = KV_MIN(end - begin, bytes_max / LOG_RECORD_BYTES_MIN + 1);
        r.end = begin + room;
        r.records = arena_alloc(arena, (size_t)room * sizeof *r.records);
        rc = r.records == NULL ? KV_ENOMEM : range_take(ls, &h, &r);
    }
    lmdb_read_end(&ls->log_reader);
    if (rc == 0) {
        *out_records = r.records;
        *out_count = r.count;
    }
    return lmdb_error(rc);
}

/* ---- repair and sweeping ---- */

/* Do the entry's neighbours, or the head, demand exactly this entry? */
static int repair_check(struct lmdb_store *ls, MDB_txn *txn, group_id group,
                        const struct raft_entry *entry)
{
    struct raft_entry next;
    struct kv_bytes record;
    struct log_state h;
    int rc = lmdb_log_head(ls, txn, group, &h);

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
    rc = entry_get(ls, txn, group, entry->pos.index + 1, &record, &next);
    if (rc != 0) {
        return rc == KV_EDAMAGED ? KV_EINVAL : rc; /* Repair that one first. */
    }
    return raft_entry_hash(entry->hash, &next) == next.hash ? 0 : KV_EINVAL;
}

int lmdb_log_repair(struct store *s, group_id group, raft_index index,
                    struct kv_bytes record)
{
    struct lmdb_store *ls = lmdb_store_of(s);
    struct lmdb_demand d = {.pages = 32 + record.len / LMDB_PAGE_BYTES, .urgent = true};
    uint8_t room[LOG_KEY_BYTES];
    MDB_val key = lmdb_val(entry_key(group, index, room));
    MDB_val value = lmdb_val(record);
    struct raft_entry entry;
    MDB_txn *txn;
    int rc;

    if (raft_record_decode(record, &entry) != 0 || entry.pos.index != index) {
        return KV_EINVAL;
    }
    rc = lmdb_write_begin(&ls->log, &d, &txn);
    if (rc != 0) {
        return rc;
    }
    rc = repair_check(ls, txn, group, &entry);
    if (rc == 0) {
        (void)KV_FAILPOINT(log_repair);
        rc = mdb_put(txn, lmdb_log_dbi(ls, group), &key, &value, 0);
    }
    rc = lmdb_write_end(&ls->log, txn, rc);
    (void)KV_FAILPOINT(log_repaired);
    return rc;
}

/* Finds a group with compacted entries. 0 with *out_found; an LMDB code. */
static int garbage_find(struct lmdb_store *ls, MDB_txn *txn, group_id *out_group,
                        bool *out_found)
{
    MDB_cursor *heads = NULL;
    MDB_val key;
    MDB_val value;
    int rc = mdb_cursor_open(txn, ls->log.dbis[LOG_HEADS], &heads);

    *out_found = false;
    while (rc == 0 && !*out_found) {
        uint8_t room[LOG_KEY_BYTES];
        struct log_state h;
        raft_index first;
        MDB_cursor *entries;

        rc = mdb_cursor_get(heads, &key, &value, MDB_NEXT);
        if (rc != 0 || key.mv_size != 4) {
            continue; /* The end; or the mark, which is the last. */
        }
        *out_group = kv_get_u32be(key.mv_data);
        if (meta_log_decode(*out_group, lmdb_bytes(&value), &h) != 0) {
            continue; /* log_load tells the group. */
        }
        rc = mdb_cursor_open(txn, lmdb_log_dbi(ls, *out_group), &entries);
        if (rc == 0) {
            key = lmdb_val(entry_key(*out_group, 0, room));
            rc = mdb_cursor_get(entries, &key, &value, MDB_SET_RANGE);
            *out_found = rc == 0 && entry_key_of(&key, *out_group, &first) &&
                         first <= h.base.pos.index;
            rc = rc == MDB_NOTFOUND ? 0 : rc;
            mdb_cursor_close(entries);
        }
    }
    if (heads != NULL) {
        mdb_cursor_close(heads);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int lmdb_log_sweep(struct lmdb_store *ls, bool *out_more)
{
    struct lmdb_demand d = {.pages = 64, .urgent = true};
    struct log_state h;
    group_id group = 0;
    MDB_txn *txn;
    int rc = lmdb_read_begin(&ls->log, &ls->side_log_reader);

    if (rc != 0) {
        return rc;
    }
    rc = garbage_find(ls, ls->side_log_reader.txn, &group, out_more);
    lmdb_read_end(&ls->side_log_reader);
    if (rc != 0 || !*out_more) {
        return lmdb_error(rc);
    }
    (void)KV_FAILPOINT(log_sweep);
    rc = lmdb_write_begin(&ls->log, &d, &txn);
    if (rc != 0) {
        return rc;
    }
    rc = lmdb_log_head(ls, txn, group, &h);
    if (rc == 0) {
        rc = entries_delete(ls, txn, group, 0, h.base.pos.index + 1, SWEEP_STEP);
    }
    rc = lmdb_write_end(&ls->log, txn, rc);
    (void)KV_FAILPOINT(log_swept);
    return rc;
}
