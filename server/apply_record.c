/* server/apply_record.c - results kept, found again, and forgotten in time. */
#include "server/apply_record.h"

#include "raft/base/err.h"
#include "raft/base/hash.h"
#include "server/apply_parts.h"

enum {
    RECORD_VERSION = 1,
    RECORD_KEY_HEAD_BYTES = 3, /* Slot and kind. */
    RECORD_HEAD_BYTES = 1 + 8 + 8 + 2,
    RECORD_RESULT_BYTES = 8 + 8 + 1 + 1 + 8 + 8,
    RECORD_SESSION = 's',
    RECORD_DELRANGES =
        'r', /* Those of a session: their seqs have a floor of their own. */
    RECORD_IDEM = 'i',

    RECORD_CODE_DONE = 0,
    RECORD_CODE_NOT_A_NUMBER = 1,
    RECORD_CODE_OVERFLOW = 2,
    RECORD_CODE_TOO_LARGE = 3,
    RECORD_CODE_FENCED = 4,

    RECORD_DELETED = 1,
    RECORD_SWAPPED = 2,
    RECORD_HAS_VALUE = 4,
    RECORD_SUCCEEDED = 8,
    RECORD_FLAGS = 15,

    RECORD_SWEEP_BYTES = 256 * 1024,
};

_Static_assert((int)RECORD_HEAD_BYTES +
                       (int)RECORD_RESULTS_MAX * (int)RECORD_RESULT_BYTES <=
                   (int)RECORD_VALUE_BYTES_MAX,
               "a row holds all results of a session");

/* ---- rows ---- */

static uint32_t count_of(struct kv_bytes value)
{
    return value.len == 0 ? 0 : kv_get_u16le(value.data + 17);
}

static const uint8_t *result_at(struct kv_bytes value, uint32_t i)
{
    return value.data + RECORD_HEAD_BYTES + (size_t)i * RECORD_RESULT_BYTES;
}

static bool value_fits(struct kv_bytes value)
{
    return value.len >= RECORD_HEAD_BYTES && value.data[0] == RECORD_VERSION &&
           value.len ==
               RECORD_HEAD_BYTES + (size_t)count_of(value) * RECORD_RESULT_BYTES;
}

bool apply_record_until(struct kv_bytes value, uint64_t *out_until_ms)
{
    if (!value_fits(value)) {
        return false;
    }
    *out_until_ms = kv_get_u64le(value.data + 1);
    return true;
}

static int key_of(struct apply *a, const struct command *c, struct kv_bytes *out)
{
    bool is_session = c->session.session != 0;
    size_t len = RECORD_KEY_HEAD_BYTES + (is_session ? 8 : c->idem.key.len);
    uint8_t *key = arena_alloc(&a->scratch, len);

    if (key == NULL) {
        return KV_ENOMEM;
    }
    key[0] = (uint8_t)(c->slot >> 8);
    key[1] = (uint8_t)c->slot;
    key[2] = !is_session                      ? RECORD_IDEM
             : c->kind == COMMAND_KV_DELRANGE ? RECORD_DELRANGES
                                              : RECORD_SESSION;
    if (is_session) {
        kv_put_u64be(key + RECORD_KEY_HEAD_BYTES, c->session.session);
    } else {
        memcpy(key + RECORD_KEY_HEAD_BYTES, c->idem.key.data, c->idem.key.len);
    }
    *out = kv_bytes(key, len);
    return 0;
}

/* ---- what is known ---- */

/* The current value, where it is still the one that the cas saw. */
static int repeat_value(struct apply *a, const struct command *c, struct arena *keep,
                        struct apply_result *io)
{
    struct row row;
    int rc = state_get(a->st, ROW_KV, c->key, &a->scratch, &row);

    if (rc == 0 && row.rev == io->rev) {
        io->has_value = true;
        if (arena_copy(keep, row.value, &io->value) != 0) {
            io->code = KV_ENOMEM;
        }
    }
    return rc == KV_ENOTFOUND ? 0 : rc;
}

static int repeat(struct apply *a, const struct command *c, const uint8_t *result,
                  struct arena *keep, struct apply_result *io)
{
    uint8_t code = result[16];
    uint8_t flags = result[17];

