/* server/group_repair.c - damaged entries are fetched by hash; rows, with a snapshot.
 *
 * An entry at or below the checkpoint is not needed to recover: the log is compacted
 * past it. One behind it makes the replica impaired (no votes, acks or leadership, no
 * quorum reads) until a peer supplies it, or a leader replaces it. No record is
 * believed that does not continue our own hash chain.
 *
 * When nobody has the entry any more, what it did is in the others' states.
 *
 * A damaged row makes the state useless: nothing is applied, read or written any more
 * until the leader's snapshot has replaced all of it. The log is as good as before.
 */
#include "raft/record.h"
#include "server/group_internal.h"

void group_entry_damaged(struct group *g, raft_index index)
{
    if (g->damage.index != 0 && g->damage.index <= index) {
        return;
    }
    g->damage.index = index;
    g->damage.fetch_ms = 0;
    g->damage.overwritten_by = 0;
    group_wake(g);
}

void group_state_damaged(struct group *g)
{
    if (g->lost.is_lost) {
        return;
    }
    g->lost.is_lost = true;
    group_log(
        g, LOG_ERROR,
        "is=state_lost why=\"a row of the state failed its checksum: this replica "
        "serves again when it has a snapshot\"");
    group_wake(g);
}

void group_state_replaced(struct group *g)
{
    g->lost = (struct group_lost){0};
}

/* The only voter has nobody to get a snapshot from. */
static bool is_alone(struct group *g)
{
    const struct raft_config *c = group_config(g);

    return c->voters_count == 1 && c->voters_old_count == 0 && c->voters[0] == g->self;
}

static void lost_flush(struct group *g)
{
    struct raft_event ev = {.kind = RAFT_EV_STATE_LOST};
    raft_index checkpoint = state_checkpoint_base(g->st)->pos.index;

    if (!g->lost.is_lost || g->lost.told || g->install_phase != GROUP_INSTALL_NONE) {
        return; /* What is being installed may be all that is needed. */
    }
    if (is_alone(g)) {
        group_halt(g, KV_EDAMAGED,
                   "a row of the state failed its checksum, and there is no other "
                   "replica: the group cannot go on");
        return;
    }
    g->lost.told = true;
    /* The state on disk never goes back; a checkpoint under way may take it further. */
    ev.u.index =
        KV_MAX(g->lost.least, g->checkpoint_running ? group_applied(g) : checkpoint);
    (void)group_feed(g, &ev);
}

raft_index group_repair_scan(struct group *g, raft_index from, raft_index last)
{
    struct store *s = g->node->store;
    struct raft_meta meta;

    for (raft_index i = from; i <= last; i++) {
        /* What is in memory counts as long as the disk need not have it. */
        if ((i <= g->durable || !tail_has(&g->tail, i)) &&
            s->ops->log_meta(s, g->id, i, &meta) == KV_EDAMAGED) {
            return i;
        }
    }
    return 0;
}

void group_on_damage(struct group *g, const struct store_damage *damage)
{
    KV_ASSERT(damage->group == g->id);
    group_log(g, LOG_ERROR, "damaged=%s index=%llu", damage->in_state ? "row" : "entry",
              (unsigned long long)damage->index);
    if (damage->in_state) {
        group_state_damaged(g);
    } else {
        group_entry_damaged(g, damage->index);
    }
}

/* ---- what an entry must look like ---- */

/* The hash that the entry before `index` ends with; false when it cannot be read. */
static bool hash_before(struct group *g, raft_index index, uint64_t *out)
{
    struct raft_meta meta;

    if (index == 1) {
        *out = 0;
        return true;
    }
    if (raft_meta_get(g->raft, index - 1, &meta) != 0) {
        return false;
    }
    *out = meta.hash;
    return true;
}

/* Does the entry behind it continue the candidate's hash? */
static bool successor_agrees(struct group *g, const struct raft_entry *candidate)
{
    struct kv_bytes record;
    struct raft_entry next;
    struct log_state log;
    struct store *s = g->node->store;

    if (candidate->pos.index == g->last.index) {
        return s->ops->log_load(s, g->id, &log) == 0 &&
               log.last.pos.index == candidate->pos.index &&
               log.last.pos.term == candidate->pos.term &&
               log.last.hash == candidate->hash;
    }
    arena_reset(&g->records_arena);
    return group_record(g, candidate->pos.index + 1, &g->records_arena, &record) == 0 &&
           raft_record_decode(record, &next) == 0 &&
           raft_entry_hash(candidate->hash, &next) == next.hash;
}

static bool is_the_one(struct group *g, const struct raft_entry *candidate)
{
    struct raft_meta meta;
    uint64_t before;

    if (hash_before(g, candidate->pos.index, &before) &&
        raft_entry_hash(before, candidate) != candidate->hash) {
        return false;
    }
    if (raft_meta_get(g->raft, candidate->pos.index, &meta) == 0) {
        return meta.pos.term == candidate->pos.term && meta.hash == candidate->hash;
    }
    return successor_agrees(g, candidate);
}

/* ---- repairing ---- */

static void repair_start(struct group *g, struct kv_bytes record)
{
    struct disk_job *job = &g->repair_job;
    uint8_t *copy = kv_mem_zalloc(record.len);

    if (copy == NULL) {
        return; /* The next fetch tries again. */
    }
    memcpy(copy, record.data, record.len);
    g->damage.record = copy;
    g->damage.repairing = true;
    *job = (struct disk_job){.kind = DISK_REPAIR, .group = g->id};
    job->u.repair.index = g->damage.wanted;
    job->u.repair.record = kv_bytes(copy, record.len);
    disk_submit(g->node->disk, job);
}

