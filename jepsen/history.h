/* jepsen/history.h - what the clients of a run saw: operations in order of time.
 *
 * A history is Jepsen's: each operation is two rows, its invocation and its completion,
 * in the order in which the harness saw them. A completion is ok (done), fail
 * (certainly not done) or info (unknown). A process whose operation ended as info never
 * speaks again: its client goes on under a new process number. Nemesis rows have the
 * process HISTORY_NEMESIS and are always info.
 *
 * Rows are plain structs in one array and their longer values lie in one pool of
 * integers, so that millions of them fit into memory and are walked quickly. A history
 * is append-only; it belongs to one thread until it is complete, then anyone may read.
 *
 * Needs:    raft/base/bytes.h, check.h.
 * Used by:  everything in jepsen/.
 * Threads:  one writer; readers once it is complete.
 * Source:   github.com/jepsen-io/history, "Operations"; reliability.md section 2.4.
 */
#ifndef KV_JEPSEN_HISTORY_H
#define KV_JEPSEN_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "raft/base/bytes.h"
#include "raft/base/check.h"

enum {
    HISTORY_NEMESIS = -1, /* The process of nemesis rows; clients count from 0. */
    HISTORY_PROCESSES_MAX = 1 << 24,
    HISTORY_INTS_MAX = 1 << 28, /* Integers in one value. */
};

enum history_type {
    HISTORY_INVOKE,
    HISTORY_OK,   /* Done. */
    HISTORY_FAIL, /* Certainly not done, now or later. */
    HISTORY_INFO, /* Unknown; and all that a nemesis does. */
};

/* What is done. The word that stands in files is in history_f_name(). */
enum history_f {
    HISTORY_READ,     /* register, counter: int or nil; set, list: list of ints */
    HISTORY_WRITE,    /* register: int */
    HISTORY_CAS,      /* register: pair (expected, new) */
    HISTORY_ADD,      /* set: the element; counter: the delta */
    HISTORY_TXN,      /* list-append: micro-operations, see struct history_micro */
    HISTORY_GENERATE, /* unique ids: nil, completed with the id */
    HISTORY_TRANSFER, /* bank: list (from, to, amount) */
    HISTORY_WATCH,    /* watch: list; what it holds is in checker/watch.h */
    HISTORY_FAULT,    /* nemesis: `text` says which */
    HISTORY_F_COUNT,
};

/* What a history is of; decides how values read in files and who judges it. */
enum history_workload {
    HISTORY_REGISTER, /* read, write, cas */
    HISTORY_SET,      /* add, read */
    HISTORY_COUNTER,  /* add, read */
    HISTORY_APPEND,   /* txn */
    HISTORY_UNIQUE,   /* generate */
    HISTORY_BANK,     /* transfer, read: list of balances */
    HISTORY_WATCHES,  /* write, watch: lists, see checker/watch.h */
    HISTORY_WORKLOADS,
};

enum history_kind {
    HISTORY_NIL,
    HISTORY_INT,   /* ints[0] */
    HISTORY_PAIR,  /* ints[0], ints[1] */
    HISTORY_LIST,  /* ints[0..count) */
    HISTORY_MICRO, /* Packed micro-operations: history_micro_next(). */
    HISTORY_TEXT,  /* Only in nemesis rows. */
};

/* A value of a row. NIL has count 0, INT 1, PAIR 2. The ints lie in the history's
 * pool: `at` is an offset there, so that the pool may move while it grows. */
struct history_value {
    enum history_kind kind;
    uint32_t count;
    uint64_t at;
};

