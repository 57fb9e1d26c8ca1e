/* storage/meta.c - small records as bytes. */
#include "storage/meta.h"

#include "raft/base/crc.h"
#include "raft/base/err.h"

/* What a record's checksum begins with, so that a record under another's key is not
 * taken for it. */
enum meta_record {
    META_RECORD_LOG = 1,
    META_RECORD_STATE = 2,
    META_RECORD_IDENTITY = 3,
};

static uint32_t meta_crc(enum meta_record record, group_id group, const uint8_t *p,
                         size_t len)
{
    uint8_t head[5] = {(uint8_t)record};

    kv_put_u32le(head + 1, group);
    return kv_crc32c(kv_crc32c(0, head, sizeof head), p + 4, len - 4);
}

/* Checks length and checksum, then the version. */
static int meta_check(enum meta_record record, group_id group, struct kv_bytes in,
                      size_t min)
{
    if (in.len < min ||
        kv_get_u32le(in.data) != meta_crc(record, group, in.data, in.len)) {
        return KV_EDAMAGED;
    }
    return in.data[4] == META_VERSION ? 0 : KV_EFORMAT;
}

static void base_put(uint8_t *p, const struct raft_base *b)
{
    kv_put_u64le(p, b->pos.index);
    kv_put_u64le(p + 8, b->pos.term);
    kv_put_u64le(p + 16, b->hash);
    kv_put_u64le(p + 24, b->time_ms);
}

static struct raft_base base_get(const uint8_t *p)
{
    return (struct raft_base){
        .pos = {.index = kv_get_u64le(p), .term = kv_get_u64le(p + 8)},
        .hash = kv_get_u64le(p + 16),
        .time_ms = kv_get_u64le(p + 24),
    };
}

/* ---- the log of a group ---- */

void meta_log_encode(group_id group, const struct log_state *s, uint8_t *out)
{
    struct raft_base last = {s->last.pos, s->last.hash, s->last.time_ms};

    memset(out, 0, META_LOG_BYTES);
    out[4] = META_VERSION;
    kv_put_u64le(out + 8, s->term);
    kv_put_u32le(out + 16, s->vote);
    kv_put_u64le(out + 24, s->commit_hint);
    base_put(out + 32, &s->base);
    base_put(out + 64, &last);
    kv_put_u32le(out + 96, s->last.payload_bytes);
    out[100] = s->last.type;
    kv_put_u32le(out, meta_crc(META_RECORD_LOG, group, out, META_LOG_BYTES));
}

int meta_log_decode(group_id group, struct kv_bytes in, struct log_state *out)
{
    struct raft_base last;
    int rc = meta_check(META_RECORD_LOG, group, in, META_LOG_BYTES);

    if (rc != 0) {
        return rc;
    }
    if (in.len != META_LOG_BYTES) {
        return KV_EDAMAGED;
    }
    last = base_get(in.data + 64);
    *out = (struct log_state){
        .term = kv_get_u64le(in.data + 8),
        .vote = kv_get_u32le(in.data + 16),
        .commit_hint = kv_get_u64le(in.data + 24),
        .base = base_get(in.data + 32),
        .last = {.pos = last.pos,
                 .type = in.data[100],
                 .payload_bytes = kv_get_u32le(in.data + 96),
                 .time_ms = last.time_ms,
                 .hash = last.hash},
    };
    if (out->base.pos.index > out->last.pos.index ||
        out->commit_hint > out->last.pos.index) {
        return KV_EDAMAGED;
    }
    return 0;
}

/* ---- the state of a group ---- */

size_t meta_state_encode(group_id group, const struct state_meta *m,
                         uint32_t generation, uint8_t *out)
{
    size_t config_bytes = raft_config_encode(&m->config, out + META_STATE_BYTES);

    memset(out, 0, META_STATE_BYTES);
    out[4] = META_VERSION;
    out[5] = m->mark;
    kv_put_u16le(out + 6, (uint16_t)config_bytes);
    kv_put_u32le(out + 8, generation);
    base_put(out + 16, &m->applied);
    kv_put_u64le(out + 48, m->config_index);
    kv_put_u64le(out + 56, m->state_hash);
    kv_put_u64le(out + 64, m->rows_count);
    kv_put_u64le(out + 72, m->rows_bytes);
    kv_put_u32le(
        out, meta_crc(META_RECORD_STATE, group, out, META_STATE_BYTES + config_bytes));
    return META_STATE_BYTES + config_bytes;
}

int meta_state_decode(group_id group, struct kv_bytes in, struct state_meta *out,
                      uint32_t *out_generation)
{
    const uint8_t *p = in.data;
    struct state_meta m = {0};
    int rc = meta_check(META_RECORD_STATE, group, in, META_STATE_BYTES);

    if (rc != 0) {
        return rc;
    }
    if (in.len != (size_t)META_STATE_BYTES + kv_get_u16le(p + 6) ||
        raft_config_decode(kv_bytes(p + META_STATE_BYTES, in.len - META_STATE_BYTES),
                           &m.config) != 0) {
        return KV_EDAMAGED;
    }
    m.mark = p[5] != 0;
    m.applied = base_get(p + 16);
    m.config_index = kv_get_u64le(p + 48);
    m.state_hash = kv_get_u64le(p + 56);
    m.rows_count = kv_get_u64le(p + 64);
    m.rows_bytes = kv_get_u64le(p + 72);
    *out = m;
    *out_generation = kv_get_u32le(p + 8);
    return 0;
}

/* ---- identity ---- */

size_t meta_identity_encode(const struct store_identity *id, uint8_t *out)
{
    size_t len = META_IDENTITY_BYTES;

    KV_ASSERT(id->peers_count <= STORE_NODES_MAX);
    memset(out, 0, META_IDENTITY_BYTES);
    out[4] = META_VERSION;
    kv_put_u64le(out + 8, id->cluster);
    kv_put_u32le(out + 16, id->node);
    kv_put_u32le(out + 20, id->peers_count);
    kv_put_u64le(out + 24, id->incarnation);
    kv_put_u64le(out + 32, id->boots);
    for (uint32_t i = 0; i < id->peers_count; i++) {
        kv_put_u32le(out + len, id->peers[i].node);
        kv_put_u64le(out + len + 4, id->peers[i].incarnation);
        len += 12;
    }
    kv_put_u32le(out, meta_crc(META_RECORD_IDENTITY, 0, out, len));
    return len;
}

int meta_identity_decode(struct kv_bytes in, struct store_identity *out)
{
    const uint8_t *p = in.data;
    struct store_identity id = {0};
    int rc = meta_check(META_RECORD_IDENTITY, 0, in, META_IDENTITY_BYTES);

    if (rc != 0) {
        return rc;
    }
    id.peers_count = kv_get_u32le(p + 20);
    if (id.peers_count > STORE_NODES_MAX ||
        in.len != META_IDENTITY_BYTES + 12 * (size_t)id.peers_count) {
        return KV_EDAMAGED;
    }
    id.cluster = kv_get_u64le(p + 8);
    id.node = kv_get_u32le(p + 16);
    id.incarnation = kv_get_u64le(p + 24);
    id.boots = kv_get_u64le(p + 32);
    for (uint32_t i = 0; i < id.peers_count; i++) {
        id.peers[i].node = kv_get_u32le(p + META_IDENTITY_BYTES + 12 * (size_t)i);
        id.peers[i].incarnation =
            kv_get_u64le(p + META_IDENTITY_BYTES + 12 * (size_t)i + 4);
    }
    *out = id;
    return 0;
}
