/* rpc/request.c - requests checked field by field, with one clear line on refusal. */
#include "rpc/request.h"

#include "rpc/method.h"
#include "rpc/text.h"
#include "rpc/unpack.h"

/* Where an error text is to say it happened. */
struct request_parse {
    struct rpc_request *q;
    struct rpc_error *error;
};

static const char *request_name(const struct request_parse *p)
{
    return rpc_method_name(p->q->method);
}

/* ---- options ---- */

static const char *const option_names[RPC_OPTIONS_COUNT] = {
#define OPTION_NAME(name) [RPC_OPT_##name] = #name,
    RPC_OPTION_MAP(OPTION_NAME)
#undef OPTION_NAME
};

#define BIT(name) RPC_OPT_BIT(RPC_OPT_##name)

enum {
    OPTIONS_ANY = BIT(deadline_ms) | BIT(forward),
    OPTIONS_READ = OPTIONS_ANY | BIT(level) | BIT(r) | BIT(token) | BIT(max_age_ms) |
                   BIT(fence) | BIT(wait_ms),
    OPTIONS_WRITE = OPTIONS_ANY | BIT(w) | BIT(token) | BIT(session) | BIT(seq) |
                    BIT(ack) | BIT(idem) | BIT(idem_ttl_ms) | BIT(stamp) | BIT(fence),
};

/* Options that a method can have; others are refused, so that a typing error or a
 * wrong belief does not go unnoticed. */
static uint32_t request_options_of(enum rpc_method method)
{
    switch (method) {
    case RPC_KV_GET:
        return OPTIONS_READ;
    case RPC_KV_RANGE:
        return OPTIONS_READ | BIT(limit);
    case RPC_KV_PUT:
        return OPTIONS_WRITE | BIT(ttl_ms) | BIT(if_rev);
    case RPC_KV_GETSET:
        return OPTIONS_WRITE | BIT(ttl_ms) | BIT(if_rev);
    case RPC_KV_DEL:
        return OPTIONS_WRITE | BIT(if_rev);
    case RPC_KV_CAS:
    case RPC_KV_INCR:
    case RPC_KV_TXN:
        return OPTIONS_WRITE;
    case RPC_KV_DELRANGE:
        return OPTIONS_WRITE | BIT(limit);
    case RPC_CLUSTER_SET_W:
        return OPTIONS_ANY;
    case RPC_LOCK_ACQUIRE:
    case RPC_SEM_ACQUIRE:
        return OPTIONS_ANY | BIT(ttl_ms) | BIT(wait_ms) | BIT(owner) | BIT(value);
    case RPC_ELECTION_CAMPAIGN:
        return OPTIONS_ANY | BIT(ttl_ms) | BIT(wait_ms) | BIT(owner);
    case RPC_LOCK_RELEASE:
    case RPC_SEM_RELEASE:
    case RPC_ELECTION_RESIGN:
        return OPTIONS_ANY | BIT(owner);
    case RPC_HELLO:
        return OPTIONS_ANY | BIT(level) | BIT(leaders);
    case RPC_KV_WATCH:
        return OPTIONS_ANY | BIT(prefix) | BIT(prev) | BIT(only) | BIT(pos) |
               BIT(group);
    default:
        return rpc_method_lock(method) == RPC_UNKNOWN ? OPTIONS_ANY | BIT(level)
                                                      : OPTIONS_ANY;
    }
}

static bool option_find(struct kv_bytes name, uint32_t *out)
{
    for (uint32_t i = 0; i < RPC_OPTIONS_COUNT; i++) {
        if (kv_bytes_equal(kv_bytes_str(option_names[i]), name)) {
            *out = i;
            return true;
        }
    }
    return false;
}

