/* tests/sim/trace.c - records into rings, rings into words. */
#include "tests/sim/trace.h"

#include <stdarg.h>
#include <string.h>

#include "raft/base/err.h"
#include "raft/base/hash.h"
#include "raft/trace.h"

typedef unsigned long long ull;

struct words {
    char *text;
    size_t cap, len;
};

static void say(struct words *w, const char *format, ...) KV_PRINTF(2, 3);
static void say(struct words *w, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(w->text + w->len, w->cap - w->len, format, args);
    va_end(args);
    w->len = KV_MIN(w->len + (size_t)KV_MAX(n, 0), w->cap - 1);
}

/* ---- records ---- */

static struct trace_record *record(struct trace *t, uint64_t at_us, uint32_t node,
                                   uint32_t group, enum trace_kind kind)
{
    struct trace_ring *ring = &t->rings[node < TRACE_NODES ? node : 0];
    struct trace_record *r = &ring->records[ring->next++ % TRACE_RING];

    r->at_us = at_us;
    r->kind = (uint8_t)kind;
    r->node = (uint8_t)node;
    r->group = (uint16_t)group;
    trace_mix(t, at_us << 12 ^ (uint64_t)node << 8 ^ (uint64_t)kind);
    return r;
}

static void tell(const struct trace *t, const struct trace_record *r)
{
    char line[TRACE_LINE];

    if (t->print) {
        trace_words(r, line, sizeof line);
        printf("%s\n", line);
    }
}

void trace_text(struct trace *t, uint64_t at_us, uint32_t node, const char *text)
{
    struct trace_record *r = record(t, at_us, node, 0, TRACE_LINE_OF_NODE);
    size_t len = strlen(text);

    trace_mix(t, kv_hash64(text, len));
    len = KV_MIN(len, sizeof r->u.text - 1);
    memcpy(r->u.text, text, len);
    r->u.text[len] = '\0';
    tell(t, r);
}

static void msg_fill(struct trace_msg *o, const struct raft_msg *m)
{
    *o = (struct trace_msg){.type = (uint8_t)m->type,
                            .from = (uint8_t)m->from,
                            .to = (uint8_t)m->to,
                            .granted = m->granted,
                            .rejected = m->rejected,
                            .done = m->chunk.done,
                            .count = m->entries_count,
                            .term = m->term,
                            .pos = m->prev};
    switch (m->type) {
    case RAFT_MSG_PRE_VOTE:
    case RAFT_MSG_VOTE:
        o->pos = m->last;
        break;
    case RAFT_MSG_APPEND:
    case RAFT_MSG_HEARTBEAT:
        o->number = m->commit;
        break;
    case RAFT_MSG_SNAPSHOT:
    case RAFT_MSG_SNAPSHOT_REPLY:
        o->pos = m->snapshot.last.pos;
        o->number = m->chunk.offset;
        o->count = m->chunk.len;
        break;
    default:
        o->number = m->match;
        break;
    }
}

void trace_msg(struct trace *t, uint64_t at_us, uint32_t node, uint32_t group,
               const struct raft_msg *m, bool sent)
{
    struct trace_record *r;

    trace_mix(t, (uint64_t)m->type << 56 ^ (uint64_t)m->to << 48 ^ m->term << 32 ^
                     m->commit ^ m->match << 8 ^ m->prev.index << 16 ^ m->round << 24 ^
                     at_us);
    if ((m->type == RAFT_MSG_HEARTBEAT || m->type == RAFT_MSG_HEARTBEAT_REPLY) &&
        !t->heartbeats) {
        return;
    }
    r = record(t, at_us, node, group, sent ? TRACE_SENT : TRACE_HEARD);
    msg_fill(&r->u.msg, m);
    tell(t, r);
}

void trace_role(struct trace *t, uint64_t at_us, uint32_t node, uint32_t group,
                enum raft_role role, raft_id leader, raft_term term)
{
    struct trace_record *r = record(t, at_us, node, group, TRACE_ROLE);

