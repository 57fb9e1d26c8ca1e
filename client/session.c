/* client/session.c - exactly once: numbers for writes, so that they may be sent again.
 *
 * A client is one session, a random number that servers need not be told about. A
 * write gets its number (seq) when it is let through to a connection, and its stamp
 * when it is encoded first; both stay the same however often it is sent. Calls with a
 * number that have not ended stand in a bucket by their slot, oldest first: the oldest
 * one of a slot is the slot's `ack`. A server keeps 128 results of a session per slot,
 * so a write that would be further than that behind the oldest one waits here, in the
 * same bucket.
 */
#include "client/client.h"

#include "rpc/slot.h"

enum {
    SESSION_WINDOW = 128, /* Results that a server keeps (RECORD_RESULTS_MAX there). */
    SESSION_TIME_DIGITS_MAX = 15,
    SESSION_DELRANGES = KV_SLOTS, /* A slot of their own: servers keep them apart. */
};

/* ---- rings of calls ---- */

static struct kv_call *call_of(struct call_link *link)
{
    return (struct kv_call *)((uint8_t *)link - offsetof(struct kv_call, session_link));
}

static void link_init(struct call_link *ring)
{
    ring->prev = ring;
    ring->next = ring;
}

static void link_append(struct call_link *ring, struct call_link *link)
{
    link->prev = ring->prev;
    link->next = ring;
    ring->prev->next = link;
    ring->prev = link;
}

static void link_remove(struct call_link *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->prev = NULL;
    link->next = NULL;
}

/* The first call of the slot in a ring, NULL when there is none. */
static struct kv_call *ring_find(struct call_link *ring, uint16_t slot)
{
    for (struct call_link *at = ring->next; at != ring; at = at->next) {
        if (call_of(at)->slot == slot) {
            return call_of(at);
        }
    }
    return NULL;
}

static struct kv_session_bucket *bucket_of(struct kv_client *c, uint16_t slot)
{
    return &c->session.buckets[slot % SESSION_BUCKETS];
}

/* ---- life ---- */

int kv_session_init(struct kv_client *c)
{
    struct kv_session *s = &c->session;

    for (uint32_t i = 0; i < SESSION_BUCKETS; i++) {
        link_init(&s->buckets[i].live);
        link_init(&s->buckets[i].waiting);
    }
    s->seq_next = 1;
    if (c->options.sessions == KV_SESSIONS_OFF || c->options.retries == 0) {
        return 0;
    }
    while (s->id == 0) {
        if (uv_random(NULL, NULL, &s->id, sizeof s->id, 0, NULL) != 0) {
            return KV_EIO;
        }
    }
    return 0;
}

/* ---- a write's way ---- */

bool kv_session_takes(enum rpc_method method)
{
    return method == RPC_KV_PUT || method == RPC_KV_DEL || method == RPC_KV_CAS ||
           method == RPC_KV_INCR || method == RPC_KV_GETSET || method == RPC_KV_TXN ||
           method == RPC_KV_DELRANGE;
}

void kv_session_join(struct kv_call *call)
{
    if (!kv_session_takes(call->request.method)) {
        return; /* Reads; locks know their owners again by themselves. */
    }
    if ((call->request.options.has & RPC_OPT_BIT(RPC_OPT_idem)) != 0) {
        call->is_repeatable = true;
        return;
    }
    call->is_repeatable = call->client->session.id != 0;
    call->slot = call->request.method == RPC_KV_DELRANGE
                     ? (uint16_t)SESSION_DELRANGES
                     : (uint16_t)slot_of(call->request.key);
}

/* Its number comes from the session, not from the user's idempotency key. */
static bool is_numbered(const struct kv_call *call)
{
    return call->is_repeatable &&
           (call->request.options.has & RPC_OPT_BIT(RPC_OPT_idem)) == 0;
}

bool kv_session_admit(struct kv_call *call)
{
    struct kv_client *c = call->client;
    struct kv_session_bucket *b = bucket_of(c, call->slot);
    struct kv_call *oldest;
    struct kv_call *waiting;

    if (!is_numbered(call) || call->seq != 0) {
        return true;
    }
    oldest = ring_find(&b->live, call->slot);
    waiting = ring_find(&b->waiting, call->slot);
    if ((waiting != NULL && waiting != call) ||
        (oldest != NULL && oldest->newest + 1 - oldest->ordinal >= SESSION_WINDOW)) {
        if (call->session_link.next == NULL) {
            link_append(&b->waiting, &call->session_link);
        }
        return false;
    }
    if (call->session_link.next != NULL) {
        link_remove(&call->session_link);
    }
    call->ordinal = oldest != NULL ? ++oldest->newest : 0;
    call->seq = c->session.seq_next++;
    link_append(&b->live, &call->session_link);
    return true;
}

