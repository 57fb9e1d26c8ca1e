/* tests/sim/watcher.c - clients that watch what the others do, judged change by change.
 *
 * A watch is told of each group exactly what truth.h has between its positions, as far
 * as it was asked for, in that order: nothing more, nothing less. Clients end watches,
 * hang up, go on from their position at other nodes, and are deaf at times, so that a
 * node has to wait for them, or to give them up.
 */
#include <inttypes.h>
#include <stdio.h>

#include "raft/base/arena.h"
#include "rpc/event.h"
#include "server/group.h"
#include "server/history.h"
#include "tests/sim/ask.h"
#include "tests/sim/bank.h"
#include "tests/sim/kinds.h"
#include "tests/sim/truth.h"

enum {
    WATCHER_DEAF_MS_MAX = 8000,
    WATCHER_QUEUED_BYTES = 1536 * 1024, /* More than a connection that is told. */
};

enum watcher_what {
    WATCHER_KEY,
    WATCHER_PREFIX,
    WATCHER_RANGE,
};

struct watcher {
    bool open;
    bool resumes;  /* pos is where to go on. */
    bool moves_on; /* This node does not serve it. */
    bool one_slot; /* Nothing else until one was served. */
    uint64_t conn; /* open, moves_on: its connection, */
    uint64_t id;   /* open: and its number there. */
    enum watcher_what what;
    char begin[BANK_NAME_BYTES], end[BANK_NAME_BYTES];
    bool prev;
    uint8_t only;
    uint64_t revs[SIM_GROUPS_MAX]; /* Told up to these; 0: not a group of it. */
    uint8_t pos[SIM_TOKEN_BYTES];
    size_t pos_len;
};

/* ---- asking ---- */

/* Keys that the other kinds use: of one, of a bank, of a family, all. */
static void draw_what(struct sim *s, struct sim_client *c, struct watcher *w)
{
    uint32_t key = (uint32_t)prng_below(&c->prng, s->swarm.keys);
    uint32_t bank = (uint32_t)prng_below(&c->prng, BANK_COUNT);
    uint64_t dice = prng_below(&c->prng, w->one_slot ? 5 : 10);

    memset(w, 0, offsetof(struct watcher, revs));
    w->prev = ask_chance(c, 2);
    w->only = ask_chance(c, 4) ? ask_chance(c, 2) ? RPC_ONLY_PUT : RPC_ONLY_DEL : 0;
    w->what = WATCHER_PREFIX;
    if (dice < 2) {
        w->what = WATCHER_KEY;
        (void)ask_key_name(key, w->begin);
    } else if (dice < 4) {
        snprintf(w->begin, sizeof w->begin, "{bank%u}", bank);
    } else if (dice < 5) {
        w->what = WATCHER_RANGE;
        (void)bank_account(bank, 0, w->begin);
        (void)bank_account(bank, 2, w->end);
    } else if (dice < 6) {
        w->what = WATCHER_RANGE;
        (void)ask_key_name(key, w->begin);
        snprintf(w->end, sizeof w->end, "l");
    } else if (dice < 7) {
        snprintf(w->begin, sizeof w->begin, "key-");
    }
}

static bool ask_watch(struct sim *s, struct sim_client *c, struct watcher *w,
                      struct buf *b)
{
    struct rpc_request q;

    if (!w->resumes) {
        draw_what(s, c, w);
    }
    ask_begin(s, c, &q, RPC_KV_WATCH, LINEAR_READ);
    c->op.key = ASK_OTHER_KEYS;
    if (w->what == WATCHER_RANGE) {
        q.is_range = true;
        q.begin = kv_bytes_str(w->begin);
        q.end = kv_bytes_str(w->end);
    } else {
        q.key = kv_bytes_str(w->begin);
    }
    q.options.prefix = w->what == WATCHER_PREFIX;
    q.options.prev = w->prev;
    q.options.only = w->only;
    q.options.has |= (q.options.prefix ? RPC_OPT_BIT(RPC_OPT_prefix) : 0) |
                     (w->prev ? RPC_OPT_BIT(RPC_OPT_prev) : 0) |
                     (w->only != 0 ? RPC_OPT_BIT(RPC_OPT_only) : 0);
    if (w->resumes) {
        q.options.pos = kv_bytes(w->pos, w->pos_len);
        q.options.has |= RPC_OPT_BIT(RPC_OPT_pos);
        s->counts.watch_resumed++;
    }
    ask_send(s, c, &q, b);
    return true;
}

