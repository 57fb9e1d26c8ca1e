/* tests/sim/client.c - clients that ask, remember what they were told, and doubt.
 *
 * Each client has one request under way on one connection. Done, certainly not done
 * and unknown are kept apart; a client whose request ended as unknown goes on as a
 * new process on a new connection.
 */
#include "raft/base/arena.h"
#include "tests/sim/sim.h"

static void wake_at(struct sim *s, struct sim_client *c, uint64_t at_us)
{
    heap_push(s, (struct sim_event){
                     .at_us = at_us, .kind = EV_CLIENT_WAKE, .node = c->number});
}

static uint64_t think_us(struct sim *s)
{
    uint64_t mean = (uint64_t)s->swarm.clients * 1000000 / s->swarm.ops_per_s;

    return 1 + prng_below(&s->prng, 2 * mean);
}

void client_init_all(struct sim *s)
{
    for (uint32_t i = 0; i < s->swarm.clients; i++) {
        struct sim_client *c = &s->clients[i];

        c->number = i;
        c->msgid = i * 1000;
        KV_ASSERT(rpc_decoder_init(&c->decoder) == 0);
        wake_at(s, c, s->now_us + think_us(s));
    }
}

void client_free_all(struct sim *s)
{
    for (uint32_t i = 0; i < s->swarm.clients; i++) {
        rpc_decoder_close(&s->clients[i].decoder);
        kv_mem_free(s->clients[i].in);
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

static void client_end(struct sim *s, struct sim_client *c, enum linear_outcome outcome)
{
    struct linear_op *op = &s->ops[c->op];

    KV_ASSERT(c->busy);
    c->busy = false;
    op->outcome = outcome;
    op->return_us = s->now_us;
    s->counts.ops_ok += outcome == LINEAR_OK;
    s->counts.ops_fail += outcome == LINEAR_FAIL;
    s->counts.ops_unknown += outcome == LINEAR_UNKNOWN;
    if (!s->healed || s->now_us < s->end_us) {
        wake_at(s, c, s->now_us + think_us(s));
    }
}

static void key_bytes(uint32_t key, char *out, size_t size)
{
    KV_ASSERT(size >= 8);
    memcpy(out, "key-000", 8);
    out[4] = (char)('0' + key / 100 % 10);
    out[5] = (char)('0' + key / 10 % 10);
    out[6] = (char)('0' + key % 10);
}

/* Picks an operation, notes it in the history and encodes it. */
static void client_choose(struct sim *s, struct sim_client *c, struct buf *b)
{
    char key[8];
    uint8_t value[8], expected[8];
    struct linear_op *op;
    struct rpc_request q;
    uint64_t dice = prng_below(&s->prng, 100);

    if (s->ops_count == s->ops_cap) {
        s->ops_cap = s->ops_cap == 0 ? 1024 : s->ops_cap * 2;
        s->ops = kv_mem_realloc(s->ops, s->ops_cap * sizeof *s->ops);
        KV_ASSERT(s->ops != NULL);
    }
    c->op = s->ops_count++;
    op = &s->ops[c->op];
    *op = (struct linear_op){.key = (uint32_t)prng_below(&s->prng, s->swarm.keys),
                             .process = c->number,
                             .outcome = LINEAR_UNKNOWN,
                             .call_us = s->now_us,
                             .value = ++s->next_value};
    key_bytes(op->key, key, sizeof key);
    kv_put_u64le(value, op->value);
    if (dice < 45) {
        op->kind = LINEAR_READ;
        rpc_request_init(&q, RPC_KV_GET, ++c->msgid);
    } else if (dice < 80) {
        op->kind = LINEAR_WRITE;
        rpc_request_init(&q, RPC_KV_PUT, ++c->msgid);
        q.value = kv_bytes(value, 8);
    } else if (dice < 94) {
        /* Expect a recent value now and then, or nothing. */
        op->kind = LINEAR_CAS;
        op->expected = prng_below(&s->prng, 3) == 0
                           ? 0
                           : op->value - KV_MIN(op->value, prng_below(&s->prng, 12));
        rpc_request_init(&q, RPC_KV_CAS, ++c->msgid);
        q.has_expected = op->expected != 0;
        kv_put_u64le(expected, op->expected);
        q.expected = kv_bytes(expected, 8);
        q.has_replacement = true;
        q.replacement = kv_bytes(value, 8);
    } else {
        op->kind = LINEAR_DELETE;
        rpc_request_init(&q, RPC_KV_DEL, ++c->msgid);
    }
    q.key = kv_bytes(key, 7);
    s->cover.method[q.method]++;
    rpc_request_encode(b, &q);
    KV_ASSERT(b->error == 0);
}

static void client_begin(struct sim *s, struct sim_client *c)
{
    struct buf b;
    uint8_t *copy;
    uint64_t at = s->now_us + net_delay_us(s);

    if (c->conn == 0) {
        c->node = 1 + (uint32_t)prng_below(&s->prng, s->swarm.nodes);
        if (!world_is_up(s, c->node)) {
            wake_at(s, c, s->now_us + think_us(s)); /* Refused; nothing was asked. */
            return;
        }
        c->conn = ++s->next_id;
        c->in_len = 0;
        scan_init(&c->scan, &scan_limits_response);
        heap_push(s, (struct sim_event){.at_us = at,
                                        .kind = EV_CONN_OPEN,
                                        .node = c->node,
                                        .life = s->nodes[c->node].life,
                                        .id = c->conn});
        at++;
    }
    buf_init(&b, 1 << 20);
    client_choose(s, c, &b);
    copy = kv_mem_zalloc(b.len);
    KV_ASSERT(copy != NULL);
    memcpy(copy, b.data, b.len);
    heap_push(s, (struct sim_event){.at_us = at,
                                    .kind = EV_CONN_DATA,
                                    .node = c->node,
                                    .life = s->nodes[c->node].life,
                                    .id = c->conn,
                                    .data = copy,
                                    .len = (uint32_t)b.len});
    buf_close(&b);
    c->busy = true;
    c->deadline_us = s->now_us + 7000000;
    s->counts.ops++;
    wake_at(s, c, c->deadline_us);
}

static void client_answer(struct sim *s, struct sim_client *c, struct kv_bytes message)
{
    static const enum rpc_method methods[] = {[LINEAR_READ] = RPC_KV_GET,
                                              [LINEAR_WRITE] = RPC_KV_PUT,
                                              [LINEAR_CAS] = RPC_KV_CAS,
                                              [LINEAR_DELETE] = RPC_KV_DEL};
    struct linear_op *op = &s->ops[c->op];
    struct rpc_reply reply;

    if (rpc_reply_decode(&c->decoder, message, methods[op->kind], &reply) != 0) {
        sim_fail(s, "node %u sent a reply that is none", c->node);
        return;
    }
    if (!c->busy || reply.msgid != c->msgid) {
        sim_fail(s, "node %u answered request %u, asked was %u", c->node, reply.msgid,
                 c->busy ? c->msgid : 0);
        return;
    }
    cover_error(s->cover.reply_error, reply.error);
    if (reply.error != 0) {
        bool sure = kv_err_outcome(reply.error) == KV_OUTCOME_NOT_DONE;

        client_end(s, c, sure ? LINEAR_FAIL : LINEAR_UNKNOWN);
        return;
    }
    op->group = reply.at.group;
    op->rev = reply.rev;
    op->term = reply.at.term;
    op->node = reply.at.node;
    op->condition = op->kind == LINEAR_CAS ? reply.swapped : reply.deleted;
    if (op->kind == LINEAR_READ) {
        if (reply.found && reply.value.len != 8) {
            sim_fail(s, "a value of %zu bytes was read, none was written",
                     reply.value.len);
            return;
        }
        op->value = reply.found ? kv_get_u64le(reply.value.data) : 0;
    }
    client_end(s, c, LINEAR_OK);
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
        client_answer(s, c, kv_bytes(c->in, used));
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
            client_end(s, c, LINEAR_UNKNOWN);
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
                client_end(s, c, LINEAR_UNKNOWN);
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
