/* tests/lib/fake_store.c - the naive store behind the fake server. */
#include "tests/lib/fake_store.h"

#include <stdio.h>
#include <stdlib.h>

#include "raft/base/arena.h"

static struct kv_bytes copy(struct kv_bytes from)
{
    uint8_t *to = kv_mem_zalloc(from.len + 1);

    KV_ASSERT(to != NULL);
    if (from.len > 0) {
        memcpy(to, from.data, from.len);
    }
    return kv_bytes(to, from.len);
}

static void release(struct kv_bytes bytes)
{
    kv_mem_free((void *)(uintptr_t)bytes.data);
}

/* The first item whose key is not below `key`. */
static uint32_t lower(const struct fake_store *s, struct kv_bytes key)
{
    uint32_t i = 0;

    while (i < s->count && kv_bytes_compare(s->items[i].key, key) < 0) {
        i++;
    }
    return i;
}

static struct rpc_item *find(struct fake_store *s, struct kv_bytes key)
{
    uint32_t i = lower(s, key);

    return i < s->count && kv_bytes_equal(s->items[i].key, key) ? &s->items[i] : NULL;
}

static void put(struct fake_store *s, struct kv_bytes key, struct kv_bytes value)
{
    struct rpc_item *item = find(s, key);
    uint32_t i;

    s->rev++;
    if (item == NULL) {
        i = lower(s, key);
        KV_ASSERT(s->count < FAKE_ITEMS_MAX);
        memmove(&s->items[i + 1], &s->items[i], (s->count - i) * sizeof s->items[0]);
        s->count++;
        item = &s->items[i];
        item->key = copy(key);
    } else {
        release(item->value);
    }
    item->value = copy(value);
    item->rev = s->rev;
}

static bool del(struct fake_store *s, struct kv_bytes key)
{
    struct rpc_item *item = find(s, key);
    uint32_t i;

    s->rev++;
    if (item == NULL) {
        return false;
    }
    i = (uint32_t)(item - s->items);
    release(item->key);
    release(item->value);
    s->count--;
    memmove(&s->items[i], &s->items[i + 1], (s->count - i) * sizeof s->items[0]);
    return true;
}

void fake_store_init(struct fake_store *s)
{
    s->rev = 0;
    s->cluster = 0;
    s->limit = 0;
    s->time_ms = 1;
    s->records_count = 0;
    s->count = 0;
}

void fake_store_close(struct fake_store *s)
{
    for (uint32_t i = 0; i < s->count; i++) {
        release(s->items[i].key);
        release(s->items[i].value);
    }
    s->count = 0;
}

static void answer_cas(struct fake_store *s, const struct rpc_request *q,
                       const struct rpc_at *at, struct buf *b)
{
    struct rpc_item *item = find(s, q->key);
    struct rpc_cas_result result = {0};

    result.swapped = q->has_expected
                         ? item != NULL && kv_bytes_equal(item->value, q->expected)
                         : item == NULL;
    if (result.swapped && q->has_replacement) {
        put(s, q->key, q->replacement);
    } else if (result.swapped) {
        (void)del(s, q->key);
    }
    result.rev = result.swapped ? s->rev : item != NULL ? item->rev : 0;
    result.has_value = !result.swapped && item != NULL;
    if (result.has_value) {
        result.value = item->value;
    }
    rpc_reply_cas(b, q->msgid, at, &result);
}

/* The record of a request, a new one where there is none; NULL without session. */
static struct fake_record *record_of(struct fake_store *s, const struct rpc_request *q,
                                     bool *out_is_new)
{
    const struct rpc_options *o = &q->options;
    struct fake_record *r;

    *out_is_new = false;
    if (o->session == 0 && o->idem.len == 0) {
        return NULL;
    }
    for (uint32_t i = 0; i < s->records_count; i++) {
        r = &s->records[i];
        if (r->session == o->session && r->seq == o->seq &&
            kv_bytes_equal(kv_bytes_str(r->idem), o->idem)) {
            return r;
        }
    }
    KV_ASSERT(s->records_count < FAKE_RECORDS_MAX && o->idem.len < sizeof r->idem);
    *out_is_new = true;
    r = &s->records[s->records_count++];
    *r = (struct fake_record){.session = o->session, .seq = o->seq};
    (void)snprintf(r->idem, sizeof r->idem, "%.*s", (int)o->idem.len,
                   o->idem.len > 0 ? (const char *)o->idem.data : "");
    return r;
}

