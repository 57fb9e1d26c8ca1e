/* server/apply.c - what each command does to the state. */
#include "server/apply.h"

#include "raft/base/err.h"
#include "raft/record.h"
#include "server/apply_parts.h"
#include "server/apply_record.h"
#include "server/history.h"
#include "server/number.h"

enum {
    APPLY_SCRATCH_BLOCK_BYTES = 4096,
    APPLY_MARKS_MAX = 10000,
};

static const char apply_slots_key[] = "slots"; /* ROW_OWNED: offset u64, bitmap. */
static const char apply_map_key[] = "map";     /* ROW_META: the encoded map. */
static const char apply_epoch_key[] = "epoch"; /* ROW_META: u64, epoch of the map. */

/* ---- life ---- */

static int load_slots(struct apply *a)
{
    struct row row;
    int rc;

    rc = state_get(a->st, ROW_OWNED, kv_bytes_str(apply_slots_key), &a->scratch, &row);
    if (rc == KV_ENOTFOUND) {
        return 0;
    }
    if (rc != 0) {
        return rc;
    }
    if (row.value.len != 8 + COMMAND_SLOTS_BYTES) {
        return KV_EFORMAT;
    }
    a->has_slots = true;
    a->rev_offset = kv_get_u64le(row.value.data);
    memcpy(a->slots, row.value.data + 8, COMMAND_SLOTS_BYTES);
    return 0;
}

static int read_epoch(struct state *st, struct arena *arena, uint64_t *out_epoch)
{
    struct row row;
    int rc = state_get(st, ROW_META, kv_bytes_str(apply_epoch_key), arena, &row);

    if (rc != 0) {
        return rc;
    }
    if (row.value.len != 8) {
        return KV_EFORMAT;
    }
    *out_epoch = kv_get_u64le(row.value.data);
    return 0;
}

int apply_reload(struct apply *a)
{
    int rc;

    a->has_slots = false;
    a->rev_offset = 0;
    a->map_epoch = 0;
    a->has_records = true;
    a->marks_count = 0;
    memset(a->slots, 0, sizeof a->slots);
    arena_reset(&a->scratch);
    rc = load_slots(a);
    if (rc == 0) {
        rc = apply_fence_load(a);
    }
    if (rc == 0) {
        rc = apply_ttl_load(a, &a->scratch);
    }
    if (rc != 0) {
        return rc;
    }
    rc = read_epoch(a->st, &a->scratch, &a->map_epoch);
    return rc == KV_ENOTFOUND ? 0 : rc;
}

int apply_open(struct apply *a, struct state *st)
{
    *a = (struct apply){.st = st,
                        .retention_ms = KV_RETENTION_MS,
                        .results_max = RECORD_RESULTS_MAX,
                        .marks_max = APPLY_MARKS_MAX};
    arena_init(&a->scratch, APPLY_SCRATCH_BLOCK_BYTES, 0);
    return apply_reload(a);
}

void apply_close(struct apply *a)
{
    arena_close(&a->scratch);
}

int apply_map_read(struct state *st, struct arena *arena, struct kv_bytes *out_map,
                   uint64_t *out_epoch)
{
    struct row row;
    uint64_t epoch = 0;
    int rc = read_epoch(st, arena, &epoch);

    if (rc == 0) {
        rc = state_get(st, ROW_META, kv_bytes_str(apply_map_key), arena, &row);
    }
    if (rc == 0) {
        *out_map = row.value;
        *out_epoch = epoch;
    }
    return rc;
}

/* ---- commands ---- */

static int put_row(struct apply *a, const struct command *c, struct kv_bytes value,
                   uint64_t rev)
{
    struct row row = {.kind = ROW_KV, .slot = c->slot, .rev = rev};

    struct ttl ttl = apply_ttl_of(a, command_has_ttl(c->kind) ? c->ttl_ms : 0, rev, 0);

    row.key = c->key;
    row.value = value;
    return apply_key_put(a, &row, &ttl);
}

/* Finds the key's row. *out_found false: there is none. */
static int find_row(struct apply *a, const struct command *c, struct row *out,
                    bool *out_found)
{
    int rc = state_get(a->st, ROW_KV, c->key, &a->scratch, out);

    *out_found = rc == 0;
    return rc == KV_ENOTFOUND ? 0 : rc;
}

static int do_cas(struct apply *a, const struct command *c, struct arena *keep,
                  struct apply_result *out)
{
    struct row row;
    bool found;
    bool existed;
    int rc = find_row(a, c, &row, &found);

