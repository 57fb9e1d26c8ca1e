/* client/kvctl_set_w.c - `cluster set-w`: how many replicas must hold a write. */
#include <stdio.h>

#include "client/kvctl.h"

enum {
    SET_W_MAX = 16,
};

static uint32_t majority_of(const struct kv_group *g)
{
    return (uint32_t)g->nodes_count / 2 + 1;
}

/* "majority", or a number. Returns CTL_OK, or CTL_USAGE after a message. */
static int w_take(const char *word, uint32_t *out)
{
    uint64_t number;

    if (strcmp(word, "majority") == 0) {
        *out = 0;
        return CTL_OK;
    }
    if (!ctl_number_parse(word, SET_W_MAX, &number) || number == 0) {
        return ctl_fail(CTL_USAGE,
                        "\"%s\" is not a number of replicas, or the word majority",
                        word);
    }
    *out = (uint32_t)number;
    return CTL_OK;
}

/* Is the group one of those to change? Groups that own keys, or the one named. */
static bool is_meant(const struct ctl *ctl, const struct kv_group *g)
{
    return ctl_has(ctl, CTL_OPT_GROUP) ? g->id == ctl->group : g->id != 0;
}

static int set_one(struct ctl *ctl, const struct kv_group *g, uint32_t w, json_t *list)
{
    const struct kv_result *r;
    int status;

    if (w != 0 && w == g->nodes_count && w > majority_of(g)) {
        fprintf(
            stderr,
            "kvctl: warning: group %u: with W = %u of %zu one node that is down stops "
            "its writes\n",
            g->id, w, g->nodes_count);
    }
    status = ctl_call(ctl, kv_set_w(g->id, w), &r);
    if (status != CTL_OK) {
        return status;
    }
    if (ctl->format == CTL_JSON) {
        json_t *one = json_object();

        ctl_json_set(one, "group", json_integer(g->id));
        ctl_json_set(one, "w", json_integer(r->w));
        ctl_json_set(one, "voters", json_integer((json_int_t)g->nodes_count));
        (void)json_array_append_new(list, one);
    } else {
        printf("group %u: W %u of %zu\n", g->id, r->w, g->nodes_count);
    }
    kv_result_free(r);
    return CTL_OK;
}

int ctl_cluster(struct ctl *ctl)
{
    const struct kv_result *r;
    json_t *list;
    uint32_t w = 0;
    size_t count = 0;
    int status;

    if (strcmp(ctl->words[0], "set-w") != 0) {
        return ctl_fail(CTL_USAGE, "cluster has no command \"%s\"; it has set-w",
                        ctl->words[0]);
    }
    status = w_take(ctl->words[1], &w);
    if (status == CTL_OK) {
        status = ctl_call(ctl, kv_status(), &r);
    }
    if (status != CTL_OK) {
        return status;
    }
    list = json_array();
    for (size_t i = 0; status == CTL_OK && i < r->cluster->groups_count; i++) {
        const struct kv_group *g = &r->cluster->groups[i];

        if (is_meant(ctl, g)) {
            count++;
            status = set_one(ctl, g, w, list);
        }
    }
    kv_result_free(r);
    if (status == CTL_OK && count == 0) {
        status =
            ctl_fail(CTL_USAGE, "there is no group %u; see: kvctl status", ctl->group);
    }
    if (status == CTL_OK && ctl->format == CTL_JSON) {
        json_t *object = json_object();

        ctl_json_set(object, "groups", list);
        ctl_json_print(object);
    } else {
        json_decref(list);
    }
    return status;
}
