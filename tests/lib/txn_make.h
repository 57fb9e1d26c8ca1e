/* tests/lib/txn_make.h - lists of kv.txn made into the body of a command.
 *
 * Needs:    cmocka, server/txn.h.
 * Used by:  tests/server/test_txn.c, test_apply_txn.c, test_pending.c.
 * Threads:  one.
 */
#ifndef KV_TESTS_LIB_TXN_MAKE_H
#define KV_TESTS_LIB_TXN_MAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/txn.h"

/* Sends the lists as a client, reads them as a server and encodes them. Returns what
 * txn_encode() does. */
static inline int txn_make(const struct rpc_txn *txn, struct arena *arena,
                           struct kv_bytes *out_body, uint16_t *out_slot,
                           struct rpc_error *out_error)
{
    struct rpc_decoder decoder;
    struct rpc_request q;
    struct buf params;
    struct buf message;
    int rc;

    buf_init(&params, KV_REQUEST_BYTES_MAX);
    buf_init(&message, KV_REQUEST_BYTES_MAX);
    assert_int_equal(rpc_decoder_init(&decoder), 0);
    rpc_txn_encode(&params, txn);
    rpc_request_init(&q, RPC_KV_TXN, 1);
    q.type = RPC_REQUEST;
    q.txn_packed = buf_bytes(&params);
    rpc_request_encode(&message, &q);
    assert_int_equal(message.error, 0);
    rc = rpc_request_decode(&decoder, buf_bytes(&message), &q, out_error);
    assert_int_equal(rc, 0);
    rc = txn_encode(&q, arena, out_body, out_slot, out_error);
    rpc_decoder_close(&decoder);
    buf_close(&params);
    buf_close(&message);
    return rc;
}

#endif
