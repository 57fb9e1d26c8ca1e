/* tests/client/test_kvctl.c - kvctl as its users see it: output, messages, statuses.
 *
 * The program runs itself as kvctl (argv[1] "kvctl"), so that nothing else has to be
 * built, and talks to fake servers in this process.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "client/kvctl.h"
#include "tests/client/probe.h"

extern char **environ;

enum {
    ARGS_MAX = 20,
    OUT_MAX = 64 * 1024,
    OWN_MAX = 1024,
};

/* A server, a folder of its own, and what the last run said. */
struct box {
    struct fake_server *server;
    char folder[64];
    char in[OUT_MAX];
    size_t in_len;
    char out[OUT_MAX]; /* stdout, with a NUL behind. */
    size_t out_len;
    char err[OUT_MAX];
    bool without_endpoints;
};

static size_t slurp(const char *path, char *out)
{
    FILE *file = fopen(path, "re");
    size_t len;

    assert_non_null(file);
    len = fread(out, 1, OUT_MAX - 1, file);
    out[len] = '\0';
    (void)fclose(file);
    return len;
}

/* Runs kvctl with the words, separated by spaces; returns its exit status. */
static int run(struct box *box, const char *words)
{
    char own[OWN_MAX] = "";
    char line[OWN_MAX];
    char *argv[ARGS_MAX] = {own, (char *)"kvctl"};
    int argc = 2;
    char *save = NULL;
    posix_spawn_file_actions_t actions;
    int status = -1;
    pid_t pid;
    FILE *in;

    assert_true(readlink("/proc/self/exe", own, sizeof own - 1) > 0);
    if (!box->without_endpoints) {
        argv[argc++] = (char *)"--endpoints";
        argv[argc++] = (char *)(uintptr_t)fake_server_endpoint(box->server);
    }
    (void)snprintf(line, sizeof line, "%s", words);
    for (char *w = strtok_r(line, " ", &save); w != NULL;
         w = strtok_r(NULL, " ", &save)) {
        assert_true(argc < ARGS_MAX - 1);
        argv[argc++] = w;
    }
    in = fopen("in", "we");
    assert_non_null(in);
    assert_int_equal(fwrite(box->in, 1, box->in_len, in), box->in_len);
    (void)fclose(in);
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_addopen(&actions, 0, "in", O_RDONLY, 0);
    (void)posix_spawn_file_actions_addopen(&actions, 1, "out",
                                           O_WRONLY | O_CREAT | O_TRUNC, 0600);
    (void)posix_spawn_file_actions_addopen(&actions, 2, "err",
                                           O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(posix_spawn(&pid, own, &actions, NULL, argv, environ), 0);
    (void)posix_spawn_file_actions_destroy(&actions);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    box->out_len = slurp("out", box->out);
    (void)slurp("err", box->err);
    return WEXITSTATUS(status);
}

/* The message is one line that begins with "kvctl: " and has `part` in it. */
static void assert_message(const struct box *box, const char *part)
{
    size_t len = strlen(box->err);

    if (strncmp(box->err, "kvctl: ", 7) != 0 || strstr(box->err, part) == NULL ||
        strchr(box->err, '\n') != box->err + len - 1) {
        print_message("stderr: %s\nwanted: %s\n", box->err, part);
        fail();
    }
}

static json_t *parse(const struct box *box)
{
    json_t *out = json_loadb(box->out, box->out_len, 0, NULL);

    assert_non_null(out);
    return out;
}

static int setup(void **state)
{
    static struct box boxes[1];
    struct box *box = &boxes[0];

    memset(box, 0, sizeof *box);
    (void)snprintf(box->folder, sizeof box->folder, "/tmp/kvctl-test-XXXXXX");
    assert_non_null(mkdtemp(box->folder));
    assert_int_equal(chdir(box->folder), 0);
    (void)unsetenv("KVCTL_ENDPOINTS");
    (void)unsetenv("KVCTL_OUTPUT");
    box->server = fake_server_start(1, 0);
    *state = box;
    return 0;
}

static int teardown(void **state)
{
    struct box *box = *state;

    fake_server_stop(box->server);
    (void)unlink("in");
    (void)unlink("out");
    (void)unlink("err");
    (void)unlink("cluster/endpoints");
    (void)rmdir("cluster");
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(rmdir(box->folder), 0);
    return 0;
}

#define WITH_BOX(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* ---- keys ---- */

static void put_and_get(void **state)
{
    struct box *box = *state;

    assert_int_equal(run(box, "put greeting hello"), 0);
    assert_string_equal(box->out, "");
    assert_string_equal(box->err, "");
    assert_int_equal(run(box, "get greeting"), 0);
    assert_string_equal(box->out, "hello\n");
    assert_int_equal(run(box, "get greeting --raw"), 0);
    assert_string_equal(box->out, "hello");
    assert_int_equal(run(box, "get nothing"), 1);
    assert_string_equal(box->out, "");
    assert_message(box, "key not found: nothing");
}

static void del_cas_and_incr(void **state)
{
    struct box *box = *state;

    assert_int_equal(run(box, "cas --absent k one"), 0);
    assert_int_equal(run(box, "cas k --absent two"), 1);
    assert_message(box, "k holds one");
    assert_int_equal(run(box, "cas k one two"), 0);
    assert_int_equal(run(box, "cas k one three"), 1);
    assert_int_equal(run(box, "cas k two --delete"), 0);
    assert_int_equal(run(box, "cas k two three"), 1);
    assert_message(box, "does not exist");
    assert_int_equal(run(box, "incr n"), 0);
    assert_string_equal(box->out, "1\n");
    assert_int_equal(run(box, "incr n -5"), 0);
    assert_string_equal(box->out, "-4\n");
    assert_int_equal(run(box, "del n"), 0);
    assert_int_equal(run(box, "del n"), 1);
    assert_message(box, "key not found: n");
}

static void values_come_from_stdin(void **state)
{
    static const char bytes[] = "a\0b\n\xff end";
    struct box *box = *state;

    memcpy(box->in, bytes, sizeof bytes - 1);
    box->in_len = sizeof bytes - 1;
    assert_int_equal(run(box, "put blob -"), 0);
    assert_int_equal(run(box, "get blob --raw"), 0);
    assert_int_equal(box->out_len, sizeof bytes - 1);
    assert_memory_equal(box->out, bytes, sizeof bytes - 1);
    assert_int_equal(run(box, "cas blob - text"), 0);
    assert_int_equal(run(box, "cas blob - -"), 2);
    assert_message(box, "only one of");
}

static void range_lists_keys(void **state)
{
    struct box *box = *state;

    assert_int_equal(run(box, "put a/1 one"), 0);
    assert_int_equal(run(box, "put a/2 two"), 0);
    assert_int_equal(run(box, "put b three"), 0);
    assert_int_equal(run(box, "range"), 0);
    assert_string_equal(box->out, "a/1\tone\na/2\ttwo\nb\tthree\n");
    assert_int_equal(run(box, "range --prefix a/"), 0);
    assert_string_equal(box->out, "a/1\tone\na/2\ttwo\n");
    assert_int_equal(run(box, "range --prefix=a/ --limit 1"), 0);
    assert_string_equal(box->out, "a/1\tone\n");
    assert_int_equal(run(box, "range a/2 c --keys-only"), 0);
    assert_string_equal(box->out, "a/2\nb\n");
    assert_int_equal(run(box, "range x"), 0);
    assert_string_equal(box->out, "");
    memcpy(box->in, "\x01\\\xff\t\xc3\xa9", 6);
    box->in_len = 6;
    assert_int_equal(run(box, "put odd -"), 0);
    assert_int_equal(run(box, "range odd"), 0);
    assert_string_equal(box->out, "odd\t\\x01\\x5c\\xff\\x09\xc3\xa9\n");
}

static void range_goes_on_behind_the_first_page(void **state)
{
    struct box *box = *state;
    struct kv_client *client = NULL;
    char key[481];
    size_t lines = 0;

    assert_int_equal(kv_open(fake_server_endpoint(box->server), &client), 0);
    for (int i = 0; i < 2500; i++) {
        const struct kv_result *r;

        (void)snprintf(key, sizeof key, "k%04d", i);
        if (i == 999) { /* The last of a page: what is behind it has 481 bytes. */
            memset(key + 5, 'x', 475);
            key[480] = '\0';
        }
        r = kv_wait(client, kv_put(kv_str(key), kv_str("v")));
        assert_int_equal(r->error, 0);
        kv_result_free(r);
    }
    kv_free(client);
    assert_int_equal(run(box, "range --keys-only"), 0);
    for (size_t i = 0; i < box->out_len; i++) {
        lines += box->out[i] == '\n';
    }
    assert_int_equal(lines, 2500);
    assert_non_null(strstr(box->out, "k2499\n"));
    assert_int_equal(run(box, "range --keys-only --limit 1500"), 0);
    assert_null(strstr(box->out, "k1500\n"));
    assert_non_null(strstr(box->out, "k1499\n"));
}

/* ---- formats ---- */

static void json_has_strings_or_base64(void **state)
{
    struct box *box = *state;
    json_t *json;

    assert_int_equal(run(box, "put -o json greeting hello"), 0);
    json = parse(box);
    assert_int_equal(json_integer_value(json_object_get(json, "rev")), 1);
    json_decref(json);

    assert_int_equal(run(box, "-o json get greeting"), 0);
    json = parse(box);
    assert_string_equal(json_string_value(json_object_get(json, "value")), "hello");
    assert_true(json_is_true(json_object_get(json, "found")));
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(json, "at"), "node")), 1);
    json_decref(json);

    memcpy(box->in, "\xff\xfe", 2);
    box->in_len = 2;
    assert_int_equal(run(box, "put blob -"), 0);
    assert_int_equal(run(box, "get blob -ojson"), 0);
    json = parse(box);
    assert_null(json_object_get(json, "value"));
    assert_string_equal(json_string_value(json_object_get(json, "value_b64")), "//4=");
    json_decref(json);

    assert_int_equal(run(box, "get nothing --output=json"), 1);
    json = parse(box);
    assert_true(json_is_false(json_object_get(json, "found")));
    assert_true(json_is_null(json_object_get(json, "value")));
    json_decref(json);

    assert_int_equal(run(box, "range -o json"), 0);
    json = parse(box);
    assert_int_equal(json_array_size(json_object_get(json, "items")), 2);
    json_decref(json);
}