/* A number in [least, most]. */
static int option_u32(const struct request_parse *p, uint32_t option,
                      const msgpack_object *o, uint32_t least, uint32_t *out)
{
    uint32_t most = KV_OPTION_MS_MAX;
    uint32_t value;

    if (option == RPC_OPT_r || option == RPC_OPT_w) {
        most = KV_QUORUM_MAX;
    } else if (option == RPC_OPT_limit) {
        most = KV_RANGE_ITEMS_MAX;
    } else if (option == RPC_OPT_ttl_ms &&
               rpc_method_lock(p->q->method) == RPC_UNKNOWN) {
        most = KV_TTL_MS_MAX;
    } else if (option == RPC_OPT_idem_ttl_ms) {
        most = KV_IDEM_TTL_MS_MAX;
    }
    if (!unpack_u32(o, most, &value) || value < least) {
        return rpc_error_set(p->error, KV_EBADREQUEST,
                             "%s: option %s must be an int from %u to %u",
                             request_name(p), option_names[option], least, most);
    }
    *out = value;
    return 0;
}

static int option_u64(const struct request_parse *p, uint32_t option,
                      const msgpack_object *o, uint64_t *out)
{
    if (!unpack_uint(o, UINT64_MAX, out)) {
        return rpc_error_set(p->error, KV_EBADREQUEST,
                             "%s: option %s must be an int, not negative",
                             request_name(p), option_names[option]);
    }
    return 0;
}

static int option_opaque(const struct request_parse *p, uint32_t option,
                         const msgpack_object *o, struct kv_bytes *out)
{
    size_t most = option == RPC_OPT_idem ? KV_IDEM_BYTES_MAX : KV_OPAQUE_BYTES_MAX;

    if (!unpack_bytes(o, out) || out->len == 0 || out->len > most) {
        return rpc_error_set(p->error, KV_EBADREQUEST,
                             "%s: option %s must be bin or str of 1 to %zu bytes",
                             request_name(p), option_names[option], most);
    }
    return 0;
}

/* Its content is judged by who knows the cluster (rpc/token.h). */
static int option_token(const struct request_parse *p, uint32_t option,
                        const msgpack_object *o, struct kv_bytes *out)
{
    if (!unpack_bytes(o, out) || out->len > KV_TOKEN_BYTES_MAX) {
        return rpc_error_set(p->error, KV_EBADREQUEST,
                             "%s: option %s must be bin or str of 0 to %d bytes",
                             request_name(p), option_names[option], KV_TOKEN_BYTES_MAX);
    }
    return 0;
}

static int option_only(const struct request_parse *p, const msgpack_object *o)
{
    struct kv_bytes name;

    if (unpack_bytes(o, &name)) {
        p->q->options.only = kv_bytes_equal(name, kv_bytes_str("put"))   ? RPC_ONLY_PUT
                             : kv_bytes_equal(name, kv_bytes_str("del")) ? RPC_ONLY_DEL
                                                                         : 0;
    }
    return p->q->options.only != 0
               ? 0
               : rpc_error_set(p->error, KV_EBADREQUEST,
                               "%s: option only must be put or del", request_name(p));
}

static int option_bool(const struct request_parse *p, uint32_t option,
                       const msgpack_object *o, bool *out)
{
    return unpack_bool(o, out) ? 0
                               : rpc_error_set(p->error, KV_EBADREQUEST,
                                               "%s: option %s must be true or false",
                                               request_name(p), option_names[option]);
}

static int option_fence(const struct request_parse *p, const msgpack_object *o)
{
    struct rpc_options *options = &p->q->options;

    if (!unpack_is_array(o, 2) ||
        !unpack_uint(&o->via.array.ptr[1], UINT64_MAX, &options->fence_token)) {
        return rpc_error_set(p->error, KV_EBADREQUEST,
                             "%s: option fence must be [lock, token]", request_name(p));
    }
    if (!unpack_bytes(&o->via.array.ptr[0], &options->fence_lock) ||
        options->fence_lock.len == 0 ||
        options->fence_lock.len > KV_LOCK_NAME_BYTES_MAX || options->fence_token == 0) {
        return rpc_error_set(
            p->error, KV_EBADREQUEST,
            "%s: option fence must be [lock, token] with a lock of 1 to "
            "%d bytes and a token of at least 1",
            request_name(p), KV_LOCK_NAME_BYTES_MAX);
    }
    return 0;
}

