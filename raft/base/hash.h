/* raft/base/hash.h - XXH3, for hash chains, state hashes and ring points.
 *
 * The only file that includes xxhash. XXH3's output is stable since 0.8.0, so its
 * values may be stored and sent.
 */
#ifndef KV_RAFT_BASE_HASH_H
#define KV_RAFT_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* XXH3 of `len` bytes, 64 bits; `data` may be NULL when len is 0. */
uint64_t kv_hash64(const void *data, size_t len);

/* The same with a seed: a different function for each seed. */
uint64_t kv_hash64_seed(const void *data, size_t len, uint64_t seed);

#endif
