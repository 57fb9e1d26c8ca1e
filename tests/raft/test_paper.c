/* tests/raft/test_paper.c - one test per safety sentence of the Raft paper.
 *
 * Each test quotes the rule it holds the core to and names its place: §n is "In
 * Search of an Understandable Consensus Algorithm (Extended Version)", diss. §n
 * Ongaro's dissertation.
 */
#include "tests/raft/raft_test.h"

/* ---- Figure 3: the five properties ---- */

/* "At most one leader can be elected in a given term." Two candidates of one term
 * and three voters: only one of them gets a quorum. Source: Figure 3, §5.2. */
static void elects_at_most_one_leader_per_term(void **state)
{
    struct raft_cluster *c = cluster_of(3);

    (void)state;
    time_out(c, 1);
    time_out(c, 2);
    deliver(c, 0, 3);
    deliver(c, 3, 0); /* Both have their pre-vote. */
    raft_cluster_settle(c);
    assert_int_equal(c->nodes[1].term, 1);
    assert_int_equal(c->nodes[2].term, 1);
    assert_int_equal(
        (c->nodes[1].role == RAFT_LEADER) + (c->nodes[2].role == RAFT_LEADER), 1);
    raft_cluster_free(c);
}

/* "A leader never overwrites or deletes entries in its log; it only appends new
 * entries." Source: Figure 3, §5.3. */
static void leader_only_appends(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    uint64_t before;

    (void)state;
    elect(c, 1);
    assert_int_equal(raft_cluster_propose(c, 1, 3), 0);
    before = hash_at(c, 1, 4);
    /* Not even for a "leader" of its own term. */
    assert_int_equal(
        send_msg(
            c,
            &(struct raft_msg){.type = RAFT_MSG_APPEND, .from = 2, .to = 1, .term = 1}),
        KV_EPROTO);
    raft_cluster_settle(c);
    assert_int_equal(hash_at(c, 1, 4), before);
    assert_int_equal(status_of(c, 1).last.index, 4);
    raft_cluster_free(c);
}

/* "If two logs contain an entry with the same index and term, then the logs are
 * identical in all entries up through the given index." Source: Figure 3, §5.3. */
static void equal_positions_mean_equal_logs(void **state)
{
    struct raft_cluster *c = stopped_cluster_of(3);

    (void)state;
    for (raft_term term = 1; term <= 3; term++) {
        disk_entry(c, 1, term);
        disk_entry(c, 2, term == 1 ? 1 : 2);
    }
    disk_entry(c, 3, 1);
    raft_cluster_start(c, 1);
    raft_cluster_start(c, 2);
    raft_cluster_start(c, 3);
    elect(c, 1);
    for (raft_index i = 1; i <= 4; i++) {
        assert_int_equal(hash_at(c, 1, i), hash_at(c, 2, i));
        assert_int_equal(hash_at(c, 1, i), hash_at(c, 3, i));
    }
    raft_cluster_free(c);
}

/* "If a log entry is committed in a given term, then that entry will be present in
 * the logs of the leaders for all higher-numbered terms." The replica without the
 * entry cannot win. Source: Figure 3, §5.4. */
static void later_leaders_have_every_committed_entry(void **state)
{
    struct raft_cluster *c = cluster_of(3);

    (void)state;
    elect(c, 1);
    c->blocked[1][3] = true;
    assert_int_equal(raft_cluster_propose(c, 1, 1), 0);
    raft_cluster_settle(c);
    assert_int_equal(c->nodes[1].commit, 2);
    raft_cluster_crash(c, 1, 0);
    drop_all(c);
    c->now_ms += 400;
    time_out(c, 3);
    raft_cluster_settle(c);
    assert_int_not_equal(c->nodes[3].role, RAFT_LEADER);
    assert_int_equal(c->nodes[2].role, RAFT_LEADER); /* Its timer has run out, too. */
    assert_int_equal(hash_at(c, 2, 2), hash_at(c, 3, 2));
    raft_cluster_free(c);
}

/* "If a server has applied a log entry at a given index to its state machine, no
 * other server will ever apply a different log entry for the same index." A leader
 * that contradicts what is committed here is refused for ever. Source: Figure 3,
 * §5.4.3. */