/* One row. Where the reply said so, it carries the position at which it was true. */
struct history_op {
    uint64_t index;  /* Dense from 0: its place in the array. */
    int64_t time_ns; /* Since the run began, never less than the row before. */
    int32_t process; /* HISTORY_NEMESIS or >= 0. */
    enum history_type type;
    enum history_f f;
    uint32_t key;               /* Of the workload: register, list or counter number. */
    struct history_value value; /* invoke: what is asked; ok: what was answered. */
    /* The other row of the operation, HISTORY_NO_MATE where there is none (yet). */
    uint64_t mate;
    uint32_t node;    /* invoke: node asked; completion: node that answered. 0 none. */
    uint32_t group;   /* ok: kvd's group; with rev and term 0 where not known. */
    uint64_t rev;     /* ok: revision of the write, or of the value read (0: none). */
    uint64_t at_rev;  /* ok: revision of the group where the reply was true; a write's
                       * own. 0 not known. A cas that failed because it did not match
                       * has both too: at_rev, and rev of the value that it saw. */
    uint64_t term;    /* ok */
    const char *text; /* Error word and text. Nemesis: a word for :f, the rest for
                       * :value, as EDN or any text: "start-partition n1 | n2".
                       * NULL. Owned by the history. */
};

#define HISTORY_NO_MATE UINT64_MAX

/* One micro-operation of a list-append transaction, as it is read out of a value. */
struct history_micro {
    bool is_append;     /* Else a read. */
    uint32_t key;       /* Of the list. */
    bool is_nil;        /* read: not known (an invocation), or the list is absent. */
    int64_t element;    /* append */
    const int64_t *ids; /* read: what the list held; points into the pool. */
    uint32_t ids_count; /* read */
};

struct history {
    struct history_op *ops; /* [count] */
    size_t count, cap;
    int64_t *pool; /* Integers of all values. */
    size_t pool_count, pool_cap;
    struct history_text *texts; /* Newest first; owned. */
    /* Per process the row of its open invocation. */
    uint64_t *open;
    size_t open_cap;
};

/* ---- life ---- */

/* Makes an empty history; takes no memory yet. The struct belongs to the caller. */
void history_init(struct history *h);

/* Gives all memory back. */
void history_close(struct history *h);

/* ---- writing ---- */

/* Appends a row. `op` [in] gives all but index, mate and value, which are set here; its
 * text is copied. `kind` and `ints` [count] become the value.
 * Returns 0; KV_ENOMEM; KV_EINVAL: a process invokes while its last invocation is open,
 * completes without one or with another f or key, speaks after an info, or is out of
 * range; a nemesis row is not an info of HISTORY_FAULT; time goes back. The history is
 * then as before. */
KV_MUST_CHECK int history_append(struct history *h, const struct history_op *op,
                                 enum history_kind kind, const int64_t *ints,
                                 uint32_t count);

/* Packs micro-operations into the integers of a HISTORY_MICRO value.
 * micros [in, count], out_ints [out, cap]. Returns how many integers they take, also
 * when that is more than cap (then nothing more than cap was written). */
uint32_t history_micro_pack(const struct history_micro *micros, uint32_t count,
                            int64_t *out_ints, uint32_t cap);

/* ---- looking in ---- */

/* The integers of a value; valid until the next append. NULL when count is 0. */
const int64_t *history_ints(const struct history *h, const struct history_value *v);

/* Reads the next micro-operation of a HISTORY_MICRO value. *at is 0 before the first.
 * Returns false behind the last one, or where the value is not well formed. */
bool history_micro_next(const struct history *h, const struct history_value *v,
                        uint32_t *at, struct history_micro *out);

/* "invoke", "ok", "fail", "info". Static. */
const char *history_type_name(enum history_type type);

/* "read", "write", "cas", "add", "txn", "generate", "transfer", "watch", "fault".
 * Static. */
const char *history_f_name(enum history_f f);

/* "register", "set", "counter", "append", "unique", "bank", "watch". Static. */
const char *history_workload_name(enum history_workload workload);

/* Finds a workload by that name, or by the one that elle-cli gives it ("cas-register",
 * "set-full", "list-append", "unique-ids"). HISTORY_WORKLOADS: there is none. */
enum history_workload history_workload_find(const char *name);

#endif
