/* tests/sim/test_judge.c - each invariant is violated once on purpose, and seen. */
#include "tests/sim/judge_scene.h"

/* ---- 1 ---- */

static void sees_two_leaders_of_a_term_even_at_different_times(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    c->view[1].st.role = RAFT_FOLLOWER;
    step(c, 1, NULL);
    put(c, N2, 3, 2, 103);
    c->view[2].st.term = 2;
    c->view[2].st.role = RAFT_LEADER;
    step(c, 2, NULL);
    end(c, JUDGE_ELECTION);
}

static void sees_a_leader_without_a_majority_of_votes(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    durable_vote(c, 2, 3, 2);
    c->view[2].st.role = RAFT_LEADER;
    step(c, 2, NULL);
    end(c, JUDGE_ELECTION);
}

static void sees_a_leader_without_a_majority_of_the_old_half(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    c->config = (struct raft_config){.voters_count = 1,
                                     .voters = {2},
                                     .voters_old_count = 3,
                                     .voters_old = {1, 2, 3}};
    durable_vote(c, 2, 3, 2);
    c->view[2].st.role = RAFT_LEADER;
    step(c, 2, NULL);
    end(c, JUDGE_ELECTION);
}

/* ---- 2 ---- */

static void sees_a_leader_that_cuts_its_log(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    put(c, N1, 3, 2, 103);
    step(c, 1, NULL);
    c->log[1][3] = (struct raft_meta){.hash = 0};
    c->view[1].st.last = (struct raft_pos){2, 2};
    c->view[1].st.last_hash = 102;
    step(c, 1, NULL);
    end(c, JUDGE_APPEND_ONLY);
}

static void sees_a_leader_that_overwrites_an_entry(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    put(c, N1, 3, 2, 103);
    step(c, 1, NULL);
    c->log[1][3].hash = 999;
    put(c, N1, 4, 2, 104);
    step(c, 1, NULL);
    end(c, JUDGE_APPEND_ONLY);
}

/* ---- 3 ---- */

static void sees_equal_positions_with_different_logs(void **ctx)
{
    struct scene *c = begin();
    struct raft_entry e = {.pos = {2, 2}, .hash = 777};
    struct raft_update up = {.entries = &e, .entries_count = 1};

    (void)ctx;
    put(c, N3, 2, 2, 777);
    c->view[3].st.term = 2;
    step(c, 3, &up);
    end(c, JUDGE_LOG_MATCHING);
}

/* ---- 4 ---- */

static void sees_a_leader_that_lacks_a_committed_entry(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    put(c, N3, 1, 2, 101);
    elect(c, 3, 2, 3);
    end(c, JUDGE_COMPLETENESS);
}

static void lets_a_late_winner_lack_what_a_newer_term_committed(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    put(c, N3, 1, 2, 101);
    put(c, N3, 2, 2, 102);
    durable_vote(c, 3, 3, 3);
    c->view[3].st.role = RAFT_CANDIDATE;
    send(c, 3, (struct raft_msg){.type = RAFT_MSG_VOTE, .to = 2, .term = 3});
    durable_vote(c, 2, 3, 3);
    send(c, 2,
         (struct raft_msg){
             .type = RAFT_MSG_VOTE_REPLY, .to = 3, .term = 3, .granted = true});
    c->view[1].st.role = RAFT_FOLLOWER;
    step(c, 1, NULL);
    elect(c, 1, 2, 4);
    put(c, N1 | N2, 3, 4, 103);
    step(c, 1, NULL);
    commit(c, 1, 3);

    c->view[3].st.role = RAFT_LEADER;
    c->view[3].st.leader = 3;
    step(c, 3, NULL);
    end(c, JUDGE_NOTHING);
}

/* ---- 5 ---- */

static void sees_another_entry_committed(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    put(c, N2, 1, 2, 101);
    put(c, N2, 2, 1, 666);
    c->view[2].st.commit = 2;
    step(c, 2, NULL);
    end(c, JUDGE_STATE_MACHINE);
}

static void sees_another_state_at_an_index(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    for (uint32_t i = 1; i <= 2; i++) {
        c->view[i].st.commit = 2;
        c->view[i].applied = (struct raft_base){.pos = {2, 2}, .hash = 102};
        c->view[i].state_hash = 5000 + i;
        step(c, i, NULL);
    }
    end(c, JUDGE_STATE_MACHINE);
}

