/* tests/lib/raft_script.c - the scenario commands. */
#include "tests/lib/raft_script.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "raft/base/err.h"
#include "raft/record.h"
#include "raft/state.h"
#include "raft/trace.h"
#include "tests/lib/raft_cluster.h"

enum {
    SCRIPT_OUT_MAX = 256 * 1024,
    SCRIPT_WORDS_MAX = 32
};

struct raft_script {
    struct raft_cluster *c;
    bool quiet; /* The command's trace is not wanted. */
    bool taken;
    size_t used;
    char out[SCRIPT_OUT_MAX];
    /* The command that runs: words[0] is its name. */
    char line[512];
    int words_count;
    const char *words[SCRIPT_WORDS_MAX];
};

/* ---- output and input ---- */

static void put_line(void *ctx, const char *line)
{
    struct raft_script *s = ctx;

    if (!s->quiet && s->used + strlen(line) + 2 < sizeof s->out) {
        s->used +=
            (size_t)snprintf(s->out + s->used, sizeof s->out - s->used, "%s\n", line);
    }
}

KV_PRINTF(2, 3)
static void say(struct raft_script *s, const char *format, ...)
{
    char line[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    put_line(s, line);
}

static void split(struct raft_script *s, const char *line)
{
    char *save = NULL;
    char *word;

    snprintf(s->line, sizeof s->line, "%s", line);
    s->words_count = 0;
    for (word = strtok_r(s->line, " \t\r\n", &save); word != NULL;
         word = strtok_r(NULL, " \t\r\n", &save)) {
        KV_ASSERT(s->words_count < SCRIPT_WORDS_MAX);
        s->words[s->words_count++] = word;
    }
}

/* The text behind "name=", NULL when the command has no such word. */
static const char *option(const struct raft_script *s, const char *name)
{
    size_t len = strlen(name);

    for (int i = 1; i < s->words_count; i++) {
        if (strncmp(s->words[i], name, len) == 0 && s->words[i][len] == '=') {
            return s->words[i] + len + 1;
        }
    }
    return NULL;
}

static uint64_t number(const struct raft_script *s, const char *name,
                       uint64_t otherwise)
{
    const char *text = option(s, name);

    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static bool flag(const struct raft_script *s, const char *name)
{
    for (int i = 1; i < s->words_count; i++) {
        if (strcmp(s->words[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Word `at` as a number; 0 when there is none. */
static uint64_t word(const struct raft_script *s, int at)
{
    return at < s->words_count ? strtoull(s->words[at], NULL, 10) : 0;
}

static struct raft_pos pos_of(const char *text)
{
    struct raft_pos pos = {0};
    char *rest = NULL;

    if (text != NULL) {
        pos.index = strtoull(text, &rest, 10);
        pos.term = *rest == '/' ? strtoull(rest + 1, NULL, 10) : 0;
    }
    return pos;
}

static uint32_t ids_of(const char *text, raft_id *ids)
{
    uint32_t count = 0;

    while (text != NULL && *text != '\0' && count < RAFT_REPLICAS_MAX) {
        char *rest;

        ids[count++] = (raft_id)strtoul(text, &rest, 10);
        text = *rest == ',' ? rest + 1 : NULL;
    }
    return count;
}

static struct raft_config config_of(const struct raft_script *s)
{
    struct raft_config c = {0};

    c.voters_count = ids_of(option(s, "voters"), c.voters);
    c.learners_count = ids_of(option(s, "learners"), c.learners);
    c.w = (uint32_t)number(s, "w", 0);
    return c;
}

static raft_id node_of(const struct raft_script *s, int at)
{
    raft_id id = (raft_id)word(s, at);

    KV_ASSERT(id >= 1 && id <= RAFT_CLUSTER_NODES_MAX && s->c->nodes[id].made);
    return id;
}

/* Calls `fn` for each node named from word `at` on, for all that are up without any. */
static void for_nodes(struct raft_script *s, int at,
                      void (*fn)(struct raft_script *, raft_id))
{
    bool named = false;

    for (int i = at; i < s->words_count; i++) {
        if (s->words[i][0] >= '0' && s->words[i][0] <= '9') {
            named = true;
            fn(s, node_of(s, i));
        }
    }
    for (raft_id id = 1; id <= RAFT_CLUSTER_NODES_MAX && !named; id++) {
        if (s->c->nodes[id].up) {
            fn(s, id);
        }
    }
}

/* ---- life ---- */

/* nodes 3 [w=2] [learners=4] [spare=1] [window= flight= batch= bytes= …] [stopped] */
static void cmd_nodes(struct raft_script *s)
{
    struct raft_config config = {.w = (uint32_t)number(s, "w", 0)};
    const struct raft_config none = {0};
    raft_id last;

    config.learners_count = ids_of(option(s, "learners"), config.learners);
    config.voters_count = (uint32_t)word(s, 1);
    for (uint32_t i = 0; i < config.voters_count; i++) {
        config.voters[i] = i + 1;
    }
    last = config.voters_count + config.learners_count + (raft_id)number(s, "spare", 0);
    for (raft_id id = 1; id <= last; id++) {
        struct raft_cluster_node *n = raft_cluster_make(
            s->c, id, raft_quorum_member(&config, id) ? &config : &none);
        struct raft_options *o = &n->options;

        o->window = (uint32_t)number(s, "window", o->window);
        o->flight_messages_max = (uint32_t)number(s, "flight", o->flight_messages_max);
        o->append_entries_max = (uint32_t)number(s, "batch", o->append_entries_max);
        o->append_bytes_max = (uint32_t)number(s, "bytes", o->append_bytes_max);
        o->flight_bytes_max = (uint32_t)number(s, "flight_bytes", o->flight_bytes_max);
        o->snapshot_chunk_bytes = (uint32_t)number(s, "chunk", o->snapshot_chunk_bytes);
        if (!flag(s, "stopped")) {
            raft_cluster_start(s->c, id);
        }
    }
}

/* log 2 1/1 2/1 3/2: the entries on the disk of a replica that is down. Equal
 * positions have equal contents. */
static void cmd_log(struct raft_script *s)
{
    struct raft_cluster_node *n = &s->c->nodes[node_of(s, 1)];
    uint64_t hash = 0;
    struct raft_config config = n->disk.config;

    KV_ASSERT(!n->up);
    for (int i = 2; i < s->words_count; i++) {
        uint8_t payload[RAFT_CONFIG_BYTES_MAX] = {0};
        struct raft_entry e = {.pos = pos_of(s->words[i]), .type = RAFT_ENTRY_COMMAND};
        struct raft_entry *copy;

        kv_put_u64le(payload, e.pos.index * 1000 + e.pos.term);
        e.payload = kv_bytes(payload, 8);
        if (e.pos.index == 1) {
            e.type = RAFT_ENTRY_CONFIG;
            e.payload.len = raft_config_encode(&config, payload);
        }
        e.hash = raft_entry_hash(hash, &e);
        hash = e.hash;
        copy = raft_disk_entries_copy(&s->c->arena, &e, 1);
        raft_disk_log_put(&n->disk.log, &s->c->arena, copy, 1);
        raft_judge_entry(s->c->judge, copy);
        n->disk.term = KV_MAX(n->disk.term, e.pos.term);
    }
}

/* hard 2 term=3 vote=1 */
static void cmd_hard(struct raft_script *s)
{
    struct raft_cluster_node *n = &s->c->nodes[node_of(s, 1)];

    n->disk.term = number(s, "term", n->disk.term);
    n->disk.vote = (raft_id)number(s, "vote", 0);
}

static void start_one(struct raft_script *s, raft_id id)
{
    raft_cluster_start(s->c, id);
}

/* start [ID...]: all that are down without any */
static void cmd_start(struct raft_script *s)
{
    if (s->words_count > 1) {
        for_nodes(s, 1, start_one);
        return;
    }
    for (raft_id id = 1; id <= RAFT_CLUSTER_NODES_MAX; id++) {
        if (s->c->nodes[id].made && !s->c->nodes[id].up) {
            raft_cluster_start(s->c, id);
        }
    }
}

/* crash ID [keep=JOBS] */
static void cmd_crash(struct raft_script *s)
{
    raft_cluster_crash(s->c, node_of(s, 1), (uint32_t)number(s, "keep", 0));
}

/* forget ID from=INDEX: durable entries vanish, against all rules */
static void cmd_forget(struct raft_script *s)
{
    s->c->judge->forgiving = true;
    raft_cluster_forget(s->c, node_of(s, 1), number(s, "from", 1));
}

/* ---- time and events ---- */

/* campaign ID: its election timer runs out */
static void cmd_campaign(struct raft_script *s)
{
    struct raft_cluster_node *n = &s->c->nodes[node_of(s, 1)];
    uint64_t now_ms = raft_cluster_now_ms(s->c, n->id);

    if (n->deadline_ms > now_ms) {
        n->clock_ms += n->deadline_ms - now_ms;
    }
    (void)raft_cluster_tick(s->c, n->id);
}

static void tick_one(struct raft_script *s, raft_id id)
{
    (void)raft_cluster_tick(s->c, id);
}

/* tick MS [ID...]: time passes for all; the named replicas (all) notice */
static void cmd_tick(struct raft_script *s)
{
    s->c->now_ms += word(s, 1);
    for_nodes(s, 2, tick_one);
}

/* propose ID [COUNT] [bytes=N] */
static void cmd_propose(struct raft_script *s)
{
    raft_id id = node_of(s, 1);
    uint64_t count = word(s, 2);

    if (option(s, "bytes") != NULL) {
        (void)raft_cluster_propose_bytes(s->c, id, (uint32_t)number(s, "bytes", 0));
        return;
    }
    (void)raft_cluster_propose(s->c, id, count == 0 ? 1 : (uint32_t)count);
}

static void cmd_config(struct raft_script *s)
{
    struct raft_config config = config_of(s);

    (void)raft_cluster_propose_config(s->c, node_of(s, 1), &config);
}

static void cmd_read(struct raft_script *s)
{
    (void)raft_cluster_read(s->c, node_of(s, 1));
}

/* transfer ID TO */
static void cmd_transfer(struct raft_script *s)
{
    (void)raft_cluster_transfer(s->c, node_of(s, 1), (raft_id)word(s, 2));
}

/* hint ID PEER: ID hears that PEER's process died */
static void cmd_hint(struct raft_script *s)
{
    struct raft_event ev = {.kind = RAFT_EV_PEER_DOWN, .u.peer = (raft_id)word(s, 2)};

    (void)raft_cluster_step(s->c, node_of(s, 1), &ev);
}

static void cmd_impair(struct raft_script *s)
{
    struct raft_event ev = {.kind = RAFT_EV_IMPAIRED, .u.impaired = true};

    (void)raft_cluster_step(s->c, node_of(s, 1), &ev);
}

/* lose ID: its state is damaged */
static void cmd_lose(struct raft_script *s)
{
    raft_cluster_lose(s->c, node_of(s, 1));
}

static void cmd_repair(struct raft_script *s)
{
    struct raft_event ev = {.kind = RAFT_EV_IMPAIRED};

    (void)raft_cluster_step(s->c, node_of(s, 1), &ev);
}

/* ---- storage ---- */

static void persist_one(struct raft_script *s, raft_id id)
{
    uint32_t jobs = (uint32_t)number(s, "jobs", RAFT_DISK_JOBS_MAX);

    (void)raft_cluster_persist(s->c, id, jobs, flag(s, "merge"));
}

/* persist [ID...] [jobs=N] [merge] */
static void cmd_persist(struct raft_script *s)
{
    for_nodes(s, 1, persist_one);
}

static void cmd_checkpoint(struct raft_script *s)
{
    raft_cluster_checkpoint(s->c, node_of(s, 1));
}

/* compact ID INDEX */
static void cmd_compact(struct raft_script *s)
{
    raft_cluster_checkpoint(s->c, node_of(s, 1));
    raft_cluster_compact(s->c, node_of(s, 1), word(s, 2), true);
}

/* snapshot ID [at=INDEX]: makes one; snapshots auto|manual: whether that happens
 * alone */
static void cmd_snapshot(struct raft_script *s)
{
    raft_cluster_snapshot(s->c, node_of(s, 1), number(s, "at", 0));
}

static void cmd_snapshots(struct raft_script *s)
{
    s->c->auto_snapshot = flag(s, "auto");
}

/* fail ID snapshot=ID */
static void cmd_fail(struct raft_script *s)
{
    struct raft_event ev = {.kind = RAFT_EV_SNAPSHOT_FAILED,
                            .u.snapshot_id = number(s, "snapshot", 0)};

    s->c->nodes[node_of(s, 1)].disk.jobs_count = 0;
    (void)raft_cluster_step(s->c, node_of(s, 1), &ev);
}

/* ---- network ---- */

static bool matches(const struct raft_script *s, const struct raft_msg *m)
{
    const char *type = option(s, "type");
    raft_id from[RAFT_REPLICAS_MAX];
    raft_id to[RAFT_REPLICAS_MAX];
    uint32_t from_count = ids_of(option(s, "from"), from);
    uint32_t to_count = ids_of(option(s, "to"), to);

    return (from_count == 0 || raft_quorum_lists(from, from_count, m->from)) &&
           (to_count == 0 || raft_quorum_lists(to, to_count, m->to)) &&
           (type == NULL || strcmp(type, raft_trace_type(m->type)) == 0);
}

/* deliver|drop|twice [from=A,B] [to=C] [type=T] [n=COUNT]: of what is queued now */
static void each_message(struct raft_script *s, bool deliver, bool keep)
{
    uint64_t newest = s->c->messages_sent;
    uint64_t left = number(s, "n", UINT64_MAX);
    uint32_t at = 0;

    while (at < s->c->queue_count && left > 0) {
        if (s->c->queue[at].number > newest || !matches(s, &s->c->queue[at].m)) {
            at++;
            continue;
        }
        left--;
        if (deliver) {
            raft_cluster_deliver(s->c, at, keep);
            at += keep;
        } else {
            raft_cluster_drop(s->c, at);
        }
    }
}

static void cmd_deliver(struct raft_script *s)
{
    each_message(s, true, false);
}

static void cmd_twice(struct raft_script *s)
{
    each_message(s, true, true);
}

static void cmd_drop(struct raft_script *s)
{
    each_message(s, false, false);
}

static void cmd_reverse(struct raft_script *s)
{
    for (uint32_t a = 0, b = s->c->queue_count; a + 1 < b; a++) {
        struct raft_cluster_msg m = s->c->queue[--b];

        s->c->queue[b] = s->c->queue[a];
        s->c->queue[a] = m;
    }
}

static void cmd_settle(struct raft_script *s)
{
    raft_cluster_settle(s->c);
}

/* cut A B...: nothing passes between A and the others named; heal */
static void cmd_cut(struct raft_script *s)
{
    raft_id a = node_of(s, 1);

    for (int i = 2; i < s->words_count; i++) {
        raft_id b = (raft_id)word(s, i);

        s->c->blocked[a][b] = true;
        s->c->blocked[b][a] = s->c->blocked[b][a] || !flag(s, "oneway");
    }
}

static void cmd_heal(struct raft_script *s)
{
    memset(s->c->blocked, 0, sizeof s->c->blocked);
}

/* snapshot: id= last= hash_of= bytes= offset= len= */
static void forge_snapshot(struct raft_script *s, struct raft_msg *m)
{
    static const uint8_t bytes[256];
    const struct raft *to = s->c->nodes[m->to].raft;
    struct raft_snapshot *shot = &m->snapshot;
    struct raft_chunk *chunk = &m->chunk;

    shot->id = number(s, "id", 1);
    shot->last.pos = m->last;
    shot->last.hash = m->hash;
    shot->bytes = number(s, "bytes", 10);
    shot->config = *raft_config_get(to, &shot->config_index);
    chunk->snapshot_id = shot->id;
    chunk->offset = number(s, "offset", 0);
    chunk->len = (uint32_t)number(s, "len", 10);
    chunk->done = chunk->offset + chunk->len == shot->bytes;
    chunk->data = kv_bytes(bytes, chunk->len);
    m->last = (struct raft_pos){0};
    m->hash = 0;
    m->prev_hash = 0;
}

/* send TYPE from= to= term= [any field]: a forged message, delivered at once */
static void cmd_send(struct raft_script *s)
{
    struct raft_msg m = {.from = (raft_id)number(s, "from", 0),
                         .to = (raft_id)number(s, "to", 0),
                         .term = number(s, "term", 0),
                         .last = pos_of(option(s, "last")),
                         .prev = pos_of(option(s, "prev")),
                         .commit = number(s, "commit", 0),
                         .round = number(s, "round", 0),
                         .match = number(s, "match", 0),
                         .conflict = pos_of(option(s, "conflict")),
                         .granted = flag(s, "granted"),
                         .rejected = flag(s, "rejected"),
                         .transfer = flag(s, "transfer")};
    struct raft_event ev = {.kind = RAFT_EV_MESSAGE, .u.message = &m};
    struct raft_meta meta;
    struct raft_entry e;

    s->c->judge->forgiving = true; /* Nobody stands behind this message. */
    for (int t = 1; t < RAFT_MSG_TYPES_COUNT; t++) {
        if (strcmp(raft_trace_type((enum raft_msg_type)t), s->words[1]) == 0) {
            m.type = (enum raft_msg_type)t;
        }
    }
    if (option(s, "hash_of") != NULL) { /* The receiver's own hash there. */
        int rc = raft_meta_get(s->c->nodes[m.to].raft, number(s, "hash_of", 0), &meta);

        KV_ASSERT(rc == 0);
        m.hash = meta.hash;
        m.prev_hash = meta.hash;
    }
    m.prev_hash ^= flag(s, "bad_prev_hash");
    if (m.type == RAFT_MSG_SNAPSHOT) {
        forge_snapshot(s, &m);
    }
    if (option(s, "entry") != NULL) { /* One command; bad_hash breaks its chain. */
        e = (struct raft_entry){.pos = pos_of(option(s, "entry")),
                                .type = (uint8_t)number(s, "entry_type", 2),
                                .time_ms = number(s, "time", 2000000)};
        e.hash = raft_entry_hash(m.prev_hash, &e) + flag(s, "bad_hash");
        m.entries = &e;
        m.entries_count = 1;
    }
    (void)raft_cluster_step(s->c, m.to, &ev);
}

/* ---- looking ---- */

static void status_one(struct raft_script *s, raft_id id)
{
    struct raft_status st;

    raft_status_get(s->c->nodes[id].raft, &st);
    say(s,
        "%u %s term=%lu vote=%u leader=%u last=%lu/%lu durable=%lu commit=%lu "
        "base=%lu%s%s",
        id, raft_trace_role(st.role), st.term, st.vote, st.leader, st.last.index,
        st.last.term, st.last_durable, st.commit, st.base.pos.index,
        st.can_read ? " can_read" : "", st.transferring ? " transferring" : "");
}

static void cmd_status(struct raft_script *s)
{
    for_nodes(s, 1, status_one);
}

static void cmd_peers(struct raft_script *s)
{
    const struct raft *r = s->c->nodes[node_of(s, 1)].raft;

    for (uint32_t i = 0; i < r->peers_count; i++) {
        const struct raft_progress *p = &r->peers[i];

        say(s, "%u %s match=%lu next=%lu flight=%u%s", p->id,
            raft_progress_text(p->state), p->match, p->next, p->flight.count,
            p->amnesiac ? " amnesiac" : "");
    }
}

static void entries_one(struct raft_script *s, raft_id id)
{
    const struct raft_disk_log *log = &s->c->nodes[id].view;
    char line[512];
    size_t used = (size_t)snprintf(line, sizeof line, "%u:", id);

    for (raft_index i = log->base.pos.index + 1; i <= log->last && used < 480; i++) {
        used += (size_t)snprintf(line + used, sizeof line - used, " %lu/%lu", i,
                                 log->items[i - 1].pos.term);
    }
    say(s, "%s", line);
}

static void cmd_entries(struct raft_script *s)
{
    for_nodes(s, 1, entries_one);
}

static void cmd_queue(struct raft_script *s)
{
    for (uint32_t i = 0; i < s->c->queue_count; i++) {
        char text[RAFT_TRACE_BYTES];

        raft_trace_msg(&s->c->queue[i].m, text, sizeof text);
        say(s, "%s", text);
    }
}

/* ---- running ---- */

static const struct {
    const char *name;
    void (*fn)(struct raft_script *s);
} commands[] = {
    {"nodes", cmd_nodes},
    {"log", cmd_log},
    {"hard", cmd_hard},
    {"start", cmd_start},
    {"crash", cmd_crash},
    {"forget", cmd_forget},
    {"campaign", cmd_campaign},
    {"tick", cmd_tick},
    {"propose", cmd_propose},
    {"config", cmd_config},
    {"read", cmd_read},
    {"transfer", cmd_transfer},
    {"hint", cmd_hint},
    {"impair", cmd_impair},
    {"repair", cmd_repair},
    {"lose", cmd_lose},
    {"persist", cmd_persist},
    {"compact", cmd_compact},
    {"checkpoint", cmd_checkpoint},
    {"snapshot", cmd_snapshot},
    {"snapshots", cmd_snapshots},
    {"fail", cmd_fail},
    {"deliver", cmd_deliver},
    {"twice", cmd_twice},
    {"drop", cmd_drop},
    {"reverse", cmd_reverse},
    {"settle", cmd_settle},
    {"cut", cmd_cut},
    {"heal", cmd_heal},
    {"send", cmd_send},
    {"status", cmd_status},
    {"peers", cmd_peers},
    {"entries", cmd_entries},
    {"queue", cmd_queue},
};

struct raft_script *raft_script_new(void)
{
    struct raft_script *s = kv_mem_zalloc(sizeof *s);

    KV_ASSERT(s != NULL);
    s->c = raft_cluster_new(1);
    s->c->trace = put_line;
    s->c->trace_ctx = s;
    return s;
}

void raft_script_free(struct raft_script *s)
{
    raft_cluster_free(s->c);
    kv_mem_free(s);
}

void raft_script_run(struct raft_script *s, const char *line)
{
    if (s->taken) {
        s->taken = false;
        s->used = 0;
        s->out[0] = '\0';
    }
    s->quiet = strncmp(line, "quiet ", 6) == 0;
    split(s, s->quiet ? line + 6 : line);
    for (size_t i = 0; i < KV_ARRAY_COUNT(commands) && s->words_count > 0; i++) {
        if (strcmp(commands[i].name, s->words[0]) == 0) {
            commands[i].fn(s);
            return;
        }
    }
    s->quiet = false;
    say(s, "unknown command: %s", line);
}

const char *raft_script_take(struct raft_script *s)
{
    s->taken = true;
    if (s->used == 0) {
        snprintf(s->out, sizeof s->out, "ok\n");
    }
    return s->out;
}
