/* rpc/token.h - session tokens: what a client has seen, one position per group.
 *
 * In effect a vector clock whose entries are groups: a read that carries a token is
 * answered from a state that holds, of the key's group, at least what the token names.
 * Opaque to users; nodes make and check them, clients only merge them.
 *
 *   0  u8   version (1)
 *   1  u32  CRC32C of everything from byte 5 on
 *   5  u32  cluster id, folded: a token of another cluster says nothing here
 *   9  ...  per group, ascending: varint of the group's distance from the one before
 *           (the first one: from -1), at least 1; varint of its revision, at least 1
 *
 * Varints are little-endian, 7 bits a byte. No bytes at all: nothing was seen.
 *
 * Needs:    raft/base, rpc/limits.h.
 * Used by:  server/reply.c, range.c, node_request.c, group_local.c; client/.
 * Threads:  any.
 */
#ifndef KV_RPC_TOKEN_H
#define KV_RPC_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "raft/base/bytes.h"
#include "raft/base/check.h"
#include "rpc/limits.h"

enum {
    TOKEN_HEAD_BYTES = 9,
    TOKEN_GROUP_BYTES_MAX = 2 + 10, /* Of one position. */
    TOKEN_ONE_BYTES_MAX = TOKEN_HEAD_BYTES + TOKEN_GROUP_BYTES_MAX,
};
_Static_assert(TOKEN_HEAD_BYTES + KV_GROUPS_MAX * TOKEN_GROUP_BYTES_MAX <=
                   KV_TOKEN_BYTES_MAX,
               "a token can name every group");

/* A token of one position. out  TOKEN_ONE_BYTES_MAX bytes. Returns the bytes used; none
 * for revision 0. */
size_t token_make(uint64_t cluster, uint32_t group, uint64_t rev, uint8_t *out);

/* A position that goes into a token. */
struct token_at {
    uint32_t group;
    uint64_t rev; /* >= 1 */
};
/* Makes a token of several, ascending by group. out  TOKEN_HEAD_BYTES and
 * TOKEN_GROUP_BYTES_MAX for each. Returns the bytes used; none for no position. */
size_t token_build(uint64_t cluster, const struct token_at *ats, uint32_t count,
                   uint8_t *out);

/* Is it a token of this cluster (0: of any)? An empty one is. */
bool token_is_valid(struct kv_bytes token, uint64_t cluster);

/* The revision that it names for a group, 0: none. Needs a valid token. */
uint64_t token_rev(struct kv_bytes token, uint32_t group);

/* The higher position of each group. Needs two valid tokens of one cluster.
 * out  a.len + b.len bytes. Returns the bytes used. */
size_t token_merge(struct kv_bytes a, struct kv_bytes b, uint8_t *out);

/* Are both of one cluster, as far as they say? Needs valid tokens. */
bool token_is_kin(struct kv_bytes a, struct kv_bytes b);

/* ---- positions as an array, for a client that learns them one by one ---- */

/* What a token says of its cluster: of the token (valid, not empty), or of an id. */
uint32_t token_cluster(struct kv_bytes token);
uint32_t token_fold(uint64_t cluster);

/* Raises io_revs[group] to what a valid token names. io_revs  KV_GROUPS_MAX revisions.
 * Returns the highest group that it names, and one; 0 for an empty token. */
uint32_t token_raise(struct kv_bytes token, uint64_t *io_revs);

/* Makes a token of the revisions that are not 0 of revs[0..end), end <= KV_GROUPS_MAX.
 * out  KV_TOKEN_BYTES_MAX bytes. Returns the bytes used; none when all are 0. */
size_t token_pack(uint32_t cluster, const uint64_t *revs, uint32_t end, uint8_t *out);

#endif
