/* tests/lib/fault_image.h - what a disk may look like after a crash.
 *
 * Replays a recording (tests/lib/fault_io.h) and stops at each flush: what was synced
 * is there; of what was not, any part may be: every subset of up to eight pending
 * changes, 64 random ones of more, with writes torn at 512 bytes. Names follow the
 * order in which they were changed, and are safe after a sync of their folder.
 *
 * Needs:    tests/lib/fault_io.h, raft/base/prng.h.
 * Used by:  tests/storage/test_crash.c.
 * Threads:  one.
 */
#ifndef KV_TESTS_LIB_FAULT_IMAGE_H
#define KV_TESTS_LIB_FAULT_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/lib/fault_io.h"

/* Judges the image in folder `dir`. acks: how many acknowledgements came before the
 * crash. False: it breaks a promise. */
typedef bool (*fault_image_check)(void *ctx, const char *dir, uint32_t acks);

struct fault_image_result {
    uint64_t images; /* Judged. */
    uint64_t points; /* Places where the crash came. */
    uint64_t torn;   /* Images with a torn write. */
    uint64_t bad;
};

/* Judges images of all crash points, until bad_max bad ones were found. `dir` is an
 * empty folder for them; it holds the last one afterwards. */
void fault_image_all(const struct fault_recording *r, const char *dir, uint64_t seed,
                     uint64_t bad_max, fault_image_check check, void *ctx,
                     struct fault_image_result *out);

/* Builds the disk as it is after the given number of acknowledgements without a
 * crash. */
void fault_image_at(const struct fault_recording *r, const char *dir, uint32_t acks);

#endif