static void tables_have_frames(void **state)
{
    struct box *box = *state;

    assert_int_equal(run(box, "put greeting hello"), 0);
    assert_int_equal(run(box, "get greeting -o table"), 0);
    assert_string_equal(box->out, "+----------+-------+-----+\n"
                                  "| KEY      | VALUE | REV |\n"
                                  "+----------+-------+-----+\n"
                                  "| greeting | hello | 1   |\n"
                                  "+----------+-------+-----+\n");
    assert_int_equal(setenv("KVCTL_OUTPUT", "table", 1), 0);
    assert_int_equal(run(box, "range"), 0);
    assert_non_null(strstr(box->out, "| greeting | 1   | hello |"));
}

/* ---- the cluster ---- */

static void status_shows_nodes_and_groups(void **state)
{
    struct box *box = *state;
    struct fake_server *servers[3] = {box->server, fake_server_start(2, 0),
                                      fake_server_start(3, 0)};
    const uint32_t leaders[] = {1, 2, 0, 2};
    struct map *map = fake_server_map(servers, 3, 4, 6);
    json_t *json;

    for (int i = 0; i < 3; i++) {
        fake_server_set_map(servers[i], map, leaders);
    }
    assert_int_equal(run(box, "status"), 1); /* Group 3 has no leader. */
    assert_message(box, "1 of 4 groups have no leader");
    assert_non_null(strstr(box->out, "NODE  ADDRESS"));
    assert_non_null(strstr(box->out, "2 of 4"));
    assert_int_equal(run(box, "status -o json"), 1);
    json = parse(box);
    assert_int_equal(json_array_size(json_object_get(json, "nodes")), 3);
    assert_int_equal(json_array_size(json_object_get(json, "groups")), 4);
    json_decref(json);

    fake_server_stop(servers[2]);
    assert_int_equal(run(box, "status -o table"), 1);
    assert_message(box, "1 of 3 nodes do not answer");
    assert_non_null(strstr(box->out, "down (connection refused)"));
    fake_server_stop(servers[1]);
    kv_mem_free(map);
}

