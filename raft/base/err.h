/* raft/base/err.h - the one list of errors, with their wire words and outcomes.
 *
 * Functions return 0 or a negative KV_E*. The codes run from -19999 up, so that
 * libuv's codes (-errno, -4095...) and LMDB's (-307xx) that leaked through
 * untranslated are recognised as foreign. The outcome column is a promise to
 * clients: what an error says about the write that it answers.
 *
 * Needs:    nothing of ours.
 * Used by:  everything.
 * Threads:  any.
 */
#ifndef KV_RAFT_BASE_ERR_H
#define KV_RAFT_BASE_ERR_H

#include <stdbool.h>

/* What an error says about a write that got it. */
enum kv_outcome {
    KV_OUTCOME_DONE,     /* Only for code 0. */
    KV_OUTCOME_NOT_DONE, /* Certainly not applied, now or later. */
    KV_OUTCOME_UNKNOWN,  /* May or may not have been applied, or may yet be. */
};

/* X(name, number, word on the wire, outcome, text). A word is what a client sees
 * before the first space of an error string; internal errors have none of their
 * own and are never sent: they are translated before they leave a node. */
#define KV_ERR_MAP(X)                                                                  \
    /* Errors that clients see. */                                                     \
    X(KV_EBADREQUEST, -19999, "BAD_REQUEST", NOT_DONE, "the request is malformed")     \
    X(KV_ETOOLARGE, -19998, "TOO_LARGE", NOT_DONE,                                     \
      "a key, value or request is too large")                                          \
    X(KV_EBADQUORUM, -19997, "BAD_QUORUM", NOT_DONE, "W + R must be greater than N")   \
    X(KV_ECROSSSLOT, -19996, "CROSS_SLOT", NOT_DONE,                                   \
      "the keys lie in different slots")                                               \
    X(KV_EFENCED, -19995, "FENCED", NOT_DONE, "a newer holder of the lock was seen")   \
    X(KV_ESESSION, -19994, "SESSION_EXPIRED", NOT_DONE, "the session has expired")     \
    X(KV_ENOTLEADER, -19993, "NOT_LEADER", NOT_DONE,                                   \
      "this node does not lead the group")                                             \
    X(KV_ENOLEADER, -19992, "NO_LEADER", NOT_DONE, "the group has no leader")          \
    X(KV_ETIMEOUT, -19991, "TIMEOUT", NOT_DONE,                                        \
      "deadline passed before anything was done")                                      \
    X(KV_EBUSY, -19990, "BUSY", NOT_DONE, "a queue or memory budget is full")          \
    X(KV_ENOSPACE, -19989, "NO_SPACE", NOT_DONE, "the disk or the quota is full")      \
    X(KV_EDAMAGED, -19988, "DAMAGED", NOT_DONE, "stored data failed its checksum")     \
    X(KV_ECOMPACTED, -19987, "COMPACTED", NOT_DONE, "that position is no longer kept") \
    X(KV_EOVERFLOW, -19986, "OVERFLOW", NOT_DONE, "the result does not fit")           \
    X(KV_EDENIED, -19985, "DENIED", NOT_DONE, "not allowed")                           \
    X(KV_EUNKNOWN, -19984, "UNKNOWN", UNKNOWN, "the outcome of the write is unknown")  \
    /* Errors inside the house. */                                                     \
    X(KV_ENOMEM, -19979, "", NOT_DONE, "out of memory, or an arena's cap is reached")  \
    X(KV_EINVAL, -19978, "", NOT_DONE, "invalid argument or configuration")            \
    X(KV_EAGAIN, -19977, "", NOT_DONE, "incomplete: more bytes are needed")            \
    X(KV_EPROTO, -19976, "", NOT_DONE, "bytes that break the protocol")                \
    X(KV_ENOTFOUND, -19975, "", NOT_DONE, "no such object")                            \
    X(KV_EEXIST, -19974, "", NOT_DONE, "the object exists already")                    \
    X(KV_EIO, -19973, "", UNKNOWN,                                                     \
      "an operating system call failed on disk or socket")                             \
    X(KV_ECORRUPT, -19972, "", UNKNOWN, "an invariant of stored data is broken")       \
    X(KV_ELOST, -19971, "", NOT_DONE,                                                  \
      "the node's identity or data was lost or replaced")                              \
    X(KV_ECONNECT, -19970, "", NOT_DONE, "cannot connect")                             \
    X(KV_ECLOSED, -19969, "", UNKNOWN, "the connection or object was closed")          \
    X(KV_EFORMAT, -19968, "", NOT_DONE, "unknown format version, kind or type")

enum kv_err {
    KV_OK = 0,
#define KV_ERR_ENUM(name, number, word, outcome, text) name = (number),
    KV_ERR_MAP(KV_ERR_ENUM)
#undef KV_ERR_ENUM
};

/* Numbers of the list lie in [KV_ERR_FIRST, KV_ERR_LAST]. */
#define KV_ERR_FIRST (-19999)
#define KV_ERR_LAST  (-19968)

/* Returns a static one-line text for a code; "unknown error" for foreign ones. */
const char *kv_err_text(int code);

/* Returns the wire word ("BUSY"), "" for internal and foreign codes. */
const char *kv_err_word(int code);

/* Returns the symbol ("KV_EBUSY"), "KV_E?" for foreign codes. */
const char *kv_err_name(int code);

/* What the code says about a write; foreign codes are KV_OUTCOME_UNKNOWN. */
enum kv_outcome kv_err_outcome(int code);

/* True when the process or group must not go on: a failed disk (KV_EIO), broken
 * stored data (KV_ECORRUPT), a lost identity, an unknown format in the log. */
bool kv_err_is_fatal(int code);

/* Finds the code of a wire word of `len` bytes; KV_EUNKNOWN when nobody knows it. */
int kv_err_from_word(const char *word, unsigned long len);

#endif
