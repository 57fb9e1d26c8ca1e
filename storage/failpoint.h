/* storage/failpoint.h - named places at which a test lets the process die.
 *
 * Test builds only (KV_FAILPOINTS: MODE=debug, asan, mutants); elsewhere KV_FAILPOINT()
 * is the constant 0 and nothing of it is compiled. Each durable step, and each step
 * from which others or clients learn something, has a name in the list below.
 *
 *     KVD_FAILPOINTS=NAME=ACTION[@N[..]],... kvd ...     armed at the start
 *     curl HOST:HTTPPORT/debug/failpoints?NAME=ACTION    while it runs
 *     kvd --failpoints                                   prints the list
 *
 * ACTION   panic (ends the process at once, as kill -9 does), sleep:MS, error (KV_EIO),
 *          nospace (KV_ENOSPACE), torn (writes a half, then panic), off.
 * N        from now on the N-th time it is reached (default 1); "..": and always then.
 *
 * error and nospace work where the result is looked at, torn where something is
 * written; elsewhere arming them fails.
 *
 * Needs:    raft/base.
 * Used by:  storage/, server/; tests/e2e/150_failpoints.sh goes through the whole list.
 * Threads:  any.
 */
#ifndef KV_STORAGE_FAILPOINT_H
#define KV_STORAGE_FAILPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What an armed point can do besides panic, sleep and off. */
#define FAILPOINT_PLAIN 0
#define FAILPOINT_ERROR 1 /* error, nospace */
#define FAILPOINT_WRITE 2 /* torn */

