/* server/command.h - the payload of a COMMAND entry: what the state machine is told.
 *
 * All integers little-endian. Every command begins with
 *
 *   0  u8   format version: 1, or 2 where prefixes follow
 *   1  u8   kind
 *   2  u16  slot; 0 for kinds without slots
 *
 * In version 2 a mask of prefixes comes next, u8 and never 0, and then each prefix
 * whose bit is set, in the order of the bits. Only kinds with a slot have them:
 *
 *   1  SESSION  u64 session, u64 seq, u64 ack, u64 stamp ms: exactly once by a session
 *   2  IDEM     u64 stamp ms, u32 ttl ms, u16 key bytes, key: exactly once by a key of
 *               the client's; not together with SESSION
 *   4  FENCE    u64 token, u16 lock bytes, lock: only where no higher token was seen
 *
 *   8  IF_REV   u64 revision: only where the key has it; 0: no such key
 *   16 TTL      u32 ms: the key ends so long after the entry's time
 *
 * A command without prefixes is written as version 1, so that logs stay small. Then, by
 * kind, the body:
 *
 *   KV_PUT, KV_GETSET
 *              u16 key bytes, u32 value bytes, key, value
 *   KV_DEL     u16 key bytes, key
 *   KV_CAS     u8 flags (1: expects a value, 2: brings a value), u16 key bytes,
 *              u32 expected bytes, u32 replacement bytes, key, expected, replacement
 *   KV_INCR    i64 delta, u16 key bytes, key
 *   LOCK_ACQUIRE  u8 flags (1: may wait), u16 permits, u32 ttl_ms, u16 key bytes,
 *                 u8 owner bytes, u16 value bytes, key, owner, value
 *   LOCK_RELEASE, LOCK_EXPIRE, FENCE_MARK
 *                 u64 token, u16 key bytes, key
 *   LOCK_CANCEL   u8 flags (1: give back what is held), u16 key bytes, u8 owner bytes,
 *                 key, owner
 *   KV_TXN     the body of server/txn.h
 *   KV_DELRANGE  u16 keys at most, u16 begin bytes, u16 end bytes, begin, end. Its slot
 *              is any one of the group's: there its result is kept
 *   EXPIRE     u16 keys at most
 *   RECORD_SWEEP  u16 rows to look at, at most; u16 key bytes, key of the first
 *   MAP_SET    u64 epoch that it replaces, u64 its own epoch, u32 map bytes, map
 *   OWN_SLOTS  u64 revision offset, bitmap of KV_SLOTS bits (slot s: bit s % 8 of byte
 *              s / 8)
 *
 * A replica that meets a version, kind or prefix that it does not know must not go on:
 * it would apply something else than the others.
 *
 * Needs:    raft/base, rpc/limits.h, server/txn.h.
 * Used by:  server/group_write.c, apply.c, meta.c.
 * Threads:  any.
 */
#ifndef KV_SERVER_COMMAND_H
#define KV_SERVER_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "raft/base/bytes.h"
#include "raft/base/check.h"
#include "rpc/limits.h"

enum {
    COMMAND_VERSION = 1,
    COMMAND_VERSION_PREFIXED = 2,
    COMMAND_SLOTS_BYTES = KV_SLOTS / 8,
    COMMAND_MAP_BYTES_MAX = KV_VALUE_BYTES_MAX, /* An encoded map is one row. */
};

enum command_kind {
    COMMAND_KV_PUT = 1,
    COMMAND_KV_DEL = 2,
    COMMAND_KV_CAS = 3,
    COMMAND_KV_INCR = 4,
    COMMAND_KV_TXN = 5,
    COMMAND_KV_GETSET = 6,
    COMMAND_KV_DELRANGE = 7, /* The first keys of a range, in all slots of the group. */
    COMMAND_LOCK_ACQUIRE = 8,
    COMMAND_LOCK_RELEASE = 9,  /* By the holder. */
    COMMAND_LOCK_EXPIRE = 10,  /* By the leader: the lease has run out. */
    COMMAND_LOCK_CANCEL = 11,  /* A waiter gives up, or is gone. */
    COMMAND_FENCE_MARK = 12,   /* A read that brings a higher token of a lock. */
    COMMAND_RECORD_SWEEP = 16, /* Records whose time has passed are forgotten. */
    COMMAND_EXPIRE = 20,       /* Keys whose time to live has ended are deleted. */
    COMMAND_MAP_SET = 32,      /* Group meta: the whole cluster map. */
    COMMAND_OWN_SLOTS = 33,    /* Data groups: which slots they own, once. */
};