static void compares_no_state_that_broke_in_the_middle_of_an_entry(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    for (uint32_t i = 1; i <= 2; i++) {
        c->view[i].st.commit = 2;
        c->view[i].applied = (struct raft_base){.pos = {2, 2}, .hash = 102};
        c->view[i].state_hash = 5000 + i;
        c->view[i].state_is_broken = i == 2;
        step(c, i, NULL);
    }
    end(c, JUDGE_NOTHING);
}

static void sees_an_entry_applied_before_it_is_committed(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    put(c, N1, 3, 2, 103);
    c->view[1].applied = (struct raft_base){.pos = {3, 2}, .hash = 103};
    step(c, 1, NULL);
    end(c, JUDGE_STATE_MACHINE);
}

/* ---- 6 ---- */

static void sees_a_commit_index_that_goes_back(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    commit(c, 1, 1);
    end(c, JUDGE_ORDER);
}

static void sees_a_durable_commit_index_forgotten_by_a_restart(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    c->head[1].commit_hint = 2;
    c->head[1].last.pos = (struct raft_pos){2, 2};
    judge_start(&c->judge, 1, G, 2);
    c->view[1].life = 2;
    c->view[1].st.role = RAFT_FOLLOWER;
    commit(c, 1, 1);
    end(c, JUDGE_ORDER);
}

static void sees_more_applied_than_committed(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    c->view[1].st.applied = 3;
    step(c, 1, NULL);
    end(c, JUDGE_ORDER);
}

static void sees_a_log_compacted_beyond_its_checkpoint(void **ctx)
{
    struct scene *c = begin();
    struct raft_event ev = {.kind = RAFT_EV_COMPACTED};

    (void)ctx;
    ev.u.base.pos = (struct raft_pos){2, 2};
    c->checkpoint[1] = 1;
    step_event(c, 1, &ev, NULL);
    end(c, JUDGE_ORDER);
}

/* ---- 7 ---- */

static void sees_a_term_that_goes_back(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    c->view[2].st.term = 1;
    step(c, 2, NULL);
    end(c, JUDGE_TERM_VOTE);
}

static void sees_a_vote_that_changes(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    durable_vote(c, 2, 2, 3);
    step(c, 2, NULL);
    end(c, JUDGE_TERM_VOTE);
}

static void sees_a_vote_that_changes_over_a_restart(void **ctx)
{
    struct scene *c = begin();
    struct raft_event ev = {.kind = RAFT_EV_PERSISTED};

    (void)ctx;
    ev.u.persisted = (struct raft_persisted){.term = 2, .vote = 1};
    step_event(c, 2, &ev, NULL);
    durable_vote(c, 2, 2, 3);
    judge_start(&c->judge, 2, G, 2);
    end(c, JUDGE_TERM_VOTE);
}

static void sees_two_votes_given_in_a_term(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    c->view[2].life = 2; /* Not even of the same process. */
    durable_vote(c, 2, 2, 3);
    send(c, 2,
         (struct raft_msg){
             .type = RAFT_MSG_VOTE_REPLY, .to = 3, .term = 2, .granted = true});
    end(c, JUDGE_TERM_VOTE);
}

/* ---- 8 ---- */

static void sees_a_vote_that_is_not_durable(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    c->view[3].st.term = 2;
    c->view[3].st.vote = 1;
    c->head[3].term = 2; /* The vote is not there yet. */
    send(c, 3,
         (struct raft_msg){
             .type = RAFT_MSG_VOTE_REPLY, .to = 1, .term = 2, .granted = true});
    end(c, JUDGE_DURABLE);
}

static void sees_a_term_spoken_of_before_it_is_durable(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    c->view[3].st.term = 9;
    send(c, 3, (struct raft_msg){.type = RAFT_MSG_VOTE_REPLY, .to = 1, .term = 9});
    end(c, JUDGE_DURABLE);
}

static void sees_an_ack_of_what_is_not_on_disk(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    send(c, 2,
         (struct raft_msg){.type = RAFT_MSG_APPEND_REPLY,
                           .to = 1,
                           .term = 2,
                           .match = 3,
                           .hash = 103});
    end(c, JUDGE_DURABLE);
}

static void sees_an_ack_of_another_entry_than_on_disk(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    send(c, 2,
         (struct raft_msg){.type = RAFT_MSG_APPEND_REPLY,
                           .to = 1,
                           .term = 2,
                           .match = 2,
                           .hash = 103});
    end(c, JUDGE_DURABLE);
}

