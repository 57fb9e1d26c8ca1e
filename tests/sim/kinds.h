/* tests/sim/kinds.h - kinds of clients: what they ask, and what they know of it.
 *
 * client.c has the connection, the waiting and the thinking; a kind chooses requests,
 * hears how each of them ended, and says at the end whether what is there is what it
 * was told. Each client of a seed is of one kind. A new kind is a row of KINDS_MAP and
 * a file of its own.
 *
 * Needs:    tests/sim/sim.h, peace.h.
 * Used by:  tests/sim/client.c, swarm.c, options.c, run.c; the kinds' files.
 * Threads:  one.
 */
#ifndef KV_TESTS_SIM_KINDS_H
#define KV_TESTS_SIM_KINDS_H

#include "tests/sim/peace.h"
#include "tests/sim/sim.h"

struct client_kind {
    /* Makes c->own; NULL: it has none. kv_mem_free() frees it, after `close`. */
    void (*open)(struct sim *s, struct sim_client *c);
    void (*close)(struct sim *s, struct sim_client *c);
    /* Picks the client's next request, notes it with ask_begin(), and encodes it.
     * False: nothing now, it thinks again. */
    bool (*choose)(struct sim *s, struct sim_client *c, struct buf *b);
    /* The answer, a success or an error. Ends the request with ask_finish(). */
    void (*answer)(struct sim *s, struct sim_client *c, const struct rpc_reply *r);
    /* It ended without one. NULL: nothing but ask_finish() as unknown. */
    void (*silence)(struct sim *s, struct sim_client *c);
    /* A notification, at any time. NULL: it must not get any. */
    void (*notice)(struct sim *s, struct sim_client *c, struct kv_bytes message);
    /* All is at peace, the last request is over: is everything there? kinds_peek()
     * shows it. NULL: nothing to look at. */
    void (*check)(struct sim *s, struct sim_client *c, const struct peace *p);
};

/* X(name for --kinds, its table) */
#define KINDS_MAP(X)     \
    X(plain, kind_plain) \
    X(once, kind_once)   \
    X(bank, kind_bank)   \
    X(watch, kind_watch) \
    X(lock, kind_lock)

enum kinds_number {
#define KINDS_ENUM(name, table) KINDS_##name,
    KINDS_MAP(KINDS_ENUM)
#undef KINDS_ENUM
    KINDS_COUNT,
};

#define KINDS_DECLARE(name, table) extern const struct client_kind table;
KINDS_MAP(KINDS_DECLARE)
#undef KINDS_DECLARE

/* "once"; NULL behind the last. */
const char *kinds_name(uint32_t number);
/* Which kinds of clients a seed has: bits by number, at least one. */
uint32_t kinds_draw(struct sim *s);
/* The kind of this client: one of the seed's, drawn from the client's own chance. */
const struct client_kind *kinds_of(struct sim *s, struct sim_client *c);

/* The group that owns this key; 0: no node knows the map. */
uint32_t kinds_group_of(const struct sim *s, struct kv_bytes key);

/* What the state holds under this key, at peace. False: no replica has to know. Not
 * found is an empty value. *out lives until the next call. */
bool kinds_peek(struct sim *s, const struct peace *p, struct kv_bytes key,
                struct kv_bytes *out);
/* Calls `check` of all clients. */
void kinds_check(struct sim *s, const struct peace *p);

#endif
