/* tests/lib/mem_store.c - the memory store's table of verbs, its faults and crashes. */
#include "tests/lib/mem_store.h"

#include "raft/base/bug.h"
#include "raft/base/err.h"
#include "raft/record.h"
#include "storage/recover.h"
#include "storage/row.h"
#include "tests/lib/mem_store_impl.h"

static struct mem_store *mem_of(struct store *s)
{
    return (struct mem_store *)s;
}

struct mem_group *mem_store_group(struct mem_store *m, group_id group)
{
    KV_ASSERT(group < MEM_GROUPS_MAX);
    if (m->groups[group] == NULL) {
        m->groups[group] = kv_mem_zalloc(sizeof *m->groups[group]);
        KV_ASSERT(m->groups[group] != NULL);
        m->groups_end = KV_MAX(m->groups_end, group + 1);
    }
    return m->groups[group];
}

struct kv_bytes mem_store_copy(struct kv_bytes src)
{
    uint8_t *data = kv_mem_zalloc(src.len + 1);

    KV_ASSERT(data != NULL);
    memcpy(data, src.data, src.len);
    return kv_bytes(data, src.len);
}

/* ---- undo records ---- */

struct mem_undo *mem_store_undo_new(struct mem_store *m, enum mem_undo_kind kind,
                                    enum mem_env env, struct mem_group *g)
{
    struct mem_undo *u = kv_mem_zalloc(sizeof *u);

    KV_ASSERT(u != NULL);
    u->kind = kind;
    u->env = env;
    u->group = g;
    u->verb = m->verbs;
    u->older = m->newest;
    m->newest = u;
    if (kind != MEM_UNDO_LOG && kind != MEM_UNDO_REPAIR) {
        u->more = kv_mem_zalloc(sizeof *u->more);
        KV_ASSERT(u->more != NULL);
    }
    return u;
}

static void undo_one(struct mem_store *m, struct mem_undo *u)
{
    switch (u->kind) {
    case MEM_UNDO_LOG:
    case MEM_UNDO_REPAIR:
        mem_log_undo(u);
        break;
    case MEM_UNDO_ROWS:
    case MEM_UNDO_CHUNK:
        mem_rows_undo(u);
        break;
    case MEM_UNDO_IDENTITY:
        m->identity = u->more->identity;
        break;
    }
    kv_mem_free(u->more);
    kv_mem_free(u);
}

/* Undoes the newest verb of `env`; records of the other environment stay. */
static void verb_undo(struct mem_store *m, enum mem_env env)
{
    struct mem_undo **at = &m->newest;
    uint64_t verb = 0;

    while (*at != NULL) {
        struct mem_undo *u = *at;

        if (u->env != env || (verb != 0 && u->verb != verb)) {
            at = &u->older;
            continue;
        }
        verb = u->verb;
        *at = u->older;
        undo_one(m, u);
    }
}

static void undo_forget_all(struct mem_store *m)
{
    while (m->newest != NULL) {
        struct mem_undo *u = m->newest;

        m->newest = u->older;
        mem_log_forget(u);
        mem_rows_forget(u);
        kv_mem_free(u->more);
        kv_mem_free(u);
    }
    m->pending[MEM_LOG] = 0;
    m->pending[MEM_STATE] = 0;
}

/* ---- the bracket around every writing verb ---- */

/* Locks, counts. 0: go on; else the fault that was asked for, before anything is
 * done. */
static int verb_begin(struct mem_store *m, bool may_use_reserve)
{
    pthread_mutex_lock(&m->lock);
    m->verbs++;
    if (m->fail_in > 0) {
        m->fail_in--;
        if (m->fail_in == 0) {
            m->faults_met++;
            if (!m->fail_done || m->fail_code == KV_ENOSPACE) {
                return m->fail_code;
            }
            return 0; /* verb_end() brings the code. */
        }
    }
    if (m->is_full && (!may_use_reserve || m->is_reserve_used)) {
        m->faults_met++;
        return KV_ENOSPACE;
    }
    return 0;
}

/* Unlocks; what the verb did is durable, undoable, or was a failure and is undone. */
static int verb_end(struct mem_store *m, enum mem_env env, int rc)
{
    bool fails_now = m->fail_code != 0 && m->fail_in == 0;

    if (rc != 0) {
        if (m->newest != NULL && m->newest->verb == m->verbs) {
            verb_undo(m, env);
        }
    } else if (m->hold) {
        m->pending[env]++;
    } else {
        undo_forget_all(m);
    }
    if (fails_now) {
        rc = m->fail_code;
        m->fail_code = 0;
    }
    pthread_mutex_unlock(&m->lock);
    return rc;
}

