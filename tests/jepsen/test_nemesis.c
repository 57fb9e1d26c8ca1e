/* tests/jepsen/test_nemesis.c - each nemesis takes effect on real nodes, and heals. */
#include "tests/jepsen/env_test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "jepsen/nemesis/nemesis.h"

#ifdef __SANITIZE_THREAD__
/* libuv closes sockets by the bare system call, which the sanitizer does not see: a
 * folder that gets the number of a closed socket looks shared with its thread. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:closedir\n";
}
#endif

enum {
    KEYS_MAX = 4000,
    VALUE_BYTES = 4096,
    FAULT_MS = 150, /* Between a fault's beginning and its end. */
};

/* Writes keys one after another, and remembers which were acknowledged. */
struct writer {
    struct env_test *t;
    struct kv_client *kv;
    pthread_t thread;
    atomic_bool stop;
    unsigned count;
    bool acked[KEYS_MAX];
};

static void rest_ms(unsigned ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    nanosleep(&t, NULL);
}

static void *writer_run(void *arg)
{
    struct writer *w = arg;
    static char value[VALUE_BYTES];

    memset(value, 'v', sizeof value);
    for (; w->count < KEYS_MAX && !atomic_load(&w->stop); w->count++) {
        char key[32];
        struct kv_request q;
        const struct kv_result *r;

        snprintf(key, sizeof key, "w%u", w->count);
        q = kv_put(kv_str(key), (struct kv_view){.data = value, .len = sizeof value});
        q.deadline_ms = 500;
        r = kv_wait(w->kv, q);
        w->acked[w->count] = r->outcome == KV_DONE;
        kv_result_free(r);
        rest_ms(2);
    }
    return NULL;
}

static void writer_start(struct writer *w, struct env_test *t)
{
    *w = (struct writer){.t = t};
    w->kv = env_client(t);
    assert_int_equal(pthread_create(&w->thread, NULL, writer_run, w), 0);
}

/* Ends the writer; every acknowledged key must be there. */
static void writer_check(struct writer *w)
{
    unsigned acked = 0, lost = 0;

    atomic_store(&w->stop, true);
    assert_int_equal(pthread_join(w->thread, NULL), 0);
    for (unsigned i = 0; i < w->count; i++) {
        char key[32];
        const struct kv_result *r;

        if (!w->acked[i]) {
            continue;
        }
        acked++;
        snprintf(key, sizeof key, "w%u", i);
        r = kv_wait(w->kv, kv_get(kv_str(key)));
        if (r->outcome != KV_DONE || !r->found) {
            lost++;
            print_message("lost: %s: %s\n", key, r->text);
        }
        kv_result_free(r);
    }
    assert_int_equal(lost, 0);
    assert_true(acked > 0);
}

/* Does one fault, and shows what happened. */
static void fault_once(struct env_test *t, const char *text, uint64_t seed)
{
    struct nemesis_options o = {.text = text, .seed = seed, .interval_ms = 1000};
    char error[CLUSTER_ERROR_BYTES] = "";
    struct nemesis *n = NULL;
    struct nemesis_step s;
    struct nemesis_outcome out;

    if (nemesis_open(t->c, &o, &n, error) != 0) {
        fail_msg("%s: %s", text, error);
    }
    for (int i = 0; i < 2; i++) {
        assert_true(nemesis_next(n, &s));
        assert_int_equal(s.begins, i == 0);
        nemesis_do(n, &s, &out);
        print_message("%s %s %s -> %s %s\n", text, s.f, s.value, out.value, out.why);
        if (!out.effective) {
            fail_msg("%s: %s: %s", text, s.f, out.why);
        }
        rest_ms(i == 0 ? FAULT_MS : 0);
    }
    nemesis_heal(n, ENV_READY_MS, &out);
    if (!out.effective) {
        fail_msg("%s: not healed: %s", text, out.why);
    }
    nemesis_close(n);
}

/* All words of a kind, under writes. */
static void kind_run(enum cluster_env env, uint32_t nodes, const char *const *texts)
{
    static struct writer w;
    struct env_test t;

    env_open(&t, env, nodes);
    writer_start(&w, &t);
    for (uint64_t i = 0; texts[i] != NULL; i++) {
        fault_once(&t, texts[i], i + 1);
    }
    writer_check(&w);
    env_close(&t);
}

#define KIND_TEST(name, env, nodes, ...)                 \
    static void name(void **state)                       \
    {                                                    \
        const char *const texts[] = {__VA_ARGS__, NULL}; \
                                                         \
        (void)state;                                     \
        kind_run(env, nodes, texts);                     \
    }

KIND_TEST(partitions_cut_and_heal_in_namespaces, CLUSTER_NETNS, 5, "partition:one",
          "partition:minority-third", "partition:majority", "partition:majorities-ring",
          "partition:bridge", "partition:leaders", "partition:one-in",
          "partition:one-out", "partition:majority-in", "partition:bridge-in",
          "partition:leaders-out")
