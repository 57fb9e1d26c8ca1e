/* jepsen/env/ends.h - a network namespace per end, and the probe between them.
 *
 * What switch.c and veth.c share: end I (0: the clients) has a namespace without a
 * name, the address 10.119.0.(I + 1), and a socket in it for the probe's messages.
 * What joins the namespaces is the environment's business.
 *
 * Needs:    jepsen/env/net.h.
 * Used by:  jepsen/env/switch.c, veth.c.
 * Threads:  the keeper's only one.
 */
#ifndef KV_JEPSEN_ENV_ENDS_H
#define KV_JEPSEN_ENV_ENDS_H

#include "jepsen/env/net.h"

enum {
    ENDS_TAG_PROBE = 100, /* Tags of probe sockets: this and the end's number. */
};

/* The network of all ends, in the host's byte order: 10.119.0.0/24. */
#define ENDS_NET 0x0a770000u

/* Descriptors; -1 where there is none. */
struct ends {
    int ns[FAULT_ENDS_MAX];
    int udp[FAULT_ENDS_MAX]; /* Bound to the probe's port. */
};

void ends_init(struct ends *e);

/* Makes end's namespace with its probe socket and fills its addresses in *n. The
 * process stays in it. 0, KV_EDENIED, KV_EIO with the reason in n->error. */
KV_MUST_CHECK int ends_make(struct net *n, struct ends *e, uint32_t end);

/* Closes all; a namespace goes with its last process. */
void ends_close(struct ends *e);

/* Takes what arrived at an end's probe socket. */
void ends_probe_take(struct net *n, const struct ends *e, uint32_t end);

/* Sends the probe's number i from its one end to its other. */
void ends_probe_send(struct net *n, const struct ends *e, uint32_t i);

#endif
