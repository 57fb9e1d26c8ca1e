/* tests/server/fake_env.h - groups without a node: a clock, a disk and peers by hand.
 *
 * Plays the node's part for the files around server/group.c: the functions that other
 * files of server/ define (node_log, router_submit, peers_send_raft, conn_reply_begin
 * ...) are defined here, so that none of those files is linked. Disk jobs and messages
 * between nodes wait until the test runs or delivers them; nothing happens by itself.
 *
 * To be included by one .c file of a test program.
 *
 * Needs:    server/node.h, tests/lib/mem_store.h, rpc/.
 * Used by:  tests/server/test_group*.c, fake_cluster.h.
 * Threads:  one.
 */
#ifndef KV_TESTS_SERVER_FAKE_ENV_H
#define KV_TESTS_SERVER_FAKE_ENV_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "raft/base/err.h"
#include "raft/record.h"
#include "rpc/buf.h"
#include "rpc/slot.h"
#include "server/command.h"
#include "server/conn.h"
#include "server/env.h"
#include "server/group.h"
#include "server/meta.h"
#include "server/node.h"
#include "server/watch.h"
#include "server/peers.h"
#include "server/reply.h"
#include "tests/lib/mem_store.h"

enum {
    FAKE_NODES_MAX = 5,
    FAKE_GROUP = 1,
    FAKE_TICKETS_MAX = 4096,
    FAKE_JOBS_MAX = 256,
    FAKE_NODE_REQUESTS_MAX = 1 << 16,
};

/* What came of a request. */
struct fake_reply {
    bool done;
    int error; /* 0 or KV_E* */
    char text[256];
    bool found, deleted, swapped, more, has_value;
    char value[64];
    size_t value_len;
    int64_t number;
    uint64_t rev;
    uint32_t items, w, replicas, ttl_ms;
    char first_key[64], last_key[64];
    struct rpc_at at;
};

/* A raft message on its way, with its records. */
struct fake_msg {
    struct fake_msg *next;
    struct raft_msg msg;
    struct raft_entry *entries;
    uint8_t *records;
    uint8_t *chunk;
};

struct fake_world;

struct fake_node {
    struct env env; /* First. */
    struct fake_world *world;
    struct node *node; /* NULL while it is down. */
    struct group *group;
    struct mem_store *mem;
    struct disk_job *jobs[DISK_LANES_COUNT][FAKE_JOBS_MAX]; /* Oldest first. */
    uint32_t jobs_count[DISK_LANES_COUNT];
    bool halted;
    int halt_code;
    char last_log[512];
    struct buf out;
    enum rpc_method out_method;
    struct request_list rerouted;
    uint32_t rerouted_total;
    uint32_t changed;     /* node_group_changed() calls */
    uint32_t fetch_asked; /* peers_fetch_entry() calls */
    raft_index fetch_index;
    uint64_t fetch_hash;
    uint32_t maps_applied;  /* node_map_applied() calls */
    bool reroute_resubmits; /* A rerouted request goes to whoever leads. */
};

struct fake_world {
    uint32_t nodes_count;
    struct fake_node nodes[FAKE_NODES_MAX + 1]; /* By id. */
    uint64_t now_ms;
    uint64_t random;
    struct fake_msg *head, *tail; /* In the network. */
    uint32_t dropped_from;        /* Node whose messages are lost, both ways; 0. */
    struct group_options options;
    group_id group_id;
    struct fake_reply replies[FAKE_TICKETS_MAX]; /* By ticket, from 1 on. */
    uint64_t tickets;
    uint64_t forwarded_replies; /* peers_forward_reply() calls */
    uint64_t messages_sent, entries_sent;
    struct rpc_decoder decoder;
    bool quiet_replies; /* Benchmarks: replies are not decoded. */
};

static inline struct fake_node *fake_of(const struct node *n)
{
    return (struct fake_node *)(void *)n->env;
}

/* ---- struct env_ops ---- */

static inline uint64_t fake_now_ms(struct env *e)
{
    return ((struct fake_node *)(void *)e)->world->now_ms;
}

static inline uint64_t fake_now_us(struct env *e)
{
    return fake_now_ms(e) * 1000;
}

