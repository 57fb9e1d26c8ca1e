/* jepsen/workload/lockset.c - sets that are changed under a lock.
 *
 * An add takes the set's lock, reads the whole set, writes it back with its element,
 * and releases. The set lies in another slot than the lock, most often in another
 * group. Now and then a client sleeps between reading and writing for longer than its
 * lease: then another one holds the lock, and what the sleeper writes back is old.
 * lock-set sends its token along with both (fence), so that this is refused;
 * lock-set-unfenced does not, and loses updates. Nobody keeps a lease alive: no client
 * here trusts its clock.
 *
 * Half of the workers only read, without a lock.
 *
 * Source: Martin Kleppmann, "How to do distributed locking"; Jepsen's etcd lock-set.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "jepsen/workload/workload.h"
#include "raft/base/check.h"

enum {
    LOCKSET_TTL_MS = 300,
    LOCKSET_WAIT_MS = 300,      /* In the queue; then the add failed. */
    LOCKSET_SLEEP_ODDS = 40,    /* One add of so many sleeps */
    LOCKSET_SLEEP_MS_MIN = 350, /* for longer than its lease, */
    LOCKSET_SLEEP_MS_MAX = 500, /* and shorter than an operation may take. */

    STAGE_ACQUIRE = 0,
    STAGE_READ = 1,
    STAGE_WRITE = 2,
    STAGE_RELEASE = 3,
};

static void read_make(struct work *w)
{
    w->f = HISTORY_READ;
    w->kind = HISTORY_NIL;
    snprintf(w->name, sizeof w->name, "lockset/%u", w->key);
}

/* The owner is the element: each add is an owner of its own. */
static void lockset_next(struct workload_state *s, struct work *w)
{
    struct workload_lane *lane = workload_lane(s, w);

    read_make(w);
    if (!workload_is_reader(s, w->worker)) {
        w->f = HISTORY_ADD;
        w->kind = HISTORY_INT;
        w->extra = lane->counter++;
        workload_push(w, w->extra);
        snprintf(w->end, sizeof w->end, "lockset-lock/%u", w->key);
    }
}

static struct kv_request acquire(struct work *w)
{
    struct kv_request request;
    char owner[24];

    snprintf(owner, sizeof owner, "%" PRId64, w->extra);
    workload_expect(w, owner, strlen(owner));
    request = kv_lock(kv_str(w->end), kv_mem(w->expected, w->expected_len));
    request.ttl_ms = LOCKSET_TTL_MS;
    request.wait_ms = LOCKSET_WAIT_MS;
    return request;
}

static struct kv_request request_of(struct work *w, bool is_fenced)
{
    struct kv_request request;

    if (w->f == HISTORY_READ) {
        return kv_get(kv_str(w->name));
    }
    switch (w->stage) {
    case STAGE_ACQUIRE:
        return acquire(w);
    case STAGE_READ:
        request = kv_get(kv_str(w->name));
        break;
    case STAGE_WRITE:
        request = kv_put(kv_str(w->name), kv_mem(w->text, w->text_len));
        break;
    default:
        return kv_lock_release(kv_str(w->end), w->token);
    }
    if (is_fenced) {
        request.fence_lock = kv_str(w->end);
        request.fence_token = w->token;
    }
    return request;
}

static struct kv_request fenced_request(struct workload_state *s, struct work *w)
{
    (void)s;
    return request_of(w, true);
}

static struct kv_request unfenced_request(struct workload_state *s, struct work *w)
{
    (void)s;
    return request_of(w, false);
}

/* The value "1 2 3" as the answer of a read. */
static enum work_step read_done(struct work *w, const struct kv_result *r)
{
    const char *p = r->value.data;
    size_t left = r->found ? r->value.len : 0;
    int64_t element;

    w->kind = HISTORY_LIST;
    while (left > 0) {
        const char *space = memchr(p, ' ', left);
        size_t len = space == NULL ? left : (size_t)(space - p);

        if (!workload_number(kv_mem(p, len), &element)) {
            return WORK_BAD;
        }
        workload_push(w, element);
        len += space != NULL;
        p += len;
        left -= len;
    }
    return WORK_OK;
}

/* What is to be written: what was read, and the element. */
static void append_element(struct work *w, const struct kv_result *r)
{
    char element[24];
    int len;

    workload_text(w, r->value.data, r->found ? r->value.len : 0);
    len = snprintf(element, sizeof element, "%s%" PRId64, w->text_len > 0 ? " " : "",
                   w->extra);
    if (!w->failed) {
        KV_ASSERT(w->text_len + (size_t)len <= w->text_cap); /* WORKLOAD_ROOM */
        memcpy(w->text + w->text_len, element, (size_t)len);
        w->text_len += (size_t)len;
    }
}

static enum work_step lockset_result(struct workload_state *s, struct work *w,
                                     const struct kv_result *r)
{
    (void)s;
    if (w->f == HISTORY_READ) {
        return read_done(w, r);
    }
    switch (w->stage) {
    case STAGE_ACQUIRE:
        w->token = r->token;
        return r->held ? WORK_MORE : WORK_FAIL;
    case STAGE_READ:
        append_element(w, r);
        if (prng_below(w->prng, LOCKSET_SLEEP_ODDS) == 0) {
            w->sleep_ms = (uint32_t)prng_between(w->prng, LOCKSET_SLEEP_MS_MIN,
                                                 LOCKSET_SLEEP_MS_MAX);
        }
        return WORK_MORE;
    case STAGE_WRITE:
        w->is_settled = true;
        return WORK_MORE;
    default:
        return WORK_OK;
    }
}

static bool lockset_last(struct workload_state *s, uint32_t at, struct work *w)
{
    if (at >= s->keys_count) {
        return false;
    }
    w->key = at;
    read_make(w);
    return true;
}

const struct workload workload_lockset = {
    .name = "lock-set",
    .what = "read, change and write back a set under a lock, with its fencing token",
    .history = HISTORY_SET,
    .checks = {WORKLOAD_CHECK_SET},
    .fs = {HISTORY_READ, HISTORY_ADD},
    .fs_count = 2,
    .next = lockset_next,
    .request = fenced_request,
    .result = lockset_result,
    .last = lockset_last,
};

const struct workload workload_lockset_unfenced = {
    .name = "lock-set-unfenced",
    .what = "the same without the token: loses updates, as it must",
    .history = HISTORY_SET,
    .checks = {WORKLOAD_CHECK_SET},
    .fs = {HISTORY_READ, HISTORY_ADD},
    .fs_count = 2,
    .next = lockset_next,
    .request = unfenced_request,
    .result = lockset_result,
    .last = lockset_last,
};
