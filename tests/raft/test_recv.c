/* tests/raft/test_recv.c - messages that no correct peer sends.
 *
 * A replica gets random messages in every role: near its own state, so that they
 * reach deep, and far from it. It may refuse them or, where a "leader" contradicts
 * what is committed, give up; it must not trip over its own assertions.
 */
#include <stdio.h>
#include <stdlib.h>

#include "raft/base/prng.h"
#include "tests/raft/raft_test.h"

static const uint8_t some_bytes[64];

/* Often near `base`, sometimes anything. */
static uint64_t near(struct prng *p, uint64_t base)
{
    switch (prng_below(p, 12)) {
    case 0:
        return prng_next(p);
    case 1:
        return UINT64_MAX - prng_below(p, 3);
    case 2:
        return 0;
    default:
        return base + prng_below(p, 7) - KV_MIN(base, prng_below(p, 4));
    }
}

static struct raft_config random_config(struct prng *p)
{
    struct raft_config c = voters_upto((uint32_t)prng_between(p, 1, 4));

    if (prng_below(p, 4) == 0) {
        c.voters_old_count = (uint32_t)prng_between(p, 1, 3);
        for (uint32_t i = 0; i < c.voters_old_count; i++) {
            c.voters_old[i] = i + 2;
        }
    }
    c.w = (uint32_t)prng_below(p, 4);
    return c;
}

/* Entries behind prev whose chain holds, most of the time. */
static void random_entries(struct prng *p, struct raft_msg *m,
                           struct raft_entry *entries,
                           uint8_t (*payloads)[RAFT_CONFIG_BYTES_MAX])
{
    uint64_t hash = m->prev_hash;
    raft_term term = m->prev.term;

    m->entries_count = (uint32_t)prng_below(p, 5);
    m->entries = entries;
    for (uint32_t i = 0; i < m->entries_count; i++) {
        struct raft_entry *e = &entries[i];
        struct raft_config c = random_config(p);

        term += prng_below(p, 2) * prng_below(p, 2);
        *e = (struct raft_entry){.pos = {m->prev.index + 1 + i, term},
                                 .type = (uint8_t)prng_between(p, 1, 3),
                                 .time_ms = 5000000 + m->prev.index + i};
        if (e->type == RAFT_ENTRY_CONFIG && raft_config_valid(&c)) {
            e->payload = kv_bytes(payloads[i], raft_config_encode(&c, payloads[i]));
        } else {
            e->type = RAFT_ENTRY_COMMAND;
            e->payload = kv_bytes(some_bytes, prng_below(p, sizeof some_bytes));
        }
        hash = raft_entry_hash(hash, e);
        e->hash = hash;
        if (prng_below(p, 40) == 0) {
            ((uint8_t *)e)[prng_below(p, offsetof(struct raft_entry, payload))] ^= 1;
        }
    }
}

static void random_snapshot(struct prng *p, struct raft_msg *m,
                            const struct raft_status *s)
{
    m->snapshot = (struct raft_snapshot){
        .id = prng_below(p, 4),
        .last = {.pos = {near(p, s->commit), near(p, s->term)}, .hash = prng_next(p)},
        .bytes = near(p, 64),
        .config = random_config(p),
        .config_index = prng_below(p, 3),
    };
    m->chunk = (struct raft_chunk){.snapshot_id = m->snapshot.id,
                                   .offset = prng_below(p, 3) * 32,
                                   .len = 32,
                                   .data = kv_bytes(some_bytes, 32)};
    m->chunk.done = m->chunk.offset + m->chunk.len == m->snapshot.bytes;
    if (prng_below(p, 4) == 0) {
        m->chunk.offset = near(p, 64);
        m->chunk.len = (uint32_t)prng_next(p);
    }
}

