/* tests/bench/press.c - kvpress: how many puts or gets per second the nodes take.
 *
 *     kvpress -e H:P,... [-c 64] [-d 1] [-t 10] [-m put|get] [-v 256] [-k 100000]
 *             [-o FILE]
 *
 *     -e  endpoints; connections are dealt out to them in turn
 *     -c  connections        -d  requests under way on each
 *     -t  seconds            -v  bytes of a value
 *     -k  keys, drawn at random: "k0".."k99999"
 *     -o  file that gets "key value-number" for each acknowledged put
 *
 * Writes MessagePack-RPC by hand, over epoll, without libkv: what it costs is small
 * against what a node costs. Prints one line: requests per second, errors, p50, p99.
 * Everything is bounded: the time, the connections, the memory.
 *
 * Needs:    rpc/scan.h (finding replies), raft/base.
 * Used by:  people, tests/bench/run.sh.
 * Threads:  one.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "raft/base/arena.h"
#include "raft/base/check.h"
#include "raft/base/prng.h"
#include "rpc/scan.h"

enum {
    CONNS_MAX = 4096,
    DEPTH_MAX = 256,
    ENDPOINTS_MAX = 16,
    VALUE_MAX = 64 * 1024,
    BUCKETS_PER_DOUBLING = 16,
    BUCKETS = 40 * BUCKETS_PER_DOUBLING,
    IN_BYTES = 256 * 1024,
};

struct options {
    char *endpoints;
    uint32_t conns, depth, seconds, value_bytes, keys;
    bool put;
    FILE *acked;
};

/* One request under way. */
struct flight {
    uint64_t begun_ns;
    uint32_t key;
    uint32_t number; /* Which put of this run it is; the value begins with it. */
};

struct conn {
    int fd;
    uint8_t *out; /* Room for `depth` requests. */
    size_t out_len;
    uint8_t *in; /* A reply that did not arrive whole. */
    size_t in_len;
    size_t scanned; /* Of in_len. */
    struct scan scan;
    struct flight flights[DEPTH_MAX]; /* By msgid. */
};

struct press {
    struct options o;
    struct conn *conns[CONNS_MAX];
    int epoll;
    struct prng prng;
    uint64_t end_ns;
    uint64_t done, errors, number;
    uint32_t open;
    char first_error[200];
    uint64_t buckets[BUCKETS];
};

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void die(const char *text)
{
    fprintf(stderr, "kvpress: %s\n", text);
    exit(2);
}

/* ---- latencies: buckets of 1/16 of a doubling ---- */

static uint32_t bucket_of(uint64_t us)
{
    uint32_t log = us < 16 ? 0 : (uint32_t)(63 - __builtin_clzll(us)) - 3;
    uint64_t bucket = us < 16 ? us : (uint64_t)log * 16 + ((us >> (log - 1)) & 15);

    return bucket < BUCKETS ? (uint32_t)bucket : BUCKETS - 1;
}

static uint64_t bucket_us(uint32_t bucket)
{
    uint32_t log = bucket / 16;

    return log == 0 ? bucket : (uint64_t)(16 + bucket % 16) << (log - 1);
}

static uint64_t percentile(const struct press *p, double share)
{
    uint64_t want = (uint64_t)((double)p->done * share);
    uint64_t seen = 0;

    for (uint32_t i = 0; i < BUCKETS; i++) {
        seen += p->buckets[i];
        if (seen > want) {
            return bucket_us(i);
        }
    }
    return 0;
}

/* ---- requests ---- */

static uint8_t *put_bin(uint8_t *at, size_t len)
{
    *at++ = 0xc5;
    *at++ = (uint8_t)(len >> 8);
    *at++ = (uint8_t)len;
    return at;
}

