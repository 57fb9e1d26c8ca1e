/* tests/sim/coverage.c - the table of what happened, and what must not be zero. */
#include "tests/sim/coverage.h"

#include <inttypes.h>
#include <string.h>

#include "raft/trace.h"
#include "tests/sim/sim.h"

/* Rows that may be zero, and why. "*" stands for all names of the kind. */
static const struct exception {
    const char *kind, *name, *why;
} exceptions[] = {
    {"count", "halts", "a node that halts unexpectedly fails the run"},
    {"count", "disk_calls", "only with --store lmdb"},
    {"count", "disk_cuts", "only with --store lmdb"},
    {"count", "disk_open_cuts", "only with --store lmdb"},
    {"count", "disk_kept", "only with --store lmdb"},
    {"count", "disk_lost", "only with --store lmdb"},
    {"count", "disk_torn", "only with --store lmdb"},
    {"count", "disk_errors", "only with --store lmdb"},
    {"count", "disk_no_space", "only with --store lmdb"},
    {"role", "follower", "counted as leader_lost, ..."},
    {"step", "KV_ENOTLEADER", "a group asks its core only where it leads"},
    {"count", "watch_unclear", "what is told was seen being applied before"},
    {"reply", "DENIED", "comes with roles"},
    {"method", "cluster.set_w", "the operator proposes configurations himself"},
};

static const char *excuse(const char *kind, const char *name)
{
    for (size_t i = 0; i < KV_ARRAY_COUNT(exceptions); i++) {
        if (strcmp(exceptions[i].kind, kind) == 0 &&
            strcmp(exceptions[i].name, name) == 0) {
            return exceptions[i].why;
        }
    }
    return NULL;
}

void coverage_add(struct sim_cover *total, const struct sim_cover *one)
{
    uint64_t *to = (uint64_t *)(void *)total;
    const uint64_t *from = (const uint64_t *)(const void *)one;

    for (size_t i = 0; i < sizeof *total / sizeof *to; i++) {
        to[i] += from[i];
    }
}

/* ---- walking the rows ---- */

struct walk {
    FILE *out;
    bool zeros; /* Only rows that are zero and have no excuse. */
    uint32_t found;
};

static void row(struct walk *w, const char *kind, const char *name, uint64_t count)
{
    const char *why = excuse(kind, name);

    if (!w->zeros) {
        fprintf(w->out, "%s\t%s\t%" PRIu64 "\t%s\n", kind, name, count,
                why == NULL ? "" : why);
    } else if (count == 0 && why == NULL) {
        fprintf(w->out, "  never happened: %s %s\n", kind, name);
        w->found++;
    }
}

static const char *event_name(uint32_t event)
{
    static const char *const names[COVER_EVENTS] = {
        [RAFT_EV_TICK] = "tick",
        [RAFT_EV_MESSAGE] = "message",
        [RAFT_EV_PROPOSE] = "propose",
        [RAFT_EV_PROPOSE_CONFIG] = "propose_config",
        [RAFT_EV_READ] = "read",
        [RAFT_EV_TRANSFER] = "transfer",
        [RAFT_EV_PERSISTED] = "persisted",
        [RAFT_EV_APPLIED] = "applied",
        [RAFT_EV_COMPACTED] = "compacted",
        [RAFT_EV_SNAPSHOT_READY] = "snapshot_ready",
        [RAFT_EV_SNAPSHOT_STORED] = "snapshot_stored",
        [RAFT_EV_SNAPSHOT_INSTALLED] = "snapshot_installed",
        [RAFT_EV_SNAPSHOT_FAILED] = "snapshot_failed",
        [RAFT_EV_PEER_DOWN] = "peer_down",
        [RAFT_EV_IMPAIRED] = "impaired",
        [RAFT_EV_STATE_LOST] = "state_lost",
    };

    return names[event] == NULL ? "?" : names[event];
}

static const char *frame_name(uint32_t kind)
{
    static const char *const names[PEER_KINDS_END] = {
        [PEER_HELLO] = "hello",
        [PEER_RAFT] = "raft",
        [PEER_FORWARD] = "forward",
        [PEER_FORWARD_REPLY] = "forward_reply",
        [PEER_FETCH_ENTRY] = "fetch_entry",
        [PEER_FETCH_ENTRY_REPLY] = "fetch_entry_reply",
        [PEER_STATE] = "state",
        [PEER_QUORUM_ASK] = "quorum_ask",
        [PEER_QUORUM_ANSWER] = "quorum_answer",
    };

    return names[kind] == NULL ? "?" : names[kind];
}

/* Of raft_step() and of disk jobs only these codes are meant to happen. */
static void walk_codes(struct walk *w, const struct sim_cover *c)
{
    static const int of_step[] = {KV_ENOTLEADER, KV_EBUSY};
    static const int of_job[] = {KV_ENOSPACE};

    for (size_t i = 0; i < KV_ARRAY_COUNT(of_step); i++) {
        row(w, "step", kv_err_name(of_step[i]),
            c->step_error[of_step[i] - KV_ERR_FIRST]);
    }
    for (size_t i = 0; i < KV_ARRAY_COUNT(of_job); i++) {
        row(w, "job", kv_err_name(of_job[i]), c->job_error[of_job[i] - KV_ERR_FIRST]);
    }
    for (int code = KV_EBADREQUEST; code <= KV_EUNKNOWN; code++) {
        row(w, "reply", kv_err_word(code), c->reply_error[code - KV_ERR_FIRST]);
    }
}

static void walk_rows(struct walk *w, const struct sim_counts *counts,
                      const struct sim_cover *c)
{
    for (uint32_t i = 1; i < RAFT_MSG_TYPES_COUNT; i++) {
        row(w, "sent", raft_trace_type((enum raft_msg_type)i), c->sent[i]);
    }
    for (uint32_t i = 1; i < RAFT_MSG_TYPES_COUNT; i++) {
        row(w, "heard", raft_trace_type((enum raft_msg_type)i), c->heard[i]);
    }
    for (uint32_t i = 0; i < COVER_EVENTS; i++) {
        row(w, "event", event_name(i), c->event[i]);
    }
    for (uint32_t i = 0; i < COVER_ROLES; i++) {
        row(w, "role", raft_trace_role((enum raft_role)i), c->role[i]);
    }
    for (uint32_t i = 1; i < PEER_KINDS_END; i++) {
        row(w, "frame", frame_name(i), c->frame[i]);
    }
    for (uint32_t i = 0; i < DISK_KINDS_COUNT; i++) {
        row(w, "job", disk_kind_text((enum disk_kind)i), c->job[i]);
    }
    for (uint32_t i = 1; i < RPC_METHODS_COUNT; i++) {
        row(w, "method", rpc_method_name((enum rpc_method)i), c->method[i]);
    }
    walk_codes(w, c);
#define COVER_ROW(name) row(w, "raft", #name, c->name);
    SIM_COVER_MAP(COVER_ROW)
#undef COVER_ROW
#define COUNT_ROW(name) row(w, "count", #name, counts->name);
    SIM_COUNT_MAP(COUNT_ROW)
#undef COUNT_ROW
}

void coverage_write(FILE *out, const struct sim_counts *counts,
                    const struct sim_cover *cover)
{
    struct walk w = {.out = out};

    fprintf(out, "kind\tname\tcount\tnote\n");
    walk_rows(&w, counts, cover);
}

uint32_t coverage_zero_rows(FILE *out, const struct sim_counts *counts,
                            const struct sim_cover *cover)
{
    struct walk w = {.out = out, .zeros = true};

    walk_rows(&w, counts, cover);
    return w.found;
}
