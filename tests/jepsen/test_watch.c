/* tests/jepsen/test_watch.c - the checker of watches, on histories made by hand, and on
 * random ones against a naive judge that knows everything that was done. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "jepsen/checker/watch.h"
#include "raft/base/prng.h"

enum {
    INTS_MAX = 4096,
    GROUP = 3, /* Of tag 0. */
};

/* ---- rows ---- */

static void row(struct history *h, struct history_op op, const int64_t *ints,
                uint32_t count)
{
    assert_int_equal(history_append(h, &op, HISTORY_LIST, ints, count), 0);
}

/* Write `id` puts keys and deletes keys of a tag. */
static void write_row(struct history *h, enum history_type end, uint32_t tag,
                      const int64_t w[3], uint64_t rev)
{
    struct history_op op = {
        .process = 1000 + (int32_t)w[0], .f = HISTORY_WRITE, .key = tag};

    row(h, op, w, 3);
    op.type = end;
    op.group = end == HISTORY_OK ? GROUP + tag : 0;
    op.rev = rev;
    row(h, op, w, 3);
}

static void watch_row(struct history *h, uint32_t watcher, const int64_t scope[5],
                      const int64_t *told, uint32_t count)
{
    struct history_op op = {
        .process = (int32_t)watcher, .f = HISTORY_WATCH, .key = watcher};

    row(h, op, scope, WATCH_SCOPE_INTS);
    op.type = HISTORY_OK;
    row(h, op, told, count);
}

static void expect(const struct history *h, const char *kind)
{
    struct verdict v;

    watch_check(h, &v);
    if (kind[0] == '?') {
        assert_int_equal(v.valid, VERDICT_UNKNOWN);
    } else if (kind[0] == '\0') {
        assert_string_equal(v.text, "");
        assert_int_equal(v.valid, VERDICT_VALID);
    } else {
        assert_int_equal(v.valid, VERDICT_INVALID);
        assert_string_equal(v.anomalies[0].kind, kind);
    }
    verdict_close(&v);
}

/* ---- by hand ---- */

/* Writes of tag 0 that are there in each of these: 1 puts key 0 at revision 10, 2 puts
 * keys 0 and 1 at 11, 3 deletes key 0 at 12, 4 (unknown) puts key 2, 5 failed, 6 puts
 * key 1 at 20. A watch that tells it all follows, unless another one is given. */
static void begin(struct history *h)
{
    history_init(h);
    write_row(h, HISTORY_OK, 0, (int64_t[]){1, 1, 0}, 10);
    write_row(h, HISTORY_OK, 0, (int64_t[]){2, 3, 0}, 11);
    write_row(h, HISTORY_OK, 0, (int64_t[]){3, 0, 1}, 12);
    write_row(h, HISTORY_INFO, 0, (int64_t[]){4, 4, 0}, 0);
    write_row(h, HISTORY_FAIL, 0, (int64_t[]){5, 1, 0}, 0);
    write_row(h, HISTORY_OK, 0, (int64_t[]){6, 2, 0}, 20);
}

#define BEGIN                 0, 1, GROUP, 9
#define PUT(k, id, rev, prev) k, WATCH_PUT, id, rev, prev
#define DEL(k, rev, prev)     k, WATCH_DEL, WATCH_NONE, rev, prev
#define AT(rev)               GROUP, rev

static void told(const int64_t scope[5], const int64_t *ints, uint32_t count,
                 const char *kind)
{
    struct history h;
    int64_t again[5];

    memcpy(again, scope, sizeof again);
    again[4] = 1;
    begin(&h);
    watch_row(&h, 0, scope, ints, count);
    watch_row(&h, 0, again, (int64_t[]){0}, 1);
    expect(&h, kind);
    history_close(&h);
}

#define TOLD(kind, scope, ...)                                               \
    do {                                                                     \
        const int64_t ints[] = {WATCH_TIME_OVER, BEGIN, __VA_ARGS__};        \
        told(scope, ints, (uint32_t)(sizeof ints / sizeof ints[0]), (kind)); \
    } while (0)