static struct raft_msg random_msg(struct raft_cluster *c, struct prng *p,
                                  struct raft_entry *entries,
                                  uint8_t (*payloads)[RAFT_CONFIG_BYTES_MAX])
{
    struct raft_status s = status_of(c, 1);
    struct raft_meta meta = {0};
    struct raft_msg m = {
        .type = (enum raft_msg_type)prng_below(p, RAFT_MSG_TYPES_COUNT + 1),
        .from = (raft_id)prng_between(p, 1, 5),
        .to = 1,
        .term = near(p, s.term),
        .last = {near(p, s.last.index), near(p, s.last.term)},
        .prev = {near(p, s.commit), near(p, s.last.term)},
        .commit = near(p, s.commit),
        .round = near(p, 2),
        .match = near(p, s.commit),
        .hash = prng_next(p),
        .conflict = {near(p, s.commit), near(p, s.term)},
        .granted = prng_below(p, 2) == 0,
        .rejected = prng_below(p, 4) == 0,
        .transfer = prng_below(p, 4) == 0,
    };

    if (raft_meta_get(c->nodes[1].raft, m.prev.index, &meta) == 0 &&
        prng_below(p, 8) != 0) {
        m.prev.term = meta.pos.term;
        m.prev_hash = meta.hash;
    }
    if (raft_meta_get(c->nodes[1].raft, m.match, &meta) == 0 && prng_below(p, 8) != 0) {
        m.hash = meta.hash;
    }
    random_entries(p, &m, entries, payloads);
    random_snapshot(p, &m, &s);
    return m;
}

static void other_events(struct raft_cluster *c, struct prng *p)
{
    switch (prng_below(p, 8)) {
    case 0:
        c->now_ms += prng_below(p, 200);
        (void)raft_cluster_tick(c, 1);
        break;
    case 1:
        (void)raft_cluster_propose(c, 1, (uint32_t)prng_between(p, 1, 3));
        break;
    case 2:
        (void)raft_cluster_read(c, 1);
        break;
    default:
        (void)raft_cluster_persist(c, 1, (uint32_t)prng_between(p, 1, 9), false);
        break;
    }
    drop_all(c);
}

/* Makes 1 the leader with answers nobody gave. */
static void force_leader(struct raft_cluster *c)
{
    struct raft_msg m = {
        .type = RAFT_MSG_PRE_VOTE_REPLY, .from = 2, .to = 1, .granted = true};

    time_out(c, 1);
    m.term = status_of(c, 1).term + 1;
    (void)send_msg(c, &m);
    persist(c, 1);
    m.type = RAFT_MSG_VOTE_REPLY;
    m.term = status_of(c, 1).term;
    (void)send_msg(c, &m);
    persist(c, 1);
    drop_all(c);
}

static void survive_one(uint64_t seed, uint64_t *refused, uint64_t *leading)
{
    struct raft_cluster *c = raft_cluster_new(seed);
    struct raft_config config = voters_upto(3);
    struct prng p;

    prng_init(&p, seed);
    (void)raft_cluster_make(c, 1, &config);
    raft_cluster_start(c, 1);
    for (int i = 0; i < 400; i++) {
        struct raft_entry entries[8];
        uint8_t payloads[8][RAFT_CONFIG_BYTES_MAX];
        struct raft_msg m = random_msg(c, &p, entries, payloads);
        int rc = send_msg(c, &m);

        assert_true(rc == 0 || rc == KV_EPROTO || rc == KV_ECORRUPT ||
                    rc == KV_EFORMAT);
        if (rc == KV_ECORRUPT || rc == KV_EFORMAT) {
            break; /* The group stops. */
        }
        *refused += rc == KV_EPROTO;
        *leading += c->nodes[1].role == RAFT_LEADER;
        other_events(c, &p);
        if (prng_below(&p, 30) == 0) {
            force_leader(c);
        }
    }
    raft_cluster_free(c);
}

static void survives_random_messages(void **state)
{
    const char *only = getenv("SEED");
    uint64_t first = only != NULL ? strtoull(only, NULL, 10) : 1;
    uint64_t count = only != NULL ? 1 : 1500;
    uint64_t refused = 0;
    uint64_t leading = 0;

    (void)state;
    for (uint64_t seed = first; seed < first + count; seed++) {
        fprintf(stderr, "\rseed %lu ", seed);
        survive_one(seed, &refused, &leading);
    }
    fprintf(stderr, "\r");
    if (only == NULL) {
        assert_true(refused > 1000); /* Both happened, and often. */
        assert_true(leading > 1000);
    }
}