    if (code > RECORD_CODE_FENCED || (flags & ~RECORD_FLAGS) != 0) {
        return KV_EFORMAT;
    }
    io->is_repeated = true;
    io->code = code == RECORD_CODE_NOT_A_NUMBER ? KV_EBADREQUEST
               : code == RECORD_CODE_OVERFLOW   ? KV_EOVERFLOW
               : code == RECORD_CODE_TOO_LARGE  ? KV_ETOOLARGE
               : code == RECORD_CODE_FENCED     ? KV_EFENCED
                                                : 0;
    io->deleted = (flags & RECORD_DELETED) != 0;
    io->swapped = (flags & RECORD_SWAPPED) != 0;
    io->succeeded = (flags & RECORD_SUCCEEDED) != 0;
    io->rev = kv_get_u64le(result + 18);
    io->number = (int64_t)kv_get_u64le(result + 26);
    if (c->kind == COMMAND_KV_DELRANGE) {
        return io->code == 0 ? apply_delrange_next(a, c, keep, io) : 0;
    }
    if (c->kind == COMMAND_KV_GETSET) {
        io->has_value = (flags & RECORD_HAS_VALUE) != 0; /* The value is not kept. */
    } else if ((flags & RECORD_HAS_VALUE) != 0 && keep != NULL) {
        return repeat_value(a, c, keep, io);
    }
    return 0;
}

static uint64_t seq_of(const struct command *c)
{
    return c->session.session != 0 ? c->session.seq : 0;
}

/* Looks for the command's own result. */
static int find_result(struct apply *a, const struct command *c,
                       struct apply_record *rec, struct arena *keep,
                       struct apply_result *io)
{
    for (uint32_t i = 0; i < count_of(rec->old); i++) {
        const uint8_t *result = result_at(rec->old, i);

        if (kv_get_u64le(result) != seq_of(c)) {
            continue;
        }
        rec->is_answered = true;
        if (kv_get_u64le(result + 8) != rec->hash) {
            io->code = KV_EEXIST;
            return 0;
        }
        return repeat(a, c, result, keep, io);
    }
    return 0;
}

/* Results that stay when the floor is `floor`. */
static uint32_t count_kept(struct kv_bytes old, uint64_t floor)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < count_of(old); i++) {
        kept += kv_get_u64le(result_at(old, i)) >= floor;
    }
    return kept;
}

/* Why the command must not be carried out; 0 when it may. It has no result. */
static int refusal(const struct apply *a, const struct command *c, uint64_t time_ms,
                   struct apply_record *rec)
{
    bool is_session = c->session.session != 0;
    uint64_t stamp = is_session ? c->session.stamp_ms : c->idem.stamp_ms;
    uint64_t keep_ms = is_session ? a->retention_ms : c->idem.ttl_ms;
    uint64_t old_floor = rec->old.len > 0 ? kv_get_u64le(rec->old.data + 9) : 0;

    if (stamp > time_ms && stamp - time_ms > KV_STAMP_AHEAD_MS_MAX) {
        return KV_EAGAIN;
    }
    if (stamp + keep_ms < time_ms && !KV_BUG(*a, K25)) {
        return KV_ESESSION; /* Its result may be forgotten. */
    }
    if (is_session && c->session.seq < old_floor && !KV_BUG(*a, K26)) {
        return KV_ESESSION; /* It has ended at the client: a copy that comes late. */
    }
    rec->until_ms = KV_MAX(time_ms, stamp) + keep_ms;
    rec->floor = is_session ? KV_MAX(old_floor, c->session.ack) : 0;
    return count_kept(rec->old, rec->floor) >= a->results_max ? KV_EBUSY : 0;
}

int apply_record_begin(struct apply *a, const struct command *c, uint64_t time_ms,
                       struct arena *keep, struct apply_record *out,
                       struct apply_result *io)
{
    struct row row;
    int rc;

    *out = (struct apply_record){.is_used =
                                     c->session.session != 0 || c->idem.key.len > 0};
    if (!out->is_used) {
        return 0;
    }
    io->time_ms = time_ms;
    out->hash = kv_hash64_seed(c->body.data, c->body.len, (uint64_t)c->kind) +
                (c->has_if_rev ? 1 + c->if_rev : 0) +
                (command_has_ttl(c->kind) ? (uint64_t)c->ttl_ms << 32 : 0);
    rc = key_of(a, c, &out->key);
    if (rc == 0) {
        rc = state_get(a->st, ROW_RECORD, out->key, &a->scratch, &row);
    }
    if (rc == 0 &&
        !(KV_BUG(*a, B52) &&
          row.rev <= apply_rev(a, state_checkpoint_base(a->st)->pos.index))) {
        if (!value_fits(row.value)) {
            return KV_EFORMAT;
        }
        /* A view into the delta would not outlive the write. */
        rc = arena_copy(&a->scratch, row.value, &out->old);
    } else if (rc == KV_ENOTFOUND) {
        rc = 0;
    }
    if (rc == 0) {
        rc = find_result(a, c, out, keep, io);
    }
    if (rc == 0 && !out->is_answered) {
        io->code = refusal(a, c, time_ms, out);
        out->is_answered = io->code != 0;
    }
    return rc;
}

