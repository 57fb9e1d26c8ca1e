/* server/peers_parts.h - what the files of peers share: links and peers.
 *
 * Needs:    server/peers.h, server/idmap.h.
 * Used by:  server/peers*.c.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_PEERS_PARTS_H
#define KV_SERVER_PEERS_PARTS_H

#include "server/idmap.h"
#include "server/peers.h"

enum {
    PEERS_MAGIC_LINK = 0x4c494e4b,
    PEERS_LINKS_MAX = 256,        /* Strangers included. */
    PEERS_STRANGERS_MAX = 64,     /* Links that have not said who they are. */
    PEERS_HELLO_BYTES_MAX = 2048, /* Of a frame of a stranger. */
    PEERS_HELLO_MS_MAX = 2000,    /* For HELLO. */
    PEERS_DIAL_MS_MIN = 500,      /* For a dial, or two election timeouts. */
    PEERS_SILENT_MS_MAX = 5000,   /* A link without a byte for so long is dead. */
    PEERS_QUIET_MS_MAX = 1500,    /* STATE comes each second: no request goes to one
                                  * that missed it. */
    PEERS_TWIN_MS_MAX = 3000,     /* A link heard of within this is alive. */
    PEERS_REFUSED_MS = 1000,      /* Time for a refusal to be read. */
    PEERS_STATE_MS = 1000,        /* Between STATE frames. */
    PEERS_LOOK_MS = 100,          /* Between looks at silent links. */
    PEERS_BACKOFF_MS_MIN = 20,
    PEERS_BACKOFF_MS_MAX = 250,
    PEERS_RECONNECT_MS = 2000, /* A dial refused so soon after a loss: it died. */
};

/* Flags of frames, by kind. HELLO: */
enum {
    PEERS_FLAG_STORED = 0x0001,  /* The receiver's incarnation is stored here. */
    PEERS_FLAG_REFUSED = 0x0002, /* The receiver is refused; why: bits 8 to 15. */
    PEERS_FLAG_ASK = 0x0004,     /* Answer with a HELLO that says whether STORED. */
    /* FORWARD: */
    PEERS_FLAG_PART = 0x8000, /* Part of a range; the group: the other bits. */
};

/* X(name, what the refused one is told) */
#define PEERS_REFUSAL_MAP(X)                                                        \
    X(REFUSAL_NONE, "")                                                             \
    X(REFUSAL_CLUSTER, "it belongs to another cluster: compare --initial-cluster, " \
                       "--groups and --replicas")                                   \
    X(REFUSAL_WRONG_NODE, "another node answers at its address: compare "           \
                          "--initial-cluster and --id")                             \
    X(REFUSAL_STRANGER, "it is no node of this cluster")                            \
    X(REFUSAL_INCARNATION, "its data directory was lost or replaced")               \
    X(REFUSAL_TWIN, "two processes run with the same id")

enum peers_refusal {
#define PEERS_REFUSAL_ENUM(name, text) name,
    PEERS_REFUSAL_MAP(PEERS_REFUSAL_ENUM)
#undef PEERS_REFUSAL_ENUM
    REFUSALS_COUNT,
};

enum link_state {
    LINK_DIALING, /* link_dial() was called. */
    LINK_HELLO,   /* Connected; waits for the other's HELLO. */
    LINK_UP,      /* HELLO was right. */
    LINK_REFUSED, /* It was told why; closed soon. */
    LINK_PROBE,   /* Only to see whether somebody listens there. */
};

struct peer;

struct link {
    uint32_t magic;
    enum link_state state;
    uint64_t id;
    struct peer *peer; /* NULL: a stranger. */
    bool dialed;
    bool told_stored;  /* A HELLO with STORED went out. */
    uint64_t begin_ms; /* Of its state. */
    uint64_t heard_ms; /* Last byte. */
    struct buf in;     /* A frame that did not arrive whole. */
};

