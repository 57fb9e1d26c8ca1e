/* tests/sim/chain.c - lists compared with all that was seen of them before. */
#include "tests/sim/chain.h"

#include <stdio.h>

#include "raft/base/arena.h"
#include "tests/sim/holders.h"

struct chain_page {
    struct chain_list longest; /* That was seen, or written for certain. */
    uint32_t least;            /* So much of it everybody sees from now on. */
};

struct chain_pages {
    struct chain_page *pages; /* kv_mem */
    uint32_t count;
};

struct chains {
    struct chain_pages of[HOLDERS_LOCKS][2]; /* [lock][is_far] */
    uint8_t *fate;                           /* By number: enum chain_fate; kv_mem. */
    uint32_t numbers, cap;
};

void chain_open(struct sim *s)
{
    if (s->chains == NULL) {
        s->chains = kv_mem_zalloc(sizeof *s->chains);
        KV_ASSERT(s->chains != NULL);
    }
}

void chain_free(struct sim *s)
{
    for (uint32_t i = 0; s->chains != NULL && i < 2 * HOLDERS_LOCKS; i++) {
        kv_mem_free(s->chains->of[i / 2][i % 2].pages);
    }
    if (s->chains != NULL) {
        kv_mem_free(s->chains->fate);
    }
    kv_mem_free(s->chains);
    s->chains = NULL;
}

/* ---- places ---- */

static struct chain_pages *pages_of(const struct sim *s, const struct chain_place *at)
{
    return &s->chains->of[at->lock][at->is_far];
}

static struct chain_page *page_of(const struct sim *s, const struct chain_place *at)
{
    KV_ASSERT(at->page < pages_of(s, at)->count);
    return &pages_of(s, at)->pages[at->page];
}

struct chain_place chain_choose(struct sim *s, uint32_t lock, bool is_far)
{
    struct chain_place at = {.lock = lock, .is_far = is_far};
    struct chain_pages *p = pages_of(s, &at);

    if (p->count == 0 || p->pages[p->count - 1].longest.count >= CHAIN_LENGTH) {
        p->pages = kv_mem_realloc(p->pages, (p->count + 1) * sizeof *p->pages);
        KV_ASSERT(p->pages != NULL);
        p->pages[p->count++] = (struct chain_page){.least = 0};
    }
    at.page = p->count - 1;
    return at;
}

struct kv_bytes chain_name(const struct chain_place *at, char *out)
{
    /* Behind the shared keys: a range of these goes through them in their order. */
    snprintf(out, CHAIN_NAME_BYTES, at->is_far ? "over%u-%u" : "{lock%u}near-%u",
             at->lock, at->page);
    return kv_bytes_str(out);
}

uint32_t chain_least(const struct sim *s, const struct chain_place *at)
{
    return page_of(s, at)->least;
}

/* ---- lists ---- */

bool chain_decode(struct sim *s, struct kv_bytes value, struct chain_list *out)
{
    out->count = (uint32_t)(value.len / 4);
    if (value.len % 4 != 0 || out->count > CHAIN_MAX) {
        judge_fail(&s->judge, JUDGE_LOCK, "a list has %zu bytes", value.len);
        return false;
    }
    for (uint32_t i = 0; i < out->count; i++) {
        out->numbers[i] = kv_get_u32le(value.data + 4 * (size_t)i);
    }
    return true;
}

static void fork_found(struct sim *s, const struct chain_place *at,
                       const struct chain_list *list, uint32_t i)
{
    const struct chain_page *p = page_of(s, at);
    char name[CHAIN_NAME_BYTES];

    (void)chain_name(at, name);
    judge_fail(&s->judge, JUDGE_LOCK,
               "lock %u: a change of %s is lost: its number %u was %u and is %u now",
               at->lock, name, i, p->longest.numbers[i], list->numbers[i]);
}

/* Both lists begin in the same way. */
static void compare(struct sim *s, const struct chain_place *at,
                    const struct chain_list *list)
{
    struct chain_page *p = page_of(s, at);
    uint32_t common = KV_MIN(list->count, p->longest.count);

    for (uint32_t i = 0; i < common; i++) {
        if (list->numbers[i] != p->longest.numbers[i]) {
            fork_found(s, at, list, i);
            return;
        }
    }
    for (uint32_t i = common; i < list->count; i++) {
        uint32_t number = list->numbers[i];

        if (number >= s->chains->numbers || s->chains->fate[number] == CHAIN_NOT) {
            judge_fail(&s->judge, JUDGE_LOCK,
                       "lock %u: change %u was refused, and is there", at->lock,
                       number);
            return;
        }
    }
    if (list->count > p->longest.count) {
        p->longest = *list;
    }
}

void chain_seen(struct sim *s, const struct chain_place *at,
                const struct chain_list *list, uint32_t least)
{
    struct chain_page *p = page_of(s, at);

    compare(s, at, list);
    if (list->count < least) {
        judge_fail(&s->judge, JUDGE_LOCK,
                   "lock %u: a change is lost: %u were there, %u are", at->lock, least,
                   list->count);
    }
    p->least = KV_MAX(p->least, list->count);
}

uint32_t chain_number(struct sim *s)
{
    struct chains *c = s->chains;

    if (c->numbers == c->cap) {
        c->cap = c->cap == 0 ? 256 : c->cap * 2;
        c->fate = kv_mem_realloc(c->fate, c->cap);
        KV_ASSERT(c->fate != NULL);
    }
    c->fate[c->numbers] = CHAIN_MAYBE;
    return c->numbers++;
}

void chain_written(struct sim *s, const struct chain_place *at,
                   const struct chain_list *list, enum chain_fate fate)
{
    struct chain_page *p = page_of(s, at);
    uint32_t last = list->count - 1;

    s->chains->fate[list->numbers[last]] = (uint8_t)fate;
    if (fate == CHAIN_DONE) {
        compare(s, at, list);
        p->least = KV_MAX(p->least, list->count);
    } else if (fate == CHAIN_NOT && last < p->longest.count &&
               p->longest.numbers[last] == list->numbers[last]) {
        judge_fail(&s->judge, JUDGE_LOCK, "lock %u: change %u is there, and is refused",
                   at->lock, list->numbers[last]);
    }
}

void chain_check(struct sim *s, const struct peace *p)
{
    for (uint32_t i = 0; i < 2 * HOLDERS_LOCKS; i++) {
        struct chain_place at = {.lock = i / 2, .is_far = i % 2 != 0};

        for (; at.page < pages_of(s, &at)->count && !sim_failed(s); at.page++) {
            char name[CHAIN_NAME_BYTES];
            struct chain_list list;
            struct kv_bytes value;

            if (kinds_peek(s, p, chain_name(&at, name), &value) &&
                chain_decode(s, value, &list)) {
                chain_seen(s, &at, &list, chain_least(s, &at));
            }
        }
    }
}
