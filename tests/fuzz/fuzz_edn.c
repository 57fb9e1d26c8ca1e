/* tests/fuzz/fuzz_edn.c - histories from a file that anybody may have written.
 *
 * The first byte picks the workload. What is read must write and read again as the same
 * history.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jepsen/format/read.h"
#include "jepsen/format/rows.h"
#include "raft/base/check.h"
#include "raft/base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void compare(const struct history *a, const struct history *b)
{
    KV_ASSERT(a->count == b->count && a->pool_count == b->pool_count);
    KV_ASSERT(a->pool_count == 0 ||
              memcmp(a->pool, b->pool, a->pool_count * sizeof *a->pool) == 0);
    for (size_t i = 0; i < a->count; i++) {
        const struct history_op *x = &a->ops[i];
        const struct history_op *y = &b->ops[i];

        KV_ASSERT(x->index == i && y->index == i && x->time_ns == y->time_ns);
        KV_ASSERT(x->process == y->process && x->type == y->type && x->f == y->f);
        KV_ASSERT(x->key == y->key && x->mate == y->mate && x->node == y->node);
        KV_ASSERT(x->value.kind == y->value.kind && x->value.count == y->value.count);
        KV_ASSERT(x->rev == y->rev && x->at_rev == y->at_rev);
        KV_ASSERT((x->text == NULL) == (y->text == NULL));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct history h;
    struct history again;
    struct read_error error;
    enum history_workload workload;
    char *text = NULL;
    size_t text_len = 0;
    FILE *out;

    if (len < 1 || len > 65536) {
        return 0;
    }
    workload = (enum history_workload)(data[0] % HISTORY_WORKLOADS);
    if (read_history(kv_bytes(data + 1, len - 1), workload, &h, &error) == 0) {
        int rc;

        out = open_memstream(&text, &text_len);
        KV_ASSERT(out != NULL);
        rc = rows_write(out, &h, workload, ROWS_EDN);
        KV_ASSERT(rc == 0);
        fclose(out);
        rc = read_history(kv_bytes(text, text_len), workload, &again, &error);
        KV_ASSERT(rc == 0);
        compare(&h, &again);
        history_close(&again);
        free(text);
    } else {
        KV_ASSERT(error.text[0] != '\0');
    }
    history_close(&h);
    return 0;
}
