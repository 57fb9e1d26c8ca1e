/* rpc/method.h - the table of methods, as the codecs see it. Private to rpc/.
 *
 * Needs:    rpc/msg.h.
 * Used by:  rpc/msg.c, request.c, reply.c.
 * Threads:  any.
 */
#ifndef KV_RPC_METHOD_H
#define KV_RPC_METHOD_H

#include "rpc/msg.h"

struct method_row {
    const char *name;
    uint8_t name_len;
    uint8_t params_min; /* Without the options. */
    uint8_t params_max; /* With the options. */
    bool served;
};

extern const struct method_row method_rows[RPC_METHODS_COUNT];

/* RPC_UNKNOWN when nobody knows the name. */
enum rpc_method method_find(struct kv_bytes name);

/* False when there is no such level. */
bool method_find_level(struct kv_bytes name, enum rpc_level *out);

#endif
