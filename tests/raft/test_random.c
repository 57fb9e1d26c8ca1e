/* tests/raft/test_random.c - random clusters under random faults, each step judged.
 *
 * Each seed makes a cluster and gives it a few thousand random events: messages are
 * delivered out of order, doubled and dropped, disks finish late, replicas crash and
 * lose what was not durable, links are cut, voters come and go. The judge and
 * raft_check() look at every step. Then everything is healed and the cluster has to
 * elect, commit and converge.
 *
 * Replay: SEED=123 test_random; SEEDS=n and EVENTS=n say how much, TRACE=1 prints every
 * line.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "raft/base/prng.h"
#include "raft/quorum.h"
#include "tests/lib/raft_cluster.h"

enum {
    NODES = 7
};

/* How bad the weather is; another one every few hundred events. */
struct weather {
    uint64_t drop;    /* Of 1000 messages. */
    uint64_t twice;   /* Of 1000 messages. */
    uint64_t reorder; /* Of 1000 messages. */
    uint64_t crash;   /* Of 1000 events, and so on. */
    uint64_t hunt;    /* The leader is crashed or cut off. */
    uint64_t links;
    uint64_t odd;
    uint64_t change;
    uint64_t persist;
    uint64_t time;
};

struct totals {
    uint64_t committed;
    uint64_t leaders;
    uint64_t reads;
    uint64_t truncations;
    uint64_t installs;
    uint64_t configs;
    uint64_t steps;
};

struct world {
    struct raft_cluster *c;
    struct prng prng;
    struct weather weather;
    uint64_t lag[NODES + 1]; /* How fast the clock of a replica runs, in percent. */
};

static uint64_t chance(struct world *w, uint64_t bound)
{
    return prng_below(&w->prng, bound);
}

static raft_id any_node(struct world *w)
{
    return (raft_id)(1 + chance(w, NODES));
}

/* ---- making ---- */

/* `voters` of the NODES replicas vote, chosen at random; some of the rest learn. */
static struct raft_config random_config(struct world *w, uint32_t voters)
{
    struct raft_config config = {0};
    bool chosen[NODES + 1] = {false};

    while (config.voters_count < voters) {
        raft_id id = any_node(w);

        config.voters_count += !chosen[id];
        chosen[id] = true;
    }
    config.voters_count = 0;
    for (raft_id id = 1; id <= NODES; id++) {
        if (chosen[id]) {
            config.voters[config.voters_count++] = id;
        } else if (chance(w, 4) == 0) {
            config.learners[config.learners_count++] = id;
        }
    }
    if (chance(w, 3) == 0) {
        uint32_t majority = raft_quorum_majority_of(voters);

        config.w = (uint32_t)prng_between(&w->prng, majority, voters);
    }
    return config;
}

static void make_world(struct world *w, uint64_t seed)
{
    static const uint32_t sizes[] = {1, 2, 3, 3, 3, 3, 5, 5};
    const struct raft_config none = {0};
    struct raft_config config;
    uint32_t window;

    prng_init(&w->prng, seed);
    w->c = raft_cluster_new(seed);
    config = random_config(w, sizes[chance(w, KV_ARRAY_COUNT(sizes))]);
    window = 16u << chance(w, 3);
    for (raft_id id = 1; id <= NODES; id++) {
        struct raft_cluster_node *n = raft_cluster_make(
            w->c, id, raft_quorum_member(&config, id) ? &config : &none);

        n->options.window = window;
        n->options.flight_messages_max = (uint32_t)(1 + chance(w, 4));
        n->options.append_entries_max = (uint32_t)(1 + chance(w, 8));
        n->options.flight_bytes_max = (uint32_t)(8 + chance(w, 200));
        n->options.snapshot_chunk_bytes = (uint32_t)(20 + chance(w, 90));
        n->options.snapshot_flight_max = (uint32_t)(1 + chance(w, 3));
        raft_cluster_start(w->c, id);
    }
}

