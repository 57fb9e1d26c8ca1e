/* storage/delta.c - a B+tree that only grows, over an arena. */
#include "storage/delta.h"

#include "raft/base/err.h"
#include "storage/row.h"

enum {
    DELTA_FAN = 32,        /* Rows of a leaf, children of an inner node. */
    DELTA_HEIGHT_MAX = 12, /* 16^12 rows: more than memory holds. */
    DELTA_PREFIX_MAX = 47, /* Bytes that the rows of a node share, at most noted. */
    DELTA_BLOCK_BYTES = 64 * 1024,
    DELTA_DOUBLE_BYTES_MAX =
        64 * 1024, /* Smaller values that grow get twice the room. */
};

/* In a leaf rows[] are its rows. In an inner node rows[i] is the smallest row that was
 * under child[i] when that child came to be; rows[0] counts as smaller than all.
 *
 * Rows are ordered by their bytes: kind, then key. All rows of a node share the first
 * `shared` bytes; order[] holds the eight behind them. So a search within a node looks
 * at no row but the one it finds, also where keys begin with the same long words. */
struct delta_node {
    struct delta_node *next; /* Leaf: the next one, NULL for the last. */
    uint32_t count;
    bool is_leaf;
    uint8_t shared;                   /* Of prefix[]. */
    uint8_t prefix[DELTA_PREFIX_MAX]; /* What the rows share. */
    uint64_t order[DELTA_FAN];        /* order_of(rows[i]). */
    struct delta_row *rows[DELTA_FAN];
    struct delta_node
        *child[]; /* DELTA_FAN of them in an inner node, none in a leaf. */
};

/* What is looked for. */
struct needle {
    uint8_t kind;
    struct kv_bytes key;
};

/* The way from the root to a leaf. */
struct delta_path {
    struct delta_node *node[DELTA_HEIGHT_MAX];
    uint32_t at[DELTA_HEIGHT_MAX]; /* Which child was taken. */
    uint32_t height;               /* Inner nodes on the way. */
};

/* The eight bytes behind the first `shared` as a big-endian number: of two rows that
 * share those, when the numbers differ, the rows are in that order; when they are
 * equal, the whole keys decide. Needs at least `shared` bytes of kind and key. */
static uint64_t order_of(uint8_t kind, struct kv_bytes key, size_t shared)
{
    uint8_t head[8] = {0};

    KV_ASSERT(shared <= key.len + 1);
    if (shared == 0) {
        head[0] = kind;
        if (key.len > 0) {
            memcpy(head + 1, key.data, KV_MIN(key.len, (size_t)7));
        }
    } else if (key.len >= shared) {
        memcpy(head, key.data + shared - 1, KV_MIN(key.len - shared + 1, (size_t)8));
    }
    return kv_get_u64be(head);
}

/* How many first bytes of the node's prefix the row shares. */
static uint8_t prefix_shared(const struct delta_node *node, const struct row *r)
{
    uint8_t n = 0;

    while (n < node->shared && n < r->key.len + 1 &&
           node->prefix[n] == (n == 0 ? r->kind : r->key.data[n - 1])) {
        n++;
    }
    return n;
}

/* <0 when the needle comes before all rows of the node by their prefix, >0 when behind
 * them, 0 when it shares it. */
static int prefix_compare(const struct needle *n, const struct delta_node *node)
{
    size_t len;
    int order;

    if (node->shared == 0) {
        return 0;
    }
    if (n->kind != node->prefix[0]) {
        return n->kind < node->prefix[0] ? -1 : 1;
    }
    len = KV_MIN(n->key.len, (size_t)node->shared - 1);
    order = len == 0 ? 0 : memcmp(n->key.data, node->prefix + 1, len);
    return order != 0 || len == (size_t)node->shared - 1 ? order : -1;
}

/* The first place in [from, count) whose row is not before the needle; *out_equal
 * tells whether it is the needle's. */