static int option_level(const struct request_parse *p, const msgpack_object *o)
{
    struct kv_bytes name;

    if (!unpack_bytes(o, &name) || !method_find_level(name, &p->q->options.level)) {
        return rpc_error_set(
            p->error, KV_EBADREQUEST,
            "%s: option level must be linearizable, quorum, session or stale",
            request_name(p));
    }
    return 0;
}

static int option_value(const struct request_parse *p, uint32_t option,
                        const msgpack_object *o)
{
    struct rpc_options *options = &p->q->options;

    switch ((enum rpc_option)option) {
    case RPC_OPT_level:
        return option_level(p, o);
    case RPC_OPT_r:
        return option_u32(p, option, o, 1, &options->r);
    case RPC_OPT_w:
        return option_u32(p, option, o, 1, &options->w);
    case RPC_OPT_limit:
        return option_u32(p, option, o, 1, &options->limit);
    case RPC_OPT_deadline_ms:
        return option_u32(p, option, o, 1, &options->deadline_ms);
    case RPC_OPT_ttl_ms:
        return option_u32(p, option, o, 1, &options->ttl_ms);
    case RPC_OPT_max_age_ms:
        return option_u32(p, option, o, 0, &options->max_age_ms);
    case RPC_OPT_wait_ms:
        return option_u32(p, option, o, 0, &options->wait_ms);
    case RPC_OPT_if_rev:
        return option_u64(p, option, o, &options->if_rev);
    case RPC_OPT_session:
        return option_u64(p, option, o, &options->session);
    case RPC_OPT_seq:
        return option_u64(p, option, o, &options->seq);
    case RPC_OPT_ack:
        return option_u64(p, option, o, &options->ack);
    case RPC_OPT_idem_ttl_ms:
        return option_u32(p, option, o, 1, &options->idem_ttl_ms);
    case RPC_OPT_stamp:
        return option_u64(p, option, o, &options->stamp);
    case RPC_OPT_idem:
        return option_opaque(p, option, o, &options->idem);
    case RPC_OPT_token:
        return option_token(p, option, o, &options->token);
    case RPC_OPT_pos:
        return option_token(p, option, o, &options->pos);
    case RPC_OPT_group:
        return option_u32(p, option, o, 1, &options->group);
    case RPC_OPT_only:
        return option_only(p, o);
    case RPC_OPT_prefix:
        return option_bool(p, option, o, &options->prefix);
    case RPC_OPT_prev:
        return option_bool(p, option, o, &options->prev);
    case RPC_OPT_leaders:
        return option_bool(p, option, o, &options->leaders);
    case RPC_OPT_fence:
        return option_fence(p, o);
    case RPC_OPT_owner:
        return option_opaque(p, option, o, &options->owner);
    case RPC_OPT_value:
        return option_opaque(p, option, o, &options->value);
    case RPC_OPT_forward:
        return option_bool(p, option, o, &options->forward);
    case RPC_OPTIONS_COUNT:
        break;
    }
    KV_UNREACHABLE();
}