/* ---- one random event ---- */

static void new_weather(struct world *w)
{
    static const struct weather kinds[] = {
        {.drop = 2, .persist = 250, .time = 60},
        {.drop = 5,
         .twice = 20,
         .reorder = 50,
         .change = 4,
         .persist = 220,
         .time = 90},
        {.drop = 60,
         .twice = 60,
         .reorder = 300,
         .crash = 2,
         .persist = 160,
         .time = 110},
        {.drop = 10, .reorder = 20, .crash = 8, .odd = 4, .persist = 90, .time = 120},
        {.drop = 5, .links = 4, .crash = 1, .change = 4, .persist = 200, .time = 120},
        /* Snapshots for those whose logs go on, with configurations behind them. */
        {.drop = 5, .twice = 20, .change = 6, .odd = 8, .persist = 220, .time = 90},
        {.drop = 20, .reorder = 20, .hunt = 12, .persist = 150, .time = 150},
        {.drop = 5, .twice = 20, .hunt = 4, .persist = 200, .time = 100},
        {.twice = 150, .reorder = 500, .odd = 6, .persist = 60, .time = 140},
        {.drop = 5, .reorder = 800, .hunt = 8, .persist = 200, .time = 150},
    };

    for (raft_id id = 1; id <= NODES; id++) {
        w->lag[id] = chance(w, 4) == 0 ? chance(w, chance(w, 2) == 0 ? 10 : 100) : 100;
    }
    w->weather = kinds[chance(w, KV_ARRAY_COUNT(kinds))];
    if (w->weather.links == 0 && chance(w, 2) == 0) {
        memset(w->c->blocked, 0, sizeof w->c->blocked);
    }
}

static void do_deliver(struct world *w)
{
    struct raft_cluster *c = w->c;
    uint64_t dice = chance(w, 1000);
    uint32_t at = 0;

    if (c->queue_count == 0) {
        return;
    }
    if (chance(w, 1000) < w->weather.reorder) {
        at = (uint32_t)chance(w, c->queue_count);
    }
    if (dice < w->weather.drop) {
        raft_cluster_drop(c, at);
    } else {
        raft_cluster_deliver(c, at, dice < w->weather.drop + w->weather.twice);
    }
}

/* Clocks of replicas run at their own speed; some are late to look at them. */
static void do_time(struct world *w)
{
    uint64_t ms = chance(w, 12) == 0 ? chance(w, 200) : chance(w, 12);

    for (raft_id id = 1; id <= NODES; id++) {
        struct raft_cluster_node *n = &w->c->nodes[id];

        n->clock_ms += ms * w->lag[id] / 100;
        if (n->up && n->deadline_ms <= raft_cluster_now_ms(w->c, id) &&
            chance(w, 8) != 0) {
            (void)raft_cluster_tick(w->c, id);
        }
    }
}

static void do_persist(struct world *w)
{
    raft_id id = any_node(w);

    if (w->c->nodes[id].up) {
        (void)raft_cluster_persist(w->c, id, (uint32_t)(1 + chance(w, 6)),
                                   chance(w, 2) == 0);
    }
}

static void do_propose(struct world *w, raft_id id)
{
    uint32_t count = (uint32_t)(1 + chance(w, chance(w, 8) == 0 ? 20 : 3));

    (void)raft_cluster_propose(w->c, id, count);
}

static void do_crash(struct world *w, raft_id id)
{
    if (w->c->nodes[id].up) {
        raft_cluster_crash(w->c, id, (uint32_t)chance(w, 4));
        for (raft_id other = 1; other <= NODES; other++) {
            if (w->c->nodes[other].up && chance(w, 3) == 0) {
                struct raft_event ev = {.kind = RAFT_EV_PEER_DOWN, .u.peer = id};

                (void)raft_cluster_step(w->c, other, &ev);
            }
        }
    } else {
        raft_cluster_start(w->c, id);
    }
}

