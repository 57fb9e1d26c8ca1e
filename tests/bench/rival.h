/* tests/bench/rival.h - load on etcd or redis, as kvctl bench puts it on kvd.
 *
 * A closed loop: each client is one connection with `flight` requests under way, keys
 * drawn evenly, values of random bytes. One thread, one epoll; a request is written the
 * moment the answer before it was read, all that one read brought in one write. What it
 * costs per request is less than what libkv costs for the same (README.md).
 *
 * Needs:    client/kvctl_hist.h, raft/base, nghttp2 (rival_etcd.c).
 * Used by:  rival.c, rival_etcd.c, rival_redis.c.
 * Threads:  one.
 */
#ifndef KV_TESTS_BENCH_RIVAL_H
#define KV_TESTS_BENCH_RIVAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/kvctl_hist.h"
#include "raft/base/prng.h"

enum {
    RIVAL_CLIENTS_MAX = 1024,
    RIVAL_FLIGHT_MAX = 64,
    RIVAL_VALUE_MAX = 64 * 1024,
    RIVAL_KEY_BYTES = 24, /* Room for a key's text and a 0. */
};

struct rival;

/* One connection. */
struct rival_client {
    struct rival *rival;
    int fd;
    uint8_t *out; /* Bytes not written yet. */
    size_t out_len, out_cap;
    void *wire;      /* The protocol's own. */
    uint32_t flying; /* Requests under way. */
};

/* A protocol. Each call ends the program on an answer that it does not understand. */
struct rival_wire {
    const char *name;
    /* After connecting: what goes ahead of the first request. */
    void (*open)(struct rival_client *c);
    /* Appends a request that began at `begun_ns`. */
    void (*request)(struct rival_client *c, uint64_t begun_ns);
    /* Takes bytes; calls rival_done() for each answer. */
    void (*take)(struct rival_client *c, const uint8_t *data, size_t len);
};

struct rival {
    const struct rival_wire *wire;
    bool put;    /* Or get. */
    bool filled; /* Keys are counted up, each once: --fill. */
    uint32_t clients, flight, value_bytes;
    uint64_t keys, next_key;
    struct prng prng;
    uint8_t *value;            /* value_bytes random ones. */
    uint64_t count_ns, end_ns; /* Counted from, until. */
    bool in_take;              /* take() sends when it is through with its bytes. */
    uint64_t done, failed;
    struct hist hist;
};

extern const struct rival_wire rival_etcd, rival_redis;

uint64_t rival_now_ns(void);
_Noreturn void rival_die(const char *what);

/* Room for `len` more bytes of output. */
uint8_t *rival_out(struct rival_client *c, size_t len);

/* The key of the next request, as text. Returns its length. */
size_t rival_key(struct rival *r, char key[RIVAL_KEY_BYTES]);

/* A request was answered. */
void rival_done(struct rival_client *c, uint64_t begun_ns, bool good);

#endif