/* Appends the next request under number `id`. */
static void request_write(struct press *p, struct conn *c, uint32_t id)
{
    static const char *const methods[] = {"kv.get", "kv.put"};
    struct flight *f = &c->flights[id];
    uint8_t *at = c->out + c->out_len;
    char key[16];
    size_t len;

    f->key = (uint32_t)prng_below(&p->prng, p->o.keys);
    f->number = (uint32_t)++p->number;
    f->begun_ns = now_ns();
    len = (size_t)snprintf(key, sizeof key, "k%" PRIu32, f->key);
    *at++ = 0x94;
    *at++ = 0x00;
    *at++ = 0xcd;
    *at++ = (uint8_t)(id >> 8);
    *at++ = (uint8_t)id;
    *at++ = 0xa6;
    memcpy(at, methods[p->o.put], 6);
    at += 6;
    *at++ = p->o.put ? 0x92 : 0x91;
    at = put_bin(at, len);
    memcpy(at, key, len);
    at += len;
    if (p->o.put) {
        size_t head;

        at = put_bin(at, p->o.value_bytes);
        memset(at, '.', p->o.value_bytes);
        head = (size_t)snprintf(key, sizeof key, "%" PRIu32, f->number);
        memcpy(at, key, KV_MIN(head, (size_t)p->o.value_bytes));
        at += p->o.value_bytes;
    }
    c->out_len = (size_t)(at - c->out);
}

static void conn_end(struct press *p, struct conn *c)
{
    close(c->fd);
    c->fd = -1;
    p->open--;
}

static void conn_write(struct press *p, struct conn *c)
{
    while (c->out_len > 0) {
        ssize_t n = write(c->fd, c->out, c->out_len);

        if (n < 0 && errno == EAGAIN) {
            return; /* The replies that come wake us; the nodes read. */
        }
        if (n <= 0) {
            conn_end(p, c);
            return;
        }
        c->out_len -= (size_t)n;
        memmove(c->out, c->out + n, c->out_len);
    }
}

/* A whole reply [1, id, error, result]. */
static void reply_take(struct press *p, struct conn *c, const uint8_t *data, size_t len)
{
    uint64_t now = now_ns();
    uint32_t id;
    const uint8_t *error;

    if (len < 5 || data[0] != 0x94 || data[1] != 0x01) {
        die("a reply that is none");
    }
    id = data[2] < 0x80    ? data[2]
         : data[2] == 0xcc ? data[3]
         : data[2] == 0xcd ? (uint32_t)data[3] << 8 | data[4]
                           : DEPTH_MAX;
    error = data + (data[2] < 0x80 ? 3 : data[2] == 0xcc ? 4 : 5);
    if (id >= p->o.depth) {
        die("a reply to nothing");
    }
    if (*error == 0xc0) {
        p->done++;
        p->buckets[bucket_of((now - c->flights[id].begun_ns) / 1000)]++;
        if (p->o.acked != NULL && p->o.put) {
            fprintf(p->o.acked, "k%" PRIu32 " %" PRIu32 "\n", c->flights[id].key,
                    c->flights[id].number);
        }
    } else {
        if (p->errors++ == 0) {
            snprintf(p->first_error, sizeof p->first_error, "%.*s",
                     (int)KV_MIN(len - (size_t)(error - data) - 2, (size_t)150),
                     error + 2);
        }
    }
    if (now < p->end_ns) {
        request_write(p, c, id);
    }
}

static void conn_read(struct press *p, struct conn *c)
{
    ssize_t n = read(c->fd, c->in + c->in_len, IN_BYTES - c->in_len);
    size_t begin = 0;

    if (n <= 0) {
        if (n == 0 || errno != EAGAIN) {
            conn_end(p, c);
        }
        return;
    }
    c->in_len += (size_t)n;
    for (;;) {
        size_t used;
        size_t at = begin + c->scanned;
        int rc = scan_feed(&c->scan, c->in + at, c->in_len - at, &used);

        if (rc == 0) {
            reply_take(p, c, c->in + begin, used);
            begin += used;
            c->scanned = 0;
            if (begin < c->in_len) {
                continue;
            }
        } else if (c->in_len - begin == IN_BYTES || rc != -19977) {
            die("a reply that does not fit");
        } else {
            c->scanned = c->in_len - begin;
        }
        break;
    }
    c->in_len -= begin;
    memmove(c->in, c->in + begin, c->in_len);
    conn_write(p, c);
}

/* ---- connecting ---- */