static const int64_t all_keys[] = {0, 4, WATCH_ALL, 0, 0};
static const int64_t with_prev[] = {0, 4, WATCH_ALL, 1, 0};
static const int64_t key_one[] = {1, 2, WATCH_ALL, 0, 0};
static const int64_t deletes[] = {0, 4, WATCH_DELS, 0, 0};

static void a_watch_tells_each_change_of_its_keys_once(void **state)
{
    (void)state;
    TOLD("", all_keys, 4, 1, PUT(0, 1, 10, -2), PUT(0, 2, 11, -2), PUT(1, 2, 11, -2),
         DEL(0, 12, -2), AT(12), 1, 1, PUT(1, 6, 20, -2), AT(25));
    TOLD("", key_one, 1, 1, PUT(1, 2, 11, -2), AT(12), 1, 1, PUT(1, 6, 20, -2), AT(20));
    TOLD("", deletes, 1, 1, DEL(0, 12, -2), AT(12), 0, 1, AT(30));
    /* What lies behind its position may come later. */
    TOLD("", all_keys, 1, 1, PUT(0, 1, 10, -2), AT(10));
    TOLD("missed", all_keys, 1, 1, PUT(0, 1, 10, -2), AT(11));
    TOLD("missed", all_keys, 1, 1, PUT(0, 1, 10, -2), AT(10), 0, 1, AT(11));
    TOLD("missed", key_one, 1, 1, PUT(1, 6, 20, -2), AT(20));
    TOLD("missed", deletes, 0, 1, AT(12));
    TOLD("repeated", all_keys, 2, 1, PUT(0, 1, 10, -2), PUT(0, 1, 10, -2), AT(10));
    TOLD("repeated", all_keys, 1, 1, PUT(0, 1, 10, -2), AT(10), 1, 0,
         PUT(0, 1, 10, -2));
    TOLD("?", all_keys, 0, 1, AT(9));
}

static void revisions_ascend_and_come_whole(void **state)
{
    (void)state;
    TOLD("out-of-order", all_keys, 3, 1, PUT(0, 2, 11, -2), PUT(1, 2, 11, -2),
         PUT(0, 1, 10, -2), AT(11));
    TOLD("out-of-order", all_keys, 2, 1, PUT(0, 1, 10, -2), PUT(0, 2, 11, -2), AT(11),
         1, 1, PUT(1, 2, 11, -2), AT(11));
    TOLD("position-short", all_keys, 1, 1, PUT(0, 1, 10, -2), AT(9));
    TOLD("position-back", all_keys, 1, 1, PUT(0, 1, 10, -2), AT(10), 0, 1, AT(9));
    /* Before it began. */
    TOLD("out-of-order", all_keys, 0, 1, AT(10), 1, 1, PUT(0, 1, 10, -2), AT(10));
}

static void only_what_was_written_is_told(void **state)
{
    (void)state;
    TOLD("not-watched", key_one, 1, 1, PUT(0, 1, 10, -2), AT(10));
    TOLD("not-watched", deletes, 1, 1, PUT(0, 1, 10, -2), AT(10));
    TOLD("not-written", all_keys, 1, 1, PUT(0, 9, 10, -2), AT(10));
    TOLD("not-written", all_keys, 1, 1, PUT(3, 1, 10, -2), AT(10));
    TOLD("not-written", all_keys, 2, 1, PUT(0, 1, 10, -2), DEL(1, 10, -2), AT(10));
    TOLD("not-written", all_keys, 2, 1, PUT(0, 1, 10, -2), 1, WATCH_OTHER, -1, 10, -2,
         AT(10));
    TOLD("failed", all_keys, 1, 1, PUT(0, 5, 10, -2), AT(10));
    TOLD("wrong-revision", all_keys, 1, 1, PUT(0, 1, 13, -2), AT(13));
    TOLD("", all_keys, 4, 1, PUT(0, 1, 10, -2), PUT(0, 2, 11, -2), PUT(1, 2, 11, -2),
         DEL(0, 12, -2), AT(12), 1, 1, PUT(2, 4, 15, -2), AT(15));
}