/* One key and value of the map; *io_seen has a bit per option met. */
static int request_option(const struct request_parse *p, const msgpack_object_kv *pair,
                          uint32_t *io_seen)
{
    char quoted[TEXT_QUOTE_BYTES];
    struct kv_bytes name;
    uint32_t option;
    int rc;

    if (!unpack_bytes(&pair->key, &name)) {
        return rpc_error_set(p->error, KV_EBADREQUEST,
                             "%s: names of options must be str, got %s",
                             request_name(p), unpack_type_name(&pair->key));
    }
    if (!option_find(name, &option)) {
        /* hello takes what it does not know: later clients introduce themselves. */
        return p->q->method == RPC_HELLO
                   ? 0
                   : rpc_error_set(p->error, KV_EBADREQUEST, "%s: unknown option %s",
                                   request_name(p), text_quote(name, quoted));
    }
    if ((*io_seen & RPC_OPT_BIT(option)) != 0) {
        return rpc_error_set(p->error, KV_EBADREQUEST, "%s: option %s is given twice",
                             request_name(p), option_names[option]);
    }
    *io_seen |= RPC_OPT_BIT(option);
    if (unpack_is_nil(&pair->val)) {
        return 0;
    }
    if ((request_options_of(p->q->method) & RPC_OPT_BIT(option)) == 0) {
        return rpc_error_set(p->error, KV_EBADREQUEST, "%s takes no option %s",
                             request_name(p), option_names[option]);
    }
    rc = option_value(p, option, &pair->val);
    if (rc == 0) {
        p->q->options.has |= RPC_OPT_BIT(option);
    }
    return rc;
}

/* Options of exactly once: which need which. */
static int request_once(const struct request_parse *p)
{
    const struct rpc_options *o = &p->q->options;
    const char *why = NULL;

    if ((o->has & (BIT(session) | BIT(idem))) == (BIT(session) | BIT(idem))) {
        why = "takes session or idem, not both";
    } else if ((o->has & BIT(session)) != 0 && o->session == 0) {
        why = "option session must not be 0";
    } else if ((o->has & BIT(session)) != 0 && (o->has & BIT(seq)) == 0) {
        why = "option session needs seq";
    } else if ((o->has & (BIT(seq) | BIT(ack))) != 0 && (o->has & BIT(session)) == 0) {
        why = "options seq and ack need session";
    } else if ((o->has & BIT(ack)) != 0 && o->ack > o->seq) {
        why = "option ack must not be above seq";
    } else if ((o->has & (BIT(session) | BIT(idem))) != 0 &&
               (o->has & BIT(stamp)) == 0) {
        why = "options session and idem need stamp: the cluster's time of the first "
              "sending, in ms";
    } else if ((o->has & BIT(idem_ttl_ms)) != 0 && (o->has & BIT(idem)) == 0) {
        why = "option idem_ttl_ms needs idem";
    } else if ((o->has & BIT(stamp)) != 0 &&
               (o->has & (BIT(session) | BIT(idem))) == 0) {
        why = "option stamp needs session or idem";
    }
    return why == NULL ? 0
                       : rpc_error_set(p->error, KV_EBADREQUEST, "%s: %s",
                                       request_name(p), why);
}

static int request_options(const struct request_parse *p, const msgpack_object *o)
{
    uint32_t seen = 0;

    if (unpack_is_nil(o)) {
        return 0;
    }
    if (o->type != MSGPACK_OBJECT_MAP) {
        return rpc_error_set(p->error, KV_EBADREQUEST,
                             "%s: the options must be a map, got %s", request_name(p),
                             unpack_type_name(o));
    }
    for (uint32_t i = 0; i < o->via.map.size; i++) {
        int rc = request_option(p, &o->via.map.ptr[i], &seen);

        if (rc != 0) {
            return rc;
        }
    }
    return request_once(p);
}

int rpc_options_refuse(const struct rpc_options *options, uint32_t levels,
                       struct rpc_error *out_error)
{
    for (uint32_t i = 0; i < RPC_OPTIONS_COUNT; i++) {
        if ((options->has & RPC_OPTIONS_RESERVED & RPC_OPT_BIT(i)) != 0) {
            return rpc_error_set(out_error, KV_EBADREQUEST,
                                 "option %s is not served by this version",
                                 option_names[i]);
        }
    }
    if ((levels & (1u << options->level)) == 0) {
        return rpc_error_set(out_error, KV_EBADREQUEST,
                             "level %s is not served by this version",
                             rpc_level_name(options->level));
    }
    return 0;
}

