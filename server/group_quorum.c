/* server/group_quorum.c - what a replica says to a quorum read, of its own state alone.
 *
 * Key, applied index, pending entry and configuration are of one moment. Who holds a
 * damaged entry, lost its state or installs another one says nothing: what it would
 * have to know may be in what it cannot read.
 */
#include "rpc/peer.h"
#include "rpc/slot.h"
#include "server/group_internal.h"

static bool can_answer(const struct group *g)
{
    struct raft_status status;

    if (g->halted != 0 || g->id == NODE_META_GROUP || g->lost.is_lost ||
        g->damage.index != 0 || g->install_phase != GROUP_INSTALL_NONE ||
        !g->apply.has_slots) {
        return false;
    }
    raft_status_get(g->raft, &status);
    return !status.impaired;
}

static void fill_config(const struct group *g, struct peer_quorum_answer *out)
{
    struct raft_config_view view;

    raft_config_view_get(g->raft, &view);
    out->config = *view.now;
    out->before = *view.before;
    out->config_index = view.now_index;
    out->before_index = view.before_index;
    out->is_committed = view.is_committed;
}

void group_quorum_answer(struct group *g, struct kv_bytes key, struct arena *arena,
                         struct peer_quorum_answer *out)
{
    struct row row;
    int rc;

    KV_ASSERT(g->magic == GROUP_MAGIC);
    *out = (struct peer_quorum_answer){.group = g->id, .replica = g->self};
    if (!can_answer(g) || !apply_owns(&g->apply, slot_of(key))) {
        return;
    }
    rc = state_get(g->st, ROW_KV, key, arena, &row);
    if (rc != 0 && rc != KV_ENOTFOUND) {
        if (rc != KV_ENOMEM) {
            node_group_touch(g->node, g->id);
            group_state_damaged(g);
        }
        return;
    }
    fill_config(g, out);
    out->ok = true;
    out->applied = group_applied(g);
    out->pending = pending_find(&g->pending, key, out->applied, g->last.index);
    out->term = g->term;
    out->rev = apply_rev(&g->apply, out->applied);
    out->found = rc == 0;
    if (out->found) {
        out->value = row.value;
        out->key_rev = row.rev;
    }
    g->stats.reads++;
}
