/* tests/fuzz/fuzz_conn.c - a client's stream against a whole node, in odd pieces.
 *
 * The first byte says how the rest is cut. Whatever comes, the node goes on, forgets
 * the client when it has gone, and answers another one.
 */
#include "raft/base/err.h"
#include "server/conn.h"
#include "tests/lib/node_net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct net *net_make(void)
{
    struct net_options o = {.nodes = 1, .groups = 2, .replicas = 1};
    struct net *net = net_new(&o);

    net->trace = false;
    net_start_all(net);
    KV_ASSERT(net_run_until(net, net_is_ready, NULL, 5000));
    KV_ASSERT(net_put(net, 1, "a", "1") == 0 && net_put(net, 1, "b", "1") == 0);
    return net;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct net *net;
    static uint32_t runs;
    struct conns_stats stats;
    struct net_client *c;
    size_t piece, at;

    if (len < 2 || len > 64 * 1024) {
        return 0;
    }
    if (net == NULL) {
        net = net_make();
    }
    piece = data[0] == 0 ? len : data[0];
    c = net_connect(net, 1);
    KV_ASSERT(c != NULL);
    for (at = 1; at < len; at += piece) {
        net_send(net, c, data + at, KV_MIN(piece, len - at));
    }
    net_run_ms(net, 10);
    net_disconnect(net, c);
    net_run_ms(net, 10);

    conns_stats_get(net->nodes[1].node->conns, &stats);
    KV_ASSERT(stats.open == 0 && stats.input_bytes == 0 && stats.paused == 0);
    KV_ASSERT(request_pool_count(net->nodes[1].node->requests) == 0);
    KV_ASSERT(net->nodes[1].halt_code == 0);
    if (++runs % 64 == 0) {
        KV_ASSERT(net_put(net, 1, "a", "1") == 0);
        net_run_ms(net, 10);
    }
    if (runs % 4096 == 0) {
        net_free(net); /* Logs do not grow for ever. */
        net = NULL;
    }
    return 0;
}