static void sees_a_commit_without_its_write_quorum(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    put(c, N1, 3, 2, 103); /* On one disk of three. */
    step(c, 1, NULL);
    commit(c, 1, 3);
    end(c, JUDGE_DURABLE);
}

static void sees_a_commit_without_w_disks(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    c->config.w = 3;
    put(c, N1 | N2, 3, 2, 103); /* A majority, but W is 3. */
    step(c, 1, NULL);
    commit(c, 1, 3);
    end(c, JUDGE_DURABLE);
}

static void sees_a_follower_that_commits_by_itself(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    put(c, N2, 3, 2, 103);
    commit(c, 2, 3);
    end(c, JUDGE_DURABLE);
}

static void sees_a_job_that_was_called_durable_too_early(void **ctx)
{
    struct scene *c = begin();
    struct raft_event ev = {.kind = RAFT_EV_PERSISTED};

    (void)ctx;
    ev.u.persisted = (struct raft_persisted){.term = 7, .vote = 0};
    c->view[3].st.term = 7;
    step_event(c, 3, &ev, NULL);
    end(c, JUDGE_DURABLE);
}

/* ---- 9 ---- */

static void sees_a_committed_entry_vanish_from_a_quorum(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    step(c, 2, NULL);
    c->disk[2][2] = (struct raft_meta){.hash = 0}; /* Now only node 1 has it. */
    judge_crash(&c->judge, 2);
    end(c, JUDGE_QUORUMS);
}

static void counts_a_node_without_its_disk_out_of_all_quorums(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    step(c, 2, NULL);
    c->disk[2][2] = (struct raft_meta){.hash = 0};
    c->lost[2] = true;
    judge_crash(&c->judge, 2);
    end(c, JUDGE_NOTHING);
}

static void sees_a_joint_quorum_that_lacks_a_committed_entry(void **ctx)
{
    struct scene *c = begin();
    struct raft_config next = {.voters_count = 1, .voters = {3}};

    (void)ctx;
    /* Node 3 alone decides from now on, and has nothing. */
    put(c, N1, 3, 2, 103);
    c->view[1].config = &next;
    c->view[1].config_index = 3;
    step(c, 1, NULL);
    assert_true(c->judge.violated == JUDGE_CONFIG ||
                c->judge.violated == JUDGE_QUORUMS);
    end(c, JUDGE_QUORUMS);
}

/* ---- 10 ---- */

/* Node 1, the leader, goes by another configuration at index 3. */
static void adopt(struct scene *c, const struct raft_config *next, raft_index index)
{
    struct raft_entry e = {
        .pos = {index, 2}, .type = RAFT_ENTRY_CONFIG, .hash = 100 + index};
    struct raft_update up = {.entries = &e, .entries_count = 1};

    put(c, N1 | N2, index, 2, e.hash);
    c->view[1].config = next;
    c->view[1].config_index = index;
    step(c, 1, &up);
}

static void sees_a_second_change_before_the_first_is_committed(void **ctx)
{
    struct scene *c = begin();
    struct raft_config a = c->config, b = c->config;

    (void)ctx;
    a.learners_count = 1;
    a.learners[0] = 4;
    adopt(c, &a, 3);
    assert_int_equal(c->judge.violated, JUDGE_NOTHING);
    b.learners_count = 1;
    b.learners[0] = 5;
    adopt(c, &b, 4);
    end(c, JUDGE_CONFIG);
}

static void sees_voters_changed_without_a_joint_configuration(void **ctx)
{
    struct scene *c = begin();
    struct raft_config next = {.voters_count = 2, .voters = {1, 2}};

    (void)ctx;
    adopt(c, &next, 3);
    end(c, JUDGE_CONFIG);
}

static void sees_w_changed_without_a_joint_configuration(void **ctx)
{
    struct scene *c = begin();
    struct raft_config next = c->config;

    (void)ctx;
    next.w = 3;
    adopt(c, &next, 3);
    end(c, JUDGE_CONFIG);
}

static void lets_a_joint_change_pass(void **ctx)
{
    struct scene *c = begin();
    struct raft_config joint = {.voters_count = 2,
                                .voters = {1, 2},
                                .voters_old_count = 3,
                                .voters_old = {1, 2, 3}};
    struct raft_config next = {.voters_count = 2, .voters = {1, 2}};

    (void)ctx;
    adopt(c, &joint, 3);
    commit(c, 1, 3);
    adopt(c, &next, 4);
    end(c, JUDGE_NOTHING);
}

