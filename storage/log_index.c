/* storage/log_index.c - in memory: in which batch each entry of the log lies. */
#include "storage/log_index.h"

#include "raft/base/err.h"

enum {
    PLACES_CAP_MIN = 16,
    BATCHES_CAP_MIN = 64,
};

#define PLACES_MAX (1u << 26) /* Of one group: 1 GiB of index. */

/* ---- life ---- */

int log_index_open(struct log_index *ix, uint32_t groups_max)
{
    *ix = (struct log_index){.groups_max = groups_max};
    ix->groups = kv_mem_zalloc(groups_max * sizeof *ix->groups);
    if (ix->groups == NULL) {
        return KV_ENOMEM;
    }
    pthread_mutex_init(&ix->lock, NULL);
    return 0;
}

void log_index_close(struct log_index *ix)
{
    if (ix->groups == NULL) {
        return;
    }
    for (uint32_t i = 0; i < ix->groups_max; i++) {
        kv_mem_free(ix->groups[i].ring);
    }
    kv_mem_free(ix->groups);
    kv_mem_free(ix->batches);
    pthread_mutex_destroy(&ix->lock);
    *ix = (struct log_index){0};
}

/* ---- places and batches; the lock is held ---- */

static struct log_place *place_at(const struct log_places *p, raft_index index)
{
    KV_ASSERT(index >= p->begin && index - p->begin < p->count);
    return &p->ring[index & (p->cap - 1)];
}

static int places_room(struct log_places *p, uint64_t count)
{
    uint32_t cap = KV_MAX(p->cap, (uint32_t)PLACES_CAP_MIN);
    struct log_place *ring;

    if (count <= p->cap) {
        return 0;
    }
    if (count > PLACES_MAX) {
        return KV_ENOMEM;
    }
    while (cap < count) {
        cap *= 2;
    }
    ring = kv_mem_zalloc(cap * sizeof *ring);
    if (ring == NULL) {
        return KV_ENOMEM;
    }
    for (uint32_t i = 0; i < p->count; i++) {
        ring[(p->begin + i) & (cap - 1)] = *place_at(p, p->begin + i);
    }
    kv_mem_free(p->ring);
    p->ring = ring;
    p->cap = cap;
    return 0;
}

static int batches_room(struct log_index *ix, size_t more)
{
    size_t used = ix->end - ix->first;
    size_t cap = KV_MAX(ix->cap, (size_t)BATCHES_CAP_MIN);
    struct log_batch *batches;

    if (ix->end + more <= ix->cap) {
        return 0;
    }
    while (cap < 2 * (used + more)) { /* Half of it free: moved now and then only. */
        cap *= 2;
    }
    batches = kv_mem_zalloc(cap * sizeof *batches);
    if (batches == NULL) {
        return KV_ENOMEM;
    }
    if (used > 0) {
        memcpy(batches, ix->batches + ix->first, used * sizeof *batches);
    }
    kv_mem_free(ix->batches);
    ix->batches = batches;
    ix->cap = cap;
    ix->first = 0;
    ix->end = used;
    return 0;
}

