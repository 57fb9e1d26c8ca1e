/* tests/lib/fault_image.c - crash images out of a recording. */
#include "tests/lib/fault_image.h"

#include <string.h>

#include "raft/base/arena.h"
#include "raft/base/check.h"
#include "raft/base/prng.h"
#include "tests/lib/fault_disk.h"

enum {
    IMAGE_PENDING_MAX = 4096,
    IMAGE_EXHAUSTIVE_MAX = 8,
    IMAGE_RANDOM = 64,
};

/* One replay of a recording. */
struct run {
    struct fault_disk *disk;
    const char *dir;
    struct prng prng;
    fault_image_check check;
    void *ctx;
    uint32_t acks;
    uint64_t bad_max;
    struct fault_image_result result;
};

/* One image: of the pending contents those that are chosen, of the changes of names the
 * first few. torn: which of the chosen is torn; SIZE_MAX: none. */
static void image_judge(struct run *d, const bool *chosen, size_t names_count,
                        size_t torn)
{
    struct fault_choice choice = {chosen, names_count, torn, &d->prng};
    struct fault_disk *after;

    if (d->result.bad >= d->bad_max) {
        return;
    }
    after = fault_disk_crash(d->disk, &choice);
    fault_disk_put(after, d->dir);
    fault_disk_free(after);
    d->result.images++;
    d->result.torn += torn != SIZE_MAX;
    if (!d->check(d->ctx, d->dir, d->acks)) {
        d->result.bad++;
    }
}

/* Every subset, each with every number of changed names; then torn ones. */
static void judge_all(struct run *d)
{
    bool chosen[IMAGE_EXHAUSTIVE_MAX + 1] = {false};
    size_t n = fault_disk_contents(d->disk);
    size_t names_max = fault_disk_names(d->disk);

    for (size_t names = 0; names <= names_max; names++) {
        for (unsigned set = 0; set < 1U << n; set++) {
            for (size_t i = 0; i < n; i++) {
                chosen[i] = (set >> i & 1) != 0;
            }
            image_judge(d, chosen, names, SIZE_MAX);
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (!fault_disk_can_tear(d->disk, i)) {
            continue;
        }
        memset(chosen, 1, sizeof chosen); /* All are there, this one in part; ... */
        image_judge(d, chosen, names_max, i);
        image_judge(d, chosen, names_max, i);
        memset(chosen, 0, sizeof chosen);
        chosen[i] = true; /* ... or only a part of this one. */
        image_judge(d, chosen, names_max, i);
    }
}

static void judge_random(struct run *d)
{
    static bool chosen[IMAGE_PENDING_MAX];
    size_t count = fault_disk_contents(d->disk);

    KV_ASSERT(count <= IMAGE_PENDING_MAX);
    for (int round = 0; round < IMAGE_RANDOM; round++) {
        size_t torn = SIZE_MAX;
        uint64_t odds = prng_between(&d->prng, 2, 6); /* 1/2 ... 5/6 of them survive. */

        for (size_t i = 0; i < count; i++) {
            chosen[i] = prng_below(&d->prng, odds) != 0;
        }
        if (prng_below(&d->prng, 3) == 0) {
            torn = prng_below(&d->prng, count);
            torn = fault_disk_can_tear(d->disk, torn) ? torn : SIZE_MAX;
        }
        image_judge(d, chosen, prng_below(&d->prng, fault_disk_names(d->disk) + 1),
                    torn);
    }
}

static void judge(struct run *d)
{
    size_t pending =
        fault_disk_contents(d->disk) + (fault_disk_names(d->disk) > 0 ? 1 : 0);

    if (d->check == NULL) {
        return;
    }
    d->result.points++;
    if (pending <= IMAGE_EXHAUSTIVE_MAX) {
        judge_all(d);
    } else {
        judge_random(d);
    }
}

/* ---- replaying ---- */

static void replay_one(struct run *d, const struct fault_op *op)
{
    bool is_point = false;

    fault_disk_start(d->disk, op);
    switch (op->kind) {
    case FAULT_WRITE:
        is_point = op->is_dsync; /* It may or may not have arrived; then it has. */
        break;
    case FAULT_SYNC:
        is_point = fault_disk_sync_matters(d->disk, op->path);
        break;
    case FAULT_ACK:
        d->acks++; /* Acknowledged, but not all of it is safe? */
        is_point = fault_disk_contents(d->disk) > 0 || fault_disk_names(d->disk) > 0;
        break;
    default:
        break;
    }
    if (is_point) {
        judge(d);
    }
    fault_disk_finish(d->disk, op);
}

void fault_image_all(const struct fault_recording *r, const char *dir, uint64_t seed,
                     uint64_t bad_max, fault_image_check check, void *ctx,
                     struct fault_image_result *out)
{
    struct run d = {.disk = fault_disk_new(),
                    .dir = dir,
                    .check = check,
                    .ctx = ctx,
                    .bad_max = bad_max};

    prng_init(&d.prng, seed);
    for (size_t i = 0; i < r->count && d.result.bad < bad_max; i++) {
        replay_one(&d, &r->ops[i]);
    }
    *out = d.result;
    fault_disk_free(d.disk);
}

void fault_image_at(const struct fault_recording *r, const char *dir, uint32_t acks)
{
    struct run d = {.disk = fault_disk_new()};

    for (size_t i = 0; i < r->count && d.acks < acks; i++) {
        replay_one(&d, &r->ops[i]);
    }
    fault_disk_put(d.disk, dir);
    fault_disk_free(d.disk);
}
