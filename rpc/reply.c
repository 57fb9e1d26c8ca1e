/* rpc/reply.c - replies as servers send them. */
#include "rpc/reply.h"

#include "rpc/map.h"
#include "rpc/pack.h"
#include "rpc/text.h"

static void reply_begin(struct buf *b, uint32_t msgid, uint32_t pairs)
{
    pack_array(b, 4);
    pack_uint(b, RPC_RESPONSE);
    pack_uint(b, msgid);
    pack_nil(b);
    pack_map(b, pairs);
}

static void reply_pack_at(struct buf *b, const struct rpc_at *at)
{
    pack_array(b, 6);
    pack_uint(b, at->group);
    pack_uint(b, at->rev);
    pack_uint(b, at->term);
    pack_uint(b, at->node);
    pack_str(b, rpc_level_name(at->level));
    pack_uint(b, at->age_ms);
}

static uint32_t reply_extras(const struct rpc_at *at)
{
    return (at->token.len > 0 ? 1u : 0u) + (at->ttl_ms > 0 ? 1u : 0u) +
           (at->replicas > 0 ? 1u : 0u) + at->has_swapped + at->repeated;
}

/* The pairs that stand beside `at` where they are set. */
static void reply_pack_extras(struct buf *b, const struct rpc_at *at)
{
    if (at->token.len > 0) {
        pack_str(b, "token");
        pack_bin(b, at->token);
    }
    if (at->ttl_ms > 0) {
        pack_str(b, "ttl_ms");
        pack_uint(b, at->ttl_ms);
    }
    if (at->replicas > 0) {
        pack_str(b, "replicas");
        pack_uint(b, at->replicas);
    }
    if (at->has_swapped) {
        pack_str(b, "swapped");
        pack_bool(b, at->swapped);
    }
    if (at->repeated) {
        pack_str(b, "repeated");
        pack_bool(b, true);
    }
}

/* Head, and `at` as the first pair. */
static void reply_begin_at(struct buf *b, uint32_t msgid, uint32_t pairs,
                           const struct rpc_at *at)
{
    reply_begin(b, msgid, pairs + reply_extras(at));
    pack_str(b, "at");
    reply_pack_at(b, at);
    reply_pack_extras(b, at);
}

static void reply_pack_rev(struct buf *b, uint64_t rev)
{
    pack_str(b, "rev");
    pack_uint(b, rev);
}

void rpc_reply_get(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                   const struct rpc_item *found)
{
    reply_begin_at(b, msgid, 4, at);
    pack_str(b, "found");
    pack_bool(b, found != NULL);
    reply_pack_rev(b, found == NULL ? 0 : found->rev);
    pack_str(b, "value");
    pack_bin_or_nil(b, found != NULL, found == NULL ? kv_bytes(NULL, 0) : found->value);
}

void rpc_reply_put(struct buf *b, uint32_t msgid, const struct rpc_at *at, uint64_t rev)
{
    reply_begin_at(b, msgid, 2, at);
    reply_pack_rev(b, rev);
}

void rpc_reply_getset(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                      const struct rpc_item *before, uint64_t rev)
{
    bool known = before != NULL && before->value.data != NULL;

    reply_begin_at(b, msgid, 4, at);
    pack_str(b, "found");
    pack_bool(b, before != NULL);
    reply_pack_rev(b, rev);
    pack_str(b, "value");
    pack_bin_or_nil(b, known, known ? before->value : kv_bytes(NULL, 0));
}

void rpc_reply_del(struct buf *b, uint32_t msgid, const struct rpc_at *at, bool deleted,
                   uint64_t rev)
{
    reply_begin_at(b, msgid, 3, at);
    pack_str(b, "deleted");
    pack_bool(b, deleted);
    reply_pack_rev(b, rev);
}