KIND_TEST(partitions_cut_and_heal_over_a_bridge, CLUSTER_VETH, 5, "partition:one",
          "partition:majority", "partition:majorities-ring", "partition:bridge",
          "partition:leaders", "partition:one-in", "partition:majority-out",
          "power:one")
KIND_TEST(partitions_cut_and_heal_behind_proxies, CLUSTER_PROXY, 3, "partition:one",
          "partition:majorities-ring", "partition:leaders", "partition:one-in",
          "partition:one-out")
KIND_TEST(packets_are_late_lost_doubled_and_reordered, CLUSTER_NETNS, 3, "packet:delay",
          "packet:loss", "packet:duplicate", "packet:reorder", "packet:rate",
          "packet:all", "slow-link:one")
KIND_TEST(streams_are_late, CLUSTER_PROXY, 3, "packet:delay", "packet:loss",
          "packet:rate", "slow-link:one")
KIND_TEST(processes_are_killed_and_started, CLUSTER_AUTO, 3, "kill:one",
          "kill:majority", "kill:all", "kill:leaders", "term:one", "term:all")
KIND_TEST(processes_are_paused_and_slowed, CLUSTER_AUTO, 3, "pause:one",
          "pause:leaders", "pause:majority", "pause:all", "slow-cpu:one")
KIND_TEST(restarts_storm, CLUSTER_AUTO, 3, "storm:one", "storm:majority", "storm:all")
KIND_TEST(power_fails, CLUSTER_AUTO, 3, "power:one", "power:majority", "power:all",
          "power:all", "power:all")
KIND_TEST(disks_are_slow_and_full, CLUSTER_AUTO, 3, "slow-disk:minority",
          "slow-disk:leaders", "full-disk:one", "full-disk:all")
KIND_TEST(clocks_step_and_strobe, CLUSTER_AUTO, 3, "clock:bump", "clock:strobe",
          "clock:bump")
KIND_TEST(damaged_files_are_refused_or_healed, CLUSTER_AUTO, 3, "corrupt:bitflip",
          "corrupt:truncate", "corrupt:copy", "rollback:one")
KIND_TEST(empty_and_foreign_folders_are_refused, CLUSTER_AUTO, 3, "wipe:one",
          "clone:copy", "clone:shared")

#ifdef KV_FAILPOINTS
KIND_TEST(nodes_end_at_failpoints, CLUSTER_AUTO, 3, "panic:one", "panic:all",
          "panic:start", "panic:one", "panic:start", "panic:minority")
#else
static void nodes_end_at_failpoints(void **state)
{
    (void)state;
    fprintf(stderr, "# skipped: this build has no failpoints\n");
    skip();
}
#endif

static void a_swarm_ends_with_a_ready_cluster(void **state)
{
    struct nemesis_options o = {.text = "swarm", .seed = 7, .interval_ms = 2000};
    static struct writer w;
    char error[CLUSTER_ERROR_BYTES] = "";
    struct nemesis_outcome out;
    struct nemesis_summary sum;
    struct nemesis_step s;
    struct nemesis *n;
    struct env_test t;

    (void)state;
    env_open(&t, CLUSTER_AUTO, 3);
    writer_start(&w, &t);
    assert_int_equal(nemesis_open(t.c, &o, &n, error), 0);
    for (uint64_t begin = net_now_ns(); nemesis_next(n, &s) && s.at_ms < 8000;) {
        uint64_t now_ms = (net_now_ns() - begin) / 1000000;

        rest_ms(s.at_ms > now_ms ? (unsigned)(s.at_ms - now_ms) : 0);
        nemesis_do(n, &s, &out);
        print_message("%llu %s %s -> %s %s\n", (unsigned long long)s.at_ms, s.f,
                      s.value, out.value, out.why);
    }
    nemesis_heal(n, ENV_READY_MS, &out);
    assert_true(out.effective);
    nemesis_summary(n, &sum);
    assert_true(sum.begun >= 2 && sum.effective >= 1);
    nemesis_close(n);
    writer_check(&w);
    env_close(&t);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(partitions_cut_and_heal_in_namespaces),
        cmocka_unit_test(partitions_cut_and_heal_over_a_bridge),
        cmocka_unit_test(partitions_cut_and_heal_behind_proxies),
        cmocka_unit_test(packets_are_late_lost_doubled_and_reordered),
        cmocka_unit_test(streams_are_late),
        cmocka_unit_test(processes_are_killed_and_started),
        cmocka_unit_test(processes_are_paused_and_slowed),
        cmocka_unit_test(restarts_storm),
        cmocka_unit_test(power_fails),
        cmocka_unit_test(disks_are_slow_and_full),
        cmocka_unit_test(clocks_step_and_strobe),
        cmocka_unit_test(damaged_files_are_refused_or_healed),
        cmocka_unit_test(empty_and_foreign_folders_are_refused),
        cmocka_unit_test(nodes_end_at_failpoints),
        cmocka_unit_test(a_swarm_ends_with_a_ready_cluster),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
