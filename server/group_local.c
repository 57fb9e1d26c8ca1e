/* server/group_local.c - reads of what this replica has: levels session and stale.
 *
 *   submitted ──applied >= what the token names──► answered
 *       │           └──deadline──► TIMEOUT
 *       └──stale, and older than its bound──► not taken: the leader's way
 *
 * No leader is asked. A replica that lost its state or installs another one takes no
 * such read, and gives back what waits for it.
 */
#include "rpc/token.h"
#include "server/group_internal.h"

/* ---- questions ---- */

/* This replica has a state that may be shown. */
bool group_can_show(const struct group *g)
{
    return g->halted == 0 && g->id != NODE_META_GROUP && !g->lost.is_lost &&
           g->install_phase == GROUP_INSTALL_NONE && g->apply.has_slots;
}

uint64_t group_age_ms(const struct group *g)
{
    uint64_t ms;

    if (!raft_age_get(g->raft, g->node->now_ms, &ms)) {
        return RPC_AGE_UNKNOWN;
    }
    if (KV_BUG(g->node->config, K22)) {
        return 0;
    }
    return KV_MIN(ms, (uint64_t)RPC_AGE_UNKNOWN - 1);
}

static bool is_too_old(const struct group *g, const struct request *req)
{
    const struct rpc_options *o = &req->rpc.options;

    return o->level == RPC_STALE && (o->has & RPC_OPT_BIT(RPC_OPT_max_age_ms)) != 0 &&
           group_age_ms(g) > o->max_age_ms;
}

/* The index that has to be applied before the read is answered. */
static raft_index index_wanted(const struct group *g, const struct request *req)
{
    uint64_t rev = req->rpc.options.level == RPC_SESSION
                       ? token_rev(req->rpc.options.token, g->id)
                       : 0;

    if (KV_BUG(g->node->config, K21)) {
        return 0;
    }
    return rev > g->apply.rev_offset ? rev - g->apply.rev_offset : 0;
}

/* ---- the way of a read ---- */

bool group_submit_local(struct group *g, struct request *req)
{
    KV_ASSERT(g->magic == GROUP_MAGIC && !req->is_write);
    if (!group_can_show(g) || is_too_old(g, req)) {
        return false;
    }
    request_move(req, REQ_WAITING);
    req->is_local = true;
    request_list_push(&g->reads_local, req);
    group_note_deadline(g, req);
    group_wake(g);
    return true;
}

void group_local_serve(struct group *g)
{
    struct request *req = g->reads_local.head;

    if (req == NULL || g->install_phase != GROUP_INSTALL_NONE) {
        return;
    }
    if (!group_can_show(g)) {
        group_reroute_list(g, &g->reads_local, true);
        return;
    }
    while (req != NULL) {
        struct request *next = req->next;

        if (g->node->served_bytes >= g->options.limits.serve_bytes_max) {
            group_wake(g);
            return;
        }
        if (is_too_old(g, req)) {
            request_list_remove(&g->reads_local, req);
            group_reroute(g, req, false);
        } else if (index_wanted(g, req) <= group_applied(g)) {
            request_list_remove(&g->reads_local, req);
            group_read_answer(g, req);
        }
        req = next;
    }
}

void group_local_expire(struct group *g, uint64_t now_ms, uint64_t *io_next_ms)
{
    struct request *req = g->reads_local.head;

    while (req != NULL) {
        struct request *next = req->next;

        if (req->deadline_ms > now_ms) {
            *io_next_ms = KV_MIN(*io_next_ms, req->deadline_ms);
        } else {
            request_list_remove(&g->reads_local, req);
            g->stats.not_done++;
            reply_error(
                req, KV_ETIMEOUT,
                "group %u: node %u has applied revision %llu, the token names %llu; "
                "ask another node, or wait longer",
                g->id, g->node->config.id,
                (unsigned long long)apply_rev(&g->apply, group_applied(g)),
                (unsigned long long)token_rev(req->rpc.options.token, g->id));
        }
        req = next;
    }
}
