/* tests/sim/kinds.c - which clients a seed has, and what they look at in the end. */
#include "tests/sim/kinds.h"

#include "rpc/map.h"
#include "server/group.h"
#include "tests/lib/mem_store.h"
#include "tests/sim/ask.h"

static const struct {
    const char *name;
    const struct client_kind *kind;
} kinds[] = {
#define KINDS_ROW(name, table) {#name, &table},
    KINDS_MAP(KINDS_ROW)
#undef KINDS_ROW
};

const char *kinds_name(uint32_t number)
{
    return number < KINDS_COUNT ? kinds[number].name : NULL;
}

uint32_t kinds_draw(struct sim *s)
{
    const uint32_t plain = 1u << KINDS_plain, all = (1u << KINDS_COUNT) - 1;
    uint32_t some = faults_draw_between(s, 1, all);
    uint32_t dice = faults_draw_between(s, 1, 8);

    /* Linearizability wants many who ask for the same few keys. */
    return dice <= 3 ? plain : dice <= 5 ? all : dice <= 7 ? plain | some : some;
}

const struct client_kind *kinds_of(struct sim *s, struct sim_client *c)
{
    uint32_t mask = s->swarm.kinds, others = mask & ~(1u << KINDS_plain);
    uint32_t pick = KINDS_plain;

    if (others == 0 || ((mask & 1u << KINDS_plain) != 0 && ask_chance(c, 2))) {
        return kinds[KINDS_plain].kind;
    }
    do {
        pick = (uint32_t)prng_below(&c->prng, KINDS_COUNT);
    } while ((others >> pick & 1) == 0);
    return kinds[pick].kind;
}

/* ---- at peace ---- */

static const struct map *some_map(const struct sim *s)
{
    for (uint32_t i = 1; i <= s->swarm.nodes; i++) {
        if (s->nodes[i].node != NULL && s->nodes[i].node->map_known) {
            return &s->nodes[i].node->map;
        }
    }
    return NULL;
}

uint32_t kinds_group_of(const struct sim *s, struct kv_bytes key)
{
    const struct map *map = some_map(s);

    return map == NULL ? 0 : map_group_for_key(map, key);
}

/* The judge's looks meet no faults. */
static int look(struct sim_node *n, struct group *g, struct kv_bytes key,
                struct row *out)
{
    int rc;

    if (n->disk != NULL) {
        mem_store_observe(n->disk, true);
    }
    arena_reset(&n->sim->peek);
    rc = state_get(group_state(g), ROW_KV, key, &n->sim->peek, out);
    if (n->disk != NULL) {
        mem_store_observe(n->disk, false);
    }
    return rc;
}

bool kinds_peek(struct sim *s, const struct peace *p, struct kv_bytes key,
                struct kv_bytes *out)
{
    uint32_t group = kinds_group_of(s, key);

    if (group == 0 || !peace_lives(s, p, group)) {
        return false;
    }
    for (uint32_t i = 1; i <= s->swarm.nodes; i++) {
        struct node *n = s->nodes[i].node;
        struct group *g = n == NULL || !p->core[i] ? NULL : node_group(n, group);
        struct row row;
        int rc = g == NULL || !peace_can_tell(s, i, group)
                     ? KV_EDAMAGED
                     : look(&s->nodes[i], g, key, &row);

        if (rc == 0 || rc == KV_ENOTFOUND) {
            *out = rc == 0 ? row.value : kv_bytes(NULL, 0);
            return true;
        }
    }
    return false;
}

void kinds_check(struct sim *s, const struct peace *p)
{
    for (uint32_t i = 0; i < s->swarm.clients; i++) {
        struct sim_client *c = &s->clients[i];

        if (c->kind->check != NULL && !sim_failed(s)) {
            c->kind->check(s, c, p);
        }
    }
}