static void status_of_a_healthy_cluster_exits_0(void **state)
{
    struct box *box = *state;

    assert_int_equal(run(box, "status"), 0);
    assert_string_equal(box->err, "");
    assert_non_null(strstr(box->out, "1 of 1"));
}

static void bench_counts_what_was_done(void **state)
{
    struct box *box = *state;
    json_t *json;
    json_t *put;

    assert_int_equal(
        run(box, "bench --clients 2 --count 100 --warmup 0 --keys 10 -o json"), 0);
    json = json_loads(box->out, 0, NULL);
    assert_non_null(json);
    put = json_object_get(json_object_get(json, "ops"), "put");
    assert_int_equal(json_integer_value(json_object_get(put, "done")), 100);
    assert_int_equal(json_integer_value(json_object_get(put, "not_done")), 0);
    json_decref(json);
    assert_int_equal(run(box, "range --keys-only --limit 1"), 0);
    assert_memory_equal(box->out, "bench/", 6);
}

static void bench_refuses_what_it_cannot_do(void **state)
{
    static const char *const lines[][2] = {
        {"bench --mix walk=1", "is no mix"},
        {"bench --mix get=0", "is no mix"},
        {"bench --mix get=1,put", NULL},
        {"bench --clients 0", "whole number from 1"},
        {"bench --clients 2x", "whole number"},
        {"bench --spread gauss", "uniform, zipfian"},
        {"bench --duration soon", "is not a time"},
        {"bench --duration 0s", "without an end"},
        {"bench --routing best", "leader, endpoints"},
        {"bench --clients 10000 --flight 1000", "too many"},
        {"get k --mix get", "has no option --mix"},
    };
    struct box *box = *state;

    for (size_t i = 0; i < KV_ARRAY_COUNT(lines); i++) {
        if (lines[i][1] != NULL) {
            assert_int_equal(run(box, lines[i][0]), 2);
            assert_message(box, lines[i][1]);
        }
    }
    assert_int_equal(run(box, "bench --mix get=1,put --count 10 --warmup 0"), 0);
}

