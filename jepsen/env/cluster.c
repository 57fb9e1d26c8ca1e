/* jepsen/env/cluster.c - life of a cluster: the keeper, and the nodes through it. */
#include "jepsen/env/cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "jepsen/env/cluster_own.h"
#include "jepsen/env/power.h"
#include "jepsen/env/preload.h"
#include "raft/base/arena.h"
#include "raft/base/err.h"

enum {
    CLUSTER_STEP_MS = 5,     /* Between looks at a state that must come. */
    CLUSTER_GONE_MS = 10000, /* A killed process is gone by then, or never. */
};

#define LAYER_NAME "libkvlayer.so"

int cluster_fail(struct cluster *c, int rc, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    pthread_mutex_lock(&c->lock);
    vsnprintf(c->error, sizeof c->error, format, args);
    pthread_mutex_unlock(&c->lock);
    va_end(args);
    return rc;
}

void cluster_sleep_ms(uint32_t ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    while (nanosleep(&t, &t) != 0 && errno == EINTR) {
    }
}

void cluster_path(const struct cluster *c, uint32_t node, const char *leaf, char *out)
{
    int len = snprintf(out, CLUSTER_PATH_BYTES, "%s/n%u%s%s", c->dir, node,
                       leaf[0] != '\0' ? "/" : "", leaf);

    KV_ASSERT(len > 0 && len < CLUSTER_PATH_BYTES);
}

/* ---- talking to the keeper ---- */

/* Receives a reply, and a descriptor with it where one comes. */
static int reply_take(struct cluster *c, struct keeper_reply *r, int *out_fd)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } extra;
    struct iovec piece = {.iov_base = r, .iov_len = sizeof *r};
    struct msghdr m = {.msg_iov = &piece, .msg_iovlen = 1};
    ssize_t len;

    memset(&extra, 0, sizeof extra);
    m.msg_control = &extra;
    m.msg_controllen = sizeof extra;
    do {
        len = recvmsg(c->control, &m, MSG_CMSG_CLOEXEC);
    } while (len < 0 && errno == EINTR);
    if (len != (ssize_t)sizeof *r) {
        return KV_ECLOSED;
    }
    if (m.msg_controllen >= sizeof extra.head && extra.head.cmsg_type == SCM_RIGHTS) {
        memcpy(out_fd, CMSG_DATA(&extra.head), sizeof *out_fd);
    }
    return r->rc;
}

int cluster_ask(struct cluster *c, const struct keeper_request *q,
                struct keeper_reply *r)
{
    int fd = -1;
    int rc = KV_ECLOSED;

    *r = (struct keeper_reply){.rc = KV_ECLOSED, .error = "the keeper is gone"};
    pthread_mutex_lock(&c->lock);
    if (send(c->control, q, sizeof *q, MSG_NOSIGNAL) == (ssize_t)sizeof *q) {
        rc = reply_take(c, r, &fd);
    }
    if (rc != 0) {
        memcpy(c->error, r->error, sizeof c->error);
    }
    pthread_mutex_unlock(&c->lock);
    return rc;
}

static void nodes_ask(struct cluster *c, struct keeper_reply *r)
{
    const struct keeper_request q = {.verb = KEEPER_NODES};

    if (cluster_ask(c, &q, r) != 0) {
        for (uint32_t i = 0; i < CLUSTER_NODES_MAX; i++) {
            r->nodes[i] = (struct keeper_node){.state = CLUSTER_NODE_DIED};
        }
    }
}

static uint32_t up_of(const struct cluster *c, const struct keeper_reply *r)
{
    uint32_t mask = 0;

    for (uint32_t i = 1; i <= c->nodes; i++) {
        mask |= r->nodes[i - 1].state == CLUSTER_NODE_UP ? CLUSTER_BIT(i) : 0;
    }
    return mask;
}

/* ---- open ---- */

static int open_fail(char *error, int rc, const char *format, const char *what)
{
    snprintf(error, CLUSTER_ERROR_BYTES, format, what, strerror(errno));
    return rc;
}

static bool folder_make(const char *path)
{
    return mkdir(path, 0755) == 0 || errno == EEXIST;
}