void group_on_fetched(struct group *g, raft_index index, struct kv_bytes record)
{
    struct raft_entry entry;

    if (g->halted != 0 || g->damage.index == 0 || g->damage.wanted != index ||
        g->damage.repairing || g->damage.overwritten_by != 0) {
        return;
    }
    if (raft_record_decode(record, &entry) != 0 || entry.pos.index != index ||
        !is_the_one(g, &entry)) {
        group_log(g, LOG_WARN, "damaged_entry=%llu fetched=other",
                  (unsigned long long)index);
        return;
    }
    repair_start(g, record);
}

/* Tells the core. It may find another entry that it cannot read: then it stays
 * impaired, and group_entry_damaged() has noted which one. */
static void feed_impaired(struct group *g, bool impaired)
{
    struct raft_event ev = {.kind = RAFT_EV_IMPAIRED};

    ev.u.impaired = impaired;
    g->damage.told = group_feed(g, &ev) != 0 || impaired;
}

/* The damaged entry is whole again or gone. */
static void damage_over(struct group *g)
{
    raft_index repaired = g->damage.index;
    bool told = g->damage.told;
    raft_index next;

    group_apply_forget(g);
    g->damage = (struct group_damage){.told = told};
    next = group_repair_scan(g, KV_MAX(repaired, group_applied(g) + 1), g->last.index);
    if (next != 0) {
        group_entry_damaged(g, next);
        return;
    }
    if (told) {
        feed_impaired(g, false);
        if (g->damage.told && g->damage.index == 0) {
            group_halt(g, KV_ECORRUPT,
                       "the log cannot be read although no entry is damaged");
            return;
        }
    }
    if (g->damage.index != 0) {
        return;
    }
    group_log(g, LOG_INFO, "damaged_entry=%llu is=repaired",
              (unsigned long long)repaired);
    group_wake(g);
}

void group_repair_job(struct group *g, struct disk_job *job)
{
    raft_index index = job->u.repair.index;

    kv_mem_free(g->damage.record);
    g->damage.record = NULL;
    g->damage.repairing = false;
    if (job->result == 0) {
        damage_over(g);
        return;
    }
    group_log(g, LOG_WARN, "damaged_entry=%llu repair=failed error=\"%s\"",
              (unsigned long long)index, kv_err_text(job->result));
}

void group_repair_overwritten(struct group *g, raft_index first, uint64_t write)
{
    if (g->damage.index != 0 && first <= g->damage.index &&
        g->damage.overwritten_by == 0) {
        g->damage.overwritten_by = write;
    }
}

/* The last entry of the stretch of damaged ones that begins at `index`. */
static raft_index damaged_end(struct group *g, raft_index index)
{
    while (index < g->last.index && group_repair_scan(g, index + 1, index + 1) != 0) {
        index++;
    }
    return index;
}

/* The others have compacted their logs past the damaged entry: what it did is in their
 * states, and the leader's takes the place of ours. An entry that is not known to be
 * committed is none of those: a leader replaces it, or confirms it. */
static bool give_up(struct group *g)
{
    struct group_damage *d = &g->damage;

    d->tries += g->leader != 0;
    if (d->tries <= GROUP_FETCH_TRIES || d->index > g->commit || g->lost.is_lost) {
        return false;
    }
    group_log(g, LOG_ERROR,
              "damaged_entry=%llu is=state_lost why=\"no peer has this entry any more: "
              "this replica serves again when it has a snapshot\"",
              (unsigned long long)d->index);
    g->lost.is_lost = true;
    g->lost.least = d->index;
    group_wake(g);
    return true;
}

/* Asks the others, or takes it from our own memory. */
static void fetch(struct group *g)
{
    raft_index index = damaged_end(g, g->damage.index);
    struct raft_meta meta;

    g->damage.wanted = index;
    if (tail_has(&g->tail, index)) {
        repair_start(g, tail_get(&g->tail, index));
        return;
    }
    if (is_alone(g)) {
        group_halt(g, KV_EDAMAGED,
                   "an entry of the log failed its checksum, and there is no other "
                   "replica: the group cannot go on");
        return;
    }
    if (raft_meta_get(g->raft, index, &meta) != 0) {
        meta.hash = 0; /* Not known: what comes must fit to its neighbours. */
    }
    peers_fetch_entry(g->node, g, index, meta.hash);
}

uint64_t group_repair_deadline_ms(const struct group *g)
{
    const struct group_damage *d = &g->damage;

    if (d->index == 0 || d->repairing || d->overwritten_by != 0 ||
        g->install_phase != GROUP_INSTALL_NONE) {
        return UINT64_MAX; /* The end of a job goes on with it. */
    }
    return d->fetch_ms;
}

void group_repair_flush(struct group *g)
{
    struct group_damage *d = &g->damage;
    raft_index checkpoint = state_checkpoint_base(g->st)->pos.index;

    lost_flush(g);
    if (d->index == 0 || d->repairing || g->install_phase != GROUP_INSTALL_NONE) {
        return;
    }
    if (d->overwritten_by != 0) {
        if (g->writes_done >= d->overwritten_by) {
            damage_over(g);
        }
        return;
    }
    if (d->index <= checkpoint && group_applied(g) >= checkpoint) {
        struct raft_base base = *state_checkpoint_base(g->st);

        group_log(g, LOG_WARN, "damaged_entry=%llu is=compacted",
                  (unsigned long long)d->index);
        group_compact(g, &base);
        damage_over(g);
        return;
    }
    if (!d->told) {
        group_log(g, LOG_ERROR, "damaged_entry=%llu is=impaired",
                  (unsigned long long)d->index);
        feed_impaired(g, true);
    }
    if (g->now_ms >= d->fetch_ms) {
        d->fetch_ms = g->now_ms + GROUP_FETCH_MS;
        if (!give_up(g)) {
            fetch(g);
        }
    }
}
