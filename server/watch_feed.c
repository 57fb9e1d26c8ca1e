/* server/watch_feed.c - from a group's history into clients' buffers. */
#include "raft/base/err.h"
#include "rpc/event.h"
#include "server/conn.h"
#include "server/node_parts.h"
#include "server/watch_parts.h"

#include <stdio.h>

enum {
    WATCH_LOOK_MS = 20,                      /* Until a blocked one is tried again. */
    WATCH_FLUSH_BYTES = 8 * 1024 * 1024,     /* Of all notifications of a turn. */
    WATCH_BATCH_BYTES_MAX = 3 * 1024 * 1024, /* More: without the values before. */
    WATCH_NOTE_EVENTS = 4096,                /* A notification ends behind them. */
    WATCH_CUT_OFF_MS = 10 * 1000,            /* Without a leader: others know more. */
    WATCH_SWEEP_COUNT = 512,                 /* Positions told in a turn. */
    WATCH_KEEP_MS = 10 * 60 * 1000,          /* Large histories, without a watch. */
};

_Static_assert((int)KV_REQUEST_BYTES_MAX < (int)WATCH_BATCH_BYTES_MAX,
               "what one request changed fits into a notification");
_Static_assert(6 * KV_RANGE_ITEMS_MAX + 64 <= KV_RESPONSE_NODES_MAX,
               "a range that one entry deleted does, too");

/* ---- what a batch belongs to ---- */

struct watch_found {
    struct watches *ws;
    group_id group;
    uint64_t rev;
    enum history_cause cause;
    struct history_place place;
};

static bool is_wanted(const struct watch *w, enum history_cause cause)
{
    return w->only == 0 || (w->only == RPC_ONLY_PUT) == (cause == HISTORY_PUT);
}

static void on_found(struct watch_node *node, void *ctx)
{
    const struct watch_found *f = ctx;
    struct watch *w = (struct watch *)node;
    struct watch_part *part = watch_part_of(w, f->group);

    if (part == NULL || part->is_pending || f->rev <= part->after ||
        !is_wanted(w, f->cause)) {
        return;
    }
    part->is_pending = true;
    part->after = f->rev - 1; /* Nothing before was for it, or it was told. */
    part->at = f->place;
    if (w->list == WATCH_IDLE) {
        watch_move(f->ws, w, WATCH_READY);
    }
}

void watches_on_batch(struct node *n, struct group *g)
{
    struct watches *ws = n->watches;
    struct history *h = group_history(g);
    struct watch_group *wg = &ws->groups[group_id_get(g)];
    struct watch_found f = {.ws = ws, .group = group_id_get(g)};
    struct history_batch batch;
    struct history_change change;
    struct history_place next;

    if (wg->count == 0) {
        return;
    }
    f.place = history_newest(h);
    next = f.place;
    if (!history_next(&next, &batch)) {
        return;
    }
    f.rev = batch.rev;
    while (history_take(&batch.changes, &change)) {
        f.cause = change.cause;
        watch_index_match(&ws->index, change.key, on_found, &f);
        batch.changes.len = KV_BUG(n->config, K52) ? 0 : batch.changes.len;
    }
    /* Before what a client's last position needs is dropped, it gets another. */
    if (h->added_bytes - wg->marked_bytes > h->bytes_max / 4) {
        wg->marked_bytes = h->added_bytes;
        ws->progress_ms = n->now_ms;
    }
}

static void watch_over(struct watches *ws, struct watch *w, int code, uint64_t floor)
{
    w->end_code = code;
    w->end_floor = floor;
    if (w->list == WATCH_IDLE) {
        watch_move(ws, w, WATCH_READY);
    }
}

void watches_on_reset(struct node *n, struct group *g)
{
    struct watches *ws = n->watches;
    uint64_t floor = group_history(g)->floor;
    uint32_t cursor = 0;
    struct watch *w;

    if (ws->groups[group_id_get(g)].count == 0) {
        return;
    }
    while ((w = idmap_next(&ws->table, &cursor)) != NULL) {
        struct watch_part *part = watch_part_of(w, group_id_get(g));

        if (part == NULL) {
            continue;
        }
        /* Not pending: it had been told all that was applied before, but we do not know
         * any more how far that was. What the client was told last is safe. */
        part->after = part->is_pending ? part->after : KV_MAX(part->after, part->told);
        part->at = (struct history_place){0}; /* It lay in what was dropped. */
        if (part->after >= floor) {
            continue; /* A snapshot that is older than what the damaged state had. */
        }
        part->is_pending = true;
        /* One that ends already, for another group, has not told its position yet. */
        if (w->end_code == 0) {
            watch_over(ws, w, KV_ECOMPACTED, floor);
        }
    }
}

/* ---- writing ---- */

