/* jepsen/env/veth.c - the namespaces joined by the kernel: veth pairs, a bridge, nft.
 *
 * Each end has a network namespace with one side of a veth pair; the other sides are
 * ports of a bridge in a namespace of the keeper's own. A cut is a pair of addresses
 * in an nft set of that bridge, whose packets are dropped: one transaction changes all
 * cuts. Made by the programs `ip` and `nft`; nothing has a name outside, so all of it
 * ends with the keeper.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jepsen/env/ends.h"
#include "raft/base/arena.h"
#include "raft/base/err.h"

enum {
    VETH_TEXT_BYTES = 16384, /* The commands of one call of ip or nft. */
};

#define VETH_ADDRESS "10.119.0.%u"

struct veth_net {
    struct ends ends;
    int bridge_ns;   /* The namespace of the bridge; the keeper stays in it. */
    size_t text_len; /* Grows beyond VETH_TEXT_BYTES when it did not fit. */
    char text[VETH_TEXT_BYTES]; /* What ip or nft is to do. */
};

__attribute__((format(printf, 2, 3))) static void say(struct veth_net *v,
                                                      const char *format, ...)
{
    va_list args;
    size_t room = v->text_len < sizeof v->text ? sizeof v->text - v->text_len : 0;
    int len;

    va_start(args, format);
    len = vsnprintf(room > 0 ? v->text + v->text_len : NULL, room, format, args);
    va_end(args);
    v->text_len += len > 0 ? (size_t)len : 0;
}

/* Waits for the program; its first line of complaint goes into n->error. */
static int command_end(struct net *n, const char *program, pid_t pid, FILE *out)
{
    char line[160] = "";
    int status = 0;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return 0;
    }
    rewind(out);
    if (fgets(line, sizeof line, out) != NULL) {
        line[strcspn(line, "\n")] = '\0';
    }
    snprintf(n->error, sizeof n->error, "%s: %s", program, line);
    return KV_EIO;
}

/* Runs `program` with v->text as its standard input, and empties the text. */
static int command(struct net *n, const char *program, const char *const argv[])
{
    struct veth_net *v = n->own;
    posix_spawn_file_actions_t files;
    FILE *in = tmpfile();
    FILE *out = tmpfile();
    pid_t pid;
    int rc = ENOMEM;

    if (in != NULL && out != NULL && v->text_len < sizeof v->text &&
        fwrite(v->text, 1, v->text_len, in) == v->text_len && fflush(in) == 0 &&
        posix_spawn_file_actions_init(&files) == 0) {
        rewind(in);
        (void)posix_spawn_file_actions_adddup2(&files, fileno(in), STDIN_FILENO);
        (void)posix_spawn_file_actions_adddup2(&files, fileno(out), STDOUT_FILENO);
        (void)posix_spawn_file_actions_adddup2(&files, fileno(out), STDERR_FILENO);
        rc = posix_spawnp(&pid, program, &files, NULL, (char *const *)(uintptr_t)argv,
                          environ);
        (void)posix_spawn_file_actions_destroy(&files);
    }
    if (rc == ENOENT) {
        snprintf(n->error, sizeof n->error, "%s is missing: apt-get install %s",
                 program, strcmp(program, "ip") == 0 ? "iproute2" : "nftables");
        rc = KV_EIO;
    } else if (rc != 0) {
        rc = net_fail(n, program, rc);
    } else {
        rc = command_end(n, program, pid, out);
    }
    if (in != NULL) {
        (void)fclose(in);
    }
    if (out != NULL) {
        (void)fclose(out);
    }
    v->text_len = 0;
    return rc;
}

static int ip_batch(struct net *n)
{
    static const char *const argv[] = {"ip", "-batch", "-", NULL};

    return command(n, "ip", argv);
}

static int nft_batch(struct net *n)
{
    static const char *const argv[] = {"nft", "-f", "-", NULL};

    return command(n, "nft", argv);
}

/* ---- making ---- */