/* ---- parameters ---- */

/* Bytes of least..most; `what` names the parameter, `number` counts from 1. */
struct request_field {
    const char *what;
    uint32_t number;
    uint32_t least;
    uint32_t most;
};

static int request_bytes(const struct request_parse *p, const msgpack_object *o,
                         const struct request_field *field, struct kv_bytes *out)
{
    if (!unpack_bytes(o, out)) {
        return rpc_error_set(p->error, KV_EBADREQUEST,
                             "%s: parameter %u (%s) must be bin or str, got %s",
                             request_name(p), field->number, field->what,
                             unpack_type_name(o));
    }
    if (out->len < field->least) {
        return rpc_error_set(p->error, KV_EBADREQUEST, "%s: parameter %u (%s) is empty",
                             request_name(p), field->number, field->what);
    }
    if (out->len > field->most) {
        return rpc_error_set(
            p->error, KV_ETOOLARGE,
            "%s: parameter %u (%s) has %zu bytes, at most %u are allowed",
            request_name(p), field->number, field->what, out->len, field->most);
    }
    return 0;
}

static int request_value(const struct request_parse *p, const msgpack_object *params,
                         uint32_t number, const char *what, struct kv_bytes *out)
{
    struct request_field field = {what, number, 0, KV_VALUE_BYTES_MAX};

    return request_bytes(p, &params[number - 1], &field, out);
}

/* A value or nil. */
static int request_value_or_nil(const struct request_parse *p,
                                const msgpack_object *params,
                                const struct request_field *field, bool *out_has,
                                struct kv_bytes *out)
{
    const msgpack_object *o = &params[field->number - 1];

    *out_has = !unpack_is_nil(o);
    return *out_has ? request_bytes(p, o, field, out) : 0;
}

/* A bound of a range: bytes, empty or nil. */
static int request_bound(const struct request_parse *p, const msgpack_object *params,
                         uint32_t number, const char *what, struct kv_bytes *out)
{
    struct request_field field = {what, number, 0, KV_BOUND_BYTES_MAX};
    bool has;

    return request_value_or_nil(p, params, &field, &has, out);
}

static int request_cas(const struct request_parse *p, const msgpack_object *params)
{
    struct request_field expected = {"expected", 2, 0, KV_VALUE_BYTES_MAX};
    struct request_field replacement = {"new", 3, 0, KV_VALUE_BYTES_MAX};
    struct rpc_request *q = p->q;
    int rc = request_value_or_nil(p, params, &expected, &q->has_expected, &q->expected);

    if (rc != 0) {
        return rc;
    }
    return request_value_or_nil(p, params, &replacement, &q->has_replacement,
                                &q->replacement);
}

static int request_delta(const struct request_parse *p, const msgpack_object *o)
{
    if (!unpack_int(o, &p->q->delta)) {
        return rpc_error_set(
            p->error, KV_EBADREQUEST,
            "%s: parameter 2 (delta) must be an int of 64 bits, got %s",
            request_name(p), unpack_type_name(o));
    }
    return 0;
}

