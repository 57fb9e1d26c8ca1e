/* raft/base/bug.h - bugs that real systems had, built in for the simulators to find.
 *
 * Only MODE=mutants builds have them (KV_MUTANTS); there one can be switched on per
 * object, through the field `bug` of its options: kvsim --bug B05. Elsewhere KV_BUG()
 * is the constant false, so no other build contains anything of them (tests/tidy
 * compares). A plant is one short expression in the line that it breaks. What each
 * breaks where, what kills it, and why others cannot exist here: tests/sim/MUTANTS.md.
 *
 * Needs:    nothing of ours.
 * Used by:  raft/, storage/, server/, tests/lib, tests/sim.
 * Threads:  any.
 * Source:   B: bugs that were found in other Raft systems, one link each; K: dangers of
 *           our own design.
 */
#ifndef KV_RAFT_BASE_BUG_H
#define KV_RAFT_BASE_BUG_H

#include <stdbool.h>
#include <stdint.h>

#ifdef KV_MUTANTS
#define KV_BUG(options, name) ((options).bug == KV_BUG_##name)
#else
#define KV_BUG(options, name) false
#endif

/* X(name, what is wrong, where it was seen) */
#define KV_BUG_MAP(X)                                                                 \
    X(B01, "entries of older terms are committed by counting",                        \
      "canonical/raft#220, Figure 8")                                                 \
    X(B02, "a new leader appends no no-op", "floyd#17")                               \
    X(B03, "a read before the first commit of the term", "etcd#7331")                 \
    X(B04, "a read is answered before its round is confirmed", "d-engine#381")        \
    X(B05, "a read's round has the number of an older one", "etcd#20418")             \
    X(B09, "two configuration changes in flight", "RedisLabs/raft da936a9")           \
    X(B10, "a truncated configuration stays in force", "canonical/raft#323")          \
    X(B11, "an uncommitted configuration is lost at a restart", "jraft#1")            \
    X(B12, "a joint configuration loses its old half at a restart",                   \
      "etcd-io/raft e515a67")                                                         \
    X(B13, "half of the joint quorum is not asked", "CCF, NSDI 2025")                 \
    X(B14, "a snapshot's configuration replaces a newer one", "NuRaft#566")           \
    X(B15, "a snapshot resets the vote", "RedisLabs/raft d23f390")                    \
    X(B16, "stepping down within a term clears the vote", "etcd 9d2a465, CCF#8094")   \
    X(B17, "a pre-vote clears the vote", "canonical/raft 98d8f51")                    \
    X(B18, "a vote is not stored", "nebula#3415")                                     \
    X(B19, "two votes in one term", "nebula#2405")                                    \
    X(B20, "a voter is counted twice", "xraft#27")                                    \
    X(B21, "a vote of an older term counts", "little-raft#44")                        \
    X(B22, "logs are compared by index although the terms differ",                    \
      "hashicorp/raft 441bd09")                                                       \
    X(B23, "half of an even number of voters elects", "hashicorp/raft 163a55f")       \
    X(B24, "learners count in the quorum", "hashicorp/raft#308")                      \
    X(B25, "who does not vote campaigns", "etcd-io/raft db54973")                     \
    X(B26, "who was cut off raises the term", "etcd#9241")                            \
    X(B27, "pre-votes of lower terms are not answered", "etcd#8243")                  \
    X(B28, "a leader of an older term is not told", "etcd#8501")                      \
    X(B29, "a leader without its quorum stays", "Cloudflare 2020")                    \
    X(B31, "who installs a snapshot campaigns", "etcd-io/raft f1f74e0")               \
    X(B32, "a short message truncates the log", "RedisLabs/raft 396f7b7")             \
    X(B33, "an ack names more than was proven", "NuRaft 972f02d")                     \
    X(B34, "a rejection moves the match index", "CCF, NSDI 2025")                     \
    X(B35, "done is said of another term's entry", "redpanda#3003")                   \
    X(B36, "a compacted position has term 0", "etcd-io/raft 76f1249")                 \
    X(B37, "a leader alone counts itself before its disk", "etcd#14370")              \
    X(B38, "more is stored as committed than is", "etcd#10219")                       \
    X(B39, "a heartbeat's commit index is not bounded", "etcd#10166")                 \
    X(B40, "the commit index at a restart lies before what is applied",               \
      "etcd-io/raft 8ecce32")                                                         \
    X(B41, "rows and applied index in two transactions", "etcd 3.5")                  \
    X(B42, "term and vote are not synced", "etcd-io/raft 0675f3d")                    \
    X(B43, "an interrupted reset of the log is not finished", "redisraft#43")         \
    X(B44, "a snapshot that comes late is installed", "etcd#18055")                   \
    X(B45, "a new term forgets the snapshot being installed",                         \
      "canonical/raft 2a38d3d")                                                       \
    X(B46, "an empty directory rejoins under its old id", "openraft#898")             \
    X(B47, "a frame of another cluster is taken", "etcd cluster id mismatch")         \
    X(B48, "milliseconds in 32 bits", "NuRaft ed1c153")                               \
    X(B49, "a forwarded request is carried out twice", "etcd 8608063")                \
    X(B50, "one link that is down ends the broadcast", "RedisLabs/raft 02fda63")      \
    X(B51, "an answer for a dead process goes to the next one", "reused message ids") \
    X(B52, "a retry is applied again after a checkpoint",                             \
      "jetcd, TiDB: sessions lost over a snapshot")                                   \
    X(K01, "acks of older terms count", "")                                           \
    X(K02, "commit follows the leader past what is proven", "Figure 2")               \
    X(K03, "a leader counts itself before its disk", "diss. 10.2.1")                  \
    X(K04, "replicated time goes back", "")                                           \
    X(K05, "a read is served before its index is applied", "")                        \
    X(K06, "a read joins a round that is under way", "")                              \
    X(K07, "a heartbeat's reply goes to another group", "")                           \
    X(K08, "a lost forward is sent again", "")                                        \
    X(K09, "entries are applied before they are committed", "")                       \
    X(K10, "a snapshot drops acknowledged entries behind it", "")                     \
    X(K11, "a checkpoint runs ahead of the durable log", "")                          \
    X(K12, "a job's end stands for writes queued behind it", "")                      \
    X(K13, "entries that replace others count as durable", "")                        \
    X(K14, "a vote without comparing logs", "")                                       \
    X(K15, "conflicting entries are kept", "")                                        \
    X(K16, "the log is committed without a sync", "nats-server#7564")                 \
    X(K17, "a leader answers reads alone, and stays", "etcd#741")                     \
    X(K31, "a quorum read does not look at pending entries", "")                      \
    X(K32, "a quorum read believes the highest revision", "")                         \
    X(K33, "answers of an outdated configuration are counted", "")                    \
    X(K34, "a new R is believed before its W is committed", "")                       \
    X(K35, "W is lowered without both quorums", "")                                   \
    X(K36, "a write is acknowledged before w replicas hold it", "")                   \
    X(K37, "if_rev is not looked at", "")                                             \
    X(K39, "a key that is overwritten keeps its time to live", "")                    \
    X(K38, "a pending range delete is not looked at", "")                             \
    X(K21, "a session read does not wait for what the token names", "")               \
    X(K22, "the age of a stale read is always 0", "")                                 \
    X(K24, "a write's result is not kept", "")                                        \
    X(K25, "an expired request is applied", "")                                       \
    X(K26, "a request below the floor is applied", "")                                \
    X(K27, "a cas that did not swap is forgotten", "")                                \
    X(K28, "records are forgotten before their time", "")                             \
    X(K40, "a read's fence is not looked at", "")                                     \
    X(K41, "a higher token is let in and not noted", "")                              \
    X(K42, "a keepalive is acknowledged though the end is proposed", "")              \
    X(K43, "a new leader's leases have run out already", "")                          \
    X(K44, "a token is given again after a release", "")                              \
    X(K50, "a resumed watch skips a revision", "")                                    \
    X(K51, "a watch's position is one ahead of what was applied", "")                 \
    X(K52, "only the first change of a batch is matched", "")                         \
    X(K53, "watches are not ended when a snapshot is taken over", "")                 \
    X(K54, "a restarted node does not say what it does not keep", "")

#ifdef KV_MUTANTS
enum kv_bug {
    KV_BUG_NONE,
#define KV_BUG_ENUM(name, what, seen) KV_BUG_##name,
    KV_BUG_MAP(KV_BUG_ENUM)
#undef KV_BUG_ENUM
    KV_BUGS_COUNT
};
#endif

#endif