static inline uint64_t fake_wall_ms(struct env *e)
{
    return 1700000000000u + fake_now_ms(e);
}

static inline uint64_t fake_random(struct env *e)
{
    struct fake_world *w = ((struct fake_node *)(void *)e)->world;

    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return w->random >> 16;
}

static inline void fake_disk_submit(struct env *e, struct disk_job *job)
{
    struct fake_node *f = (struct fake_node *)(void *)e;
    enum disk_lane lane = disk_job_lane(job->kind);

    assert_true(f->jobs_count[lane] < FAKE_JOBS_MAX);
    f->jobs[lane][f->jobs_count[lane]++] = job;
}

static inline void fake_log(struct env *e, enum log_level level, const char *line)
{
    struct fake_node *f = (struct fake_node *)(void *)e;

    (void)level;
    (void)snprintf(f->last_log, sizeof f->last_log, "%s", line);
}

static inline void fake_halt(struct env *e, int code, const char *why)
{
    struct fake_node *f = (struct fake_node *)(void *)e;

    f->halted = true;
    f->halt_code = code;
    (void)snprintf(f->last_log, sizeof f->last_log, "%s", why);
}

static const struct env_ops fake_ops = {
    .now_ms = fake_now_ms,
    .now_us = fake_now_us,
    .wall_ms = fake_wall_ms,
    .random = fake_random,
    .disk_submit = fake_disk_submit,
    .log = fake_log,
    .halt = fake_halt,
};

/* ---- what other files of server/ define ---- */

void node_log(struct node *n, enum log_level level, const char *format, ...)
{
    char line[512];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    n->env->ops->log(n->env, level, line);
}

void node_halt(struct node *n, int code, const char *format, ...)
{
    char why[512];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(why, sizeof why, format, args);
    va_end(args);
    n->phase = NODE_HALTED;
    n->env->ops->halt(n->env, code, why);
}

/* Replica numbers are 10 more than node ids here, so that a mix-up shows. */
uint32_t node_of_replica(const struct node *n, group_id group, raft_id replica)
{
    (void)n;
    (void)group;
    return replica > 10 ? replica - 10 : 0;
}

raft_id node_replica_on(const struct node *n, group_id group, uint32_t node)
{
    (void)n;
    (void)group;
    return node + 10;
}

void node_group_changed(struct node *n, struct group *g)
{
    (void)g;
    fake_of(n)->changed++;
}

void node_map_applied(struct node *n, struct kv_bytes encoded)
{
    assert_true(encoded.len > 0);
    fake_of(n)->maps_applied++;
}

/* Nobody watches here. */
void watches_on_batch(struct node *n, struct group *g)
{
    (void)n;
    (void)g;
}

void watches_on_reset(struct node *n, struct group *g)
{
    (void)n;
    (void)g;
}

void router_submit(struct node *n, struct request *req)
{
    struct fake_node *f = fake_of(n);

    assert_int_equal(req->phase, REQ_WAITING);
    f->rerouted_total++;
    request_list_push(&f->rerouted, req);
}

void peers_send_raft(struct node *n, struct group *g, const struct raft_msg *msg)
{
    struct fake_world *w = fake_of(n)->world;
    struct fake_msg *m = kv_mem_zalloc(sizeof *m);
    struct kv_bytes records[RAFT_ENTRIES_MAX];
    size_t bytes = 0;
    size_t at = 0;

    assert_non_null(m);
    m->msg = *msg;
    w->messages_sent++;
    if (msg->type == RAFT_MSG_APPEND && msg->entries_count > 0) {
        m->msg.entries_count =
            group_records(g, msg->prev.index, msg->entries_count, records);
        for (uint32_t i = 0; i < m->msg.entries_count; i++) {
            bytes += records[i].len;
        }
        w->entries_sent += m->msg.entries_count;
        m->records = kv_mem_zalloc(bytes + 1);
        m->entries = kv_mem_zalloc((m->msg.entries_count + 1) * sizeof *m->entries);
        for (uint32_t i = 0; i < m->msg.entries_count; i++) {
            memcpy(m->records + at, records[i].data, records[i].len);
            assert_int_equal(
                raft_record_decode(kv_bytes(m->records + at, records[i].len),
                                   &m->entries[i]),
                0);
            assert_int_equal(m->entries[i].pos.index, msg->prev.index + 1 + i);
            at += records[i].len;
        }
        m->msg.entries = m->entries;
    }
    if (msg->type == RAFT_MSG_SNAPSHOT) {
        m->chunk = kv_mem_zalloc(msg->chunk.len + 1);
        if (group_chunk(g, &msg->chunk, m->chunk) != 0) {
            kv_mem_free(m->chunk);
            kv_mem_free(m);
            return;
        }
        m->msg.chunk.data = kv_bytes(m->chunk, msg->chunk.len);
    }
    if (w->tail == NULL) {
        w->head = m;
    } else {
        w->tail->next = m;
    }
    w->tail = m;
}

