/* server/group_w.c - the write quorum: changed by an operator, exceeded by a write.
 *
 *   cluster.set_w   queued ──PROPOSE_CONFIG──► asked ──its last entry committed──► done
 *                     │                          └──another leads, deadline──► UNKNOWN
 *                     └──deadline──► TIMEOUT;  not leader──► router
 *
 *   write with w    applied ──w voters hold its entry──► done
 *                      └──another leads, deadline──► done as well, with the number of
 *                         replicas that are known to hold it: fewer than w
 *
 * One change at a time, in order. A change is always an entry, also where W stays what
 * it is: so nobody is told "done" by a leader that was deposed and does not know it.
 */
#include "server/group_internal.h"
#include "server/quorum_read.h"

bool group_w_waits(const struct group *g)
{
    return g->w.queued.head != NULL || g->w.held.head != NULL;
}

/* ---- cluster.set_w ---- */

void group_w_submit(struct group *g, struct request *req)
{
    if (g->w.queued.count >= GROUP_SET_W_MAX) {
        reply_error(req, KV_EBUSY, "group %u: too many changes of W are under way",
                    g->id);
        return;
    }
    request_list_push(&g->w.queued, req);
    group_note_deadline(g, req);
    group_wake(g);
}

/* False: it was refused. */
static bool w_is_possible(struct request *req, const struct raft_config *c)
{
    uint32_t least = c->voters_count / 2 + 1;
    uint32_t w = req->rpc.w;

    if (w == 0 || (w >= least && w <= c->voters_count)) {
        return true;
    }
    reply_error(req, KV_EBADQUORUM,
                "group %u: W can be %u to %u, or 0 for the majority", req->group, least,
                c->voters_count);
    return false;
}

/* Proposes the first change. False: it was refused, and the next one is first. */
static bool set_w_propose(struct group *g)
{
    struct request *req = g->w.queued.head;
    struct raft_config c = *group_config(g);
    int rc;

    if (c.voters_old_count > 0) {
        return true; /* Another change is in its middle. */
    }
    c.w = req->rpc.w;
    rc = group_propose_config(g, &c);
    if (rc == KV_EINVAL || rc == KV_EBADQUORUM) {
        request_list_remove(&g->w.queued, req);
        if (w_is_possible(req, &c)) {
            reply_error(req, KV_EBADQUORUM, "group %u cannot have this W", g->id);
        }
        return false;
    }
    if (rc == 0) {
        request_move(req, REQ_PROPOSED);
        g->w.asked = g->last;
    }
    return true; /* KV_EBUSY: again, when the core has got further. */
}

static void set_w_done(struct group *g)
{
    struct request *req = g->w.queued.head;
    struct reply_result r = {.at = group_at(g, apply_rev(&g->apply, g->w.asked.index)),
                             .w = group_config(g)->w};

    if (r.w == 0) {
        r.w = group_config(g)->voters_count / 2 + 1;
    }
    group_log(g, LOG_INFO, "w=%u voters=%u", r.w, group_config(g)->voters_count);
    g->w.asked = (struct raft_pos){0};
    request_list_remove(&g->w.queued, req);
    reply_result(req, &r);
}

static void set_w_unknown(struct group *g, struct request *req, const char *why)
{
    g->w.asked = (struct raft_pos){0};
    g->stats.unknown++;
    reply_error(req, KV_EUNKNOWN,
                "group %u: %s; see W in kvctl status, and set it again", g->id, why);
}

static void set_w_flush(struct group *g)
{
    struct raft_config_view view;

    if (g->w.asked.index != 0 && (!group_leads(g) || g->term != g->w.asked.term)) {
        struct request *req = g->w.queued.head;

        request_list_remove(&g->w.queued, req);
        set_w_unknown(g, req, "leadership changed while W was being changed");
    }
    if (g->w.asked.index == 0 && !group_is_leader(g)) {
        group_reroute_list(g, &g->w.queued, g->handing_over);
    }
    while (g->w.queued.head != NULL) {
        raft_config_view_get(g->raft, &view);
        if (g->w.asked.index == 0) {
            if (set_w_propose(g)) {
                return;
            }
        } else if (view.is_committed && view.now->voters_old_count == 0 &&
                   view.now_index >= g->w.asked.index) {
            set_w_done(g);
        } else {
            return;
        }
    }
}

