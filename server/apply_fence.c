/* server/apply_fence.c - tokens that are looked at before anything is read or written.
 *
 * In the group that owns the lock's slot the lock itself says who holds it. Any other
 * group knows only the tokens that it was shown: the highest of each lock is its mark,
 * lower ones are refused. Two kinds of rows:
 *
 *   'm' name       u64 token    mark of a lock; its rev is that of the entry
 *   'f' u16be slot u64 token    floor of a slot of locks
 *
 * There are at most `marks_max` marks: the eighth that was not raised for the
 * longest time goes when there are more, and the highest token of each slot among
 * those becomes the slot's floor. A lock without a mark is refused below the floor
 * of its slot. Tokens of one slot come from one log at any time, so they compare: no
 * former holder of a forgotten lock gets in, and whoever takes any lock of the slot
 * from then on does. What this can cost: a holder of another lock of that slot, with
 * a forgotten mark and an older token, is refused although it still holds, and has
 * to take its lock again.
 *
 * Source: design.md section 7.
 */
#include "raft/base/err.h"
#include "rpc/slot.h"
#include "server/apply.h"

enum {
    FENCE_KEY_BYTES = 1 + KV_LOCK_NAME_BYTES_MAX,
    FENCE_PAGE_ROWS = 512,
    FENCE_PAGE_BYTES = 256 * 1024,
    FENCE_DROP_PART = 8,
};

/* A row of fences in the caller's memory. */
struct fence_key {
    uint8_t bytes[FENCE_KEY_BYTES + 1];
    size_t len;
};

static struct kv_bytes key_of_mark(struct fence_key *k, struct kv_bytes lock)
{
    KV_ASSERT(lock.len >= 1 && lock.len <= KV_LOCK_NAME_BYTES_MAX);
    k->bytes[0] = 'm';
    memcpy(k->bytes + 1, lock.data, lock.len);
    k->len = 1 + lock.len;
    return kv_bytes(k->bytes, k->len);
}

static struct kv_bytes key_of_floor(struct fence_key *k, uint16_t slot)
{
    k->bytes[0] = 'f';
    k->bytes[1] = (uint8_t)(slot >> 8);
    k->bytes[2] = (uint8_t)slot;
    k->len = 3;
    return kv_bytes(k->bytes, k->len);
}

/* ---- rows ---- */

/* Reads a token; 0 where there is no row. */
static int token_read(struct apply *a, struct kv_bytes key, uint64_t *out)
{
    struct row row;
    int rc = state_get(a->st, ROW_FENCE, key, &a->scratch, &row);

    *out = 0;
    if (rc != 0) {
        return rc == KV_ENOTFOUND ? 0 : rc;
    }
    if (row.value.len != 8) {
        return KV_EFORMAT;
    }
    *out = kv_get_u64le(row.value.data);
    return 0;
}

static int token_write(struct apply *a, struct kv_bytes key, uint16_t slot,
                       uint64_t token, uint64_t rev)
{
    uint8_t value[8];
    struct row row = {.kind = ROW_FENCE, .slot = slot, .rev = rev, .key = key};

    kv_put_u64le(value, token);
    row.value = kv_bytes(value, sizeof value);
    return state_put(a->st, &row);
}

/* ---- all marks ---- */

struct marks_walk {
    uint8_t from[FENCE_KEY_BYTES + 1];
    size_t from_len;
    struct row *rows;
    uint32_t count;
    bool more;
};

static void marks_begin(struct marks_walk *w)
{
    *w = (struct marks_walk){.from_len = 1, .more = true};
    w->from[0] = 'm';
}

/* The next page of marks, in `arena`. */
static int marks_next(struct apply *a, struct marks_walk *w, struct arena *arena)
{
    static const uint8_t end[] = {'m' + 1};
    int rc = state_range(a->st, ROW_FENCE, kv_bytes(w->from, w->from_len),
                         kv_bytes(end, sizeof end), FENCE_PAGE_ROWS, FENCE_PAGE_BYTES,
                         arena, &w->rows, &w->count, &w->more);

    if (rc == 0 && w->more) {
        struct kv_bytes last = w->rows[w->count - 1].key;

        if (last.len > FENCE_KEY_BYTES) {
            return KV_EFORMAT;
        }
        memcpy(w->from, last.data, last.len);
        w->from[last.len] = 0; /* The smallest key behind it. */
        w->from_len = last.len + 1;
    }
    return rc;
}

int apply_fence_load(struct apply *a)
{
    struct marks_walk w;
    int rc = 0;

    a->marks_count = 0;
    marks_begin(&w);
    while (rc == 0 && w.more) {
        arena_reset(&a->scratch);
        rc = marks_next(a, &w, &a->scratch);
        a->marks_count += rc == 0 ? w.count : 0;
    }
    arena_reset(&a->scratch);
    return rc;
}

/* ---- forgetting ---- */

/* The revision up to which `wanted` of the revisions lie. Each mark has one of its own:
 * an entry writes one mark at most. */
