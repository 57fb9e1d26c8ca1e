/* server/group_fence.c - reads that carry a lock's token.
 *
 * A fenced read is linearizable, and a group that sees a higher token than before
 * says nothing until an entry has noted it: such a read goes through the log
 * (FENCE_MARK) and is answered when that is applied. Writes carry their token in
 * their own entry.
 */
#include "rpc/slot.h"
#include "server/group_internal.h"

static struct command_fence fence_of(const struct request *req)
{
    return (struct command_fence){.lock = req->rpc.options.fence_lock,
                                  .token = req->rpc.options.fence_token};
}

void group_fence_refused(struct group *g, struct request *req)
{
    const struct rpc_options *o = &req->rpc.options;

    reply_error(
        req, KV_EFENCED,
        "group %u: token %llu of the lock is not the newest that was seen or is "
        "not held any more; take the lock again",
        g->id, (unsigned long long)o->fence_token);
}

static void answer_unreadable(struct group *g, struct request *req, int rc)
{
    if (rc == KV_ENOMEM) {
        reply_error(req, KV_EBUSY, "no memory for the lock; try again");
        return;
    }
    reply_error(req, KV_EDAMAGED,
                "group %u: node %u cannot read its copy of the lock; another replica "
                "will take over, try again",
                g->id, g->node->config.id);
    group_state_damaged(g);
}

void group_fence_command(const struct request *req, struct command *out)
{
    if (req->rpc.options.fence_lock.len == 0) {
        return;
    }
    if (req->is_write) {
        out->fence = fence_of(req);
        return;
    }
    out->kind = COMMAND_FENCE_MARK;
    out->key = req->rpc.options.fence_lock;
    out->token = req->rpc.options.fence_token;
    out->slot = slot_of(out->key);
}

bool group_fence_wants_mark(struct group *g, const struct request *req)
{
    struct command_fence fence = fence_of(req);
    enum fence_verdict verdict;

    return fence.lock.len > 0 && apply_fence_look(&g->apply, &fence, &verdict) == 0 &&
           verdict == FENCE_MARK;
}

bool group_fence_pass(struct group *g, struct request *req)
{
    struct command_fence fence = fence_of(req);
    enum fence_verdict verdict;
    int rc;

    if (fence.lock.len == 0) {
        return true;
    }
    rc = apply_fence_look(&g->apply, &fence, &verdict);
    if (rc != 0) {
        answer_unreadable(g, req, rc);
    } else if (verdict == FENCE_PASSES) {
        return true;
    } else if (verdict == FENCE_STALE) {
        group_fence_refused(g, req);
    } else {
        group_reroute(g, req, false); /* It comes back as one that wants a mark. */
    }
    return false;
}

void group_fence_marked(struct group *g, struct request *req, int code)
{
    if (code == KV_EFENCED) {
        group_fence_refused(g, req);
    } else {
        KV_ASSERT(code == 0 && !req->is_write);
        group_read_answer(g, req);
    }
}
