/* raft/update.c - fills the outgoing arrays and the update. */
#include "raft/update.h"

#include "raft/base/err.h"
#include "raft/election.h"
#include "raft/replication.h"
#include "raft/state.h"

void raft_update_begin(struct raft *r)
{
    r->entries_count = 0;
    r->messages_count = 0;
    r->reads_count = 0;
    r->own_payloads_count = 0;
    r->messages_full = false;
    r->chunk_out = false;
    r->install_out = false;
    r->config_changed = false;
    r->snapshot_bad = 0;
    r->deferred = 0;
}

struct raft_msg *raft_update_message(struct raft *r, enum raft_msg_type type,
                                     raft_id to)
{
    struct raft_msg *m;

    KV_ASSERT(to != 0 && to != r->o.id);
    KV_ASSERT_IMPLIES(type != RAFT_MSG_PRE_VOTE && type != RAFT_MSG_PRE_VOTE_REPLY,
                      r->term_durable == r->term);
    if (r->messages_count == RAFT_MESSAGES_MAX) {
        r->messages_full = true;
        return NULL;
    }
    m = &r->messages[r->messages_count++];
    memset(m, 0, sizeof *m);
    m->type = type;
    m->from = r->o.id;
    m->to = to;
    m->term = r->term;
    return m;
}

uint32_t raft_update_entry_room(const struct raft *r)
{
    return KV_MIN(raft_log_room(&r->log), RAFT_ENTRIES_OUT_MAX - r->entries_count);
}

void raft_update_entry(struct raft *r, const struct raft_entry *entry)
{
    const struct raft_meta meta = {
        .pos = entry->pos,
        .type = entry->type,
        .payload_bytes = (uint32_t)entry->payload.len,
        .time_ms = entry->time_ms,
        .hash = entry->hash,
    };

    KV_ASSERT(raft_update_entry_room(r) > 0);
    KV_ASSERT(entry->payload.len <= RAFT_RECORD_PAYLOAD_MAX);
    raft_log_append(&r->log, &meta);
    r->entries[r->entries_count++] = *entry;
    if (entry->type == RAFT_ENTRY_CONFIG) {
        struct raft_config config;
        int rc = raft_config_payload(entry->payload, &config);

        KV_ASSERT(rc == 0);
        raft_config_adopt(r, &config, entry->pos.index);
    }
}

void raft_update_read(struct raft *r, uint64_t tag, raft_index index, int error)
{
    KV_ASSERT(r->reads_count < RAFT_READS_MAX);
    r->reads[r->reads_count++] =
        (struct raft_read){.tag = tag, .index = index, .error = error};
}

void raft_update_defer(struct raft *r, int error)
{
    if (error == KV_ENOTFOUND) {
        error = KV_ECORRUPT; /* Storage lost an entry that it had. */
    }
    if (error != 0 && error != KV_ECOMPACTED && r->deferred == 0) {
        r->deferred = error;
    }
}

/* The earliest moment at which time alone changes something. */
static uint64_t update_deadline(const struct raft *r)
{
    if (r->messages_full) {
        return r->now_ms;
    }
    return raft_leads(r) ? raft_replication_deadline(r) : r->election_at_ms;
}

void raft_update_fill(struct raft *r, bool failed, struct raft_update *out)
{
    KV_ASSERT_IMPLIES(failed, r->entries_count == 0);
    if (failed) {
        r->messages_count = 0;
    }
    *out = (struct raft_update){
        .store_hard = r->hard_dirty && !failed,
        .term = r->term,
        .vote = r->vote,
        .entries = r->entries,
        .entries_count = r->entries_count,
        .messages = r->messages,
        .messages_count = r->messages_count,
        .commit = r->commit,
        .reads = r->reads,
        .reads_count = r->reads_count,
        .snapshot_wanted = r->snapshot_wanted,
        .snapshot_least = r->snapshot_least,
        .snapshot_bad = r->snapshot_bad,
        .chunk_store = r->chunk_out ? &r->chunk : NULL,
        .chunk_snapshot = r->chunk_out ? &r->chunk_snapshot : NULL,
        .install = r->install_out ? &r->incoming.snapshot : NULL,
        .deadline_ms = update_deadline(r),
        .role = r->role,
        .leader = r->leader,
        .role_changed = r->role != r->told_role || r->leader != r->told_leader ||
                        r->term != r->told_term,
        .config_changed = r->config_changed,
    };
    r->hard_dirty = r->hard_dirty && failed;
    r->told_role = r->role;
    r->told_leader = r->leader;
    r->told_term = r->term;
    r->told_commit = r->commit;
}