static void do_links(struct world *w)
{
    switch (chance(w, 4)) {
    case 0: { /* Cut the cluster in two. */
        uint64_t side = prng_next(&w->prng);

        for (raft_id a = 1; a <= NODES; a++) {
            for (raft_id b = 1; b <= NODES; b++) {
                w->c->blocked[a][b] = ((side >> a) & 1) != ((side >> b) & 1);
            }
        }
        break;
    }
    case 1: /* One direction of one link. */
        w->c->blocked[any_node(w)][any_node(w)] = true;
        break;
    default:
        memset(w->c->blocked, 0, sizeof w->c->blocked);
        break;
    }
}

/* What hurts most: the leader goes, with some of the others or alone. */
static void do_hunt(struct world *w)
{
    raft_id leader = raft_cluster_leader(w->c);

    if (leader == 0 || chance(w, 4) == 0) {
        memset(w->c->blocked, 0, sizeof w->c->blocked);
    } else if (chance(w, 2) == 0) {
        do_crash(w, leader);
    } else {
        raft_id friend_of = any_node(w);

        for (raft_id id = 1; id <= NODES; id++) {
            bool apart = id != leader && id != friend_of;

            w->c->blocked[leader][id] = apart;
            w->c->blocked[id][leader] = apart && chance(w, 4) != 0;
        }
    }
}

static void do_storage(struct world *w, raft_id id)
{
    struct raft_cluster_node *n = &w->c->nodes[id];

    if (n->lost) {
        return; /* A damaged state is not written. */
    }
    raft_cluster_checkpoint(w->c, id);
    if (chance(w, 2) == 0 && n->disk.applied > 0) {
        raft_cluster_compact(w->c, id, n->disk.applied - chance(w, 3) % n->disk.applied,
                             chance(w, 3) != 0);
    }
}

/* One at a time: somebody has to have a good copy. */
static void do_lose(struct world *w, raft_id id)
{
    if (w->c->nodes[id].disk.applied == 0) {
        return; /* No rows, no damage. */
    }
    for (raft_id other = 1; other <= NODES; other++) {
        if (w->c->nodes[other].lost) {
            return;
        }
    }
    raft_cluster_lose(w->c, id);
}

static void do_odd(struct world *w, raft_id id)
{
    struct raft_cluster_node *n = &w->c->nodes[id];
    struct raft_event ev = {.kind = RAFT_EV_IMPAIRED};

    switch (chance(w, 5)) {
    case 4:
        do_lose(w, id);
        return;
    case 0:
        ev.u.impaired = chance(w, 3) == 0;
        break;
    case 1:
        ev.kind = RAFT_EV_PEER_DOWN; /* A false hint. */
        ev.u.peer = any_node(w);
        break;
    case 2:
        if (n->disk.jobs_count > 0 && n->disk.jobs[0].kind != RAFT_DISK_STORE) {
            uint64_t snapshot_id = n->disk.jobs[0].kind == RAFT_DISK_CHUNK
                                       ? n->disk.jobs[0].snapshot_id
                                       : n->disk.jobs[0].snapshot.id;

            /* What is queued for that snapshot fails with it. */
            while (n->disk.jobs_count > 0 && n->disk.jobs[0].kind != RAFT_DISK_STORE) {
                n->disk.jobs_count--;
                memmove(n->disk.jobs, n->disk.jobs + 1,
                        n->disk.jobs_count * sizeof n->disk.jobs[0]);
            }
            ev.kind = RAFT_EV_SNAPSHOT_FAILED;
            ev.u.snapshot_id = snapshot_id;
            break;
        }
        return;
    default:
        ev.kind = RAFT_EV_SNAPSHOT_FAILED;
        ev.u.snapshot_id = n->snapshot.id;
        break;
    }
    (void)raft_cluster_step(w->c, id, &ev);
}

static void do_change(struct world *w, raft_id id)
{
    struct raft_config config = random_config(w, (uint32_t)(1 + chance(w, 5)));

    (void)raft_cluster_propose_config(w->c, id, &config);
}

