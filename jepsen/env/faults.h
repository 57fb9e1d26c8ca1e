/* jepsen/env/faults.h - what can be done to a cluster's links, disks, clocks and files.
 *
 * Every verb takes effect at once and lasts until it is taken back; fault_heal_all()
 * takes all of them back. What a verb did can be looked at from outside: by
 * fault_probe() through the real path, or by the counters of the disk layer.
 *
 * Needs:    jepsen/env/cluster.h.
 * Used by:  jepsen/nemesis, tests/jepsen.
 * Threads:  any, the verbs take turns.
 */
#ifndef KV_JEPSEN_ENV_FAULTS_H
#define KV_JEPSEN_ENV_FAULTS_H

#include "jepsen/env/cluster.h"

/* ---- links ---- */

/* Row and column of the clients in matrices of links; nodes have their own number. */
enum {
    FAULT_CLIENTS = 0,
    FAULT_ENDS_MAX = CLUSTER_NODES_MAX + 1
};

/* Who does not hear whom: bit S of from[D] is set when what S sends to D is lost
 * (netns) or held back (proxy: a stream loses nothing). Index and bit 0 are the
 * clients, I is node I: mind that these are no CLUSTER_BITs. */
struct fault_grudge {
    uint32_t from[FAULT_ENDS_MAX];
};

/* What a direction of a link does to what passes; all 0: nothing. */
struct fault_link {
    uint32_t delay_us;
    uint32_t jitter_us;        /* Uniform in delay +- jitter. */
    uint32_t loss_ppm;         /* proxy: a resend's time (200 ms) on top instead. */
    uint32_t duplicate_ppm;    /* netns only, as the next. */
    uint32_t reorder_ppm;      /* These overtake: they skip the delay. */
    uint64_t rate_bytes_per_s; /* 0: no limit. */
};

/* What a probe of a link saw. */
struct fault_probe {
    uint32_t sent;     /* Messages, 10 ms apart. */
    uint32_t received; /* Different ones that arrived. */
    uint32_t copies;   /* All that arrived, duplicates included. */
    uint32_t late;     /* Arrived behind one that was sent after them. */
    uint32_t min_us;   /* Time on the way; 0 when none arrived. */
    uint32_t median_us;
    uint32_t max_us;
};

/* Cuts exactly what the grudge says, heals all else. */
void fault_cut(struct cluster *c, const struct fault_grudge *g);

/* Shapes what `from` sends to `to` (FAULT_CLIENTS or a node's number). KV_EINVAL when
 * the environment cannot do it. */
KV_MUST_CHECK int fault_shape(struct cluster *c, uint32_t from, uint32_t to,
                              const struct fault_link *link);

/* Heals all cuts and shapes. */
void fault_heal_links(struct cluster *c);

/* Sends `count` (1 to 200) messages of its own from one end to the other, through the
 * same code path as everything else, and waits at most `wait_ms` behind the last. */
void fault_probe(struct cluster *c, uint32_t from, uint32_t to, uint32_t count,
                 uint32_t wait_ms, struct fault_probe *out);

/* ---- processes ---- */

/* The node runs for `percent` (1 to 100) of each 50 ms. */
void fault_cpu(struct cluster *c, uint32_t node, uint32_t percent);

/* ---- disk layer (not with bare_disk; KV_EINVAL then) ---- */

struct fault_disk {
    uint32_t sync_delay_us;  /* Each fsync, fdatasync and synchronous write. */
    uint32_t write_delay_us; /* Each write. */
    bool full;    /* Nothing grows any more: ENOSPC. What is freed can be used. */
    bool failing; /* Each write and sync fails with EIO. */
};

/* What the layer of one node has seen since it was opened; survives restarts. */
struct fault_disk_seen {
    uint64_t writes;
    uint64_t syncs;
    uint64_t refused;     /* Writes refused for want of space. */
    uint64_t failed;      /* Failed with EIO. */
    uint32_t sync_us_max; /* Longest sync since the last call. */
};

KV_MUST_CHECK int fault_disk(struct cluster *c, uint32_t node,
                             const struct fault_disk *d);
KV_MUST_CHECK int fault_disk_seen(struct cluster *c, uint32_t node,
                                  struct fault_disk_seen *out);

/* Power failure: kills the nodes of the mask at once, then takes back what they wrote
 * and did not sync. Each piece of 512 bytes that was not synced is kept nevertheless
 * with a chance of keep_ppm: disks do not lose in order.
 * *out_lost_bytes (may be NULL): taken back, over all nodes. 0, KV_EINVAL, KV_EIO. */
KV_MUST_CHECK int fault_power(struct cluster *c, uint32_t mask, uint32_t keep_ppm,
                              uint64_t *out_lost_bytes);

/* ---- clock (part of the disk layer) ---- */

/* The node's wall clock shows the real one plus offset_ms; with strobe_ms != 0 that
 * offset comes and goes each strobe_ms. Monotonic time is not touched. */
KV_MUST_CHECK int fault_clock(struct cluster *c, uint32_t node, int64_t offset_ms,
                              uint32_t strobe_ms);

/* The node's wall clock minus ours, as its client port's `hello` tells; in ms. 0, or
 * KV_ECONNECT, KV_ETIMEOUT, KV_EPROTO. */
KV_MUST_CHECK int fault_clock_offset(struct cluster *c, uint32_t node,
                                     int64_t *out_offset_ms);

/* ---- files of a node that is down ---- */

enum fault_damage {
    FAULT_BITFLIP,  /* One bit in each of `amount` random places that hold data. */
    FAULT_TRUNCATE, /* The last `amount` bytes are gone. */
    FAULT_COPY,     /* `amount` random pages are overwritten by others of the file. */
};

struct fault_damage_how {
    enum fault_damage kind;
    uint64_t amount;
    uint64_t seed; /* Of the places. */
};

/* Damages the largest file below the node's data folder (`which` 0), the second
 * largest (1) ... *out_file (CLUSTER_PATH_BYTES): its name.
 * KV_EINVAL: the node is up; KV_ENOTFOUND: no such file; KV_EIO. */
KV_MUST_CHECK int fault_damage(struct cluster *c, uint32_t node, uint32_t which,
                               const struct fault_damage_how *how, char *out_file);

/* Copies the node's data folder aside, and back; one copy per node, the last one.
 * A node that is up is paused while it is copied. 0, KV_EIO, KV_ENOTFOUND. */
KV_MUST_CHECK int fault_save(struct cluster *c, uint32_t node);
KV_MUST_CHECK int fault_restore(struct cluster *c, uint32_t node);

/* Empties the data folder of a node that is down. */
KV_MUST_CHECK int fault_wipe(struct cluster *c, uint32_t node);

/* Puts a copy of `from`'s data folder in place of node's, which is down; shared: a
 * link to the very folder. 0, KV_EINVAL, KV_EIO. */
KV_MUST_CHECK int fault_clone(struct cluster *c, uint32_t from, uint32_t node,
                              bool shared);

/* ---- all ---- */

/* Heals links, disks, clocks and CPU, and lets paused nodes go. Starts nothing. */
void fault_heal_all(struct cluster *c);

#endif
