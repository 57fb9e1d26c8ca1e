/* storage/snapshot.c - snapshot streams: frames out, frames in. */
#include "storage/snapshot.h"

#include "raft/base/crc.h"
#include "raft/base/err.h"
#include "raft/base/hash.h"

static const char snapshot_magic[8] = {'K', 'V', 'D', 'S', 'N', 'A', 'P', '\n'};

/* ---- writing ---- */

/* Fills in the frame's head around a body that is there already. */
static size_t frame_seal(enum snapshot_item type, size_t body_bytes, uint8_t *out)
{
    KV_ASSERT(body_bytes <= SNAPSHOT_BODY_BYTES_MAX);
    kv_put_u32le(out + 4, (uint32_t)body_bytes);
    out[8] = (uint8_t)type;
    kv_put_u32le(out,
                 kv_crc32c(0, out + 4, SNAPSHOT_FRAME_HEAD_BYTES - 4 + body_bytes));
    return SNAPSHOT_FRAME_HEAD_BYTES + body_bytes;
}

size_t snapshot_head_encode(const struct snapshot_head *h, uint8_t *out)
{
    uint8_t *p = out + SNAPSHOT_FRAME_HEAD_BYTES;
    size_t config_bytes;

    memcpy(p, snapshot_magic, sizeof snapshot_magic);
    kv_put_u16le(p + 8, SNAPSHOT_VERSION);
    kv_put_u32le(p + 10, h->group);
    kv_put_u64le(p + 14, h->meta.applied.pos.index);
    kv_put_u64le(p + 22, h->meta.applied.pos.term);
    kv_put_u64le(p + 30, h->meta.applied.hash);
    kv_put_u64le(p + 38, h->meta.applied.time_ms);
    kv_put_u64le(p + 46, h->meta.config_index);
    kv_put_u64le(p + 54, h->meta.state_hash);
    kv_put_u64le(p + 62, h->meta.rows_count);
    kv_put_u64le(p + 70, h->meta.rows_bytes);
    config_bytes = raft_config_encode(&h->meta.config, p + SNAPSHOT_HEAD_BODY_BYTES);
    return frame_seal(SNAPSHOT_HEAD, SNAPSHOT_HEAD_BODY_BYTES + config_bytes, out);
}

uint64_t snapshot_id(const struct snapshot_head *h)
{
    uint8_t frame[SNAPSHOT_HEAD_BYTES_MAX];
    uint64_t id = kv_hash64(frame, snapshot_head_encode(h, frame));

    return id == 0 ? 1 : id;
}

size_t snapshot_row_bytes(const struct row *r)
{
    return SNAPSHOT_FRAME_HEAD_BYTES + SNAPSHOT_ROW_BODY_BYTES + r->key.len +
           r->value.len;
}

size_t snapshot_row_encode(const struct row *r, uint8_t *out)
{
    uint8_t *p = out + SNAPSHOT_FRAME_HEAD_BYTES;

    KV_ASSERT(row_fits(r));
    p[0] = r->kind;
    kv_put_u16le(p + 1, r->slot);
    kv_put_u64le(p + 3, r->rev);
    kv_put_u16le(p + 11, (uint16_t)r->key.len);
    memcpy(p + SNAPSHOT_ROW_BODY_BYTES, r->key.data, r->key.len);
    if (r->value.len > 0) {
        memcpy(p + SNAPSHOT_ROW_BODY_BYTES + r->key.len, r->value.data, r->value.len);
    }
    return frame_seal(SNAPSHOT_ROW, SNAPSHOT_ROW_BODY_BYTES + r->key.len + r->value.len,
                      out);
}

size_t snapshot_end_encode(uint64_t rows_count, uint64_t state_hash, uint8_t *out)
{
    kv_put_u64le(out + SNAPSHOT_FRAME_HEAD_BYTES, rows_count);
    kv_put_u64le(out + SNAPSHOT_FRAME_HEAD_BYTES + 8, state_hash);
    return frame_seal(SNAPSHOT_END, 16, out);
}

/* ---- reading ---- */

void snapshot_reader_init(struct snapshot_reader *r)
{
    *r = (struct snapshot_reader){0};
}

static int head_decode(struct kv_bytes body, struct snapshot_head *out)
{
    const uint8_t *p = body.data;
    struct snapshot_head h = {0};

    if (body.len < SNAPSHOT_HEAD_BODY_BYTES ||
        memcmp(p, snapshot_magic, sizeof snapshot_magic) != 0) {
        return KV_EDAMAGED;
    }
    if (kv_get_u16le(p + 8) != SNAPSHOT_VERSION) {
        return KV_EFORMAT;
    }
    h.group = kv_get_u32le(p + 10);
    h.meta.applied.pos.index = kv_get_u64le(p + 14);
    h.meta.applied.pos.term = kv_get_u64le(p + 22);
    h.meta.applied.hash = kv_get_u64le(p + 30);
    h.meta.applied.time_ms = kv_get_u64le(p + 38);
    h.meta.config_index = kv_get_u64le(p + 46);
    h.meta.state_hash = kv_get_u64le(p + 54);
    h.meta.rows_count = kv_get_u64le(p + 62);
    h.meta.rows_bytes = kv_get_u64le(p + 70);
    if (raft_config_decode(
            kv_bytes(p + SNAPSHOT_HEAD_BODY_BYTES, body.len - SNAPSHOT_HEAD_BODY_BYTES),
            &h.meta.config) != 0) {
        return KV_EDAMAGED;
    }
    *out = h;
    return 0;
}

