/* tests/raft/test_raft.c - options, restoring, and the contract of raft_step(). */
#include "tests/raft/raft_test.h"

/* ---- options and restoring ---- */

struct restore_case {
    struct raft_options o;
    struct raft_restore found;
    struct raft_disk disk;
    struct arena arena;
};

/* A replica with entries 1..5 of term 2, applied up to 2. */
static void setup(struct restore_case *f)
{
    uint64_t hash = 0;

    memset(f, 0, sizeof *f);
    arena_init(&f->arena, 4096, 0);
    raft_disk_init(&f->disk, &f->arena);
    raft_options_init(&f->o, 1, 7);
    f->o.window = 16;
    for (raft_index i = 1; i <= 5; i++) {
        struct raft_entry e = {.pos = {i, 2}, .type = RAFT_ENTRY_COMMAND, .time_ms = i};

        e.hash = hash = raft_entry_hash(hash, &e);
        raft_disk_log_put(&f->disk.log, &f->arena, &e, 1);
    }
    f->found = (struct raft_restore){
        .term = 3, .vote = 2, .last = 5, .applied = 2, .config = voters_upto(3)};
}

static int init(struct restore_case *f, struct raft **out)
{
    struct raft_log_reader reader = raft_disk_reader(&f->disk);
    void *mem = arena_alloc(&f->arena, raft_bytes(&f->o) + 4096);

    assert_non_null(mem);
    return raft_init(mem, &f->o, &f->found, &reader, 1000, out);
}

static void restores_what_storage_found(void **state)
{
    struct restore_case f;
    struct raft *r;
    struct raft_status s;
    raft_index at;

    (void)state;
    setup(&f);
    f.found.commit_hint = 4;
    assert_int_equal(init(&f, &r), 0);
    raft_status_get(r, &s);
    assert_int_equal(s.role, RAFT_FOLLOWER);
    assert_int_equal(s.term, 3);
    assert_int_equal(s.vote, 2);
    assert_int_equal(s.last.index, 5);
    assert_int_equal(s.last.term, 2);
    assert_int_equal(s.last_durable, 5);
    assert_int_equal(s.commit, 4);
    assert_int_equal(s.applied, 2);
    assert_int_equal(s.last_hash, f.disk.log.items[4].hash);
    assert_int_equal(raft_config_get(r, &at)->voters_count, 3);
    assert_int_equal(at, 0);
    raft_check(r);
    arena_close(&f.arena);
}

/* B38, B39: never behind what is applied, never ahead of what is there. */
static void commit_starts_between_applied_and_last(void **state)
{
    static const raft_index hints[][2] = {{0, 2}, {1, 2}, {3, 3}, {5, 5}, {99, 5}};

    (void)state;
    for (size_t i = 0; i < KV_ARRAY_COUNT(hints); i++) {
        struct restore_case f;
        struct raft *r;
        struct raft_status s;

        setup(&f);
        f.found.commit_hint = hints[i][0];
        assert_int_equal(init(&f, &r), 0);
        raft_status_get(r, &s);
        assert_int_equal(s.commit, hints[i][1]);
        arena_close(&f.arena);
    }
}

static void refuses_what_contradicts_itself(void **state)
{
    (void)state;
    for (int i = 0; i < 9; i++) {
        struct restore_case f;
        struct raft *r = NULL;
        int expected = KV_ECORRUPT;

        setup(&f);
        switch (i) {
        case 0:
            f.found.applied = 6; /* Ahead of the log. */
            break;
        case 1:
            f.found.last = 7; /* Not there. */
            break;
        case 2:
            f.found.base.pos = (struct raft_pos){3, 1}; /* Ahead of applied. */
            break;
        case 3:
            f.found.term = 1; /* Older than the log. */
            break;
        case 4:
            f.found.config.voters[0] = 9; /* Not ascending. */
            break;
        case 5:
            f.found.config_index = 3; /* Not in force at applied. */
            break;
        case 6:
            f.found.base.pos.term = 1; /* A term at index 0. */
            break;
        case 7:
            f.disk.log.items[3].type = 9; /* From the future. */
            expected = KV_EFORMAT;
            break;
        default:
            f.disk.log.items[3].type = RAFT_ENTRY_CONFIG; /* Without one inside. */
            break;
        }
        assert_int_equal(init(&f, &r), expected);
        assert_null(r);
        arena_close(&f.arena);
    }
}

