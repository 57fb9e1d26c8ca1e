/* tests/bench/rival.c - kvrival: puts or gets per second of an etcd or a redis-server.
 *
 *     kvrival etcd|redis -e H:P,... [-m put|get|fill] [-c 64] [-f 1] [-t 10] [-w 1]
 *             [-v 256] [-k 100000]
 *
 *     -e  endpoints; clients are dealt out to them in turn
 *     -m  fill: puts every key once, with 1,024 requests under way, and ends
 *     -c  clients, a connection each        -f  requests under way on each
 *     -t  seconds, after -w of warm-up      -v  bytes of a value
 *     -k  keys, drawn evenly
 *
 * Prints one line: done per_s p50_ms p99_ms p99.9_ms max_ms failed.
 */
#include "tests/bench/rival.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "raft/base/arena.h"
#include "raft/base/check.h"

enum {
    IN_BYTES = 64 * 1024,
    FILL_FLIGHT = 16,
    PATIENCE_MS = 10000, /* Without any answer. */
};

uint64_t rival_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

_Noreturn void rival_die(const char *what)
{
    fprintf(stderr, "kvrival: %s\n", what);
    exit(1);
}

/* ---- requests ---- */

uint8_t *rival_out(struct rival_client *c, size_t len)
{
    if (c->out_cap - c->out_len < len) {
        c->out_cap = 2 * c->out_cap + len;
        c->out = kv_mem_realloc(c->out, c->out_cap);
        if (c->out == NULL) {
            rival_die("out of memory");
        }
    }
    c->out_len += len;
    return c->out + c->out_len - len;
}

size_t rival_key(struct rival *r, char key[RIVAL_KEY_BYTES])
{
    uint64_t number = r->filled ? r->next_key++ : prng_below(&r->prng, r->keys);

    return (size_t)snprintf(key, RIVAL_KEY_BYTES, "bench/%010" PRIu64, number);
}

/* May another request begin? */
static bool goes_on(const struct rival *r, uint64_t now)
{
    return r->filled ? r->next_key < r->keys : now < r->end_ns;
}

void rival_done(struct rival_client *c, uint64_t begun_ns, bool good)
{
    struct rival *r = c->rival;
    uint64_t now = rival_now_ns();

    c->flying--;
    if (!good) {
        r->failed++;
    } else if (now >= r->count_ns && (r->filled || now < r->end_ns)) {
        r->done++;
        hist_record(&r->hist, now - begun_ns);
    }
    if (goes_on(r, now)) {
        c->flying++;
        r->wire->request(c, now);
    }
}

/* ---- connections ---- */

static void client_write(struct rival_client *c)
{
    size_t done = 0;

    while (done < c->out_len) {
        ssize_t n = write(c->fd, c->out + done, c->out_len - done);

        if (n < 0 && errno == EAGAIN) {
            break; /* The next answer brings us back. */
        }
        if (n <= 0) {
            rival_die(strerror(errno));
        }
        done += (size_t)n;
    }
    c->out_len -= done;
    memmove(c->out, c->out + done, c->out_len);
}

static void client_read(struct rival_client *c)
{
    uint8_t in[IN_BYTES];
    ssize_t n = read(c->fd, in, sizeof in);

    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (n <= 0) {
        rival_die("the server closed a connection");
    }
    c->rival->wire->take(c, in, (size_t)n);
    client_write(c);
}

