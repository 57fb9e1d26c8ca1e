/* server/watch_index.c - a hash table of keys and a treap of ranges. */
#include "server/watch_index.h"

#include "raft/base/arena.h"
#include "raft/base/err.h"
#include "raft/base/hash.h"

enum {
    WATCH_BUCKETS_FIRST = 64,
};

int watch_index_init(struct watch_index *x)
{
    *x = (struct watch_index){.buckets_mask = WATCH_BUCKETS_FIRST - 1};
    x->buckets = kv_mem_zalloc(WATCH_BUCKETS_FIRST * sizeof *x->buckets);
    return x->buckets == NULL ? KV_ENOMEM : 0;
}

void watch_index_close(struct watch_index *x)
{
    kv_mem_free(x->buckets);
    *x = (struct watch_index){0};
}

/* ---- keys ---- */

static uint64_t hash_of(struct kv_bytes key)
{
    return kv_hash64(key.data, key.len);
}

static void table_grow(struct watch_index *x)
{
    uint32_t count = 2 * (x->buckets_mask + 1);
    struct watch_node **buckets = kv_mem_zalloc(count * sizeof *buckets);

    if (buckets == NULL) {
        return;
    }
    for (uint32_t i = 0; i <= x->buckets_mask; i++) {
        while (x->buckets[i] != NULL) {
            struct watch_node *node = x->buckets[i];

            x->buckets[i] = node->next;
            node->next = buckets[node->weight & (count - 1)];
            buckets[node->weight & (count - 1)] = node;
        }
    }
    kv_mem_free(x->buckets);
    x->buckets = buckets;
    x->buckets_mask = count - 1;
}

static void key_add(struct watch_index *x, struct watch_node *node)
{
    struct watch_node **at;

    if (x->keys_count > x->buckets_mask) {
        table_grow(x);
    }
    node->weight = hash_of(node->begin);
    at = &x->buckets[node->weight & x->buckets_mask];
    node->next = *at;
    *at = node;
    x->keys_count++;
}

static void key_remove(struct watch_index *x, struct watch_node *node)
{
    struct watch_node **at = &x->buckets[node->weight & x->buckets_mask];

    while (*at != node) {
        KV_ASSERT(*at != NULL);
        at = &(*at)->next;
    }
    *at = node->next;
    x->keys_count--;
}

/* ---- ranges ---- */

static bool is_less(const struct watch_node *a, const struct watch_node *b)
{
    int order = kv_bytes_compare(a->begin, b->begin);

    return order != 0 ? order < 0 : a->number < b->number;
}

/* Does `a` end behind `b`? */
static bool ends_later(const struct watch_node *a, const struct watch_node *b)
{
    if (a->end.len == 0 || b->end.len == 0) {
        return a->end.len == 0 && b->end.len != 0;
    }
    return kv_bytes_compare(a->end, b->end) > 0;
}

static bool ends_behind(const struct watch_node *node, struct kv_bytes key)
{
    return node->end.len == 0 || kv_bytes_compare(key, node->end) < 0;
}

static struct watch_node *node_update(struct watch_node *node)
{
    node->farthest = node;
    if (node->left != NULL && ends_later(node->left->farthest, node->farthest)) {
        node->farthest = node->left->farthest;
    }
    if (node->right != NULL && ends_later(node->right->farthest, node->farthest)) {
        node->farthest = node->right->farthest;
    }
    return node;
}

/* Splits a subtree into what is less than `at` and the rest. */
static void tree_split(struct watch_node *tree, const struct watch_node *at,
                       struct watch_node **out_less, struct watch_node **out_rest)
{
    if (tree == NULL) {
        *out_less = NULL;
        *out_rest = NULL;
    } else if (is_less(tree, at)) {
        tree_split(tree->right, at, &tree->right, out_rest);
        *out_less = node_update(tree);
    } else {
        tree_split(tree->left, at, out_less, &tree->left);
        *out_rest = node_update(tree);
    }
}

/* Joins two subtrees, all of `less` less than all of `rest`. */
static struct watch_node *tree_join(struct watch_node *less, struct watch_node *rest)
{
    if (less == NULL || rest == NULL) {
        return less == NULL ? rest : less;
    }
    if (less->weight > rest->weight) {
        less->right = tree_join(less->right, rest);
        return node_update(less);
    }
    rest->left = tree_join(less, rest->left);
    return node_update(rest);
}

static struct watch_node *tree_add(struct watch_node *tree, struct watch_node *node)
{
    if (tree == NULL || node->weight > tree->weight) {
        tree_split(tree, node, &node->left, &node->right);
        return node_update(node);
    }
    if (is_less(node, tree)) {
        tree->left = tree_add(tree->left, node);
    } else {
        tree->right = tree_add(tree->right, node);
    }
    return node_update(tree);
}

static struct watch_node *tree_remove(struct watch_node *tree, struct watch_node *node)
{
    KV_ASSERT(tree != NULL);
    if (tree == node) {
        return tree_join(node->left, node->right);
    }
    if (is_less(node, tree)) {
        tree->left = tree_remove(tree->left, node);
    } else {
        tree->right = tree_remove(tree->right, node);
    }
    return node_update(tree);
}

/* ---- both ---- */

void watch_index_add(struct watch_index *x, struct watch_node *node)
{
    node->left = NULL;
    node->right = NULL;
    if (node->is_key) {
        key_add(x, node);
    } else {
        node->weight = kv_hash64(&node->number, sizeof node->number);
        x->ranges = tree_add(x->ranges, node);
    }
}

void watch_index_remove(struct watch_index *x, struct watch_node *node)
{
    if (node->is_key) {
        key_remove(x, node);
    } else {
        x->ranges = tree_remove(x->ranges, node);
    }
}

/* What a walk looks for. */
struct match {
    struct kv_bytes key;
    void (*found)(struct watch_node *node, void *ctx);
    void *ctx;
};

static void match_ranges(struct watch_node *tree, const struct match *m)
{
    while (tree != NULL && ends_behind(tree->farthest, m->key)) {
        match_ranges(tree->left, m);
        if (kv_bytes_compare(tree->begin, m->key) > 0) {
            return;
        }
        if (ends_behind(tree, m->key)) {
            m->found(tree, m->ctx);
        }
        tree = tree->right;
    }
}

void watch_index_match(const struct watch_index *x, struct kv_bytes key,
                       void (*found)(struct watch_node *node, void *ctx), void *ctx)
{
    struct match m = {key, found, ctx};

    if (x->keys_count > 0) {
        uint64_t hash = hash_of(key);
        struct watch_node *node = x->buckets[hash & x->buckets_mask];

        for (; node != NULL; node = node->next) {
            if (node->weight == hash && kv_bytes_equal(node->begin, key)) {
                found(node, ctx);
            }
        }
    }
    match_ranges(x->ranges, &m);
}