static bool ask_unwatch(struct sim *s, struct sim_client *c, const struct watcher *w,
                        struct buf *b)
{
    struct rpc_request q;

    ask_begin(s, c, &q, RPC_KV_UNWATCH, LINEAR_READ);
    c->op.key = ASK_OTHER_KEYS;
    q.watch = w->id;
    ask_send(s, c, &q, b);
    return true;
}

static bool watcher_choose(struct sim *s, struct sim_client *c, struct buf *b)
{
    struct watcher *w = c->own;
    uint64_t dice = prng_below(&c->prng, 100);

    if (s->now_us < c->deaf_until_us) {
        return false;
    }
    w->open = w->open && w->conn == c->conn;
    w->moves_on = w->moves_on && w->conn == c->conn;
    if (w->moves_on || (w->open && dice < 4)) {
        w->moves_on = false;
        w->open = false;
        client_hang_up(s, c);
        return false;
    }
    if (!w->open && dice < 70) {
        return ask_watch(s, c, w, b);
    }
    if (w->open && dice < 8) {
        return ask_unwatch(s, c, w, b);
    }
    if (w->open && dice < 14) {
        c->deaf_until_us = s->now_us + 1000 * prng_below(&c->prng, WATCHER_DEAF_MS_MAX);
        return false;
    }
    c->asking = &kind_plain; /* Somebody has to change something. */
    return kind_plain.choose(s, c, b);
}

/* ---- what must have been told ---- */

static bool is_asked_for(const struct watcher *w, const struct history_change *h)
{
    struct kv_bytes begin = kv_bytes_str(w->begin);

    if (w->only != 0 && (w->only == RPC_ONLY_PUT) != (h->cause == HISTORY_PUT)) {
        return false;
    }
    switch (w->what) {
    case WATCHER_KEY:
        return kv_bytes_equal(h->key, begin);
    case WATCHER_PREFIX:
        return h->key.len >= begin.len &&
               memcmp(h->key.data, begin.data, begin.len) == 0;
    case WATCHER_RANGE:
        break;
    }
    return kv_bytes_compare(begin, h->key) <= 0 &&
           kv_bytes_compare(h->key, kv_bytes_str(w->end)) < 0;
}

static bool is_same(const struct watcher *w, const struct rpc_event *e, uint64_t rev,
                    const struct history_change *h)
{
    static const enum rpc_event_type types[] = {
        [HISTORY_PUT] = RPC_EVENT_PUT,
        [HISTORY_DEL] = RPC_EVENT_DEL,
        [HISTORY_EXPIRE] = RPC_EVENT_EXPIRE,
        [HISTORY_DELRANGE] = RPC_EVENT_DELRANGE,
    };

    return e->type == types[h->cause] && e->rev == rev &&
           kv_bytes_equal(e->key, h->key) &&
           e->has_value == (h->cause == HISTORY_PUT) &&
           (!e->has_value || kv_bytes_equal(e->value, h->value)) &&
           e->has_prev == (w->prev && h->has_prev) &&
           (!e->has_prev || kv_bytes_equal(e->prev, h->prev));
}

/* How far the events of a notification have been found in the truth. */
struct heard {
    const struct rpc_events *events; /* NULL: there are none. */
    uint32_t count, at;
    bool is_unclear; /* A revision is not known. */
};