struct peer {
    uint32_t node;
    bool dials;        /* We dial it; else it dials us. */
    struct link *link; /* DIALING, HELLO or UP; NULL: none. */
    uint64_t dial_ms;  /* Without a link: when to dial. */
    uint32_t backoff_ms;
    uint64_t lost_ms; /* When its link was lost; 0 since then nothing is to be told. */
    uint64_t up_since_ms; /* 0: down. */
    bool was_met;
    bool is_confirmed; /* It has stored our incarnation. */
    uint64_t nonce;    /* Of its process, as last seen; 0 never. */
    uint64_t incarnation;
    struct peer_hello hello;
    enum peers_refusal trouble;

    /* Out, this turn. */
    struct buf msgs; /* Raft messages without their array's head. */
    uint32_t msgs_count, entries_count;
    struct buf out;             /* Whole frames. */
    uint64_t out_forward_first; /* Lowest id of a forward in `out`; 0 none. */
    bool state_due;             /* It needs a whole STATE. */

    /* Forwards in: none is carried out twice, whatever the network does. */
    uint64_t forward_top;  /* Highest id seen of this process of the peer. */
    uint64_t forward_seen; /* Bit i: id forward_top - i was seen. */
};

struct peers {
    struct peer peers[STORE_NODES_MAX];
    uint32_t count;
    struct idmap links;
    uint32_t strangers;
    struct rpc_decoder decoder;
    struct arena arena;                 /* Of the frame at hand. */
    struct arena arena_out;             /* Of the frame being written. */
    uint64_t fetch_id;                  /* Of the last FETCH_ENTRY. */
    uint64_t state_ms;                  /* When the next STATE is due. */
    uint64_t look_ms;                   /* When links are looked at. */
    uint64_t changed[NODE_GROUP_WORDS]; /* Groups to tell about. */
    bool any_changed;
    struct peers_stats stats;
};

/* ---- peers.c ---- */

struct peer *peers_find(struct peers *ps, uint32_t node);
/* The head of a frame to this node. */
struct peer_head peers_head(const struct node *n, uint32_t to, enum peer_kind kind);
/* Its process has died: a hint for every group that it has a replica of. */
void peers_tell_down(struct node *n, struct peer *p);
/* Its UP link is lost: so is what was to be sent, and what was under way. */
void peers_cut(struct node *n, struct peer *p);

/* ---- peers_link.c ---- */

void link_dial(struct node *n, struct peer *p, bool probe);
/* Closes it from our side and forgets it. */
void link_drop(struct node *n, struct link *l);
/* Dials, timeouts, silence. */
void links_look(struct node *n);

/* ---- peers_hello.c ---- */

void hello_send(struct node *n, struct link *l, uint32_t to, uint16_t flags);
/* A HELLO arrived. False: the link is gone. */
bool hello_take(struct node *n, struct link *l, const struct peer_frame *f);
/* Is the frame from whom the link's HELLO said? */
bool hello_matches(const struct node *n, const struct link *l,
                   const struct peer_head *h);
const char *hello_refusal_text(enum peers_refusal r);

/* ---- peers_raft.c, peers_forward.c ---- */

/* Appends the raft messages of this turn to p->out as one frame. */
void raft_frame_close(struct node *n, struct peer *p);
/* A frame of an UP link. 0; KV_EPROTO and others: close the link. */
KV_MUST_CHECK int raft_take(struct node *n, struct peer *p, struct kv_bytes body);
KV_MUST_CHECK int forward_take(struct node *n, struct peer *p,
                               const struct peer_frame *f);
KV_MUST_CHECK int forward_reply_take(struct node *n, struct peer *p,
                                     struct kv_bytes body);
KV_MUST_CHECK int fetch_take(struct node *n, struct peer *p, struct kv_bytes body);
KV_MUST_CHECK int fetch_reply_take(struct node *n, struct peer *p,
                                   struct kv_bytes body);
/* peers_quorum.c */
KV_MUST_CHECK int quorum_ask_take(struct node *n, struct peer *p, struct kv_bytes body);
KV_MUST_CHECK int quorum_answer_take(struct node *n, struct peer *p,
                                     struct kv_bytes body);
KV_MUST_CHECK int state_take(struct node *n, struct peer *p, struct kv_bytes body);
/* Appends a STATE frame: all groups led here, or those that changed. */
void state_frame(struct node *n, struct peer *p, bool whole);

#endif