static int dial(const char *endpoint)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    const char *colon = strchr(endpoint, ':');
    char host[64];
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (colon == NULL || (size_t)(colon - endpoint) >= sizeof host) {
        rival_die("an endpoint is ADDRESS:PORT");
    }
    snprintf(host, sizeof host, "%.*s", (int)(colon - endpoint), endpoint);
    at.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    if (inet_pton(AF_INET, host, &at.sin_addr) != 1) {
        rival_die("an endpoint is ADDRESS:PORT");
    }
    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at) != 0) {
        rival_die("cannot connect");
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* The n-th endpoint of a list, counted round. */
static const char *endpoint_of(const char *list, uint32_t n)
{
    uint32_t count = 1;

    for (const char *at = list; (at = strchr(at, ',')) != NULL; at++) {
        count++;
    }
    for (n %= count; n > 0; n--) {
        list = strchr(list, ',') + 1;
    }
    return list;
}

/* ---- the run ---- */

static void run(struct rival *r, const char *endpoints)
{
    struct epoll_event events[256];
    uint32_t flying = 1;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct rival_client *clients = kv_mem_zalloc(r->clients * sizeof *clients);

    if (clients == NULL || epoll < 0) {
        rival_die("out of memory");
    }
    for (uint32_t i = 0; i < r->clients; i++) {
        struct rival_client *c = &clients[i];
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

        c->rival = r;
        c->fd = dial(endpoint_of(endpoints, i));
        epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
        r->wire->open(c);
        for (; c->flying < r->flight && goes_on(r, rival_now_ns()); c->flying++) {
            r->wire->request(c, rival_now_ns());
        }
        client_write(c);
    }
    while (flying > 0) {
        int n = epoll_wait(epoll, events, 256, PATIENCE_MS);

        if (n == 0) {
            rival_die("no answer for ten seconds");
        }
        for (int i = 0; i < n; i++) {
            client_read(events[i].data.ptr);
        }
        flying = 0;
        for (uint32_t i = 0; i < r->clients; i++) {
            flying += clients[i].flying;
        }
    }
    for (uint32_t i = 0; i < r->clients; i++) {
        close(clients[i].fd);
    }
}

static uint32_t number(const char *text, uint32_t most)
{
    unsigned long value = strtoul(text, NULL, 10);

    if (value > most) {
        rival_die("a number is out of range");
    }
    return (uint32_t)value;
}

static const char *options_read(struct rival *r, int argc, char **argv,
                                uint64_t *out_warmup_s, uint64_t *out_s)
{
    const char *endpoints = NULL;
    int option;

    while ((option = getopt(argc, argv, "e:m:c:f:t:w:v:k:")) != -1) {
        switch (option) {
        case 'e':
            endpoints = optarg;
            break;
        case 'm':
            r->filled = strcmp(optarg, "fill") == 0;
            r->put = strcmp(optarg, "get") != 0;
            break;
        case 'c':
            r->clients = KV_MAX(number(optarg, RIVAL_CLIENTS_MAX), 1u);
            break;
        case 'f':
            r->flight = KV_MAX(number(optarg, RIVAL_FLIGHT_MAX), 1u);
            break;
        case 't':
            *out_s = number(optarg, 86400);
            break;
        case 'w':
            *out_warmup_s = number(optarg, 86400);
            break;
        case 'v':
            r->value_bytes = number(optarg, RIVAL_VALUE_MAX);
            break;
        case 'k':
            r->keys = KV_MAX(number(optarg, 1000000000), 1u);
            break;
        default:
            rival_die("see the head of tests/bench/rival.c");
        }
    }
    return endpoints;
}

int main(int argc, char **argv)
{
    static struct rival r = {
        .put = true, .clients = 64, .flight = 1, .value_bytes = 256, .keys = 100000};
    uint64_t warmup_s = 1, seconds = 10, begin, spent;
    const char *endpoints;

    if (argc < 2 || (strcmp(argv[1], "etcd") != 0 && strcmp(argv[1], "redis") != 0)) {
        rival_die("say which: kvrival etcd|redis -e 127.0.0.1:PORT,...");
    }
    r.wire = strcmp(argv[1], "etcd") == 0 ? &rival_etcd : &rival_redis;
    endpoints = options_read(&r, argc - 1, argv + 1, &warmup_s, &seconds);
    if (endpoints == NULL) {
        rival_die("say where: -e 127.0.0.1:PORT,...");
    }
    prng_init(&r.prng, 1);
    r.value = kv_mem_zalloc(r.value_bytes + 1);
    for (uint32_t i = 0; r.value != NULL && i < r.value_bytes; i++) {
        r.value[i] = (uint8_t)prng_below(&r.prng, 256);
    }
    if (r.filled) {
        r.clients = 64;
        r.flight = FILL_FLIGHT;
        warmup_s = 0;
    }
    begin = rival_now_ns();
    r.count_ns = begin + warmup_s * 1000000000;
    r.end_ns = r.count_ns + seconds * 1000000000;
    run(&r, endpoints);
    spent = r.filled ? rival_now_ns() - begin : r.end_ns - r.count_ns;
    printf("%" PRIu64 " %.0f %.3f %.3f %.3f %.3f %" PRIu64 "\n", r.done,
           (double)r.done * 1e9 / (double)spent,
           (double)hist_quantile(&r.hist, 0.5) / 1e6,
           (double)hist_quantile(&r.hist, 0.99) / 1e6,
           (double)hist_quantile(&r.hist, 0.999) / 1e6, (double)r.hist.max / 1e6,
           r.failed);
    return r.done > 0 && r.failed == 0 ? 0 : 1;
}