void rpc_reply_cas(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                   const struct rpc_cas_result *result)
{
    reply_begin_at(b, msgid, 4, at);
    pack_str(b, "swapped");
    pack_bool(b, result->swapped);
    reply_pack_rev(b, result->rev);
    pack_str(b, "value");
    pack_bin_or_nil(b, result->has_value, result->value);
}

void rpc_reply_incr(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                    int64_t value, uint64_t rev)
{
    reply_begin_at(b, msgid, 3, at);
    pack_str(b, "value");
    pack_int(b, value);
    reply_pack_rev(b, rev);
}

void rpc_reply_acquire(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                       const struct rpc_lock_result *result)
{
    reply_begin_at(b, msgid, 5, at);
    pack_str(b, "acquired");
    pack_bool(b, result->acquired);
    pack_str(b, "token");
    pack_uint(b, result->token);
    pack_str(b, "ttl_ms");
    pack_uint(b, result->ttl_ms);
    pack_str(b, "place");
    pack_uint(b, result->place);
}

void rpc_reply_keepalive(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                         uint32_t ttl_ms)
{
    reply_begin_at(b, msgid, 2, at);
    pack_str(b, "ttl_ms");
    pack_uint(b, ttl_ms);
}

void rpc_reply_release(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                       bool released)
{
    reply_begin_at(b, msgid, 2, at);
    pack_str(b, "released");
    pack_bool(b, released);
}

void rpc_reply_info(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                    const struct rpc_lock_info *info)
{
    KV_ASSERT(info->holders_count <= KV_LOCK_PERMITS_MAX);
    reply_begin_at(b, msgid, 5, at);
    pack_str(b, "permits");
    pack_uint(b, info->permits);
    pack_str(b, "last_token");
    pack_uint(b, info->last_token);
    pack_str(b, "waiting");
    pack_uint(b, info->waiting);
    pack_str(b, "holders");
    pack_array(b, info->holders_count);
    for (uint32_t i = 0; i < info->holders_count; i++) {
        const struct rpc_lock_holder *h = &info->holders[i];

        pack_map(b, 4);
        pack_str(b, "token");
        pack_uint(b, h->token);
        pack_str(b, "owner");
        pack_bin(b, h->owner);
        pack_str(b, "value");
        pack_bin(b, h->value);
        pack_str(b, "left_ms");
        pack_uint(b, h->left_ms);
    }
}

static void reply_pack_items(struct buf *b, const struct rpc_item *items,
                             uint32_t count)
{
    pack_str(b, "items");
    pack_array(b, count);
    for (uint32_t i = 0; i < count; i++) {
        pack_array(b, 3);
        pack_bin(b, items[i].key);
        pack_bin(b, items[i].value);
        pack_uint(b, items[i].rev);
    }
}

void rpc_reply_range(struct buf *b, uint32_t msgid,
                     const struct rpc_range_result *result)
{
    KV_ASSERT(result->items_count <= KV_RANGE_ITEMS_MAX);
    KV_ASSERT(result->ats_count <= KV_GROUPS_MAX);
    reply_begin(b, msgid, result->token.len > 0 ? 5 : 4);
    pack_str(b, "at");
    pack_array(b, result->ats_count);
    for (uint32_t i = 0; i < result->ats_count; i++) {
        reply_pack_at(b, &result->ats[i]);
    }
    if (result->token.len > 0) {
        pack_str(b, "token");
        pack_bin(b, result->token);
    }
    pack_str(b, "more");
    pack_bool(b, result->more);
    pack_str(b, "next");
    pack_bin_or_nil(b, result->more, result->next);
    reply_pack_items(b, result->items, result->items_count);
}