/* Makes DIR/nI/data, and the disk layer's state where there is one. */
static int folders_make(struct cluster *c, const struct cluster_options *o, char *error)
{
    char path[PATH_MAX];

    if (!folder_make(o->dir)) {
        return open_fail(error, KV_EIO, "%.160s: %s", o->dir);
    }
    if (realpath(o->dir, path) == NULL || strlen(path) > CLUSTER_PATH_BYTES - 64) {
        return open_fail(error, KV_EINVAL, "%.160s: too long, or %s", o->dir);
    }
    memcpy(c->dir, path, strlen(path) + 1);
    for (uint32_t i = 1; i <= c->nodes; i++) {
        cluster_path(c, i, "", path);
        if (!folder_make(path)) {
            return open_fail(error, KV_EIO, "%.160s: %s", path);
        }
        cluster_path(c, i, "data", path);
        if (!folder_make(path)) {
            return open_fail(error, KV_EIO, "%.160s: %s", path);
        }
        cluster_path(c, i, "layer", path);
        if (!o->bare_disk) {
            c->layers[i] = power_layer_open(path);
            if (c->layers[i] == NULL) {
                return open_fail(error, KV_EIO, "%.160s: %s", path);
            }
        }
    }
    return 0;
}

/* Forks the keeper; both sides have a copy of *k. */
static int keeper_fork(struct cluster *c, const struct keeper_config *k)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        return KV_EIO;
    }
    c->keeper = fork();
    if (c->keeper == 0) {
        (void)close(pair[0]);
        keeper_main(pair[1], k);
    }
    (void)close(pair[1]);
    c->control = pair[0];
    return c->keeper > 0 ? 0 : KV_EIO;
}

static void keeper_end(struct cluster *c)
{
    if (c->control >= 0) {
        (void)close(c->control);
        c->control = -1;
    }
    if (c->keeper > 0) {
        (void)waitpid(c->keeper, NULL, 0);
        c->keeper = 0;
    }
}

/* Moves this thread into the clients' namespace. */
static int namespace_enter(struct cluster *c, int ns, char *error)
{
    int rc = 0;

    c->home_ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (c->home_ns < 0 || setns(ns, CLONE_NEWNET) != 0) {
        rc = open_fail(error, KV_EDENIED, "%s: %s", "the clients' namespace");
    }
    return rc;
}

bool cluster_env_of(const char *name, enum cluster_env *out_env)
{
    static const char *const names[] = {
        [CLUSTER_AUTO] = "auto",
        [CLUSTER_NETNS] = "netns",
        [CLUSTER_VETH] = "veth",
        [CLUSTER_PROXY] = "proxy",
    };

    for (size_t i = 0; i < KV_ARRAY_COUNT(names); i++) {
        if (strcmp(names[i], name) == 0) {
            *out_env = (enum cluster_env)i;
            return true;
        }
    }
    return false;
}

static const struct net_ops *net_of(enum cluster_env env)
{
    return env == CLUSTER_PROXY  ? &proxy_ops
           : env == CLUSTER_VETH ? &veth_ops
                                 : &switch_ops;
}

/* Starts a keeper with this network and waits for its first word. */
static int keeper_start(struct cluster *c, struct keeper_config *k,
                        enum cluster_env env, char *error)
{
    struct keeper_reply r;
    int ns = -1;
    int rc;

    k->net = net_of(env);
    c->env = env;
    if (keeper_fork(c, k) != 0) {
        return open_fail(error, KV_EIO, "%s: %s", "fork");
    }
    rc = reply_take(c, &r, &ns);
    if (rc == 0 && ns >= 0) {
        rc = namespace_enter(c, ns, error);
    } else if (rc != 0) {
        snprintf(error, CLUSTER_ERROR_BYTES, "%s: %.200s", k->net->name,
                 rc == KV_ECLOSED ? "the keeper died" : r.error);
    }
    if (ns >= 0) {
        (void)close(ns);
    }
    if (rc == 0) {
        memcpy(c->host_seen, r.host_seen, sizeof c->host_seen);
        memcpy(c->host_own, r.host_own, sizeof c->host_own);
    } else {
        keeper_end(c);
    }
    return rc;
}