static void the_value_before_is_what_was_told_last(void **state)
{
    (void)state;
    TOLD("", with_prev, 4, 1, PUT(0, 1, 10, 77), PUT(0, 2, 11, 1), PUT(1, 2, 11, -1),
         DEL(0, 12, 2), AT(12));
    TOLD("wrong-prev", with_prev, 3, 1, PUT(0, 1, 10, -1), PUT(0, 2, 11, 4),
         PUT(1, 2, 11, -1), AT(11));
    TOLD("wrong-prev", with_prev, 4, 1, PUT(0, 1, 10, -1), PUT(0, 2, 11, 1),
         PUT(1, 2, 11, -1), DEL(0, 12, -1), AT(12));
}

static void what_one_watch_heard_another_must_hear(void **state)
{
    const int64_t moved[] = {WATCH_TIME_OVER,  0,    1, GROUP, 5, 1, 1,
                             PUT(2, 4, 9, -2), AT(9)};
    const int64_t other[] = {WATCH_TIME_OVER,  0,    1, GROUP, 5, 1, 1,
                             PUT(2, 4, 8, -2), AT(8)};
    const int64_t mute[] = {WATCH_TIME_OVER, 0, 1, GROUP, 5, 0, 1, AT(9)};
    const int64_t again[] = {0, 4, WATCH_ALL, 0, 1};
    struct history h;

    (void)state;
    for (int i = 0; i < 3; i++) {
        begin(&h);
        watch_row(&h, 0, all_keys, moved, KV_ARRAY_COUNT(moved));
        watch_row(&h, 0, again, (int64_t[]){0}, 1);
        if (i == 1) {
            watch_row(&h, 1, all_keys, mute, KV_ARRAY_COUNT(mute));
        } else if (i == 2) {
            watch_row(&h, 1, all_keys, other, KV_ARRAY_COUNT(other));
        }
        expect(&h, i == 0 ? "" : i == 1 ? "missed" : "wrong-revision");
        history_close(&h);
    }
}

static void a_gap_that_is_told_is_no_loss(void **state)
{
    const int64_t again[] = {0, 4, WATCH_ALL, 0, 1};
    const int64_t first[] = {WATCH_TIME_OVER, BEGIN, 1, 1, PUT(0, 1, 10, -2), AT(10)};
    const int64_t late[] = {WATCH_TIME_OVER,   0,     1, GROUP, 15, 1, 1,
                            PUT(1, 6, 20, -2), AT(20)};
    struct history h;

    (void)state;
    for (int i = 0; i < 2; i++) {
        begin(&h);
        watch_row(&h, 0, all_keys, first, KV_ARRAY_COUNT(first));
        watch_row(&h, 0, again, (int64_t[]){WATCH_COMPACTED}, 1);
        /* Anew; or as if it had gone on. */
        watch_row(&h, 0, i == 0 ? all_keys : again, late, KV_ARRAY_COUNT(late));
        expect(&h, i == 0 ? "" : "missed");
        history_close(&h);
    }
}

static void what_is_not_well_formed_is_unknown(void **state)
{
    (void)state;
    TOLD("?", all_keys, 4, 1, PUT(0, 1, 10, -2), AT(10));
    TOLD("?", all_keys, 1, 1, PUT(0, 1, 10, -2), AT(10), 7);
    TOLD("?", all_keys, 1, -1, PUT(0, 1, 10, -2));
}

/* ---- against a naive judge ---- */

enum {
    LOG = 60,
    TAGS = 3,
};

/* All that was ever done, in order: each write, and its revision in its group. */
struct done {
    uint32_t tag;
    uint64_t puts, dels;
    uint64_t rev;
};