static void set_w_expire(struct group *g, uint64_t now_ms, uint64_t *io_next_ms)
{
    struct request *req = g->w.queued.head;

    while (req != NULL) {
        struct request *next = req->next;

        if (req->deadline_ms > now_ms) {
            *io_next_ms = KV_MIN(*io_next_ms, req->deadline_ms);
        } else {
            request_list_remove(&g->w.queued, req);
            if (req->phase == REQ_PROPOSED) {
                set_w_unknown(g, req,
                              "the deadline passed before both write quorums had the "
                              "change of W");
            } else {
                reply_error(req, KV_ETIMEOUT,
                            "group %u: the deadline passed while another change of its "
                            "configuration was going on",
                            g->id);
            }
        }
        req = next;
    }
}

/* ---- writes that want more than W ---- */

/* Voters that hold the entry on their disks, as far as this leader knows. */
static uint32_t holders_of(const struct group *g, const struct raft_status *s,
                           raft_index index)
{
    const struct raft_config *c = group_config(g);
    uint32_t count = 0;

    for (uint32_t i = 0; i < c->voters_count; i++) {
        if (c->voters[i] == s->id) {
            count += s->last_durable >= index;
        }
        for (uint32_t k = 0; k < s->peers_count; k++) {
            const struct raft_peer_status *p = &s->peers[k];

            count += p->id == c->voters[i] && !p->amnesiac && p->match >= index;
        }
    }
    return KV_BUG(g->node->config, K36) ? c->voters_count : count;
}

bool group_w_refuses(const struct group *g, const struct request *req)
{
    return req->rpc.options.w > group_config(g)->voters_count;
}

void group_w_reply(struct group *g, struct request *req, const struct reply_result *r)
{
    const struct raft_config *c = group_config(g);
    struct reply_result least = *r;

    if (req->rpc.options.w == 0) {
        reply_result(req, r);
        return;
    }
    /* It is committed, so that many hold it at least. */
    least.at.replicas = quorum_w_of(c->voters_count, c->w);
    req->held = arena_alloc(&req->arena, sizeof *req->held);
    if (req->held == NULL) {
        reply_result(req, &least);
        return;
    }
    *req->held = least;
    request_list_push(&g->w.held, req);
    group_note_deadline(g, req);
}

static void held_flush(struct group *g)
{
    struct request *req = g->w.held.head;
    struct raft_status s;

    if (req != NULL) {
        raft_status_get(g->raft, &s);
    }
    while (req != NULL) {
        struct request *next = req->next;
        bool leads = group_leads(g) && g->term == req->pos.term;

        if (leads) {
            req->held->at.replicas =
                KV_MAX(req->held->at.replicas, holders_of(g, &s, req->pos.index));
        }
        if (!leads || req->held->at.replicas >= req->rpc.options.w) {
            request_list_remove(&g->w.held, req);
            reply_result(req, req->held);
        }
        req = next;
    }
}

static void held_expire(struct group *g, uint64_t now_ms, uint64_t *io_next_ms)
{
    struct request *req = g->w.held.head;

    while (req != NULL) {
        struct request *next = req->next;

        if (req->deadline_ms > now_ms) {
            *io_next_ms = KV_MIN(*io_next_ms, req->deadline_ms);
        } else {
            request_list_remove(&g->w.held, req);
            reply_result(req, req->held);
        }
        req = next;
    }
}

/* ---- both ---- */

void group_w_flush(struct group *g)
{
    set_w_flush(g);
    held_flush(g);
}

void group_w_expire(struct group *g, uint64_t now_ms, uint64_t *io_next_ms)
{
    set_w_expire(g, now_ms, io_next_ms);
    held_expire(g, now_ms, io_next_ms);
}

void group_w_end_all(struct group *g, const char *why)
{
    while (g->w.queued.head != NULL) {
        struct request *req = g->w.queued.head;

        request_list_remove(&g->w.queued, req);
        if (req->phase == REQ_PROPOSED) {
            set_w_unknown(g, req, why);
        } else {
            reply_error(req, KV_ENOLEADER, "group %u: %s; try another node", g->id,
                        why);
        }
    }
    while (g->w.held.head != NULL) {
        struct request *req = g->w.held.head;

        request_list_remove(&g->w.held, req);
        reply_result(req, req->held);
    }
}