static bool holds(const struct watch_node *node, struct kv_bytes key)
{
    if (node->is_key) {
        return kv_bytes_equal(node->begin, key);
    }
    return kv_bytes_compare(node->begin, key) <= 0 &&
           (node->end.len == 0 || kv_bytes_compare(key, node->end) < 0);
}

static void add_batch(struct rpc_event_writer *out, const struct watch *w,
                      const struct history_batch *batch)
{
    static const enum rpc_event_type types[] = {
        [HISTORY_PUT] = RPC_EVENT_PUT,
        [HISTORY_DEL] = RPC_EVENT_DEL,
        [HISTORY_EXPIRE] = RPC_EVENT_EXPIRE,
        [HISTORY_DELRANGE] = RPC_EVENT_DELRANGE,
    };
    bool prev = w->wants_prev &&
                (uint64_t)batch->bytes + batch->prev_bytes <= WATCH_BATCH_BYTES_MAX;
    struct kv_bytes rest = batch->changes;
    struct history_change c;

    while (history_take(&rest, &c)) {
        struct rpc_event event = {.type = types[c.cause],
                                  .key = c.key,
                                  .has_value = c.cause == HISTORY_PUT,
                                  .value = c.value,
                                  .rev = batch->rev,
                                  .has_prev = prev && c.has_prev,
                                  .prev = c.prev};

        if (is_wanted(w, c.cause) && holds(&w->node, c.key)) {
            rpc_event_add(out, &event);
        }
    }
}

/* Writes batches of one group behind the part's place. False: nothing fitted. */
static bool part_write(struct watches *ws, struct watch *w, struct watch_part *part,
                       struct buf *b)
{
    const struct history *h = group_history(node_group(ws->node, part->group));
    struct watch_part before = *part;
    struct rpc_event_writer out;
    struct history_batch batch;
    struct history_place next;

    part->at = part->at.chunk != NULL && h->floor < part->after
                   ? part->at
                   : history_find(h, part->after);
    next = part->at;
    rpc_event_begin(&out, b, w->id);
    part->is_pending = false;
    while (history_next(&next, &batch)) {
        if (out.count > 0 &&
            (out.count >= WATCH_NOTE_EVENTS ||
             b->len - out.mark + batch.bytes + batch.prev_bytes > WATCH_NOTE_BYTES)) {
            part->is_pending = true;
            break;
        }
        if (batch.rev > part->after) {
            add_batch(&out, w, &batch);
            part->after = batch.rev;
        }
        part->at = next;
    }
    if (!part->is_pending) {
        part->at = (struct history_place){0};
    }
    rpc_event_end(&out, watch_token(ws, w));
    if (b->error != 0) {
        buf_rewind(b, out.mark);
        *part = before;
        return false;
    }
    if (out.count > 0) {
        watch_told(ws, w);
    }
    ws->stats.events += out.count;
    return true;
}

/* Tells that it is over, and removes it. False: the buffer took nothing. */
static bool write_end(struct watches *ws, struct watch *w, struct buf *b)
{
    struct rpc_event_writer out;
    char text[KV_ERROR_TEXT_MAX + 1];
    struct rpc_event event = {.type = RPC_EVENT_END, .has_value = true};

    (void)snprintf(text, sizeof text,
                   w->end_code == KV_ENOLEADER
                       ? "%s node %u heard of no leader of a group for long (its "
                         "revision there: %llu); go on from pos at another node"
                   : w->end_code == KV_EOVERFLOW
                       ? "%s node %u keeps changes behind revision %llu only, and this "
                         "watch was slower; go on from pos, where a node still keeps it"
                       : "%s node %u took over a snapshot at revision %llu; go on from "
                         "pos at another node",
                   kv_err_word(w->end_code), ws->node->config.id,
                   (unsigned long long)w->end_floor);
    event.value = kv_bytes_str(text);
    rpc_event_begin(&out, b, w->id);
    rpc_event_add(&out, &event);
    rpc_event_end(&out, watch_token(ws, w));
    if (b->error != 0) {
        buf_rewind(b, out.mark);
        return false;
    }
    ws->stats.overflows += w->end_code == KV_EOVERFLOW;
    watch_remove(ws, w);
    return true;
}

/* Tells a watch what it has not heard, as far as there is room. Returns the bytes. */
static size_t watch_write(struct watches *ws, struct watch *w)
{
    struct node *n = ws->node;
    struct buf *b = conn_notify_begin(n, w->conn);
    size_t begin = b == NULL ? 0 : b->len;
    uint32_t i;

    if (b == NULL) {
        watch_move(ws, w, WATCH_BLOCKED);
        return 0;
    }
    for (i = 0; i < w->parts_count && w->end_code == 0; i++) {
        struct watch_part *part = &w->parts[i];
        uint64_t floor = group_history(node_group(n, part->group))->floor;

        if (!part->is_pending) {
            continue;
        }
        if (part->after < floor) {
            watch_over(ws, w, KV_EOVERFLOW, floor);
            break;
        }
        while (part->is_pending) {
            if (conn_notify_begin(n, w->conn) == NULL || !part_write(ws, w, part, b)) {
                watch_move(ws, w, WATCH_BLOCKED);
                return b->len - begin;
            }
        }
    }
    if (w->end_code != 0) {
        if (!write_end(ws, w, b)) {
            watch_move(ws, w, WATCH_BLOCKED);
        }
        return 0;
    }
    watch_move(ws, w, WATCH_IDLE);
    return b->len - begin;
}