static uint32_t node_search(const struct delta_node *node, const struct needle *n,
                            uint32_t from, bool *out_equal)
{
    uint32_t low = from;
    uint32_t high = node->count;
    int side = prefix_compare(n, node);
    uint64_t want;

    *out_equal = false;
    if (side != 0) {
        return side < 0 ? low : KV_MAX(low, high);
    }
    want = order_of(n->kind, n->key, node->shared);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        uint64_t have = node->order[middle];
        const struct row *r;
        int order = want < have ? -1 : 1;

        if (want == have) {
            r = &node->rows[middle]->row;
            order = row_compare(n->kind, n->key, r->kind, r->key);
        }
        if (order == 0) {
            *out_equal = true;
            return middle;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

/* The child under which the needle belongs. */
static uint32_t node_child(const struct delta_node *node, const struct needle *n)
{
    bool equal;
    uint32_t at = node_search(node, n, 1, &equal);

    return equal ? at : at - 1;
}

void delta_init(struct delta *d, size_t bytes_max)
{
    *d = (struct delta){0};
    arena_init(&d->arena, DELTA_BLOCK_BYTES, bytes_max);
}

void delta_close(struct delta *d)
{
    arena_close(&d->arena);
    d->root = NULL;
    d->rows_count = 0;
}

void delta_reset(struct delta *d)
{
    arena_reset(&d->arena);
    d->root = NULL;
    d->rows_count = 0;
}

static struct delta_node *leaf_of(const struct delta *d, const struct needle *n,
                                  struct delta_path *path)
{
    struct delta_node *node = d->root;

    path->height = 0;
    while (node != NULL && !node->is_leaf) {
        uint32_t at = node_child(node, n);

        KV_ASSERT(path->height < DELTA_HEIGHT_MAX);
        path->node[path->height] = node;
        path->at[path->height] = at;
        path->height++;
        node = node->child[at];
    }
    return node;
}

const struct delta_row *delta_find(const struct delta *d, uint8_t kind,
                                   struct kv_bytes key)
{
    struct needle n = {kind, key};
    const struct delta_node *node = d->root;
    bool equal;
    uint32_t at;

    if (node == NULL) {
        return NULL;
    }
    while (!node->is_leaf) {
        node = node->child[node_child(node, &n)];
    }
    at = node_search(node, &n, 0, &equal);
    return equal ? node->rows[at] : NULL;
}

static struct delta_node *node_new(struct delta *d, bool is_leaf)
{
    size_t children = is_leaf ? 0 : DELTA_FAN * sizeof(struct delta_node *);
    struct delta_node *node = arena_alloc(&d->arena, sizeof *node + children);

    if (node != NULL) {
        node->next = NULL;
        node->count = 0;
        node->is_leaf = is_leaf;
        node->shared = 0;
    }
    return node;
}

/* Gives the row a place for `len` bytes of value. 0 or KV_ENOMEM. */
static int row_room(struct delta *d, struct delta_row *slot, size_t len, uint8_t **out)
{
    size_t room = len;

    if (len <= slot->value_room) {
        *out = (uint8_t *)(uintptr_t)slot->row.value.data;
        return 0;
    }
    if (slot->value_room > 0 && len <= DELTA_DOUBLE_BYTES_MAX) {
        room =
            KV_MAX(len, 2 * slot->value_room); /* Grows geometrically: little waste. */
    }
    *out = arena_alloc(&d->arena, room);
    if (*out == NULL) {
        return KV_ENOMEM;
    }
    slot->value_room = room;
    return 0;
}

/* Overwrites everything but the key. */
static int row_set(struct delta *d, struct delta_row *slot, const struct row *r,
                   uint64_t hash)
{
    uint8_t *value = (uint8_t *)(uintptr_t)slot->row.value.data;
    size_t len = r->deleted ? 0 : r->value.len;
    int rc;

    if (len > 0) {
        rc = row_room(d, slot, len, &value);
        if (rc != 0) {
            return rc;
        }
        memmove(value, r->value.data, len); /* May be the same bytes. */
    }
    slot->row.deleted = r->deleted;
    slot->row.slot = r->slot;
    slot->row.rev = r->rev;
    slot->row.value = kv_bytes(value, len);
    slot->hash = hash;
    return 0;
}

/* The key lies right behind the row's head: one look at memory for both. */
static struct delta_row *row_new(struct delta *d, const struct row *r, uint64_t hash)
{
    struct delta_row *slot = arena_alloc(&d->arena, sizeof *slot + r->key.len);
    uint8_t *key;

    if (slot == NULL) {
        return NULL;
    }
    *slot = (struct delta_row){0};
    key = (uint8_t *)(slot + 1);
    memcpy(key, r->key.data, r->key.len);
    slot->row.kind = r->kind;
    slot->row.key = kv_bytes(key, r->key.len);
    return row_set(d, slot, r, hash) == 0 ? slot : NULL;
}

static void prefix_set(struct delta_node *node, uint8_t shared)
{
    node->shared = shared;
    for (uint32_t i = 0; i < node->count; i++) {
        const struct row *r = &node->rows[i]->row;

        node->order[i] = order_of(r->kind, r->key, shared);
    }
}

/* Finds the prefix anew, after rows came to or left the node. The last row's is cut to
 * what the first two share with it: what lies between is between those in order, but
 * for rows[0] of an inner node, which may be out of order. */
static void prefix_find(struct delta_node *node)
{
    const struct row *last = &node->rows[node->count - 1]->row;
    uint8_t had = node->shared;
    uint8_t shared;

    node->prefix[0] = last->kind;
    node->shared = (uint8_t)KV_MIN(last->key.len + 1, (size_t)DELTA_PREFIX_MAX);
    if (node->shared > 1) {
        memcpy(node->prefix + 1, last->key.data, node->shared - 1u);
    }
    shared = prefix_shared(node, &node->rows[0]->row);
    shared = KV_MIN(shared, prefix_shared(node, &node->rows[node->count > 1]->row));
    if (shared == had) {
        node->shared = had; /* order[] is right. */
    } else {
        prefix_set(node, shared);
    }
}

static void node_insert(struct delta_node *node, uint32_t at, struct delta_row *row,
                        struct delta_node *child)
{
    size_t behind = node->count - at;
    uint8_t shared;

    KV_ASSERT(node->count < DELTA_FAN);
    KV_ASSERT(at <= node->count);
    memmove(&node->order[at + 1], &node->order[at], behind * sizeof node->order[0]);
    memmove(&node->rows[at + 1], &node->rows[at], behind * sizeof node->rows[0]);
    node->rows[at] = row;
    if (!node->is_leaf) {
        memmove(&node->child[at + 1], &node->child[at], behind * sizeof node->child[0]);
        node->child[at] = child;
    }
    node->count++;
    node->order[at] = 0;
    if (node->count == 1) {
        prefix_find(node);
    }
    shared = prefix_shared(node, &row->row);
    if (shared < node->shared) {
        prefix_set(node, shared);
    }
    node->order[at] = order_of(row->row.kind, row->row.key, node->shared);
}

/* Moves the upper half of a full node to `right`; all of the new row's side when the
 * row goes to the very end (ascending inserts then fill the leaves). */
static void node_split(struct delta_node *node, uint32_t at, struct delta_node *right)
{
    uint32_t keep = at == DELTA_FAN ? DELTA_FAN - 1 : DELTA_FAN / 2;
    uint32_t move = node->count - keep;

    memcpy(right->order, &node->order[keep], move * sizeof node->order[0]);
    memcpy(right->rows, &node->rows[keep], move * sizeof node->rows[0]);
    if (!node->is_leaf) {
        memcpy(right->child, &node->child[keep], move * sizeof node->child[0]);
    }
    right->count = move;
    right->shared = node->shared;
    node->count = keep;
    prefix_find(node);
    prefix_find(right);
    if (node->is_leaf) {
        right->next = node->next;
        node->next = right;
    }
}

/* All nodes that an insert along `path` needs, taken before anything changes. */
static int split_nodes(struct delta *d, const struct delta_path *path,
                       const struct delta_node *leaf, struct delta_node **out)
{
    uint32_t count = 0;
    uint32_t level = path->height;

    if (leaf->count < DELTA_FAN) {
        return 0;
    }
    out[count] = node_new(d, true);
    if (out[count++] == NULL) {
        return KV_ENOMEM;
    }
    while (level > 0 && path->node[level - 1]->count == DELTA_FAN) {
        out[count] = node_new(d, false);
        if (out[count++] == NULL) {
            return KV_ENOMEM;
        }
        level--;
    }
    if (level == 0) { /* The root splits too. */
        out[count] = node_new(d, false);
        if (out[count] == NULL) {
            return KV_ENOMEM;
        }
    }
    return 0;
}

/* Puts (row, child) at place `at` of the node, which splits when it is full.
 * Returns true when it did: `spare` is the right half then. */
static bool node_add(struct delta_node *node, uint32_t at, struct delta_row *row,
                     struct delta_node *child, struct delta_node *spare)
{
    if (node->count < DELTA_FAN) {
        node_insert(node, at, row, child);
        return false;
    }
    node_split(node, at, spare);
    if (at > node->count) {
        node_insert(spare, at - node->count, row, child);
    } else {
        node_insert(node, at, row, child);
    }
    return true;
}

static void path_insert(struct delta *d, const struct delta_path *path,
                        struct delta_node *leaf, uint32_t at, struct delta_row *row,
                        struct delta_node **spares)
{
    uint32_t used = 0;
    uint32_t level = path->height;
    bool split = node_add(leaf, at, row, NULL, spares[0]);

    while (split && level > 0) {
        struct delta_node *right = spares[used++];

        level--;
        split = node_add(path->node[level], path->at[level] + 1, right->rows[0], right,
                         spares[used]);
    }
    if (split) {
        struct delta_node *right = spares[used];
        struct delta_node *root = spares[used + 1];

        node_insert(root, 0, d->root->rows[0], d->root);
        node_insert(root, 1, right->rows[0], right);
        d->root = root;
    }
}

int delta_put(struct delta *d, const struct row *r, uint64_t hash)
{
    struct needle n = {r->kind, r->key};
    struct delta_node *spares[DELTA_HEIGHT_MAX + 2] = {NULL};
    struct delta_path path;
    struct delta_node *leaf;
    struct delta_row *row;
    bool equal;
    uint32_t at;

    KV_ASSERT(row_fits(r));
    leaf = leaf_of(d, &n, &path);
    if (leaf == NULL) {
        leaf = node_new(d, true);
        if (leaf == NULL) {
            return KV_ENOMEM;
        }
        d->root = leaf;
    }
    at = node_search(leaf, &n, 0, &equal);
    if (equal) {
        return row_set(d, leaf->rows[at], r, hash);
    }
    row = row_new(d, r, hash);
    if (row == NULL || split_nodes(d, &path, leaf, spares) != 0) {
        return KV_ENOMEM;
    }
    path_insert(d, &path, leaf, at, row, spares);
    d->rows_count++;
    return 0;
}

struct delta_cursor delta_seek(const struct delta *d, uint8_t kind, struct kv_bytes key)
{
    struct needle n = {kind, key};
    const struct delta_node *node = d->root;
    struct delta_cursor c = {0};
    bool equal;

    if (node == NULL) {
        return c;
    }
    while (!node->is_leaf) {
        node = node->child[node_child(node, &n)];
    }
    c.leaf = node;
    c.at = node_search(node, &n, 0, &equal);
    if (c.at == node->count) {
        c.leaf = node->next;
        c.at = 0;
    }
    return c;
}

const struct delta_row *delta_cursor_row(const struct delta_cursor *c)
{
    return c->leaf == NULL || c->at >= c->leaf->count ? NULL : c->leaf->rows[c->at];
}

void delta_cursor_next(struct delta_cursor *c)
{
    KV_ASSERT(c->leaf != NULL);
    c->at++;
    if (c->at >= c->leaf->count) {
        c->leaf = c->leaf->next;
        c->at = 0;
    }
}

int delta_rows(struct delta *d, const struct row **out_rows)
{
    struct row *rows = arena_alloc(&d->arena, d->rows_count * sizeof *rows);
    struct delta_cursor c = delta_seek(d, 0, kv_bytes(NULL, 0));
    const struct delta_row *row;
    size_t count = 0;

    if (rows == NULL) {
        return KV_ENOMEM;
    }
    for (row = delta_cursor_row(&c); row != NULL; row = delta_cursor_row(&c)) {
        rows[count++] = row->row;
        delta_cursor_next(&c);
    }
    KV_ASSERT(count == d->rows_count);
    *out_rows = rows;
    return 0;
}