struct world {
    struct done log[LOG];
    int64_t ints[INTS_MAX];
    uint32_t count;
};

/* Events of a write for a scope, as a server without bugs tells them. */
static uint32_t events_of(const struct world *w, uint32_t at, const int64_t scope[5],
                          int64_t *out)
{
    const struct done *d = &w->log[at];
    uint32_t n = 0;

    for (uint32_t i = 0; i < WATCH_TAG_KEYS; i++) {
        uint32_t key = d->tag * WATCH_TAG_KEYS + i;
        bool put = (d->puts >> i & 1) != 0;

        if (((d->puts | d->dels) >> i & 1) == 0 || key < scope[0] || key >= scope[1] ||
            (scope[2] == WATCH_PUTS && !put) || (scope[2] == WATCH_DELS && put)) {
            continue;
        }
        out[5 * n] = key;
        out[5 * n + 1] = put ? WATCH_PUT : WATCH_DEL;
        out[5 * n + 2] = put ? (int64_t)at + 1 : WATCH_NONE;
        out[5 * n + 3] = (int64_t)d->rev;
        out[5 * n + 4] = WATCH_NOT_ASKED;
        n++;
    }
    return n;
}

static void world_make(struct world *w, struct prng *p, struct history *h)
{
    uint64_t revs[TAGS] = {5, 5, 5};

    history_init(h);
    for (uint32_t i = 0; i < LOG; i++) {
        struct done *d = &w->log[i];

        d->tag = (uint32_t)prng_below(p, TAGS);
        d->puts = prng_below(p, 16);
        d->dels = prng_below(p, 16) & ~d->puts;
        d->puts |= (d->puts | d->dels) == 0;
        revs[d->tag] += 1 + prng_below(p, 3);
        d->rev = revs[d->tag];
        write_row(h, HISTORY_OK, d->tag,
                  (int64_t[]){i + 1, (int64_t)d->puts, (int64_t)d->dels}, d->rev);
    }
}

/* A watch from the beginning: each write is one note, its position is the write's. */
static void world_tell(struct world *w, const int64_t scope[5])
{
    uint32_t n = 0;

    w->ints[n++] = WATCH_TIME_OVER;
    w->ints[n++] = 0;
    w->ints[n++] = TAGS;
    for (uint32_t tag = 0; tag < TAGS; tag++) {
        w->ints[n++] = GROUP + tag;
        w->ints[n++] = 5;
    }
    for (uint32_t i = 0; i < LOG; i++) {
        uint32_t events = events_of(w, i, scope, w->ints + n + 2);

        w->ints[n] = events;
        w->ints[n + 1] = 1;
        n += 2 + 5 * events;
        w->ints[n++] = GROUP + w->log[i].tag;
        w->ints[n++] = (int64_t)w->log[i].rev;
    }
    w->count = n;
}

/* Naive: each note of one write holds exactly that write's events, the next write of
 * each group is the next note of it, and a position is what the notes of its group have
 * come to. Only for what world_tell() and one change to it can make. */
static bool naive(const struct world *w, const int64_t scope[5])
{
    uint64_t pos[TAGS] = {5, 5, 5};
    int64_t want[5 * WATCH_TAG_KEYS];
    uint32_t n = 3 + 2 * TAGS;

    while (n < w->count) {
        uint32_t events = (uint32_t)w->ints[n];
        const int64_t *e = w->ints + n + 2;
        const int64_t *at = e + (size_t)5 * events;
        uint32_t tag = (uint32_t)at[0] - GROUP;
        uint32_t told_count = 0;

        if ((uint64_t)at[1] < pos[tag]) {
            return false;
        }
        for (uint32_t i = 0; i < LOG; i++) {
            const struct done *d = &w->log[i];

            if (d->tag == tag && d->rev > pos[tag] && d->rev <= (uint64_t)at[1]) {
                uint32_t count = events_of(w, i, scope, want);

                if (told_count + count > events ||
                    memcmp(want, e + (size_t)5 * told_count,
                           (size_t)5 * count * sizeof *e) != 0) {
                    return false;
                }
                told_count += count;
            }
        }
        if (told_count != events) {
            return false;
        }
        pos[tag] = (uint64_t)at[1];
        n += 2 + 5 * events + 2;
    }
    return true;
}