static int row_read(struct snapshot_reader *r, struct kv_bytes body, struct row *out)
{
    const uint8_t *p = body.data;
    struct row row;
    size_t key_len;

    if (body.len < SNAPSHOT_ROW_BODY_BYTES) {
        return KV_EDAMAGED;
    }
    key_len = kv_get_u16le(p + 11);
    if (key_len > body.len - SNAPSHOT_ROW_BODY_BYTES) {
        return KV_EDAMAGED;
    }
    row = (struct row){
        .kind = p[0],
        .slot = kv_get_u16le(p + 1),
        .rev = kv_get_u64le(p + 3),
        .key = kv_bytes(p + SNAPSHOT_ROW_BODY_BYTES, key_len),
        .value = kv_bytes(p + SNAPSHOT_ROW_BODY_BYTES + key_len,
                          body.len - SNAPSHOT_ROW_BODY_BYTES - key_len),
    };
    if (!row_fits(&row) ||
        (r->rows_count > 0 &&
         row_compare(r->kind, kv_bytes(r->key, r->key_len), row.kind, row.key) >= 0)) {
        return KV_EDAMAGED;
    }
    r->rows_count++;
    r->rows_bytes += row.key.len + row.value.len;
    r->state_hash += row_hash(&row);
    r->kind = row.kind;
    r->key_len = key_len;
    memcpy(r->key, row.key.data, key_len);
    *out = row;
    return 0;
}

static int end_read(const struct snapshot_reader *r, struct kv_bytes body)
{
    const struct state_meta *m = &r->head.meta;

    if (body.len != 16 || kv_get_u64le(body.data) != r->rows_count ||
        kv_get_u64le(body.data + 8) != r->state_hash ||
        m->rows_count != r->rows_count || m->rows_bytes != r->rows_bytes ||
        m->state_hash != r->state_hash) {
        return KV_EDAMAGED;
    }
    return 0;
}

int snapshot_reader_next(struct snapshot_reader *r, struct kv_bytes in,
                         size_t *out_used, enum snapshot_item *out_item,
                         struct row *out_row)
{
    struct kv_bytes body;
    enum snapshot_item item;
    int rc;

    if (r->last == SNAPSHOT_END) {
        return in.len == 0 ? KV_EAGAIN : KV_EDAMAGED;
    }
    if (in.len < SNAPSHOT_FRAME_HEAD_BYTES) {
        return KV_EAGAIN;
    }
    body = kv_bytes(in.data + SNAPSHOT_FRAME_HEAD_BYTES, kv_get_u32le(in.data + 4));
    if (body.len > SNAPSHOT_BODY_BYTES_MAX) {
        return KV_EDAMAGED;
    }
    if (in.len < SNAPSHOT_FRAME_HEAD_BYTES + body.len) {
        return KV_EAGAIN;
    }
    item = (enum snapshot_item)in.data[8];
    if (kv_get_u32le(in.data) !=
            kv_crc32c(0, in.data + 4, SNAPSHOT_FRAME_HEAD_BYTES - 4 + body.len) ||
        (item == SNAPSHOT_HEAD) != (r->last == 0)) {
        return KV_EDAMAGED;
    }
    switch (item) {
    case SNAPSHOT_HEAD:
        rc = head_decode(body, &r->head);
        break;
    case SNAPSHOT_ROW:
        rc = row_read(r, body, out_row);
        break;
    case SNAPSHOT_END:
        rc = end_read(r, body);
        break;
    default:
        rc = KV_EDAMAGED;
        break;
    }
    if (rc == 0) {
        r->last = item;
        *out_item = item;
        *out_used = SNAPSHOT_FRAME_HEAD_BYTES + body.len;
    }
    return rc;
}

bool snapshot_head_is(const struct snapshot_head *h, group_id group,
                      const struct raft_snapshot *s)
{
    uint8_t ours[RAFT_CONFIG_BYTES_MAX];
    uint8_t theirs[RAFT_CONFIG_BYTES_MAX];
    size_t ours_bytes = raft_config_encode(&h->meta.config, ours);

    if (!raft_config_valid(&s->config) ||
        raft_config_encode(&s->config, theirs) != ours_bytes) {
        return false;
    }
    return h->group == group && h->meta.applied.pos.index == s->last.pos.index &&
           h->meta.applied.pos.term == s->last.pos.term &&
           h->meta.applied.hash == s->last.hash &&
           h->meta.applied.time_ms == s->last.time_ms &&
           h->meta.config_index == s->config_index &&
           h->meta.state_hash == s->state_hash &&
           memcmp(ours, theirs, ours_bytes) == 0 && snapshot_id(h) == s->id;
}

void snapshot_describe(const struct snapshot_head *h, uint64_t bytes,
                       struct raft_snapshot *out)
{
    *out = (struct raft_snapshot){
        .id = snapshot_id(h),
        .last = h->meta.applied,
        .state_hash = h->meta.state_hash,
        .bytes = bytes,
        .config = h->meta.config,
        .config_index = h->meta.config_index,
    };
}