static void ring_shows_where_keys_live(void **state)
{
    struct box *box = *state;
    json_t *json;

    assert_int_equal(run(box, "ring greeting"), 0);
    assert_non_null(strstr(box->out, "key greeting: slot "));
    assert_non_null(strstr(box->out, ", group 1\n"));
    assert_non_null(strstr(box->out, fake_server_endpoint(box->server)));
    assert_non_null(strstr(box->out, "leader"));
    assert_int_equal(run(box, "ring"), 0);
    assert_non_null(strstr(box->out, "100.0 %"));
    assert_int_equal(run(box, "ring -o json {tag}x"), 0);
    json = parse(box);
    assert_int_equal(json_integer_value(json_object_get(json, "slot")),
                     kv_slot(kv_str("tag")));
    json_decref(json);
}

/* ---- statuses ---- */

static void wrong_usage_exits_2(void **state)
{
    static const struct {
        const char *words;
        const char *message;
    } rows[] = {
        {"", "a command is missing"},
        {"putt a b", "did you mean: kvctl put"},
        {"statsu", "did you mean: kvctl status"},
        {"frobnicate", "see: kvctl help"},
        {"put greeting", "usage: kvctl put KEY VALUE|-"},
        {"get a b", "too many arguments"},
        {"get a --rwa", "did you mean: --raw"},
        {"put a b --raw", "put has no option --raw"},
        {"get a -x", "unknown option -x"},
        {"get a --timeout", "needs a value"},
        {"get a --timeout soon", "write it like: --timeout 5s"},
        {"get a --timeout 8d", "up to 7d"},
        {"put a b --ttl 31d", "write it like: --ttl 10s"},
        {"get a -o xml", "simple, json, table"},
        {"get a --raw=yes", "takes no value"},
        {"range --limit 0", "--limit 10"},
        {"range a --prefix b", "exclude each other"},
        {"incr n one", "not a whole number"},
        {"txn foo a b", "where if, then or else must stand"},
        {"txn then frob a", "none of get put del incr range"},
        {"txn then put a", "put takes 2 words"},
        {"txn then incr a one", "not a whole number"},
        {"txn if value a =", "if takes 4 words"},
        {"txn if value a == b", "none of = != < > <= >="},
        {"txn if rev a = x", "is not: value KEY OP VALUE"},
        {"txn if exists a = yes", "is not: value KEY OP VALUE"},
        {"cas k a", "cas takes KEY EXPECTED NEW"},
        {"help nothing", "there is no command"},
        {"get a --endpoints localhost", "is not a list of endpoints"},
    };
    struct box *box = *state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(run(box, rows[i].words), 2);
        assert_message(box, rows[i].message);
    }
    assert_int_equal(fake_server_connections(box->server), 0);
}

