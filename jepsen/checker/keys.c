/* jepsen/checker/keys.c - the invocations of a history, sorted by key. */
#include "jepsen/checker/keys.h"

#include "jepsen/checker/pairs.h"
#include "raft/base/arena.h"
#include "raft/base/err.h"

static bool is_wanted(const struct history_op *op, unsigned fs)
{
    return op->type == HISTORY_INVOKE && op->process != HISTORY_NEMESIS &&
           (fs & KEYS_F(op->f)) != 0;
}

/* Numbers the keys as they come; counts rows per key into begin[number + 1]. */
static int keys_count(struct keys *k, const struct history *h, unsigned fs,
                      struct pairs *numbers)
{
    for (size_t i = 0; i < h->count; i++) {
        const struct history_op *op = &h->ops[i];
        uint64_t *number;

        if (!is_wanted(op, fs)) {
            continue;
        }
        number = pairs_at(numbers, op->key, 0, k->count);
        if (number == NULL) {
            return KV_ENOMEM;
        }
        if (*number == k->count) {
            k->keys[k->count++] = op->key;
        }
        k->begin[*number + 1]++;
    }
    return 0;
}

int keys_init(struct keys *k, const struct history *h, unsigned fs)
{
    struct pairs numbers;
    uint64_t *next = NULL;
    int rc = KV_ENOMEM;

    memset(k, 0, sizeof *k);
    pairs_init(&numbers);
    k->keys = kv_mem_zalloc((h->count + 1) * sizeof *k->keys);
    k->begin = kv_mem_zalloc((h->count + 2) * sizeof *k->begin);
    k->rows = kv_mem_zalloc((h->count + 1) * sizeof *k->rows);
    next = kv_mem_zalloc((h->count + 1) * sizeof *next);
    if (k->keys == NULL || k->begin == NULL || k->rows == NULL || next == NULL) {
        goto out;
    }
    rc = keys_count(k, h, fs, &numbers);
    if (rc != 0) {
        goto out;
    }
    for (uint32_t i = 0; i < k->count; i++) {
        k->begin[i + 1] += k->begin[i];
        next[i] = k->begin[i];
    }
    for (size_t i = 0; i < h->count; i++) {
        if (is_wanted(&h->ops[i], fs)) {
            k->rows[next[pairs_find(&numbers, h->ops[i].key, 0)]++] = i;
        }
    }
out:
    pairs_close(&numbers);
    kv_mem_free(next);
    if (rc != 0) {
        keys_close(k);
    }
    return rc;
}

void keys_close(struct keys *k)
{
    kv_mem_free(k->keys);
    kv_mem_free(k->begin);
    kv_mem_free(k->rows);
    memset(k, 0, sizeof *k);
}

const struct history_op *keys_completion(const struct history *h,
                                         const struct history_op *invocation)
{
    return invocation->mate == HISTORY_NO_MATE ? NULL : &h->ops[invocation->mate];
}

enum history_type keys_end(const struct history *h, const struct history_op *invocation)
{
    const struct history_op *end = keys_completion(h, invocation);

    return end == NULL ? HISTORY_INFO : end->type;
}
