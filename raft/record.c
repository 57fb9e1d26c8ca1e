/* raft/record.c - entries and configurations to bytes and back. */
#include "raft/record.h"

#include "raft/base/crc.h"
#include "raft/base/err.h"
#include "raft/base/hash.h"
#include "raft/quorum.h"

enum {
    RECORD_CRC_AT = 0,
    RECORD_VERSION_AT = 4,
    RECORD_TYPE_AT = 5,
    RECORD_ZERO_AT = 6,
    RECORD_INDEX_AT = 8,
    RECORD_TERM_AT = 16,
    RECORD_TIME_AT = 24,
    RECORD_HASH_AT = 32,
    RECORD_LEN_AT = 40,
};
_Static_assert(RECORD_LEN_AT + 4 == RAFT_RECORD_HEAD_BYTES, "the head has no gaps");

enum {
    CONFIG_VERSION = 1
};

/* ---- entries ---- */

size_t raft_record_bytes(size_t payload_bytes)
{
    KV_ASSERT(payload_bytes <= RAFT_RECORD_PAYLOAD_MAX);
    return RAFT_RECORD_HEAD_BYTES + payload_bytes;
}

void raft_record_encode(const struct raft_entry *entry, uint8_t *out)
{
    size_t bytes = raft_record_bytes(entry->payload.len);

    out[RECORD_VERSION_AT] = RAFT_RECORD_VERSION;
    out[RECORD_TYPE_AT] = entry->type;
    kv_put_u16le(out + RECORD_ZERO_AT, 0);
    kv_put_u64le(out + RECORD_INDEX_AT, entry->pos.index);
    kv_put_u64le(out + RECORD_TERM_AT, entry->pos.term);
    kv_put_u64le(out + RECORD_TIME_AT, entry->time_ms);
    kv_put_u64le(out + RECORD_HASH_AT, entry->hash);
    kv_put_u32le(out + RECORD_LEN_AT, (uint32_t)entry->payload.len);
    if (entry->payload.len > 0) {
        memcpy(out + RAFT_RECORD_HEAD_BYTES, entry->payload.data, entry->payload.len);
    }
    kv_put_u32le(out + RECORD_CRC_AT, kv_crc32c(0, out + 4, bytes - 4));
}

int raft_record_decode(struct kv_bytes record, struct raft_entry *out)
{
    const uint8_t *p = record.data;

    if (record.len < RAFT_RECORD_HEAD_BYTES ||
        record.len > RAFT_RECORD_HEAD_BYTES + RAFT_RECORD_PAYLOAD_MAX) {
        return KV_EDAMAGED;
    }
    if (kv_get_u32le(p + RECORD_CRC_AT) != kv_crc32c(0, p + 4, record.len - 4)) {
        return KV_EDAMAGED;
    }
    if (p[RECORD_VERSION_AT] != RAFT_RECORD_VERSION) {
        return KV_EFORMAT;
    }
    if (kv_get_u16le(p + RECORD_ZERO_AT) != 0 ||
        kv_get_u32le(p + RECORD_LEN_AT) != record.len - RAFT_RECORD_HEAD_BYTES) {
        return KV_EDAMAGED;
    }
    *out = (struct raft_entry){
        .pos = {.index = kv_get_u64le(p + RECORD_INDEX_AT),
                .term = kv_get_u64le(p + RECORD_TERM_AT)},
        .type = p[RECORD_TYPE_AT],
        .time_ms = kv_get_u64le(p + RECORD_TIME_AT),
        .hash = kv_get_u64le(p + RECORD_HASH_AT),
        .payload =
            kv_bytes(p + RAFT_RECORD_HEAD_BYTES, record.len - RAFT_RECORD_HEAD_BYTES),
    };
    return 0;
}

uint64_t raft_entry_hash(uint64_t prev_hash, const struct raft_entry *entry)
{
    uint8_t head[45];

    /* Two calls instead of one stream: the payload on its own, then everything. */
    kv_put_u64le(head, prev_hash);
    kv_put_u64le(head + 8, entry->pos.index);
    kv_put_u64le(head + 16, entry->pos.term);
    kv_put_u64le(head + 24, entry->time_ms);
    kv_put_u64le(head + 32, kv_hash64(entry->payload.data, entry->payload.len));
    kv_put_u32le(head + 40, (uint32_t)entry->payload.len);
    head[44] = entry->type;
    return kv_hash64(head, sizeof head);
}