/* ---- progress ---- */

/* Tells the position to a watch that has heard everything, where it moved. */
static void watch_progress(struct watches *ws, struct watch *w)
{
    struct rpc_event event = {.type = RPC_EVENT_PROGRESS};
    struct rpc_event_writer out;
    bool has_moved = false;
    struct buf *b;

    for (uint32_t i = 0; i < w->parts_count; i++) {
        has_moved =
            has_moved || watch_position(ws->node, &w->parts[i]) > w->parts[i].told;
    }
    if (!has_moved || w->list != WATCH_IDLE) {
        return;
    }
    b = conn_notify_begin(ws->node, w->conn);
    if (b == NULL) {
        return; /* It will hear with the next round. */
    }
    event.rev = w->parts_count == 1 ? watch_position(ws->node, &w->parts[0]) : 0;
    rpc_event_begin(&out, b, w->id);
    rpc_event_add(&out, &event);
    rpc_event_end(&out, watch_token(ws, w));
    if (b->error != 0) {
        buf_rewind(b, out.mark);
        return;
    }
    watch_told(ws, w);
}

/* A replica that stopped, lost its state or is cut off from its leader has no news. */
static bool is_cut_off(const struct node *n, const struct watch *w, uint64_t *out_rev)
{
    if (n->now_ms < n->start_ms + WATCH_CUT_OFF_MS) {
        return false;
    }
    for (uint32_t i = 0; i < w->parts_count; i++) {
        const struct group *g = node_group(n, w->parts[i].group);

        if (!group_can_show(g) || group_age_ms(g) > WATCH_CUT_OFF_MS) {
            *out_rev = group_rev(g);
            return true;
        }
    }
    return false;
}

static void sweep(struct watches *ws)
{
    struct watch *w;
    uint64_t rev = 0;
    uint32_t count = 0;

    while (count < WATCH_SWEEP_COUNT) {
        w = idmap_next(&ws->table, &ws->sweep);
        if (w == NULL) {
            ws->is_sweeping = false;
            return;
        }
        if (w->end_code == 0 && is_cut_off(ws->node, w, &rev)) {
            watch_over(ws, w, KV_ENOLEADER, rev);
        }
        watch_progress(ws, w);
        count++;
    }
}

/* Large histories that nobody watched for long shrink. */
static void histories_shrink(struct watches *ws)
{
    struct node *n = ws->node;

    for (group_id id = 0; id < n->groups_end; id++) {
        struct watch_group *wg = &ws->groups[id];
        struct group *g = node_group(n, id);

        if (wg->is_wide && wg->count == 0 && g != NULL &&
            n->now_ms >= wg->idle_ms + WATCH_KEEP_MS) {
            wg->is_wide = false;
            history_limit(group_history(g), group_history_bytes(n, false));
        }
    }
}

void watches_tick(struct node *n)
{
    struct watches *ws = n->watches;

    if (ws->stats.open == 0 && n->now_ms < ws->progress_ms) {
        return;
    }
    if (n->now_ms >= ws->progress_ms) {
        ws->progress_ms = n->now_ms + WATCH_PROGRESS_MS;
        ws->is_sweeping = true;
        ws->sweep = 0;
        histories_shrink(ws);
    }
    if (n->now_ms >= ws->look_ms) {
        ws->look_ms = n->now_ms + WATCH_LOOK_MS;
        while (ws->lists[WATCH_BLOCKED].head != NULL) {
            watch_move(ws, ws->lists[WATCH_BLOCKED].head, WATCH_READY);
        }
    }
}

void watches_flush(struct node *n)
{
    struct watches *ws = n->watches;
    struct watch *w = ws->lists[WATCH_READY].head;
    size_t bytes = 0;

    while (w != NULL && bytes < WATCH_FLUSH_BYTES) {
        struct watch *next = w->next;

        bytes += watch_write(ws, w);
        w = next;
    }
    if (ws->is_sweeping) {
        sweep(ws);
    }
}

uint64_t watches_deadline_ms(const struct node *n)
{
    const struct watches *ws = n->watches;

    if (ws->lists[WATCH_READY].head != NULL || ws->is_sweeping) {
        return n->now_ms;
    }
    if (ws->lists[WATCH_BLOCKED].head != NULL) {
        return KV_MIN(ws->look_ms, ws->progress_ms);
    }
    return ws->stats.open > 0 ? ws->progress_ms : UINT64_MAX;
}