static void judge_rev(struct sim *s, struct sim_client *c, struct heard *h,
                      uint32_t group, uint64_t rev)
{
    const struct watcher *w = c->own;
    struct history_change change;
    struct kv_bytes changes;

    if (!truth_find(s, group, rev, &changes)) {
        h->is_unclear = true;
        return;
    }
    while (!h->is_unclear && history_take(&changes, &change)) {
        struct rpc_event e;

        if (!is_asked_for(w, &change)) {
            continue;
        }
        if (h->at < h->count) {
            rpc_event_get(h->events, h->at, &e);
        }
        if (h->at == h->count || !is_same(w, &e, rev, &change)) {
            judge_fail(&s->judge, JUDGE_WATCHES,
                       "node %u: client %u is to be past revision %" PRIu64
                       " of group %u and was not told of %.*s",
                       c->node, c->number, rev, group, (int)change.key.len,
                       (const char *)change.key.data);
            return;
        }
        h->at++;
    }
}

/* A position with what was told before it. */
static void judge_pos(struct sim *s, struct sim_client *c, struct heard *h,
                      struct kv_bytes pos)
{
    struct watcher *w = c->own;

    if (!token_is_valid(pos, 0) || pos.len == 0 || pos.len > sizeof w->pos) {
        sim_fail(s, "node %u: the position of a watch is no token", c->node);
        return;
    }
    for (uint32_t g = 1; g < SIM_GROUPS_MAX && !sim_failed(s); g++) {
        uint64_t to = token_rev(pos, g);

        if (to < w->revs[g]) {
            judge_fail(&s->judge, JUDGE_WATCHES,
                       "node %u: client %u is put back from %" PRIu64 " to %" PRIu64
                       " in group %u",
                       c->node, c->number, w->revs[g], to, g);
        }
        while (w->revs[g] != 0 && w->revs[g] < to && !sim_failed(s)) {
            judge_rev(s, c, h, g, ++w->revs[g]);
        }
        w->revs[g] = to;
    }
    s->counts.watch_unclear += h->is_unclear;
    if (h->at < h->count && !h->is_unclear && !sim_failed(s)) {
        struct rpc_event e;

        rpc_event_get(h->events, h->at, &e);
        judge_fail(&s->judge, JUDGE_WATCHES,
                   "node %u: client %u was told of %.*s at revision %" PRIu64
                   ", which was not to be told, or not now",
                   c->node, c->number, (int)e.key.len, (const char *)e.key.data, e.rev);
    }
    memcpy(w->pos, pos.data, pos.len);
    w->pos_len = pos.len;
}

/* Has the node really dropped what lies behind the position? Floors only rise while its
 * process lives. A watch that is under way also ends when its replica takes over a
 * snapshot of just what it has told (ends). */
static bool is_dropped(const struct sim *s, const struct sim_client *c, bool ends)
{
    const struct node *n = s->nodes[c->node].node;
    const struct watcher *w = c->own;

    for (uint32_t g = 1; n != NULL && g < SIM_GROUPS_MAX; g++) {
        struct group *group = w->revs[g] == 0 ? NULL : node_group(n, g);

        if (group != NULL && group_history(group)->floor >= w->revs[g] + !ends) {
            return true;
        }
    }
    return n == NULL;
}

static void judge_dropped(struct sim *s, const struct sim_client *c, int error,
                          bool ends)
{
    if (!is_dropped(s, c, ends)) {
        judge_fail(&s->judge, JUDGE_WATCHES,
                   "node %u: %s for client %u, and it keeps all behind its position",
                   c->node, kv_err_word(error), c->number);
    }
}

/* ---- hearing ---- */

static void watcher_ended(struct sim *s, struct sim_client *c,
                          const struct rpc_event *e)
{
    struct watcher *w = c->own;
    const char *text = (const char *)e->value.data;
    int error = kv_err_from_word(text, strcspn(text, " "));

    w->open = false;
    w->moves_on = ask_chance(c, 2);
    s->counts.watch_overflow += error == KV_EOVERFLOW;
    s->counts.watch_replaced += error == KV_ECOMPACTED;
    s->counts.watch_cut_off += error == KV_ENOLEADER;
    if (error == KV_EOVERFLOW || error == KV_ECOMPACTED) {
        judge_dropped(s, c, error, true);
    } else if (error != KV_ENOLEADER) {
        sim_fail(s, "node %u: a watch ended with %.*s", c->node, (int)e->value.len,
                 text);
    }
}