static uint64_t rev_below(const uint64_t *revs, uint32_t count, uint32_t wanted)
{
    uint64_t low = 0;
    uint64_t high = UINT64_MAX;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        uint32_t below = 0;

        for (uint32_t i = 0; i < count; i++) {
            below += revs[i] <= middle;
        }
        if (below >= wanted) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

/* Replaces a mark by the floor of its slot. */
static int mark_drop(struct apply *a, const struct row *mark, uint64_t rev)
{
    struct fence_key key;
    struct kv_bytes floor_key = key_of_floor(&key, mark->slot);
    uint64_t floor;
    bool existed;
    int rc;

    if (mark->value.len != 8) {
        return KV_EFORMAT;
    }
    rc = token_read(a, floor_key, &floor);
    if (rc == 0 && kv_get_u64le(mark->value.data) > floor) {
        rc = token_write(a, floor_key, mark->slot, kv_get_u64le(mark->value.data), rev);
    }
    if (rc == 0) {
        rc = state_del(a->st, ROW_FENCE, mark->key, &existed);
    }
    if (rc == 0) {
        a->marks_count--;
    }
    return rc;
}

static int marks_forget(struct apply *a, uint64_t rev)
{
    uint32_t wanted = KV_MAX(a->marks_max / FENCE_DROP_PART, 1u);
    uint64_t *revs =
        arena_alloc(&a->scratch, ((size_t)a->marks_count + 1) * sizeof *revs);
    struct marks_walk w;
    uint32_t count = 0;
    uint64_t last;
    int rc = revs == NULL ? KV_ENOMEM : 0;

    marks_begin(&w);
    while (rc == 0 && w.more) {
        rc = marks_next(a, &w, &a->scratch);
        for (uint32_t i = 0; rc == 0 && i < w.count && count < a->marks_count; i++) {
            revs[count++] = w.rows[i].rev;
        }
    }
    if (rc != 0) {
        return rc;
    }
    last = rev_below(revs, count, KV_MIN(wanted, count));
    marks_begin(&w);
    while (rc == 0 && w.more) {
        rc = marks_next(a, &w, &a->scratch);
        for (uint32_t i = 0; rc == 0 && i < w.count; i++) {
            rc = w.rows[i].rev <= last ? mark_drop(a, &w.rows[i], rev) : 0;
        }
    }
    return rc;
}

/* ---- looking and noting ---- */

/* In the lock's own group: is it held with this token? */
static int look_at_lock(struct apply *a, const struct command_fence *fence,
                        enum fence_verdict *out)
{
    struct lock lock;
    int rc = apply_lock_read(a->st, fence->lock, &a->scratch, &lock);

    if (rc == 0) {
        *out = lock_holder(&lock, fence->token) != NULL ? FENCE_PASSES : FENCE_STALE;
    }
    return rc;
}

static int look_at_marks(struct apply *a, const struct command_fence *fence,
                         enum fence_verdict *out, bool *out_has_mark)
{
    struct fence_key key;
    uint64_t mark;
    uint64_t floor = 0;
    int rc = token_read(a, key_of_mark(&key, fence->lock), &mark);

    if (rc == 0 && mark == 0) {
        rc = token_read(a, key_of_floor(&key, slot_of(fence->lock)), &floor);
    }
    if (rc == 0) {
        *out_has_mark = mark != 0;
        *out = fence->token < KV_MAX(mark, floor) ? FENCE_STALE
               : fence->token == mark             ? FENCE_PASSES
                                                  : FENCE_MARK;
    }
    return rc;
}

static int fence_look(struct apply *a, const struct command_fence *fence,
                      enum fence_verdict *out, bool *out_has_mark)
{
    *out_has_mark = false;
    return apply_owns(a, slot_of(fence->lock))
               ? look_at_lock(a, fence, out)
               : look_at_marks(a, fence, out, out_has_mark);
}

int apply_fence_look(struct apply *a, const struct command_fence *fence,
                     enum fence_verdict *out)
{
    bool has_mark;

    arena_reset(&a->scratch);
    return fence_look(a, fence, out, &has_mark);
}

int apply_fence(struct apply *a, const struct command_fence *fence,
                struct apply_result *out)
{
    struct fence_key key;
    enum fence_verdict verdict;
    bool has_mark;
    int rc = fence_look(a, fence, &verdict, &has_mark);

    if (rc != 0 || verdict == FENCE_PASSES) {
        return rc;
    }
    if (verdict == FENCE_STALE) {
        out->code = KV_EFENCED;
        return 0;
    }
    if (KV_BUG(*a, K41)) {
        return 0;
    }
    if (!has_mark && a->marks_count >= a->marks_max) {
        rc = marks_forget(a, out->rev);
    }
    if (rc == 0) {
        rc = token_write(a, key_of_mark(&key, fence->lock), slot_of(fence->lock),
                         fence->token, out->rev);
    }
    if (rc == 0 && !has_mark) {
        a->marks_count++;
    }
    return rc;
}