void peers_fetch_entry(struct node *n, struct group *g, raft_index index, uint64_t hash)
{
    (void)g;
    fake_of(n)->fetch_asked++;
    fake_of(n)->fetch_index = index;
    fake_of(n)->fetch_hash = hash;
}

uint64_t meta_cluster(const struct node *n)
{
    (void)n;
    return 1;
}

void peers_forward_reply(struct node *n, const struct request_asker *to,
                         struct kv_bytes tail)
{
    (void)to;
    assert_true(tail.len > 0);
    fake_of(n)->world->forwarded_replies++;
}

struct buf *conn_reply_begin(struct node *n, const struct request *req)
{
    struct fake_node *f = fake_of(n);

    buf_reset(&f->out);
    f->out_method = req->rpc.method;
    return &f->out;
}

static inline void fake_copy_text(char *out, size_t room, struct kv_bytes from)
{
    size_t len = KV_MIN(room - 1, from.len);

    if (len > 0) {
        memcpy(out, from.data, len);
    }
    out[len] = '\0';
}

/* req->conn is the ticket: the reply is kept under it. */
void conn_reply_end(struct node *n, const struct request *req, int code)
{
    struct fake_node *f = fake_of(n);
    struct fake_world *w = f->world;
    struct fake_reply *out = &w->replies[req->conn % FAKE_TICKETS_MAX];
    struct rpc_reply r;
    struct rpc_item item;

    if (w->quiet_replies) {
        out->done = true;
        out->error = code;
        return;
    }
    assert_false(out->done); /* Exactly once. */
    assert_int_equal(
        rpc_reply_decode(&w->decoder, buf_bytes(&f->out), req->rpc.method, &r), 0);
    assert_int_equal(r.msgid, req->rpc.msgid);
    out->done = true;
    out->error = r.error;
    assert_int_equal(code, r.error);
    fake_copy_text(out->text, sizeof out->text, r.error_text);
    out->found = r.found;
    out->deleted = r.deleted;
    out->swapped = r.swapped;
    out->more = r.more;
    out->has_value = r.has_value;
    out->number = r.number;
    out->rev = r.rev;
    out->w = r.w;
    out->replicas = r.replicas;
    out->ttl_ms = r.ttl_ms;
    out->at = r.at;
    out->value_len = r.value.len;
    fake_copy_text(out->value, sizeof out->value, r.value);
    out->items = r.items.count;
    if (r.error == 0 && r.items.count > 0) {
        rpc_reply_item_get(&r, 0, &item);
        fake_copy_text(out->first_key, sizeof out->first_key, item.key);
        rpc_reply_item_get(&r, r.items.count - 1, &item);
        fake_copy_text(out->last_key, sizeof out->last_key, item.key);
    }
}

/* ---- the world ---- */

