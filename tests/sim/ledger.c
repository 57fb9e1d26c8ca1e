/* tests/sim/ledger.c - digits given out, and compared with what is there. */
#include "tests/sim/ledger.h"

#include <stdio.h>
#include <stdlib.h>

#include "raft/base/arena.h"

void ledger_close(struct ledger *l)
{
    kv_mem_free(l->pages);
}

/* ---- places ---- */

static struct ledger_page *page_new(struct ledger *l, uint16_t bank)
{
    struct ledger_page *page;

    if (l->count == l->cap) {
        l->cap = l->cap == 0 ? 16 : l->cap * 2;
        l->pages = kv_mem_realloc(l->pages, l->cap * sizeof *l->pages);
        KV_ASSERT(l->pages != NULL);
    }
    page = &l->pages[l->count];
    *page = (struct ledger_page){.number = l->count++, .bank = bank};
    memset(page->fate, LEDGER_NOT, sizeof page->fate);
    return page;
}

struct ledger_place ledger_add(struct ledger *l, uint16_t bank)
{
    struct ledger_page *page = NULL;

    for (uint32_t i = l->count; i > 0 && page == NULL; i--) {
        struct ledger_page *p = &l->pages[i - 1];

        page = p->bank == bank && p->used < LEDGER_DIGITS ? p : NULL;
    }
    if (page == NULL) {
        page = page_new(l, bank);
    }
    page->fate[page->used] = LEDGER_MAYBE;
    return (struct ledger_place){.page = page->number, .digit = page->used++};
}

struct kv_bytes ledger_name(const struct ledger *l, uint32_t page, char *out)
{
    const struct ledger_page *p = &l->pages[page];

    if (p->bank == LEDGER_NO_BANK) {
        snprintf(out, LEDGER_NAME_BYTES, "own-%u-%u", l->client, page);
    } else {
        snprintf(out, LEDGER_NAME_BYTES, "{bank%u}own-%u-%u", p->bank, l->client, page);
    }
    return kv_bytes_str(out);
}

void ledger_decide(struct ledger *l, struct ledger_place at, enum ledger_fate fate)
{
    l->pages[at.page].fate[at.digit] = (uint8_t)fate;
}

/* ---- what is there ---- */

static const char *const fates[] = {
    [LEDGER_MAYBE] = "of unknown outcome",
    [LEDGER_DONE] = "answered",
    [LEDGER_NOT] = "certainly not done",
};

void ledger_seen(struct sim *s, const struct ledger *l, uint32_t page, int64_t value,
                 const struct ledger_place *own, bool is_fresh)
{
    const struct ledger_page *p = &l->pages[page];

    for (uint32_t i = 0; i < LEDGER_DIGITS; i++) {
        uint32_t times = (uint32_t)((uint64_t)value >> (2 * i)) & 3;
        bool must =
            p->fate[i] == LEDGER_DONE && (is_fresh || (own != NULL && own->digit == i));
        bool may = p->fate[i] != LEDGER_NOT;

        if (times > may || times < must) {
            judge_fail(&s->judge, JUDGE_ONCE,
                       "write %u of page %u of client %u, %s, happened %u times", i,
                       page, l->client, fates[p->fate[i]], times);
            return;
        }
    }
}

void ledger_check(struct sim *s, const struct ledger *l, const struct peace *p)
{
    for (uint32_t i = 0; i < l->count && !sim_failed(s); i++) {
        char name[LEDGER_NAME_BYTES], text[24];
        struct kv_bytes value;

        if (kinds_peek(s, p, ledger_name(l, i, name), &value)) {
            size_t len = KV_MIN(value.len, sizeof text - 1);

            memcpy(text, value.data == NULL ? (const uint8_t *)"" : value.data, len);
            text[len] = '\0';
            ledger_seen(s, l, i, (int64_t)strtoll(text, NULL, 10), NULL, true);
        }
    }
}
