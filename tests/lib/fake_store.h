/* tests/lib/fake_store.h - the naive store behind the fake server: a sorted array.
 *
 * Needs:    rpc/.
 * Used by:  tests/lib/fake_server.
 * Threads:  one owner at a time.
 */
#ifndef KV_TESTS_LIB_FAKE_STORE_H
#define KV_TESTS_LIB_FAKE_STORE_H

#include "rpc/msg.h"

enum {
    FAKE_ITEMS_MAX = 4096,
    FAKE_RECORDS_MAX = 4096,
};

/* What came of an incr with a session, or with an idempotency key (session 0). */
struct fake_record {
    uint64_t session;
    uint64_t seq;
    char idem[32];
    int64_t number;
    uint64_t rev;
};

struct fake_store {
    uint64_t rev;
    uint64_t cluster; /* What hello says. */
    uint64_t time_ms; /* What hello says, 1. */
    uint32_t limit;   /* Of items in a range; 0: as asked. */
    uint32_t records_count;
    struct fake_record records[FAKE_RECORDS_MAX];
    uint32_t count;
    struct rpc_item items[FAKE_ITEMS_MAX]; /* Ascending keys; bytes are its own. */
};

void fake_store_init(struct fake_store *s);
void fake_store_close(struct fake_store *s);

/* Carries out a kv.* request (or hello) and appends the reply. */
void fake_store_answer(struct fake_store *s, const struct rpc_request *q,
                       const struct rpc_at *at, struct buf *b);

#endif