void rpc_reply_delrange(struct buf *b, uint32_t msgid,
                        const struct rpc_delrange_result *result)
{
    KV_ASSERT(result->ats_count > 0 && result->ats_count <= KV_GROUPS_MAX);
    reply_begin(b, msgid, 4 + reply_extras(&result->ats[0]));
    pack_str(b, "at");
    pack_array(b, result->ats_count);
    for (uint32_t i = 0; i < result->ats_count; i++) {
        reply_pack_at(b, &result->ats[i]);
    }
    reply_pack_extras(b, &result->ats[0]);
    pack_str(b, "deleted");
    pack_uint(b, result->deleted);
    pack_str(b, "more");
    pack_bool(b, result->more);
    pack_str(b, "next");
    pack_bin_or_nil(b, result->more, result->next);
}

static void reply_pack_op(struct buf *b, const struct rpc_txn_result *r)
{
    switch (r->verb) {
    case RPC_TXN_GET:
        pack_map(b, 3);
        pack_str(b, "found");
        pack_bool(b, r->found);
        reply_pack_rev(b, r->rev);
        pack_str(b, "value");
        pack_bin_or_nil(b, r->found, r->value);
        return;
    case RPC_TXN_PUT:
        pack_map(b, 1);
        reply_pack_rev(b, r->rev);
        return;
    case RPC_TXN_DEL:
        pack_map(b, 2);
        pack_str(b, "deleted");
        pack_bool(b, r->deleted);
        reply_pack_rev(b, r->rev);
        return;
    case RPC_TXN_INCR:
        pack_map(b, 2);
        pack_str(b, "value");
        pack_int(b, r->number);
        reply_pack_rev(b, r->rev);
        return;
    case RPC_TXN_RANGE:
        pack_map(b, 3);
        pack_str(b, "more");
        pack_bool(b, r->more);
        pack_str(b, "next");
        pack_bin_or_nil(b, r->more, r->next);
        reply_pack_items(b, r->items, r->items_count);
        return;
    case RPC_TXN_VERBS_COUNT:
        break;
    }
    KV_UNREACHABLE();
}

void rpc_reply_txn(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                   bool succeeded, uint64_t rev, const struct rpc_txn_result *results,
                   uint32_t results_count)
{
    KV_ASSERT(results_count <= KV_TXN_OPS_MAX);
    reply_begin_at(b, msgid, 4, at);
    pack_str(b, "succeeded");
    pack_bool(b, succeeded);
    reply_pack_rev(b, rev);
    pack_str(b, "results");
    pack_array(b, results_count);
    for (uint32_t i = 0; i < results_count; i++) {
        reply_pack_op(b, &results[i]);
    }
}

void rpc_reply_hello(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                     const struct rpc_hello *hello)
{
    char hex[TEXT_HEX64_BYTES];

    reply_begin_at(b, msgid, 8, at);
    pack_str(b, "server");
    pack_str_bytes(b, hello->server);
    pack_str(b, "version");
    pack_str_bytes(b, hello->version);
    pack_str(b, "proto");
    pack_uint(b, hello->proto);
    pack_str(b, "node");
    pack_uint(b, hello->node);
    pack_str(b, "cluster");
    pack_str(b, text_hex64(hello->cluster, hex));
    pack_str(b, "features");
    pack_array(b, 0);
    pack_str(b, "time");
    pack_uint(b, hello->time_ms);
}

void rpc_reply_session(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                       const struct rpc_session *session)
{
    bool is_new = session->session != 0;

    reply_begin_at(b, msgid, is_new ? 4 : 3, at);
    if (is_new) {
        pack_str(b, "session");
        pack_uint(b, session->session);
    }
    pack_str(b, "ttl_ms");
    pack_uint(b, session->ttl_ms);
    pack_str(b, "time");
    pack_uint(b, session->time_ms);
}

void rpc_reply_watch(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                     uint64_t watch, struct kv_bytes pos)
{
    reply_begin_at(b, msgid, 3, at);
    pack_str(b, "watch");
    pack_uint(b, watch);
    pack_str(b, "pos");
    pack_bin(b, pos);
}

