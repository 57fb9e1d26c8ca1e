/* jepsen/env/switch.c - netns: a namespace per node, and a switch between them.
 *
 * Each end has a network namespace with a tun device; the keeper holds the other side
 * of all devices, reads packets, looks at sender and receiver, and writes them to the
 * receiver's device, or late, twice, or never. The namespaces have no names: they end
 * with the last process or descriptor in them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "jepsen/env/ends.h"
#include "raft/base/arena.h"
#include "raft/base/bytes.h"
#include "raft/base/err.h"

enum {
    SWITCH_MTU = 1500,
    SWITCH_BURST = 32,        /* Packets read from a device before the next one. */
    SWITCH_QUEUE_MAX = 16384, /* Packets that wait; more are lost. */
    SWITCH_IP_HEAD = 20,
    PCAP_RAW = 101,
};

/* A packet that waits. Memory: one object, bytes behind it. */
struct packet {
    uint64_t due_ns;
    uint64_t number; /* Order of arrival; breaks ties. */
    uint32_t to;     /* End. */
    uint32_t bytes;
    uint8_t data[];
};

struct switch_net {
    struct ends ends;
    int tun[FAULT_ENDS_MAX];
    struct packet *heap[SWITCH_QUEUE_MAX]; /* Earliest first. */
    size_t heap_count;
    uint64_t number;
    FILE *pcap;
};

/* ---- making ---- */

static int device_set(struct net *n, uint32_t end, int tun)
{
    struct ifreq r = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    struct sockaddr_in *a = (struct sockaddr_in *)&r.ifr_addr;
    int s;
    int rc = 0;

    snprintf(r.ifr_name, sizeof r.ifr_name, "kvj%u", end);
    if (ioctl(tun, TUNSETIFF, &r) != 0) {
        return net_fail(n, "TUNSETIFF", errno);
    }
    s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    *a = (struct sockaddr_in){.sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(ENDS_NET + end + 1)};
    rc |= ioctl(s, SIOCSIFADDR, &r);
    a->sin_addr.s_addr = htonl(0xffffff00u);
    rc |= ioctl(s, SIOCSIFNETMASK, &r);
    r.ifr_mtu = SWITCH_MTU;
    rc |= ioctl(s, SIOCSIFMTU, &r);
    r.ifr_qlen = 1000;
    rc |= ioctl(s, SIOCSIFTXQLEN, &r);
    r.ifr_flags = IFF_UP | IFF_RUNNING;
    rc |= ioctl(s, SIOCSIFFLAGS, &r);
    snprintf(r.ifr_name, sizeof r.ifr_name, "lo");
    rc |= ioctl(s, SIOCSIFFLAGS, &r);
    if (rc != 0) {
        rc = net_fail(n, "setting up a tun device", errno);
    }
    (void)close(s);
    return rc;
}

/* Makes end's namespace with its device; the process stays in it. */
static int end_open(struct net *n, struct switch_net *w, uint32_t end)
{
    int rc = ends_make(n, &w->ends, end);

    if (rc != 0) {
        return rc;
    }
    w->tun[end] = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (w->tun[end] < 0) {
        return net_fail(n, "/dev/net/tun", errno);
    }
    rc = device_set(n, end, w->tun[end]);
    if (rc == 0 && net_watch(n, w->tun[end], end, EPOLLIN) != 0) {
        rc = net_fail(n, "a tun device", errno);
    }
    return rc;
}

static void pcap_begin(struct switch_net *w, const char *path)
{
    const uint32_t head[6] = {0xa1b2c3d4u, 2 | 4 << 16, 0, 0, 65535, PCAP_RAW};

    w->pcap = fopen(path, "we");
    if (w->pcap != NULL) {
        (void)fwrite(head, sizeof head, 1, w->pcap);
    }
}

static int switch_open(struct net *n)
{
    struct switch_net *w = kv_mem_zalloc(sizeof *w);
    int rc = 0;

    if (w == NULL) {
        return net_fail(n, "memory", ENOMEM);
    }
    n->own = w;
    ends_init(&w->ends);
    for (uint32_t i = 0; i < FAULT_ENDS_MAX; i++) {
        w->tun[i] = -1;
    }
    if (n->pcap != NULL) {
        pcap_begin(w, n->pcap);
    }
    for (uint32_t i = 0; i <= n->nodes && rc == 0; i++) {
        rc = end_open(n, w, i);
    }
    n->clients_ns = w->ends.ns[0];
    return rc;
}

static void switch_close(struct net *n)
{
    struct switch_net *w = n->own;

    if (w == NULL) {
        return;
    }
    if (w->pcap != NULL) {
        (void)fclose(w->pcap);
    }
    while (w->heap_count > 0) {
        kv_mem_free(w->heap[--w->heap_count]);
    }
    for (uint32_t i = 0; i < FAULT_ENDS_MAX; i++) {
        if (w->tun[i] >= 0) {
            (void)close(w->tun[i]);
        }
    }
    ends_close(&w->ends);
    kv_mem_free(w);
    n->own = NULL;
}

static int switch_enter(struct net *n, uint32_t node)
{
    const struct switch_net *w = n->own;

    return setns(w->ends.ns[node], CLONE_NEWNET);
}

static void switch_node_up(struct net *n, uint32_t node, bool up)
{
    (void)n, (void)node, (void)up; /* The kernel answers for dead processes. */
}