static void never_applies_another_entry_at_an_index(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_entry e = {
        .pos = {2, 5}, .type = RAFT_ENTRY_COMMAND, .time_ms = 9999999};
    struct raft_msg m = {.type = RAFT_MSG_APPEND,
                         .from = 3,
                         .to = 2,
                         .term = 5,
                         .prev = {1, 1},
                         .entries_count = 1,
                         .entries = &e};

    (void)state;
    elect(c, 1);
    assert_int_equal(raft_cluster_propose(c, 1, 1), 0);
    raft_cluster_settle(c);
    pass_ms(c, 60);
    raft_cluster_settle(c);
    assert_int_equal(c->nodes[2].applied, 2);
    m.prev_hash = hash_at(c, 2, 1);
    e.hash = raft_entry_hash(m.prev_hash, &e);
    assert_int_equal(send_msg(c, &m), KV_ECORRUPT);
    assert_int_equal(status_of(c, 2).last.term, 1);
    raft_cluster_free(c);
}

/* ---- Figure 2: state ---- */

/* "Persistent state on all servers: updated on stable storage before responding to
 * RPCs." Source: Figure 2. */
static void answers_only_from_stable_storage(void **state)
{
    struct raft_cluster *c = cluster_of(3);

    (void)state;
    elect(c, 1);
    drop_all(c);
    assert_int_equal(raft_cluster_propose(c, 1, 1), 0);
    deliver(c, 1, 2);
    assert_null(queued(c, 2, RAFT_MSG_APPEND_REPLY));
    persist(c, 2);
    assert_non_null(queued(c, 2, RAFT_MSG_APPEND_REPLY));
    assert_int_equal(queued(c, 2, RAFT_MSG_APPEND_REPLY)->match, 2);
    raft_cluster_free(c);
}

/* "currentTerm: latest term server has seen; increases monotonically", and the vote
 * belongs to it, also over a restart. Source: Figure 2. */
static void term_and_vote_survive_a_restart(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_msg m = {.type = RAFT_MSG_VOTE, .from = 1, .to = 3, .term = 4};

    (void)state;
    assert_int_equal(send_msg(c, &m), 0);
    persist(c, 3);
    raft_cluster_crash(c, 3, 0);
    raft_cluster_start(c, 3);
    assert_int_equal(status_of(c, 3).term, 4);
    assert_int_equal(status_of(c, 3).vote, 1);
    drop_all(c);
    m.from = 2;
    assert_int_equal(send_msg(c, &m), 0);
    assert_non_null(queued(c, 3, RAFT_MSG_VOTE_REPLY));
    assert_false(queued(c, 3, RAFT_MSG_VOTE_REPLY)->granted);
    raft_cluster_free(c);
}

/* ---- §5.1: terms ---- */

/* "If a candidate or leader discovers that its term is out of date, it immediately
 * reverts to follower state." Source: §5.1. */
static void leader_reverts_to_follower_when_out_of_date(void **state)
{
    struct raft_cluster *c = cluster_of(3);

    (void)state;
    elect(c, 1);
    assert_int_equal(send_msg(c, &(struct raft_msg){.type = RAFT_MSG_APPEND_REPLY,
                                                    .from = 2,
                                                    .to = 1,
                                                    .term = 9}),
                     0);
    assert_int_equal(status_of(c, 1).role, RAFT_FOLLOWER);
    assert_int_equal(status_of(c, 1).term, 9);
    assert_int_equal(status_of(c, 1).vote, 0);
    raft_cluster_free(c);
}

/* "If a server receives a request with a stale term number, it rejects the request."
 * Source: §5.1. */
static void rejects_requests_with_a_stale_term(void **state)
{
    static const enum raft_msg_type types[] = {RAFT_MSG_APPEND, RAFT_MSG_HEARTBEAT,
                                               RAFT_MSG_VOTE, RAFT_MSG_PRE_VOTE};
    struct raft_cluster *c = stopped_cluster_of(3);

    (void)state;
    c->nodes[1].disk.term = 7;
    raft_cluster_start(c, 1);
    for (size_t i = 0; i < KV_ARRAY_COUNT(types); i++) {
        drop_all(c);
        assert_int_equal(send_msg(c, &(struct raft_msg){.type = types[i],
                                                        .from = 2,
                                                        .to = 1,
                                                        .term = 6,
                                                        .last = {9, 6}}),
                         0);
        assert_int_equal(c->queue_count, 1);
        assert_int_equal(c->queue[0].m.term, 7);
        assert_false(c->queue[0].m.granted);
        assert_int_equal(status_of(c, 1).leader, 0);
    }
    raft_cluster_free(c);
}

/* ---- §5.2: elections ---- */

/* "Each server will vote for at most one candidate in a given term, on a
 * first-come-first-served basis." Source: §5.2. */