static void refuses_options_that_contradict_each_other(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        struct restore_case f;
        struct raft_options *o = &f.o;
        struct raft *r = NULL;

        setup(&f);
        switch (i) {
        case 0:
            o->id = 0;
            break;
        case 1:
            o->window = 24; /* No power of two. */
            break;
        case 2:
            o->window = 8; /* Too small. */
            break;
        case 3:
            o->heartbeat_ms = 0;
            break;
        case 4:
            o->election_timeout_ms = o->heartbeat_ms;
            break;
        case 5:
            o->flight_messages_max = 0;
            break;
        case 6:
            o->append_entries_max = RAFT_ENTRIES_MAX + 1;
            break;
        case 7:
            o->append_bytes_max = 0;
            break;
        case 8:
            o->snapshot_chunk_bytes = 0;
            break;
        default:
            o->snapshot_flight_max = 0;
            break;
        }
        assert_int_equal(init(&f, &r), KV_EINVAL);
        arena_close(&f.arena);
    }
}

/* Everything the core uses lies in the bytes it asked for. */
static void stays_within_its_memory(void **state)
{
    struct restore_case f;
    struct raft_log_reader reader;
    struct raft_event ev = {.kind = RAFT_EV_TICK, .now_ms = 5000};
    struct raft_update up;
    struct raft *r;
    uint8_t *mem;
    size_t bytes;

    (void)state;
    setup(&f);
    f.found.config = voters_upto(1);
    bytes = raft_bytes(&f.o);
    mem = arena_alloc(&f.arena, bytes + 64);
    assert_non_null(mem);
    memset(mem, 0xee, bytes + 64);
    reader = raft_disk_reader(&f.disk);
    assert_int_equal(raft_init(mem, &f.o, &f.found, &reader, 1000, &r), 0);
    assert_int_equal(raft_step(r, &ev, &up), 0);
    ev.kind = RAFT_EV_PERSISTED;
    ev.u.persisted = (struct raft_persisted){.term = up.term, .vote = up.vote};
    assert_int_equal(raft_step(r, &ev, &up), 0);
    assert_int_equal(up.role, RAFT_LEADER);
    for (size_t i = 0; i < 64; i++) {
        assert_int_equal(mem[bytes + i], 0xee);
    }
    arena_close(&f.arena);
}

/* An impaired replica starts although an entry cannot be read. */
static int damaged_meta(void *ctx, raft_index index, struct raft_meta *out)
{
    struct raft_log_reader plain = raft_disk_reader(ctx);

    return index == 4 ? KV_EDAMAGED : plain.meta(ctx, index, out);
}

static void starts_impaired_over_a_damaged_entry(void **state)
{
    struct restore_case f;
    struct raft_log_reader reader;
    struct raft_event ev = {.kind = RAFT_EV_TICK, .now_ms = 9000};
    struct raft_update up;
    struct raft *r;
    void *mem;

    (void)state;
    setup(&f);
    mem = arena_alloc(&f.arena, raft_bytes(&f.o));
    reader = raft_disk_reader(&f.disk);
    reader.meta = damaged_meta;
    assert_int_equal(raft_init(mem, &f.o, &f.found, &reader, 1000, &r), KV_EDAMAGED);
    f.found.impaired = true;
    assert_int_equal(raft_init(mem, &f.o, &f.found, &reader, 1000, &r), 0);
    assert_int_equal(raft_step(r, &ev, &up), 0);
    assert_int_equal(up.role, RAFT_FOLLOWER); /* Does not campaign. */
    ev.kind = RAFT_EV_IMPAIRED;
    ev.u.impaired = false;
    assert_int_equal(raft_step(r, &ev, &up), KV_EDAMAGED); /* It still is. */
    arena_close(&f.arena);
}

/* ---- the contract of a step ---- */