static struct log_batch *batch_find(struct log_index *ix, uint64_t number)
{
    size_t low = ix->first;
    size_t high = ix->end;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (ix->batches[middle].number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    KV_ASSERT(low < ix->end && ix->batches[low].number == number);
    return &ix->batches[low];
}

/* The entry there is no part of a log any more. */
static void place_drop(struct log_index *ix, const struct log_place *place)
{
    struct log_batch *batch;

    if (place->batch == 0) {
        ix->holes--;
        return;
    }
    batch = batch_find(ix, place->batch);
    KV_ASSERT(batch->live > 0 && ix->live_bytes >= place->bytes);
    batch->live--;
    ix->live_bytes -= place->bytes;
}

static void place_take(struct log_index *ix, struct log_place *at,
                       const struct log_place *place)
{
    *at = *place;
    batch_find(ix, place->batch)->live++;
    ix->live_bytes += place->bytes;
}

static void batch_add(struct log_index *ix, uint64_t number, uint64_t bytes,
                      bool is_bad)
{
    KV_ASSERT(ix->end < ix->cap);
    KV_ASSERT(ix->first == ix->end || ix->batches[ix->end - 1].number < number);
    ix->batches[ix->end++] =
        (struct log_batch){.number = number, .bytes = bytes, .is_bad = is_bad};
    ix->bytes += bytes;
}

/* ---- building it at open ---- */

int log_index_group(struct log_index *ix, group_id group, raft_index base,
                    raft_index last)
{
    struct log_places *p = &ix->groups[group];
    int rc;

    KV_ASSERT(group < ix->groups_max && base <= last);
    rc = places_room(p, last - base);
    if (rc == 0) {
        p->begin = base + 1;
        p->count = (uint32_t)(last - base);
        ix->holes += p->count;
    }
    return rc;
}

int log_index_batch(struct log_index *ix, uint64_t number, uint64_t bytes, bool is_bad)
{
    int rc;

    pthread_mutex_lock(&ix->lock);
    rc = batches_room(ix, 1);
    if (rc == 0) {
        batch_add(ix, number, bytes, is_bad);
    }
    pthread_mutex_unlock(&ix->lock);
    return rc;
}

void log_index_found(struct log_index *ix, group_id group, raft_index index,
                     uint32_t slot, uint32_t bytes)
{
    struct log_places *p;
    struct log_place place = {.slot = slot, .bytes = bytes};

    KV_ASSERT(ix->first < ix->end);
    if (group >= ix->groups_max) {
        return;
    }
    p = &ix->groups[group];
    if (index < p->begin || index - p->begin >= p->count) {
        return; /* Compacted or cut off. */
    }
    place.batch = ix->batches[ix->end - 1].number;
    place_drop(ix, place_at(p, index));
    place_take(ix, place_at(p, index), &place);
}

/* ---- looking in ---- */

raft_index log_index_first(struct log_index *ix, group_id group)
{
    raft_index first;

    KV_ASSERT(group < ix->groups_max);
    pthread_mutex_lock(&ix->lock);
    first = ix->groups[group].begin;
    pthread_mutex_unlock(&ix->lock);
    return first;
}

uint32_t log_index_count(struct log_index *ix, group_id group, raft_index begin)
{
    const struct log_places *p = &ix->groups[group];
    raft_index end;

    KV_ASSERT(group < ix->groups_max);
    pthread_mutex_lock(&ix->lock);
    begin = KV_MAX(begin, p->begin);
    end = p->begin + p->count;
    pthread_mutex_unlock(&ix->lock);
    return begin < end ? (uint32_t)(end - begin) : 0;
}

void log_index_get(struct log_index *ix, group_id group, raft_index begin,
                   raft_index end, struct log_place *out)
{
    const struct log_places *p = &ix->groups[group];

    KV_ASSERT(group < ix->groups_max && begin <= end);
    pthread_mutex_lock(&ix->lock);
    for (raft_index i = begin; i < end; i++) {
        bool is_there = i >= p->begin && i - p->begin < p->count;

        out[i - begin] = is_there ? *place_at(p, i) : (struct log_place){0};
    }
    pthread_mutex_unlock(&ix->lock);
}

/* A batch that cannot be read may hold what is missing. */
static bool is_dead(const struct log_index *ix, const struct log_batch *b)
{
    return b->live == 0 && !(b->is_bad && ix->holes > 0);
}

uint32_t log_index_dead(struct log_index *ix, uint32_t max, uint64_t *out)
{
    uint32_t count = 0;

    pthread_mutex_lock(&ix->lock);
    while (count < max && ix->first + count < ix->end &&
           is_dead(ix, &ix->batches[ix->first + count])) {
        out[count] = ix->batches[ix->first + count].number;
        count++;
    }
    pthread_mutex_unlock(&ix->lock);
    return count;
}

bool log_index_oldest(struct log_index *ix, size_t skip, struct log_batch *out)
{
    bool found;

    pthread_mutex_lock(&ix->lock);
    found = skip < ix->end - ix->first;
    if (found) {
        *out = ix->batches[ix->first + skip];
    }
    pthread_mutex_unlock(&ix->lock);
    return found;
}

bool log_index_wasteful(struct log_index *ix, uint64_t slack)
{
    bool wasteful;

    pthread_mutex_lock(&ix->lock);
    wasteful = ix->bytes > slack + 2 * ix->live_bytes;
    pthread_mutex_unlock(&ix->lock);
    return wasteful;
}

/* ---- after a commit ---- */

int log_index_reserve(struct log_index *ix, group_id group, uint32_t entries,
                      uint32_t batches)
{
    struct log_places *p = &ix->groups[group];
    int rc;

    KV_ASSERT(group < ix->groups_max);
    pthread_mutex_lock(&ix->lock);
    rc = places_room(p, (uint64_t)p->count + entries);
    if (rc == 0) {
        rc = batches_room(ix, batches);
    }
    pthread_mutex_unlock(&ix->lock);
    return rc;
}

void log_index_change(struct log_index *ix, const struct log_change *c,
                      const struct log_place *places)
{
    struct log_places *p = &ix->groups[c->group];

    KV_ASSERT(c->group < ix->groups_max);
    pthread_mutex_lock(&ix->lock);
    while (p->count > 0 && p->begin + p->count > c->cut) {
        place_drop(ix, place_at(p, p->begin + p->count - 1));
        p->count--;
    }
    while (p->count > 0 && p->begin <= c->base) {
        place_drop(ix, place_at(p, p->begin));
        p->begin++;
        p->count--;
    }
    if (p->count == 0) {
        p->begin = c->count > 0 ? c->first : c->base + 1;
    }
    KV_ASSERT(c->count == 0 || c->first == p->begin + p->count);
    KV_ASSERT(p->count + c->count <= p->cap);
    for (uint32_t i = 0; i < c->count; i++) {
        p->count++;
        place_take(ix, place_at(p, c->first + i), &places[i]);
    }
    pthread_mutex_unlock(&ix->lock);
}

void log_index_move(struct log_index *ix, group_id group, raft_index index,
                    const struct log_place *to)
{
    struct log_places *p = &ix->groups[group];

    pthread_mutex_lock(&ix->lock);
    place_drop(ix, place_at(p, index));
    place_take(ix, place_at(p, index), to);
    pthread_mutex_unlock(&ix->lock);
}

void log_index_oldest_gone(struct log_index *ix, uint64_t number)
{
    pthread_mutex_lock(&ix->lock);
    KV_ASSERT(ix->first < ix->end && ix->batches[ix->first].number == number);
    KV_ASSERT(ix->batches[ix->first].live == 0);
    ix->bytes -= ix->batches[ix->first].bytes;
    ix->first++;
    pthread_mutex_unlock(&ix->lock);
}