/* The parameters of lock.*, sem.* and election.*. */
static int request_lock(const struct request_parse *p, const msgpack_object *params)
{
    struct request_field name = {"name", 1, 1, KV_LOCK_NAME_BYTES_MAX};
    struct request_field value = {"value", 2, 0, KV_LOCK_VALUE_BYTES_MAX};
    struct rpc_request *q = p->q;
    int rc = request_bytes(p, &params[0], &name, &q->key);

    if (rc != 0) {
        return rc;
    }
    q->permits = 1;
    switch (q->method) {
    case RPC_LOCK_ACQUIRE:
        return 0;
    case RPC_ELECTION_CAMPAIGN:
        return request_bytes(p, &params[1], &value, &q->value);
    case RPC_SEM_ACQUIRE:
        if (!unpack_u32(&params[1], KV_LOCK_PERMITS_MAX, &q->permits) ||
            q->permits == 0) {
            return rpc_error_set(
                p->error, KV_EBADREQUEST,
                "%s: parameter 2 (permits) must be an int from 1 to %d",
                request_name(p), KV_LOCK_PERMITS_MAX);
        }
        return 0;
    default:
        break;
    }
    if (rpc_method_lock(q->method) != RPC_LOCK_INFO &&
        !unpack_uint(&params[1], UINT64_MAX, &q->token)) {
        return rpc_error_set(p->error, KV_EBADREQUEST,
                             "%s: parameter 2 (token) must be an int, not negative",
                             request_name(p));
    }
    return 0;
}

/* What a lock's parameters and options must be together. */
static int request_lock_check(const struct request_parse *p)
{
    struct rpc_request *q = p->q;
    const struct rpc_options *o = &q->options;

    if (o->owner.len > KV_LOCK_OWNER_BYTES_MAX) {
        return rpc_error_set(p->error, KV_EBADREQUEST,
                             "%s: option owner must have 1 to %d bytes",
                             request_name(p), KV_LOCK_OWNER_BYTES_MAX);
    }
    if (o->value.len > KV_LOCK_VALUE_BYTES_MAX) {
        return rpc_error_set(p->error, KV_EBADREQUEST,
                             "%s: option value must have 1 to %d bytes",
                             request_name(p), KV_LOCK_VALUE_BYTES_MAX);
    }
    if ((o->has & BIT(ttl_ms)) != 0 && o->ttl_ms < KV_LOCK_TTL_MS_MIN) {
        return rpc_error_set(p->error, KV_EBADREQUEST,
                             "%s: option ttl_ms must be at least %d", request_name(p),
                             KV_LOCK_TTL_MS_MIN);
    }
    if (rpc_method_lock(q->method) == RPC_LOCK_ACQUIRE && o->owner.len == 0) {
        return rpc_error_set(p->error, KV_EBADREQUEST,
                             "%s: option owner is needed: a name that no other holder "
                             "has, the same when asking again",
                             request_name(p));
    }
    if (rpc_method_lock(q->method) == RPC_LOCK_RELEASE && q->token == 0 &&
        o->owner.len == 0) {
        return rpc_error_set(p->error, KV_EBADREQUEST,
                             "%s: token 0 needs the option owner", request_name(p));
    }
    if ((o->has & BIT(value)) != 0) {
        q->value = o->value;
    }
    return 0;
}

static int request_set_w(const struct request_parse *p, const msgpack_object *params)
{
    if (!unpack_u32(&params[0], KV_GROUPS_MAX - 1, &p->q->group) ||
        !unpack_u32(&params[1], KV_QUORUM_MAX, &p->q->w)) {
        return rpc_error_set(p->error, KV_EBADREQUEST,
                             "%s: parameters must be a group, 0 to %d, and W, 0 to %d",
                             request_name(p), KV_GROUPS_MAX - 1, KV_QUORUM_MAX);
    }
    return 0;
}

static int request_txn(const struct request_parse *p, const msgpack_object *params)
{
    int rc = 0;

    for (uint32_t i = 0; i < RPC_TXN_LISTS_COUNT && rc == 0; i++) {
        rc = rpc_txn_decode(&params[i], (enum rpc_txn_list)i, &p->q->txn[i], p->error);
    }
    return rc;
}

static int request_session(const struct request_parse *p, const msgpack_object *o)
{
    if (!unpack_uint(o, UINT64_MAX, &p->q->session) || p->q->session == 0) {
        return rpc_error_set(p->error, KV_EBADREQUEST,
                             "%s: parameter 1 (session) must be an int above 0",
                             request_name(p));
    }
    return 0;
}