static void sees_a_configuration_kept_although_its_entry_was_replaced(void **ctx)
{
    struct scene *c = begin();
    struct raft_entry e = {.pos = {3, 3}, .type = RAFT_ENTRY_NOOP, .hash = 303};
    struct raft_update up = {.entries = &e, .entries_count = 1};
    struct raft_config a = c->config;

    (void)ctx;
    a.learners_count = 1;
    a.learners[0] = 4;
    adopt(c, &a, 3);
    c->view[1].st.role = RAFT_FOLLOWER;
    c->view[1].st.term = 3;
    c->view[1].st.vote = 0;
    put(c, N1, 3, 3, 303);
    step(c, 1, &up); /* It still says config_index 3. */
    end(c, JUDGE_CONFIG);
}

static void sees_another_configuration_than_the_entry_holds(void **ctx)
{
    struct scene *c = begin();
    struct raft_config a = c->config, b = c->config;

    (void)ctx;
    a.learners_count = 1;
    a.learners[0] = 4;
    adopt(c, &a, 3);
    b.learners_count = 1;
    b.learners[0] = 5;
    c->view[2].config = &b;
    c->view[2].config_index = 3;
    step(c, 2, NULL);
    end(c, JUDGE_CONFIG);
}

/* ---- 13 ---- */

static void sees_a_term_raised_by_time_alone(void **ctx)
{
    struct scene *c = begin();
    const struct raft_event tick = {.kind = RAFT_EV_TICK};

    (void)ctx;
    durable_vote(c, 3, 2, 0);
    step(c, 3, NULL);
    step_event(c, 3, &tick, NULL);
    assert_int_equal(c->judge.violated, JUDGE_NOTHING);
    durable_vote(c, 3, 3, 3);
    c->view[3].st.role = RAFT_CANDIDATE;
    step_event(c, 3, &tick, NULL);
    end(c, JUDGE_LIVENESS);
}

static void sees_a_leader_that_nobody_hears(void **ctx)
{
    struct scene *c = begin();
    struct raft_event tick = {.kind = RAFT_EV_TICK, .now_ms = 900};
    struct raft_status *st = &c->view[1].st;

    (void)ctx;
    st->id = 1;
    st->peers_count = 2;
    st->peers[0] = (struct raft_peer_status){.id = 2, .active_ms = 800};
    st->peers[1] = (struct raft_peer_status){.id = 3, .active_ms = 100};
    step_event(c, 1, &tick, NULL);
    tick.now_ms = 1799;
    step_event(c, 1, &tick, NULL);
    assert_int_equal(c->judge.violated, JUDGE_NOTHING);
    tick.now_ms = 1800;
    step_event(c, 1, &tick, NULL);
    end(c, JUDGE_LIVENESS);
}

/* ---- 14 ---- */

static void hear(struct scene *c, uint32_t node, struct raft_msg m)
{
    struct raft_event ev = {.kind = RAFT_EV_MESSAGE};

    ev.u.message = &m;
    step_event(c, node, &ev, NULL);
}

static void sees_a_message_that_nobody_sent_to_this_group(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    send(c, 1, (struct raft_msg){.type = RAFT_MSG_HEARTBEAT, .to = 2, .term = 2});
    hear(c, 2,
         (struct raft_msg){.type = RAFT_MSG_HEARTBEAT, .from = 1, .to = 2, .term = 2});
    assert_int_equal(c->judge.violated, JUDGE_NOTHING);
    hear(c, 3,
         (struct raft_msg){.type = RAFT_MSG_HEARTBEAT, .from = 1, .to = 3, .term = 2});
    end(c, JUDGE_STRANGERS);
}

static void sees_a_message_for_another_replica(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    send(c, 1, (struct raft_msg){.type = RAFT_MSG_HEARTBEAT, .to = 2, .term = 2});
    hear(c, 3,
         (struct raft_msg){.type = RAFT_MSG_HEARTBEAT, .from = 1, .to = 2, .term = 2});
    end(c, JUDGE_STRANGERS);
}

static void sees_a_learner_that_campaigns(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    c->config = (struct raft_config){
        .voters_count = 2, .voters = {1, 2}, .learners_count = 1, .learners = {3}};
    durable_vote(c, 3, 3, 3);
    send(c, 3, (struct raft_msg){.type = RAFT_MSG_VOTE, .to = 1, .term = 3});
    end(c, JUDGE_STRANGERS);
}