static void votes_for_the_first_candidate_only(void **state)
{
    struct raft_cluster *c = cluster_of(3);

    (void)state;
    for (raft_id from = 1; from <= 2; from++) {
        assert_int_equal(send_msg(c, &(struct raft_msg){.type = RAFT_MSG_VOTE,
                                                        .from = from,
                                                        .to = 3,
                                                        .term = 1}),
                         0);
    }
    persist(c, 3);
    assert_int_equal(status_of(c, 3).vote, 1);
    for (uint32_t i = 0; i < c->queue_count; i++) {
        assert_int_equal(c->queue[i].m.granted, c->queue[i].m.to == 1);
    }
    raft_cluster_free(c);
}

/* "A candidate wins an election if it receives votes from a majority of the servers
 * in the full cluster for the same term." Two of five and itself, never two. Source:
 * §5.2. */
static void wins_with_a_majority_only(void **state)
{
    struct raft_cluster *c = cluster_of(5);

    (void)state;
    time_out(c, 1);
    for (raft_id from = 2; from <= 3; from++) {
        assert_int_equal(send_msg(c, &(struct raft_msg){.type = RAFT_MSG_PRE_VOTE_REPLY,
                                                        .from = from,
                                                        .to = 1,
                                                        .term = 1,
                                                        .granted = true}),
                         0);
    }
    persist(c, 1);
    for (raft_id from = 2; from <= 3; from++) {
        assert_int_equal(status_of(c, 1).role, RAFT_CANDIDATE);
        assert_int_equal(send_msg(c, &(struct raft_msg){.type = RAFT_MSG_VOTE_REPLY,
                                                        .from = from,
                                                        .to = 1,
                                                        .term = 1,
                                                        .granted = true}),
                         0);
    }
    assert_int_equal(status_of(c, 1).role, RAFT_LEADER);
    raft_cluster_free(c);
}

/* "If the leader's term is at least as large as the candidate's current term, then the
 * candidate recognizes the leader as legitimate and returns to follower state. If the
 * term in the RPC is smaller, the candidate rejects the RPC and continues in candidate
 * state." Source: §5.2. */
static void candidate_recognizes_a_leader_of_its_term(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_msg m = {.type = RAFT_MSG_HEARTBEAT, .from = 2, .to = 1, .term = 1};

    (void)state;
    time_out(c, 1);
    deliver(c, 1, 3);
    deliver(c, 3, 1);
    time_out(c, 1);
    deliver(c, 1, 3);
    deliver(c, 3, 1);
    persist(c, 1);
    assert_int_equal(status_of(c, 1).role, RAFT_CANDIDATE);
    assert_int_equal(status_of(c, 1).term, 2);
    assert_int_equal(send_msg(c, &m), 0);
    assert_int_equal(status_of(c, 1).role, RAFT_CANDIDATE);
    m.term = 2;
    assert_int_equal(send_msg(c, &m), 0);
    assert_int_equal(status_of(c, 1).role, RAFT_FOLLOWER);
    assert_int_equal(status_of(c, 1).leader, 2);
    raft_cluster_free(c);
}

/* "Election timeouts are chosen randomly from a fixed interval", and "each candidate
 * restarts its randomized election timeout at the start of an election". Source:
 * §5.2. */
static void draws_a_new_timeout_for_each_election(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    uint64_t seen[64];
    uint64_t different = 0;

    (void)state;
    c->blocked[1][2] = true;
    c->blocked[1][3] = true;
    for (size_t i = 0; i < KV_ARRAY_COUNT(seen); i++) {
        uint64_t start = raft_cluster_now_ms(c, 1);

        seen[i] = c->nodes[1].deadline_ms - start;
        assert_in_range(seen[i], 150, 299);
        different += i > 0 && seen[i] != seen[i - 1];
        time_out(c, 1);
        drop_all(c);
    }
    assert_true(different > 48);
    raft_cluster_free(c);
}

/* ---- §5.3: replication ---- */

/* "When sending an AppendEntries RPC, the leader includes the index and term of the
 * entry in its log that immediately precedes the new entries. If the follower does not
 * find an entry in its log with the same index and term, then it refuses the new
 * entries." Source: §5.3. */