void rpc_reply_unwatch(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                       bool ended)
{
    reply_begin_at(b, msgid, 2, at);
    pack_str(b, "ended");
    pack_bool(b, ended);
}

void rpc_reply_session_closed(struct buf *b, uint32_t msgid, const struct rpc_at *at)
{
    reply_begin_at(b, msgid, 2, at);
    pack_str(b, "closed");
    pack_bool(b, true);
}

static void reply_pack_group(struct buf *b, const struct rpc_group_status *g)
{
    KV_ASSERT(g->voters_count <= KV_ARRAY_COUNT(g->voters));
    pack_map(b, 7);
    pack_str(b, "id");
    pack_uint(b, g->id);
    pack_str(b, "leader");
    pack_uint(b, g->leader);
    pack_str(b, "term");
    pack_uint(b, g->term);
    pack_str(b, "commit");
    pack_uint(b, g->commit);
    pack_str(b, "applied");
    pack_uint(b, g->applied);
    pack_str(b, "w");
    pack_uint(b, g->w);
    pack_str(b, "voters");
    pack_array(b, g->voters_count);
    for (uint32_t i = 0; i < g->voters_count; i++) {
        pack_uint(b, g->voters[i]);
    }
}

void rpc_reply_status(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                      const struct map *map, const struct rpc_group_status *groups,
                      uint32_t groups_count)
{
    char hex[TEXT_HEX64_BYTES];

    KV_ASSERT(groups_count <= KV_GROUPS_MAX);
    reply_begin_at(b, msgid, 6, at);
    pack_str(b, "node");
    pack_uint(b, at->node);
    pack_str(b, "cluster");
    pack_str(b, text_hex64(map->cluster, hex));
    pack_str(b, "epoch");
    pack_uint(b, map->epoch);
    pack_str(b, "nodes");
    map_encode_nodes(b, map);
    pack_str(b, "groups");
    pack_array(b, groups_count);
    for (uint32_t i = 0; i < groups_count; i++) {
        reply_pack_group(b, &groups[i]);
    }
}

void rpc_reply_map(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                   const struct map *map, const uint32_t *leaders)
{
    reply_begin_at(b, msgid, 3 + MAP_FIELDS_COUNT, at);
    pack_str(b, "node");
    pack_uint(b, at->node);
    map_encode_fields(b, map);
    pack_str(b, "leaders");
    pack_array(b, leaders == NULL ? 0 : map->groups_count);
    for (uint32_t i = 0; leaders != NULL && i < map->groups_count; i++) {
        pack_uint(b, leaders[i]);
    }
}

void rpc_reply_set_w(struct buf *b, uint32_t msgid, const struct rpc_at *at, uint32_t w)
{
    reply_begin_at(b, msgid, 3, at);
    pack_str(b, "w");
    pack_uint(b, w);
    pack_str(b, "done");
    pack_bool(b, true);
}

/* A word that a client understands, without claiming more than is known. */
static const char *reply_word(int code)
{
    const char *word = kv_err_word(code);

    if (word[0] != '\0') {
        return word;
    }
    return code == KV_ENOMEM ? "BUSY" : "UNKNOWN";
}

void rpc_reply_error(struct buf *b, uint32_t msgid, const struct rpc_error *error)
{
    const char *word = reply_word(error->code);
    size_t word_len = strlen(word);
    size_t len = error->len;
    msgpack_packer pk = pack_into(b);

    if (word_len + 1 + len > KV_ERROR_TEXT_MAX) {
        len = KV_ERROR_TEXT_MAX - word_len - 1;
    }
    pack_array(b, 4);
    pack_uint(b, RPC_RESPONSE);
    pack_uint(b, msgid);
    (void)msgpack_pack_str(&pk, word_len + (len > 0 ? 1 + len : 0));
    buf_append(b, word, word_len);
    if (len > 0) {
        buf_append(b, " ", 1);
        buf_append(b, error->text, len);
    }
    pack_nil(b);
}
