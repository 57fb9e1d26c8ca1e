/* tests/lib/raft_judge.c - the promises, one function each. */
#include "tests/lib/raft_judge.h"

void raft_judge_entry(struct raft_judge *j, const struct raft_entry *e)
{
    struct raft_judge_version *v;

    if (j->forgiving) {
        return;
    }
    KV_ASSERT(e->pos.index < RAFT_JUDGE_INDEXES_MAX);
    v = j->versions[e->pos.index];
    for (uint32_t i = 0; i < RAFT_JUDGE_VERSIONS_MAX; i++) {
        if (v[i].term == e->pos.term) {
            KV_ASSERT(v[i].hash == e->hash); /* Log matching (§5.3). */
            return;
        }
        if (v[i].term == 0) {
            v[i] = (struct raft_judge_version){.term = e->pos.term, .hash = e->hash};
            return;
        }
    }
}

void raft_judge_store(struct raft_judge *j, const struct raft_disk_log *log,
                      raft_index from)
{
    const struct raft_entry *e = raft_disk_log_get(log, from);

    KV_ASSERT(from > log->base.pos.index);
    if (!j->forgiving) {
        KV_ASSERT(e == NULL || from > j->commit_max || e->hash != j->committed[from]);
    }
}

void raft_judge_leader(struct raft_judge *j, raft_id id, raft_term term,
                       const struct raft_disk_log *log)
{
    if (j->forgiving) {
        return;
    }
    KV_ASSERT(term < RAFT_JUDGE_TERMS_MAX);
    KV_ASSERT(j->leaders[term] == 0); /* Nobody leads a term twice (§5.2). */
    j->leaders[term] = id;
    j->leader_max = KV_MAX(j->leader_max, term);
    if (j->commit_max > 0) {
        /* The chain hash stands for all entries before it (§5.4). */
        KV_ASSERT(log->last >= j->commit_max);
        KV_ASSERT(raft_disk_log_has(log, j->commit_max, j->committed[j->commit_max]));
    }
}

bool raft_judge_commit(struct raft_judge *j, const struct raft_disk_log *log,
                       raft_index from, raft_index to)
{
    bool news = to > j->commit_max;

    KV_ASSERT(to <= log->last);
    if (j->forgiving) {
        return false;
    }
    KV_ASSERT(to < RAFT_JUDGE_INDEXES_MAX);
    for (raft_index i = from + 1; i <= to; i++) {
        const struct raft_entry *e = raft_disk_log_get(log, i);
        uint64_t hash;

        if (e == NULL && i < log->base.pos.index) {
            continue; /* Came with a snapshot. */
        }
        hash = e != NULL ? e->hash : log->base.hash;
        if (i <= j->commit_max) {
            KV_ASSERT(j->committed[i] == hash); /* §5.4.3 */
        } else {
            KV_ASSERT(e != NULL);
            j->committed[i] = hash;
            j->committed_term[i] = e->pos.term;
        }
    }
    j->commit_max = KV_MAX(j->commit_max, to);
    return news;
}

static void judge_vote(struct raft_judge *j, const struct raft_msg *m,
                       const struct raft_disk *disk)
{
    raft_id *vote = &j->votes[m->term][m->from];

    KV_ASSERT(disk->term == m->term && disk->vote == m->to);
    KV_ASSERT(*vote == 0 || *vote == m->to); /* One vote per term (§5.2). */
    *vote = m->to;
}

void raft_judge_message(struct raft_judge *j, const struct raft_msg *m,
                        const struct raft_disk *disk)
{
    bool pre_vote = m->type == RAFT_MSG_PRE_VOTE ||
                    (m->type == RAFT_MSG_PRE_VOTE_REPLY && m->granted);

    KV_ASSERT(pre_vote || m->term <= disk->term);
    if (m->type == RAFT_MSG_VOTE_REPLY && m->granted && !j->forgiving) {
        KV_ASSERT(m->term < RAFT_JUDGE_TERMS_MAX && m->from < RAFT_JUDGE_REPLICAS_MAX);
        judge_vote(j, m, disk);
    }
    if (m->type == RAFT_MSG_VOTE) {
        KV_ASSERT(disk->vote == m->from && disk->term == m->term);
        KV_ASSERT(m->last.index <= disk->log.last);
    }
    if (m->type == RAFT_MSG_APPEND_REPLY || m->type == RAFT_MSG_HEARTBEAT_REPLY) {
        /* An ack is a promise: the disk has it. */
        KV_ASSERT(m->match <= disk->log.last || m->match <= disk->log.base.pos.index);
        KV_ASSERT(m->match == 0 || raft_disk_log_has(&disk->log, m->match, m->hash));
    }
}