static inline void fake_node_start(struct fake_world *w, uint32_t id)
{
    struct fake_node *f = &w->nodes[id];
    struct node *n = kv_mem_zalloc(sizeof *n);
    struct arena scratch;
    struct group_options o = w->options;

    assert_non_null(n);
    f->env.ops = &fake_ops;
    f->world = w;
    f->node = n;
    f->halted = false;
    buf_init(&f->out, KV_RESPONSE_BYTES_MAX);
    n->magic = NODE_MAGIC;
    n->phase = NODE_RUNNING;
    n->config.id = id;
    n->env = &f->env;
    n->store = mem_store_base(f->mem);
    n->now_ms = w->now_ms;
    n->groups_cap = FAKE_GROUP + 1;
    n->groups = kv_mem_zalloc(n->groups_cap * sizeof(struct group *));
    map_init(&n->map, 7);
    n->map.epoch = 1;
    n->map.vnodes = 16;
    n->map.nodes_count = 1;
    n->map.nodes[0] = (struct map_node){.id = 1, .client_port = 1, .peer_port = 1};
    n->map.groups_count = 1;
    n->map.groups[0].id = FAKE_GROUP;
    arena_init(&scratch, 4096, 0);
    assert_int_equal(map_derive_slots(&n->map, &scratch), 0);
    arena_close(&scratch);
    n->map_known = true;
    assert_int_equal(
        request_pool_new(n, FAKE_NODE_REQUESTS_MAX, 256u << 20, &n->requests), 0);
    assert_int_equal(disk_new(n, &f->env, n->store, &n->disk), 0);
    o.id = w->group_id;
    o.self = id + 10;
    assert_int_equal(group_open(n, &o, &f->group), 0);
    n->groups[w->group_id] = f->group;
}

static inline void fake_node_free(struct fake_node *f)
{
    struct node *n = f->node;

    while (f->rerouted.head != NULL) {
        struct request *req = f->rerouted.head;

        request_list_remove(&f->rerouted, req);
        request_move(req, REQ_REPLIED);
        request_free(req);
    }
    disk_free(n->disk);
    request_pool_free(n->requests);
    kv_mem_free(n->groups);
    kv_mem_free(n);
    buf_close(&f->out);
    f->node = NULL;
    f->group = NULL;
}

static inline struct fake_world *fake_world_new(uint32_t nodes_count)
{
    struct fake_world *w = kv_mem_zalloc(sizeof *w);

    assert_non_null(w);
    assert_true(nodes_count <= FAKE_NODES_MAX);
    w->nodes_count = nodes_count;
    w->now_ms = 1000;
    w->random = 42;
    w->group_id = FAKE_GROUP;
    w->options = (struct group_options){
        .election_timeout_ms = 150,
        .heartbeat_ms = 50,
        .log_window = 8192,
        .delta_bytes_max = 1 << 20,
        .tail_bytes_max = 1 << 20,
        .checkpoint_ms_max = 60000,
    };
    group_limits_init(&w->options.limits);
    for (uint32_t id = 1; id <= nodes_count; id++) {
        w->options.initial.voters[w->options.initial.voters_count++] = id + 10;
        assert_int_equal(mem_store_new(id * 1000, &w->nodes[id].mem), 0);
    }
    assert_int_equal(rpc_decoder_init(&w->decoder), 0);
    return w;
}

static inline void fake_world_start(struct fake_world *w)
{
    for (uint32_t id = 1; id <= w->nodes_count; id++) {
        fake_node_start(w, id);
    }
}

static inline void fake_msg_free(struct fake_msg *m)
{
    kv_mem_free(m->entries);
    kv_mem_free(m->records);
    kv_mem_free(m->chunk);
    kv_mem_free(m);
}

/* ---- turns ---- */

static inline void fake_turn_begin(struct fake_node *f)
{
    f->node->now_ms = f->world->now_ms;
}

/* Ends a turn of one node, until it is quiet. */
static inline void fake_turn_end(struct fake_node *f)
{
    uint32_t rounds = 0;

    fake_turn_begin(f);
    while (group_is_dirty(f->group) && rounds < 64) {
        group_flush(f->group);
        rounds++;
    }
    assert_true(rounds < 64); /* A group that never comes to rest. */
    disk_flush(f->node->disk);
}

/* Runs the oldest job of a lane. False when there is none. */
static inline bool fake_run_job(struct fake_node *f, enum disk_lane lane)
{
    struct disk_job *job;

    if (f->jobs_count[lane] == 0) {
        return false;
    }
    job = f->jobs[lane][0];
    f->jobs_count[lane]--;
    memmove(&f->jobs[lane][0], &f->jobs[lane][1],
            f->jobs_count[lane] * sizeof f->jobs[lane][0]);
    fake_turn_begin(f);
    disk_job_run(job);
    disk_done(f->node->disk, job);
    fake_turn_end(f);
    return true;
}