/* The bridge, its ports with their peers in the ends' namespaces, and the filter. */
static int bridge_open(struct net *n, struct veth_net *v)
{
    int rc;

    if (unshare(CLONE_NEWNET) != 0) {
        return net_fail(n, "a network namespace", errno);
    }
    v->bridge_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (v->bridge_ns < 0) {
        return net_fail(n, "a network namespace", errno);
    }
    say(v, "link add name kvj type bridge\nlink set dev kvj up\n");
    for (uint32_t i = 0; i <= n->nodes; i++) {
        say(v, "link add name kvj%u type veth peer name eth0 netns /proc/%d/fd/%d\n", i,
            getpid(), v->ends.ns[i]);
        say(v, "link set dev kvj%u master kvj\nlink set dev kvj%u up\n", i, i);
    }
    rc = ip_batch(n);
    if (rc != 0) {
        return rc;
    }
    say(v, "add table bridge kvj\n"
           "add set bridge kvj cut { type ipv4_addr . ipv4_addr; }\n"
           "add chain bridge kvj links { type filter hook forward priority 0; }\n"
           "add rule bridge kvj links ip saddr . ip daddr @cut drop\n");
    return nft_batch(n);
}

/* Address and way up of one end, from within its namespace. */
static int end_up(struct net *n, struct veth_net *v, uint32_t end)
{
    if (setns(v->ends.ns[end], CLONE_NEWNET) != 0) {
        return net_fail(n, "a network namespace", errno);
    }
    say(v,
        "address add " VETH_ADDRESS "/24 dev eth0\nlink set dev eth0 up\n"
        "link set dev lo up\n",
        end + 1);
    return ip_batch(n);
}

static int veth_open(struct net *n)
{
    struct veth_net *v = kv_mem_zalloc(sizeof *v);
    int rc = 0;

    if (v == NULL) {
        return net_fail(n, "memory", ENOMEM);
    }
    n->own = v;
    v->bridge_ns = -1;
    ends_init(&v->ends);
    for (uint32_t i = 0; i <= n->nodes && rc == 0; i++) {
        rc = ends_make(n, &v->ends, i);
    }
    if (rc == 0) {
        rc = bridge_open(n, v);
    }
    for (uint32_t i = 0; i <= n->nodes && rc == 0; i++) {
        rc = end_up(n, v, i);
    }
    if (rc == 0 && setns(v->bridge_ns, CLONE_NEWNET) != 0) {
        rc = net_fail(n, "a network namespace", errno);
    }
    n->clients_ns = v->ends.ns[0];
    return rc;
}

static void veth_close(struct net *n)
{
    struct veth_net *v = n->own;

    if (v == NULL) {
        return;
    }
    ends_close(&v->ends);
    if (v->bridge_ns >= 0) {
        (void)close(v->bridge_ns);
    }
    kv_mem_free(v);
    n->own = NULL;
}

static int veth_enter(struct net *n, uint32_t node)
{
    const struct veth_net *v = n->own;

    return setns(v->ends.ns[node], CLONE_NEWNET);
}

static void veth_node_up(struct net *n, uint32_t node, bool up)
{
    (void)n, (void)node, (void)up; /* The kernel answers for dead processes. */
}

/* ---- cuts ---- */

static void veth_changed(struct net *n)
{
    struct veth_net *v = n->own;

    say(v, "flush set bridge kvj cut\n");
    for (uint32_t from = 0; from <= n->nodes; from++) {
        for (uint32_t to = 0; to <= n->nodes; to++) {
            if (n->links[from][to].cut) {
                say(v,
                    "add element bridge kvj cut { " VETH_ADDRESS " . " VETH_ADDRESS
                    " }\n",
                    from + 1, to + 1);
            }
        }
    }
    n->broken = nft_batch(n) != 0;
}

/* ---- events ---- */

static void veth_event(struct net *n, uint32_t tag, uint32_t events)
{
    const struct veth_net *v = n->own;

    (void)events;
    ends_probe_take(n, &v->ends, tag - ENDS_TAG_PROBE);
}

static uint64_t veth_due(struct net *n, uint64_t now_ns)
{
    (void)n, (void)now_ns;
    return NET_NEVER; /* The kernel holds nothing back. */
}

static void veth_probe_begin(struct net *n)
{
    (void)n; /* The sockets stand since the beginning. */
}

static void veth_probe_send(struct net *n, uint32_t i)
{
    const struct veth_net *v = n->own;

    ends_probe_send(n, &v->ends, i);
}

static void veth_probe_end(struct net *n)
{
    (void)n;
}

const struct net_ops veth_ops = {
    .name = "veth",
    .open = veth_open,
    .close = veth_close,
    .event = veth_event,
    .due = veth_due,
    .enter = veth_enter,
    .node_up = veth_node_up,
    .changed = veth_changed,
    .probe_begin = veth_probe_begin,
    .probe_send = veth_probe_send,
    .probe_end = veth_probe_end,
};