/* Locks. 0: go on; else the fault that was asked for. */
static int read_begin(struct mem_store *m)
{
    pthread_mutex_lock(&m->lock);
    if (m->read_fail_in > 0 && !m->is_observed) {
        m->read_fail_in--;
        if (m->read_fail_in == 0) {
            m->faults_met++;
            return KV_EIO;
        }
    }
    return 0;
}

static int read_end(struct mem_store *m, int rc)
{
    pthread_mutex_unlock(&m->lock);
    return rc;
}

/* ---- verbs: identity and log ---- */

static int mem_identity_load(struct store *s, struct store_identity *out)
{
    struct mem_store *m = mem_of(s);

    pthread_mutex_lock(&m->lock);
    *out = m->identity;
    return read_end(m, 0);
}

static int mem_identity_save(struct store *s, const struct store_identity *id)
{
    struct mem_store *m = mem_of(s);
    int rc = verb_begin(m, true);

    KV_ASSERT(id->incarnation == m->identity.incarnation);
    KV_ASSERT(id->peers_count <= STORE_NODES_MAX);
    if (rc == 0) {
        mem_store_undo_new(m, MEM_UNDO_IDENTITY, MEM_LOG, NULL)->more->identity =
            m->identity;
        m->identity = *id;
    }
    return verb_end(m, MEM_LOG, rc);
}

static int mem_log_write(struct store *s, const struct log_write *writes, size_t count)
{
    struct mem_store *m = mem_of(s);
    bool urgent = true;
    uint32_t entries = 0;
    int rc;

    for (size_t i = 0; i < count; i++) {
        entries += writes[i].records_count;
        urgent = urgent && writes[i].urgent;
    }
    rc = verb_begin(m, urgent);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = mem_log_apply(m, &writes[i]);
    }
    if (KV_BUG(m->base, B42)) {
        m->hold = entries == 0; /* Not synced: a commit with entries takes it along. */
    }
    m->stats.commits += rc == 0;
    return verb_end(m, MEM_LOG, rc);
}

static int mem_log_load(struct store *s, group_id group, struct log_state *out)
{
    struct mem_store *m = mem_of(s);
    const struct mem_log *log;

    pthread_mutex_lock(&m->lock);
    log = &mem_store_group(m, group)->log;
    if (log->hard_damaged) {
        return read_end(m, KV_EDAMAGED);
    }
    *out = log->head;
    return read_end(m, 0);
}

static int mem_log_meta_verb(struct store *s, group_id group, raft_index index,
                             struct raft_meta *out)
{
    struct mem_store *m = mem_of(s);
    int rc = read_begin(m);

    if (rc != 0) {
        return read_end(m, KV_EDAMAGED);
    }
    return read_end(m, mem_log_meta(&mem_store_group(m, group)->log, index, out));
}

/* Copies the records; the lock is held. */
static int records_copy(const struct mem_log *log, raft_index begin, raft_index end,
                        size_t bytes_max, struct arena *arena, struct kv_bytes *records,
                        uint32_t *out_count)
{
    size_t bytes = 0;
    uint32_t count = 0;

    for (raft_index i = begin; i < end && (count == 0 || bytes < bytes_max); i++) {
        struct kv_bytes record;
        struct raft_meta meta;
        int rc = mem_log_record(log, i, &record);

        if (rc == 0) {
            rc = mem_log_meta(log, i, &meta);
        }
        if (rc == 0) {
            rc = arena_copy(arena, record, &records[count]);
        }
        if (rc != 0) {
            if (count == 0) {
                return rc;
            }
            break; /* What was read so far is fine. */
        }
        bytes += record.len;
        count++;
    }
    *out_count = count;
    return 0;
}

static int mem_log_read(struct store *s, group_id group, raft_index begin,
                        raft_index end, size_t bytes_max, struct arena *arena,
                        struct kv_bytes **out_records, uint32_t *out_count)
{
    struct mem_store *m = mem_of(s);
    const struct mem_log *log;
    struct kv_bytes *records;
    raft_index room;
    int rc;