    if (rc != 0) {
        return rc;
    }
    if (found != c->has_expected ||
        (found && !kv_bytes_equal(row.value, c->expected))) {
        out->has_value = found;
        out->rev = found ? row.rev : 0;
        if (found && keep != NULL && arena_copy(keep, row.value, &out->value) != 0) {
            out->code = KV_ENOMEM;
        }
        return 0;
    }
    out->swapped = true;
    if (c->has_replacement) {
        return put_row(a, c, c->replacement, out->rev);
    }
    return apply_key_del(a, c->key, &existed);
}

static int do_incr(struct apply *a, const struct command *c, struct apply_result *out)
{
    uint8_t text[NUMBER_BYTES_MAX];
    struct row row;
    int64_t number = 0;
    bool found;
    int rc = find_row(a, c, &row, &found);

    if (rc != 0) {
        return rc;
    }
    if (found && !number_parse(row.value, &number)) {
        out->code = KV_EBADREQUEST;
        return 0;
    }
    if (__builtin_add_overflow(number, c->delta, &number)) {
        out->code = KV_EOVERFLOW;
        return 0;
    }
    out->number = number;
    return put_row(a, c, kv_bytes(text, number_print(number, text)), out->rev);
}

static int do_map_set(struct apply *a, const struct command *c,
                      struct apply_result *out)
{
    uint8_t epoch[8];
    struct row row = {.kind = ROW_META, .rev = out->rev};
    int rc;

    if (c->epoch_replaced != a->map_epoch) {
        out->code = KV_EEXIST;
        return 0;
    }
    row.key = kv_bytes_str(apply_map_key);
    row.value = c->map;
    rc = state_put(a->st, &row);
    if (rc == 0) {
        kv_put_u64le(epoch, c->epoch);
        row.key = kv_bytes_str(apply_epoch_key);
        row.value = kv_bytes(epoch, sizeof epoch);
        rc = state_put(a->st, &row);
    }
    if (rc == 0) {
        a->map_epoch = c->epoch;
        out->is_map = true;
        out->map = c->map;
    }
    return rc;
}

static int do_own_slots(struct apply *a, const struct command *c,
                        struct apply_result *out)
{
    uint8_t value[8 + COMMAND_SLOTS_BYTES];
    struct row row = {.kind = ROW_OWNED, .rev = out->rev};
    int rc;

    if (a->has_slots) {
        out->code = KV_EEXIST; /* An earlier leader was quicker. */
        return 0;
    }
    kv_put_u64le(value, c->rev_offset);
    memcpy(value + 8, c->slots.data, COMMAND_SLOTS_BYTES);
    row.key = kv_bytes_str(apply_slots_key);
    row.value = kv_bytes(value, sizeof value);
    rc = state_put(a->st, &row);
    if (rc == 0) {
        a->has_slots = true;
        a->rev_offset = c->rev_offset;
        memcpy(a->slots, c->slots.data, COMMAND_SLOTS_BYTES);
        out->is_slots = true;
    }
    return rc;
}

/* Has the key the revision that the command wants? Where not, *out says which. */
static int if_rev_holds(struct apply *a, const struct command *c,
                        struct apply_result *out, bool *out_holds)
{
    struct row row;
    bool found;
    int rc = find_row(a, c, &row, &found);
    uint64_t rev = rc == 0 && found ? row.rev : 0;

    *out_holds = rc == 0 && (rev == c->if_rev || KV_BUG(*a, K37));
    out->swapped = *out_holds;
    if (rc == 0 && !*out_holds) {
        out->rev = rev;
    }
    return rc;
}

static int do_getset(struct apply *a, const struct command *c, struct arena *keep,
                     struct apply_result *out)
{
    struct row row;
    int rc = find_row(a, c, &row, &out->has_value);

    if (rc != 0) {
        return rc;
    }
    /* Before the write: the row may be a view into what it changes. */
    if (out->has_value && keep != NULL &&
        arena_copy(keep, row.value, &out->value) != 0) {
        out->results_lost = true;
    }
    return put_row(a, c, c->value, out->rev);
}

