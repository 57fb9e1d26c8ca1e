/* tests/bench/bench_check.c - how fast the checkers are.
 *
 *   bench_check [rounds]
 *
 * linear: 100,000 operations of registers in the usual load (10 clients per key, half
 * only read, 200 to 2,000 operations per key, 1 % unknown), and the same with a bug.
 * replay: a million replies. append: 500,000 transactions. One line per round.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "jepsen/checker/append.h"
#include "jepsen/checker/linear.h"
#include "jepsen/checker/replay.h"
#include "tests/lib/history_gen.h"

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void linear_default(const struct history *h, struct verdict *v)
{
    linear_check(h, &LINEAR_LIMITS_DEFAULT, v);
}

struct cell {
    const char *name;
    bool is_append;
    struct gen_options options;
    void (*check)(const struct history *h, struct verdict *v);
};

static void run(const struct cell *c, uint64_t seed)
{
    struct gen_options o = c->options;
    struct history h;
    struct verdict v;
    double start;
    double spent;

    history_init(&h);
    o.seed = seed;
    if (c->is_append) {
        gen_append(&h, &o);
    } else {
        gen_register(&h, &o);
    }
    start = now_s();
    c->check(&h, &v);
    spent = now_s() - start;
    printf("%-28s %9u ops  %6.2f s  %9.0f ops/s  %s", c->name, o.ops, spent,
           o.ops / spent, verdict_name(v.valid));
    for (uint32_t i = 0; i < v.facts_count; i++) {
        printf("  %s=%.0f", v.facts[i].name, v.facts[i].value);
    }
    printf("  %s\n", v.text);
    fflush(stdout);
    verdict_close(&v);
    history_close(&h);
}

int main(int argc, char **argv)
{
    const struct gen_options usual = {.ops = 100000,
                                      .clients = 40,
                                      .keys = 4,
                                      .key_ops = 200,
                                      .groups = 8,
                                      .values = 5,
                                      .unknown = 10};
    struct cell cells[] = {
        {"linear, 200 per key", false, usual, linear_default},
        {"linear, 2,000 per key", false, usual, linear_default},
        {"linear, 10 % unknown", false, usual, linear_default},
        {"linear, one key", false, usual, linear_default},
        {"linear, stale reads", false, usual, linear_default},
        {"replay", false, usual, replay_check},
        {"append, 32 per list", true, usual, append_check},
        {"append, lost writes", true, usual, append_check},
    };
    long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 3;

    cells[1].options.key_ops = 2000;
    cells[2].options.unknown = 100;
    cells[3].options.keys = 1;
    cells[3].options.key_ops = 0;
    cells[3].options.clients = 10;
    cells[4].options.bug = GEN_STALE;
    cells[4].options.bug_rate = 1;
    cells[5].options.ops = 1000000;
    for (size_t i = 6; i < KV_ARRAY_COUNT(cells); i++) {
        cells[i].options.ops = 500000;
        cells[i].options.keys = 10;
        cells[i].options.key_ops = 64; /* Half of them append. */
        cells[i].options.txn_max = 4;
    }
    cells[7].options.bug = GEN_LOSE;
    cells[7].options.bug_rate = 1;
    for (size_t i = 0; i < KV_ARRAY_COUNT(cells); i++) {
        for (long round = 1; round <= rounds; round++) {
            run(&cells[i], (uint64_t)round);
        }
    }
    return 0;
}
