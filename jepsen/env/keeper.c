/* jepsen/env/keeper.c - the process that owns nodes and network. */
#include "jepsen/env/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jepsen/env/power.h"
#include "raft/base/arena.h"
#include "raft/base/err.h"

enum {
    KEEPER_EVENTS = 64,
    KEEPER_TEXT_BYTES = 1024,
    KEEPER_DUTY_NS = 50000000, /* A period of a slowed process. */
};

/* A node and what is done to its process. */
struct child {
    struct keeper_node seen;
    bool expected;    /* Its end was asked for. */
    bool paused;      /* By SIGSTOP of ours; the duty cycle leaves it alone. */
    uint32_t percent; /* Of each period it may run; 100: all. */
    bool resting;     /* Stopped by the duty cycle. */
    uint64_t turn_ns; /* When it rests or goes on. */
};

struct keeper {
    const struct keeper_config *k;
    struct net net;
    struct child nodes[CLUSTER_NODES_MAX]; /* [I - 1] */
    int control;
    int signals;
    int epoll_fd;
    bool closing;
    char cluster[CLUSTER_NODES_MAX * 80]; /* --initial-cluster */
};

static void reply_send(struct keeper *s, const struct keeper_reply *r, int fd)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } extra;
    struct iovec piece = {.iov_base = (void *)(uintptr_t)r, .iov_len = sizeof *r};
    struct msghdr m = {.msg_iov = &piece, .msg_iovlen = 1};

    if (fd >= 0) {
        memset(&extra, 0, sizeof extra);
        m.msg_control = &extra;
        m.msg_controllen = sizeof extra;
        extra.head.cmsg_level = SOL_SOCKET;
        extra.head.cmsg_type = SCM_RIGHTS;
        extra.head.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&extra.head), &fd, sizeof fd);
    }
    if (sendmsg(s->control, &m, MSG_NOSIGNAL) < 0) {
        s->closing = true;
    }
}

/* ---- children ---- */

/* Makes the text of --initial-cluster, the same for each node. */
static void cluster_text(struct keeper *s)
{
    size_t at = 0;

    for (uint32_t i = 1; i <= s->k->nodes; i++) {
        int len = snprintf(s->cluster + at, sizeof s->cluster - at, "%s%u=%s:%d:%d",
                           i > 1 ? "," : "", i, s->net.host_seen[i], NET_PORT_CLIENT,
                           NET_PORT_PEER);

        KV_ASSERT(len > 0 && (size_t)len < sizeof s->cluster - at);
        at += (size_t)len;
    }
}

/* Places of a node, as texts for its command line and environment. */
struct places {
    char id[16];
    char listen[CLUSTER_ADDRESS_BYTES + 8];
    char peer[CLUSTER_ADDRESS_BYTES + 8];
    char http[CLUSTER_ADDRESS_BYTES + 8];
    char groups[16];
    char data[KEEPER_TEXT_BYTES];
    char log[KEEPER_TEXT_BYTES];
    char text[KEEPER_TEXT_BYTES]; /* Scratch for the environment. */
};

static void places_fill(const struct keeper *s, uint32_t node, struct places *p)
{
    const char *host = s->net.host_bind[node];

    snprintf(p->id, sizeof p->id, "%u", node);
    snprintf(p->listen, sizeof p->listen, "%s:%d", host, NET_PORT_CLIENT);
    snprintf(p->peer, sizeof p->peer, "%s:%d", host, NET_PORT_PEER);
    snprintf(p->http, sizeof p->http, "%s:%d", host, NET_PORT_HTTP);
    snprintf(p->groups, sizeof p->groups, "%u", s->k->groups);
    snprintf(p->data, sizeof p->data, "%s/n%u/data", s->k->dir, node);
    snprintf(p->log, sizeof p->log, "%s/n%u/log", s->k->dir, node);
}

static void environment_set(const struct keeper *s, uint32_t node, struct places *p,
                            const char *points)
{
    if (points[0] != '\0') {
        setenv("KVD_FAILPOINTS", points, 1);
    }
    if (s->k->preload == NULL) {
        return;
    }
    setenv("LD_PRELOAD", s->k->preload, 1);
    setenv("KVLAYER_DIR", p->data, 1);
    snprintf(p->text, sizeof p->text, "%s/n%u/layer", s->k->dir, node);
    setenv("KVLAYER_STATE", p->text, 1);
}

