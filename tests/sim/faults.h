/* tests/sim/faults.h - what may go wrong in a seed: strengths, counters, calls.
 *
 * Strengths are numbers, 0 turns a fault off, and they stand in one list, so that a
 * failing seed can be tried again with fewer of them.
 *
 * Needs:    raft/base.
 * Used by:  tests/sim/ (sim.h includes it).
 * Threads:  one.
 */
#ifndef KV_TESTS_SIM_FAULTS_H
#define KV_TESTS_SIM_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

struct sim;
struct sim_event;
struct sim_swarm;

/* Faults that come at random times: the mean time between two of a kind, by the name
 * of the field in struct sim_strengths; and how each of them begins (faults_*.c). */
#define SIM_NEMESIS_MAP(X)                      \
    X(config_every_ms, operator_change)         \
    X(crash_every_ms, faults_crash_idle)        \
    X(turn_crash_every_ms, faults_crash_turn)   \
    X(job_crash_every_ms, faults_crash_job)     \
    X(all_down_every_ms, faults_all_down)       \
    X(cut_every_ms, faults_cut)                 \
    X(clog_every_ms, faults_clog)               \
    X(pause_every_ms, faults_pause)             \
    X(step_every_ms, faults_clock_step)         \
    X(rot_entry_every_ms, faults_rot_entry)     \
    X(rot_row_every_ms, faults_rot_row)         \
    X(rot_file_every_ms, faults_rot_file)       \
    X(lose_node_every_ms, faults_lose_node)     \
    X(ruin_every_ms, faults_ruin)               \
    X(write_error_every_ms, faults_write_error) \
    X(misread_every_ms, faults_misread)         \
    X(full_every_ms, faults_full)               \
    X(slow_every_ms, faults_slow)               \
    X(memory_every_ms, faults_memory)           \
    X(stall_every_ms, faults_stall)             \
    X(reset_every_ms, faults_reset)             \
    X(transfer_every_ms, operator_transfer)     \
    X(hunt_every_ms, faults_hunt)

/* Each kind of fault has its own chance: without one of them the others come at the
 * same times and places. */
enum sim_chance {
    CHANCE_LOSS,
    CHANCE_DUP,
    CHANCE_REORDER,
    CHANCE_REPLAY,
    CHANCE_STRAY,
    CHANCE_NEMESES, /* + row of SIM_NEMESIS_MAP */
#define SIM_NEMESIS_ONE(name, begin) +1
    SIM_NEMESES = SIM_NEMESIS_MAP(SIM_NEMESIS_ONE),
#undef SIM_NEMESIS_ONE
    CHANCES_COUNT = CHANCE_NEMESES + SIM_NEMESES,
};

/* Bounds of the nodes, set so low that the branches behind them are common; 0: as kvd
 * has them. Their ranges are in limits.c. */
#define SIM_LIMIT_MAP(X)  \
    X(limit_queued)       \
    X(limit_batch)        \
    X(limit_batch_bytes)  \
    X(limit_ring)         \
    X(limit_tail)         \
    X(limit_undurable)    \
    X(limit_read_batches) \
    X(limit_read_count)   \
    X(limit_serve_bytes)  \
    X(limit_apply)        \
    X(limit_read_ahead)   \
    X(limit_chunks)       \
    X(limit_flight)       \
    X(limit_flight_bytes) \
    X(limit_append)       \
    X(limit_append_bytes) \
    X(limit_chunk_bytes)  \
    X(limit_chunk_flight) \
    X(limit_window_bits)  \
    X(limit_requests)     \
    X(limit_waiting)      \
    X(limit_delta)        \
    X(limit_scrub)        \
    X(limit_deadline)     \
    X(limit_retention)    \
    X(limit_results)      \
    X(limit_history)      \
    X(limit_election)

/* What belongs to them, and what happens all the time. ppm: of a million. Those that
 * share their name with one before come last: options.c has a bit for each name. */
