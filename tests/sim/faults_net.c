/* tests/sim/faults_net.c - links that are cut or clogged. */
#include "tests/sim/sim.h"

enum cut_shape {
    CUT_ONE,    /* One node alone. */
    CUT_SIDES,  /* Two sides. */
    CUT_RING,   /* Each sees a majority, no two the same one. */
    CUT_BRIDGE, /* Two sides that share one node. */
    CUT_LINK,   /* One link. */
    CUT_SHAPES,
};

struct cut_plan {
    enum cut_shape shape;
    uint32_t nodes, one, side; /* side: bit i is node i's. */
};

/* Which way round the link from a to b is cut: 1 from one part to the other, 2 back,
 * 0 not at all. */
static int cut_way(const struct cut_plan *p, uint32_t a, uint32_t b)
{
    uint32_t far = a > b ? a - b : b - a;
    uint32_t side_a = (p->side >> a) & 1, side_b = (p->side >> b) & 1;

    switch (p->shape) {
    case CUT_ONE:
        return (a == p->one) == (b == p->one) ? 0 : a == p->one ? 1 : 2;
    case CUT_SIDES:
        return side_a == side_b ? 0 : side_a == 1 ? 1 : 2;
    case CUT_RING:
        far = KV_MIN(far, p->nodes - far);
        return far <= (p->nodes / 2 + 1) / 2 ? 0 : a < b ? 1 : 2;
    case CUT_BRIDGE:
        return a == p->one || b == p->one || side_a == side_b ? 0 : side_a == 1 ? 1 : 2;
    case CUT_LINK:
        return a == p->one && b == p->one % p->nodes + 1   ? 1
               : b == p->one && a == p->one % p->nodes + 1 ? 2
                                                           : 0;
    case CUT_SHAPES:
        break;
    }
    KV_UNREACHABLE();
}

/* Sides of about the same size, one of them with `one` or without it. */
static uint32_t sides(struct sim *s, uint32_t nodes, uint32_t one)
{
    uint32_t side = 0, want = (nodes - (one != 0)) / 2, have = 0;

    while (have < KV_MAX(want, 1u)) {
        uint32_t node = faults_draw_between(s, 1, nodes);

        if (node != one && ((side >> node) & 1) == 0) {
            side |= 1u << node;
            have++;
        }
    }
    return side;
}

static void cut_count(struct sim_counts *c, enum cut_shape shape)
{
    c->cut_one += shape == CUT_ONE;
    c->cut_sides += shape == CUT_SIDES;
    c->cut_ring += shape == CUT_RING;
    c->cut_bridge += shape == CUT_BRIDGE;
    c->cut_link += shape == CUT_LINK;
}

void faults_cut(struct sim *s, uint32_t node)
{
    static const char *const names[CUT_SHAPES] = {"one node", "sides", "ring", "bridge",
                                                  "one link"};
    static const uint8_t nodes_min[CUT_SHAPES] = {2, 2, 5, 3, 2};
    struct cut_plan p = {.nodes = s->swarm.nodes, .one = node};
    bool one_way = faults_draw_between(s, 0, 3) == 0;
    int way = faults_coin(s) ? 1 : 2;
    char line[64];

    p.shape = (enum cut_shape)faults_draw_between(s, 0, CUT_SHAPES - 1);
    if (p.nodes < 2) {
        return;
    }
    if (p.nodes < nodes_min[p.shape]) {
        p.shape = CUT_ONE;
    }
    if (p.shape == CUT_SIDES || p.shape == CUT_BRIDGE) {
        p.side = sides(s, p.nodes, p.shape == CUT_BRIDGE ? node : 0);
    }
    for (uint32_t a = 1; a <= p.nodes; a++) {
        for (uint32_t b = 1; b <= p.nodes; b++) {
            int cut = a == b ? 0 : cut_way(&p, a, b);

            s->cut[a][b] = cut != 0 && (!one_way || cut == way);
        }
    }
    cut_count(&s->counts, p.shape);
    s->counts.cut_one_way += one_way;
    snprintf(line, sizeof line, "cut: %s%s", names[p.shape],
             one_way ? ", one way" : "");
    sim_note(s, p.shape == CUT_ONE || p.shape == CUT_BRIDGE ? node : 0, line);
    heap_push(s, (struct sim_event){.at_us = faults_until_us(s, s->swarm.f.cut_ms),
                                    .kind = EV_NEMESIS,
                                    .arg = FAULTS_END_CUT});
}

void faults_cut_end(struct sim *s)
{
    memset(s->cut, 0, sizeof s->cut);
    s->counts.heals++;
    sim_note(s, 0, "links healed");
}

void faults_clog_node(struct sim *s, uint32_t node, bool into, uint64_t until_us)
{
    for (uint32_t other = 1; other <= s->swarm.nodes; other++) {
        if (into) {
            s->clogged_until_us[other][node] = until_us;
        } else {
            s->clogged_until_us[node][other] = until_us;
        }
    }
    s->counts.clogs_into += into;
    s->counts.clogs_out_of += !into;
    sim_note(s, node, into ? "clogged, inwards" : "clogged, outwards");
}

/* The same with a node, or with one link, in one direction or both. */
void faults_clog(struct sim *s, uint32_t node)
{
    uint32_t other = faults_draw_between(s, 1, s->swarm.nodes);
    uint64_t until_us = faults_until_us(s, s->swarm.f.clog_ms);

    if (faults_coin(s)) {
        faults_clog_node(s, node, faults_coin(s), until_us);
        return;
    }
    if (other == node) {
        return;
    }
    s->clogged_until_us[node][other] = until_us;
    if (faults_coin(s)) {
        s->clogged_until_us[other][node] = until_us;
    }
    s->counts.clogs++;
    sim_note(s, node, "clogged");
}

/* Connections end although both processes live: a switch restarts, an address table
 * forgets them. */
void faults_reset(struct sim *s, uint32_t node)
{
    uint32_t other = faults_draw_between(s, 0, s->swarm.nodes);

    net_reset(s, node, other == node ? 0 : other);
    s->counts.resets++;
    sim_note(s, node, "connections reset");
}

void faults_clog_end(struct sim *s)
{
    memset(s->clogged_until_us, 0, sizeof s->clogged_until_us);
}