static void refuses_entries_without_their_predecessor(void **state)
{
    static const struct raft_pos wrong[] = {{3, 1}, {2, 2}};
    struct raft_cluster *c = stopped_cluster_of(3);
    struct raft_entry e = {.type = RAFT_ENTRY_COMMAND, .time_ms = 9999999};

    (void)state;
    disk_entry(c, 2, 1);
    disk_entry(c, 2, 1);
    raft_cluster_start(c, 2);
    for (size_t i = 0; i < KV_ARRAY_COUNT(wrong); i++) {
        struct raft_msg m = {.type = RAFT_MSG_APPEND,
                             .from = 1,
                             .to = 2,
                             .term = 3,
                             .prev = wrong[i],
                             .entries_count = 1,
                             .entries = &e};

        e.pos = (struct raft_pos){wrong[i].index + 1, 3};
        e.hash = raft_entry_hash(0, &e);
        assert_int_equal(send_msg(c, &m), 0);
        persist(c, 2);
        assert_true(queued(c, 2, RAFT_MSG_APPEND_REPLY)->rejected);
        assert_int_equal(status_of(c, 2).last.index, 2);
        drop_all(c);
    }
    raft_cluster_free(c);
}

/* "In Raft, the leader handles inconsistencies by forcing the followers' logs to
 * duplicate its own": conflicting entries are deleted, with all that follow them.
 * Source: §5.3, Figure 2 AppendEntries 3. */
static void follower_drops_what_contradicts_the_leader(void **state)
{
    struct raft_cluster *c = stopped_cluster_of(2);

    (void)state;
    disk_entry(c, 1, 1);
    disk_entry(c, 1, 3);
    disk_entry(c, 2, 1);
    for (int i = 0; i < 5; i++) {
        disk_entry(c, 2, 2);
    }
    raft_cluster_start(c, 1);
    raft_cluster_start(c, 2);
    elect(c, 1);
    assert_int_equal(status_of(c, 2).last.index, 3);
    assert_int_equal(hash_at(c, 2, 3), hash_at(c, 1, 3));
    raft_cluster_free(c);
}

/* "If leaderCommit > commitIndex, set commitIndex = min(leaderCommit, index of last new
 * entry)". Source: Figure 2, AppendEntries 5. */
static void commits_no_further_than_the_last_new_entry(void **state)
{
    struct raft_cluster *c = stopped_cluster_of(3);
    struct raft_msg m = {.type = RAFT_MSG_APPEND,
                         .from = 1,
                         .to = 2,
                         .term = 2,
                         .prev = {2, 1},
                         .commit = 9};

    (void)state;
    for (int i = 0; i < 4; i++) {
        disk_entry(c, 2, 1);
    }
    raft_cluster_start(c, 2);
    m.prev_hash = hash_at(c, 2, 2);
    assert_int_equal(send_msg(c, &m), 0);
    assert_int_equal(status_of(c, 2).commit, 2);
    raft_cluster_free(c);
}

/* ---- §5.4: safety ---- */

/* "If the logs have last entries with different terms, then the log with the later term
 * is more up-to-date. If the logs end with the same term, then whichever log is longer
 * is more up-to-date." Source: §5.4.1. */
static void compares_logs_by_term_then_length(void **state)
{
    struct raft_cluster *c = stopped_cluster_of(3);
    const struct raft *r;

    (void)state;
    disk_entry(c, 1, 2);
    disk_entry(c, 1, 3);
    disk_entry(c, 1, 3);
    raft_cluster_start(c, 1);
    r = c->nodes[1].raft;
    assert_true(raft_election_up_to_date(r, (struct raft_pos){3, 3}));
    assert_true(raft_election_up_to_date(r, (struct raft_pos){4, 3}));
    assert_true(raft_election_up_to_date(r, (struct raft_pos){1, 4}));
    assert_false(raft_election_up_to_date(r, (struct raft_pos){2, 3}));
    assert_false(raft_election_up_to_date(r, (struct raft_pos){99, 2}));
    raft_cluster_free(c);
}

/* "Raft never commits log entries from previous terms by counting replicas. Only log
 * entries from the leader's current term are committed by counting replicas; once an
 * entry from the current term has been committed in this way, then all prior entries
 * are committed indirectly." Source: §5.4.2, Figure 8. */