#define SIM_STRENGTH_MAP(X)                                          \
    SIM_LIMIT_MAP(X)                                                 \
    X(loss_ppm) /* Of deliveries between nodes. */                   \
    X(dup_ppm)                                                       \
    X(reorder_ppm)                                                   \
    X(replay_ppm)    /* Once more, up to replay_ms later. */         \
    X(stray_ppm)     /* A frame for another node or cluster, too. */ \
    X(capacity)      /* Deliveries under way between two nodes. */   \
    X(capacity_busy) /* 1: more are refused; 0: they are lost. */    \
    X(restart_ms)                                                    \
    X(rate_ppm) /* Clocks differ by up to this much. */              \
    X(replay_ms)                                                     \
    X(cut_ms)                                                        \
    X(clog_ms)                                                       \
    X(pause_ms)                                                      \
    X(step_ms) /* Wall clocks jump by up to this much. */            \
    X(full_ms)                                                       \
    X(slow_ms)

struct sim_strengths {
#define SIM_NEMESIS_FIELD(name, begin) uint32_t name;
    SIM_NEMESIS_MAP(SIM_NEMESIS_FIELD)
#undef SIM_NEMESIS_FIELD
#define SIM_STRENGTH_FIELD(name) uint32_t name;
    SIM_STRENGTH_MAP(SIM_STRENGTH_FIELD)
#undef SIM_STRENGTH_FIELD
};

/* Counted where it happens. */
#define SIM_FAULT_COUNT_MAP(X) \
    SIM_LIMIT_MAP(X)           \
    X(frames_lost)             \
    X(frames_dup)              \
    X(frames_reordered)        \
    X(frames_replayed)         \
    X(strays_cluster)          \
    X(strays_receiver)         \
    X(frames_cut)              \
    X(frames_clogged)          \
    X(frames_over_capacity)    \
    X(frames_refused)          \
    X(loss_above_10_percent)   \
    X(loss_above_25_percent)   \
    X(dup_above_40_percent)    \
    X(cut_one)                 \
    X(cut_sides)               \
    X(cut_ring)                \
    X(cut_bridge)              \
    X(cut_link)                \
    X(cut_one_way)             \
    X(configs_begun)           \
    X(configs_refused)         \
    X(transfers_begun)         \
    X(transfers_refused)       \
    X(at_leaders)              \
    X(hunts)                   \
    X(hunted)                  \
    X(heals)                   \
    X(clogs)                   \
    X(clogs_into)              \
    X(clogs_out_of)            \
    X(resets)                  \
    X(pauses)                  \
    X(clock_steps)             \
    X(crashes)                 \
    X(crash_idle)              \
    X(crash_in_turn)           \
    X(crash_before_job)        \
    X(crash_after_job)         \
    X(crash_at_log)            \
    X(crash_at_reset)          \
    X(crash_at_compact)        \
    X(crash_at_repair)         \
    X(crash_at_identity)       \
    X(crash_at_checkpoint)     \
    X(crash_at_snapshot_make)  \
    X(crash_at_chunk)          \
    X(crash_at_chunk_torn)     \
    X(crash_at_install)        \
    X(crash_at_mark_clear)     \
    X(all_down)                \
    X(jobs_lost)               \
    X(restarts)                \
    X(rot_entry)               \
    X(rot_row)                 \
    X(rot_made_file)           \
    X(rot_received_file)       \
    X(rot_hard)                \
    X(ruined)                  \
    X(ruined_halted)           \
    X(lost_directory)          \
    X(refused_directory)       \
    X(refused_hard)            \
    X(write_errors)            \
    X(halts_io_error)          \
    X(misreads)                \
    X(store_faults_met)        \
    X(full)                    \
    X(full_to_the_brim)        \
    X(memory_faults)           \
    X(halts_memory)            \
    X(starts_memory)           \
    X(slow_one)                \
    X(slow_all)                \
    X(stalls)                  \
    X(stalled_installs)

/* EV_NEMESIS: arg is a row of SIM_NEMESIS_MAP, or one of these. */
enum {
    FAULTS_END_CUT = 1000,
    FAULTS_END_FULL,
};