static void a_key_that_is_too_long_exits_2(void **state)
{
    struct box *box = *state;
    char words[600] = "get ";

    memset(words + 4, 'k', 481);
    assert_int_equal(run(box, words), 2);
    assert_message(box, "longer than 480 bytes");
}

static void nobody_to_connect_to_exits_3(void **state)
{
    struct box *box = *state;

    box->without_endpoints = true;
    assert_int_equal(run(box, "--endpoints 127.0.0.1:1,127.0.0.1:2 get greeting"), 3);
    assert_message(box, "127.0.0.1:1 (connection refused), 127.0.0.1:2 (connection "
                        "refused). Is the cluster up? Try: make up");
    assert_int_equal(run(box, "get greeting"), 3);
    assert_message(box, "make up");
    assert_int_equal(run(box, "status --endpoints 127.0.0.1:1"), 3);
}

static void a_refusal_exits_4(void **state)
{
    struct box *box = *state;

    fake_server_script(box->server, (struct fake_step){.action = FAKE_ERROR,
                                                       .code = KV_ENOLEADER,
                                                       .text = "group 3 has no leader",
                                                       .times = FAKE_FOREVER});
    assert_int_equal(run(box, "put k v --timeout 300ms"), 4);
    assert_message(box, "NO_LEADER: group 3 has no leader");
    assert_message(box, "Try: kvctl status");
}

static void an_unknown_outcome_exits_5(void **state)
{
    struct box *box = *state;

    fake_server_script(
        box->server, (struct fake_step){.action = FAKE_SILENT, .times = FAKE_FOREVER});
    assert_int_equal(run(box, "incr n --timeout=0.2s"), 5);
    assert_message(box, "no answer within the deadline of ");
    assert_message(box, "Try: kvctl get n");
    assert_int_equal(fake_server_requests(box->server, RPC_KV_INCR), 1);
}

