/* raft/trace.c - small helpers that append to a bounded buffer. */
#include "raft/trace.h"

#include "raft/base/check.h"

/* used < cap; text[used] is the NUL. */
struct line {
    char *text;
    size_t cap;
    size_t used;
};

static void put_text(struct line *l, const char *s)
{
    while (*s != '\0' && l->used + 1 < l->cap) {
        l->text[l->used++] = *s++;
    }
    l->text[l->used] = '\0';
}

static void put_number(struct line *l, uint64_t v)
{
    char digits[21];
    size_t at = sizeof digits - 1;

    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    put_text(l, digits + at);
}

static void put_field(struct line *l, const char *name, uint64_t v)
{
    put_text(l, name);
    put_number(l, v);
}

static void put_field_set(struct line *l, const char *name, uint64_t v)
{
    if (v != 0) {
        put_field(l, name, v);
    }
}

static void put_pos(struct line *l, const char *name, struct raft_pos pos)
{
    put_field(l, name, pos.index);
    put_field(l, "/", pos.term);
}

static void put_flag(struct line *l, const char *name, bool set)
{
    if (set) {
        put_text(l, name);
    }
}

const char *raft_trace_role(enum raft_role role)
{
    static const char *const texts[] = {
        [RAFT_FOLLOWER] = "follower",
        [RAFT_PRE_CANDIDATE] = "pre_candidate",
        [RAFT_CANDIDATE] = "candidate",
        [RAFT_LEADER] = "leader",
    };

    KV_ASSERT((size_t)role < KV_ARRAY_COUNT(texts));
    return texts[role];
}

const char *raft_trace_type(enum raft_msg_type type)
{
    static const char *const texts[RAFT_MSG_TYPES_COUNT] = {[RAFT_MSG_NONE] = "none",
#define TRACE_TEXT(name, text) [name] = text,
                                                            RAFT_MSG_MAP(TRACE_TEXT)
#undef TRACE_TEXT
    };

    return (size_t)type < RAFT_MSG_TYPES_COUNT ? texts[type] : texts[RAFT_MSG_NONE];
}

static void put_snapshot(struct line *l, const struct raft_msg *m)
{
    put_field(l, " id=", m->chunk.snapshot_id);
    if (m->type == RAFT_MSG_SNAPSHOT) {
        put_pos(l, " last=", m->snapshot.last.pos);
    }
    put_field(l, " offset=", m->chunk.offset);
    put_field_set(l, " len=", m->chunk.len);
    put_flag(l, " done", m->chunk.done);
    put_flag(l, " gap", m->rejected);
}

static void put_body(struct line *l, const struct raft_msg *m)
{
    switch (m->type) {
    case RAFT_MSG_PRE_VOTE:
    case RAFT_MSG_VOTE:
        put_pos(l, " last=", m->last);
        put_flag(l, " transfer", m->transfer);
        put_flag(l, " hint", m->hint);
        break;
    case RAFT_MSG_PRE_VOTE_REPLY:
    case RAFT_MSG_VOTE_REPLY:
        put_text(l, m->granted ? " granted" : " refused");
        break;
    case RAFT_MSG_APPEND:
        put_pos(l, " prev=", m->prev);
        put_field(l, " entries=", m->entries_count);
        put_field(l, " commit=", m->commit);
        put_field(l, " round=", m->round);
        break;
    case RAFT_MSG_APPEND_REPLY:
        if (m->rejected) {
            put_pos(l, " rejected prev=", m->prev);
            put_pos(l, " conflict=", m->conflict);
        }
        put_field(l, " match=", m->match);
        put_field(l, " round=", m->round);
        break;
    case RAFT_MSG_HEARTBEAT:
        put_field(l, " commit=", m->commit);
        put_field(l, " round=", m->round);
        break;
    case RAFT_MSG_HEARTBEAT_REPLY:
        if (m->rejected) {
            put_field(l, " state_lost least=", m->conflict.index);
        }
        put_field(l, " match=", m->match);
        put_field(l, " round=", m->round);
        break;
    case RAFT_MSG_SNAPSHOT:
    case RAFT_MSG_SNAPSHOT_REPLY:
        put_snapshot(l, m);
        break;
    default:
        break;
    }
}

size_t raft_trace_msg(const struct raft_msg *m, char *out, size_t cap)
{
    struct line l = {.text = out, .cap = cap};

    KV_ASSERT(cap >= 1);
    out[0] = '\0';
    put_number(&l, m->from);
    put_field(&l, " > ", m->to);
    put_text(&l, " ");
    put_text(&l, raft_trace_type(m->type));
    put_field(&l, " term=", m->term);
    put_body(&l, m);
    return l.used;
}

static void put_ids(struct line *l, const char *name, const raft_id *ids,
                    uint32_t count)
{
    for (uint32_t i = 0; i < count && i < RAFT_REPLICAS_MAX; i++) {
        put_field(l, i == 0 ? name : ",", ids[i]);
    }
}

size_t raft_trace_config(const struct raft_config *c, char *out, size_t cap)
{
    struct line l = {.text = out, .cap = cap};

    KV_ASSERT(cap >= 1);
    out[0] = '\0';
    put_ids(&l, "voters=", c->voters, c->voters_count);
    put_flag(&l, "none", c->voters_count == 0);
    put_field_set(&l, " w=", c->w);
    put_ids(&l, " old=", c->voters_old, c->voters_old_count);
    put_field_set(&l, " w_old=", c->w_old);
    put_ids(&l, " learners=", c->learners, c->learners_count);
    return l.used;
}
