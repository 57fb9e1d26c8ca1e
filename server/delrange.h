/* server/delrange.h - a range deleted in all groups: one bounded step in each of them.
 *
 * Each group gets a part of its own (FROM_INTERNAL), which is one entry there and
 * deletes at most so many keys. The parts are not one moment, and some may be done
 * where others are not: the answer says what is certain.
 *
 *   all parts done                     result: sum, and the lowest `next`
 *   one unknown                        UNKNOWN
 *   some refused, others deleted       result: `more`, `next` is where it began
 *   some refused, nothing deleted      the first refusal: certainly nothing was done
 *
 * Needs:    server/node.h, request.h, rpc/msg.h.
 * Used by:  server/node_request.c.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_DELRANGE_H
#define KV_SERVER_DELRANGE_H

#include "server/node.h"

/* Takes a decoded kv.delrange of a client. */
void delrange_submit(struct node *n, struct request *req);

#endif
