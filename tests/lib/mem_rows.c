/* tests/lib/mem_rows.c - the memory store's state: sorted arrays of shared rows. */
#include "tests/lib/mem_store_impl.h"

#include "raft/base/bug.h"
#include "raft/base/err.h"
#include "storage/row.h"
#include "storage/snapshot.h"

/* ---- rows ---- */

static struct mem_row *row_new(const struct row *r)
{
    struct mem_row *out = kv_mem_zalloc(sizeof *out + r->key.len + r->value.len);

    KV_ASSERT(out != NULL);
    KV_ASSERT(row_fits(r));
    out->references = 1;
    out->hash = row_hash(r);
    out->row = *r;
    out->row.key = kv_bytes(out->bytes, r->key.len);
    out->row.value = kv_bytes(out->bytes + r->key.len, r->value.len);
    memcpy(out->bytes, r->key.data, r->key.len);
    if (r->value.len > 0) {
        memcpy(out->bytes + r->key.len, r->value.data, r->value.len);
    }
    return out;
}

static void row_drop(struct mem_row *row)
{
    row->references--;
    if (row->references == 0) {
        kv_mem_free(row);
    }
}

bool mem_rows_intact(const struct mem_row *row)
{
    return row_hash(&row->row) == row->hash;
}

void mem_rows_drop(struct mem_rows *v)
{
    for (size_t i = 0; i < v->count; i++) {
        row_drop(v->rows[i]);
    }
    kv_mem_free(v->rows);
    *v = (struct mem_rows){0};
}