static void commits_older_terms_only_indirectly(void **state)
{
    struct raft_cluster *c = stopped_cluster_of(3);
    struct raft_msg ack = {.type = RAFT_MSG_APPEND_REPLY,
                           .from = 2,
                           .to = 1,
                           .term = 3,
                           .match = 2,
                           .round = 1};

    (void)state;
    for (raft_id id = 1; id <= 3; id++) {
        disk_entry(c, id, 1);
        disk_entry(c, id, 2);
        raft_cluster_start(c, id);
    }
    time_out(c, 1);
    deliver(c, 1, 0);
    deliver(c, 0, 1);
    persist(c, 1);
    deliver(c, 1, 0);
    persist(c, 2);
    persist(c, 3);
    deliver(c, 0, 1);
    assert_int_equal(status_of(c, 1).role, RAFT_LEADER);
    persist(c, 1);
    ack.hash = hash_at(c, 1, 2);
    assert_int_equal(send_msg(c, &ack), 0);
    ack.from = 3;
    assert_int_equal(send_msg(c, &ack), 0);
    assert_int_equal(status_of(c, 1).commit, 0); /* Index 2 is on all three disks. */
    ack.match = 3;
    ack.hash = hash_at(c, 1, 3);
    assert_int_equal(send_msg(c, &ack), 0);
    assert_int_equal(status_of(c, 1).commit, 3);
    raft_cluster_free(c);
}

/* ---- §6: configurations ---- */

/* "A server always uses the latest configuration in its log, regardless of whether the
 * entry is committed." Source: §6. */
static void uses_the_newest_configuration_in_the_log(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_config two = voters_upto(2);
    raft_index at;

    (void)state;
    elect(c, 1);
    assert_int_equal(raft_cluster_propose_config(c, 1, &two), 0);
    assert_int_equal(raft_config_get(c->nodes[1].raft, &at)->voters_old_count, 3);
    assert_int_equal(at, 2);
    assert_int_equal(status_of(c, 1).commit, 1);
    deliver(c, 1, 2);
    assert_int_equal(raft_config_get(c->nodes[2].raft, &at)->voters_old_count, 3);
    raft_cluster_free(c);
}

/* "Agreement (for elections and entry commitment) requires separate majorities from
 * both the old and new configurations." Source: §6. */
static void joint_agreement_needs_both_majorities(void **state)
{
    struct raft_cluster *c = raft_cluster_new(1);
    struct raft_config old = voters_upto(3);
    const struct raft_config none = {0};
    struct raft_config next = {.voters_count = 3, .voters = {4, 5, 6}};

    (void)state;
    for (raft_id id = 1; id <= 6; id++) {
        (void)raft_cluster_make(c, id, id <= 3 ? &old : &none);
        raft_cluster_start(c, id);
    }
    elect(c, 1);
    for (raft_id id = 4; id <= 6; id++) {
        c->blocked[1][id] = true;
    }
    assert_int_equal(raft_cluster_propose_config(c, 1, &next), 0);
    raft_cluster_settle(c);
    assert_int_equal(c->nodes[1].commit, 1); /* All of the old half, none of the new. */
    c->blocked[1][4] = false;
    for (int i = 0; i < 3; i++) {
        pass_ms(c, 50);
        raft_cluster_settle(c);
    }
    assert_int_equal(status_of(c, 1).commit, 1); /* One of the new half. */
    raft_cluster_free(c);
}

/* "In this case, the leader steps down (returns to follower state) once it has
 * committed the C_new log entry." Source: §6. */
static void removed_leader_steps_down_after_commit(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_config next = {.voters_count = 2, .voters = {2, 3}};

    (void)state;
    elect(c, 1);
    assert_int_equal(raft_cluster_propose_config(c, 1, &next), 0);
    raft_cluster_settle(c);
    assert_int_equal(status_of(c, 1).role, RAFT_FOLLOWER);
    assert_int_equal(status_of(c, 1).commit, 3);
    assert_int_not_equal(raft_cluster_leader(c), 1);
    raft_cluster_free(c);
}

/* "Servers disregard RequestVote RPCs when they believe a current leader exists
 * [...] if a server receives a RequestVote RPC within the minimum election timeout
 * of hearing from a current leader, it does not update its term or grant its vote."
 * Source: §6. */
static void disregards_votes_while_a_leader_is_heard(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_msg m = {
        .type = RAFT_MSG_VOTE, .from = 3, .to = 2, .term = 9, .last = {99, 9}};

    (void)state;
    elect(c, 1);
    drop_all(c);
    assert_int_equal(send_msg(c, &m), 0);
    assert_int_equal(status_of(c, 2).term, 1);
    assert_int_equal(c->queue_count, 0);
    c->now_ms += 150;
    assert_int_equal(send_msg(c, &m), 0);
    assert_int_equal(status_of(c, 2).vote, 3);
    raft_cluster_free(c);
}

/* ---- §7: snapshots ---- */

/* "If instead the follower receives a snapshot that describes a prefix of its log
 * (due to retransmission or by mistake), then log entries covered by the snapshot
 * are deleted but entries following the snapshot are still valid and must be
 * retained." Source: §7. */
