/* server/pending.c - a ring of hashes, one per entry that is not applied. */
#include "server/pending.h"

#include "raft/base/arena.h"
#include "raft/base/bug.h"
#include "raft/base/hash.h"
#include "rpc/slot.h"
#include "server/command.h"

enum {
    PENDING_NO_KEY = 0,
    PENDING_ALL_KEYS = 1,
    PENDING_CAP_MIN = 64,
    PENDING_CAP_MAX = 1024 * 1024, /* More are forgotten: they count for every key. */
};

void pending_init(struct pending *p)
{
    *p = (struct pending){0};
}

void pending_close(struct pending *p)
{
    kv_mem_free(p->hashes);
    pending_init(p);
}

/* Of keys bit 1 is set, of slots it is not. */
static uint64_t hash_of_key(struct kv_bytes key)
{
    return kv_hash64(key.data, key.len) | 2;
}

static uint64_t hash_of_slot(uint16_t slot)
{
    return ((uint64_t)slot + 1) << 2;
}

static uint64_t hash_of(const struct pending *p, const struct raft_entry *e)
{
    struct command c;

    (void)p; /* Only a planted bug looks at it. */
    if (e->type == RAFT_ENTRY_NOOP || e->type == RAFT_ENTRY_CONFIG) {
        return PENDING_NO_KEY;
    }
    if (e->type != RAFT_ENTRY_COMMAND || command_decode(e->payload, &c) != 0) {
        return PENDING_ALL_KEYS;
    }
    switch (c.kind) {
    case COMMAND_KV_PUT:
    case COMMAND_KV_DEL:
    case COMMAND_KV_CAS:
    case COMMAND_KV_INCR:
    case COMMAND_KV_GETSET:
        return hash_of_key(c.key);
    case COMMAND_KV_DELRANGE: /* Any key may lie in it. */
        return KV_BUG(*p, K38) ? PENDING_NO_KEY : PENDING_ALL_KEYS;
    case COMMAND_KV_TXN:
        return hash_of_slot(c.slot);
    case COMMAND_LOCK_ACQUIRE:
    case COMMAND_LOCK_RELEASE:
    case COMMAND_LOCK_EXPIRE:
    case COMMAND_LOCK_CANCEL:
    case COMMAND_FENCE_MARK:
    case COMMAND_RECORD_SWEEP:
        return PENDING_NO_KEY; /* They change rows that no key has. */
    default:
        return PENDING_ALL_KEYS;
    }
}

/* Makes room for one more. False: there is no memory. */
static bool grow(struct pending *p)
{
    uint32_t cap = KV_MAX(2 * p->cap, (uint32_t)PENDING_CAP_MIN);
    uint64_t *hashes;

    if (p->end - p->begin < p->cap) {
        return true;
    }
    hashes = cap > PENDING_CAP_MAX ? NULL : kv_mem_zalloc(cap * sizeof *hashes);
    if (hashes == NULL) {
        return false;
    }
    for (raft_index i = p->begin; i < p->end; i++) {
        hashes[i % cap] = p->hashes[i % p->cap];
    }
    kv_mem_free(p->hashes);
    p->hashes = hashes;
    p->cap = cap;
    return true;
}

void pending_put(struct pending *p, const struct raft_entry *entry, raft_index applied)
{
    raft_index index = entry->pos.index;

    if (index < p->begin || index > p->end) {
        p->begin = index;
    }
    p->end = index;
    p->begin = KV_MIN(KV_MAX(p->begin, applied + 1), index);
    if (!grow(p)) {
        p->begin = p->end = index + 1;
        return;
    }
    p->hashes[index % p->cap] = hash_of(p, entry);
    p->end = index + 1;
}

raft_index pending_find(const struct pending *p, struct kv_bytes key,
                        raft_index applied, raft_index last)
{
    uint64_t want = hash_of_key(key);
    uint64_t slot = hash_of_slot(slot_of(key));

    for (raft_index i = last; i > applied; i--) {
        uint64_t hash =
            i >= p->begin && i < p->end ? p->hashes[i % p->cap] : PENDING_ALL_KEYS;

        if (hash == PENDING_ALL_KEYS || hash == want || hash == slot) {
            return i;
        }
    }
    return 0;
}
