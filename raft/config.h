/* raft/config.h - configurations in the log, and how one becomes the next.
 *
 * The newest configuration in the log is in force, committed or not (§6). A leader
 * appends one only when the one before is committed, so of all in any log only the
 * newest can be uncommitted: remembering its predecessor is enough to roll back.
 *
 *   SIMPLE ──PROPOSE_CONFIG──► JOINT (both quorums) ──committed──► SIMPLE
 *
 * Needs:    raft/types.h.
 * Used by:  raft/ only.
 * Threads:  the object's owner.
 * Source:   §6; diss. §4.2.1 (learners), §4.3 (joint consensus); B07-B14.
 */
#ifndef KV_RAFT_CONFIG_H
#define KV_RAFT_CONFIG_H

#include "raft/raft.h"

/* before_index <= now_index. */
struct raft_configs {
    struct raft_config now;    /* In force. */
    raft_index now_index;      /* Its entry; 0 for the initial one. */
    struct raft_config before; /* In force before it; committed. */
    raft_index before_index;
};

/* ---- history ---- */

/* Starts with one committed configuration. */
void raft_config_init(struct raft *r, const struct raft_config *c, raft_index index);

/* Scans (from, last] of the log for configurations. Returns 0 or KV_ECORRUPT,
 * KV_EFORMAT, the reader's errors; with `tolerant`, unreadable entries are left out. */
KV_MUST_CHECK int raft_config_scan(struct raft *r, raft_index from, bool tolerant);

/* Puts the configuration of a new entry in force. */
void raft_config_adopt(struct raft *r, const struct raft_config *c, raft_index index);

/* Goes back when entries from `from` on were dropped. */
void raft_config_rollback(struct raft *r, raft_index from);

/* True when dropping entries from `from` on would drop a committed configuration. */
bool raft_config_keeps(const struct raft *r, raft_index from);

/* ---- change ---- */

/* RAFT_EV_PROPOSE_CONFIG. */
KV_MUST_CHECK int raft_config_propose(struct raft *r, const struct raft_config *target);

/* Appends a configuration as leader; there must be room. */
void raft_config_append(struct raft *r, const struct raft_config *c);

/* Appends the final configuration once the joint one is committed. */
void raft_config_leave_joint(struct raft *r);

/* Ends our leadership once a configuration without us is committed. */
void raft_config_step_down(struct raft *r);

/* ---- questions ---- */

/* Both halves are needed. */
bool raft_config_joint(const struct raft_config *c);

/* A payload that can be the content of an entry: valid, with voters. */
KV_MUST_CHECK int raft_config_payload(struct kv_bytes payload, struct raft_config *out);

#endif