/* In the new process: becomes kvd. Comes back only when that fails. */
static void child_exec(struct keeper *s, uint32_t node, pid_t keeper,
                       const char *points)
{
    const char *argv[KEEPER_ARGS_MAX];
    struct places p;
    size_t count = 0;
    int log;

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != keeper ||
        s->net.ops->enter(&s->net, node) != 0) {
        return;
    }
    places_fill(s, node, &p);
    log = open(p.log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (log < 0 || dup2(log, STDOUT_FILENO) < 0 || dup2(log, STDERR_FILENO) < 0) {
        return;
    }
    argv[count++] = s->k->kvd;
    const char *const fixed[] = {
        "--id",     p.id,   "--data-dir", p.data, "--listen",   p.listen,
        "--peer",   p.peer, "--http",     p.http, "--insecure", "--initial-cluster",
        s->cluster,
    };
    for (size_t i = 0; i < KV_ARRAY_COUNT(fixed); i++) {
        argv[count++] = fixed[i];
    }
    if (s->k->groups != 0) {
        argv[count++] = "--groups";
        argv[count++] = p.groups;
    }
    for (size_t i = 0; s->k->kvd_args != NULL && s->k->kvd_args[i] != NULL; i++) {
        if (count < KEEPER_ARGS_MAX - 1) {
            argv[count++] = s->k->kvd_args[i];
        }
    }
    argv[count] = NULL;
    environment_set(s, node, &p, points);
    execv(s->k->kvd, (char *const *)(uintptr_t)argv);
    dprintf(STDERR_FILENO, "keeper: cannot run %s: %s\n", s->k->kvd, strerror(errno));
}

static int node_start(struct keeper *s, uint32_t node, const char *points)
{
    struct child *c = &s->nodes[node - 1];
    pid_t keeper = getpid();
    sigset_t none;
    pid_t pid;

    if (c->seen.state == CLUSTER_NODE_UP) {
        return 0;
    }
    pid = fork();
    if (pid < 0) {
        return KV_EIO;
    }
    if (pid == 0) {
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        child_exec(s, node, keeper, points);
        _exit(127);
    }
    c->seen.state = CLUSTER_NODE_UP;
    c->seen.pid = pid;
    c->seen.starts++;
    c->expected = false;
    c->paused = false;
    c->resting = false;
    s->net.ops->node_up(&s->net, node, true);
    return 0;
}

static void node_signal(struct child *c, int number, bool expected)
{
    if (c->seen.state != CLUSTER_NODE_UP) {
        return;
    }
    if (number == SIGSTOP) {
        c->paused = true;
    } else if (number == SIGCONT) {
        c->paused = false;
        c->resting = false;
    }
    c->expected = c->expected || expected;
    /* Not reaped yet, so the number is still that process's own. */
    kill(c->seen.pid, number);
    if (number == SIGTERM && (c->paused || c->resting)) {
        c->paused = false;
        kill(c->seen.pid, SIGCONT);
    }
}

static void children_reap(struct keeper *s)
{
    struct signalfd_siginfo info;

    while (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info) {
    }
    for (uint32_t i = 1; i <= s->k->nodes; i++) {
        struct child *c = &s->nodes[i - 1];
        bool at_point;
        int status;

        if (c->seen.state != CLUSTER_NODE_UP ||
            waitpid(c->seen.pid, &status, WNOHANG) != c->seen.pid) {
            continue;
        }
        /* Only who armed a failpoint makes a node end at one. */
        at_point = WIFEXITED(status) && WEXITSTATUS(status) == KEEPER_EXIT_POINT;
        c->seen.state = c->expected || at_point ? CLUSTER_NODE_DOWN : CLUSTER_NODE_DIED;
        c->seen.deaths += !c->expected && !at_point;
        c->seen.exit_status = status;
        c->seen.pid = 0;
        s->net.ops->node_up(&s->net, i, false);
    }
}

