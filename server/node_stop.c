/* server/node_stop.c - the clean end: hand over, finish what is under way, be done. */
#include "raft/base/err.h"
#include "server/conn.h"
#include "server/node_parts.h"
#include "server/peers.h"
#include "server/router.h"
#include "storage/failpoint.h"

void node_stop(struct node *n)
{
    KV_ASSERT(n->magic == NODE_MAGIC);
    if (n->phase == NODE_HALTED || n->phase == NODE_STOPPING) {
        return;
    }
    node_log(n, LOG_INFO, "node=%u stop=begin requests=%u", n->config.id,
             request_pool_count(n->requests));
    (void)KV_FAILPOINT(stop);
    n->phase = NODE_STOPPING;
    n->stop_next_ms = 0;
}

/* The reachable follower that holds most of the log; 0 when there is none. */
static uint32_t stop_successor(const struct node *n, const struct group *g)
{
    const struct raft_config *config = group_config(g);
    struct raft_status status;
    raft_index best_match = 0;
    uint32_t best = 0, i, j;

    group_raft_status(g, &status);
    for (i = 0; i < status.peers_count; i++) {
        const struct raft_peer_status *p = &status.peers[i];
        uint32_t node = node_of_replica(n, group_id_get(g), p->id);
        bool votes = false;

        for (j = 0; j < config->voters_count; j++) {
            votes = votes || config->voters[j] == p->id;
        }
        if (votes && node != 0 && node != n->config.id && peers_is_up(n, node) &&
            !p->amnesiac && (best == 0 || p->match > best_match)) {
            best = node;
            best_match = p->match;
        }
    }
    return best;
}

static void stop_hand_over(struct node *n, struct group *g)
{
    struct raft_status status;
    uint32_t to = group_is_leader(g) ? stop_successor(n, g) : 0;
    int rc;

    if (to == 0) {
        return;
    }
    group_raft_status(g, &status);
    if (status.transferring) {
        return;
    }
    node_group_touch(n, group_id_get(g));
    (void)KV_FAILPOINT(stop_hand_over);
    rc = group_transfer(g, to);
    node_log(n, LOG_DEBUG, "group=%u node=%u transfer_to=%u result=%s", group_id_get(g),
             n->config.id, to, rc == 0 ? "begun" : kv_err_name(rc));
}

void node_stop_tick(struct node *n)
{
    uint32_t i;

    if (n->now_ms < n->stop_next_ms) {
        return;
    }
    n->stop_next_ms = n->now_ms + NODE_HAND_OVER_MS;
    for (i = 0; i < n->groups_cap; i++) {
        if (n->groups[i] != NULL) {
            stop_hand_over(n, n->groups[i]);
        }
    }
}

bool node_stopped(const struct node *n)
{
    uint32_t i;

    if (n->phase == NODE_HALTED) {
        return true;
    }
    if (n->phase != NODE_STOPPING || request_pool_count(n->requests) > 0) {
        return false;
    }
    for (i = 0; i < n->groups_cap; i++) {
        const struct group *g = n->groups[i];

        if (g != NULL && group_is_leader(g) && stop_successor(n, g) != 0) {
            return false;
        }
    }
    return true;
}
