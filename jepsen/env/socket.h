/* jepsen/env/socket.h - blocking TCP with a deadline, for the harness's own questions.
 *
 * Needs:    raft/base/check.h.
 * Used by:  jepsen/env/cluster_status.c, faults_clock.c.
 * Threads:  any.
 */
#ifndef KV_JEPSEN_ENV_SOCKET_H
#define KV_JEPSEN_ENV_SOCKET_H

#include <stddef.h>
#include <stdint.h>

#include "raft/base/check.h"

/* All take the end of patience in net_now_ns() time and return 0, KV_ECONNECT
 * (refused, broken) or KV_ETIMEOUT. */
KV_MUST_CHECK int socket_connect(const char *host, uint16_t port, uint64_t end_ns,
                                 int *out_fd);
KV_MUST_CHECK int socket_write(int fd, const void *data, size_t len, uint64_t end_ns);

/* *out_len 0: the other end has closed. */
KV_MUST_CHECK int socket_read(int fd, void *out, size_t room, uint64_t end_ns,
                              size_t *out_len);

#endif