/* Lets slowed processes rest and go on; returns when the next turn is. */
static uint64_t duty_due(struct keeper *s, uint64_t now_ns)
{
    uint64_t next = NET_NEVER;

    for (uint32_t i = 0; i < s->k->nodes; i++) {
        struct child *c = &s->nodes[i];
        uint64_t run_ns = (uint64_t)KEEPER_DUTY_NS / 100 * c->percent;

        if (c->percent >= 100 || c->seen.state != CLUSTER_NODE_UP || c->paused) {
            continue;
        }
        if (now_ns >= c->turn_ns) {
            c->resting = !c->resting;
            c->turn_ns = now_ns + (c->resting ? KEEPER_DUTY_NS - run_ns : run_ns);
            kill(c->seen.pid, c->resting ? SIGSTOP : SIGCONT);
        }
        next = KV_MIN(next, c->turn_ns);
    }
    return next;
}

static void cpu_set(struct child *c, uint32_t percent)
{
    c->percent = percent;
    c->turn_ns = 0;
    if (percent >= 100 && c->resting && c->seen.state == CLUSTER_NODE_UP) {
        c->resting = false;
        if (!c->paused) {
            kill(c->seen.pid, SIGCONT);
        }
    }
}

/* ---- requests ---- */

static void nodes_report(const struct keeper *s, struct keeper_reply *r)
{
    for (uint32_t i = 0; i < s->k->nodes; i++) {
        r->nodes[i] = s->nodes[i].seen;
    }
}

static void masked(struct keeper *s, const struct keeper_request *q,
                   struct keeper_reply *r)
{
    for (uint32_t i = 1; i <= s->k->nodes; i++) {
        if ((q->mask & CLUSTER_BIT(i)) == 0) {
            continue;
        }
        if (q->verb == KEEPER_SIGNAL) {
            node_signal(&s->nodes[i - 1], q->signal, q->expected);
        } else if (node_start(s, i, q->points) != 0) {
            r->rc = KV_EIO;
            snprintf(r->error, sizeof r->error, "fork: %s", strerror(errno));
        }
    }
}

static void request_do(struct keeper *s, const struct keeper_request *q)
{
    struct keeper_reply r = {.rc = 0};

    switch (q->verb) {
    case KEEPER_START:
    case KEEPER_SIGNAL:
        masked(s, q, &r);
        break;
    case KEEPER_NODES:
        children_reap(s);
        break;
    case KEEPER_CPU:
        cpu_set(&s->nodes[q->node - 1], q->percent);
        break;
    case KEEPER_CUT:
        net_cut(&s->net, &q->grudge);
        break;
    case KEEPER_SHAPE:
        net_shape(&s->net, q->from, q->to, &q->link);
        break;
    case KEEPER_HEAL:
        net_heal(&s->net);
        break;
    case KEEPER_PROBE:
        net_probe_start(&s->net, q->from, q->to, q->count, q->wait_ms);
        return; /* Answered when it has ended. */
    case KEEPER_CLOSE:
    case KEEPER_READY:
        s->closing = true;
        return; /* Answered by the end of the socket. */
    }
    if (s->net.broken) {
        r.rc = KV_EIO;
        memcpy(r.error, s->net.error, sizeof r.error);
        s->closing = true;
    }
    nodes_report(s, &r);
    reply_send(s, &r, -1);
}

static void probe_report(struct keeper *s)
{
    struct keeper_reply r = {.rc = 0, .probe = s->net.probe.result};

    nodes_report(s, &r);
    reply_send(s, &r, -1);
}

static void control_event(struct keeper *s)
{
    struct keeper_request q;
    ssize_t len = recv(s->control, &q, sizeof q, MSG_DONTWAIT);

    if (len == (ssize_t)sizeof q) {
        request_do(s, &q);
    } else if (len == 0 || (len < 0 && errno != EAGAIN && errno != EINTR)) {
        s->closing = true;
    }
}

/* ---- life ---- */

static int keeper_init(struct keeper *s)
{
    struct epoll_event ev = {.events = EPOLLIN};
    sigset_t chld;

    sigfillset(&chld);
    sigdelset(&chld, SIGTERM);             /* Ends the keeper, and with it the nodes. */
    sigprocmask(SIG_SETMASK, &chld, NULL); /* Ctrl-C is the harness's business. */
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    s->signals = signalfd(-1, &chld, SFD_NONBLOCK | SFD_CLOEXEC);
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    s->net.epoll_fd = s->epoll_fd;
    if (s->signals < 0 || s->epoll_fd < 0) {
        return net_fail(&s->net, "epoll", errno);
    }
    ev.data.u64 = (uint64_t)KEEPER_TAG_CONTROL << 32;
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->control, &ev) != 0) {
        return net_fail(&s->net, "epoll", errno);
    }
    ev.data.u64 = (uint64_t)KEEPER_TAG_SIGNAL << 32;
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->signals, &ev) != 0) {
        return net_fail(&s->net, "epoll", errno);
    }
    return s->net.ops->open(&s->net);
}