    KV_ASSERT(begin < end);
    rc = read_begin(m);
    if (rc != 0) {
        return read_end(m, KV_EDAMAGED);
    }
    log = &mem_store_group(m, group)->log;
    room = KV_MIN(end - begin, (raft_index)log->count + 1);
    records = arena_alloc(arena, (size_t)room * sizeof *records);
    rc = records == NULL ? KV_ENOMEM
                         : records_copy(log, begin, begin + room, bytes_max, arena,
                                        records, out_count);
    if (rc == 0) {
        *out_records = records;
    }
    return read_end(m, rc);
}

static int mem_log_repair_verb(struct store *s, group_id group, raft_index index,
                               struct kv_bytes record)
{
    struct mem_store *m = mem_of(s);
    int rc = verb_begin(m, true);

    if (rc == 0) {
        rc = mem_log_repair(m, group, index, record);
    }
    return verb_end(m, MEM_LOG, rc);
}

/* ---- verbs: state ---- */

static int mem_state_load(struct store *s, group_id group, struct state_meta *out)
{
    struct mem_store *m = mem_of(s);

    pthread_mutex_lock(&m->lock);
    *out = mem_store_group(m, group)->meta;
    return read_end(m, 0);
}

static int row_give(const struct mem_row *row, struct arena *arena, struct row *out)
{
    return mem_rows_intact(row) ? row_copy(arena, &row->row, out) : KV_EDAMAGED;
}

static int mem_state_get(struct store *s, group_id group, uint8_t kind,
                         struct kv_bytes key, struct arena *arena, struct row *out)
{
    struct mem_store *m = mem_of(s);
    const struct mem_rows *v;
    size_t at;

    if (read_begin(m) != 0) {
        return read_end(m, KV_EDAMAGED);
    }
    v = &mem_store_group(m, group)->rows;
    at = mem_rows_seek(v, kind, key);
    if (at == v->count ||
        row_compare(v->rows[at]->row.kind, v->rows[at]->row.key, kind, key) != 0) {
        return read_end(m, KV_ENOTFOUND);
    }
    return read_end(m, row_give(v->rows[at], arena, out));
}

static int mem_state_range(struct store *s, group_id group, uint8_t kind,
                           struct kv_bytes begin, struct kv_bytes end,
                           uint32_t rows_max, struct arena *arena,
                           struct row **out_rows, uint32_t *out_count)
{
    struct mem_store *m = mem_of(s);
    const struct mem_rows *v;
    struct row *rows;
    size_t at;
    size_t stop;
    uint32_t count = 0;
    int rc = 0;

    if (read_begin(m) != 0) {
        return read_end(m, KV_EDAMAGED);
    }
    v = &mem_store_group(m, group)->rows;
    at = mem_rows_seek(v, kind, begin);
    stop = end.len > 0 ? mem_rows_seek(v, kind, end)
                       : mem_rows_seek(v, (uint8_t)(kind + 1), kv_bytes(NULL, 0));
    rows = arena_alloc(arena, KV_MIN((size_t)rows_max, v->count + 1) * sizeof *rows);
    if (rows == NULL) {
        return read_end(m, KV_ENOMEM);
    }
    for (; rc == 0 && at < stop && count < rows_max; at++) {
        rc = row_give(v->rows[at], arena, &rows[count]);
        count += rc == 0;
    }
    if (rc == 0) {
        *out_rows = rows;
        *out_count = count;
    }
    return read_end(m, rc);
}

static int mem_checkpoint(struct store *s, group_id group,
                          const struct state_meta *meta, const struct row *rows,
                          size_t count)
{
    struct mem_store *m = mem_of(s);
    int rc = verb_begin(m, true);

    if (rc == 0) {
        rc = mem_rows_checkpoint(m, group, meta, rows, count);
    }
    m->stats.checkpoints += rc == 0;
    return verb_end(m, MEM_STATE, rc);
}

/* ---- verbs: snapshots ---- */

static int mem_snapshot_make(struct store *s, group_id group, struct raft_snapshot *out)
{
    struct mem_store *m = mem_of(s);
    struct mem_group *g;
    int rc = verb_begin(m, false);

    if (rc == 0) {
        g = mem_store_group(m, group);
        rc = mem_rows_snapshot(g, group);
        if (rc == 0) {
            *out = g->made.about;
        }
    }
    return verb_end(m, MEM_STATE, rc);
}

