/* server/balance.c - one gentle transfer at a time. */
#include "server/balance.h"

#include "raft/base/err.h"
#include "server/node_parts.h"
#include "server/peers.h"
#include "server/placement.h"

struct balance {
    bool is_off;
    uint64_t leading[NODE_GROUP_WORDS]; /* Groups led here. */
    uint32_t leading_count;
    uint64_t quiet_ms; /* Not before: something changed lately. */
    uint64_t next_ms;  /* Not before: pace. */
    uint32_t cursor;   /* Group to look at next, so that each has its turn. */
    uint64_t transfers;
    uint64_t again_ms[KV_GROUPS_MAX]; /* Not before, per group. */
};

int balance_new(struct balance **out)
{
    struct balance *b = kv_mem_zalloc(sizeof(*b));

    if (b == NULL) {
        return KV_ENOMEM;
    }
    *out = b;
    return 0;
}

void balance_free(struct balance *b)
{
    kv_mem_free(b);
}

void balance_enable(struct node *n, bool on)
{
    n->balance->is_off = !on;
}

void balance_note(struct node *n, group_id group, bool leads)
{
    struct balance *b = n->balance;
    uint64_t bit = (uint64_t)1 << (group % 64);
    bool led = (b->leading[group / 64] & bit) != 0;

    if (led == leads) {
        return;
    }
    b->leading[group / 64] ^= bit;
    b->leading_count = leads ? b->leading_count + 1 : b->leading_count - 1;
    /* What we gave away ourselves is no sign of trouble; what we won may be. */
    if (leads) {
        balance_disturbed(n);
    }
}

void balance_disturbed(struct node *n)
{
    n->balance->quiet_ms = n->now_ms + BALANCE_STABLE_MS;
}

/* Node that should lead the group instead of this one; 0: leave it. */
static uint32_t balance_target(const struct node *n, group_id group)
{
    const struct map_group *mg = map_group_find(&n->map, (uint16_t)group);
    uint32_t to = mg == NULL ? 0 : placement_preferred(mg);
    uint64_t since = to == 0 || to == n->config.id ? 0 : peers_up_since_ms(n, to);
    struct raft_status status;
    uint32_t i;

    if (since == 0 || n->now_ms < since + BALANCE_STABLE_MS) {
        return 0;
    }
    group_raft_status(n->groups[group], &status);
    if (!status.can_read || status.transferring || status.impaired) {
        return 0;
    }
    for (i = 0; i < status.peers_count; i++) {
        const struct raft_peer_status *p = &status.peers[i];

        if (node_of_replica(n, group, p->id) == to) {
            return !p->amnesiac && !p->in_snapshot &&
                           p->match + BALANCE_LAG_MAX >= status.last.index
                       ? to
                       : 0;
        }
    }
    return 0;
}

static bool balance_step(struct node *n, group_id group)
{
    struct balance *b = n->balance;
    uint32_t to;
    int rc;

    if (n->now_ms < b->again_ms[group] || !node_leads(n, group)) {
        return false;
    }
    to = balance_target(n, group);
    if (to == 0) {
        return false;
    }
    b->again_ms[group] = n->now_ms + BALANCE_AGAIN_MS;
    node_group_touch(n, group);
    rc = group_transfer(n->groups[group], to);
    node_log(n, LOG_INFO, "group=%u node=%u transfer_to=%u reason=balance result=%s",
             group, n->config.id, to, rc == 0 ? "begun" : kv_err_name(rc));
    b->transfers += rc == 0 ? 1 : 0;
    return rc == 0;
}

/* One a second; more where so much is led that it would take all day. */
static uint64_t balance_pace_ms(const struct balance *b)
{
    uint64_t pace =
        (uint64_t)BALANCE_EVERY_MS * BALANCE_FEW / KV_MAX(b->leading_count, 1u);

    return KV_MIN(KV_MAX(pace, (uint64_t)BALANCE_EVERY_MS_MIN),
                  (uint64_t)BALANCE_EVERY_MS);
}

void balance_tick(struct node *n)
{
    struct balance *b = n->balance;
    group_id group;
    uint32_t tries;

    if (b->is_off || n->phase != NODE_RUNNING || !n->map_known ||
        b->leading_count == 0 || n->now_ms < KV_MAX(b->next_ms, b->quiet_ms)) {
        return;
    }
    b->next_ms = n->now_ms + balance_pace_ms(b);
    for (tries = 0; tries <= b->leading_count; tries++) {
        if (!node_bits_next(b->leading, &b->cursor, &group)) {
            b->cursor = 0;
        } else if (group != NODE_META_GROUP && balance_step(n, group)) {
            return;
        }
    }
}

uint64_t balance_deadline_ms(const struct node *n)
{
    const struct balance *b = n->balance;

    if (b->is_off || n->phase != NODE_RUNNING || !n->map_known ||
        b->leading_count == 0) {
        return UINT64_MAX;
    }
    return KV_MAX(b->next_ms, b->quiet_ms);
}

uint32_t balance_leading(const struct node *n)
{
    return n->balance->leading_count;
}

uint64_t balance_transfers(const struct node *n)
{
    return n->balance->transfers;
}