static void refuses_what_is_not_addressed_to_it(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_event ev = {.kind = RAFT_EV_MESSAGE};
    struct raft_msg m = {.type = RAFT_MSG_HEARTBEAT, .from = 2, .to = 3, .term = 1};

    (void)state;
    ev.u.message = &m;
    assert_int_equal(raft_cluster_step(c, 1, &ev), KV_EPROTO);
    m.to = 1;
    m.from = 1;
    assert_int_equal(raft_cluster_step(c, 1, &ev), KV_EPROTO);
    m.from = 0;
    assert_int_equal(raft_cluster_step(c, 1, &ev), KV_EPROTO);
    m.from = 2;
    m.type = RAFT_MSG_NONE;
    assert_int_equal(raft_cluster_step(c, 1, &ev), KV_EPROTO);
    m.type = (enum raft_msg_type)250;
    assert_int_equal(raft_cluster_step(c, 1, &ev), KV_EPROTO);
    assert_int_equal(status_of(c, 1).term, 0);
    raft_cluster_free(c);
}

/* A term that nobody reached by counting would leave no room for the next one. */
static void refuses_absurd_terms_and_indexes(void **state)
{
    static const enum raft_msg_type types[] = {
        RAFT_MSG_PRE_VOTE,       RAFT_MSG_VOTE,      RAFT_MSG_VOTE_REPLY,
        RAFT_MSG_APPEND,         RAFT_MSG_HEARTBEAT, RAFT_MSG_TIMEOUT_NOW,
        RAFT_MSG_HEARTBEAT_REPLY};
    struct raft_cluster *c = cluster_of(3);

    (void)state;
    for (size_t i = 0; i < KV_ARRAY_COUNT(types); i++) {
        struct raft_msg m = {.type = types[i], .from = 2, .to = 1, .term = UINT64_MAX};

        assert_int_equal(send_msg(c, &m), KV_EPROTO);
        m.term = 0;
        assert_int_equal(send_msg(c, &m), KV_EPROTO);
        m.term = 1;
        m.prev.index = UINT64_MAX;
        assert_int_equal(send_msg(c, &m), KV_EPROTO);
    }
    assert_int_equal(status_of(c, 1).term, 0);
    raft_cluster_free(c);
}

/* A leader that contradicts itself within its term is none; nothing of ours breaks. */
static void refuses_a_leader_that_contradicts_itself(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_entry e = {.pos = {1, 5}, .type = RAFT_ENTRY_COMMAND, .time_ms = 1};
    struct raft_msg m = {.type = RAFT_MSG_APPEND,
                         .from = 2,
                         .to = 1,
                         .term = 5,
                         .entries_count = 1,
                         .entries = &e};

    (void)state;
    e.hash = raft_entry_hash(0, &e);
    assert_int_equal(send_msg(c, &m), 0);
    persist(c, 1);
    e.pos.term = 4;
    e.hash = raft_entry_hash(0, &e);
    assert_int_equal(send_msg(c, &m), KV_EPROTO);
    assert_int_equal(status_of(c, 1).last.term, 5);
    raft_cluster_free(c);
}

/* Every entry of a message continues the chain: one that was changed on its way, or
 * after it was hashed, is not taken. */
static void refuses_an_entry_that_does_not_continue_the_chain(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_entry e[2] = {
        {.pos = {1, 5}, .type = RAFT_ENTRY_NOOP, .time_ms = 1},
        {.pos = {2, 5}, .type = RAFT_ENTRY_COMMAND, .time_ms = 1},
    };
    struct raft_msg m = {.type = RAFT_MSG_APPEND,
                         .from = 2,
                         .to = 1,
                         .term = 5,
                         .entries_count = 2,
                         .entries = e};

    (void)state;
    e[0].hash = raft_entry_hash(0, &e[0]);
    e[1].hash = raft_entry_hash(e[0].hash, &e[1]) + 1;
    assert_int_equal(send_msg(c, &m), KV_EPROTO);
    assert_int_equal(status_of(c, 1).last.index, 0);
    e[1].hash--;
    assert_int_equal(send_msg(c, &m), 0);
    assert_int_equal(status_of(c, 1).last.index, 2);
    raft_cluster_free(c);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_is_not_addressed_to_it),
        cmocka_unit_test(refuses_absurd_terms_and_indexes),
        cmocka_unit_test(refuses_a_leader_that_contradicts_itself),
        cmocka_unit_test(refuses_an_entry_that_does_not_continue_the_chain),
        cmocka_unit_test(survives_random_messages),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("raft/recv", tests, NULL, NULL);
}
