/* tests/fuzz/fuzz_snapshot.c - a snapshot stream as a peer may send it.
 *
 * Read as it is, and (first byte odd) with the checksum of each frame made right.
 * Frames must be taken from what is there, rows must ascend, and a stream that is
 * accepted must add up to its head.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "raft/base/crc.h"
#include "raft/base/err.h"
#include "storage/snapshot.h"

enum {
    FUZZ_BYTES_MAX = 65536
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Makes the checksum of the frame at the front right, if all of it is there. */
static void frame_seal(uint8_t *p, size_t len)
{
    size_t body;

    if (len < SNAPSHOT_FRAME_HEAD_BYTES) {
        return;
    }
    body = kv_get_u32le(p + 4);
    if (body <= len - SNAPSHOT_FRAME_HEAD_BYTES) {
        kv_put_u32le(p, kv_crc32c(0, p + 4, SNAPSHOT_FRAME_HEAD_BYTES - 4 + body));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t copy[FUZZ_BYTES_MAX];
    struct snapshot_reader r;
    enum snapshot_item item;
    struct row row;
    size_t at = 0;
    uint64_t hash = 0;
    int rc = 0;

    if (size < 1 || size > sizeof copy) {
        return 0;
    }
    size--;
    memcpy(copy, data + 1, size);
    snapshot_reader_init(&r);
    while (rc == 0) {
        size_t used = 0;

        if ((data[0] & 1) != 0) {
            frame_seal(copy + at, size - at);
        }
        rc = snapshot_reader_next(&r, kv_bytes(copy + at, size - at), &used, &item,
                                  &row);
        if (rc != 0) {
            break;
        }
        KV_ASSERT(used > 0 && used <= size - at);
        at += used;
        if (item == SNAPSHOT_ROW) {
            uint8_t again[SNAPSHOT_FRAME_HEAD_BYTES + 4096];

            KV_ASSERT(row_fits(&row));
            hash += row_hash(&row);
            if (snapshot_row_bytes(&row) <= sizeof again) {
                KV_ASSERT(snapshot_row_encode(&row, again) == used);
                KV_ASSERT(memcmp(again, copy + at - used, used) == 0);
            }
        }
        if (item == SNAPSHOT_END) {
            KV_ASSERT(hash == r.head.meta.state_hash);
        }
    }
    KV_ASSERT(rc == KV_EAGAIN || rc == KV_EDAMAGED || rc == KV_EFORMAT);
    return 0;
}
