/* tests/fuzz/fuzz_command.c - payloads of committed entries: what a command says.
 *
 * What is accepted encodes to the same bytes, and its parts lie within the payload.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "raft/base/err.h"
#include "server/command.h"

enum {
    FUZZ_BYTES_MAX = 8192
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_within(struct kv_bytes part, const uint8_t *data, size_t size)
{
    KV_ASSERT(part.len == 0 ||
              (part.data >= data && part.data + part.len <= data + size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t again[FUZZ_BYTES_MAX];
    struct command c;
    int rc;

    if (size > sizeof again) {
        return 0;
    }
    rc = command_decode(kv_bytes(data, size), &c);
    KV_ASSERT(rc == 0 || rc == KV_EFORMAT || rc == KV_ECORRUPT);
    (void)command_is_urgent(kv_bytes(data, size));
    if (rc != 0) {
        return 0;
    }
    check_within(c.key, data, size);
    check_within(c.value, data, size);
    check_within(c.expected, data, size);
    check_within(c.replacement, data, size);
    check_within(c.map, data, size);
    check_within(c.slots, data, size);
    check_within(c.idem.key, data, size);
    check_within(c.fence.lock, data, size);
    check_within(c.body, data, size);
    KV_ASSERT(command_bytes(&c) == size);
    command_encode(&c, again);
    KV_ASSERT(memcmp(again, data, size) == 0);
    return 0;
}
