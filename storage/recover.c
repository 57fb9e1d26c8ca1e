/* storage/recover.c - log and state must tell one story. */
#include "storage/recover.h"

#include "raft/base/bug.h"
#include "raft/base/err.h"
#include "storage/failpoint.h"

static int reset_finish(struct store *s, group_id group, const struct raft_base *to)
{
    struct log_write write = {.group = group, .reset_to = to, .urgent = true};
    int rc;

    (void)KV_FAILPOINT(open_recover);
    rc = s->ops->log_write(s, &write, 1);
    (void)KV_FAILPOINT(open_recovered);
    return rc != 0 ? rc : s->ops->mark_clear(s, group);
}

/* Is the entry that the state ends with the one that the log holds there? */
static int meeting_check(struct store *s, group_id group, const struct log_state *log,
                         const struct raft_base *applied, const char **out_reason)
{
    struct raft_meta meta = {.pos = log->base.pos, .hash = log->base.hash};
    int rc = 0;

    if (applied->pos.index > log->base.pos.index) {
        rc = s->ops->log_meta(s, group, applied->pos.index, &meta);
    }
    if (rc == KV_EDAMAGED) {
        return 0; /* Known to the group as a damaged entry; it says nothing here. */
    }
    if (rc == 0 && (meta.pos.term != applied->pos.term || meta.hash != applied->hash)) {
        *out_reason = "state and log hold different entries at the applied index";
        rc = KV_ELOST;
    }
    return rc;
}

int recover_group(struct store *s, group_id group, const char **out_reason)
{
    struct log_state log;
    struct state_meta state;
    int rc = s->ops->log_load(s, group, &log);

    if (rc == 0) {
        rc = s->ops->state_load(s, group, &state);
    }
    if (rc != 0) {
        return rc;
    }
    if (state.mark && !KV_BUG(*s, B43)) {
        return reset_finish(s, group, &state.applied);
    }
    if (state.applied.pos.index > log.last.pos.index) {
        *out_reason = "the state is ahead of the log: the log was lost or replaced";
        return KV_ELOST;
    }
    if (state.applied.pos.index < log.base.pos.index) {
        *out_reason = "the log begins behind the state: the state was lost or replaced";
        return KV_ELOST;
    }
    if (state.applied.pos.index == 0) {
        return 0;
    }
    return meeting_check(s, group, &log, &state.applied, out_reason);
}