static inline bool fake_run_jobs(struct fake_node *f)
{
    bool any = false;

    while (!f->halted && fake_run_job(f, DISK_LANE_LOG)) {
        any = true;
    }
    while (!f->halted && fake_run_job(f, DISK_LANE_STATE)) {
        any = true;
    }
    return any;
}

/* Delivers the oldest message. False when there is none. */
static inline bool fake_deliver(struct fake_world *w)
{
    struct fake_msg *m = w->head;
    struct fake_node *to;
    uint32_t from_id;

    if (m == NULL) {
        return false;
    }
    w->head = m->next;
    if (w->head == NULL) {
        w->tail = NULL;
    }
    to = &w->nodes[m->msg.to - 10];
    from_id = m->msg.from - 10;
    if (to->node != NULL && w->dropped_from != from_id &&
        w->dropped_from != m->msg.to - 10 && !to->halted) {
        fake_turn_begin(to);
        group_on_message(to->group, &m->msg);
        fake_turn_end(to);
    }
    fake_msg_free(m);
    return true;
}

/* Everything that can happen without time passing. */
static inline void fake_settle(struct fake_world *w)
{
    bool any = true;
    uint32_t rounds = 0;

    while (any && rounds++ < 10000) {
        any = false;
        for (uint32_t id = 1; id <= w->nodes_count; id++) {
            struct fake_node *f = &w->nodes[id];

            if (f->node != NULL && !f->halted) {
                fake_turn_end(f);
                any = fake_run_jobs(f) || any;
            }
        }
        while (fake_deliver(w)) {
            any = true;
        }
    }
    assert_true(rounds < 10000);
}

/* Lets time pass in steps of 5 ms, with everything that follows. */
static inline void fake_pass_ms(struct fake_world *w, uint64_t ms)
{
    uint64_t end = w->now_ms + ms;

    while (w->now_ms < end) {
        w->now_ms += 5;
        for (uint32_t id = 1; id <= w->nodes_count; id++) {
            struct fake_node *f = &w->nodes[id];

            if (f->node != NULL && !f->halted) {
                fake_turn_begin(f);
                if (group_deadline_ms(f->group) <= w->now_ms) {
                    group_tick(f->group);
                }
                fake_turn_end(f);
            }
        }
        fake_settle(w);
        for (uint32_t id = 1; id <= w->nodes_count; id++) {
            const struct fake_node *f = &w->nodes[id];

            /* Nothing is due any more: a group that says otherwise keeps a CPU busy. */
            if (f->node != NULL && !f->halted) {
                assert_true(group_deadline_ms(f->group) > w->now_ms);
            }
        }
    }
}

/* The node whose group leads; NULL when none or several do. */
static inline struct fake_node *fake_leader(struct fake_world *w)
{
    struct fake_node *found = NULL;

    for (uint32_t id = 1; id <= w->nodes_count; id++) {
        struct fake_node *f = &w->nodes[id];

        if (f->node != NULL && group_is_leader(f->group) && w->dropped_from != id) {
            if (found != NULL) {
                return NULL;
            }
            found = f;
        }
    }
    return found;
}

static inline struct fake_node *fake_elect(struct fake_world *w)
{
    for (int i = 0; i < 100 && fake_leader(w) == NULL; i++) {
        fake_pass_ms(w, 50);
    }
    assert_non_null(fake_leader(w));
    fake_pass_ms(w, 100);
    assert_non_null(fake_leader(w));
    return fake_leader(w);
}

/* The process dies: jobs that did not run never happen. */
static inline void fake_crash(struct fake_node *f)
{
    struct fake_world *w = f->world;

    /* Finish the state lane's jobs as if they had just not been started: the memory of
     * a dead process does not matter, but ours must not leak. */
    while (f->jobs_count[DISK_LANE_LOG] + f->jobs_count[DISK_LANE_STATE] > 0) {
        enum disk_lane lane =
            f->jobs_count[DISK_LANE_LOG] > 0 ? DISK_LANE_LOG : DISK_LANE_STATE;
        struct disk_job *job = f->jobs[lane][0];

        f->jobs_count[lane]--;
        memmove(&f->jobs[lane][0], &f->jobs[lane][1],
                f->jobs_count[lane] * sizeof f->jobs[lane][0]);
        job->result = KV_ENOSPACE; /* Did not happen. */
        if (job->kind != DISK_LOG) {
            disk_done(f->node->disk, job);
        }
    }
    w->quiet_replies = true;
    group_close(f->group);
    w->quiet_replies = false;
    fake_node_free(f);
}

