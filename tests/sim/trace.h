/* tests/sim/trace.h - what happened, in plain words and as one running hash.
 *
 * Every event that matters becomes a small record: it goes into the ring of its node,
 * which a failure report prints, into the hash that two runs of a seed must share,
 * and, with --trace, to standard output. Words are made only when somebody reads them.
 * Heartbeats are hashed, and told only with --heartbeats.
 *
 * Needs:    raft/raft.h, rpc/msg.h, tests/sim/linear.h.
 * Used by:  tests/sim/.
 * Threads:  one.
 */
#ifndef KV_TESTS_SIM_TRACE_H
#define KV_TESTS_SIM_TRACE_H

#include <stdio.h>

#include "raft/raft.h"
#include "rpc/msg.h"
#include "tests/sim/linear.h"

enum {
    TRACE_NODES = 8,  /* [0]: the world and the clients. */
    TRACE_RING = 48,  /* Records that are kept of each. */
    TRACE_TEXT = 104, /* Bytes of a text record, with the NUL. */
    TRACE_LINE = 400,
};

enum trace_kind {
    TRACE_NONE,
    TRACE_LINE_OF_NODE, /* text */
    TRACE_SENT,         /* msg */
    TRACE_HEARD,        /* msg */
    TRACE_ROLE,         /* role, leader, term */
    TRACE_COMMIT,       /* index, last */
    TRACE_CONFIG,       /* text */
    TRACE_CALL,         /* call: a client asks */
    TRACE_RETURN,       /* call: and this came of it */
};

struct trace_record {
    uint64_t at_us;
    uint8_t kind; /* enum trace_kind */
    uint8_t node;
    uint16_t group;
    union {
        char text[TRACE_TEXT];
        struct trace_msg {
            uint8_t type, from, to;
            bool granted, rejected, done;
            uint32_t count; /* Entries; bytes of a chunk. */
            raft_term term;
            struct raft_pos pos; /* Last, prev, end of the snapshot. */
            uint64_t number;     /* Commit, match, offset. */
        } msg;
        struct {
            uint8_t role, leader;
            raft_term term;
        } role;
        struct {
            raft_index index, last;
        } commit;
        struct trace_call {
            uint8_t client, node, method, outcome; /* enum linear_outcome */
            uint32_t key;
            int error; /* KV_E* of the answer. */
            uint64_t value;
        } call;
    } u;
};

struct trace {
    bool print, heartbeats;
    uint64_t digest;
    struct trace_ring {
        uint32_t next; /* Records so far. */
        struct trace_record records[TRACE_RING];
    } rings[TRACE_NODES];
};

/* Folds a number into the hash. */
static inline void trace_mix(struct trace *t, uint64_t v)
{
    t->digest = (t->digest ^ v) * 0x9e3779b97f4a7c15u;
    t->digest ^= t->digest >> 29;
}

/* A line of text: of a node's log, of a fault, of a client. */
void trace_text(struct trace *t, uint64_t at_us, uint32_t node, const char *text);
void trace_msg(struct trace *t, uint64_t at_us, uint32_t node, uint32_t group,
               const struct raft_msg *m, bool sent);
void trace_role(struct trace *t, uint64_t at_us, uint32_t node, uint32_t group,
                enum raft_role role, raft_id leader, raft_term term);
void trace_commit(struct trace *t, uint64_t at_us, uint32_t node, uint32_t group,
                  raft_index index, raft_index last);
/* A client's request (error 0) or how it ended. */
void trace_call(struct trace *t, uint64_t at_us, enum trace_kind kind,
                const struct trace_call *call);
void trace_config(struct trace *t, uint64_t at_us, uint32_t node, uint32_t group,
                  raft_index index, const struct raft_config *config);

/* Writes a record in words, without a newline. */
void trace_words(const struct trace_record *r, char *out, size_t cap);
/* Prints the last `count` records of a ring, oldest first. */
void trace_print_ring(const struct trace_ring *ring, uint32_t count, FILE *out);

#endif