/* ---- configurations ---- */

static uint8_t *put_ids(uint8_t *p, const raft_id *ids, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        kv_put_u32le(p, ids[i]);
        p += 4;
    }
    return p;
}

size_t raft_config_encode(const struct raft_config *c, uint8_t *out)
{
    uint8_t *p = out;

    KV_ASSERT(raft_config_valid(c));
    *p++ = CONFIG_VERSION;
    kv_put_u32le(p, c->voters_count);
    kv_put_u32le(p + 4, c->voters_old_count);
    kv_put_u32le(p + 8, c->learners_count);
    kv_put_u32le(p + 12, c->w);
    kv_put_u32le(p + 16, c->w_old);
    p = put_ids(p + 20, c->voters, c->voters_count);
    p = put_ids(p, c->voters_old, c->voters_old_count);
    p = put_ids(p, c->learners, c->learners_count);
    KV_ASSERT(p <= out + RAFT_CONFIG_BYTES_MAX);
    return (size_t)(p - out);
}

static const uint8_t *get_ids(const uint8_t *p, raft_id *ids, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        ids[i] = kv_get_u32le(p);
        p += 4;
    }
    return p;
}

int raft_config_decode(struct kv_bytes bytes, struct raft_config *out)
{
    const uint8_t *p = bytes.data;
    struct raft_config c = {0};

    if (bytes.len < 21 || bytes.len > RAFT_CONFIG_BYTES_MAX || p[0] != CONFIG_VERSION) {
        return KV_ECORRUPT;
    }
    c.voters_count = kv_get_u32le(p + 1);
    c.voters_old_count = kv_get_u32le(p + 5);
    c.learners_count = kv_get_u32le(p + 9);
    c.w = kv_get_u32le(p + 13);
    c.w_old = kv_get_u32le(p + 17);
    if (c.voters_count > RAFT_REPLICAS_MAX || c.voters_old_count > RAFT_REPLICAS_MAX ||
        c.learners_count > RAFT_REPLICAS_MAX ||
        bytes.len !=
            21 + 4 * (size_t)(c.voters_count + c.voters_old_count + c.learners_count)) {
        return KV_ECORRUPT;
    }
    p = get_ids(p + 21, c.voters, c.voters_count);
    p = get_ids(p, c.voters_old, c.voters_old_count);
    (void)get_ids(p, c.learners, c.learners_count);
    if (!raft_config_valid(&c)) {
        return KV_ECORRUPT;
    }
    *out = c;
    return 0;
}

/* Ascending without repeats, none of them 0. */
static bool ids_ascend(const raft_id *ids, uint32_t count)
{
    raft_id before = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (ids[i] <= before) {
            return false;
        }
        before = ids[i];
    }
    return true;
}

static bool w_fits(uint32_t w, uint32_t voters_count)
{
    return w == 0 || (w >= raft_quorum_majority_of(voters_count) && w <= voters_count);
}

bool raft_config_valid(const struct raft_config *c)
{
    uint32_t total;

    if (c->voters_count > RAFT_REPLICAS_MAX ||
        c->voters_old_count > RAFT_REPLICAS_MAX ||
        c->learners_count > RAFT_REPLICAS_MAX) {
        return false;
    }
    if (c->voters_count == 0) { /* A replica that waits to be told. */
        return c->voters_old_count == 0 && c->learners_count == 0 && c->w == 0 &&
               c->w_old == 0;
    }
    if (!ids_ascend(c->voters, c->voters_count) ||
        !ids_ascend(c->voters_old, c->voters_old_count) ||
        !ids_ascend(c->learners, c->learners_count) || !w_fits(c->w, c->voters_count)) {
        return false;
    }
    if (c->voters_old_count == 0 ? c->w_old != 0
                                 : !w_fits(c->w_old, c->voters_old_count)) {
        return false;
    }
    total = c->voters_count + c->learners_count;
    for (uint32_t i = 0; i < c->learners_count; i++) {
        if (raft_quorum_lists(c->voters, c->voters_count, c->learners[i])) {
            return false;
        }
    }
    for (uint32_t i = 0; i < c->voters_old_count; i++) {
        if (!raft_quorum_lists(c->voters, c->voters_count, c->voters_old[i]) &&
            !raft_quorum_lists(c->learners, c->learners_count, c->voters_old[i])) {
            total++;
        }
    }
    return total <= RAFT_REPLICAS_MAX;
}
