/* jepsen/nemesis/plan.c - reads a nemesis text, and says what happens when. */
#include "jepsen/nemesis/plan.h"

#include <stdio.h>
#include <string.h>

#include "raft/base/err.h"

enum {
    PLAN_PERIODS_EMPTY_MAX = 64 /* In a row; more are no chance. */
};

bool plan_word(const char *words, uint32_t i, char out[PLAN_WORD_BYTES])
{
    for (;;) {
        size_t len = strcspn(words, " ");

        if (len == 0 || len >= PLAN_WORD_BYTES) {
            return false;
        }
        if (i == 0) {
            memcpy(out, words, len);
            out[len] = '\0';
            return true;
        }
        i--;
        words += len + (words[len] == ' ');
    }
}

static uint32_t words_count(const char *words)
{
    char word[PLAN_WORD_BYTES];
    uint32_t count = 0;

    while (plan_word(words, count, word)) {
        count++;
    }
    return count;
}

/* ---- text ---- */

static bool has_word(const char *words, const char *word)
{
    char one[PLAN_WORD_BYTES];

    for (uint32_t i = 0; plan_word(words, i, one); i++) {
        if (strcmp(one, word) == 0) {
            return true;
        }
    }
    return false;
}

/* Reads "kind" or "kind:word". */
static int item_read(struct plan *p, const char *text, size_t len, char *error)
{
    char item[2 * PLAN_WORD_BYTES];
    const struct nemesis_kind *k;
    char *word;

    snprintf(item, sizeof item, "%.*s", (int)len, text);
    word = strchr(item, ':');
    if (word != NULL) {
        *word++ = '\0';
    }
    if (strcmp(item, "swarm") == 0) {
        p->swarm = true;
        return 0;
    }
    for (uint32_t i = 0; (k = nemesis_kind(i)) != NULL; i++) {
        if (strcmp(k->name, item) != 0) {
            continue;
        }
        if (word != NULL && !has_word(k->targets, word)) {
            snprintf(error, CLUSTER_ERROR_BYTES, "%.30s: %.40s is none of: %.150s",
                     item, word, k->targets);
            return KV_EINVAL;
        }
        if (p->items_count == PLAN_ITEMS_MAX) {
            break;
        }
        p->items[p->items_count].kind = i;
        snprintf(p->items[p->items_count++].word, PLAN_WORD_BYTES, "%s",
                 word != NULL ? word : "");
        return 0;
    }
    snprintf(error, CLUSTER_ERROR_BYTES, "%.60s: no such nemesis", item);
    return KV_EINVAL;
}

int plan_init(struct plan *p, const struct nemesis_options *o, char *error)
{
    const char *text = o->text == NULL || strcmp(o->text, "none") == 0 ? "" : o->text;
    const struct nemesis_kind *k;

    *p = (struct plan){
        .interval_ms = o->interval_ms != 0 ? o->interval_ms : PLAN_INTERVAL_MS,
        .fault_ms = o->fault_ms,
    };
    prng_init(&p->prng, o->seed);
    while (*text != '\0') {
        size_t len = strcspn(text, ",");
        int rc = item_read(p, text, len, error);

        if (rc != 0) {
            return rc;
        }
        text += len + (text[len] == ',');
    }
    for (uint32_t i = 0; p->swarm && p->items_count == 0; i++) {
        for (uint32_t j = 0; (k = nemesis_kind(j)) != NULL; j++) {
            if (k->in_swarm && p->items_count < PLAN_ITEMS_MAX) {
                p->items[p->items_count++].kind = j;
            }
        }
    }
    return 0;
}

/* ---- time ---- */

static void fault_add(struct plan *p, const struct plan_item *item, uint64_t start_ms)
{
    const struct nemesis_kind *k = nemesis_kind(item->kind);
    struct plan_fault *f = &p->faults[p->faults_count++];
    uint32_t quarter = p->interval_ms / 4;

    *f = (struct plan_fault){.kind = item->kind, .number = ++p->numbers};
    memcpy(f->word, item->word, sizeof f->word);
    if (f->word[0] == '\0') {
        uint32_t count = words_count(k->targets);

        (void)plan_word(k->targets, (uint32_t)prng_below(&p->prng, count), f->word);
    }
    f->seed = prng_next(&p->prng);
    f->begin_ms = start_ms + prng_below(&p->prng, quarter + 1);
    f->end_ms = f->begin_ms + prng_between(&p->prng, quarter, 2ull * quarter);
    if (p->fault_ms != 0) {
        f->begin_ms = start_ms;
        f->end_ms = start_ms + p->fault_ms;
    }
}

/* Draws up to PLAN_SWARM_MAX of the items; a quarter of the time none. */
static void swarm_draw(struct plan *p, uint64_t start_ms)
{
    uint32_t want;
    uint64_t taken = 0;

    if (prng_below(&p->prng, 4) == 0) {
        return;
    }
    want = (uint32_t)prng_between(&p->prng, 1, PLAN_SWARM_MAX);
    for (uint32_t i = 0; i < KV_MIN(want, p->items_count); i++) {
        uint32_t k;

        do {
            k = (uint32_t)prng_below(&p->prng, p->items_count);
        } while ((taken >> k & 1) != 0);
        taken |= 1ull << k;
        fault_add(p, &p->items[k], start_ms);
    }
}

static void period_begin(struct plan *p)
{
    uint64_t start_ms = p->period++ * p->interval_ms;

    p->faults_count = 0;
    if (p->swarm) {
        swarm_draw(p, start_ms);
        return;
    }
    for (uint32_t i = 0; i < p->items_count; i++) {
        fault_add(p, &p->items[i], start_ms);
    }
}

int plan_next(struct plan *p, bool *out_begins)
{
    int best = -1;
    uint64_t best_ms = UINT64_MAX;

    if (p->items_count == 0) {
        return -1;
    }
    for (int tries = 0; best < 0 && tries < PLAN_PERIODS_EMPTY_MAX; tries++) {
        for (uint32_t i = 0; i < p->faults_count; i++) {
            const struct plan_fault *f = &p->faults[i];
            uint64_t at_ms = f->begun ? f->end_ms : f->begin_ms;

            if (!f->ended && at_ms < best_ms) {
                best_ms = at_ms;
                best = (int)i;
            }
        }
        if (best < 0) {
            period_begin(p);
        }
    }
    if (best < 0) {
        return -1;
    }
    *out_begins = !p->faults[best].begun;
    if (p->faults[best].begun) {
        p->faults[best].ended = true;
    } else {
        p->faults[best].begun = true;
    }
    return best;
}