static int options_check(const struct cluster_options *o, struct keeper_config *k,
                         char *kvd, char *preload, char *error)
{
    char layer[CLUSTER_PATH_BYTES];

    if (o->nodes < 1 || o->nodes > CLUSTER_NODES_MAX || o->dir == NULL) {
        snprintf(error, CLUSTER_ERROR_BYTES, "1 to %d nodes, and a folder",
                 CLUSTER_NODES_MAX);
        return KV_EINVAL;
    }
    k->kvd = o->kvd;
    if (o->kvd == NULL) {
        if (!preload_beside("kvd", kvd, CLUSTER_PATH_BYTES)) {
            return open_fail(error, KV_EINVAL, "%s: not found beside this program (%s)",
                             "kvd");
        }
        k->kvd = kvd;
    }
    if (access(k->kvd, X_OK) != 0) {
        return open_fail(error, KV_EINVAL, "%.160s: %s", k->kvd);
    }
    if (!o->bare_disk) {
        if (!preload_beside(LAYER_NAME, layer, sizeof layer)) {
            return open_fail(error, KV_EINVAL, "%s: not found beside this program (%s)",
                             LAYER_NAME);
        }
        if (!preload_text(k->kvd, layer, preload, CLUSTER_PATH_BYTES)) {
            return open_fail(error, KV_EINVAL, "%.160s: %s", k->kvd);
        }
        k->preload = preload;
    }
    return 0;
}

int cluster_open(const struct cluster_options *o, struct cluster **out_c, char *error)
{
    struct keeper_config k = {.nodes = o->nodes,
                              .groups = o->groups,
                              .seed = o->seed,
                              .pcap = o->pcap,
                              .kvd_args = o->kvd_args};
    char kvd[CLUSTER_PATH_BYTES];
    char preload[CLUSTER_PATH_BYTES];
    struct cluster *c;
    int rc;

    rc = options_check(o, &k, kvd, preload, error);
    if (rc != 0) {
        return rc;
    }
    c = kv_mem_zalloc(sizeof *c);
    if (c == NULL) {
        return open_fail(error, KV_EIO, "%s: %s", "memory");
    }
    c->nodes = o->nodes;
    c->seed = o->seed;
    c->control = -1;
    c->home_ns = -1;
    pthread_mutex_init(&c->lock, NULL);
    rc = folders_make(c, o, error);
    if (rc == 0) {
        k.dir = c->dir;
        rc =
            keeper_start(c, &k, o->env == CLUSTER_AUTO ? CLUSTER_NETNS : o->env, error);
    }
    if (rc == KV_EDENIED && o->env == CLUSTER_AUTO) {
        rc = keeper_start(c, &k, CLUSTER_PROXY, error);
    }
    if (rc != 0) {
        cluster_close(c);
        return rc;
    }
    *out_c = c;
    return 0;
}

void cluster_close(struct cluster *c)
{
    char path[CLUSTER_PATH_BYTES];

    if (c == NULL) {
        return;
    }
    keeper_end(c);
    if (c->home_ns >= 0) {
        (void)setns(c->home_ns, CLONE_NEWNET);
        (void)close(c->home_ns);
    }
    for (uint32_t i = 1; i <= c->nodes; i++) {
        if (c->layers[i] != NULL) {
            cluster_path(c, i, "layer", path);
            power_layer_close(c->layers[i], path);
        }
    }
    pthread_mutex_destroy(&c->lock);
    kv_mem_free(c);
}

/* ---- nodes ---- */

int cluster_start(struct cluster *c, uint32_t mask)
{
    return cluster_start_armed(c, mask, "");
}

int cluster_start_armed(struct cluster *c, uint32_t mask, const char *points)
{
    struct keeper_request q = {.verb = KEEPER_START, .mask = mask};
    struct keeper_reply r;

    if (strlen(points) >= sizeof q.points) {
        return cluster_fail(c, KV_EINVAL, "too many failpoints: %.60s", points);
    }
    snprintf(q.points, sizeof q.points, "%s", points);
    return cluster_ask(c, &q, &r);
}

static void nodes_signal(struct cluster *c, uint32_t mask, int number, bool expected)
{
    const struct keeper_request q = {
        .verb = KEEPER_SIGNAL, .mask = mask, .signal = number, .expected = expected};
    struct keeper_reply r;

    (void)cluster_ask(c, &q, &r); /* Gone: then the nodes are as well. */
}

