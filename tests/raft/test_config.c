/* tests/raft/test_config.c - history, joint steps and refusals of configurations. */
#include "tests/raft/raft_test.h"

/* A cluster of three and two that wait to be told; 1 leads. */
static struct raft_cluster *cluster_with_spares(void)
{
    struct raft_cluster *c = raft_cluster_new(1);
    struct raft_config config = voters_upto(3);
    const struct raft_config none = {0};

    for (raft_id id = 1; id <= 5; id++) {
        (void)raft_cluster_make(c, id, id <= 3 ? &config : &none);
        raft_cluster_start(c, id);
    }
    elect(c, 1);
    return c;
}

static const struct raft_config *config_of(const struct raft_cluster *c, raft_id id)
{
    return raft_config_get(c->nodes[id].raft, NULL);
}

static void the_first_entry_is_the_initial_configuration(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    const struct raft_entry *e;
    struct raft_config config;

    (void)state;
    elect(c, 2);
    e = raft_disk_log_get(&c->nodes[1].view, 1);
    assert_int_equal(e->type, RAFT_ENTRY_CONFIG);
    assert_int_equal(raft_config_decode(e->payload, &config), 0);
    assert_int_equal(config.voters_count, 3);
    raft_cluster_free(c);
}

static void voters_change_in_two_entries(void **state)
{
    struct raft_cluster *c = cluster_with_spares();
    struct raft_config five = voters_upto(5);

    (void)state;
    assert_int_equal(raft_cluster_propose_config(c, 1, &five), 0);
    assert_int_equal(config_of(c, 1)->voters_count, 5);
    assert_int_equal(config_of(c, 1)->voters_old_count, 3);
    raft_cluster_settle(c);
    assert_int_equal(config_of(c, 1)->voters_old_count, 0);
    assert_int_equal(status_of(c, 1).last.index, 3);
    assert_int_equal(status_of(c, 5).commit, 3);
    assert_int_equal(config_of(c, 5)->voters_count, 5);
    raft_cluster_free(c);
}

static void learners_change_in_one_entry(void **state)
{
    struct raft_cluster *c = cluster_with_spares();
    struct raft_config config = voters_upto(3);

    (void)state;
    config.learners_count = 2;
    config.learners[0] = 4;
    config.learners[1] = 5;
    assert_int_equal(raft_cluster_propose_config(c, 1, &config), 0);
    assert_int_equal(config_of(c, 1)->voters_old_count, 0);
    raft_cluster_settle(c);
    assert_int_equal(status_of(c, 4).last.index, 2);
    raft_cluster_free(c);
}

/* The same W, once as a number and once as "the majority", is no change of quorums. */
static void spelled_out_majority_is_the_same_w(void **state)
{
    struct raft_cluster *c = cluster_with_spares();
    struct raft_config config = voters_upto(3);

    (void)state;
    config.w = 2;
    assert_int_equal(raft_cluster_propose_config(c, 1, &config), 0);
    assert_int_equal(config_of(c, 1)->voters_old_count, 0);
    raft_cluster_settle(c);
    config.w = 3;
    assert_int_equal(raft_cluster_propose_config(c, 1, &config), 0);
    assert_int_equal(config_of(c, 1)->voters_old_count, 3);
    assert_int_equal(config_of(c, 1)->w_old, 2);
    raft_cluster_free(c);
}

/* A voter that becomes a learner still votes in the old half. */
static void a_demoted_voter_counts_until_the_end(void **state)
{
    struct raft_cluster *c = cluster_with_spares();
    struct raft_config config = voters_upto(2);

    (void)state;
    config.learners_count = 1;
    config.learners[0] = 3;
    assert_int_equal(raft_cluster_propose_config(c, 1, &config), 0);
    assert_true(raft_quorum_votes(config_of(c, 1), 3));
    raft_cluster_settle(c);
    assert_false(raft_quorum_votes(config_of(c, 1), 3));
    assert_true(raft_quorum_member(config_of(c, 1), 3));
    raft_cluster_free(c);
}

static void refuses_more_replicas_than_fit(void **state)
{
    struct raft_cluster *c = cluster_with_spares();
    struct raft_config config = {.voters_count = 14};

    (void)state;
    for (uint32_t i = 0; i < 14; i++) {
        config.voters[i] = 10 + i; /* 14 new ones and 3 old ones. */
    }
    assert_int_equal(raft_cluster_propose_config(c, 1, &config), KV_EINVAL);
    raft_cluster_free(c);
}

/* B09, B07: and the leader's own next entry of the change is not "another one". */
static void one_change_at_a_time(void **state)
{
    struct raft_cluster *c = cluster_with_spares();
    struct raft_config config = voters_upto(4);

    (void)state;
    assert_int_equal(raft_cluster_propose_config(c, 1, &config), 0);
    assert_int_equal(raft_cluster_propose_config(c, 1, &config), KV_EBUSY);
    assert_int_equal(raft_cluster_propose(c, 1, 1), 0); /* Commands go on. */
    raft_cluster_settle(c);
    config = voters_upto(5);
    assert_int_equal(raft_cluster_propose_config(c, 1, &config), 0);
    raft_cluster_settle(c);
    assert_int_equal(config_of(c, 5)->voters_count, 5);
    raft_cluster_free(c);
}

