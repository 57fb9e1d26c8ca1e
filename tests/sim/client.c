/* tests/sim/client.c - clients that ask, remember what they were told, and doubt.
 *
 * Each client has one request under way on one connection. Done, certainly not done
 * and unknown are kept apart; a client whose request ended as unknown goes on as a
 * new process on a new connection.
 */
#include "raft/base/arena.h"
#include "tests/sim/ask.h"
#include "tests/sim/levels.h"
#include "tests/sim/workload.h"

static void wake_at(struct sim *s, struct sim_client *c, uint64_t at_us)
{
    heap_push(s, (struct sim_event){
                     .at_us = at_us, .kind = EV_CLIENT_WAKE, .node = c->number});
}

static uint64_t think_us(struct sim *s, struct sim_client *c)
{
    uint64_t mean = (uint64_t)s->swarm.clients * 1000000 / s->swarm.ops_per_s;

    return 1 + prng_below(&c->prng, 2 * mean);
}

/* It goes on when it has thought, or when its kind wants to. */
static void wake_later(struct sim *s, struct sim_client *c)
{
    uint64_t at_us = s->now_us + think_us(s, c);

    if (c->wake_us != 0) {
        at_us = KV_MAX(c->wake_us, s->now_us + 1);
        c->wake_us = 0;
    }
    wake_at(s, c, at_us);
}

void client_init_all(struct sim *s)
{
    for (uint32_t i = 0; i < s->swarm.clients; i++) {
        struct sim_client *c = &s->clients[i];

        c->number = i;
        c->msgid = i * 1000;
        KV_ASSERT(rpc_decoder_init(&c->decoder) == 0);
        c->kind = c->asking = kinds_of(s, c);
        if (c->kind->open != NULL) {
            c->kind->open(s, c);
        }
        wake_at(s, c, s->now_us + think_us(s, c));
    }
}

void client_free_all(struct sim *s)
{
    for (uint32_t i = 0; i < s->swarm.clients; i++) {
        struct sim_client *c = &s->clients[i];

        if (c->kind != NULL && c->kind->close != NULL) {
            c->kind->close(s, c);
        }
        kv_mem_free(c->own);
        rpc_decoder_close(&c->decoder);
        kv_mem_free(c->in);
    }
}

static void client_drop_conn(struct sim *s, struct sim_client *c, bool tell)
{
    if (c->conn != 0 && tell && world_is_up(s, c->node)) {
        heap_push(s, (struct sim_event){.at_us = s->now_us + net_delay_us(s),
                                        .kind = EV_CONN_CLOSED,
                                        .node = c->node,
                                        .life = s->nodes[c->node].life,
                                        .id = c->conn});
    }
    c->conn = 0;
    c->in_len = 0;
}

void client_hang_up(struct sim *s, struct sim_client *c)
{
    KV_ASSERT(!c->busy);
    client_drop_conn(s, c, true);
}

/* The request is over: think, then ask again. */
static void client_end(struct sim *s, struct sim_client *c)
{
    KV_ASSERT(c->busy);
    c->busy = false;
    if (c->probe != NULL) {
        *c->probe = c->op.outcome == LINEAR_OK;
        c->probe = NULL;
    }
    if (!s->healed || s->now_us < s->end_us) {
        wake_at(s, c, s->now_us + think_us(s, c));
    }
}

/* It ended without an answer. */
static void client_silence(struct sim *s, struct sim_client *c)
{
    if (c->asking->silence != NULL) {
        c->asking->silence(s, c);
    } else {
        ask_finish(s, c, LINEAR_UNKNOWN, 0);
    }
    client_end(s, c);
}

/* Connects to this node, if need be. Returns when the first bytes arrive. */
static uint64_t client_connect(struct sim *s, struct sim_client *c, uint32_t node)
{
    uint64_t at = s->now_us + net_delay_us(s);

    if (c->conn != 0) {
        return at;
    }
    c->node = node;
    c->conn = ++s->next_id;
    c->in_len = 0;
    scan_init(&c->scan, &scan_limits_response);
    heap_push(s, (struct sim_event){.at_us = at,
                                    .kind = EV_CONN_OPEN,
                                    .node = c->node,
                                    .life = s->nodes[c->node].life,
                                    .id = c->conn});
    return at + 1;
}

static void client_send(struct sim *s, struct sim_client *c, uint64_t at,
                        const struct buf *b)
{
    uint8_t *copy = kv_mem_zalloc(b->len);

    KV_ASSERT(copy != NULL);
    memcpy(copy, b->data, b->len);
    heap_push(s, (struct sim_event){.at_us = at,
                                    .kind = EV_CONN_DATA,
                                    .node = c->node,
                                    .life = s->nodes[c->node].life,
                                    .id = c->conn,
                                    .data = copy,
                                    .len = (uint32_t)b->len});
    c->busy = true;
    c->deadline_us = s->now_us + 7000000;
    s->counts.ops++;
    wake_at(s, c, c->deadline_us);
}

static void client_begin(struct sim *s, struct sim_client *c)
{
    uint32_t node = 1 + (uint32_t)prng_below(&c->prng, s->swarm.nodes);
    struct buf b;
    uint64_t at;

    if (c->conn == 0 && !world_is_up(s, node)) {
        wake_at(s, c, s->now_us + think_us(s, c)); /* Refused; nothing was asked. */
        return;
    }
    at = client_connect(s, c, node);
    buf_init(&b, 1 << 20);
    c->asking = c->kind;
    if (c->kind->choose(s, c, &b)) {
        client_send(s, c, at, &b);
    } else {
        wake_later(s, c);
    }
    buf_close(&b);
}

