/* jepsen/env/faults.c - links, CPU, disk layer and clock of a running cluster. */
#include "jepsen/env/faults.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "jepsen/env/cluster_own.h"
#include "jepsen/env/power.h"
#include "jepsen/env/socket.h"
#include "raft/base/bytes.h"
#include "raft/base/err.h"

enum {
    CLOCK_ASK_MS = 1000
};

/* ---- links ---- */

void fault_cut(struct cluster *c, const struct fault_grudge *g)
{
    const struct keeper_request q = {.verb = KEEPER_CUT, .grudge = *g};
    struct keeper_reply r;

    (void)cluster_ask(c, &q, &r); /* A keeper that is gone has cut everything. */
}

int fault_shape(struct cluster *c, uint32_t from, uint32_t to,
                const struct fault_link *link)
{
    const struct keeper_request q = {
        .verb = KEEPER_SHAPE, .from = from, .to = to, .link = *link};
    struct keeper_reply r;

    if (from > c->nodes || to > c->nodes || from == to) {
        return cluster_fail(c, KV_EINVAL, "no link from %u to %u", from, to);
    }
    if (c->env == CLUSTER_VETH) {
        return cluster_fail(c, KV_EINVAL, "veth cuts links, it does not shape them");
    }
    if (c->env == CLUSTER_PROXY &&
        (link->duplicate_ppm != 0 || link->reorder_ppm != 0)) {
        return cluster_fail(c, KV_EINVAL,
                            "a stream has no duplicates and no order to change");
    }
    return cluster_ask(c, &q, &r);
}

void fault_heal_links(struct cluster *c)
{
    const struct keeper_request q = {.verb = KEEPER_HEAL};
    struct keeper_reply r;

    (void)cluster_ask(c, &q, &r);
}

void fault_probe(struct cluster *c, uint32_t from, uint32_t to, uint32_t count,
                 uint32_t wait_ms, struct fault_probe *out)
{
    const struct keeper_request q = {.verb = KEEPER_PROBE,
                                     .from = from,
                                     .to = to,
                                     .count = count,
                                     .wait_ms = wait_ms};
    struct keeper_reply r;

    KV_ASSERT(from <= c->nodes && to <= c->nodes && from != to);
    KV_ASSERT(count >= 1 && count <= NET_PROBES_MAX);
    (void)cluster_ask(c, &q, &r); /* Gone: nothing was sent, and the result says so. */
    *out = r.probe;
}

void fault_cpu(struct cluster *c, uint32_t node, uint32_t percent)
{
    const struct keeper_request q = {
        .verb = KEEPER_CPU, .node = node, .percent = percent};
    struct keeper_reply r;

    KV_ASSERT(node >= 1 && node <= c->nodes && percent >= 1 && percent <= 100);
    (void)cluster_ask(c, &q, &r);
}

/* ---- disk layer ---- */

static struct layer_control *layer_of(struct cluster *c, uint32_t node)
{
    KV_ASSERT(node >= 1 && node <= c->nodes);
    if (c->layers[node] == NULL) {
        (void)cluster_fail(c, KV_EINVAL, "the disk layer is off");
    }
    return c->layers[node];
}

static void disk_set(struct layer_control *l, const struct fault_disk *d)
{
    atomic_store(&l->sync_delay_us, d->sync_delay_us);
    atomic_store(&l->write_delay_us, d->write_delay_us);
    atomic_store(&l->failing, d->failing);
    if (d->full && atomic_load(&l->full) == 0) {
        atomic_store(&l->free_bytes, 0);
    }
    atomic_store(&l->full, d->full);
}

int fault_disk(struct cluster *c, uint32_t node, const struct fault_disk *d)
{
    struct layer_control *l = layer_of(c, node);

    if (l == NULL) {
        return KV_EINVAL;
    }
    disk_set(l, d);
    return 0;
}

int fault_disk_seen(struct cluster *c, uint32_t node, struct fault_disk_seen *out)
{
    struct layer_control *l = layer_of(c, node);

    if (l == NULL) {
        return KV_EINVAL;
    }
    *out = (struct fault_disk_seen){
        .writes = atomic_load(&l->writes),
        .syncs = atomic_load(&l->syncs),
        .refused = atomic_load(&l->refused),
        .failed = atomic_load(&l->failed),
        .sync_us_max = atomic_exchange(&l->sync_us_max, 0),
    };
    return 0;
}

