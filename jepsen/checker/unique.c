/* jepsen/checker/unique.c - was no id given out twice? */
#include "jepsen/checker/unique.h"

#include <inttypes.h>
#include <stdio.h>

#include "jepsen/checker/pairs.h"
#include "raft/base/err.h"

static int id_check(const struct history *h, const struct history_op *op,
                    struct pairs *seen, struct verdict *v)
{
    int64_t id = history_ints(h, &op->value)[0];
    uint64_t *at = pairs_at(seen, (uint64_t)id, 0, op->index);
    struct verdict_anomaly a = {.kind = "duplicate-id", .key = op->key};

    if (at == NULL) {
        return KV_ENOMEM;
    }
    if (*at == op->index) {
        return 0;
    }
    snprintf(a.text, sizeof a.text,
             "id %" PRId64 " was given out at row %" PRIu64 " and at row %" PRIu64, id,
             *at, op->index);
    a.ops[a.ops_count++] = h->ops[*at].mate;
    a.ops[a.ops_count++] = *at;
    a.ops[a.ops_count++] = op->mate;
    a.ops[a.ops_count++] = op->index;
    verdict_add(v, &a);
    return 0;
}

void unique_check(const struct history *h, struct verdict *out)
{
    struct pairs seen;
    uint64_t ids = 0;
    int64_t lowest = INT64_MAX;
    int64_t highest = INT64_MIN;
    int rc = 0;

    verdict_init(out, "unique");
    pairs_init(&seen);
    for (size_t i = 0; i < h->count && rc == 0; i++) {
        const struct history_op *op = &h->ops[i];

        if (op->f == HISTORY_GENERATE && op->type == HISTORY_OK &&
            op->value.kind == HISTORY_INT) {
            int64_t id = history_ints(h, &op->value)[0];

            rc = id_check(h, op, &seen, out);
            ids++;
            lowest = KV_MIN(lowest, id);
            highest = KV_MAX(highest, id);
        }
    }
    if (rc != 0) {
        verdict_doubt(out, "out of memory");
    } else if (ids == 0) {
        verdict_doubt(out, "no id was given out");
    }
    verdict_fact(out, "ids", (double)ids);
    if (ids > 0) {
        verdict_fact(out, "lowest", (double)lowest);
        verdict_fact(out, "highest", (double)highest);
    }
    pairs_close(&seen);
}
