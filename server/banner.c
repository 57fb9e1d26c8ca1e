/* server/banner.c - the start-up block and the status line. */
#include "server/banner.h"

#include <stdio.h>
#include <string.h>

void banner_state_get(const struct node *n, struct banner_state *out)
{
    struct banner_state s = {.groups = n->config.groups};

    for (group_id id = 0; id < n->groups_cap; id++) {
        const struct group *g = n->groups[id];

        if (g == NULL) {
            continue;
        }
        s.hosted += id != NODE_META_GROUP;
        s.led += id != NODE_META_GROUP && group_is_leader(g);
        s.leaderless += group_leader_node(g) == 0;
    }
    s.ready = n->phase == NODE_RUNNING && n->map_known && s.leaderless == 0;
    *out = s;
}

void banner_status(const struct node *n, const struct banner_state *s, char *out,
                   size_t size)
{
    if (s->ready) {
        snprintf(out, size,
                 "node=%u ready: leads %u of %u groups, hosts %u; cluster=%016llx",
                 n->config.id, s->led, s->groups, s->hosted,
                 (unsigned long long)n->identity.cluster);
    } else if (n->waiting_for[0] != '\0') {
        snprintf(out, size, "node=%u waiting: %s", n->config.id, n->waiting_for);
    } else if (s->leaderless > 0) {
        snprintf(
            out, size,
            "node=%u waiting: for a leader of %u groups; a majority of their nodes "
            "must be up",
            n->config.id, s->leaderless);
    } else {
        snprintf(out, size, "node=%u waiting: for the cluster map", n->config.id);
    }
}

size_t banner_start(const struct config *c, const struct node *n, char *out,
                    size_t size)
{
    struct banner_state s;
    char cluster[64] = "not formed yet";
    char status[256];
    int len;

    banner_state_get(n, &s);
    banner_status(n, &s, status, sizeof status);
    if (n->identity.cluster != 0) {
        snprintf(cluster, sizeof cluster, "%016llx",
                 (unsigned long long)n->identity.cluster);
    }
    len = snprintf(out, size,
                   "kvd " KV_VERSION_STRING "\n"
                   "  node      %u of %u%s%s\n"
                   "  data      %s (start %llu)\n"
                   "  clients   %s:%u\n"
                   "  peers     %s:%u\n"
                   "  http      http://%s:%u/readyz?verbose\n"
                   "  cluster   %s\n"
                   "  groups    %u, %u replicas each\n"
                   "  %s%s\n",
                   n->config.id, n->config.nodes_count,
                   c->node.zone[0] != '\0' ? ", zone " : "", c->node.zone, c->data_dir,
                   (unsigned long long)n->identity.boots, c->listen.host,
                   c->listen.port, c->peer.host, c->peer.port, c->http.host,
                   c->http.port, cluster, n->config.groups, n->config.replicas,
                   c->insecure ? "INSECURE: no TLS, no authentication; " : "", status);
    KV_ASSERT(len > 0);
    return KV_MIN((size_t)len, size - 1);
}