/* ---- swarm.c: what a seed may do ---- */
void swarm_draw(struct sim *s, const struct sim_swarm *fixed);

/* ---- limits.c: how little room the nodes have ---- */
struct node_config;
void limits_draw(struct sim *s);
void limits_apply(const struct sim *s, struct node_config *c);

/* ---- faults.c: when ---- */
void faults_start(struct sim *s);
void faults_event(struct sim *s, struct sim_event *ev);
void faults_heal(struct sim *s);
/* From the chance of the fault that is being begun, else from the world's. */
uint64_t faults_draw(struct sim *s);
uint32_t faults_draw_between(struct sim *s, uint32_t low, uint32_t high);
bool faults_coin(struct sim *s);
/* The end of a fault that begins now, around `mean_ms` from here. */
uint64_t faults_until_us(struct sim *s, uint32_t mean_ms);

/* ---- faults_crash.c: nodes die and come back ---- */
void faults_crash_idle(struct sim *s, uint32_t node);
void faults_crash_turn(struct sim *s, uint32_t node);
void faults_crash_job(struct sim *s, uint32_t node);
/* Whoever wins an election of some group dies of it, for a while. */
void faults_hunt(struct sim *s, uint32_t node);
void faults_elected(struct sim *s, uint32_t node, uint32_t group);
void faults_all_down(struct sim *s, uint32_t node);
/* It died by itself (a crash inside a turn or a job, an expected halt): it comes back
 * later. */
void faults_node_died(struct sim *s, uint32_t node);
/* A job of the node is about to run: true when the node dies of it, and then the
 * caller ends it. The job ran, or in part, or not at all. */
struct disk_job;
bool faults_job_kills(struct sim *s, uint32_t node, struct disk_job *job);
/* A job of the node, of some kind, will hang for a while. */
void faults_stall(struct sim *s, uint32_t node);
/* How much longer this job takes. */
uint64_t faults_job_stall_us(struct sim *s, uint32_t node, const struct disk_job *job);

/* ---- operator.c: configurations and leaders ---- */
void operator_change(struct sim *s, uint32_t node);
void operator_transfer(struct sim *s, uint32_t node);
/* The group's leader that can be told now; 0: none. */
uint32_t operator_leader(const struct sim *s, uint32_t group);

/* ---- faults_net.c ---- */
void faults_cut(struct sim *s, uint32_t node);
void faults_cut_end(struct sim *s);
void faults_clog(struct sim *s, uint32_t node);
/* Nothing reaches a node for a while, or nothing leaves it; then all of it arrives. */
void faults_clog_node(struct sim *s, uint32_t node, bool into, uint64_t until_us);
void faults_clog_end(struct sim *s);
void faults_reset(struct sim *s, uint32_t node);

/* ---- faults_disk.c ---- */
void faults_rot_entry(struct sim *s, uint32_t node);
void faults_rot_row(struct sim *s, uint32_t node);
void faults_rot_file(struct sim *s, uint32_t node);
void faults_lose_node(struct sim *s, uint32_t node);
void faults_ruin(struct sim *s, uint32_t node);
void faults_write_error(struct sim *s, uint32_t node);
void faults_misread(struct sim *s, uint32_t node);
void faults_full(struct sim *s, uint32_t node);
void faults_full_end(struct sim *s, uint32_t node);
void faults_slow(struct sim *s, uint32_t node);
void faults_disk_heal(struct sim *s, uint32_t node);
/* A fault explains that this node halted, or did not start. */
bool faults_excuse_halt(struct sim *s, uint32_t node, int code);
/* That a replica stopped. */
bool faults_excuse_group(struct sim *s, uint32_t node, uint32_t group);
bool faults_excuse_start(struct sim *s, uint32_t node, int code);

/* ---- faults.c: clocks ---- */
void faults_pause(struct sim *s, uint32_t node);
void faults_clock_step(struct sim *s, uint32_t node);
void faults_memory(struct sim *s, uint32_t node);

#endif