/* The prefixes; each is absent where its first field is zero or empty. */
struct command_session {
    uint64_t session;  /* 0: no such prefix. */
    uint64_t seq;      /* Of this write; >= ack. */
    uint64_t ack;      /* All below it have ended at the client. */
    uint64_t stamp_ms; /* Cluster time of the first sending. */
};

struct command_idem {
    struct kv_bytes key; /* 1..KV_IDEM_BYTES_MAX bytes; empty: no such prefix. */
    uint64_t stamp_ms;   /* As above. */
    uint32_t ttl_ms;     /* >= 1: how long the record lives behind its use. */
};

struct command_fence {
    struct kv_bytes lock; /* 1..KV_LOCK_NAME_BYTES_MAX bytes; empty: no such prefix. */
    uint64_t token;       /* >= 1 */
};

/* One command; each kind uses the fields named above, the others are zero. All bytes
 * are borrowed: decoded ones point into the payload. */
struct command {
    enum command_kind kind;
    uint16_t slot;        /* < KV_SLOTS */
    bool has_expected;    /* CAS: false: the key must not exist. */
    bool has_replacement; /* CAS: false: the key is deleted. */
    struct kv_bytes
        key; /* 1..KV_KEY_BYTES_MAX bytes; a lock's name; SWEEP: of a row. */
    struct kv_bytes value;       /* PUT; LOCK_ACQUIRE: what info shows. */
    struct kv_bytes expected;    /* CAS. */
    struct kv_bytes replacement; /* CAS. */
    int64_t delta;               /* INCR. */
    bool may_wait;               /* LOCK_ACQUIRE */
    bool give_back;              /* LOCK_CANCEL */
    uint32_t permits;            /* LOCK_ACQUIRE: 1..KV_LOCK_PERMITS_MAX. */
    uint32_t ttl_ms;             /* LOCK_ACQUIRE: at least KV_LOCK_TTL_MS_MIN; PUT,
                                  * GETSET: the prefix; 0: the key does not end. */
    uint64_t token;              /* LOCK_RELEASE, LOCK_EXPIRE, FENCE_MARK; > 0. */
    struct kv_bytes owner;       /* LOCK_*: 1..KV_LOCK_OWNER_BYTES_MAX bytes. */
    struct kv_bytes txn;         /* TXN: a valid body (server/txn.h). */
    uint16_t rows_max;           /* RECORD_SWEEP, DELRANGE, EXPIRE; >= 1. */
    struct kv_bytes begin;       /* DELRANGE; included; empty: from the first key. */
    struct kv_bytes end;         /* DELRANGE; excluded; empty: to the last key. */
    uint64_t epoch_replaced;     /* MAP_SET; 0: there was none. */
    uint64_t epoch;              /* MAP_SET; > epoch_replaced. */
    struct kv_bytes map;         /* MAP_SET: map_encode() of rpc/map.h. */
    uint64_t rev_offset;         /* OWN_SLOTS. */
    struct kv_bytes slots;       /* OWN_SLOTS: COMMAND_SLOTS_BYTES bytes. */
    bool has_if_rev;             /* PUT, DEL, GETSET: the prefix is there. */
    uint64_t if_rev;
    struct command_session session;
    struct command_idem idem;
    struct command_fence fence;
    struct kv_bytes body; /* Decoded ones: the kind's fields, as they are encoded. */
};

/* Bytes of the encoding. */
size_t command_bytes(const struct command *c);

/* Writes command_bytes(c) bytes to `out`. Asserts sizes: whoever makes a command has
 * checked them. */
void command_encode(const struct command *c, uint8_t *out);

/* Reads a payload. Returns 0; KV_EFORMAT (unknown version, kind or prefix); KV_ECORRUPT
 * (lengths or values that no encoder writes). */
KV_MUST_CHECK int command_decode(struct kv_bytes payload, struct command *out);

/* May a command of this kind have prefixes? Those with a slot. */
bool command_has_slot(enum command_kind kind);

/* May it depend on the key's revision? */
bool command_has_if_rev(enum command_kind kind);

/* May the key that it writes have a time to live? */
bool command_has_ttl(enum command_kind kind);

/* True when carrying the command out frees space or keeps the cluster working: it may
 * use the disk's reserve. False for anything unknown. */
bool command_is_urgent(struct kv_bytes payload);

/* Is `slot` set in a bitmap of COMMAND_SLOTS_BYTES bytes? */
static inline bool command_slot_get(const uint8_t *slots, uint16_t slot)
{
    return (slots[slot / 8] >> (slot % 8) & 1) != 0;
}

static inline void command_slot_set(uint8_t *slots, uint16_t slot)
{
    slots[slot / 8] = (uint8_t)(slots[slot / 8] | 1u << (slot % 8));
}

#endif