/* X(name, kinds, where, what a crash there must leave) */
#define FAILPOINT_MAP(X)                                                               \
    /* Opening a data directory. */                                                    \
    X(open_lock, PLAIN, "store.c: the lock is taken", "nothing was changed")           \
    X(open_new, PLAIN, "store.c: NEW lies in the folder", "the next start clears up")  \
    X(open_log, PLAIN, "store.c: the log is open", "a half directory is made anew")    \
    X(open_state, PLAIN, "store.c: the state is open",                                 \
      "a half directory is made anew")                                                 \
    X(open_identity_log, PLAIN, "identity.c: only the log knows who it is",            \
      "a half identity is finished")                                                   \
    X(open_identity_state, PLAIN, "identity.c: both know, no boot is counted",         \
      "a half identity is finished")                                                   \
    X(open_boot, PLAIN, "identity.c: the boot is counted", "boots may skip a number")  \
    X(open_new_gone, PLAIN, "store.c: NEW is deleted, not yet synced",                 \
      "the directory is believed or made anew, nobody knew it")                        \
    X(open_snapshots, PLAIN, "store.c: snap/ is tidy", "files are received anew")      \
    X(open_verified, PLAIN, "store.c: the rows add up", "nothing was changed")         \
    X(open_recover, PLAIN, "recover.c: a mark is found, the log is not yet reset",     \
      "the next start finishes the reset")                                             \
    X(open_recovered, PLAIN, "recover.c: the log is reset, the mark is there",         \
      "the next start clears the mark")                                                \
    X(open_done, PLAIN, "store.c: all is open", "nothing is lost by not running")      \
    X(node_start, PLAIN, "node.c: groups are loaded, no port is open",                 \
      "nothing is lost by not running")                                                \
    /* Either environment. */                                                          \
    X(env_grow, ERROR, "lmdb_env.c: before the file gets space", "the old size")       \
    X(env_grown, PLAIN, "lmdb_env.c: the file has space", "unused space")              \
    X(env_commit, ERROR, "lmdb_env.c: before a commit", "the commit before it")        \
    X(env_committed, PLAIN, "lmdb_env.c: behind a commit", "all of the commit")        \
    X(ballast_fill, PLAIN, "ballast.c: before the reserve is allocated",               \
      "less reserve")                                                                  \
    X(ballast_give, PLAIN, "ballast.c: before a part is given up", "all of it")        \
    X(ballast_given, PLAIN, "ballast.c: a part is free", "a smaller reserve")          \
    /* The log. */                                                                     \
    X(log_write, ERROR, "lmdb_log.c: before the transaction", "nothing of the write")  \
    X(log_filled, ERROR, "lmdb_log.c: before its commit", "nothing of the write")      \
    X(log_written, PLAIN, "lmdb_log.c: stored, nobody knows", "all of the write")      \
    X(log_hard, ERROR, "lmdb_log.c: term and vote before the commit",                  \
      "the old vote, which nobody heard of")                                           \
    X(log_hard_written, PLAIN, "lmdb_log.c: the vote is stored, not sent",             \
      "the vote stands")                                                               \
    X(log_truncate, PLAIN, "lmdb_log.c: entries give way, before the commit",          \
      "the old entries")                                                               \
    X(log_compact, PLAIN, "lmdb_log.c: compaction before the commit", "all entries")   \
    X(log_compacted, PLAIN, "lmdb_log.c: compaction is stored",                        \
      "the state has what is gone")                                                    \
    X(log_reset, PLAIN, "lmdb_log.c: reset before the commit",                         \
      "the mark finishes it at the start")                                             \
    X(log_was_reset, PLAIN, "lmdb_log.c: reset is stored, the mark is there",          \
      "the next start clears the mark")                                                \
    X(log_repair, PLAIN, "lmdb_log.c: the right entry before the commit",              \
      "the damaged entry is fetched again")                                            \
    X(log_repaired, PLAIN, "lmdb_log.c: the right entry is stored", "it is whole")     \
    X(log_sweep, PLAIN, "lmdb_log.c: before old entries are deleted",                  \
      "they lie there")                                                                \
    X(log_swept, PLAIN, "lmdb_log.c: old entries are deleted", "they are gone")        \
    X(identity_save, ERROR, "identity.c: a peer's incarnation before the commit",      \
      "it is met anew")                                                                \
    X(identity_saved, PLAIN, "identity.c: it is stored, the peer was not told",        \
      "it is told after the start")                                                    \
    /* The state. */                                                                   \
    X(checkpoint_freeze, PLAIN, "group_store.c: the delta is frozen",                  \
      "the log has its entries")                                                       \
    X(checkpoint, ERROR, "lmdb_state.c: before the transaction",                       \
      "the last checkpoint")                                                           \
    X(checkpoint_rows, ERROR, "lmdb_state.c: rows are put, before the commit",         \
      "the last checkpoint")                                                           \
    X(checkpoint_written, PLAIN, "lmdb_state.c: stored, nobody knows",                 \
      "entries that it covers are not applied twice")                                  \
    X(mark_clear, ERROR, "lmdb_state.c: before the mark is cleared",                   \
      "the reset is done again")                                                       \
    X(mark_cleared, PLAIN, "lmdb_state.c: the mark is cleared", "state and log agree") \
    X(state_sweep, PLAIN, "lmdb_state.c: before old rows are deleted",                 \
      "they lie there")                                                                \
    X(state_swept, PLAIN, "lmdb_state.c: old rows are deleted", "they are gone")       \
    /* Snapshots that are made. */                                                     \
    X(snap_make, ERROR, "lmdb_snap_make.c: before the file is made", "no file")        \
    X(snap_write, WRITE, "lmdb_snap_make.c: a part of the file", "a .tmp to delete")   \
    X(snap_sync, ERROR, "lmdb_snap_make.c: before the file is synced",                 \
      "a .tmp to delete")                                                              \
    X(snap_rename, ERROR, "lmdb_snap_make.c: before it gets its name",                 \
      "a .tmp to delete")                                                              \
    X(snap_renamed, PLAIN, "lmdb_snap_make.c: it has its name, not synced",            \
      "a file to delete")                                                              \
    X(snap_made, PLAIN, "lmdb_snap_make.c: the old file is still there",               \
      "files to delete")                                                               \
    /* Snapshots that are received and installed. */                                   \
    X(chunk_new, PLAIN, "lmdb_snap_recv.c: an empty file for chunks",                  \
      "it is received anew")                                                           \
    X(chunk_write, WRITE, "lmdb_snap_recv.c: a chunk", "whole frames stay")            \
    X(chunk_sync, ERROR, "lmdb_snap_recv.c: a chunk before its sync",                  \
      "whole frames stay")                                                             \
    X(chunk_folder, PLAIN, "lmdb_snap_recv.c: the first chunk, folder not synced",     \
      "it is received anew")                                                           \
    X(chunk_stored, PLAIN, "lmdb_snap_recv.c: a chunk is stored, nobody knows",        \
      "it goes on behind it")                                                          \
    X(install, ERROR, "lmdb_snap_install.c: verified, no row is written",              \
      "the old state")                                                                 \
    X(install_batch, PLAIN, "lmdb_snap_install.c: some rows of the new generation",    \
      "the old state, rows to sweep")                                                  \
    X(install_switch, ERROR, "lmdb_snap_install.c: all rows, before the switch",       \
      "the old state, rows to sweep")                                                  \
    X(install_switched, PLAIN, "lmdb_snap_install.c: switched in, with the mark",      \
      "the new state; the start resets the log")                                       \
    X(install_forgot, PLAIN, "lmdb_snap_install.c: the received file is deleted",      \
      "the new state; the start resets the log")                                       \
    /* The loop: between what is durable, what others hear, what clients hear. */      \
    X(turn_disk, PLAIN, "node.c: before writes are handed to the disk",                \
      "what nobody heard of may be missing")                                           \
    X(turn_peers, PLAIN, "node.c: before peers are spoken to", "as turn_disk")         \
    X(turn_clients, PLAIN, "node.c: before clients are answered",                      \
      "what is done stays done")                                                       \
    X(turn_done, PLAIN, "node.c: the turn is over", "what is done stays done")         \
    X(log_heard, PLAIN, "disk.c: durable, the groups were not told",                   \
      "entries that count as soon as they are found")                                  \
    X(job_heard, PLAIN, "disk.c: another job is done, its group was not told",         \
      "its result is found at the start")                                              \
    X(feed, PLAIN, "group_feed.c: before an event", "it is as if lost")                \
    X(feed_store, PLAIN, "group_feed.c: before its writes are queued",                 \
      "nothing of it was sent")                                                        \
    X(feed_send, PLAIN, "group_feed.c: before its messages", "they are as if lost")    \
    X(send_pre_vote, PLAIN, "peers_raft.c: asking whether to ask", "as if lost")       \
    X(send_pre_vote_reply, PLAIN, "peers_raft.c: its answer", "as if lost")            \
    X(send_vote, PLAIN, "peers_raft.c: asking for a vote", "its own vote is stored")   \
    X(send_vote_reply, PLAIN, "peers_raft.c: voting", "the vote is stored")            \
    X(send_append, PLAIN, "peers_raft.c: entries", "they may not be durable here")     \
    X(send_append_reply, PLAIN, "peers_raft.c: acknowledging entries",                 \
      "the entries are stored")                                                        \
    X(send_heartbeat, PLAIN, "peers_raft.c: a heartbeat", "as if lost")                \
    X(send_heartbeat_reply, PLAIN, "peers_raft.c: its answer", "as if lost")           \
    X(send_snapshot, PLAIN, "peers_raft.c: a chunk", "another leader goes on")         \
    X(send_snapshot_reply, PLAIN, "peers_raft.c: its answer", "the chunk is stored")   \
    X(send_timeout_now, PLAIN, "peers_raft.c: handing a group over",                   \
      "somebody is elected")                                                           \
    X(hello_send, PLAIN, "peers_hello.c: saying who it is", "the link begins anew")    \
    X(hello_accept, PLAIN, "peers_hello.c: before a peer is believed",                 \
      "the link begins anew")                                                          \
    X(apply, PLAIN, "group_apply.c: before an entry is applied",                       \
      "it is applied after the start")                                                 \
    X(applied, PLAIN, "group_apply.c: applied, not answered",                          \
      "it is applied again over the last checkpoint, once")                            \
    X(read_serve, PLAIN, "group_read.c: confirmed, not answered", "no harm")           \
    X(compact, PLAIN, "group_store.c: the log is to be shortened", "the whole log")    \
    X(reply, PLAIN, "reply.c: before an answer is encoded", "what is done stays done") \
    X(replied, PLAIN, "reply.c: encoded, not yet sent", "what is done stays done")     \
    X(forward, PLAIN, "peers_forward.c: before a request is passed on",                \
      "certainly not done, or unknown")                                                \
    X(forward_reply, PLAIN, "peers_forward.c: before its answer goes back",            \
      "unknown to the client, and done")                                               \
    /* A clean end. */                                                                 \
    X(stop, PLAIN, "node_stop.c: asked to stop", "as kill -9")                         \
    X(stop_hand_over, PLAIN, "node_stop.c: a group is to be handed over",              \
      "as kill -9")                                                                    \
    X(stop_loop, PLAIN, "main.c: the loop has ended", "as kill -9")                    \
    X(stop_threads, PLAIN, "main.c: threads and sockets are gone", "as kill -9")       \
    X(stop_node, PLAIN, "main.c: the node is gone, the store is open", "as kill -9")   \
    X(stop_done, PLAIN, "main.c: the store is closed", "as kill -9")

