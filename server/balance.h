/* server/balance.h - leaders go back to where the map wants them, one at a time.
 *
 * After restarts a few nodes lead everything. Each node looks at the groups that it
 * leads itself: when a group's preferred node is up for a while, caught up, and
 * nothing has been changing, leadership is handed over. Never more than one at a time,
 * and never to a node that lags.
 *
 * Needs:    server/node.h, peers.h, placement.h.
 * Used by:  server/node*.c.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_BALANCE_H
#define KV_SERVER_BALANCE_H

#include "server/node.h"

enum {
    BALANCE_FEW = 64,          /* Groups led here, above which it goes faster. */
    BALANCE_EVERY_MS_MIN = 50, /* And so fast at most. */
    BALANCE_EVERY_MS = 1000,   /* At most one transfer in this time. */
    BALANCE_STABLE_MS = 5000,  /* Without links lost or elections won here. */
    BALANCE_AGAIN_MS = 10000,  /* A group whose transfer failed is left alone. */
    BALANCE_LAG_MAX = 64,      /* Entries that the target may miss. */
};

KV_MUST_CHECK int balance_new(struct balance **out);
void balance_free(struct balance *b);

/* The node began or ceased to lead a group, or its leader changed. */
void balance_note(struct node *n, group_id group, bool leads);
/* A link was lost: wait until things are quiet. */
void balance_disturbed(struct node *n);
void balance_tick(struct node *n);
uint64_t balance_deadline_ms(const struct node *n);
/* Tests switch it off. */
void balance_enable(struct node *n, bool on);

/* Groups led here; and transfers that it began. */
uint32_t balance_leading(const struct node *n);
uint64_t balance_transfers(const struct node *n);

#endif