size_t mem_rows_seek(const struct mem_rows *v, uint8_t kind, struct kv_bytes key)
{
    size_t low = 0;
    size_t high = v->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct row *r = &v->rows[middle]->row;

        if (row_compare(r->kind, r->key, kind, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Old rows and a delta, merged into a new version. */
static struct mem_rows rows_merge(const struct mem_rows *old, const struct row *rows,
                                  size_t count)
{
    struct mem_rows out = {0};
    size_t at = 0;

    out.rows = kv_mem_zalloc((old->count + count + 1) * sizeof *out.rows);
    KV_ASSERT(out.rows != NULL);
    for (size_t i = 0; i < count; i++) {
        const struct row *r = &rows[i];

        KV_ASSERT(i == 0 ||
                  row_compare(rows[i - 1].kind, rows[i - 1].key, r->kind, r->key) < 0);
        while (at < old->count &&
               row_compare(old->rows[at]->row.kind, old->rows[at]->row.key, r->kind,
                           r->key) < 0) {
            old->rows[at]->references++;
            out.rows[out.count++] = old->rows[at++];
        }
        if (at < old->count &&
            row_compare(old->rows[at]->row.kind, old->rows[at]->row.key, r->kind,
                        r->key) == 0) {
            at++;
        }
        if (!r->deleted) {
            out.rows[out.count++] = row_new(r);
        }
    }
    while (at < old->count) {
        old->rows[at]->references++;
        out.rows[out.count++] = old->rows[at++];
    }
    return out;
}

/* Puts a new version in the place of the old, which the undo record takes. */
static void rows_switch(struct mem_store *m, struct mem_group *g,
                        const struct state_meta *meta, struct mem_rows rows)
{
    struct mem_undo *u = mem_store_undo_new(m, MEM_UNDO_ROWS, MEM_STATE, g);

    u->more->meta = g->meta;
    u->more->rows = g->rows;
    u->more->has_rows = true;
    g->meta = *meta;
    g->rows = rows;
}

int mem_rows_checkpoint(struct mem_store *m, group_id group,
                        const struct state_meta *meta, const struct row *rows,
                        size_t count)
{
    struct mem_group *g = mem_store_group(m, group);
    struct state_meta next = *meta;
    struct mem_rows merged;

    KV_ASSERT(meta->applied.pos.index >= g->meta.applied.pos.index);
    KV_ASSERT(meta->applied.pos.index <= g->log.head.last.pos.index);
    merged = rows_merge(&g->rows, rows, count);
    KV_ASSERT(merged.count == meta->rows_count || KV_BUG(m->base, B41));
    next.mark = g->meta.mark;
    rows_switch(m, g, &next, merged);
    return 0;
}

/* ---- snapshot files ---- */

static void file_reserve(struct mem_file *f, size_t more)
{
    size_t room = f->room == 0 ? 1024 : f->room;

    while (f->len + more > room) {
        room *= 2;
    }
    if (room != f->room) {
        f->data = kv_mem_realloc(f->data, room);
        KV_ASSERT(f->data != NULL);
        f->room = room;
    }
}

void mem_rows_file_close(struct mem_file *f)
{
    kv_mem_free(f->data);
    *f = (struct mem_file){0};
}

int mem_rows_snapshot(struct mem_group *g, group_id group)
{
    struct snapshot_head head = {.group = group, .meta = g->meta};
    struct mem_file *f = &g->made;

    if (g->meta.applied.pos.index == 0) {
        return KV_ENOTFOUND;
    }
    f->about = (struct raft_snapshot){0};
    f->len = 0;
    file_reserve(f, SNAPSHOT_HEAD_BYTES_MAX);
    f->len = snapshot_head_encode(&head, f->data);
    for (size_t i = 0; i < g->rows.count; i++) {
        const struct mem_row *row = g->rows.rows[i];

        if (!mem_rows_intact(row)) {
            return KV_EDAMAGED;
        }
        file_reserve(f, snapshot_row_bytes(&row->row));
        f->len += snapshot_row_encode(&row->row, f->data + f->len);
    }
    file_reserve(f, SNAPSHOT_END_BYTES);
    f->len +=
        snapshot_end_encode(g->meta.rows_count, g->meta.state_hash, f->data + f->len);
    snapshot_describe(&head, f->len, &f->about);
    return 0;
}

int mem_rows_chunk(struct mem_store *m, group_id group,
                   const struct raft_snapshot *snap, const struct raft_chunk *chunk)
{
    struct mem_group *g = mem_store_group(m, group);
    struct mem_file *f = &g->received;
    struct mem_undo *u;

    if (chunk->snapshot_id != snap->id || snap->id == 0 ||
        chunk->len != chunk->data.len || chunk->offset > snap->bytes ||
        chunk->len > snap->bytes - chunk->offset) {
        return KV_EINVAL;
    }
    if (chunk->offset != 0 && (f->about.id != snap->id || f->len != chunk->offset)) {
        return KV_EINVAL;
    }
    u = mem_store_undo_new(m, MEM_UNDO_CHUNK, MEM_STATE, g);
    if (chunk->offset == 0) {
        u->more->file = *f;
        u->more->has_file = true;
        *f = (struct mem_file){.about = *snap};
    } else {
        u->more->file.len = f->len;
    }
    file_reserve(f, chunk->len + 1);
    if (chunk->len > 0) {
        memcpy(f->data + f->len, chunk->data.data, chunk->len);
    }
    f->len += chunk->len;
    return 0;
}

/* Reads and checks the whole stream; rows go to `out` when it is not NULL. */
static int file_read(const struct mem_file *f, struct snapshot_reader *r,
                     struct mem_rows *out)
{
    size_t at = 0;
    enum snapshot_item item = SNAPSHOT_HEAD;
    int rc = 0;

    snapshot_reader_init(r);
    while (at < f->len || item != SNAPSHOT_END) {
        struct row row;
        size_t used;

        rc = snapshot_reader_next(r, kv_bytes(f->data + at, f->len - at), &used, &item,
                                  &row);
        if (rc != 0) {
            return KV_EDAMAGED;
        }
        at += used;
        if (item == SNAPSHOT_ROW && out != NULL) {
            out->rows[out->count++] = row_new(&row);
        }
    }
    return 0;
}

int mem_rows_install(struct mem_store *m, group_id group,
                     const struct raft_snapshot *snap)
{
    struct mem_group *g = mem_store_group(m, group);
    struct mem_file *f = &g->received;
    struct snapshot_reader r;
    struct mem_rows rows = {0};
    struct state_meta meta;

    if (f->about.id != snap->id || snap->last.pos.index < g->meta.applied.pos.index) {
        return KV_EINVAL;
    }
    if (f->len != snap->bytes || file_read(f, &r, NULL) != 0 ||
        !snapshot_head_is(&r.head, group, snap)) {
        f->about.id =
            0; /* Useless from now on; undo records may still know its bytes. */
        return KV_EDAMAGED;
    }
    rows.rows = kv_mem_zalloc((r.rows_count + 1) * sizeof *rows.rows);
    KV_ASSERT(rows.rows != NULL);
    if (file_read(f, &r, &rows) != 0) {
        KV_UNREACHABLE();
    }
    meta = r.head.meta;
    meta.mark = true;
    rows_switch(m, g, &meta, rows);
    f->about.id = 0;
    return 0;
}

/* ---- undoing ---- */

void mem_rows_undo(struct mem_undo *u)
{
    struct mem_group *g = u->group;

    if (u->kind == MEM_UNDO_ROWS) {
        if (u->more->has_rows) {
            mem_rows_drop(&g->rows);
            g->rows = u->more->rows;
        }
        g->meta = u->more->meta;
        return;
    }
    if (u->more->has_file) {
        mem_rows_file_close(&g->received);
        g->received = u->more->file;
    } else {
        g->received.len = u->more->file.len;
    }
}

void mem_rows_forget(struct mem_undo *u)
{
    if (u->more == NULL) {
        return;
    }
    if (u->more->has_rows) {
        mem_rows_drop(&u->more->rows);
    }
    if (u->more->has_file) {
        mem_rows_file_close(&u->more->file);
    }
}
