/* server/apply_lock.c - what the commands of locks do to the state. */
#include "raft/base/err.h"
#include "server/apply.h"

int apply_lock_read(struct state *st, struct kv_bytes name, struct arena *arena,
                    struct lock *out)
{
    struct row row;
    struct kv_bytes value = {0};
    int rc = state_get(st, ROW_LOCK, name, arena, &row);

    /* A copy: the row is about to be replaced. */
    if (rc == 0) {
        rc = arena_copy(arena, row.value, &value);
    }
    if (rc != 0 && rc != KV_ENOTFOUND) {
        return rc;
    }
    return lock_decode(value, arena, out);
}

static int lock_write(struct apply *a, const struct command *c, const struct lock *l,
                      uint64_t rev)
{
    struct row row = {.kind = ROW_LOCK, .slot = c->slot, .rev = rev, .key = c->key};
    uint8_t *value;
    bool existed;

    if (l->holders_count == 0) {
        return state_del(a->st, ROW_LOCK, c->key, &existed);
    }
    value = arena_alloc(&a->scratch, lock_bytes(l));
    if (value == NULL) {
        return KV_ENOMEM;
    }
    lock_encode(l, value);
    row.value = kv_bytes(value, lock_bytes(l));
    return state_put(a->st, &row);
}

static void lock_do(struct lock *l, const struct command *c, uint64_t rev,
                    struct lock_change *out)
{
    struct lock_ask ask = {.permits = c->permits, .may_wait = c->may_wait};

    switch ((int)c->kind) {
    case COMMAND_LOCK_ACQUIRE:
        ask.claim.owner = c->owner;
        ask.claim.value = c->value;
        ask.claim.ttl_ms = c->ttl_ms;
        lock_acquire(l, &ask, rev, out);
        return;
    case COMMAND_LOCK_RELEASE:
    case COMMAND_LOCK_EXPIRE:
        lock_release(l, c->token, rev, out);
        return;
    default:
        KV_ASSERT(c->kind == COMMAND_LOCK_CANCEL);
        lock_cancel(l, c->owner, c->give_back, rev, out);
        return;
    }
}

int apply_lock(struct apply *a, const struct command *c, struct apply_result *out)
{
    struct lock l;
    int rc = apply_lock_read(a->st, c->key, &a->scratch, &l);

    if (rc != 0) {
        return rc;
    }
    lock_do(&l, c, KV_BUG(*a, K44) ? l.last_token + 1 : out->rev, &out->lock);
    if (out->lock.changed) {
        rc = lock_write(a, c, &l, out->rev);
        if (rc != 0) {
            return rc;
        }
    }
    out->is_lock = true;
    out->lock_name = c->key;
    out->code = out->lock.code;
    return 0;
}