/* A write that is carried out, or refused for what it says. */
static int do_write(struct apply *a, const struct command *c, struct arena *keep,
                    struct apply_result *out)
{
    if (c->fence.lock.len > 0) {
        int rc = apply_fence(a, &c->fence, out);

        if (rc != 0 || out->code != 0) {
            return rc;
        }
    }
    if (c->has_if_rev) {
        bool holds;
        int rc = if_rev_holds(a, c, out, &holds);

        if (rc != 0 || !holds) {
            return rc;
        }
    }
    switch (c->kind) {
    case COMMAND_KV_PUT:
        return put_row(a, c, c->value, out->rev);
    case COMMAND_KV_GETSET:
        return do_getset(a, c, keep, out);
    case COMMAND_KV_DEL:
        return apply_key_del(a, c->key, &out->deleted);
    case COMMAND_KV_CAS:
        return do_cas(a, c, keep, out);
    case COMMAND_KV_INCR:
        return do_incr(a, c, out);
    case COMMAND_LOCK_ACQUIRE:
    case COMMAND_LOCK_RELEASE:
    case COMMAND_LOCK_EXPIRE:
    case COMMAND_LOCK_CANCEL:
        return apply_lock(a, c, out);
    case COMMAND_KV_TXN:
        return apply_txn(a, c, keep, out);
    case COMMAND_KV_DELRANGE:
        return apply_delrange(a, c, keep, out);
    default:
        return KV_EFORMAT;
    }
}

/* What has a slot: owned, not done before, then done and kept. */
static int do_in_slot(struct apply *a, const struct command *c, uint64_t time_ms,
                      struct arena *keep, struct apply_result *out)
{
    struct apply_record record;
    int rc;

    if (!apply_owns(a, c->slot)) {
        out->code = KV_ENOTFOUND;
        return 0;
    }
    rc = apply_record_begin(a, c, time_ms, keep, &record, out);
    if (rc != 0 || record.is_answered) {
        return rc;
    }
    rc = do_write(a, c, keep, out);
    return rc != 0 ? rc : apply_record_end(a, c, &record, out);
}

static int do_command(struct apply *a, const struct command *c, uint64_t time_ms,
                      struct arena *keep, struct apply_result *out)
{
    if (command_has_slot(c->kind)) {
        return do_in_slot(a, c, time_ms, keep, out);
    }
    switch (c->kind) {
    case COMMAND_EXPIRE:
        return apply_ttl_expire(a, c);
    case COMMAND_RECORD_SWEEP:
        return apply_record_sweep(a, c, time_ms);
    case COMMAND_FENCE_MARK: {
        struct command_fence fence = {.lock = c->key, .token = c->token};

        return apply_fence(a, &fence, out);
    }
    case COMMAND_MAP_SET:
        return do_map_set(a, c, out);
    case COMMAND_OWN_SLOTS:
        return do_own_slots(a, c, out);
    default:
        return KV_EFORMAT;
    }
}

/* ---- entries ---- */

/* What a key that this command deletes is said to have ended by. */
static enum history_cause cause_of(enum command_kind kind)
{
    return kind == COMMAND_KV_DELRANGE ? HISTORY_DELRANGE
           : kind == COMMAND_EXPIRE    ? HISTORY_EXPIRE
                                       : HISTORY_DEL;
}

/* The command is through: its changes count, or never happened. */
static void history_settle(struct apply *a, int rc, struct apply_result *out)
{
    if (rc != 0 || out->code != 0) {
        history_abort(a->history);
        return;
    }
    rc = history_commit(a->history);
    out->is_change = rc > 0;
    out->is_change_lost = rc < 0;
}

int apply_entry(struct apply *a, const struct raft_entry *entry, struct arena *keep,
                struct apply_result *out)
{
    struct raft_base base = {entry->pos, entry->hash, entry->time_ms};
    struct apply_result result = {.rev = apply_rev(a, entry->pos.index),
                                  .entry_rev = apply_rev(a, entry->pos.index)};
    struct raft_config config;
    const struct raft_config *new_config = NULL;
    struct command command;
    int rc = 0;

    KV_ASSERT(entry->pos.index == state_meta_get(a->st)->applied.pos.index + 1);
    arena_reset(&a->scratch);
    a->time_ms = entry->time_ms;
    switch (entry->type) {
    case RAFT_ENTRY_NOOP:
        break;
    case RAFT_ENTRY_CONFIG:
        rc = raft_config_decode(entry->payload, &config);
        new_config = &config;
        break;
    case RAFT_ENTRY_COMMAND:
        rc = command_decode(entry->payload, &command);
        if (rc == 0 && a->history != NULL) {
            history_begin(a->history, result.rev, cause_of(command.kind));
        }
        if (rc == 0) {
            rc = do_command(a, &command, entry->time_ms, keep, &result);
            if (a->history != NULL) {
                history_settle(a, rc, &result);
            }
        }
        break;
    default:
        rc = KV_EFORMAT;
        break;
    }
    if (rc != 0) {
        return rc;
    }
    state_applied(a->st, &base, new_config, entry->pos.index);
    *out = result;
    return 0;
}
