/* tests/jepsen/env_test.h - a little cluster of real nodes for one test.
 *
 * Needs:    jepsen/env, cmocka, client/kv.h.
 * Used by:  tests/jepsen/test_*.c of environments and nemeses.
 */
#ifndef KV_TESTS_JEPSEN_ENV_TEST_H
#define KV_TESTS_JEPSEN_ENV_TEST_H

/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/kv.h"
#include "jepsen/env/faults.h"
#include "jepsen/env/net.h"
#include "raft/base/err.h"

enum {
    ENV_READY_MS = 20000
};

struct env_test {
    struct cluster *c;
    struct kv_client *kv;
    char dir[64];
};

static inline void env_dir_remove(const char *dir)
{
    char command[128];

    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    if (system(command) != 0) {
        fail_msg("%s", command);
    }
}

/* Skips the test when the environment needs root and we are not, or what the kernel
 * lacks. */
static inline void env_needs_root(enum cluster_env env)
{
    if ((env == CLUSTER_NETNS || env == CLUSTER_VETH) && geteuid() != 0) {
        fprintf(stderr, "# skipped: network namespaces need root\n");
        skip();
    }
    if (env == CLUSTER_VETH && system("unshare -n nft add table bridge kvj") != 0) {
        fprintf(stderr, "# skipped: no nft for bridges here\n");
        skip();
    }
}

/* Opens a cluster of n nodes with two groups and waits until it is ready. */
static inline void env_open(struct env_test *t, enum cluster_env env, uint32_t n)
{
    static const char *const args[] = {"--checkpoint-ms", "200", "--reserve-bytes",
                                       "4M", NULL};
    char error[CLUSTER_ERROR_BYTES] = "";
    struct cluster_options o = {
        .env = env, .nodes = n, .groups = 2, .seed = 1, .kvd_args = args};

    env_needs_root(env);
    *t = (struct env_test){.c = NULL};
    snprintf(t->dir, sizeof t->dir, "/tmp/kvj-test.XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    o.dir = t->dir;
    if (cluster_open(&o, &t->c, error) != 0) {
        fail_msg("cluster_open: %s", error);
    }
    assert_int_equal(cluster_start(t->c, CLUSTER_ALL(n)), 0);
    if (cluster_wait_ready(t->c, CLUSTER_ALL(n), ENV_READY_MS) != 0) {
        fail_msg("%s", cluster_error(t->c));
    }
}

static inline void env_close(struct env_test *t)
{
    if (t->kv != NULL) {
        kv_free(t->kv);
    }
    cluster_close(t->c);
    env_dir_remove(t->dir);
}

/* A client of all nodes. */
static inline struct kv_client *env_client(struct env_test *t)
{
    char list[CLUSTER_NODES_MAX * CLUSTER_ADDRESS_BYTES] = "";
    size_t at = 0;

    for (uint32_t i = 1; t->kv == NULL && i <= cluster_size(t->c); i++) {
        struct cluster_node_info info;

        cluster_node(t->c, i, &info);
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", i > 1 ? "," : "",
                               info.client);
    }
    if (t->kv == NULL) {
        assert_int_equal(kv_open(list, &t->kv), 0);
    }
    return t->kv;
}

/* Writes a key; true when the cluster said done within the deadline. */
static inline int env_put(struct env_test *t, const char *key, const char *value)
{
    const struct kv_result *r =
        kv_wait(env_client(t), kv_put(kv_str(key), kv_str(value)));
    int done = r->outcome == KV_DONE;

    if (!done) {
        fprintf(stderr, "# put %s: %s\n", key, r->text);
    }
    kv_result_free(r);
    return done;
}

static inline int env_has(struct env_test *t, const char *key, const char *value)
{
    const struct kv_result *r = kv_wait(env_client(t), kv_get(kv_str(key)));
    int same = r->outcome == KV_DONE && r->found && r->value.len == strlen(value) &&
               memcmp(r->value.data, value, r->value.len) == 0;

    kv_result_free(r);
    return same;
}

/* Does a message get through from one end to another? */
static inline int env_hears(struct env_test *t, uint32_t from, uint32_t to)
{
    struct fault_probe p;

    fault_probe(t->c, from, to, 3, 200, &p);
    return p.received > 0;
}

#endif