static void events_wait(struct keeper *s, uint64_t next_ns)
{
    struct epoll_event events[KEEPER_EVENTS];
    struct timespec wait = {.tv_sec = 3600};
    uint64_t now_ns = net_now_ns();
    int count;

    if (next_ns != NET_NEVER) {
        uint64_t left = next_ns > now_ns ? next_ns - now_ns : 0;

        wait.tv_sec = (time_t)(left / 1000000000ull);
        wait.tv_nsec = (long)(left % 1000000000ull);
    }
    count = epoll_pwait2(s->epoll_fd, events, KEEPER_EVENTS, &wait, NULL);
    for (int i = 0; i < count; i++) {
        uint64_t tag = events[i].data.u64;

        if (tag >> 32 == KEEPER_TAG_CONTROL) {
            control_event(s);
        } else if (tag >> 32 == KEEPER_TAG_SIGNAL) {
            children_reap(s);
        } else {
            s->net.ops->event(&s->net, (uint32_t)tag, events[i].events);
        }
    }
}

/* Kills all nodes and waits for them, whatever state they are in. */
static void keeper_end(struct keeper *s)
{
    char path[KEEPER_TEXT_BYTES];

    for (uint32_t i = 0; i < s->k->nodes; i++) {
        if (s->nodes[i].seen.state == CLUSTER_NODE_UP) {
            kill(s->nodes[i].seen.pid, SIGKILL);
        }
    }
    for (uint32_t i = 0; i < s->k->nodes; i++) {
        if (s->nodes[i].seen.state == CLUSTER_NODE_UP) {
            waitpid(s->nodes[i].seen.pid, NULL, 0);
        }
    }
    s->net.ops->close(&s->net);
    /* The harness does that too, unless it was killed. */
    for (uint32_t i = 1; i <= s->k->nodes; i++) {
        snprintf(path, sizeof path, "%s/n%u/layer", s->k->dir, i);
        power_layer_remove(path);
    }
}

/* Keeps only the control socket of what the harness had open. */
static void descriptors_drop(struct keeper *s)
{
    int null = open("/dev/null", O_RDWR);

    (void)dup2(null, STDIN_FILENO);
    (void)dup2(null, STDOUT_FILENO);
    (void)dup2(null, STDERR_FILENO);
    s->control = dup2(s->control, 3);
    (void)fcntl(3, F_SETFD, FD_CLOEXEC);
    (void)close_range(4, ~0u, 0);
}

void keeper_main(int control, const struct keeper_config *k)
{
    struct keeper *s = kv_mem_zalloc(sizeof *s);
    struct keeper_reply ready = {.rc = 0};

    if (s == NULL) {
        _exit(1);
    }
    setsid();
    prctl(PR_SET_NAME, "kvj-keeper");
    s->k = k;
    s->control = control;
    descriptors_drop(s);
    s->net.ops = k->net;
    s->net.nodes = k->nodes;
    s->net.pcap = k->pcap;
    s->net.clients_ns = -1;
    prng_init(&s->net.prng, k->seed);
    for (uint32_t i = 0; i < CLUSTER_NODES_MAX; i++) {
        s->nodes[i].percent = 100;
    }
    ready.rc = keeper_init(s);
    memcpy(ready.error, s->net.error, sizeof ready.error);
    memcpy(ready.host_seen, s->net.host_seen, sizeof ready.host_seen);
    memcpy(ready.host_own, s->net.host_own, sizeof ready.host_own);
    cluster_text(s);
    reply_send(s, &ready, s->net.clients_ns);
    s->closing = s->closing || ready.rc != 0;
    while (!s->closing) {
        uint64_t now_ns = net_now_ns();
        bool probed = false;
        uint64_t next = net_due(&s->net, now_ns, &probed);
        uint64_t duty = duty_due(s, now_ns);

        if (probed) {
            probe_report(s);
        }
        events_wait(s, KV_MIN(next, duty));
    }
    keeper_end(s);
    _exit(0);
}