/* Waits until none of the mask is up; false when one still is. */
static bool gone_wait(struct cluster *c, uint32_t mask, uint32_t wait_ms)
{
    struct keeper_reply r;

    for (uint32_t ms = 0;; ms += CLUSTER_STEP_MS) {
        nodes_ask(c, &r);
        if ((up_of(c, &r) & mask) == 0) {
            return true;
        }
        if (ms >= wait_ms) {
            return false;
        }
        cluster_sleep_ms(CLUSTER_STEP_MS);
    }
}

int cluster_stop(struct cluster *c, uint32_t mask, uint32_t wait_ms)
{
    nodes_signal(c, mask, SIGTERM, true);
    if (gone_wait(c, mask, wait_ms)) {
        return 0;
    }
    cluster_kill(c, mask);
    return cluster_fail(c, KV_ETIMEOUT, "a node did not stop within %u ms", wait_ms);
}

void cluster_kill(struct cluster *c, uint32_t mask)
{
    nodes_signal(c, mask, SIGKILL, true);
    (void)gone_wait(c, mask, CLUSTER_GONE_MS);
}

/* The state letter of a process in /proc; 0 when it is gone. */
static char process_state(pid_t pid)
{
    char path[64];
    char text[512];
    const char *end;
    ssize_t len;
    int fd;

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return '\0';
    }
    len = read(fd, text, sizeof text - 1);
    (void)close(fd);
    text[len > 0 ? len : 0] = '\0';
    end = strrchr(text, ')');
    return end != NULL && end[1] == ' ' ? end[2] : '\0';
}

static void stopped_wait(struct cluster *c, uint32_t mask, bool stopped)
{
    struct keeper_reply r;

    nodes_ask(c, &r);
    for (uint32_t i = 1; i <= c->nodes; i++) {
        for (uint32_t ms = 0; (mask & CLUSTER_BIT(i)) != 0 && ms < 1000; ms++) {
            char state =
                r.nodes[i - 1].pid > 0 ? process_state(r.nodes[i - 1].pid) : '\0';

            if (state == '\0' || (state == 'T') == stopped) {
                break;
            }
            cluster_sleep_ms(1);
        }
    }
}

void cluster_pause(struct cluster *c, uint32_t mask)
{
    nodes_signal(c, mask, SIGSTOP, false);
    stopped_wait(c, mask, true);
}

void cluster_resume(struct cluster *c, uint32_t mask)
{
    nodes_signal(c, mask, SIGCONT, false);
    stopped_wait(c, mask, false);
}

/* ---- looking in ---- */

uint32_t cluster_size(const struct cluster *c)
{
    return c->nodes;
}

enum cluster_env cluster_env(const struct cluster *c)
{
    return c->env;
}

const char *cluster_env_name(const struct cluster *c)
{
    return net_of(c->env)->name;
}

bool cluster_stands(struct cluster *c)
{
    const struct keeper_request q = {.verb = KEEPER_NODES};
    struct keeper_reply r;

    return cluster_ask(c, &q, &r) == 0;
}

void cluster_node(struct cluster *c, uint32_t node, struct cluster_node_info *out)
{
    struct keeper_reply r;

    KV_ASSERT(node >= 1 && node <= c->nodes);
    nodes_ask(c, &r);
    *out = (struct cluster_node_info){
        .state = r.nodes[node - 1].state,
        .pid = r.nodes[node - 1].pid,
        .exit_status = r.nodes[node - 1].exit_status,
        .starts = r.nodes[node - 1].starts,
        .deaths = r.nodes[node - 1].deaths,
    };
    snprintf(out->client, sizeof out->client, "%.40s:%d", c->host_seen[node],
             NET_PORT_CLIENT);
    snprintf(out->http, sizeof out->http, "%.40s:%d", c->host_own[node], NET_PORT_HTTP);
    cluster_path(c, node, "data", out->data_dir);
    cluster_path(c, node, "log", out->log_path);
}

uint32_t cluster_up(struct cluster *c)
{
    struct keeper_reply r;

    nodes_ask(c, &r);
    return up_of(c, &r);
}

bool cluster_is_stopped(struct cluster *c, uint32_t node)
{
    struct keeper_reply r;

    KV_ASSERT(node >= 1 && node <= c->nodes);
    nodes_ask(c, &r);
    return r.nodes[node - 1].pid > 0 && process_state(r.nodes[node - 1].pid) == 'T';
}

const char *cluster_error(const struct cluster *c)
{
    return c->error;
}
