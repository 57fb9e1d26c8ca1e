/* rpc/scan.h - finds the end of one MessagePack message in a stream, within limits.
 *
 * Runs in front of msgpack-c, which would believe a header of five bytes and
 * reserve gigabytes. The scan allocates nothing, looks at each byte once, keeps
 * its place between calls (delivery byte by byte costs no more than all at once),
 * and refuses a message as soon as its headers declare more than the limits can
 * still hold: sums over all open levels count, so nested headers do not help.
 *
 * Needs:    raft/base.
 * Used by:  server/conn, client/, rpc/peer, tests/fuzz.
 * Threads:  one owner at a time.
 * Source:   MessagePack specification (github.com/msgpack/msgpack, spec.md).
 */
#ifndef KV_RPC_SCAN_H
#define KV_RPC_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "raft/base/check.h"
#include "rpc/limits.h"

struct scan_limits {
    uint32_t bytes_max; /* Of the whole message. */
    uint32_t nodes_max; /* Items of any type, containers included. */
    uint32_t depth_max; /* Containers in each other; <= KV_MSG_DEPTH_MAX. */
    bool is_rpc;        /* Top level: an array of 3 or 4, as MessagePack-RPC wants. */
};

/* nodes + pending <= nodes_max, seen + skip + pending <= bytes_max. */
struct scan {
    struct scan_limits limits;
    const char *why;   /* Text of the refusal; NULL while all is well. */
    uint32_t seen;     /* Bytes of this message looked at. */
    uint32_t skip;     /* Bytes of a str or bin, or of a number, still to pass. */
    uint32_t nodes;    /* Items begun. */
    uint32_t pending;  /* Items that open containers still miss, over all levels. */
    uint32_t depth;    /* Containers open; 0 before the first byte. */
    uint8_t head[8];   /* A header that did not arrive whole. */
    uint8_t head_have; /* Bytes in head[]. */
    bool done;         /* The message is complete; the next feed begins another. */
    uint32_t left[KV_MSG_DEPTH_MAX]; /* Items missing, per open container. */
};

/* Limits of a client's request, of a server's response, of a peer frame's body. */
extern const struct scan_limits scan_limits_request;
extern const struct scan_limits scan_limits_response;
extern const struct scan_limits scan_limits_peer;

/* Prepares for the first byte of a message. *limits is copied. */
void scan_init(struct scan *s, const struct scan_limits *limits);

/* Takes the next bytes of the stream: those that no earlier call has seen. After a
 * whole message the next call begins another one by itself.
 *
 * out_used  [out]  on 0: bytes of the whole message, counted from its first byte
 *                  (bytes of earlier calls included; what follows is unseen).
 * Returns 0; KV_EAGAIN (all bytes taken, more are needed); KV_EPROTO (not
 * MessagePack, or not an RPC message, or an ext type); KV_ETOOLARGE (a limit is
 * broken, now or by what a header declares). After the latter two the stream is
 * lost: scan_why() has the cause, only scan_init() helps. */
KV_MUST_CHECK int scan_feed(struct scan *s, const uint8_t *data, size_t len,
                            size_t *out_used);

/* Scans exactly one message in memory. Returns 0; KV_EPROTO (also: truncated, or
 * bytes behind it); KV_ETOOLARGE. */
KV_MUST_CHECK int scan_whole(const struct scan_limits *limits, const uint8_t *data,
                             size_t len);

/* One line on what was refused; "" while nothing was. */
const char *scan_why(const struct scan *s);

#endif