int fault_power(struct cluster *c, uint32_t mask, uint32_t keep_ppm,
                uint64_t *out_lost_bytes)
{
    char data[CLUSTER_PATH_BYTES];
    char state[CLUSTER_PATH_BYTES];
    uint64_t total = 0;

    for (uint32_t i = 1; i <= c->nodes; i++) {
        if ((mask & CLUSTER_BIT(i)) != 0 && layer_of(c, i) == NULL) {
            return KV_EINVAL;
        }
    }
    cluster_kill(c, mask);
    for (uint32_t i = 1; i <= c->nodes; i++) {
        uint64_t lost = 0;
        int rc;

        if ((mask & CLUSTER_BIT(i)) == 0) {
            continue;
        }
        cluster_path(c, i, "data", data);
        cluster_path(c, i, "layer", state);
        rc = atomic_load(&c->layers[i]->broken) != 0
                 ? KV_ECORRUPT
                 : power_fail(data, state, keep_ppm, c->seed + ++c->powers, &lost);
        if (rc != 0) {
            return cluster_fail(c, rc, "node %u: the undo log: %s", i, kv_err_text(rc));
        }
        total += lost;
    }
    if (out_lost_bytes != NULL) {
        *out_lost_bytes = total;
    }
    return 0;
}

/* ---- clock ---- */

static void clock_set(struct layer_control *l, int64_t offset_ms, uint32_t strobe_ms)
{
    atomic_store(&l->clock_strobe_ms, strobe_ms);
    atomic_store(&l->clock_offset_ms, offset_ms);
}

int fault_clock(struct cluster *c, uint32_t node, int64_t offset_ms, uint32_t strobe_ms)
{
    struct layer_control *l = layer_of(c, node);

    if (l == NULL) {
        return KV_EINVAL;
    }
    clock_set(l, offset_ms, strobe_ms);
    return 0;
}

/* Finds "time" in the answer to `hello`, a MessagePack map, and reads its integer. */
static bool hello_time(const uint8_t *answer, size_t len, int64_t *out_ms)
{
    static const uint8_t key[] = {0xa4, 't', 'i', 'm', 'e', 0xcf};
    const uint8_t *at = memmem(answer, len, key, sizeof key);

    if (at == NULL || (size_t)(answer + len - at) < sizeof key + 8) {
        return false;
    }
    *out_ms = (int64_t)kv_get_u64be(at + sizeof key);
    return true;
}

/* Asks hello over an open connection. */
static int hello_ask(int fd, uint64_t end_ns, int64_t *out_ms)
{
    static const uint8_t ask[] = {0x94, 0, 1, 0xa5, 'h', 'e', 'l', 'l', 'o', 0x90};
    uint8_t answer[2048];
    size_t len = 0;
    int rc = socket_write(fd, ask, sizeof ask, end_ns);

    while (rc == 0 && len < sizeof answer) {
        size_t got = 0;

        rc = socket_read(fd, answer + len, sizeof answer - len, end_ns, &got);
        len += got;
        if (rc == 0 && hello_time(answer, len, out_ms)) {
            return 0;
        }
        if (rc == 0 && got == 0) {
            return KV_ECONNECT;
        }
    }
    return rc != 0 ? rc : KV_EPROTO;
}

static int64_t wall_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int fault_clock_offset(struct cluster *c, uint32_t node, int64_t *out_offset_ms)
{
    uint64_t end_ns = net_now_ns() + CLOCK_ASK_MS * 1000000ull;
    int64_t before_ms = wall_ms();
    int64_t theirs_ms = 0;
    int fd = -1;
    int rc = socket_connect(c->host_seen[node], NET_PORT_CLIENT, end_ns, &fd);

    if (rc == 0) {
        rc = hello_ask(fd, end_ns, &theirs_ms);
        (void)close(fd);
    }
    if (rc == 0) {
        *out_offset_ms = theirs_ms - (before_ms + wall_ms()) / 2;
    }
    return rc;
}

/* ---- all ---- */

void fault_heal_all(struct cluster *c)
{
    const struct fault_disk well = {0};

    fault_heal_links(c);
    for (uint32_t i = 1; i <= c->nodes; i++) {
        fault_cpu(c, i, 100);
        if (c->layers[i] != NULL) {
            disk_set(c->layers[i], &well);
            clock_set(c->layers[i], 0, 0);
        }
    }
    cluster_resume(c, CLUSTER_ALL(c->nodes));
}