static inline void fake_restart(struct fake_world *w, uint32_t id)
{
    assert_int_equal(mem_store_reopen(w->nodes[id].mem), 0);
    fake_node_start(w, id);
}

static inline void fake_world_free(struct fake_world *w)
{
    for (uint32_t id = 1; id <= w->nodes_count; id++) {
        if (w->nodes[id].node != NULL) {
            fake_crash(&w->nodes[id]);
        }
        mem_store_free(w->nodes[id].mem);
    }
    while (w->head != NULL) {
        struct fake_msg *m = w->head;

        w->head = m->next;
        fake_msg_free(m);
    }
    rpc_decoder_close(&w->decoder);
    kv_mem_free(w);
}

/* ---- requests ---- */

/* A request in REQ_READING, as the node hands it to the group. */
static inline struct request *fake_request(struct fake_node *f, enum rpc_method method,
                                           const char *key, const char *value)
{
    struct fake_world *w = f->world;
    struct request *req;
    char both[2048];
    size_t key_len = strlen(key);
    size_t value_len = value == NULL ? 0 : strlen(value);

    assert_true(key_len + value_len < sizeof both);
    memcpy(both, key, key_len);
    if (value_len > 0) {
        memcpy(both + key_len, value, value_len);
    }
    assert_int_equal(
        request_new(f->node->requests, kv_bytes(both, key_len + value_len), &req), 0);
    w->tickets++;
    memset(&w->replies[w->tickets % FAKE_TICKETS_MAX], 0, sizeof w->replies[0]);
    rpc_request_init(&req->rpc, method, (uint32_t)w->tickets);
    req->rpc.type = RPC_REQUEST;
    req->rpc.key = kv_bytes(req->message.data, key_len);
    req->rpc.value = kv_bytes(req->message.data + key_len, value_len);
    req->origin = REQ_FROM_CONN;
    req->conn = w->tickets;
    req->slot = slot_of(req->rpc.key);
    req->group = w->group_id;
    req->is_write = rpc_method_is_write(method);
    req->deadline_ms = w->now_ms + 5000;
    return req;
}

static inline struct fake_reply *fake_reply_of(struct fake_world *w, uint64_t ticket)
{
    return &w->replies[ticket % FAKE_TICKETS_MAX];
}

/* Submits and ends the turn; returns the ticket. */
static inline uint64_t fake_submit(struct fake_node *f, struct request *req)
{
    uint64_t ticket = req->conn;

    fake_turn_begin(f);
    group_submit(f->group, req);
    fake_turn_end(f);
    return ticket;
}

static inline uint64_t fake_put(struct fake_node *f, const char *key, const char *value)
{
    return fake_submit(f, fake_request(f, RPC_KV_PUT, key, value));
}

static inline uint64_t fake_get(struct fake_node *f, const char *key)
{
    return fake_submit(f, fake_request(f, RPC_KV_GET, key, NULL));
}

/* Puts, settles, and demands success. */
static inline void fake_put_ok(struct fake_node *f, const char *key, const char *value)
{
    uint64_t ticket = fake_put(f, key, value);

    fake_settle(f->world);
    assert_true(fake_reply_of(f->world, ticket)->done);
    assert_int_equal(fake_reply_of(f->world, ticket)->error, 0);
}

/* Gets, settles, and demands this value (NULL: no such key). */
static inline void fake_get_is(struct fake_node *f, const char *key, const char *value)
{
    uint64_t ticket = fake_get(f, key);
    struct fake_reply *r = fake_reply_of(f->world, ticket);

    fake_settle(f->world);
    assert_true(r->done);
    assert_int_equal(r->error, 0);
    assert_int_equal(r->found, value != NULL);
    if (value != NULL) {
        assert_string_equal(r->value, value);
    }
}

#endif