/* A key, or [begin, end]. An empty key is the prefix of all; request_watch() checks. */
static int request_watched(const struct request_parse *p, const msgpack_object *params)
{
    struct request_field key = {"key", 1, 0, KV_KEY_BYTES_MAX};
    struct rpc_request *q = p->q;
    int rc;

    if (params[0].type != MSGPACK_OBJECT_ARRAY) {
        return request_bytes(p, &params[0], &key, &q->key);
    }
    if (!unpack_is_array(&params[0], 2)) {
        return rpc_error_set(p->error, KV_EBADREQUEST,
                             "%s: parameter 1 must be a key or [begin, end]",
                             request_name(p));
    }
    q->is_range = true;
    rc = request_bound(p, params[0].via.array.ptr, 1, "begin", &q->begin);
    return rc != 0 ? rc : request_bound(p, params[0].via.array.ptr, 2, "end", &q->end);
}

/* What a watch's parameter and options say together. */
static int request_watch(const struct request_parse *p)
{
    const struct rpc_request *q = p->q;
    const char *why = NULL;

    if (q->is_range && q->options.prefix) {
        why = "option prefix needs a key, not [begin, end]";
    } else if (q->is_range && q->end.len > 0 &&
               kv_bytes_compare(q->begin, q->end) >= 0) {
        why = "no key lies in this range";
    } else if (!q->is_range && !q->options.prefix && q->key.len == 0) {
        why = "parameter 1 (key) is empty";
    }
    return why == NULL ? 0
                       : rpc_error_set(p->error, KV_EBADREQUEST, "%s: %s",
                                       request_name(p), why);
}

static int request_unwatch(const struct request_parse *p, const msgpack_object *o)
{
    return unpack_uint(o, UINT64_MAX, &p->q->watch)
               ? 0
               : rpc_error_set(p->error, KV_EBADREQUEST,
                               "%s: parameter 1 (watch) must be an int",
                               request_name(p));
}

/* The parameters in front of the options. */
static int request_params(const struct request_parse *p, const msgpack_object *params)
{
    struct request_field key = {"key", 1, KV_KEY_BYTES_MIN, KV_KEY_BYTES_MAX};
    struct rpc_request *q = p->q;
    int rc = 0;

    switch (q->method) {
    case RPC_KV_GET:
    case RPC_KV_DEL:
        return request_bytes(p, &params[0], &key, &q->key);
    case RPC_KV_PUT:
    case RPC_KV_GETSET:
        rc = request_bytes(p, &params[0], &key, &q->key);
        return rc != 0 ? rc : request_value(p, params, 2, "value", &q->value);
    case RPC_KV_CAS:
        rc = request_bytes(p, &params[0], &key, &q->key);
        return rc != 0 ? rc : request_cas(p, params);
    case RPC_KV_INCR:
        rc = request_bytes(p, &params[0], &key, &q->key);
        return rc != 0 ? rc : request_delta(p, &params[1]);
    case RPC_KV_RANGE:
    case RPC_KV_DELRANGE:
        rc = request_bound(p, params, 1, "begin", &q->begin);
        return rc != 0 ? rc : request_bound(p, params, 2, "end", &q->end);
    case RPC_CLUSTER_SET_W:
        return request_set_w(p, params);
    case RPC_KV_TXN:
        return request_txn(p, params);
    case RPC_SESSION_KEEPALIVE:
    case RPC_SESSION_CLOSE:
        return request_session(p, &params[0]);
    case RPC_KV_WATCH:
        return request_watched(p, params);
    case RPC_KV_UNWATCH:
        return request_unwatch(p, &params[0]);
    default: /* hello, session.open, cluster.status, cluster.map: options only. */
        return rpc_method_lock(q->method) == RPC_UNKNOWN ? 0 : request_lock(p, params);
    }
}

/* ---- the whole ---- */

void rpc_request_init(struct rpc_request *q, enum rpc_method method, uint32_t msgid)
{
    *q = (struct rpc_request){
        .method = method,
        .msgid = msgid,
        .options = {.forward = true},
    };
}