#ifdef KV_FAILPOINTS

enum failpoint {
#define FAILPOINT_ENUM(name, kinds, where, leaves) FAILPOINT_AT_##name,
    FAILPOINT_MAP(FAILPOINT_ENUM)
#undef FAILPOINT_ENUM
    FAILPOINTS_COUNT
};

/* Reached: does what it is armed for. 0, or the KV_E* to go on with. */
#define KV_FAILPOINT(name) failpoint_hit(FAILPOINT_AT_##name)

/* Reached, before pwrite(fd, data, len, offset). */
#define KV_FAILPOINT_WRITE(name, fd, data, len, offset) \
    failpoint_hit_write(FAILPOINT_AT_##name, fd, data, len, offset)

int failpoint_hit(enum failpoint p);
void failpoint_hit_write(enum failpoint p, int fd, const void *data, size_t len,
                         off_t offset);

/* Arms "NAME=ACTION[@N[..]]", several with commas between. False, and those before the
 * wrong one are armed, when it cannot be read or the point cannot do that. */
bool failpoint_arm(const char *text);

/* One of the list, for printing; hits: how often it was reached. False behind the end.
 */
struct failpoint_about {
    const char *name, *kinds, *where, *leaves;
    uint64_t hits;
};
bool failpoint_about(size_t at, struct failpoint_about *out);

#else

#define KV_FAILPOINT(name)                              0
#define KV_FAILPOINT_WRITE(name, fd, data, len, offset) ((void)0)

#endif
#endif
