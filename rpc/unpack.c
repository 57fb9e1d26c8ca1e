/* rpc/unpack.c - one msgpack_unpack() per message, in a zone that is used again. */
#include "rpc/unpack.h"

#include "rpc/text.h"

/* Objects of a usual request take far less, those of a full append about 400 bytes. */
enum {
    UNPACK_ZONE_BYTES = 4096
};

int rpc_decoder_init(struct rpc_decoder *d)
{
    d->zone = msgpack_zone_new(UNPACK_ZONE_BYTES);
    return d->zone == NULL ? KV_ENOMEM : 0;
}

void rpc_decoder_close(struct rpc_decoder *d)
{
    if (d->zone != NULL) {
        msgpack_zone_free(d->zone);
        d->zone = NULL;
    }
}

/* Unpacks the object at *io_at. */
static int unpack_next(struct rpc_decoder *d, struct kv_bytes bytes, size_t *io_at,
                       msgpack_object *out)
{
    switch (msgpack_unpack((const char *)bytes.data, bytes.len, io_at, d->zone, out)) {
    case MSGPACK_UNPACK_SUCCESS:
    case MSGPACK_UNPACK_EXTRA_BYTES:
        return 0;
    case MSGPACK_UNPACK_NOMEM_ERROR:
        return KV_ENOMEM;
    case MSGPACK_UNPACK_CONTINUE:
    case MSGPACK_UNPACK_PARSE_ERROR:
        break;
    }
    return KV_EPROTO;
}

int unpack_message(struct rpc_decoder *d, struct kv_bytes message, msgpack_object *out)
{
    size_t at = 0;
    int rc;

    msgpack_zone_clear(d->zone);
    rc = unpack_next(d, message, &at, out);
    return rc == 0 && at != message.len ? KV_EPROTO : rc;
}

int unpack_pair(struct rpc_decoder *d, struct kv_bytes bytes, msgpack_object *out_first,
                msgpack_object *out_second, size_t *out_second_at)
{
    size_t at = 0;
    int rc;

    msgpack_zone_clear(d->zone);
    rc = unpack_next(d, bytes, &at, out_first);
    if (rc == 0) {
        *out_second_at = at;
        rc = unpack_next(d, bytes, &at, out_second);
    }
    return rc == 0 && at != bytes.len ? KV_EPROTO : rc;
}

bool unpack_name(const msgpack_object *o, size_t least, char *out, size_t size)
{
    struct kv_bytes text;

    if (!unpack_bytes(o, &text) || text.len < least || !text_is_name(text, size - 1)) {
        return false;
    }
    if (text.len > 0) {
        memcpy(out, text.data, text.len);
    }
    out[text.len] = '\0';
    return true;
}

const char *unpack_type_name(const msgpack_object *o)
{
    switch (o->type) {
    case MSGPACK_OBJECT_NIL:
        return "nil";
    case MSGPACK_OBJECT_BOOLEAN:
        return "bool";
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return "int";
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return "float";
    case MSGPACK_OBJECT_STR:
        return "str";
    case MSGPACK_OBJECT_ARRAY:
        return "array";
    case MSGPACK_OBJECT_MAP:
        return "map";
    case MSGPACK_OBJECT_BIN:
        return "bin";
    case MSGPACK_OBJECT_EXT:
    default:
        return "ext";
    }
}
