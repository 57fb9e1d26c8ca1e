/* client/errors.c - what libkv says about errors: codes, words, one-line texts. */
#include "client/client.h"

#include <stdio.h>

/* The public numbers are those of the house; the public header needs none of ours. */
#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #theirs)

SAME(KV_OUTCOME_DONE, KV_DONE);
SAME(KV_OUTCOME_NOT_DONE, KV_NOT_DONE);
SAME(KV_OUTCOME_UNKNOWN, KV_UNKNOWN);
SAME(KV_EBADREQUEST, KV_ERR_BAD_REQUEST);
SAME(KV_ETOOLARGE, KV_ERR_TOO_LARGE);
SAME(KV_EBADQUORUM, KV_ERR_BAD_QUORUM);
SAME(KV_ECROSSSLOT, KV_ERR_CROSS_SLOT);
SAME(KV_EFENCED, KV_ERR_FENCED);
SAME(KV_ESESSION, KV_ERR_SESSION_EXPIRED);
SAME(KV_ENOTLEADER, KV_ERR_NOT_LEADER);
SAME(KV_ENOLEADER, KV_ERR_NO_LEADER);
SAME(KV_ETIMEOUT, KV_ERR_TIMEOUT);
SAME(KV_EBUSY, KV_ERR_BUSY);
SAME(KV_ENOSPACE, KV_ERR_NO_SPACE);
SAME(KV_EDAMAGED, KV_ERR_DAMAGED);
SAME(KV_ECOMPACTED, KV_ERR_COMPACTED);
SAME(KV_EOVERFLOW, KV_ERR_OVERFLOW);
SAME(KV_EDENIED, KV_ERR_DENIED);
SAME(KV_EUNKNOWN, KV_ERR_UNKNOWN);
SAME(KV_ENOMEM, KV_ERR_NO_MEMORY);
SAME(KV_EINVAL, KV_ERR_INVALID);
SAME(KV_EPROTO, KV_ERR_PROTOCOL);
SAME(KV_EIO, KV_ERR_IO);
SAME(KV_ECONNECT, KV_ERR_CONNECT);
SAME(KV_ECLOSED, KV_ERR_CLOSED);
SAME(RPC_LINEARIZABLE, KV_LEVEL_LINEARIZABLE);
SAME(RPC_QUORUM, KV_LEVEL_QUORUM);
SAME(RPC_SESSION, KV_LEVEL_SESSION);
SAME(RPC_STALE, KV_LEVEL_STALE);
SAME(KV_SLOTS, KV_SLOTS_COUNT);

enum {
    KEY_SHOWN_MAX = 40, /* Bytes of a key that a text quotes. */
};

const char *kv_strerror(int error)
{
    switch (error) {
    case KV_OK:
        return "success";
    case KV_ECLOSED:
        return "the connection broke or the client was closed";
    case KV_EIO:
        return "a system call failed";
    case KV_EBUSY:
        return "too much is under way, on the server or in this client";
    default:
        return kv_err_text(error);
    }
}

const char *kv_errname(int error)
{
    switch (error) {
    case KV_OK:
        return "OK";
    case KV_ENOMEM:
        return "NO_MEMORY";
    case KV_EINVAL:
        return "INVALID";
    case KV_EPROTO:
        return "PROTOCOL";
    case KV_EIO:
        return "IO";
    case KV_ECONNECT:
        return "CONNECT";
    case KV_ECLOSED:
        return "CLOSED";
    default:
        return kv_err_word(error)[0] != '\0' ? kv_err_word(error) : "ERROR";
    }
}

/* Quotes a key so that any bytes stay on one line; `out` has room for 4 bytes each. */
static void key_quote(struct kv_bytes key, char *out)
{
    static const char digits[] = "0123456789abcdef";
    size_t i;

    *out++ = '"';
    for (i = 0; i < key.len && i < KEY_SHOWN_MAX; i++) {
        uint8_t c = key.data[i];

        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
            *out++ = (char)c;
            continue;
        }
        *out++ = '\\';
        *out++ = 'x';
        *out++ = digits[c >> 4];
        *out++ = digits[c & 15];
    }
    if (i < key.len) {
        memcpy(out, "...", 3);
        out += 3;
    }
    *out++ = '"';
    *out = '\0';
}

/* What to do next, by what is known. */
static const char *next_step(int error, enum kv_outcome outcome)
{
    if (outcome == KV_OUTCOME_UNKNOWN) {
        return "; it may or may not have been applied: read before you write again";
    }
    switch (error) {
    case KV_ECONNECT:
        return "; is the cluster up, are the endpoints right?";
    case KV_ENOLEADER:
    case KV_EBUSY:
    case KV_ETIMEOUT:
    case KV_ECLOSED:
        return "; it was not applied: try again";
    default:
        return "";
    }
}

void kv_call_text(const struct kv_call *call, int error, enum kv_outcome outcome,
                  char *text)
{
    char key[4 * KEY_SHOWN_MAX + 8] = "";
    const char *method = rpc_method_name(call->request.method);
    const char *cause = call->last_cause;

    if (call->request.key.len > 0) {
        key[0] = ' ';
        key_quote(call->request.key, key + 1);
    }
    if (cause[0] == '\0') {
        cause = kv_strerror(error);
    }
    (void)snprintf(
        text, CLIENT_TEXT_MAX, "%s%s: %s: %s%s%s%s%s", method, key, kv_errname(error),
        cause, call->last != NULL ? " (" : "",
        call->last != NULL ? call->last->name : "", call->last != NULL ? ")" : "",
        call->op == KV_OP_GET || call->op == KV_OP_RANGE ? ""
                                                         : next_step(error, outcome));
}

const char *kv_version(void)
{
    return KV_VERSION_STRING;
}