static int mem_snapshot_read(struct store *s, group_id group, uint64_t id,
                             uint64_t offset, uint32_t len, uint8_t *out)
{
    struct mem_store *m = mem_of(s);
    const struct mem_file *f;

    if (read_begin(m) != 0) {
        return read_end(m, KV_EIO);
    }
    f = &mem_store_group(m, group)->made;
    if (id == 0 || f->about.id != id) {
        return read_end(m, KV_ENOTFOUND);
    }
    if (offset > f->len || len > f->len - offset) {
        return read_end(m, KV_EINVAL);
    }
    memcpy(out, f->data + offset, len);
    return read_end(m, 0);
}

static int mem_chunk_store(struct store *s, group_id group,
                           const struct raft_snapshot *snap,
                           const struct raft_chunk *chunk)
{
    struct mem_store *m = mem_of(s);
    int rc = verb_begin(m, false);

    if (rc == 0) {
        rc = mem_rows_chunk(m, group, snap, chunk);
    }
    return verb_end(m, MEM_STATE, rc);
}

static int mem_chunk_offset(struct store *s, group_id group, uint64_t id, uint64_t *out)
{
    struct mem_store *m = mem_of(s);
    const struct mem_file *f;

    pthread_mutex_lock(&m->lock);
    f = &mem_store_group(m, group)->received;
    *out = id != 0 && f->about.id == id ? f->len : 0;
    return read_end(m, 0);
}

static int mem_install(struct store *s, group_id group,
                       const struct raft_snapshot *snap)
{
    struct mem_store *m = mem_of(s);
    int rc = verb_begin(m, false);

    if (rc == 0) {
        rc = mem_rows_install(m, group, snap);
    }
    return verb_end(m, MEM_STATE, rc);
}

static int mem_mark_clear(struct store *s, group_id group)
{
    struct mem_store *m = mem_of(s);
    struct mem_group *g;
    int rc = verb_begin(m, true);

    if (rc == 0) {
        g = mem_store_group(m, group);
        mem_store_undo_new(m, MEM_UNDO_ROWS, MEM_STATE, g)->more->meta = g->meta;
        g->meta.mark = false;
    }
    return verb_end(m, MEM_STATE, rc);
}

static int mem_sweep(struct store *s, bool *out_more)
{
    (void)s;
    *out_more = false; /* Nothing is deleted later here. */
    return 0;
}

/* ---- verbs: looking after it ---- */

/* One record or row of the round; false at the group's end. */
static bool scrub_one(struct mem_store *m, const struct mem_group *g, size_t *out_bytes,
                      bool *out_bad, raft_index *out_index)
{
    uint64_t at = m->scrub_at++;
    struct raft_meta meta;

    *out_index = 0;
    if (m->scrub_state) {
        if (at >= g->rows.count) {
            return false;
        }
        *out_bad = !mem_rows_intact(g->rows.rows[at]);
        *out_bytes = g->rows.rows[at]->row.key.len + g->rows.rows[at]->row.value.len;
        return true;
    }
    if (at >= g->log.count) {
        return false;
    }
    *out_index = g->log.head.base.pos.index + 1 + at;
    *out_bad = mem_log_meta(&g->log, *out_index, &meta) != 0;
    *out_bytes = g->log.slots[g->log.begin + at].len;
    return true;
}

static void scrub_next_part(struct mem_store *m)
{
    m->scrub_at = 0;
    m->scrub_state = !m->scrub_state;
    if (!m->scrub_state) {
        m->scrub_group++;
    }
    if (m->scrub_group >= m->groups_end) {
        m->scrub_group = 0;
        m->scrub_rounds++;
    }
}

static int mem_scrub(struct store *s, size_t bytes, struct store_scrub *out)
{
    struct mem_store *m = mem_of(s);
    struct store_scrub done = {0};
    uint64_t round;

    pthread_mutex_lock(&m->lock);
    round = m->scrub_rounds;
    while (done.bytes < bytes && m->scrub_rounds == round && !done.found) {
        const struct mem_group *g = m->groups[m->scrub_group];
        size_t size = 0;
        raft_index index;

        if (g == NULL || !scrub_one(m, g, &size, &done.found, &index)) {
            scrub_next_part(m);
            continue;
        }
        done.bytes += size;
        if (done.found) {
            done.damage = (struct store_damage){m->scrub_group, m->scrub_state, index};
        }
    }
    done.round = m->scrub_rounds;
    *out = done;
    return read_end(m, 0);
}

static void mem_stats(struct store *s, struct store_stats *out)
{
    struct mem_store *m = mem_of(s);

    pthread_mutex_lock(&m->lock);
    *out = m->stats;
    out->log_full = m->is_full;
    out->state_full = m->is_full;
    pthread_mutex_unlock(&m->lock);
}