static void switch_changed(struct net *n)
{
    (void)n; /* Packets that wait go on: they had left before the cut. */
}

/* ---- packets ---- */

static bool earlier(const struct packet *a, const struct packet *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->number < b->number;
}

static void heap_push(struct switch_net *w, struct packet *p)
{
    size_t i = w->heap_count++;

    while (i > 0 && earlier(p, w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = p;
}

static struct packet *heap_pop(struct switch_net *w)
{
    struct packet *first = w->heap[0];
    struct packet *last = w->heap[--w->heap_count];
    size_t i = 0;

    for (;;) {
        size_t k = 2 * i + 1;

        if (k >= w->heap_count) {
            break;
        }
        k += k + 1 < w->heap_count && earlier(w->heap[k + 1], w->heap[k]);
        if (!earlier(w->heap[k], last)) {
            break;
        }
        w->heap[i] = w->heap[k];
        i = k;
    }
    w->heap[i] = last;
    return first;
}

static void pcap_packet(struct switch_net *w, const uint8_t *data, size_t bytes)
{
    struct timespec t;
    uint32_t head[4];

    clock_gettime(CLOCK_REALTIME, &t);
    head[0] = (uint32_t)t.tv_sec;
    head[1] = (uint32_t)(t.tv_nsec / 1000);
    head[2] = head[3] = (uint32_t)bytes;
    (void)fwrite(head, sizeof head, 1, w->pcap);
    (void)fwrite(data, bytes, 1, w->pcap);
}

static void deliver(struct switch_net *w, uint32_t to, const uint8_t *data,
                    size_t bytes)
{
    if (w->pcap != NULL) {
        pcap_packet(w, data, bytes);
    }
    if (write(w->tun[to], data, bytes) < 0) {
        return; /* The receiver's queue is full: a lost packet, as on a wire. */
    }
}

static void hold(struct switch_net *w, uint64_t due_ns, uint32_t to,
                 const uint8_t *data, size_t bytes)
{
    struct packet *p;

    if (w->heap_count == SWITCH_QUEUE_MAX) {
        return;
    }
    p = kv_mem_zalloc(sizeof *p + bytes);
    if (p == NULL) {
        return;
    }
    p->due_ns = due_ns;
    p->number = w->number++;
    p->to = to;
    p->bytes = (uint32_t)bytes;
    memcpy(p->data, data, bytes);
    heap_push(w, p);
}

/* The end behind an address; FAULT_ENDS_MAX when there is none. */
static uint32_t end_of(const struct net *n, uint32_t address)
{
    uint32_t end = address - ENDS_NET - 1;

    return end <= n->nodes ? end : FAULT_ENDS_MAX;
}

static void forward(struct net *n, uint32_t from, const uint8_t *data, size_t bytes,
                    uint64_t now_ns)
{
    struct switch_net *w = n->own;
    struct link_fate fate;
    uint32_t to;

    if (bytes < SWITCH_IP_HEAD || data[0] >> 4 != 4 ||
        end_of(n, kv_get_u32be(data + 12)) != from) {
        return; /* IPv6's own talk, or nobody of ours. */
    }
    to = end_of(n, kv_get_u32be(data + 16));
    if (to == FAULT_ENDS_MAX || to == from) {
        return;
    }
    fate = link_packet(&n->links[from][to], &n->prng, now_ns, bytes);
    for (uint32_t i = 0; i < fate.copies; i++) {
        if (fate.due_ns[i] <= now_ns) {
            deliver(w, to, data, bytes);
        } else {
            hold(w, fate.due_ns[i], to, data, bytes);
        }
    }
}

static void switch_event(struct net *n, uint32_t tag, uint32_t events)
{
    const struct switch_net *w = n->own;
    uint8_t data[65536];
    uint64_t now_ns = net_now_ns();

    (void)events;
    if (tag >= ENDS_TAG_PROBE) {
        ends_probe_take(n, &w->ends, tag - ENDS_TAG_PROBE);
        return;
    }
    for (int i = 0; i < SWITCH_BURST; i++) {
        ssize_t bytes = read(w->tun[tag], data, sizeof data);

        if (bytes <= 0) {
            break;
        }
        forward(n, tag, data, (size_t)bytes, now_ns);
    }
}

static uint64_t switch_due(struct net *n, uint64_t now_ns)
{
    struct switch_net *w = n->own;

    while (w->heap_count > 0 && w->heap[0]->due_ns <= now_ns) {
        struct packet *p = heap_pop(w);

        deliver(w, p->to, p->data, p->bytes);
        kv_mem_free(p);
    }
    return w->heap_count > 0 ? w->heap[0]->due_ns : NET_NEVER;
}

/* ---- probe ---- */

static void switch_probe_begin(struct net *n)
{
    (void)n; /* The sockets stand since the beginning. */
}

static void switch_probe_send(struct net *n, uint32_t i)
{
    const struct switch_net *w = n->own;

    ends_probe_send(n, &w->ends, i);
}

static void switch_probe_end(struct net *n)
{
    (void)n;
}

const struct net_ops switch_ops = {
    .name = "netns",
    .open = switch_open,
    .close = switch_close,
    .event = switch_event,
    .due = switch_due,
    .enter = switch_enter,
    .node_up = switch_node_up,
    .changed = switch_changed,
    .probe_begin = switch_probe_begin,
    .probe_send = switch_probe_send,
    .probe_end = switch_probe_end,
};
