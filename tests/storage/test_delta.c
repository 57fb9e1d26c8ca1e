/* tests/storage/test_delta.c - the delta against a naive sorted array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>

#include "raft/base/err.h"
#include "raft/base/prng.h"
#include "storage/delta.h"
#include "storage/row.h"

static struct row row_of(uint8_t kind, const char *key, const char *value, uint64_t rev)
{
    return (struct row){.kind = kind,
                        .slot = 7,
                        .rev = rev,
                        .key = kv_bytes_str(key),
                        .value = kv_bytes_str(value)};
}

static void finds_what_was_put(void **unused)
{
    struct delta d;
    struct row r = row_of(ROW_KV, "apple", "red", 3);

    (void)unused;
    delta_init(&d, 0);
    assert_null(delta_find(&d, ROW_KV, kv_bytes_str("apple")));
    assert_int_equal(delta_put(&d, &r, row_hash(&r)), 0);
    assert_non_null(delta_find(&d, ROW_KV, kv_bytes_str("apple")));
    assert_null(delta_find(&d, ROW_KV, kv_bytes_str("appl")));
    assert_null(delta_find(&d, ROW_KV, kv_bytes_str("apples")));
    assert_null(delta_find(&d, ROW_META, kv_bytes_str("apple")));
    assert_int_equal(delta_find(&d, ROW_KV, kv_bytes_str("apple"))->row.rev, 3);
    delta_close(&d);
}

static void overwrites_of_the_same_size_take_no_memory(void **unused)
{
    struct delta d;
    size_t bytes;

    (void)unused;
    delta_init(&d, 0);
    for (uint64_t i = 0; i < 1000; i++) {
        struct row r = row_of(ROW_KV, "k", i % 2 == 0 ? "even" : "odd", i);

        assert_int_equal(delta_put(&d, &r, 1), 0);
        if (i == 0) {
            bytes = delta_bytes(&d);
        }
    }
    assert_int_equal(delta_bytes(&d), bytes);
    assert_int_equal(d.rows_count, 1);
    delta_close(&d);
}

static void a_cap_refuses_and_changes_nothing(void **unused)
{
    static uint8_t big[200 * 1024];
    struct delta d;
    struct row r = row_of(ROW_KV, "big", "", 1);
    struct row s = row_of(ROW_KV, "small", "x", 2);

    (void)unused;
    delta_init(&d, 128 * 1024);
    assert_int_equal(delta_put(&d, &s, 1), 0);
    r.value = kv_bytes(big, sizeof big);
    assert_int_equal(delta_put(&d, &r, 1), KV_ENOMEM);
    assert_null(delta_find(&d, ROW_KV, r.key));
    assert_int_equal(d.rows_count, 1);
    s.value = kv_bytes(big, sizeof big);
    assert_int_equal(delta_put(&d, &s, 1), KV_ENOMEM);
    assert_int_equal(delta_find(&d, ROW_KV, s.key)->row.value.len, 1);
    delta_close(&d);
}

/* ---- against a naive map ---- */

enum {
    NAIVE_ROWS = 6000
};

struct naive {
    struct {
        uint8_t kind;
        char key[80];
        uint64_t rev;
        bool deleted;
    } rows[NAIVE_ROWS];
    size_t count;
};

static size_t naive_seek(const struct naive *n, uint8_t kind, const char *key)
{
    size_t at = 0;

    while (at < n->count && row_compare(n->rows[at].kind, kv_bytes_str(n->rows[at].key),
                                        kind, kv_bytes_str(key)) < 0) {
        at++;
    }
    return at;
}

static void naive_put(struct naive *n, uint8_t kind, const char *key, uint64_t rev,
                      bool del)
{
    size_t at = naive_seek(n, kind, key);

    if (at == n->count || n->rows[at].kind != kind ||
        strcmp(n->rows[at].key, key) != 0) {
        assert_true(n->count < NAIVE_ROWS);
        memmove(&n->rows[at + 1], &n->rows[at], (n->count - at) * sizeof n->rows[0]);
        n->rows[at].kind = kind;
        snprintf(n->rows[at].key, sizeof n->rows[at].key, "%s", key);
        n->count++;
    }
    n->rows[at].rev = rev;
    n->rows[at].deleted = del;
}

static void walk_equals(const struct naive *n, const struct delta *d, uint8_t kind,
                        const char *key)
{
    struct delta_cursor c = delta_seek(d, kind, kv_bytes_str(key));
    size_t at = naive_seek(n, kind, key);
    const struct delta_row *row;

    for (row = delta_cursor_row(&c); row != NULL; row = delta_cursor_row(&c)) {
        assert_true(at < n->count);
        assert_int_equal(row->row.kind, n->rows[at].kind);
        assert_true(kv_bytes_equal(row->row.key, kv_bytes_str(n->rows[at].key)));
        assert_int_equal(row->row.rev, n->rows[at].rev);
        assert_int_equal(row->row.deleted, n->rows[at].deleted);
        delta_cursor_next(&c);
        at++;
    }
    assert_int_equal(at, n->count);
}