static int dial(const char *endpoint)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    char host[256];
    char *colon;
    int fd;
    int one = 1;

    snprintf(host, sizeof host, "%s", endpoint);
    colon = strrchr(host, ':');
    if (colon == NULL) {
        die("an endpoint is HOST:PORT");
    }
    *colon = '\0';
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0) {
        die("an endpoint cannot be resolved");
    }
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
        die("cannot connect");
    }
    freeaddrinfo(found);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static void conns_open(struct press *p)
{
    char *names[ENDPOINTS_MAX];
    uint32_t count = 0;

    for (char *name = p->o.endpoints; name != NULL && count < ENDPOINTS_MAX;) {
        char *comma = strchr(name, ',');

        names[count++] = name;
        if (comma != NULL) {
            *comma++ = '\0';
        }
        name = comma;
    }
    for (uint32_t i = 0; i < p->o.conns; i++) {
        struct conn *c = kv_mem_zalloc(sizeof *c);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

        if (c == NULL) {
            die("out of memory");
        }
        c->out = kv_mem_zalloc(p->o.depth * (size_t)(p->o.value_bytes + 64));
        c->in = kv_mem_zalloc(IN_BYTES);
        if (c->out == NULL || c->in == NULL) {
            die("out of memory");
        }
        scan_init(&c->scan, &scan_limits_response);
        c->fd = dial(names[i % count]);
        epoll_ctl(p->epoll, EPOLL_CTL_ADD, c->fd, &event);
        p->conns[i] = c;
        p->open++;
    }
}

/* ---- main ---- */

static uint32_t number(const char *text, uint32_t max)
{
    unsigned long value = strtoul(text, NULL, 10);

    if (value < 1 || value > max) {
        die("a number is out of range");
    }
    return (uint32_t)value;
}

static void options_read(struct options *o, int argc, char **argv)
{
    int option;

    *o = (struct options){
        .conns = 64, .depth = 1, .seconds = 10, .value_bytes = 256, .keys = 100000};
    o->put = true;
    while ((option = getopt(argc, argv, "e:c:d:t:m:v:k:o:")) != -1) {
        switch (option) {
        case 'e':
            o->endpoints = optarg;
            break;
        case 'c':
            o->conns = number(optarg, CONNS_MAX);
            break;
        case 'd':
            o->depth = number(optarg, DEPTH_MAX);
            break;
        case 't':
            o->seconds = number(optarg, 3600);
            break;
        case 'm':
            o->put = strcmp(optarg, "get") != 0;
            break;
        case 'v':
            o->value_bytes = number(optarg, VALUE_MAX - 1);
            break;
        case 'k':
            o->keys = number(optarg, 1000000000);
            break;
        case 'o':
            o->acked = fopen(optarg, "w");
            if (o->acked == NULL) {
                die("cannot write the file of -o");
            }
            break;
        default:
            exit(2);
        }
    }
    if (o->endpoints == NULL) {
        die("say where: -e 127.0.0.1:7410,127.0.0.1:7420");
    }
}

static void run(struct press *p)
{
    struct epoll_event events[256];

    while (p->open > 0 && now_ns() < p->end_ns + 1000000000ull) {
        int n = epoll_wait(p->epoll, events, 256, 100);
        bool idle = n == 0 && now_ns() >= p->end_ns;

        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;

            if (c->fd >= 0) {
                conn_read(p, c);
            }
        }
        if (idle) {
            return;
        }
    }
}

int main(int argc, char **argv)
{
    struct press *p = kv_mem_zalloc(sizeof *p);
    uint64_t begin;
    double spent;

    if (p == NULL) {
        die("out of memory");
    }
    options_read(&p->o, argc, argv);
    prng_init(&p->prng, now_ns());
    p->epoll = epoll_create1(0);
    conns_open(p);
    begin = now_ns();
    p->end_ns = begin + (uint64_t)p->o.seconds * 1000000000;
    for (uint32_t i = 0; i < p->o.conns; i++) {
        for (uint32_t id = 0; id < p->o.depth; id++) {
            request_write(p, p->conns[i], id);
        }
        conn_write(p, p->conns[i]);
    }
    run(p);
    spent = (double)KV_MIN(now_ns() - begin, (uint64_t)p->o.seconds * 1000000000) / 1e9;
    printf("%s conns=%u depth=%u value=%u: %.0f per second, %" PRIu64 " done, %" PRIu64
           " errors, p50 %" PRIu64 " us, p99 %" PRIu64 " us%s%s\n",
           p->o.put ? "put" : "get", p->o.conns, p->o.depth, p->o.value_bytes,
           (double)p->done / spent, p->done, p->errors, percentile(p, 0.5),
           percentile(p, 0.99), p->errors > 0 ? ", first error: " : "", p->first_error);
    if (p->o.acked != NULL) {
        fclose(p->o.acked);
    }
    return p->done > 0 ? 0 : 1;
}
