/* tests/jepsen/test_rows.c - histories are written as Jepsen does, to the byte. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "jepsen/format/rows.h"

static void put(struct history *h, struct history_op op, enum history_kind kind,
                const int64_t *ints, uint32_t count)
{
    assert_int_equal(history_append(h, &op, kind, ints, count), 0);
}

static void expect(const struct history *h, enum history_workload workload,
                   enum rows_format format, const char *text)
{
    char *written = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&written, &len);

    assert_non_null(out);
    assert_int_equal(rows_write(out, h, workload, format), 0);
    fclose(out);
    assert_string_equal(written, text);
    free(written);
}

static void make_register(struct history *h)
{
    const int64_t pair[] = {1, -2};
    struct history_op op = {.time_ns = 5, .process = 3, .key = 9, .f = HISTORY_CAS};

    history_init(h);
    op.node = 2;
    put(h, op, HISTORY_PAIR, pair, 2);
    op = (struct history_op){.time_ns = 6,
                             .process = HISTORY_NEMESIS,
                             .type = HISTORY_INFO,
                             .f = HISTORY_FAULT,
                             .text = "start-partition n1 | n2,n3"};
    put(h, op, HISTORY_TEXT, NULL, 0);
    op = (struct history_op){
        .time_ns = 7, .process = 4, .key = 8, .f = HISTORY_READ, .node = 1};
    put(h, op, HISTORY_NIL, NULL, 0);
    op.type = HISTORY_OK;
    op.time_ns = 8;
    op.group = 3;
    op.rev = 10;
    op.at_rev = 12;
    op.term = 2;
    put(h, op, HISTORY_INT, pair, 1);
    op = (struct history_op){.time_ns = 9,
                             .process = 3,
                             .key = 9,
                             .f = HISTORY_CAS,
                             .type = HISTORY_INFO,
                             .text = "UNKNOWN \"x\"\t\xff"};
    put(h, op, HISTORY_PAIR, pair, 2);
}

static void a_register_is_written_with_its_key(void **state)
{
    struct history h;

    (void)state;
    make_register(&h);
    expect(&h, HISTORY_REGISTER, ROWS_EDN,
           "{:index 0, :time 5, :type :invoke, :process 3, :f :cas, :value [9 [1 -2]], "
           ":node \"n2\"}\n"
           "{:index 1, :time 6, :type :info, :process :nemesis, :f :start-partition, "
           ":value \"n1 | n2,n3\"}\n"
           "{:index 2, :time 7, :type :invoke, :process 4, :f :read, :value [8 nil], "
           ":node \"n1\"}\n"
           "{:index 3, :time 8, :type :ok, :process 4, :f :read, :value [8 1], "
           ":node \"n1\", :group 3, :rev 10, :at-rev 12, :term 2}\n"
           "{:index 4, :time 9, :type :info, :process 3, :f :cas, :value [9 [1 -2]], "
           ":error \"UNKNOWN \\\"x\\\"\\t?\"}\n");
    expect(&h, HISTORY_REGISTER, ROWS_TXT,
           "3\t:invoke\t:cas\t[9 [1 -2]]\n"
           ":nemesis\t:info\t:start-partition\t\"n1 | n2,n3\"\n"
           "4\t:invoke\t:read\t[8 nil]\n"
           "4\t:ok\t:read\t[8 1]\n"
           "3\t:info\t:cas\t[9 [1 -2]]\tUNKNOWN \"x\"\t\xff\n");
    history_close(&h);
}

static void what_a_nemesis_did_is_edn_or_a_string(void **state)
{
    static const char *const texts[][2] = {
        {"kill [1 3]", "[1 3]"},
        {"kill :majority", ":majority"},
        {"start {\"n1\" #{\"n2\"}}", "{\"n1\" #{\"n2\"}}"},
        {"kill 1 3", "\"1 3\""},
        {"kill [1", "\"[1\""},
        {"kill 1} {:v 2", "\"1} {:v 2\""},
        {"kill n1", "\"n1\""},
        {"kill #_ 1", "\"#_ 1\""},
        {"kill", "nil"},
    };

    (void)state;
    for (size_t i = 0; i < KV_ARRAY_COUNT(texts); i++) {
        struct history_op op = {.process = HISTORY_NEMESIS,
                                .type = HISTORY_INFO,
                                .f = HISTORY_FAULT,
                                .text = texts[i][0]};
        struct history h;
        char line[128];

        history_init(&h);
        put(&h, op, HISTORY_TEXT, NULL, 0);
        snprintf(line, sizeof line, ":nemesis\t:info\t:%s\t%s\n",
                 i == 2 ? "start" : "kill", texts[i][1]);
        expect(&h, HISTORY_REGISTER, ROWS_TXT, line);
        history_close(&h);
    }
}

static void transactions_are_vectors_of_micro_operations(void **state)
{
    const int64_t ids[] = {4, 5};
    const struct history_micro micros[] = {{.is_append = true, .key = 1, .element = 6},
                                           {.key = 1, .ids = ids, .ids_count = 2},
                                           {.key = 2, .is_nil = true},
                                           {.key = 3}};
    struct history h;
    int64_t ints[32];
    uint32_t n = history_micro_pack(micros, 4, ints, 32);

    (void)state;
    history_init(&h);
    put(&h, (struct history_op){.f = HISTORY_TXN}, HISTORY_MICRO, ints, n);
    put(&h, (struct history_op){.f = HISTORY_TXN, .process = 1}, HISTORY_MICRO, NULL,
        0);
    expect(&h, HISTORY_APPEND, ROWS_EDN,
           "{:index 0, :time 0, :type :invoke, :process 0, :f :txn, :value "
           "[[:append 1 6] [:r 1 [4 5]] [:r 2 nil] [:r 3 []]]}\n"
           "{:index 1, :time 0, :type :invoke, :process 1, :f :txn, :value []}\n");
    history_close(&h);
}

static void one_set_is_bare_and_several_are_keyed(void **state)
{
    const int64_t ids[] = {4, 5};
    struct history h;

    (void)state;
    history_init(&h);
    put(&h, (struct history_op){.f = HISTORY_ADD}, HISTORY_INT, ids, 1);
    expect(&h, HISTORY_SET, ROWS_TXT, "0\t:invoke\t:add\t4\n");
    put(&h, (struct history_op){.f = HISTORY_READ, .process = 1, .key = 1},
        HISTORY_LIST, ids, 2);
    expect(&h, HISTORY_SET, ROWS_TXT,
           "0\t:invoke\t:add\t[0 4]\n1\t:invoke\t:read\t[1 [4 5]]\n");
    history_close(&h);
}

static void a_bank_speaks_of_accounts(void **state)
{
    const int64_t ints[] = {0, 2, 50};
    struct history h;

    (void)state;
    history_init(&h);
    put(&h, (struct history_op){.f = HISTORY_TRANSFER}, HISTORY_LIST, ints, 3);
    put(&h, (struct history_op){.f = HISTORY_READ, .process = 1}, HISTORY_LIST, ints,
        3);
    expect(&h, HISTORY_BANK, ROWS_TXT,
           "0\t:invoke\t:transfer\t{:from 0, :to 2, :amount 50}\n"
           "1\t:invoke\t:read\t{0 0, 1 2, 2 50}\n");
    history_close(&h);
}

static void read_all(const char *path, char *out, size_t cap)
{
    FILE *in = fopen(path, "r");
    size_t n;

    assert_non_null(in);
    n = fread(out, 1, cap - 1, in);
    out[n] = '\0';
    fclose(in);
}

static void each_key_gets_a_history_of_its_own(void **state)
{
    char folder[] = "/tmp/kvd-rows-XXXXXX";
    char path[256];
    char text[4096];
    struct history h;

    (void)state;
    assert_non_null(mkdtemp(folder));
    make_register(&h);
    assert_int_equal(rows_write_independent(folder, &h, HISTORY_REGISTER), 0);
    snprintf(path, sizeof path, "%s/independent/8/history.edn", folder);
    read_all(path, text, sizeof text);
    assert_string_equal(
        text,
        "{:index 0, :time 6, :type :info, :process :nemesis, :f :start-partition, "
        ":value \"n1 | n2,n3\", :row 1}\n"
        "{:index 1, :time 7, :type :invoke, :process 4, :f :read, :value nil, "
        ":node \"n1\", :row 2}\n"
        "{:index 2, :time 8, :type :ok, :process 4, :f :read, :value 1, "
        ":node \"n1\", :group 3, :rev 10, :at-rev 12, :term 2, :row 3}\n");
    for (int key = 8; key <= 9; key++) {
        snprintf(path, sizeof path, "%s/independent/%d/history.edn", folder, key);
        assert_int_equal(unlink(path), 0);
        snprintf(path, sizeof path, "%s/independent/%d/history.txt", folder, key);
        assert_int_equal(unlink(path), 0);
        snprintf(path, sizeof path, "%s/independent/%d", folder, key);
        assert_int_equal(rmdir(path), 0);
    }
    snprintf(path, sizeof path, "%s/independent", folder);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(folder), 0);
    history_close(&h);
}

static void a_full_device_is_an_error(void **state)
{
    struct history h;
    FILE *full = fopen("/dev/full", "w");

    (void)state;
    if (full == NULL) {
        skip();
    }
    make_register(&h);
    assert_true(rows_write(full, &h, HISTORY_REGISTER, ROWS_EDN) != 0);
    fclose(full);
    history_close(&h);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_register_is_written_with_its_key),
        cmocka_unit_test(what_a_nemesis_did_is_edn_or_a_string),
        cmocka_unit_test(transactions_are_vectors_of_micro_operations),
        cmocka_unit_test(one_set_is_bare_and_several_are_keyed),
        cmocka_unit_test(a_bank_speaks_of_accounts),
        cmocka_unit_test(each_key_gets_a_history_of_its_own),
        cmocka_unit_test(a_full_device_is_an_error),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("jepsen/rows", tests, NULL, NULL);
}