void kv_session_stamp(struct kv_call *call)
{
    struct kv_client *c = call->client;
    struct rpc_options *o = &call->request.options;

    if (!call->is_repeatable) {
        return;
    }
    if (call->stamp_ms == 0) {
        /* 1 is too old for every group: its refusal tells the time. */
        call->stamp_ms =
            c->session.has_time ? kv_client_now(c) + c->session.ahead_ms : (uint64_t)1;
    }
    o->stamp = call->stamp_ms;
    o->has |= RPC_OPT_BIT(RPC_OPT_stamp);
    if (!is_numbered(call)) {
        return;
    }
    KV_ASSERT(call->seq != 0);
    o->session = c->session.id;
    o->seq = call->seq;
    o->ack = ring_find(&bucket_of(c, call->slot)->live, call->slot)->seq;
    o->has |= RPC_OPT_BIT(RPC_OPT_session) | RPC_OPT_BIT(RPC_OPT_seq) |
              RPC_OPT_BIT(RPC_OPT_ack);
    KV_ASSERT(o->ack <= o->seq);
}

void kv_session_leave(struct kv_call *call)
{
    struct kv_call *oldest;

    if (call->session_link.next == NULL) {
        return;
    }
    link_remove(&call->session_link);
    oldest = ring_find(&bucket_of(call->client, call->slot)->live, call->slot);
    if (oldest != NULL) {
        oldest->newest = KV_MAX(oldest->newest, call->newest);
    }
}

struct kv_call *kv_session_next(const struct kv_call *call)
{
    return is_numbered(call)
               ? ring_find(&bucket_of(call->client, call->slot)->waiting, call->slot)
               : NULL;
}

/* ---- time ---- */

void kv_session_time(struct kv_client *c, uint64_t time_ms)
{
    if (!c->session.has_time && time_ms != 0) {
        c->session.has_time = true;
        c->session.ahead_ms = time_ms - kv_client_now(c);
    }
}

/* The number that a refusal of a stamp begins with; 0 when it is none. */
static uint64_t time_parse(struct kv_bytes detail)
{
    static const char mark[] = " is the group's time";
    uint64_t time_ms = 0;
    size_t i = 0;

    while (i < detail.len && i < SESSION_TIME_DIGITS_MAX && detail.data[i] >= '0' &&
           detail.data[i] <= '9') {
        time_ms = time_ms * 10 + (uint64_t)(detail.data[i] - '0');
        i++;
    }
    return detail.len - i >= sizeof mark - 1 &&
                   memcmp(detail.data + i, mark, sizeof mark - 1) == 0
               ? time_ms
               : 0;
}

bool kv_session_restamp(struct kv_call *call, const struct rpc_reply *reply)
{
    struct kv_client *c = call->client;
    uint64_t time_ms = time_parse(reply->error_detail);

    if (!call->is_repeatable || call->is_unknown || call->is_restamped ||
        c->options.retries == 0 || time_ms == 0 ||
        (reply->error != KV_ESESSION && reply->error != KV_EBUSY)) {
        return false;
    }
    c->session.has_time = false;
    kv_session_time(c, time_ms);
    call->is_restamped = true;
    call->stamp_ms = 0;
    return true;
}

/* ---- what was seen ---- */

void kv_session_saw(struct kv_client *c, const struct rpc_reply *reply)
{
    struct kv_seen *seen = &c->seen;
    struct rpc_at at;

    for (uint32_t i = 0; i < reply->ats.count; i++) {
        rpc_reply_at_get(reply, i, &at);
        if (at.rev == 0 || at.group >= KV_GROUPS_MAX) {
            continue;
        }
        seen->revs[at.group] = KV_MAX(seen->revs[at.group], at.rev);
        seen->end = KV_MAX(seen->end, at.group + 1);
    }
    if (!seen->has_cluster && c->cluster != 0) {
        seen->has_cluster = true;
        seen->cluster = token_fold(c->cluster);
    }
}

/* Makes the token of what was seen; empty: nothing. */
static struct kv_bytes token_of(struct kv_client *c)
{
    struct kv_seen *seen = &c->seen;

    return kv_bytes(seen->token,
                    seen->has_cluster
                        ? token_pack(seen->cluster, seen->revs, seen->end, seen->token)
                        : 0);
}

void kv_session_token(struct kv_call *call)
{
    struct rpc_options *o = &call->request.options;

    if (!call->is_write && o->level == RPC_SESSION) {
        o->token = token_of(call->client);
        o->has |= RPC_OPT_BIT(RPC_OPT_token);
    }
}

struct kv_view kv_token(struct kv_client *c)
{
    struct kv_bytes token = token_of(c);

    return kv_mem(token.data, token.len);
}

int kv_token_add(struct kv_client *c, struct kv_view view)
{
    struct kv_bytes token = kv_bytes(view.data, view.len);
    struct kv_seen *seen = &c->seen;

    if (token.len == 0) {
        return 0;
    }
    if (!token_is_valid(token, c->cluster) ||
        (seen->has_cluster && token_cluster(token) != seen->cluster)) {
        return KV_EINVAL;
    }
    seen->has_cluster = true;
    seen->cluster = token_cluster(token);
    seen->end = KV_MAX(seen->end, token_raise(token, seen->revs));
    return 0;
}