static void watcher_notice(struct sim *s, struct sim_client *c, struct kv_bytes message)
{
    struct watcher *w = c->own;
    struct rpc_events events;
    struct rpc_event first;
    struct heard h = {.events = &events};

    if (rpc_events_decode(&c->decoder, message, &events) != 0 ||
        events.events.count == 0) {
        sim_fail(s, "node %u sent a notification that is none", c->node);
        return;
    }
    if (!w->open || w->conn != c->conn || events.watch != w->id) {
        return; /* Of a watch that it has ended meanwhile. */
    }
    rpc_event_get(&events, 0, &first);
    if (first.type != RPC_EVENT_PROGRESS && first.type != RPC_EVENT_END) {
        h.count = events.events.count;
        s->counts.watch_events += h.count;
    }
    s->counts.watch_marks += first.type == RPC_EVENT_PROGRESS;
    judge_pos(s, c, &h, events.pos);
    if (first.type == RPC_EVENT_END) {
        watcher_ended(s, c, &first);
    }
}

static void watcher_refused(struct sim *s, struct sim_client *c, int error)
{
    struct watcher *w = c->own;

    w->moves_on = error != KV_EBUSY;
    w->conn = c->conn;
    if (error == KV_ECOMPACTED) {
        s->counts.watch_compacted++;
        judge_dropped(s, c, error, false);
        w->resumes = !ask_chance(c, 4); /* Another node may keep it. */
    } else if (error == KV_EBADREQUEST) {
        s->counts.watch_no_replica++;
        w->resumes = false;
        w->one_slot = true;
    }
}

static void watcher_answer(struct sim *s, struct sim_client *c,
                           const struct rpc_reply *r)
{
    struct watcher *w = c->own;
    struct heard nothing = {0};

    if (r->error != 0) {
        if (c->method == RPC_KV_WATCH) {
            watcher_refused(s, c, r->error);
        }
        ask_finish(s, c, ask_outcome(r->error), r->error);
        return;
    }
    if (c->method == RPC_KV_UNWATCH) {
        w->open = false;
        ask_finish(s, c, LINEAR_OK, 0);
        return;
    }
    if (!w->resumes) {
        memset(w->revs, 0, sizeof w->revs);
    }
    judge_pos(s, c, &nothing, r->pos);
    w->open = true;
    w->resumes = true;
    w->conn = c->conn;
    w->id = r->watch;
    s->counts.watch_opened++;
    ask_finish(s, c, LINEAR_OK, 0);
}

/* ---- life ---- */

static void watcher_open(struct sim *s, struct sim_client *c)
{
    (void)s;
    c->own = kv_mem_zalloc(sizeof(struct watcher));
    KV_ASSERT(c->own != NULL);
}

/* One for all. */
static void watcher_check(struct sim *s, struct sim_client *c, const struct peace *p)
{
    for (uint32_t i = 0; i < c->number; i++) {
        if (s->clients[i].kind == c->kind) {
            return;
        }
    }
    truth_check(s, p);
}

uint64_t watcher_queued(const struct sim *s, uint64_t conn)
{
    for (uint32_t i = 0; i < s->swarm.clients; i++) {
        const struct sim_client *c = &s->clients[i];

        if (c->conn == conn && s->now_us < c->deaf_until_us) {
            return WATCHER_QUEUED_BYTES;
        }
    }
    return 0;
}

const struct client_kind kind_watch = {.open = watcher_open,
                                       .choose = watcher_choose,
                                       .answer = watcher_answer,
                                       .notice = watcher_notice,
                                       .check = watcher_check};