/* B12: the joint entry is left once, not once per commit. */
static void the_joint_configuration_is_left_once(void **state)
{
    struct raft_cluster *c = cluster_with_spares();
    struct raft_config config = voters_upto(5);
    uint32_t configs = 0;

    (void)state;
    assert_int_equal(raft_cluster_propose_config(c, 1, &config), 0);
    for (int i = 0; i < 5; i++) {
        (void)raft_cluster_propose(c, 1, 2);
    }
    raft_cluster_settle(c);
    for (raft_index i = 1; i <= c->nodes[1].view.last; i++) {
        configs += raft_disk_log_get(&c->nodes[1].view, i)->type == RAFT_ENTRY_CONFIG;
    }
    assert_int_equal(configs, 3);
    raft_cluster_free(c);
}

/* B11, B12: over a restart in the middle of a change. */
static void a_joint_configuration_survives_a_restart(void **state)
{
    struct raft_cluster *c = cluster_with_spares();
    struct raft_config config = {.voters_count = 3, .voters = {2, 4, 5}};

    (void)state;
    c->blocked[1][4] = c->blocked[1][5] = true;
    assert_int_equal(raft_cluster_propose_config(c, 1, &config), 0);
    raft_cluster_settle(c);
    for (raft_id id = 1; id <= 3; id++) {
        raft_cluster_crash(c, id, 0);
        raft_cluster_start(c, id);
        assert_int_equal(config_of(c, id)->voters_old_count, 3);
    }
    memset(c->blocked, 0, sizeof c->blocked);
    drop_all(c);
    elect(c, 2);
    assert_int_equal(config_of(c, 2)->voters_old_count, 0);
    assert_int_equal(config_of(c, 4)->voters_count, 3);
    raft_cluster_free(c);
}

/* Two in a row may not both be uncommitted: a message that says otherwise lies. */
static void a_committed_configuration_is_not_rolled_back(void **state)
{
    struct raft_cluster *c = stopped_cluster_of(3);
    struct raft_entry entries[3];
    uint8_t payloads[3][RAFT_CONFIG_BYTES_MAX];
    struct raft_msg m = {.type = RAFT_MSG_APPEND,
                         .from = 2,
                         .to = 1,
                         .term = 3,
                         .entries_count = 3,
                         .entries = entries};
    uint64_t hash = 0;

    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        struct raft_config config = voters_upto(i + 1);

        entries[i] = (struct raft_entry){.pos = {i + 1, 3}, .type = RAFT_ENTRY_CONFIG};
        entries[i].payload =
            kv_bytes(payloads[i], raft_config_encode(&config, payloads[i]));
        entries[i].hash = hash = raft_entry_hash(hash, &entries[i]);
    }
    raft_cluster_start(c, 1);
    assert_int_equal(send_msg(c, &m), 0);
    persist(c, 1);
    /* The third implies that the second is committed. */
    m.term = 5;
    m.prev = (struct raft_pos){1, 3};
    m.prev_hash = entries[0].hash;
    m.entries_count = 1;
    entries[1].pos.term = 5;
    entries[1].hash = raft_entry_hash(m.prev_hash, &entries[1]);
    m.entries = &entries[1];
    assert_int_equal(send_msg(c, &m), KV_ECORRUPT);
    raft_cluster_free(c);
}

static void update_says_when_the_configuration_changes(void **state)
{
    struct raft_cluster *c = cluster_with_spares();
    struct raft_config config = voters_upto(4);
    struct raft_event ev = {.kind = RAFT_EV_PROPOSE_CONFIG, .u.config = &config};
    struct raft_update up;

    (void)state;
    ev.now_ms = raft_cluster_now_ms(c, 1);
    assert_int_equal(raft_step(c->nodes[1].raft, &ev, &up), 0);
    assert_true(up.config_changed);
    ev.kind = RAFT_EV_TICK;
    assert_int_equal(raft_step(c->nodes[1].raft, &ev, &up), 0);
    assert_false(up.config_changed);
    raft_cluster_free(c);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_entry_is_the_initial_configuration),
        cmocka_unit_test(voters_change_in_two_entries),
        cmocka_unit_test(learners_change_in_one_entry),
        cmocka_unit_test(spelled_out_majority_is_the_same_w),
        cmocka_unit_test(a_demoted_voter_counts_until_the_end),
        cmocka_unit_test(refuses_more_replicas_than_fit),
        cmocka_unit_test(one_change_at_a_time),
        cmocka_unit_test(the_joint_configuration_is_left_once),
        cmocka_unit_test(a_joint_configuration_survives_a_restart),
        cmocka_unit_test(a_committed_configuration_is_not_rolled_back),
        cmocka_unit_test(update_says_when_the_configuration_changes),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("raft/config", tests, NULL, NULL);
}