void client_probe(struct sim *s, struct peace *p, uint32_t group)
{
    struct sim_client *c = NULL;
    uint32_t node = faults_draw_between(s, 1, s->swarm.nodes);
    struct buf b;
    uint64_t at;

    for (uint32_t i = 0; i < s->swarm.clients && c == NULL; i++) {
        c = s->clients[i].busy ? NULL : &s->clients[i];
    }
    while (!p->core[node]) {
        node = node % s->swarm.nodes + 1;
    }
    if (c == NULL) {
        return; /* Later. */
    }
    client_drop_conn(s, c, true);
    at = client_connect(s, c, node);
    buf_init(&b, 1 << 20);
    c->asking = &kind_plain;
    workload_probe(s, c, group, &b);
    c->probe = &p->probed[group];
    client_send(s, c, at, &b);
    buf_close(&b);
    s->counts.probes++;
}

static void client_answer(struct sim *s, struct sim_client *c, struct kv_bytes message)
{
    struct rpc_reply r;

    if (rpc_reply_decode(&c->decoder, message, c->method, &r) != 0) {
        sim_fail(s, "node %u sent a reply that is none", c->node);
        return;
    }
    if (!c->busy || r.msgid != c->msgid) {
        sim_fail(s, "node %u answered request %u, asked was %u", c->node, r.msgid,
                 c->busy ? c->msgid : 0);
        return;
    }
    cover_error(s->cover.reply_error, r.error);
    /* A node without room need not look at what is wrong. */
    if (c->wants != 0 && r.error != c->wants && r.error != KV_EBUSY) {
        sim_fail(s, "node %u: a wrong request got %s", c->node, kv_err_name(r.error));
    }
    if (r.error == 0) {
        levels_check(s, c, &r);
    }
    c->asking->answer(s, c, &r);
    client_end(s, c);
}

static void client_data(struct sim *s, struct sim_client *c, struct sim_event *ev)
{
    size_t from = c->in_len, used;
    int rc;

    if (c->in_cap < c->in_len + ev->len) {
        c->in_cap = (c->in_len + ev->len) * 2;
        c->in = kv_mem_realloc(c->in, c->in_cap);
        KV_ASSERT(c->in != NULL);
    }
    memcpy(c->in + c->in_len, ev->data, ev->len);
    c->in_len += ev->len;
    while (from < c->in_len) {
        rc = scan_feed(&c->scan, c->in + from, c->in_len - from, &used);
        if (rc == KV_EAGAIN) {
            return;
        }
        if (rc != 0) {
            sim_fail(s, "node %u sent bytes that are no message: %s", c->node,
                     scan_why(&c->scan));
            return;
        }
        if (used > 1 && c->in[1] == RPC_NOTIFICATION && c->kind->notice != NULL) {
            c->kind->notice(s, c, kv_bytes(c->in, used));
        } else {
            client_answer(s, c, kv_bytes(c->in, used));
        }
        memmove(c->in, c->in + used, c->in_len - used);
        c->in_len -= used;
        from = 0;
    }
}

void client_event(struct sim *s, struct sim_event *ev)
{
    struct sim_client *c = &s->clients[ev->node];

    switch (ev->kind) {
    case EV_CLIENT_WAKE:
        if (!c->busy && (!s->healed || s->now_us < s->end_us)) {
            client_begin(s, c);
        } else if (c->busy && s->now_us >= c->deadline_us) {
            client_drop_conn(s, c, true);
            client_silence(s, c);
        }
        break;
    case EV_CLIENT_DATA:
        if (ev->id == c->conn) {
            client_data(s, c, ev);
        }
        break;
    case EV_CLIENT_CLOSED:
        if (ev->id == c->conn) {
            client_drop_conn(s, c, false);
            if (c->busy) {
                client_silence(s, c);
            }
        }
        break;
    default:
        KV_UNREACHABLE();
    }
}

static struct sim_client *client_of_conn(struct sim *s, uint64_t conn)
{
    for (uint32_t i = 0; i < s->swarm.clients; i++) {
        if (s->clients[i].conn == conn) {
            return &s->clients[i];
        }
    }
    return NULL;
}

void client_from_node(struct sim *s, uint32_t node, uint64_t conn,
                      struct kv_bytes bytes)
{
    struct sim_client *c = client_of_conn(s, conn);
    uint8_t *copy;

    (void)node;
    if (c == NULL) {
        return;
    }
    copy = kv_mem_zalloc(bytes.len);
    KV_ASSERT(copy != NULL);
    memcpy(copy, bytes.data, bytes.len);
    heap_push(s, (struct sim_event){.at_us = s->now_us + s->swarm.delay_us_min + 1,
                                    .kind = EV_CLIENT_DATA,
                                    .node = c->number,
                                    .id = conn,
                                    .data = copy,
                                    .len = (uint32_t)bytes.len});
}

void client_close_from_node(struct sim *s, uint32_t node, uint64_t conn)
{
    struct sim_client *c = client_of_conn(s, conn);

    (void)node;
    if (c != NULL) {
        heap_push(s, (struct sim_event){.at_us = s->now_us + s->swarm.delay_us_min + 2,
                                        .kind = EV_CLIENT_CLOSED,
                                        .node = c->number,
                                        .id = conn});
    }
}

void client_node_down(struct sim *s, uint32_t node)
{
    for (uint32_t i = 0; i < s->swarm.clients; i++) {
        struct sim_client *c = &s->clients[i];

        if (c->conn != 0 && c->node == node) {
            client_close_from_node(s, node, c->conn);
        }
    }
}

bool client_all_idle(const struct sim *s)
{
    for (uint32_t i = 0; i < s->swarm.clients; i++) {
        if (s->clients[i].busy) {
            return false;
        }
    }
    return true;
}
