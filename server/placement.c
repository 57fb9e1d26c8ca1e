/* server/placement.c - replicas by a ring of nodes, evened out; leaders by shifting. */
#include "server/placement.h"

#include <string.h>

#include "raft/base/err.h"
#include "rpc/ring.h"

/* The state of one placement; indexes are positions in map.nodes. */
struct placement {
    struct map *map;
    uint32_t ids[KV_NODES_MAX];
    uint32_t zones[KV_NODES_MAX]; /* Number of a node's zone. */
    uint32_t zones_count;
    uint32_t held[KV_NODES_MAX];    /* Replicas on a node. */
    uint32_t leading[KV_NODES_MAX]; /* Groups whose first replica is there. */
};

/* Nodes without a zone are a zone each: nothing is known that they share. */
static void placement_number_zones(struct placement *p)
{
    const struct map *m = p->map;
    uint32_t i, j;

    p->zones_count = 0;
    for (i = 0; i < m->nodes_count; i++) {
        p->zones[i] = p->zones_count;
        for (j = 0; j < i && m->nodes[i].zone[0] != '\0'; j++) {
            if (strcmp(m->nodes[i].zone, m->nodes[j].zone) == 0) {
                p->zones[i] = p->zones[j];
                break;
            }
        }
        p->zones_count += p->zones[i] == p->zones_count ? 1 : 0;
    }
}

static uint32_t placement_node_at(const struct placement *p, uint32_t id)
{
    uint32_t i;

    for (i = 0; i < p->map->nodes_count; i++) {
        if (p->ids[i] == id) {
            return i;
        }
    }
    KV_UNREACHABLE();
}

/* Picks the next node for a group: fewest replicas of the group in its zone, then
 * fewest replicas at all, then the order of the walk. */
static uint32_t placement_pick(const struct placement *p, const uint32_t *order,
                               const uint32_t *in_zone, uint64_t taken)
{
    uint32_t best = UINT32_MAX, i;

    for (i = 0; i < p->map->nodes_count; i++) {
        uint32_t at = placement_node_at(p, order[i]);

        if ((taken >> at & 1) != 0) {
            continue;
        }
        if (best == UINT32_MAX || in_zone[p->zones[at]] < in_zone[p->zones[best]] ||
            (in_zone[p->zones[at]] == in_zone[p->zones[best]] &&
             p->held[at] < p->held[best])) {
            best = at;
        }
    }
    KV_ASSERT(best != UINT32_MAX);
    return best;
}

static void placement_group(struct placement *p, struct map_group *g, uint32_t replicas)
{
    uint32_t order[KV_NODES_MAX];
    uint32_t in_zone[KV_NODES_MAX] = {0};
    uint64_t taken = 0;
    uint32_t i;

    ring_walk(p->ids, p->map->nodes_count, PLACEMENT_VNODES, ring_point(g->id, 0),
              order);
    for (i = 0; i < replicas; i++) {
        uint32_t at = placement_pick(p, order, in_zone, taken);

        taken |= (uint64_t)1 << at;
        in_zone[p->zones[at]]++;
        p->held[at]++;
        g->replicas[i].node = p->ids[at];
        g->replicas[i].replica = p->ids[at];
    }
    g->replicas_count = (uint8_t)replicas;
}

/* Makes the i-th replica of a group its first one. */
static void placement_prefer(struct map_group *g, uint32_t i)
{
    struct map_replica first = g->replicas[i];

    memmove(&g->replicas[1], &g->replicas[0], i * sizeof(g->replicas[0]));
    g->replicas[0] = first;
}

/* Finds, breadth first from node `from`, a chain of groups that each could hand their
 * preference to the next node, to a node that is preferred at least two times less,
 * and hands it on along the chain. False when there is none. */
static bool placement_shift(struct placement *p, uint32_t from)
{
    struct map *m = p->map;
    uint32_t queue[KV_NODES_MAX], via_group[KV_NODES_MAX], via_replica[KV_NODES_MAX];
    uint64_t seen = (uint64_t)1 << from;
    uint32_t head = 0, tail = 0, gi, ri;

    queue[tail++] = from;
    while (head < tail) {
        uint32_t at = queue[head++];

        if (p->leading[at] + 2 <= p->leading[from]) {
            p->leading[at]++;
            p->leading[from]--;
            while (at != from) {
                struct map_group *g = &m->groups[via_group[at]];
                uint32_t before = placement_node_at(p, g->replicas[0].node);

                placement_prefer(g, via_replica[at]);
                at = before;
            }
            return true;
        }
        for (gi = 0; gi < m->groups_count; gi++) {
            const struct map_group *g = &m->groups[gi];

            if (g->replicas[0].node != p->ids[at]) {
                continue;
            }
            for (ri = 1; ri < g->replicas_count; ri++) {
                uint32_t to = placement_node_at(p, g->replicas[ri].node);

                if ((seen >> to & 1) == 0) {
                    seen |= (uint64_t)1 << to;
                    via_group[to] = gi;
                    via_replica[to] = ri;
                    queue[tail++] = to;
                }
            }
        }
    }
    return false;
}

int placement_make(struct map *m, uint32_t groups, uint32_t replicas)
{
    struct placement p;
    uint32_t i, shifts;

    if (m->nodes_count < 1 || m->nodes_count > KV_NODES_MAX || groups < 1 ||
        groups >= KV_GROUPS_MAX || replicas < 1 || replicas > KV_REPLICAS_MAX) {
        return KV_EINVAL;
    }
    memset(&p, 0, sizeof(p));
    p.map = m;
    for (i = 0; i < m->nodes_count; i++) {
        p.ids[i] = m->nodes[i].id;
    }
    placement_number_zones(&p);
    m->groups_count = groups;
    for (i = 0; i < groups; i++) {
        memset(&m->groups[i], 0, sizeof(m->groups[i]));
        m->groups[i].id = (uint16_t)(i + 1);
        placement_group(&p, &m->groups[i], KV_MIN(replicas, m->nodes_count));
        p.leading[placement_node_at(&p, m->groups[i].replicas[0].node)]++;
    }
    /* Each shift makes the sum of squares smaller: it ends long before the bound. */
    for (shifts = 0; shifts < groups * KV_NODES_MAX; shifts++) {
        bool shifted = false;

        for (i = 0; i < m->nodes_count; i++) {
            shifted = placement_shift(&p, i) || shifted;
        }
        if (!shifted) {
            break;
        }
    }
    return 0;
}

uint32_t placement_preferred(const struct map_group *g)
{
    return g->replicas_count > 0 ? g->replicas[0].node : 0;
}
