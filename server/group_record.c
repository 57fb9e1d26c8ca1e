/* server/group_record.c - the leader forgets records whose time has passed.
 *
 * It walks over the group's ROW_RECORD rows, a stretch at a time. Where it meets one
 * that need not be kept any more, it proposes a RECORD_SWEEP from there on; what is
 * deleted is decided when that is applied, by replicated time. After a round it sleeps
 * until the first record that it has seen is due. A group without records is looked at
 * once per term and then left alone until it gets one.
 */
#include "server/group_internal.h"

enum {
    RECORD_LOOK_MS = 10,       /* Between two stretches of a round, */
    RECORD_ROUND_MS_MIN = 200, /* and between two rounds. */
    RECORD_LOOK_BYTES = 256 * 1024,
};

uint64_t group_record_deadline_ms(const struct group *g)
{
    const struct group_records *r = &g->records;

    /* Not while apply lags: its next step is a flush, which looks here again. */
    if (!group_is_leader(g) || !g->apply.has_records || r->wait_for != 0 ||
        group_applied(g) < g->commit) {
        return UINT64_MAX;
    }
    return r->term == g->term ? r->look_ms : 0;
}

uint64_t group_entry_time_ms(const struct group *g)
{
    struct env *env = g->node->env;

    return KV_MAX(state_meta_get(g->st)->applied.time_ms, env->ops->wall_ms(env));
}

static void propose_sweep(struct group *g, const struct row *first)
{
    struct group_records *r = &g->records;
    uint8_t payload[KV_KEY_BYTES_MAX + 64];
    struct command c = {.kind = COMMAND_RECORD_SWEEP,
                        .rows_max = RECORD_SWEEP_ROWS_MAX,
                        .key = first->key};

    KV_ASSERT(command_bytes(&c) <= sizeof payload);
    command_encode(&c, payload);
    arena_reset(&g->batch);
    if (arena_copy(&g->batch, kv_bytes(payload, command_bytes(&c)), &c.body) == 0 &&
        group_propose(g, c.body) == 0) {
        r->wait_for = g->last.index;
    } else {
        r->look_ms = g->now_ms + RECORD_ROUND_MS_MIN;
    }
}

static void round_end(struct group *g, uint64_t time_ms)
{
    struct group_records *r = &g->records;
    uint64_t wait_ms = r->first_ms > time_ms ? r->first_ms - time_ms : 0;

    g->apply.has_records = r->seen;
    r->look_ms = g->now_ms + KV_MIN(KV_MAX(wait_ms, (uint64_t)RECORD_ROUND_MS_MIN),
                                    (uint64_t)g->apply.retention_ms);
    r->cursor_len = 0;
}

/* Notes where to go on: behind the last row looked at. */
static void cursor_set(struct group_records *r, struct kv_bytes key, bool behind)
{
    KV_ASSERT(key.len < sizeof r->cursor);
    memcpy(r->cursor, key.data, key.len);
    r->cursor[key.len] = 0;
    r->cursor_len = key.len + behind;
}

static void look(struct group *g)
{
    struct group_records *r = &g->records;
    uint64_t time_ms = group_entry_time_ms(g);
    struct row *rows;
    uint32_t count = 0;
    bool more = false;
    int rc;

    if (r->cursor_len == 0) {
        r->seen = false;
        r->first_ms = UINT64_MAX;
    }
    arena_reset(&g->records_arena);
    rc = state_range(g->st, ROW_RECORD, kv_bytes(r->cursor, r->cursor_len),
                     kv_bytes(NULL, 0), RECORD_SWEEP_ROWS_MAX, RECORD_LOOK_BYTES,
                     &g->records_arena, &rows, &count, &more);
    if (rc == KV_EDAMAGED) {
        group_state_damaged(g);
    }
    if (rc != 0) {
        r->look_ms = g->now_ms + RECORD_ROUND_MS_MIN;
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t until_ms = 0;

        r->seen = true;
        if (!apply_record_until(rows[i].value, &until_ms) || until_ms < time_ms) {
            cursor_set(r, rows[i].key, false);
            propose_sweep(g, &rows[i]);
            return;
        }
        r->first_ms = KV_MIN(r->first_ms, until_ms);
    }
    if (more) {
        cursor_set(r, rows[count - 1].key, true);
        r->look_ms = g->now_ms + RECORD_LOOK_MS;
    } else {
        round_end(g, time_ms);
    }
}

void group_record_flush(struct group *g)
{
    struct group_records *r = &g->records;

    if (r->wait_for != 0 && (group_applied(g) >= r->wait_for || !group_is_leader(g))) {
        r->wait_for = 0;
        r->look_ms = g->now_ms + RECORD_LOOK_MS;
    }
    if (group_record_deadline_ms(g) > g->now_ms) {
        return;
    }
    if (r->term != g->term) {
        *r = (struct group_records){.term = g->term};
    }
    look(g);
}
