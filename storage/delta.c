/* storage/delta.c - a B+tree that only grows, over an arena. */
#include "storage/delta.h"

#include "raft/base/err.h"
#include "storage/row.h"

enum {
    DELTA_FAN = 32,        /* Rows of a leaf, children of an inner node. */
    DELTA_HEIGHT_MAX = 12, /* 16^12 rows: more than memory holds. */
    DELTA_BLOCK_BYTES = 64 * 1024,
    DELTA_DOUBLE_BYTES_MAX =
        64 * 1024, /* Smaller values that grow get twice the room. */
};

/* In a leaf rows[] are its rows. In an inner node rows[i] is the smallest row that was
 * under child[i] when that child came to be; rows[0] counts as smaller than all. */
struct delta_node {
    struct delta_node *next; /* Leaf: the next one, NULL for the last. */
    uint32_t count;
    bool is_leaf;
    uint64_t order[DELTA_FAN]; /* order_of(rows[i]): first bytes, to compare quickly. */
    struct delta_row *rows[DELTA_FAN];
    struct delta_node
        *child[]; /* DELTA_FAN of them in an inner node, none in a leaf. */
};

/* What is looked for: the eight first bytes of the order, then the rest. */
struct needle {
    uint64_t order;
    uint8_t kind;
    struct kv_bytes key;
};

/* The way from the root to a leaf. */
struct delta_path {
    struct delta_node *node[DELTA_HEIGHT_MAX];
    uint32_t at[DELTA_HEIGHT_MAX]; /* Which child was taken. */
    uint32_t height;               /* Inner nodes on the way. */
};

/* Kind and the first seven key bytes as a big-endian number: when two differ, the rows
 * are in that order; when they are equal, the whole keys decide. */
static uint64_t order_of(uint8_t kind, struct kv_bytes key)
{
    uint8_t head[8] = {kind};

    if (key.len > 0) {
        memcpy(head + 1, key.data, KV_MIN(key.len, (size_t)7));
    }
    return kv_get_u64be(head);
}

static struct needle needle_of(uint8_t kind, struct kv_bytes key)
{
    return (struct needle){.order = order_of(kind, key), .kind = kind, .key = key};
}

/* <0 when the needle comes before row `at`, 0 when it is that row. */
static int needle_compare(const struct needle *n, const struct delta_node *node,
                          uint32_t at)
{
    const struct row *r;

    if (n->order != node->order[at]) {
        return n->order < node->order[at] ? -1 : 1;
    }
    r = &node->rows[at]->row;
    return row_compare(n->kind, n->key, r->kind, r->key);
}

/* The first place in [from, count) whose row is not before the needle; *out_equal
 * tells whether it is the needle's. */
static uint32_t node_search(const struct delta_node *node, const struct needle *n,
                            uint32_t from, bool *out_equal)
{
    uint32_t low = from;
    uint32_t high = node->count;

    *out_equal = false;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = needle_compare(n, node, middle);

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
    struct needle n = needle_of(kind, key);
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

static void node_insert(struct delta_node *node, uint32_t at, struct delta_row *row,
                        struct delta_node *child)
{
    size_t behind = node->count - at;

    KV_ASSERT(node->count < DELTA_FAN);
    KV_ASSERT(at <= node->count);
    memmove(&node->order[at + 1], &node->order[at], behind * sizeof node->order[0]);
    memmove(&node->rows[at + 1], &node->rows[at], behind * sizeof node->rows[0]);
    node->order[at] = order_of(row->row.kind, row->row.key);
    node->rows[at] = row;
    if (!node->is_leaf) {
        memmove(&node->child[at + 1], &node->child[at], behind * sizeof node->child[0]);
        node->child[at] = child;
    }
    node->count++;
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
    node->count = keep;
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
    struct needle n = needle_of(r->kind, r->key);
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
    struct needle n = needle_of(kind, key);
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