/* ---- 16 ---- */

static void sees_a_bound_that_is_passed(void **ctx)
{
    struct scene *c = begin();
    struct judge_bound bound = {"requests that wait", 11, 10};

    (void)ctx;
    judge_bounds(&c->judge, 1, G, &bound, 1);
    end(c, JUDGE_BOUNDS);
}

static void sees_a_term_out_of_all_bounds(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    durable_vote(c, 2, (raft_term)1 << 40, 2);
    c->view[2].st.role = RAFT_LEADER;
    step(c, 2, NULL);
    end(c, JUDGE_BOUNDS);
}

static void keeps_the_first_violation(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    commit(c, 1, 1);
    judge_reply(&c->judge, G, 1, 2);
    assert_string_equal(judge_name(c->judge.violated), "order of indexes");
    end(c, JUDGE_ORDER);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sees_two_leaders_of_a_term_even_at_different_times),
        cmocka_unit_test(sees_a_leader_without_a_majority_of_votes),
        cmocka_unit_test(sees_a_leader_without_a_majority_of_the_old_half),
        cmocka_unit_test(sees_a_leader_that_cuts_its_log),
        cmocka_unit_test(sees_a_leader_that_overwrites_an_entry),
        cmocka_unit_test(sees_equal_positions_with_different_logs),
        cmocka_unit_test(sees_a_leader_that_lacks_a_committed_entry),
        cmocka_unit_test(sees_a_term_raised_by_time_alone),
        cmocka_unit_test(sees_a_leader_that_nobody_hears),
        cmocka_unit_test(lets_a_late_winner_lack_what_a_newer_term_committed),
        cmocka_unit_test(sees_another_entry_committed),
        cmocka_unit_test(sees_another_state_at_an_index),
        cmocka_unit_test(compares_no_state_that_broke_in_the_middle_of_an_entry),
        cmocka_unit_test(sees_an_entry_applied_before_it_is_committed),
        cmocka_unit_test(sees_a_commit_index_that_goes_back),
        cmocka_unit_test(sees_a_durable_commit_index_forgotten_by_a_restart),
        cmocka_unit_test(sees_more_applied_than_committed),
        cmocka_unit_test(sees_a_log_compacted_beyond_its_checkpoint),
        cmocka_unit_test(sees_a_term_that_goes_back),
        cmocka_unit_test(sees_a_vote_that_changes),
        cmocka_unit_test(sees_a_vote_that_changes_over_a_restart),
        cmocka_unit_test(sees_two_votes_given_in_a_term),
        cmocka_unit_test(sees_a_vote_that_is_not_durable),
        cmocka_unit_test(sees_a_term_spoken_of_before_it_is_durable),
        cmocka_unit_test(sees_an_ack_of_what_is_not_on_disk),
        cmocka_unit_test(sees_an_ack_of_another_entry_than_on_disk),
        cmocka_unit_test(sees_a_commit_without_its_write_quorum),
        cmocka_unit_test(sees_a_commit_without_w_disks),
        cmocka_unit_test(sees_a_follower_that_commits_by_itself),
        cmocka_unit_test(sees_a_job_that_was_called_durable_too_early),
        cmocka_unit_test(sees_a_committed_entry_vanish_from_a_quorum),
        cmocka_unit_test(counts_a_node_without_its_disk_out_of_all_quorums),
        cmocka_unit_test(sees_a_joint_quorum_that_lacks_a_committed_entry),
        cmocka_unit_test(sees_a_second_change_before_the_first_is_committed),
        cmocka_unit_test(sees_voters_changed_without_a_joint_configuration),
        cmocka_unit_test(sees_w_changed_without_a_joint_configuration),
        cmocka_unit_test(lets_a_joint_change_pass),
        cmocka_unit_test(sees_a_configuration_kept_although_its_entry_was_replaced),
        cmocka_unit_test(sees_another_configuration_than_the_entry_holds),
        cmocka_unit_test(sees_a_message_that_nobody_sent_to_this_group),
        cmocka_unit_test(sees_a_message_for_another_replica),
        cmocka_unit_test(sees_a_learner_that_campaigns),
        cmocka_unit_test(sees_a_bound_that_is_passed),
        cmocka_unit_test(sees_a_term_out_of_all_bounds),
        cmocka_unit_test(keeps_the_first_violation),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("sim/judge", tests, NULL, NULL);
}
