/* tests/server/test_history.c - batches of changes: whole, in order, bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/history.h"

static void note(struct history *h, const char *key, const char *before,
                 const char *after)
{
    struct row old = {.kind = ROW_KV, .key = kv_bytes_str(key)};
    struct row now = {
        .kind = ROW_KV, .key = kv_bytes_str(key), .deleted = after == NULL};

    if (before != NULL) {
        old.value = kv_bytes_str(before);
    }
    if (after != NULL) {
        now.value = kv_bytes_str(after);
    }
    history_changing(h, before == NULL ? NULL : &old, &now);
}

/* An entry that puts one key. */
static void put(struct history *h, uint64_t rev, const char *key, const char *value)
{
    history_begin(h, rev, HISTORY_DEL);
    note(h, key, NULL, value);
    assert_int_equal(history_commit(h), 1);
}

/* All batches behind `rev`, as "rev:key=value," and "rev:key-(prev),". */
static const char *text_of(const struct history *h, uint64_t rev)
{
    static char text[4096];
    struct history_place place = history_find(h, rev);
    struct history_batch batch;
    struct history_change c;
    int at = 0;

    text[0] = '\0';
    while (history_next(&place, &batch)) {
        while (history_take(&batch.changes, &c)) {
            at += snprintf(text + at, sizeof text - (size_t)at,
                           "%llu:%.*s%s%.*s(%.*s),", (unsigned long long)batch.rev,
                           (int)c.key.len, (const char *)c.key.data,
                           c.cause == HISTORY_PUT ? "=" : "-", (int)c.value.len,
                           c.value.len > 0 ? (const char *)c.value.data : "",
                           c.has_prev ? (int)c.prev.len : 1,
                           c.has_prev ? (const char *)c.prev.data : "?");
        }
    }
    return text;
}

static void batches_come_back_whole_and_in_order(void **state)
{
    struct history h;

    (void)state;
    history_init(&h, 1 << 20);
    history_reset(&h, 4);
    assert_string_equal(text_of(&h, 4), "");
    put(&h, 5, "a", "1");
    history_begin(&h, 7, HISTORY_DEL);
    note(&h, "a", "1", NULL);
    note(&h, "b", "x", "y");
    assert_int_equal(history_commit(&h), 1);
    assert_string_equal(text_of(&h, 4), "5:a=1(?),7:a-(1),7:b=y(x),");
    assert_string_equal(text_of(&h, 5), "7:a-(1),7:b=y(x),");
    assert_string_equal(text_of(&h, 6), "7:a-(1),7:b=y(x),");
    assert_string_equal(text_of(&h, 7), "");
    history_close(&h);
}

static void an_entry_that_failed_leaves_nothing(void **state)
{
    struct history h;

    (void)state;
    history_init(&h, 1 << 20);
    history_begin(&h, 5, HISTORY_DEL);
    note(&h, "a", NULL, "1");
    note(&h, "a", "1", NULL); /* Taken back. */
    history_abort(&h);
    history_begin(&h, 6, HISTORY_DEL);
    assert_int_equal(history_commit(&h), 0);
    assert_string_equal(text_of(&h, 0), "");
    history_close(&h);
}

static void a_key_appears_once_in_a_batch(void **state)
{
    struct history h;

    (void)state;
    history_init(&h, 1 << 20);
    history_begin(&h, 5, HISTORY_DEL);
    note(&h, "a", "old", "1");
    note(&h, "b", NULL, "1");
    note(&h, "c", NULL, "1");
    note(&h, "a", "1", NULL);
    note(&h, "b", "1", NULL); /* Came and went. */
    note(&h, "c", "1", "2");
    assert_int_equal(history_commit(&h), 1);
    assert_string_equal(text_of(&h, 0), "5:a-(old),5:c=2(?),");
    history_close(&h);
}

static void the_oldest_go_and_the_floor_says_so(void **state)
{
    char value[1000];
    struct history h;
    struct history_place place;
    struct history_batch batch;
    uint64_t rev;

    (void)state;
    memset(value, 'v', sizeof value);
    value[sizeof value - 1] = '\0';
    history_init(&h, 64 * 1024);
    for (rev = 1; rev <= 1000; rev++) {
        put(&h, rev, "k", value);
        assert_true(h.taken_bytes <= 64 * 1024);
        place = history_newest(&h);
        assert_true(history_next(&place, &batch));
        assert_true(batch.rev == rev);
    }
    assert_true(h.floor > 900 && h.floor < 960);
    place = history_find(&h, h.floor);
    for (rev = h.floor + 1; rev <= 1000; rev++) {
        assert_true(history_next(&place, &batch));
        assert_true(batch.rev == rev);
    }
    assert_false(history_next(&place, &batch));
    history_limit(&h, 8 * 1024);
    assert_true(h.floor > 980 && h.taken_bytes <= 8 * 1024);
    history_close(&h);
}

static void one_batch_stays_however_large(void **state)
{
    static char value[100 * 1024];
    struct history h;

    (void)state;
    memset(value, 'v', sizeof value - 1);
    history_init(&h, 16 * 1024);
    put(&h, 1, "a", "1");
    put(&h, 2, "a", value);
    assert_true(h.floor == 1);
    put(&h, 3, "b", "1");
    assert_true(h.floor == 2);
    assert_string_equal(text_of(&h, 2), "3:b=1(?),");
    history_close(&h);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_come_back_whole_and_in_order),
        cmocka_unit_test(an_entry_that_failed_leaves_nothing),
        cmocka_unit_test(a_key_appears_once_in_a_batch),
        cmocka_unit_test(the_oldest_go_and_the_floor_says_so),
        cmocka_unit_test(one_batch_stays_however_large),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/history", tests, NULL, NULL);
}
