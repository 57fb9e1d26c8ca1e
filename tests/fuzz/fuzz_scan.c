/* tests/fuzz/fuzz_scan.c - the scan against msgpack-c, all at once and in pieces.
 *
 * The first byte chooses the limits and the size of the pieces. What the scan lets
 * through must be whole for msgpack-c too, with the same length; what it holds back as
 * incomplete must be incomplete there.
 */
#include <stdlib.h>
#include <string.h>

#include <msgpack.h>

#include "raft/base/err.h"
#include "rpc/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const struct scan_limits tight = {
    .bytes_max = 4096, .nodes_max = 64, .depth_max = 3};

static int scan_in_pieces(const struct scan_limits *limits, const uint8_t *data,
                          size_t len, size_t piece, size_t *out_used)
{
    struct scan s;
    int rc = KV_EAGAIN;

    scan_init(&s, limits);
    for (size_t at = 0; at < len && rc == KV_EAGAIN; at += piece) {
        rc = scan_feed(&s, data + at, KV_MIN(piece, len - at), out_used);
    }
    KV_ASSERT((rc == 0 || rc == KV_EAGAIN) == (scan_why(&s)[0] == '\0'));
    return rc;
}

static void compare_with_msgpack(const uint8_t *data, size_t len, int rc, size_t used)
{
    msgpack_unpack_return verdict;
    msgpack_zone zone;
    msgpack_object o;
    size_t at = 0;
    bool ready = msgpack_zone_init(&zone, 4096);

    KV_ASSERT(ready);
    verdict = msgpack_unpack((const char *)data, len, &at, &zone, &o);
    if (rc == 0) {
        KV_ASSERT(verdict == MSGPACK_UNPACK_SUCCESS ||
                  verdict == MSGPACK_UNPACK_EXTRA_BYTES);
        KV_ASSERT(at == used);
    } else {
        KV_ASSERT(verdict == MSGPACK_UNPACK_CONTINUE);
    }
    msgpack_zone_destroy(&zone);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const struct scan_limits *all[] = {&tight, &scan_limits_request,
                                       &scan_limits_response, &scan_limits_peer};
    const struct scan_limits *limits;
    size_t used = 0;
    size_t used_in_pieces = 0;
    int rc;

    if (len < 2) {
        return 0;
    }
    limits = all[data[0] & 3];
    rc = scan_in_pieces(limits, data + 1, len - 1, len, &used);
    KV_ASSERT(scan_in_pieces(limits, data + 1, len - 1, 1 + (data[0] >> 2) % 13u,
                             &used_in_pieces) == rc);
    KV_ASSERT(used == used_in_pieces && used <= len - 1);
    if (rc == 0 || rc == KV_EAGAIN) {
        compare_with_msgpack(data + 1, len - 1, rc, used);
    }
    return 0;
}