static void a_lost_answer_is_asked_for_again(void **state)
{
    struct box *box = *state;

    fake_server_script(box->server, (struct fake_step){.action = FAKE_DROP_DONE});
    assert_int_equal(run(box, "incr n"), 0);
    assert_string_equal(box->out, "1\n");
    assert_int_equal(fake_server_requests(box->server, RPC_KV_INCR), 2);
}

static void a_name_for_a_write_makes_it_happen_once(void **state)
{
    struct box *box = *state;

    assert_int_equal(run(box, "incr n --idem order-1 --idem-ttl 10m"), 0);
    assert_int_equal(run(box, "incr n --idem order-1 -o json"), 0);
    assert_non_null(strstr(box->out, "\"repeated\":true"));
    assert_int_equal(run(box, "incr n --idem order-2"), 0);
    assert_string_equal(box->out, "2\n");
    assert_int_equal(run(box, "incr n --idem-ttl 10m"), 2);
    assert_int_equal(run(box, "incr n --idem x --idem-ttl 25h"), 2);
    assert_int_equal(run(box, "get n --idem x"), 2);
}

static void a_token_is_kept_in_a_file(void **state)
{
    struct box *box = *state;
    struct map *map = fake_server_map(&box->server, 1, 1, 1);
    const uint32_t leaders[] = {1};
    char before[OUT_MAX];
    struct rpc_options o;

    fake_server_set_map(box->server, map, leaders);
    kv_mem_free(map);
    assert_int_equal(run(box, "put k v"), 0);
    assert_int_equal(run(box, "get k --token seen"), 0);
    (void)slurp("seen", before);
    assert_int_equal(strlen(before), 2 * 11 + 1);
    assert_int_equal(run(box, "put k w --token seen"), 0);
    assert_int_equal(run(box, "get k --token seen --level session"), 0);
    assert_true(fake_server_options(box->server, RPC_KV_GET, &o));
    assert_int_equal(o.level, RPC_SESSION);
    assert_true((o.has & RPC_OPT_BIT(RPC_OPT_token)) != 0);
    box->in_len = 0;
    assert_int_equal(run(box, "get k --token in"), 7); /* An empty file: stdin's. */
    assert_message(box, "in holds no token");
    assert_int_equal(unlink("seen"), 0);
}

static void the_timeout_is_for_the_whole_command(void **state)
{
    struct box *box = *state;
    uint64_t begin = uv_hrtime() / 1000000;

    assert_int_equal(run(box, "put a 1"), 0);
    assert_int_equal(run(box, "put b 2"), 0);
    /* A listing of two pages, each in time by itself. */
    fake_server_script(box->server, (struct fake_step){.method = RPC_KV_RANGE,
                                                       .action = FAKE_OK_LATE,
                                                       .ms = 300,
                                                       .times = FAKE_FOREVER});
    fake_server_limit(box->server, 1);
    assert_int_equal(run(box, "range --timeout 400ms"), 4);
    assert_true(uv_hrtime() / 1000000 - begin < 2000);
    assert_string_equal(box->out, "a\t1\n");
}

static void denied_exits_6_and_damage_7(void **state)
{
    struct box *box = *state;

    fake_server_script(box->server,
                       (struct fake_step){.action = FAKE_ERROR, .code = KV_EDENIED});
    assert_int_equal(run(box, "put k v"), 6);
    fake_server_script(box->server,
                       (struct fake_step){.action = FAKE_ERROR, .code = KV_EDAMAGED});
    assert_int_equal(run(box, "get k"), 7);
    fake_server_script(
        box->server, (struct fake_step){.action = FAKE_GARBAGE, .times = FAKE_FOREVER});
    assert_int_equal(run(box, "get k --timeout 300ms"), 7);
}

/* ---- the rest ---- */

