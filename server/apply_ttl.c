/* server/apply_ttl.c - keys with a time to live, and every other change of a key.
 *
 * A key that ends has two rows beside its own, written and deleted with it:
 *
 *   ROW_LEASE  key: the key                     value: u64 until, u16 ordinal
 *   ROW_DUE    key: u64be until, u64be rev,     value: the key
 *                   u16be ordinal
 *
 * little-endian where nothing else is said; rev is that of the key's row, and the
 * ordinal tells the keys of one transaction apart. ROW_DUE is the order in which keys
 * end: finding the next ones takes no walk.
 */
#include "raft/base/err.h"
#include "server/apply_parts.h"

enum {
    TTL_LEASE_BYTES = 8 + 2,
    TTL_DUE_BYTES = 8 + 8 + 2,
    TTL_EXPIRE_BYTES = 256 * 1024, /* Of ROW_DUE rows, looked at by one entry. */
};

static struct kv_bytes due_key(const struct ttl *t, uint8_t out[TTL_DUE_BYTES])
{
    kv_put_u64be(out, t->until_ms);
    kv_put_u64be(out + 8, t->rev);
    out[16] = (uint8_t)(t->ordinal >> 8);
    out[17] = (uint8_t)t->ordinal;
    return kv_bytes(out, TTL_DUE_BYTES);
}

int apply_ttl_find(struct apply *a, struct kv_bytes key, struct arena *arena,
                   struct ttl *out)
{
    struct row row;
    int rc =
        a->has_leases ? state_get(a->st, ROW_LEASE, key, arena, &row) : KV_ENOTFOUND;

    *out = (struct ttl){0};
    if (rc != 0) {
        return rc == KV_ENOTFOUND ? 0 : rc;
    }
    if (row.value.len != TTL_LEASE_BYTES) {
        return KV_EFORMAT;
    }
    *out = (struct ttl){.until_ms = kv_get_u64le(row.value.data),
                        .rev = row.rev,
                        .ordinal = kv_get_u16le(row.value.data + 8)};
    return 0;
}

/* ---- two rows ---- */

static int rows_drop(struct apply *a, struct kv_bytes key, const struct ttl *t)
{
    uint8_t due[TTL_DUE_BYTES];
    bool existed;
    int rc = state_del(a->st, ROW_DUE, due_key(t, due), &existed);

    return rc != 0 ? rc : state_del(a->st, ROW_LEASE, key, &existed);
}

static int rows_add(struct apply *a, const struct row *kv, const struct ttl *t)
{
    uint8_t bytes[TTL_DUE_BYTES];
    struct row row = {
        .kind = ROW_DUE, .slot = kv->slot, .rev = kv->rev, .value = kv->key};
    int rc;

    row.key = due_key(t, bytes);
    rc = state_put(a->st, &row);
    if (rc != 0) {
        return rc;
    }
    kv_put_u64le(bytes, t->until_ms);
    kv_put_u16le(bytes + 8, t->ordinal);
    row.kind = ROW_LEASE;
    row.key = kv->key;
    row.value = kv_bytes(bytes, TTL_LEASE_BYTES);
    a->has_leases = true;
    a->due_ms = KV_MIN(a->due_ms, t->until_ms);
    return state_put(a->st, &row);
}

/* The key's old time to live ends to count. */
static int lease_clear(struct apply *a, struct kv_bytes key)
{
    struct ttl old;
    int rc = apply_ttl_find(a, key, &a->scratch, &old);

    if (rc == 0 && old.until_ms != 0 && !KV_BUG(*a, K39)) {
        rc = rows_drop(a, key, &old);
    }
    return rc;
}

/* ---- changes of keys ---- */

struct ttl apply_ttl_of(const struct apply *a, uint32_t ttl_ms, uint64_t rev,
                        uint16_t ordinal)
{
    struct ttl t = {.rev = rev, .ordinal = ordinal};

    t.until_ms = ttl_ms == 0 ? 0 : a->time_ms + ttl_ms;
    return t;
}

int apply_key_put(struct apply *a, const struct row *row, const struct ttl *t)
{
    int rc = lease_clear(a, row->key);

    if (rc == 0) {
        rc = state_put(a->st, row);
    }
    return rc == 0 && t->until_ms != 0 ? rows_add(a, row, t) : rc;
}

int apply_key_del(struct apply *a, struct kv_bytes key, bool *out_existed)
{
    int rc = lease_clear(a, key);

    return rc != 0 ? rc : state_del(a->st, ROW_KV, key, out_existed);
}

/* ---- what is due ---- */

int apply_ttl_load(struct apply *a, struct arena *arena)
{
    struct row *rows;
    uint32_t count = 0;
    bool more;
    int rc = state_range(a->st, ROW_DUE, kv_bytes(NULL, 0), kv_bytes(NULL, 0), 1, 1,
                         arena, &rows, &count, &more);

    if (rc != 0) {
        return rc;
    }
    if (count > 0 && rows[0].key.len != TTL_DUE_BYTES) {
        return KV_EFORMAT;
    }
    a->has_leases = count > 0;
    a->due_ms = count > 0 ? kv_get_u64be(rows[0].key.data) : UINT64_MAX;
    return 0;
}

/* Deletes a key whose time has passed, where it is still the one that was meant. */
static int expire_one(struct apply *a, const struct row *due, size_t *io_bytes)
{
    struct row row;
    bool existed;
    int rc = state_get(a->st, ROW_KV, due->value, &a->scratch, &row);

    if (rc == 0 && (row.rev == due->rev || KV_BUG(*a, K39))) {
        *io_bytes += row.key.len + row.value.len;
        return apply_key_del(a, due->value, &existed);
    }
    /* Not reached: whatever changes a key takes its rows along. */
    return rc == 0 || rc == KV_ENOTFOUND ? state_del(a->st, ROW_DUE, due->key, &existed)
                                         : rc;
}

int apply_ttl_expire(struct apply *a, const struct command *c)
{
    uint8_t end[8];
    struct row *rows;
    uint32_t count;
    size_t bytes = 0;
    bool more;
    int rc;

    kv_put_u64be(end, a->time_ms + 1); /* Due: until <= the entry's time. */
    rc = state_range(a->st, ROW_DUE, kv_bytes(NULL, 0), kv_bytes(end, sizeof end),
                     c->rows_max, TTL_EXPIRE_BYTES, &a->scratch, &rows, &count, &more);
    for (uint32_t i = 0; rc == 0 && i < count && bytes < APPLY_DELRANGE_BYTES_MAX;
         i++) {
        rc = rows[i].key.len == TTL_DUE_BYTES ? expire_one(a, &rows[i], &bytes)
                                              : KV_EFORMAT;
    }
    return rc != 0 ? rc : apply_ttl_load(a, &a->scratch);
}