/* Does something to one note that a server with a bug could do. */
static void world_spoil(struct world *w, struct prng *p)
{
    uint32_t skip = (uint32_t)prng_below(p, LOG);
    uint32_t n = 3 + 2 * TAGS;
    uint32_t events, len;
    int64_t *note;

    for (uint32_t i = 0; i < skip; i++) {
        n += 2 + 5 * (uint32_t)w->ints[n] + 2;
    }
    note = w->ints + n;
    events = (uint32_t)note[0];
    len = 2 + 5 * events + 2;
    switch (prng_below(p, 6)) {
    case 0: /* An event is lost. */
        if (events > 0) {
            memmove(note + 2 + (size_t)5 * (events - 1), note + 2 + (size_t)5 * events,
                    (w->count - n - 2 - (size_t)5 * events) * sizeof *note);
            note[0]--;
            w->count -= 5;
        }
        break;
    case 1: /* A note is lost. */
        memmove(note, note + len, (w->count - n - len) * sizeof *note);
        w->count -= len;
        break;
    case 2: /* A note comes twice. */
        memmove(note + len, note, (w->count - n) * sizeof *note);
        w->count += len;
        break;
    case 3: /* The position is another one. */
        note[len - 1] += (int64_t)prng_below(p, 9) - 4;
        break;
    case 4: /* An event says something else. */
        if (events > 0) {
            note[2 + 5 * prng_below(p, events) + prng_below(p, 4)] += 1;
        }
        break;
    default:
        break;
    }
}

static void agrees_with_a_naive_judge(void **state)
{
    static const int64_t scopes[][5] = {
        {0, 12, WATCH_ALL, 0, 0}, {0, 12, WATCH_PUTS, 0, 0}, {0, 12, WATCH_DELS, 0, 0},
        {2, 7, WATCH_ALL, 0, 0},  {5, 6, WATCH_ALL, 0, 0},
    };
    static struct world w;
    uint32_t good = 0;
    uint32_t bad = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 4000; seed++) {
        const int64_t *scope = scopes[seed % KV_ARRAY_COUNT(scopes)];
        int64_t again[5] = {scope[0], scope[1], scope[2], scope[3], 1};
        struct prng p;
        struct history h;
        struct verdict v;

        prng_init(&p, seed);
        world_make(&w, &p, &h);
        world_tell(&w, scope);
        if (seed % 10 != 0) {
            world_spoil(&w, &p);
        }
        watch_row(&h, 0, scope, w.ints, w.count);
        watch_row(&h, 0, again, (int64_t[]){0}, 1);
        watch_check(&h, &v);
        if ((v.valid == VERDICT_VALID) != naive(&w, scope)) {
            print_error("seed %d: %s %s\n", (int)seed, verdict_name(v.valid), v.text);
            fail();
        }
        good += v.valid == VERDICT_VALID;
        bad += v.valid == VERDICT_INVALID;
        verdict_close(&v);
        history_close(&h);
    }
    assert_true(good > 500 && bad > 1500);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_watch_tells_each_change_of_its_keys_once),
        cmocka_unit_test(revisions_ascend_and_come_whole),
        cmocka_unit_test(only_what_was_written_is_told),
        cmocka_unit_test(the_value_before_is_what_was_told_last),
        cmocka_unit_test(what_one_watch_heard_another_must_hear),
        cmocka_unit_test(a_gap_that_is_told_is_no_loss),
        cmocka_unit_test(what_is_not_well_formed_is_unknown),
        cmocka_unit_test(agrees_with_a_naive_judge),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("jepsen/watch", tests, NULL, NULL);
}