/* Keys that share long beginnings, keys that are beginnings of others. */
static void key_draw(struct prng *p, char *out, size_t room)
{
    static const char long_word[] =
        "projects/one/regions/two/tables/three/partitions/four/rows/";

    switch (prng_below(p, 5)) {
    case 0:
        snprintf(out, room, "user:%06u", (unsigned)prng_below(p, 2000));
        break;
    case 1:
        snprintf(out, room, "%.*s", (int)prng_between(p, 1, 20),
                 "aaaaaaaaaaaaaaaaaaaaaaaa");
        break;
    case 2: /* Longer than the prefix that a node notes, now and then a part of it. */
        snprintf(out, room, "%.*s%03u",
                 prng_below(p, 50) > 0 ? 59 : (int)prng_below(p, 59), long_word,
                 (unsigned)prng_below(p, 1000));
        break;
    case 3:
        snprintf(out, room, "%.*s%03u", 40, long_word, (unsigned)prng_below(p, 1000));
        break;
    default:
        snprintf(out, room, "%x", (unsigned)prng_below(p, 3000));
        break;
    }
}

static void equals_a_naive_map_after_random_changes(void **unused)
{
    static struct naive n;
    struct delta d;
    struct prng p;
    char key[80];

    (void)unused;
    for (uint64_t seed = 0; seed < 4; seed++) {
        n.count = 0;
        prng_init(&p, seed);
        delta_init(&d, 0);
        for (uint64_t i = 0; i < 5000; i++) {
            uint8_t kind = (uint8_t)prng_between(&p, 1, 2);
            bool del = prng_below(&p, 4) == 0;
            struct row r;

            key_draw(&p, key, sizeof key);
            r = row_of(kind, key, i % 3 == 0 ? "short" : "a longer value than that", i);
            r.deleted = del;
            assert_int_equal(delta_put(&d, &r, i), 0);
            naive_put(&n, kind, key, i, del);
            if (i % 500 == 0) {
                key_draw(&p, key, sizeof key);
                walk_equals(&n, &d, kind, key);
            }
        }
        walk_equals(&n, &d, 0, "");
        for (size_t i = 0; i < n.count; i++) {
            const struct delta_row *row =
                delta_find(&d, n.rows[i].kind, kv_bytes_str(n.rows[i].key));

            assert_non_null(row);
            assert_int_equal(row->hash, n.rows[i].rev);
        }
        assert_int_equal(d.rows_count, n.count);
        delta_close(&d);
    }
}

/* The root's first child gets smaller rows than it began with: what the root notes of
 * it is not the smallest then, and shares less with the second than with the last. */
static void finds_rows_before_those_that_the_root_began_with(void **unused)
{
    struct delta d;
    char key[32];

    (void)unused;
    delta_init(&d, 0);
    for (uint32_t i = 0; i < 2000; i++) {
        struct row r;

        /* The early ones of the second kind split the first leaf in two. */
        snprintf(key, sizeof key, i >= 500 && i < 524 ? "a%06u" : "partition/%06u", i);
        r = row_of(ROW_KV, key, "v", i + 1);
        assert_int_equal(delta_put(&d, &r, i), 0);
    }
    for (uint32_t i = 0; i < 2000; i++) {
        const struct delta_row *row;

        snprintf(key, sizeof key, i >= 500 && i < 524 ? "a%06u" : "partition/%06u", i);
        row = delta_find(&d, ROW_KV, kv_bytes_str(key));
        assert_non_null(row);
        assert_int_equal(row->hash, i);
    }
    delta_close(&d);
}

static void keeps_order_for_ascending_and_descending_inserts(void **unused)
{
    struct delta d;
    const struct row *rows;
    char key[80];

    (void)unused;
    for (int way = 0; way < 2; way++) {
        delta_init(&d, 0);
        for (unsigned i = 0; i < 20000; i++) {
            struct row r;

            snprintf(key, sizeof key, "%08u", way == 0 ? i : 20000 - i);
            r = row_of(ROW_KV, key, "v", i);
            assert_int_equal(delta_put(&d, &r, 1), 0);
        }
        assert_int_equal(delta_rows(&d, &rows), 0);
        for (size_t i = 1; i < d.rows_count; i++) {
            assert_true(kv_bytes_compare(rows[i - 1].key, rows[i].key) < 0);
        }
        assert_int_equal(d.rows_count, 20000);
        delta_reset(&d);
        assert_null(delta_find(&d, ROW_KV, kv_bytes_str("00000001")));
        delta_close(&d);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_was_put),
        cmocka_unit_test(overwrites_of_the_same_size_take_no_memory),
        cmocka_unit_test(a_cap_refuses_and_changes_nothing),
        cmocka_unit_test(equals_a_naive_map_after_random_changes),
        cmocka_unit_test(finds_rows_before_those_that_the_root_began_with),
        cmocka_unit_test(keeps_order_for_ascending_and_descending_inserts),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("storage/delta", tests, NULL, NULL);
}