/* Takes `share` of 1000 off the dice; true when that is what fell. */
static bool falls(uint64_t *dice, uint64_t share)
{
    bool hit = *dice < share;

    *dice -= KV_MIN(*dice, share);
    return hit;
}

/* Somebody who takes itself for the leader, deposed or not; 0: nobody. */
static raft_id any_leader(struct world *w)
{
    raft_id from = any_node(w);

    for (raft_id i = 0; i < NODES; i++) {
        raft_id id = 1 + (from + i) % NODES;

        if (w->c->nodes[id].up && w->c->nodes[id].role == RAFT_LEADER) {
            return id;
        }
    }
    return 0;
}

static void do_read(struct world *w, raft_id id)
{
    raft_id leader = any_leader(w);

    (void)raft_cluster_read(w->c, leader == 0 || chance(w, 20) == 0 ? id : leader);
}

static void use_node(struct world *w, raft_id id)
{
    raft_id leader = raft_cluster_leader(w->c);
    raft_id at = leader == 0 || chance(w, 20) == 0 ? id : leader;

    switch (chance(w, 24)) {
    case 0:
    case 1:
        do_storage(w, id);
        break;
    case 2:
        (void)raft_cluster_transfer(w->c, at, chance(w, 2) == 0 ? 0 : id);
        break;
    case 3:
    case 4:
    case 5:
    case 6:
    case 7:
        do_read(w, id);
        break;
    default:
        do_propose(w, at);
        break;
    }
}

static void random_event(struct world *w)
{
    uint64_t dice = chance(w, 1000);
    raft_id id = any_node(w);

    if (falls(&dice, w->weather.crash) || (!w->c->nodes[id].up && chance(w, 50) == 0)) {
        do_crash(w, id);
    } else if (falls(&dice, w->weather.links)) {
        do_links(w);
    } else if (falls(&dice, w->weather.hunt)) {
        do_hunt(w);
    } else if (falls(&dice, w->weather.persist)) {
        do_persist(w);
    } else if (falls(&dice, w->weather.time)) {
        do_time(w);
    } else if (!w->c->nodes[id].up) {
        do_deliver(w);
    } else if (falls(&dice, w->weather.odd)) {
        do_odd(w, id);
    } else if (falls(&dice, w->weather.change)) {
        raft_id leader = raft_cluster_leader(w->c);

        do_change(w, leader == 0 ? id : leader);
    } else if (falls(&dice, 60)) {
        use_node(w, id);
    } else {
        do_deliver(w);
    }
}

/* ---- healing ---- */

static bool all_converged(const struct raft_cluster *c)
{
    raft_id leader = raft_cluster_leader(c);
    const struct raft_config *config;

    if (leader == 0) {
        return false;
    }
    config = raft_config_get(c->nodes[leader].raft, NULL);
    if (config->voters_old_count > 0) {
        return false;
    }
    for (raft_id id = 1; id <= NODES; id++) {
        if (raft_quorum_member(config, id) &&
            (c->nodes[id].applied < c->nodes[leader].view.last || c->nodes[id].lost ||
             c->nodes[id].leader != leader)) {
            return false;
        }
    }
    return true;
}

static bool leads_surely(const struct raft_cluster *c)
{
    raft_id leader = raft_cluster_leader(c);
    struct raft_status s = {0};

    if (leader != 0) {
        raft_status_get(c->nodes[leader].raft, &s);
    }
    return s.can_read;
}

/* Nobody is elected without it: restarted, it takes its state for whole. */
static void restart_lost(struct raft_cluster *c)
{
    for (raft_id id = 1; id <= NODES; id++) {
        if (c->nodes[id].lost) {
            raft_cluster_crash(c, id, 0);
            raft_cluster_start(c, id);
        }
    }
}