/* ---- keeping ---- */

static void write_result(const struct command *c, const struct apply_record *rec,
                         const struct apply_result *r, uint8_t *p)
{
    /* What only the asked node has, the room for a value, is not part of it. */
    uint8_t code = r->code == KV_EBADREQUEST ? RECORD_CODE_NOT_A_NUMBER
                   : r->code == KV_EOVERFLOW ? RECORD_CODE_OVERFLOW
                   : r->code == KV_ETOOLARGE ? RECORD_CODE_TOO_LARGE
                   : r->code == KV_EFENCED   ? RECORD_CODE_FENCED
                                             : RECORD_CODE_DONE;

    kv_put_u64le(p, seq_of(c));
    kv_put_u64le(p + 8, rec->hash);
    p[16] = code;
    p[17] = (uint8_t)((r->deleted ? RECORD_DELETED : 0) |
                      (r->swapped ? RECORD_SWAPPED : 0) |
                      (r->has_value ? RECORD_HAS_VALUE : 0) |
                      (r->succeeded ? RECORD_SUCCEEDED : 0));
    kv_put_u64le(p + 18, r->rev);
    kv_put_u64le(p + 26, (uint64_t)r->number);
}

int apply_record_end(struct apply *a, const struct command *c,
                     const struct apply_record *rec, const struct apply_result *result)
{
    uint8_t value[RECORD_VALUE_BYTES_MAX];
    struct row row = {.kind = ROW_RECORD, .slot = c->slot, .rev = result->entry_rev};
    uint64_t until_ms = rec->until_ms;
    uint32_t count = 0;

    if (!rec->is_used || KV_BUG(*a, K24) ||
        (KV_BUG(*a, K27) && c->kind == COMMAND_KV_CAS && !result->swapped)) {
        return 0;
    }
    KV_ASSERT(!rec->is_answered);
    for (uint32_t i = 0; i < count_of(rec->old); i++) {
        const uint8_t *old = result_at(rec->old, i);

        if (kv_get_u64le(old) >= rec->floor) {
            memcpy(value + RECORD_HEAD_BYTES + (size_t)count * RECORD_RESULT_BYTES, old,
                   RECORD_RESULT_BYTES);
            count++;
        }
    }
    KV_ASSERT(count < RECORD_RESULTS_MAX);
    write_result(c, rec, result,
                 value + RECORD_HEAD_BYTES + (size_t)count * RECORD_RESULT_BYTES);
    count++;
    if (rec->old.len > 0) {
        until_ms = KV_MAX(until_ms, kv_get_u64le(rec->old.data + 1));
    }
    value[0] = RECORD_VERSION;
    kv_put_u64le(value + 1, until_ms);
    kv_put_u64le(value + 9, rec->floor);
    kv_put_u16le(value + 17, (uint16_t)count);
    row.key = rec->key;
    row.value =
        kv_bytes(value, RECORD_HEAD_BYTES + (size_t)count * RECORD_RESULT_BYTES);
    a->has_records = true;
    return state_put(a->st, &row);
}

/* ---- forgetting ---- */

int apply_record_sweep(struct apply *a, const struct command *c, uint64_t time_ms)
{
    struct row *rows;
    uint32_t count;
    bool more;
    int rc = state_range(a->st, ROW_RECORD, c->key, kv_bytes(NULL, 0), c->rows_max,
                         RECORD_SWEEP_BYTES, &a->scratch, &rows, &count, &more);

    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        uint64_t until_ms = 0;
        bool existed;

        if (!apply_record_until(rows[i].value, &until_ms)) {
            return KV_EFORMAT;
        }
        if (until_ms < time_ms || KV_BUG(*a, K28)) {
            rc = state_del(a->st, ROW_RECORD, rows[i].key, &existed);
        }
    }
    return rc;
}
