/* tests/sim/check.c - the history of each key must be linearizable. */
#include <stdlib.h>

#include "raft/base/arena.h"
#include "tests/sim/sim.h"

void check_history(struct sim *s)
{
    const struct linear_op **list = kv_mem_zalloc((s->ops_count + 1) * sizeof *list);

    KV_ASSERT(list != NULL);
    for (uint32_t key = 0; key <= s->swarm.keys + s->swarm.groups && !sim_failed(s);
         key++) {
        const struct linear_op *bad = NULL;
        enum linear_verdict verdict;
        size_t count = 0;

        for (size_t i = 0; i < s->ops_count; i++) {
            if (s->ops[i].key == key) {
                list[count++] = &s->ops[i];
            }
        }
        verdict = linear_check(list, count, 20000000, &bad);
        if (verdict == LINEAR_INVALID) {
            judge_fail(
                &s->judge, JUDGE_LINEAR,
                "key %u is not linearizable; stuck at client %u, kind %d, value %llu, "
                "%llu..%llu us, group %llu rev %llu term %llu node %u",
                key, bad->process, (int)bad->kind, (unsigned long long)bad->value,
                (unsigned long long)bad->call_us, (unsigned long long)bad->return_us,
                (unsigned long long)bad->group, (unsigned long long)bad->rev,
                (unsigned long long)bad->term, bad->node);
        }
    }
    kv_mem_free(list);
}