/* 13: a healthy cluster elects, commits and converges, and answers what is pending. */
static void heal(struct world *w)
{
    struct raft_cluster *c = w->c;
    bool proposed = false;

    memset(c->blocked, 0, sizeof c->blocked);
    for (raft_id id = 1; id <= NODES; id++) {
        struct raft_event ev = {.kind = RAFT_EV_IMPAIRED, .u.impaired = false};

        if (!c->nodes[id].up) {
            raft_cluster_start(c, id);
        }
        (void)raft_cluster_step(c, id, &ev);
        /* What the disk compacted before, raft hears of at last. */
        raft_cluster_compact(c, id, 0, true);
    }
    for (uint32_t round = 0; round < 600; round++) {
        raft_cluster_settle(c);
        if (round == 200 && !leads_surely(c)) {
            restart_lost(c);
        }
        if (proposed && all_converged(c)) {
            break;
        }
        if (raft_cluster_leader(c) != 0 && round > 300 && !proposed) {
            proposed = raft_cluster_propose(c, raft_cluster_leader(c), 1) == 0;
        }
        c->now_ms += 10;
        for (raft_id id = 1; id <= NODES; id++) {
            if (c->nodes[id].deadline_ms <= raft_cluster_now_ms(c, id)) {
                (void)raft_cluster_tick(c, id);
            }
        }
    }
    assert_true(proposed);
    assert_true(all_converged(c));
    for (uint32_t i = 0; i < c->reads_count; i++) {
        assert_true(c->reads[i].done);
    }
}

/* ---- running ---- */

static void print_line(void *ctx, const char *line)
{
    const struct raft_cluster *c = ctx;

    printf("%6lu %s\n", c->now_ms, line);
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text != NULL && text[0] != '\0' ? strtoull(text, NULL, 10) : otherwise;
}

static void count_up(struct totals *totals, const struct raft_cluster *c)
{
    totals->committed += c->judge->commit_max;
    totals->steps += c->steps;
    totals->installs += c->installs;
    totals->truncations += c->truncations;
    totals->configs += c->configs;
    for (raft_term term = 0; term < RAFT_JUDGE_TERMS_MAX; term++) {
        totals->leaders += c->judge->leaders[term] != 0;
    }
    for (uint32_t i = 0; i < c->reads_count; i++) {
        totals->reads += c->reads[i].ok;
    }
}

static void run_seed(uint64_t seed, uint64_t events, struct totals *totals)
{
    struct world w = {0};

    make_world(&w, seed);
    if (number_from("TRACE", 0) != 0) {
        setvbuf(stdout, NULL, _IOLBF, 0);
        w.c->trace = print_line;
        w.c->trace_ctx = w.c;
    }
    for (uint64_t i = 0; i < events && w.c->judge->commit_max < 4000; i++) {
        if (i % 500 == 0) {
            new_weather(&w);
        }
        random_event(&w);
    }
    heal(&w);
    count_up(totals, w.c);
    raft_cluster_free(w.c);
}

static void every_seed_is_safe_and_recovers(void **state)
{
    uint64_t first = number_from("SEED", 1);
    uint64_t count = number_from("SEEDS", getenv("SEED") != NULL ? 1 : 1000);
    uint64_t events = number_from("EVENTS", 8000);
    struct totals t = {0};

    (void)state;
    for (uint64_t seed = first; seed < first + count; seed++) {
        /* An assertion of the judge ends the process: this is its seed. */
        fprintf(stderr, "\rseed %lu ", seed);
        run_seed(seed, events, &t);
    }
    fprintf(stderr, "\r");
    printf("%lu seeds from %lu, %lu events each: %lu steps, %lu entries committed, "
           "%lu leaders, %lu reads, %lu truncations, %lu snapshots installed, "
           "%lu configurations\n",
           count, first, events, t.steps, t.committed, t.leaders, t.reads,
           t.truncations, t.installs, t.configs);
    assert_true(t.committed > 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_seed_is_safe_and_recovers),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("raft/random", tests, NULL, NULL);
}