static void answer_incr(struct fake_store *s, const struct rpc_request *q,
                        const struct rpc_at *at, struct buf *b)
{
    bool is_new;
    struct fake_record *record = record_of(s, q, &is_new);
    struct rpc_at again = *at;
    struct rpc_item *item = find(s, q->key);
    struct rpc_error error = {0};
    char text[32];
    char *end = NULL;
    int64_t value = 0;

    if (record != NULL && !is_new) {
        again.repeated = true;
        rpc_reply_incr(b, q->msgid, &again, record->number, record->rev);
        return;
    }
    if (item != NULL) {
        value = strtoll((const char *)item->value.data, &end, 10);
        if (item->value.len == 0 ||
            end != (const char *)item->value.data + item->value.len) {
            rpc_error_set(&error, KV_EBADREQUEST, "the value is not a decimal number");
            rpc_reply_error(b, q->msgid, &error);
            return;
        }
    }
    if (__builtin_add_overflow(value, q->delta, &value)) {
        rpc_error_set(&error, KV_EOVERFLOW, "the sum does not fit");
        rpc_reply_error(b, q->msgid, &error);
        return;
    }
    (void)snprintf(text, sizeof text, "%lld", (long long)value);
    put(s, q->key, kv_bytes_str(text));
    if (record != NULL) {
        record->number = value;
        record->rev = s->rev;
    }
    rpc_reply_incr(b, q->msgid, at, value, s->rev);
}

static void answer_range(struct fake_store *s, const struct rpc_request *q,
                         const struct rpc_at *at, struct buf *b)
{
    uint32_t limit = q->options.limit != 0 ? q->options.limit : KV_RANGE_ITEMS_DEFAULT;
    uint32_t first = lower(s, q->begin);
    uint32_t last = q->end.len == 0 ? s->count : lower(s, q->end);
    struct rpc_range_result result = {.ats = at, .ats_count = 1};

    if (s->limit != 0) {
        limit = s->limit;
    }
    last = last < first ? first : last;
    result.items = &s->items[first];
    result.items_count = KV_MIN(last - first, limit);
    result.more = result.items_count < last - first;
    if (result.more) {
        result.next = s->items[first + result.items_count].key;
    }
    rpc_reply_range(b, q->msgid, &result);
}

void fake_store_answer(struct fake_store *s, const struct rpc_request *q,
                       const struct rpc_at *at, struct buf *b)
{
    const struct rpc_hello hello = {.server = kv_bytes_str("kvd"),
                                    .version = kv_bytes_str("0.1.0"),
                                    .proto = RPC_PROTO,
                                    .node = at->node,
                                    .cluster = s->cluster,
                                    .time_ms = s->time_ms};
    struct rpc_error error = {0};
    bool deleted;

    switch (q->method) {
    case RPC_HELLO:
        rpc_reply_hello(b, q->msgid, at, &hello);
        break;
    case RPC_KV_GET:
        rpc_reply_get(b, q->msgid, at, find(s, q->key));
        break;
    case RPC_KV_PUT:
        put(s, q->key, q->value);
        rpc_reply_put(b, q->msgid, at, s->rev);
        break;
    case RPC_KV_DEL:
        deleted = del(s, q->key);
        rpc_reply_del(b, q->msgid, at, deleted, s->rev);
        break;
    case RPC_KV_CAS:
        answer_cas(s, q, at, b);
        break;
    case RPC_KV_INCR:
        answer_incr(s, q, at, b);
        break;
    case RPC_KV_RANGE:
        answer_range(s, q, at, b);
        break;
    default:
        rpc_error_set(&error, KV_EBADREQUEST, "the fake store does not know this");
        rpc_reply_error(b, q->msgid, &error);
    }
}