    r->u.role.role = (uint8_t)role;
    r->u.role.leader = (uint8_t)leader;
    r->u.role.term = term;
    trace_mix(t, term << 16 ^ leader << 4 ^ role);
    tell(t, r);
}

void trace_commit(struct trace *t, uint64_t at_us, uint32_t node, uint32_t group,
                  raft_index index, raft_index last)
{
    struct trace_record *r = record(t, at_us, node, group, TRACE_COMMIT);

    r->u.commit.index = index;
    r->u.commit.last = last;
    trace_mix(t, index << 20 ^ last);
    tell(t, r);
}

void trace_call(struct trace *t, uint64_t at_us, enum trace_kind kind,
                const struct trace_call *call)
{
    struct trace_record *r = record(t, at_us, 0, 0, kind);

    r->u.call = *call;
    trace_mix(t, (uint64_t)call->client << 56 ^ (uint64_t)call->method << 48 ^
                     (uint64_t)call->outcome << 40 ^ (uint64_t)call->key << 8 ^
                     call->value ^ (uint32_t)call->error);
    tell(t, r);
}

void trace_config(struct trace *t, uint64_t at_us, uint32_t node, uint32_t group,
                  raft_index index, const struct raft_config *config)
{
    struct trace_record *r = record(t, at_us, node, group, TRACE_CONFIG);
    char text[RAFT_TRACE_BYTES];

    raft_trace_config(config, text, sizeof text);
    snprintf(r->u.text, sizeof r->u.text, "goes by entry %llu: %.70s", (ull)index,
             text);
    trace_mix(t, kv_hash64(r->u.text, strlen(r->u.text)));
    tell(t, r);
}

/* ---- words ---- */

static void say_entries(struct words *w, const struct trace_msg *m)
{
    if (m->count == 0) {
        say(w, "no entry behind %llu of term %llu", (ull)m->pos.index,
            (ull)m->pos.term);
    } else if (m->count == 1) {
        say(w, "entry %llu behind one of term %llu", (ull)m->pos.index + 1,
            (ull)m->pos.term);
    } else {
        say(w, "entries %llu to %llu behind one of term %llu", (ull)m->pos.index + 1,
            (ull)(m->pos.index + m->count), (ull)m->pos.term);
    }
    say(w, ", committed up to %llu", (ull)m->number);
}

static void say_msg(struct words *w, const struct trace_msg *m)
{
    switch ((enum raft_msg_type)m->type) {
    case RAFT_MSG_PRE_VOTE:
        say(w, "would you vote for me in term %llu? My log ends at %llu of term %llu",
            (ull)m->term, (ull)m->pos.index, (ull)m->pos.term);
        break;
    case RAFT_MSG_VOTE:
        say(w, "vote for me in term %llu! My log ends at %llu of term %llu",
            (ull)m->term, (ull)m->pos.index, (ull)m->pos.term);
        break;
    case RAFT_MSG_PRE_VOTE_REPLY:
        say(w, "%s, I would%s (term %llu)", m->granted ? "yes" : "no",
            m->granted ? "" : " not", (ull)m->term);
        break;
    case RAFT_MSG_VOTE_REPLY:
        say(w, "%s vote in term %llu", m->granted ? "you have my" : "you do not get my",
            (ull)m->term);
        break;
    case RAFT_MSG_APPEND:
        say(w, "term %llu: ", (ull)m->term);
        say_entries(w, m);
        break;
    case RAFT_MSG_APPEND_REPLY:
        if (m->rejected) {
            say(w, "I have no entry %llu of term %llu (term %llu)", (ull)m->pos.index,
                (ull)m->pos.term, (ull)m->term);
        } else {
            say(w, "I have all up to %llu (term %llu)", (ull)m->number, (ull)m->term);
        }
        break;
    case RAFT_MSG_HEARTBEAT:
        say(w, "I lead term %llu, committed up to %llu", (ull)m->term, (ull)m->number);
        break;
    case RAFT_MSG_HEARTBEAT_REPLY:
        say(w, "I follow in term %llu, have all up to %llu%s", (ull)m->term,
            (ull)m->number, m->rejected ? ", but lost my state" : "");
        break;
    case RAFT_MSG_SNAPSHOT:
        say(w, "bytes %llu to %llu%s of the snapshot at %llu of term %llu",
            (ull)m->number, (ull)(m->number + m->count), m->done ? ", the last" : "",
            (ull)m->pos.index, (ull)m->pos.term);
        break;
    case RAFT_MSG_SNAPSHOT_REPLY:
        say(w, "%s byte %llu%s",
            m->rejected ? "go on with the snapshot at" : "I have the snapshot up to",
            (ull)m->number, m->done ? ", all of it" : "");
        break;
    case RAFT_MSG_TIMEOUT_NOW:
        say(w, "lead in my place, begin now");
        break;
    default:
        say(w, "message of type %u", m->type);
        break;
    }
}