static void retains_entries_that_follow_a_snapshot(void **state)
{
    struct raft_cluster *c = stopped_cluster_of(3);
    struct raft_msg m = {.type = RAFT_MSG_SNAPSHOT, .from = 1, .to = 2, .term = 2};

    (void)state;
    for (int i = 0; i < 4; i++) {
        disk_entry(c, 2, 1);
    }
    raft_cluster_start(c, 2);
    m.snapshot = (struct raft_snapshot){
        .id = 1,
        .last = {.pos = {2, 1}, .hash = hash_at(c, 2, 2)},
        .bytes = 1,
        .config = voters_upto(3),
        .config_index = 1,
    };
    m.chunk = (struct raft_chunk){
        .snapshot_id = 1, .len = 1, .done = true, .data = kv_bytes("x", 1)};
    assert_int_equal(send_msg(c, &m), 0);
    persist(c, 2);
    assert_int_equal(status_of(c, 2).base.pos.index, 2);
    assert_int_equal(status_of(c, 2).last.index, 4);
    raft_cluster_free(c);
}

/* ---- §8: clients ---- */

/* "A leader must have the latest information on which entries are committed. [...]
 * Raft handles this by having each leader commit a blank no-op entry into the log at
 * the start of its term." Source: §8. */
static void commits_an_entry_at_the_start_of_its_term(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    const struct raft_entry *e;

    (void)state;
    elect(c, 1);
    elect(c, 2);
    e = raft_disk_log_get(&c->nodes[2].view, 2);
    assert_int_equal(e->type, RAFT_ENTRY_NOOP);
    assert_int_equal(e->payload.len, 0);
    assert_int_equal(e->pos.term, c->nodes[2].term);
    assert_true(status_of(c, 2).can_read);
    raft_cluster_free(c);
}

/* "A leader must check whether it has been deposed before processing a read-only
 * request. Raft handles this by having the leader exchange heartbeat messages with a
 * majority of the cluster before responding to read-only requests." Source: §8. */
static void asks_a_majority_before_it_answers_a_read(void **state)
{
    struct raft_cluster *c = cluster_of(3);

    (void)state;
    elect(c, 1);
    assert_int_equal(raft_cluster_propose(c, 1, 1), 0);
    raft_cluster_settle(c);
    assert_int_equal(raft_cluster_read(c, 1), 0);
    assert_false(c->reads[0].done);
    deliver(c, 1, 3);
    deliver(c, 3, 1);
    assert_true(c->reads[0].done && c->reads[0].ok);
    assert_int_equal(c->reads[0].index, 2);
    raft_cluster_free(c);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elects_at_most_one_leader_per_term),
        cmocka_unit_test(leader_only_appends),
        cmocka_unit_test(equal_positions_mean_equal_logs),
        cmocka_unit_test(later_leaders_have_every_committed_entry),
        cmocka_unit_test(never_applies_another_entry_at_an_index),
        cmocka_unit_test(answers_only_from_stable_storage),
        cmocka_unit_test(term_and_vote_survive_a_restart),
        cmocka_unit_test(leader_reverts_to_follower_when_out_of_date),
        cmocka_unit_test(rejects_requests_with_a_stale_term),
        cmocka_unit_test(votes_for_the_first_candidate_only),
        cmocka_unit_test(wins_with_a_majority_only),
        cmocka_unit_test(candidate_recognizes_a_leader_of_its_term),
        cmocka_unit_test(draws_a_new_timeout_for_each_election),
        cmocka_unit_test(refuses_entries_without_their_predecessor),
        cmocka_unit_test(follower_drops_what_contradicts_the_leader),
        cmocka_unit_test(commits_no_further_than_the_last_new_entry),
        cmocka_unit_test(compares_logs_by_term_then_length),
        cmocka_unit_test(commits_older_terms_only_indirectly),
        cmocka_unit_test(uses_the_newest_configuration_in_the_log),
        cmocka_unit_test(joint_agreement_needs_both_majorities),
        cmocka_unit_test(removed_leader_steps_down_after_commit),
        cmocka_unit_test(disregards_votes_while_a_leader_is_heard),
        cmocka_unit_test(retains_entries_that_follow_a_snapshot),
        cmocka_unit_test(commits_an_entry_at_the_start_of_its_term),
        cmocka_unit_test(asks_a_majority_before_it_answers_a_read),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("raft/paper", tests, NULL, NULL);
}
