/* server/watch_index.h - which watches a key belongs to, without asking all of them.
 *
 * Watches of one key lie in a hash table, those of ranges (a prefix is one) in a treap
 * ordered by where they begin, in which each node knows the farthest end below it. So a
 * change costs one look into the table and a walk of the ranges that hold its key.
 *
 * Needs:    raft/base.
 * Used by:  server/watch.c.
 * Threads:  loop thread.
 * Source:   Seidel and Aragon, "Randomized search trees"; Cormen et al., "Introduction
 *           to Algorithms", interval trees.
 */
#ifndef KV_SERVER_WATCH_INDEX_H
#define KV_SERVER_WATCH_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "raft/base/bytes.h"
#include "raft/base/check.h"

/* Embedded in a watch. Its owner sets the first four, and keeps them as they are. */
struct watch_node {
    struct kv_bytes begin; /* [borrowed while it is in] The key, or the first key. */
    struct kv_bytes end;   /* Of a range, excluded; empty: none. */
    bool is_key;
    uint64_t number; /* Different for each; breaks ties. */
    uint64_t weight; /* From the number: the treap's chance, the table's hash. */
    struct watch_node *left, *right;
    struct watch_node *farthest; /* Range: of its subtree the one that ends last. */
    struct watch_node *next;     /* Key: of its bucket. */
};

struct watch_index {
    struct watch_node *ranges;
    struct watch_node **buckets;
    uint32_t buckets_mask; /* Their number, a power of two, minus 1. */
    uint32_t keys_count;
};

/* 0 or KV_ENOMEM. */
KV_MUST_CHECK int watch_index_init(struct watch_index *x);
void watch_index_close(struct watch_index *x);

/* The table grows where it can; without memory it only becomes slower. */
void watch_index_add(struct watch_index *x, struct watch_node *node);
/* Needs it to be in. */
void watch_index_remove(struct watch_index *x, struct watch_node *node);

/* Calls `found` for each watch that holds the key; it must not change the index. */
void watch_index_match(const struct watch_index *x, struct kv_bytes key,
                       void (*found)(struct watch_node *node, void *ctx), void *ctx);

#endif
