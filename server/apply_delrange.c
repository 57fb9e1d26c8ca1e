/* server/apply_delrange.c - one step of a range that is deleted.
 *
 * The entry names the range, not its keys: which ones are first is decided when it is
 * applied, the same on all replicas. Keys of all slots of the group count.
 */
#include "raft/base/err.h"
#include "server/apply_parts.h"

/* An end that does not lie behind the begin: no key is between them. */
static bool is_empty(const struct command *c)
{
    return c->end.len > 0 && kv_bytes_compare(c->begin, c->end) >= 0;
}

/* There are keys behind the row: notes where, for whoever waits. */
static void note_next(struct kv_bytes key, bool behind, struct arena *keep,
                      struct apply_result *out)
{
    uint8_t *next;

    out->more = true;
    if (keep == NULL) {
        return;
    }
    next = arena_alloc(keep, key.len + 1);
    if (next == NULL) {
        out->results_lost = true;
        return;
    }
    memcpy(next, key.data, key.len);
    next[key.len] = 0;
    out->next = kv_bytes(next, key.len + behind);
}

int apply_delrange(struct apply *a, const struct command *c, struct arena *keep,
                   struct apply_result *out)
{
    struct row *rows = NULL;
    uint32_t count = 0;
    bool more = false;
    bool existed;
    int rc = is_empty(c) ? 0
                         : state_range(a->st, ROW_KV, c->begin, c->end, c->rows_max,
                                       APPLY_DELRANGE_BYTES_MAX, &a->scratch, &rows,
                                       &count, &more);

    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        rc = apply_key_del(a, rows[i].key, &existed);
    }
    if (rc == 0 && more) {
        note_next(rows[count - 1].key, true, keep, out);
    }
    out->number = count;
    return rc;
}

int apply_delrange_next(struct apply *a, const struct command *c, struct arena *keep,
                        struct apply_result *out)
{
    struct row *rows;
    uint32_t count = 0;
    bool more;
    int rc = is_empty(c) ? 0
                         : state_range(a->st, ROW_KV, c->begin, c->end, 1, 1,
                                       &a->scratch, &rows, &count, &more);

    if (rc == 0 && count > 0) {
        note_next(rows[0].key, false, keep, out);
    }
    return rc;
}
