/* tests/fuzz/fuzz_map.c - the cluster map from bytes.
 *
 * What was accepted keeps all rules and comes back from its own encoding unchanged.
 */
#include <stdlib.h>
#include <string.h>

#include "raft/base/err.h"
#include "rpc/map.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct map *m = kv_mem_zalloc(sizeof *m);
    struct map *again = kv_mem_zalloc(sizeof *again);
    struct arena scratch;
    struct buf b;
    int rc;

    KV_ASSERT(m != NULL && again != NULL);
    arena_init(&scratch, 256 * 1024, 0);
    buf_init(&b, KV_RESPONSE_BYTES_MAX);
    (void)!map_decode_reply(kv_bytes(data, len), &scratch, m);
    arena_reset(&scratch);
    rc = map_decode(kv_bytes(data, len), &scratch, m);
    if (rc == 0) {
        KV_ASSERT(map_validate(m, NULL) == 0);
        map_encode(&b, m);
        KV_ASSERT(b.error == 0);
        arena_reset(&scratch);
        rc = map_decode(buf_bytes(&b), &scratch, again);
        KV_ASSERT(rc == 0 && memcmp(m, again, sizeof *m) == 0);
        (void)map_group_for_key(m, kv_bytes_str("key"));
    } else {
        KV_ASSERT(rc == KV_EPROTO || rc == KV_EFORMAT);
    }
    buf_close(&b);
    arena_close(&scratch);
    kv_mem_free(m);
    kv_mem_free(again);
    return 0;
}