static void say_role(struct words *w, const struct trace_record *r)
{
    static const char *const becomes[] = {"follows", "asks around in", "campaigns in",
                                          "leads"};

    say(w, "%s term %llu", becomes[r->u.role.role % 4], (ull)r->u.role.term);
    if (r->u.role.role == RAFT_FOLLOWER && r->u.role.leader != 0) {
        say(w, ", led by %u", r->u.role.leader);
    }
}

static void say_call(struct words *w, const struct trace_record *r)
{
    static const char *const ends[] = {
        [LINEAR_OK] = "done", [LINEAR_FAIL] = "not done", [LINEAR_UNKNOWN] = "unknown"};
    const struct trace_call *c = &r->u.call;

    say(w, "client %u %s node %u: %s of key %u", c->client,
        r->kind == TRACE_CALL ? "asks" : "asked", c->node,
        rpc_method_name((enum rpc_method)c->method), c->key);
    if (c->value != 0) {
        say(w, ", value %llu", (ull)c->value);
    }
    if (r->kind == TRACE_RETURN) {
        say(w, ": %s%s%s", ends[c->outcome], c->error == 0 ? "" : ", ",
            kv_err_word(c->error));
    }
}

void trace_words(const struct trace_record *r, char *out, size_t cap)
{
    struct words w = {.text = out, .cap = cap};

    out[0] = '\0';
    say(&w, "[%10.3f ms] ", (double)r->at_us / 1e3);
    if (r->node != 0) {
        say(&w, "node %u", r->node);
        if (r->kind != TRACE_LINE_OF_NODE) {
            say(&w, " group %u", r->group);
        }
        say(&w, ": ");
    }
    switch ((enum trace_kind)r->kind) {
    case TRACE_LINE_OF_NODE:
    case TRACE_CONFIG:
        say(&w, "%s", r->u.text);
        break;
    case TRACE_SENT:
        say(&w, "tells %u: ", r->u.msg.to);
        say_msg(&w, &r->u.msg);
        break;
    case TRACE_HEARD:
        say(&w, "hears %u: ", r->u.msg.from);
        say_msg(&w, &r->u.msg);
        break;
    case TRACE_ROLE:
        say_role(&w, r);
        break;
    case TRACE_COMMIT:
        say(&w, "committed up to %llu of %llu", (ull)r->u.commit.index,
            (ull)r->u.commit.last);
        break;
    case TRACE_CALL:
    case TRACE_RETURN:
        say_call(&w, r);
        break;
    case TRACE_NONE:
        break;
    }
}

void trace_print_ring(const struct trace_ring *ring, uint32_t count, FILE *out)
{
    char line[TRACE_LINE];
    uint32_t have = KV_MIN(KV_MIN(ring->next, (uint32_t)TRACE_RING), count);

    for (uint32_t i = ring->next - have; i < ring->next; i++) {
        trace_words(&ring->records[i % TRACE_RING], line, sizeof line);
        fprintf(out, "    %s\n", line);
    }
}