/* Type and msgid: without them there is nobody to answer. */
static int request_head(const msgpack_object *o, struct rpc_request *out)
{
    const msgpack_object *items = o->via.array.ptr;
    uint32_t type;

    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size < 3 ||
        o->via.array.size > 4 || !unpack_u32(&items[0], RPC_NOTIFICATION, &type) ||
        type == RPC_RESPONSE) {
        return KV_EPROTO;
    }
    if (o->via.array.size != (type == RPC_NOTIFICATION ? 3u : 4u)) {
        return KV_EPROTO;
    }
    if (type == RPC_REQUEST && !unpack_u32(&items[1], UINT32_MAX, &out->msgid)) {
        return KV_EPROTO;
    }
    out->type = (enum rpc_type)type;
    return 0;
}

static int request_method(const struct request_parse *p, const msgpack_object *o)
{
    char quoted[TEXT_QUOTE_BYTES];
    struct kv_bytes name;

    if (!unpack_bytes(o, &name)) {
        return rpc_error_set(p->error, KV_EBADREQUEST, "the method must be str, got %s",
                             unpack_type_name(o));
    }
    p->q->method = method_find(name);
    if (p->q->method == RPC_UNKNOWN) {
        return rpc_error_set(p->error, KV_EBADREQUEST, "unknown method %s",
                             text_quote(name, quoted));
    }
    if (!method_rows[p->q->method].served) {
        return rpc_error_set(p->error, KV_EBADREQUEST,
                             "method %s is not served by this version",
                             request_name(p));
    }
    return 0;
}

static int request_body(const struct request_parse *p, const msgpack_object *params)
{
    const struct method_row *row = &method_rows[p->q->method];
    uint32_t count;
    int rc;

    if (params->type != MSGPACK_OBJECT_ARRAY) {
        return rpc_error_set(p->error, KV_EBADREQUEST,
                             "%s: the parameters must be an array, got %s",
                             request_name(p), unpack_type_name(params));
    }
    count = params->via.array.size;
    if (count < row->params_min || count > row->params_max) {
        return rpc_error_set(p->error, KV_EBADREQUEST,
                             "%s: %u parameters, expected %d to %d", request_name(p),
                             count, row->params_min, row->params_max);
    }
    rc = request_params(p, params->via.array.ptr);
    if (rc == 0 && count > row->params_min) {
        rc = request_options(p, &params->via.array.ptr[count - 1]);
    }
    if (rc == 0 && rpc_method_lock(p->q->method) != RPC_UNKNOWN) {
        rc = request_lock_check(p);
    }
    return rc == 0 && p->q->method == RPC_KV_WATCH ? request_watch(p) : rc;
}

int rpc_request_decode(struct rpc_decoder *d, struct kv_bytes message,
                       struct rpc_request *out, struct rpc_error *out_error)
{
    struct request_parse p = {.q = out, .error = out_error};
    const msgpack_object *method;
    msgpack_object o;
    int rc;

    rpc_request_init(out, RPC_UNKNOWN, 0);
    rc = unpack_message(d, message, &o);
    if (rc == 0) {
        rc = request_head(&o, out);
    }
    if (rc == KV_ENOMEM) {
        /* The head needs no memory: say who is to be answered. */
        out->type = RPC_NOTIFICATION;
        if (rpc_peek(message, &out->type, &out->msgid) != 0) {
            rc = KV_EPROTO;
        }
    }
    if (rc != 0) {
        return rpc_error_set(out_error, rc,
                             rc == KV_ENOMEM ? "out of memory"
                                             : "not a MessagePack-RPC request");
    }
    method = &o.via.array.ptr[out->type == RPC_NOTIFICATION ? 1 : 2];
    rc = request_method(&p, method);
    return rc != 0 ? rc : request_body(&p, method + 1);
}