static void leader_only_events_are_refused_elsewhere(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_config two = voters_upto(2);

    (void)state;
    elect(c, 1);
    assert_int_equal(raft_cluster_propose(c, 2, 1), KV_ENOTLEADER);
    assert_int_equal(raft_cluster_read(c, 2), KV_ENOTLEADER);
    assert_int_equal(raft_cluster_transfer(c, 2, 3), KV_ENOTLEADER);
    assert_int_equal(raft_cluster_propose_config(c, 2, &two), KV_ENOTLEADER);
    raft_cluster_free(c);
}

/* After an error the update repeats the standing facts: nothing to do. */
static void an_error_leaves_a_valid_update(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_event ev = {.kind = RAFT_EV_READ, .u.read_tag = 1};
    struct raft_update up;

    (void)state;
    elect(c, 1);
    ev.now_ms = raft_cluster_now_ms(c, 2);
    memset(&up, 0xee, sizeof up);
    assert_int_equal(raft_step(c->nodes[2].raft, &ev, &up), KV_ENOTLEADER);
    assert_int_equal(up.term, 1);
    assert_int_equal(up.leader, 1);
    assert_int_equal(up.commit, 1);
    assert_false(up.store_hard);
    assert_int_equal(up.entries_count, 0);
    assert_int_equal(up.messages_count, 0);
    assert_int_equal(up.reads_count, 0);
    assert_null(up.install);
    assert_null(up.chunk_store);
    raft_cluster_free(c);
}

/* A step says to store term and vote once, not again and again. */
static void hard_state_is_handed_out_once(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_event ev = {.kind = RAFT_EV_TICK};
    struct raft_update up;

    (void)state;
    (void)send_msg(
        c, &(struct raft_msg){.type = RAFT_MSG_VOTE, .from = 2, .to = 1, .term = 1});
    assert_int_equal(c->nodes[1].disk.jobs_count, 1);
    ev.now_ms = raft_cluster_now_ms(c, 1);
    assert_int_equal(raft_step(c->nodes[1].raft, &ev, &up), 0);
    assert_false(up.store_hard);
    assert_int_equal(up.term, 1);
    assert_int_equal(up.vote, 2);
    raft_cluster_free(c);
}

/* Payloads go out as the views that came in. */
static void proposals_are_not_copied(void **state)
{
    struct raft_cluster *c = cluster_of(1);
    static const char text[] = "value";
    struct raft_proposal item = {.payload = kv_bytes(text, 5)};
    struct raft_event ev = {.kind = RAFT_EV_PROPOSE};
    struct raft_update up;

    (void)state;
    elect(c, 1);
    ev.now_ms = raft_cluster_now_ms(c, 1);
    ev.u.propose.items = &item;
    ev.u.propose.count = 1;
    assert_int_equal(raft_step(c->nodes[1].raft, &ev, &up), 0);
    assert_int_equal(up.entries_count, 1);
    assert_ptr_equal(up.entries[0].payload.data, text);
    raft_cluster_free(c);
}

static void time_never_goes_back(void **state)
{
    struct raft_cluster *c = cluster_of(1);
    struct raft_event ev = {.kind = RAFT_EV_TICK, .now_ms = 1};
    struct raft_update up;
    uint64_t before = c->nodes[1].deadline_ms;

    (void)state;
    assert_int_equal(raft_step(c->nodes[1].raft, &ev, &up), 0); /* A bad clock. */
    assert_int_equal(up.deadline_ms, before);
    raft_cluster_free(c);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(restores_what_storage_found),
        cmocka_unit_test(commit_starts_between_applied_and_last),
        cmocka_unit_test(refuses_what_contradicts_itself),
        cmocka_unit_test(refuses_options_that_contradict_each_other),
        cmocka_unit_test(stays_within_its_memory),
        cmocka_unit_test(starts_impaired_over_a_damaged_entry),
        cmocka_unit_test(leader_only_events_are_refused_elsewhere),
        cmocka_unit_test(an_error_leaves_a_valid_update),
        cmocka_unit_test(hard_state_is_handed_out_once),
        cmocka_unit_test(proposals_are_not_copied),
        cmocka_unit_test(time_never_goes_back),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("raft/raft", tests, NULL, NULL);
}
