/* jepsen/env/link.h - what one direction of a link does to a piece that passes.
 *
 * Pure: the time and the random numbers come in, a decision goes out. The switch
 * carries it out on packets, the proxy on pieces of a stream.
 *
 * Needs:    jepsen/env/faults.h, raft/base/prng.h.
 * Used by:  jepsen/env/net.c, switch.c, proxy.c.
 * Threads:  the keeper's only one.
 */
#ifndef KV_JEPSEN_ENV_LINK_H
#define KV_JEPSEN_ENV_LINK_H

#include "jepsen/env/faults.h"
#include "raft/base/prng.h"

/* A limited link holds at most this much time in its queue; more is lost. */
#define LINK_QUEUE_NS 1000000000ull

/* What a lost piece of a stream costs: TCP's smallest usual resend timer. */
#define LINK_RESEND_NS 200000000ull

struct link {
    struct fault_link shape;
    bool cut;
    uint64_t free_ns; /* When the wire has sent all it took so far. */
    uint64_t last_ns; /* When the last piece of a stream arrives. */
    uint64_t passed;  /* Pieces. */
    uint64_t lost;    /* By cut, chance, or a full queue. */
};

/* Copies of a piece that arrive, and when: due_ns[0...copies-1]. */
struct link_fate {
    uint32_t copies; /* 0: lost; at most 2. */
    uint64_t due_ns[2];
};

/* A packet: may be lost, doubled, and overtake. */
struct link_fate link_packet(struct link *l, struct prng *p, uint64_t now_ns,
                             size_t bytes);

/* A piece of a stream: never lost, doubled or overtaken, only late. Whether the link
 * is cut is the caller's business. Returns when it arrives. */
uint64_t link_piece(struct link *l, struct prng *p, uint64_t now_ns, size_t bytes);

#endif