static void finds_the_endpoints_below_the_current_folder(void **state)
{
    struct box *box = *state;
    FILE *file;

    assert_int_equal(mkdir("cluster", 0700), 0);
    file = fopen("cluster/endpoints", "we");
    assert_non_null(file);
    (void)fprintf(file, "127.0.0.1:1,%s\n", fake_server_endpoint(box->server));
    (void)fclose(file);
    box->without_endpoints = true;
    assert_int_equal(run(box, "put greeting hello"), 0);
    assert_int_equal(setenv("KVCTL_ENDPOINTS", "127.0.0.1:2", 1), 0);
    assert_int_equal(run(box, "get greeting"), 3); /* The environment comes first. */
    assert_message(box, "127.0.0.1:2");
}

static void two_dashes_end_the_options(void **state)
{
    struct box *box = *state;

    assert_int_equal(run(box, "put -- --key -o"), 0);
    assert_int_equal(run(box, "get -- --key"), 0);
    assert_string_equal(box->out, "-o\n");
}

static void help_and_version(void **state)
{
    struct box *box = *state;

    assert_int_equal(run(box, "help"), 0);
    assert_non_null(strstr(box->out, "exit status"));
    assert_int_equal(run(box, "--help"), 0);
    assert_int_equal(run(box, "put --help"), 0);
    assert_non_null(strstr(box->out, "usage: kvctl [OPTIONS] put KEY VALUE|-"));
    assert_int_equal(run(box, "help range"), 0);
    assert_non_null(strstr(box->out, "--prefix"));
    assert_int_equal(run(box, "--version"), 0);
    assert_string_equal(box->out, "kvctl 0.1.0\n");
    assert_int_equal(run(box, "version -o json"), 0);
    assert_non_null(strstr(box->out, "0.1.0"));
}

static void words_are_as_far_apart_as_edits(void **state)
{
    (void)state;
    assert_int_equal(ctl_distance("put", "put"), 0);
    assert_int_equal(ctl_distance("putt", "put"), 1);
    assert_int_equal(ctl_distance("ptu", "put"), 1); /* Neighbours swapped. */
    assert_int_equal(ctl_distance("statsu", "status"), 1);
    assert_int_equal(ctl_distance("", "get"), 3);
    assert_int_equal(ctl_distance("kitten", "sitting"), 3);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WITH_BOX(put_and_get),
        WITH_BOX(del_cas_and_incr),
        WITH_BOX(values_come_from_stdin),
        WITH_BOX(range_lists_keys),
        WITH_BOX(range_goes_on_behind_the_first_page),
        WITH_BOX(json_has_strings_or_base64),
        WITH_BOX(tables_have_frames),
        WITH_BOX(status_shows_nodes_and_groups),
        WITH_BOX(status_of_a_healthy_cluster_exits_0),
        WITH_BOX(bench_counts_what_was_done),
        WITH_BOX(bench_refuses_what_it_cannot_do),
        WITH_BOX(ring_shows_where_keys_live),
        WITH_BOX(wrong_usage_exits_2),
        WITH_BOX(a_key_that_is_too_long_exits_2),
        WITH_BOX(nobody_to_connect_to_exits_3),
        WITH_BOX(a_refusal_exits_4),
        WITH_BOX(an_unknown_outcome_exits_5),
        WITH_BOX(a_lost_answer_is_asked_for_again),
        WITH_BOX(a_name_for_a_write_makes_it_happen_once),
        WITH_BOX(a_token_is_kept_in_a_file),
        WITH_BOX(the_timeout_is_for_the_whole_command),
        WITH_BOX(denied_exits_6_and_damage_7),
        WITH_BOX(finds_the_endpoints_below_the_current_folder),
        WITH_BOX(two_dashes_end_the_options),
        WITH_BOX(help_and_version),
        cmocka_unit_test(words_are_as_far_apart_as_edits),
    };

    if (argc > 1 && strcmp(argv[1], "kvctl") == 0) {
        return ctl_run(argc - 1, argv + 1);
    }
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("client/kvctl", tests, NULL, NULL);
}
