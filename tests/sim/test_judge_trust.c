/* tests/sim/test_judge_trust.c - what a leader relies on: acks (8), rounds (11). */
#include "tests/sim/judge_scene.h"

/* ---- 8 ---- */

/* Node 1 hears node 2 and takes it to hold entry 2. */
static void counts_on(struct scene *c, raft_id peer)
{
    const struct raft_msg m = {
        .type = RAFT_MSG_APPEND_REPLY, .from = peer, .to = 1, .term = 2, .match = 2};
    const struct raft_event ev = {.kind = RAFT_EV_MESSAGE, .u.message = &m};

    c->judge.groups[G].sent_term[peer][1] = 2;
    c->judge.groups[G].sent_types[peer][1] = 1u << m.type;
    c->view[1].st.peers_count = 1;
    c->view[1].st.peers[0] = (struct raft_peer_status){.id = peer, .match = 2};
    step_event(c, 1, &ev, NULL);
}

static void lets_a_leader_count_on_what_is_there(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    counts_on(c, 2);
    end(c, JUDGE_NOTHING);
}

static void sees_a_leader_that_counts_on_a_peer_of_an_older_term(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    c->head[3].term = 1;
    counts_on(c, 3);
    end(c, JUDGE_DURABLE);
}

static void sees_a_leader_that_counts_on_an_entry_that_is_not_there(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    c->head[3].term = 2;
    counts_on(c, 3);
    end(c, JUDGE_DURABLE);
}

/* ---- 11 ---- */

static void ask(struct scene *c, uint32_t node, uint64_t tag)
{
    struct raft_event ev = {.kind = RAFT_EV_READ};

    ev.u.read_tag = tag;
    step_event(c, node, &ev, NULL);
}

static void answer(struct scene *c, uint32_t node, uint64_t tag, raft_index index)
{
    struct raft_read read = {.tag = tag, .index = index};
    struct raft_update up = {.reads = &read, .reads_count = 1};

    step(c, node, &up);
}

static void sees_a_read_before_what_was_committed(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    c->view[1].st.can_read = true;
    ask(c, 1, 1);
    answer(c, 1, 1, 2);
    assert_int_equal(c->judge.violated, JUDGE_NOTHING);
    ask(c, 1, 2);
    answer(c, 1, 2, 1);
    end(c, JUDGE_READ);
}

/* Nothing was committed in between, but a majority had gone. */
static void sees_a_read_of_a_leader_deposed_before_it_was_asked(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    c->view[1].st.can_read = true;
    elect(c, 2, 3, 3);
    ask(c, 1, 1);
    answer(c, 1, 1, 2);
    end(c, JUDGE_READ);
}

static void lets_a_read_be_answered_after_another_was_elected(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    c->view[1].st.can_read = true;
    ask(c, 1, 1);
    elect(c, 2, 3, 3); /* The round may have ended before. */
    answer(c, 1, 1, 2);
    end(c, JUDGE_NOTHING);
}

static void sees_an_answer_of_a_deposed_leader(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    assert_int_equal(judge_leader_term(&c->judge, G), 2);
    judge_reply_term(&c->judge, G, 2, 2);
    assert_int_equal(c->judge.violated, JUDGE_NOTHING);
    judge_reply_term(&c->judge, G, 2, 3);
    end(c, JUDGE_READ);
}

static void sees_an_answer_by_an_index_asked_for_too_early(void **ctx)
{
    struct scene *c = begin();
    uint64_t before = c->judge.checked;

    (void)ctx;
    c->view[1].st.can_read = true;
    ask(c, 1, 1);
    answer(c, 1, 1, 2);
    judge_reply_round(&c->judge, G, 1, before);
    assert_int_equal(c->judge.violated, JUDGE_NOTHING);
    judge_reply_round(&c->judge, G, 1, c->judge.checked);
    end(c, JUDGE_READ);
}

static void sees_a_read_of_a_leader_that_committed_nothing_in_its_term(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    ask(c, 1, 1);
    answer(c, 1, 1, 2);
    end(c, JUDGE_READ);
}

static void sees_an_answer_to_a_read_that_nobody_asked(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    c->view[1].st.can_read = true;
    answer(c, 1, 77, 2);
    end(c, JUDGE_READ);
}

static void sees_an_old_revision_in_a_reply(void **ctx)
{
    struct scene *c = begin();

    (void)ctx;
    judge_reply(&c->judge, G, 2, 2);
    assert_int_equal(c->judge.violated, JUDGE_NOTHING);
    judge_reply(&c->judge, G, 1, 2);
    end(c, JUDGE_READ);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sees_a_read_before_what_was_committed),
        cmocka_unit_test(sees_a_read_of_a_leader_deposed_before_it_was_asked),
        cmocka_unit_test(lets_a_read_be_answered_after_another_was_elected),
        cmocka_unit_test(sees_an_answer_of_a_deposed_leader),
        cmocka_unit_test(sees_an_answer_by_an_index_asked_for_too_early),
        cmocka_unit_test(sees_a_read_of_a_leader_that_committed_nothing_in_its_term),
        cmocka_unit_test(sees_an_answer_to_a_read_that_nobody_asked),
        cmocka_unit_test(sees_an_old_revision_in_a_reply),
        cmocka_unit_test(lets_a_leader_count_on_what_is_there),
        cmocka_unit_test(sees_a_leader_that_counts_on_a_peer_of_an_older_term),
        cmocka_unit_test(sees_a_leader_that_counts_on_an_entry_that_is_not_there),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("sim/judge_trust", tests, NULL, NULL);
}