static void mem_close(struct store *s)
{
    (void)s; /* The disk stays: mem_store_free(). */
}

static const struct store_ops mem_ops = {
    .identity_load = mem_identity_load,
    .identity_save = mem_identity_save,
    .log_write = mem_log_write,
    .log_load = mem_log_load,
    .log_meta = mem_log_meta_verb,
    .log_read = mem_log_read,
    .log_repair = mem_log_repair_verb,
    .state_load = mem_state_load,
    .state_get = mem_state_get,
    .state_range = mem_state_range,
    .checkpoint = mem_checkpoint,
    .snapshot_make = mem_snapshot_make,
    .snapshot_read = mem_snapshot_read,
    .chunk_store = mem_chunk_store,
    .chunk_offset = mem_chunk_offset,
    .install = mem_install,
    .mark_clear = mem_mark_clear,
    .sweep = mem_sweep,
    .scrub = mem_scrub,
    .stats = mem_stats,
    .close = mem_close,
};

/* ---- life ---- */

static void groups_close(struct mem_store *m)
{
    undo_forget_all(m);
    for (uint32_t i = 0; i < m->groups_end; i++) {
        struct mem_group *g = m->groups[i];

        if (g != NULL) {
            mem_log_close(&g->log);
            mem_rows_drop(&g->rows);
            mem_rows_file_close(&g->made);
            mem_rows_file_close(&g->received);
            kv_mem_free(g);
            m->groups[i] = NULL;
        }
    }
    m->groups_end = 0;
}

int mem_store_new(uint64_t incarnation, struct mem_store **out)
{
    struct mem_store *m = kv_mem_zalloc(sizeof *m);

    KV_ASSERT(incarnation != 0);
    if (m == NULL) {
        return KV_ENOMEM;
    }
    m->base.ops = &mem_ops;
    pthread_mutex_init(&m->lock, NULL);
    m->identity = (struct store_identity){.incarnation = incarnation, .boots = 1};
    *out = m;
    return 0;
}

void mem_store_free(struct mem_store *m)
{
    if (m != NULL) {
        groups_close(m);
        pthread_mutex_destroy(&m->lock);
        kv_mem_free(m);
    }
}

struct store *mem_store_base(struct mem_store *m)
{
    return &m->base;
}

int mem_store_reopen(struct mem_store *m)
{
    const char *reason = NULL;
    int rc = 0;

    undo_forget_all(m);
    m->fail_in = 0;
    m->fail_code = 0;
    m->read_fail_in = 0;
    m->hold = false;
    m->is_full = false;
    m->identity.boots++;
    m->scrub_group = 0;
    m->scrub_state = false;
    m->scrub_at = 0;
    m->scrub_rounds = 0;
    for (uint32_t i = 0; rc == 0 && i < m->groups_end; i++) {
        if (m->groups[i] != NULL) {
            mem_rows_file_close(&m->groups[i]->made);
            rc = recover_group(&m->base, i, &reason);
        }
    }
    return rc;
}

/* ---- crashes ---- */

void mem_store_hold(struct mem_store *m, bool hold)
{
    m->hold = hold;
    if (!hold) {
        undo_forget_all(m);
    }
}

void mem_store_sync(struct mem_store *m)
{
    undo_forget_all(m);
}

uint32_t mem_store_pending(const struct mem_store *m, enum mem_env env)
{
    return m->pending[env];
}

void mem_store_crash(struct mem_store *m, uint32_t lose_log, uint32_t lose_state)
{
    KV_ASSERT(lose_log <= m->pending[MEM_LOG]);
    KV_ASSERT(lose_state <= m->pending[MEM_STATE]);
    for (uint32_t i = 0; i < lose_log; i++) {
        verb_undo(m, MEM_LOG);
    }
    for (uint32_t i = 0; i < lose_state; i++) {
        verb_undo(m, MEM_STATE);
    }
    undo_forget_all(m);
}

void mem_store_wipe(struct mem_store *m, uint64_t incarnation)
{
    KV_ASSERT(incarnation != 0);
    groups_close(m);
    m->identity = (struct store_identity){.incarnation = incarnation, .boots = 1};
    m->stats = (struct store_stats){0};
    mem_store_fail(m, 0, 0, false);
    mem_store_misread(m, 0);
    m->hold = false;
    m->is_full = false;
}
