/* raft/progress.c - the moves of one peer's progress, and its flight. */
#include "raft/progress.h"

#include "raft/base/check.h"

struct progress_row {
    const char *text;
    uint32_t may_become; /* Bits of the states that may follow. */
};

#define PROGRESS_BIT(state) (1u << (state))

static const struct progress_row progress_rows[RAFT_PROGRESS_STATES_COUNT] = {
    [RAFT_PROGRESS_PROBE] = {"probe", PROGRESS_BIT(RAFT_PROGRESS_PROBE) |
                                          PROGRESS_BIT(RAFT_PROGRESS_REPLICATE) |
                                          PROGRESS_BIT(RAFT_PROGRESS_SNAPSHOT)},
    [RAFT_PROGRESS_REPLICATE] = {"replicate", PROGRESS_BIT(RAFT_PROGRESS_PROBE) |
                                                  PROGRESS_BIT(RAFT_PROGRESS_SNAPSHOT)},
    [RAFT_PROGRESS_SNAPSHOT] = {"snapshot", PROGRESS_BIT(RAFT_PROGRESS_PROBE)},
};

static void progress_move(struct raft_progress *p, enum raft_progress_state to)
{
    KV_ASSERT(progress_rows[p->state].may_become & PROGRESS_BIT(to));
    p->state = to;
    p->state_lost = false;
    p->probe_sent = false;
    p->flight.begin = 0;
    p->flight.count = 0;
    p->flight.bytes = 0;
}

void raft_progress_init(struct raft_progress *p, raft_id id, raft_index next,
                        struct raft_flight_item *items, uint32_t flight_max)
{
    KV_ASSERT(id != 0 && next >= 1 && flight_max >= 1);
    *p = (struct raft_progress){
        .id = id,
        .state = RAFT_PROGRESS_PROBE,
        .next = next,
        .flight = {.items = items, .max = flight_max},
    };
}

void raft_progress_probe(struct raft_progress *p, raft_index next)
{
    progress_move(p, RAFT_PROGRESS_PROBE);
    p->next = KV_MAX(next, p->match + 1);
    p->snapshot_id = 0;
}

void raft_progress_replicate(struct raft_progress *p)
{
    progress_move(p, RAFT_PROGRESS_REPLICATE);
    p->next = KV_MAX(p->next, p->match + 1);
}

void raft_progress_snapshot(struct raft_progress *p, uint64_t now_ms)
{
    progress_move(p, RAFT_PROGRESS_SNAPSHOT);
    p->snapshot_id = 0;
    p->moved_ms = now_ms;
}

/* Forgets the messages that an ack of `match` answers. */
static void flight_land(struct raft_flight *f, raft_index match)
{
    while (f->count > 0 && f->items[f->begin].last <= match) {
        KV_ASSERT(f->bytes >= f->items[f->begin].bytes);
        f->bytes -= f->items[f->begin].bytes;
        f->begin = f->begin + 1 == f->max ? 0 : f->begin + 1;
        f->count--;
    }
}

bool raft_progress_ack(struct raft_progress *p, raft_index match, uint64_t round,
                       uint64_t now_ms)
{
    if (match <= p->match) {
        return false;
    }
    p->match = match;
    p->match_round = round;
    p->moved_ms = now_ms;
    p->next = KV_MAX(p->next, match + 1);
    flight_land(&p->flight, match);
    return true;
}

void raft_progress_forgot(struct raft_progress *p, raft_index next)
{
    p->amnesiac = true;
    p->match = 0;
    raft_progress_probe(p, next);
}

void raft_progress_sent(struct raft_progress *p, raft_index last, uint32_t bytes,
                        uint64_t now_ms)
{
    struct raft_flight *f = &p->flight;
    uint32_t slot = f->begin + f->count;

    KV_ASSERT(p->state == RAFT_PROGRESS_REPLICATE);
    KV_ASSERT(f->count < f->max);
    if (f->count == 0) {
        p->moved_ms = now_ms; /* From here on it has something to answer. */
    }
    f->items[slot >= f->max ? slot - f->max : slot] =
        (struct raft_flight_item){.last = last, .bytes = bytes};
    f->count++;
    f->bytes += bytes;
    p->next = last + 1;
}

bool raft_progress_full(const struct raft_progress *p, uint64_t flight_bytes_max)
{
    return p->flight.count == p->flight.max || p->flight.bytes >= flight_bytes_max;
}

const char *raft_progress_text(enum raft_progress_state state)
{
    KV_ASSERT(state < RAFT_PROGRESS_STATES_COUNT);
    return progress_rows[state].text;
}
