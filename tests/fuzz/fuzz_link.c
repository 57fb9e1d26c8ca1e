/* tests/fuzz/fuzz_link.c - another node's stream: bytes, and frames with broken bodies.
 *
 * Node 3 of a formed cluster is dead and this test speaks in its name. Input: a first
 * byte 0 sends what follows as it is on a stranger's link. Otherwise it is the kind of
 * a frame whose flags are the next two bytes and whose body is the rest, with a right
 * head and checksum, on a link that has said HELLO. Kinds above the last one stand for
 * RAFT messages built from the bytes, so that their fields are reached at once.
 */
#include "raft/base/err.h"
#include "server/meta.h"
#include "server/node_parts.h"
#include "server/peers_parts.h"
#include "tests/lib/node_net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct net *net;
static struct peer_head head; /* Of node 3 to node 1. */

static void net_make(void)
{
    struct net_options o = {.nodes = 3, .groups = 2, .replicas = 3};

    net = net_new(&o);
    net->trace = false;
    net_start_all(net);
    KV_ASSERT(net_run_until(net, net_is_ready, NULL, 20000));
    KV_ASSERT(net_put(net, 1, "a", "1") == 0 && net_put(net, 1, "b", "1") == 0);
    head = peers_head(net->nodes[3].node, 1, PEER_HELLO);
    net_kill(net, 3);
    net_run_ms(net, 500);
}

static void send_frame(uint64_t link, const struct peer_head *h, struct kv_bytes body)
{
    struct buf b;
    size_t mark;

    buf_init(&b, 1 << 20);
    mark = peer_frame_begin(&b, h);
    buf_append_bytes(&b, body);
    KV_ASSERT(peer_frame_end(&b, mark) == 0);
    net_raw_send(net, link, buf_bytes(&b));
    buf_close(&b);
}

static uint64_t link_of_node_3(void)
{
    struct peer_hello hello = {.host = "node3", .client_port = 1003, .peer_port = 2003};
    uint64_t link = net_raw_open(net, 1);
    struct buf b;

    buf_init(&b, 4096);
    peer_hello_encode(&b, &hello);
    head.kind = PEER_HELLO;
    head.flags = PEERS_FLAG_ASK;
    send_frame(link, &head, buf_bytes(&b));
    buf_close(&b);
    net_run_ms(net, 1);
    return link;
}

static uint64_t take(const uint8_t **at, size_t *left, uint32_t bytes)
{
    uint64_t v = 0;

    while (bytes-- > 0 && *left > 0) {
        v = v << 8 | **at;
        (*at)++;
        (*left)--;
    }
    return v;
}

/* A raft message whose fields are near what they would be, or anything. */
static void send_raft(uint64_t link, const uint8_t *at, size_t left)
{
    struct peer_raft m = {0};
    struct raft_status status;
    struct buf b;

    m.group = (uint32_t)take(&at, &left, 1) % 4;
    m.msg.type =
        (enum raft_msg_type)(1 + take(&at, &left, 1) % (RAFT_MSG_TYPES_COUNT - 1));
    if (m.msg.type == RAFT_MSG_SNAPSHOT) {
        return; /* Its configuration must be one: covered by whole bodies. */
    }
    m.msg.from = 3;
    m.msg.to = 1;
    if (node_group(net->nodes[1].node, m.group) != NULL) {
        group_raft_status(node_group(net->nodes[1].node, m.group), &status);
        m.msg.term = status.term;
        m.msg.prev = status.last;
        m.msg.last = status.last;
        m.msg.match = status.last.index;
        m.msg.commit = status.commit;
        m.msg.hash = status.last_hash;
        m.msg.prev_hash = status.last_hash;
    }
    m.msg.term += take(&at, &left, 1) % 3;
    m.msg.prev.index += take(&at, &left, 1);
    m.msg.prev.index -= take(&at, &left, 1);
    m.msg.prev.term += take(&at, &left, 1);
    m.msg.last.index += take(&at, &left, 8);
    m.msg.last.term += take(&at, &left, 1);
    m.msg.match += take(&at, &left, 8);
    m.msg.commit += take(&at, &left, 8);
    m.msg.round = take(&at, &left, 8);
    m.msg.conflict.index = take(&at, &left, 8);
    m.msg.conflict.term = take(&at, &left, 1);
    m.msg.hash ^= take(&at, &left, 1);
    m.msg.granted = (take(&at, &left, 1) & 1) != 0;
    m.msg.rejected = (take(&at, &left, 1) & 1) != 0;
    m.msg.hint = (take(&at, &left, 1) & 1) != 0;
    m.msg.chunk.snapshot_id = take(&at, &left, 8);
    m.msg.chunk.offset = take(&at, &left, 8);
    buf_init(&b, 1 << 20);
    peer_raft_begin(&b, 1);
    peer_raft_encode(&b, &m);
    head.kind = PEER_RAFT;
    head.flags = 0;
    send_frame(link, &head, buf_bytes(&b));
    buf_close(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static uint32_t runs;
    uint64_t link;
    struct node *n;

    if (len < 3 || len > 64 * 1024) {
        return 0;
    }
    if (net == NULL) {
        net_make();
    }
    if (data[0] == 0) {
        link = net_raw_open(net, 1);
        net_raw_send(net, link, kv_bytes(data + 1, len - 1));
    } else {
        link = link_of_node_3();
        if (data[0] < PEER_KINDS_END) {
            head.kind = data[0];
            head.flags = (uint16_t)(data[1] | data[2] << 8);
            send_frame(link, &head, kv_bytes(data + 3, len - 3));
        } else {
            send_raft(link, data + 1, len - 1);
        }
    }
    net_run_ms(net, 3);
    n = net->nodes[1].node;
    /* Only a refusal from the right node with the right cluster may halt a node, and
     * messages of a node that lies about terms and logs. */
    if (!net->nodes[1].up || !net->nodes[2].up || ++runs % 256 == 0) {
        net_free(net);
        net = NULL;
        return 0;
    }
    KV_ASSERT(n->peers->links.count <= PEERS_LINKS_MAX);
    if (data[0] == 0) {
        struct link *l = idmap_find(&n->peers->links, link);

        if (l != NULL) {
            link_drop(n, l);
        }
    }
    return 0;
}
