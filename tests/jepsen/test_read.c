/* tests/jepsen/test_read.c - what is no history is refused, with its line. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "jepsen/format/read.h"
#include "jepsen/format/rows.h"
#include "raft/base/err.h"
#include "tests/lib/history_gen.h"
#include "tests/lib/history_rules.h"

static void refuse(enum history_workload workload, const char *text, uint64_t line,
                   const char *why)
{
    struct read_error error;
    struct history h;

    assert_int_equal(read_history(kv_bytes_str(text), workload, &h, &error),
                     KV_EFORMAT);
    if (strstr(error.text, why) == NULL) {
        fail_msg("%s: said \"%s\", not \"%s\"", text, error.text, why);
    }
    assert_int_equal(error.line, line);
    history_close(&h);
}

static void accept(enum history_workload workload, const char *text, struct history *h)
{
    struct read_error error;
    int rc = read_history(kv_bytes_str(text), workload, h, &error);

    if (rc != 0) {
        fail_msg("line %llu: %s", (unsigned long long)error.line, error.text);
    }
}

#define INVOKE "{:type :invoke, :process 0, :f :write, :value 1}\n"

static void refuses_what_is_no_edn(void **state)
{
    char deep[200];

    (void)state;
    refuse(HISTORY_REGISTER, "{:a", 1, "never closed");
    refuse(HISTORY_REGISTER, INVOKE "\n{:a \"x", 3, "without an end");
    refuse(HISTORY_REGISTER, "{:a}", 1, "a key alone");
    refuse(HISTORY_REGISTER, "}", 1, "without its partner");
    refuse(HISTORY_REGISTER, "{: 1}", 1, "a colon alone");
    refuse(HISTORY_REGISTER, "#", 1, "a hash alone");
    refuse(HISTORY_REGISTER, "#tag", 1, "must follow");
    refuse(HISTORY_REGISTER, "[" INVOKE, 2, "never closed");
    refuse(HISTORY_REGISTER, "{:index 9223372036854775808}", 1, "64 bits");
    memset(deep, '[', sizeof deep);
    deep[sizeof deep - 1] = '\0';
    refuse(HISTORY_REGISTER, deep, 1, "too deep");
    memcpy(deep, "{:v ", 4);
    refuse(HISTORY_REGISTER, deep, 1, "too deep");
    for (size_t i = 0; i + 1 < sizeof deep; i++) {
        deep[i] = i % 2 == 0 ? '#' : '_';
    }
    refuse(HISTORY_REGISTER, deep, 1, "too deep");
}

static void refuses_rows_that_are_not_of_the_workload(void **state)
{
    (void)state;
    refuse(HISTORY_REGISTER, "5", 1, "no map");
    refuse(HISTORY_REGISTER, "{:type :maybe, :process 0, :f :write, :value 1}", 1,
           ":type");
    refuse(HISTORY_REGISTER, "{:type :invoke, :process 0, :f :sleep, :value 1}", 1,
           ":f");
    refuse(HISTORY_REGISTER, "{:type :invoke, :process -1, :f :write, :value 1}", 1,
           ":process");
    refuse(HISTORY_REGISTER, "{:type :invoke, :process 99999999, :f :write, :value 1}",
           1, ":process");
    refuse(HISTORY_REGISTER, "{:type :invoke, :process 0, :f :write, :value \"1\"}", 1,
           "another shape");
    refuse(HISTORY_REGISTER, "{:type :invoke, :process 0, :f :write, :value 1.5}", 1,
           "another shape");
    refuse(HISTORY_REGISTER, "{:type :invoke, :process 0, :f :write}", 1,
           "without a value");
    refuse(HISTORY_APPEND, "{:type :invoke, :process 0, :f :txn, :value [[:w 1 2]]}", 1,
           "unknown");
    refuse(HISTORY_APPEND, "{:type :invoke, :process 0, :f :txn, :value [[:r -1 nil]]}",
           1, "no [:append");
    refuse(HISTORY_SET, "{:type :invoke, :process 0, :f :read, :value [1 2 :a]}", 1,
           "no integer");
    refuse(HISTORY_BANK, "{:type :invoke, :process 0, :f :read, :value {0 1, 2 3}}", 1,
           "accounts");
    refuse(HISTORY_BANK, "{:type :invoke, :process 0, :f :transfer, :value {:from 0}}",
           1, "transfer");
}

static void refuses_rows_that_do_not_follow(void **state)
{
    (void)state;
    refuse(HISTORY_REGISTER, INVOKE INVOKE, 2, "does not follow");
    refuse(HISTORY_REGISTER, "{:type :ok, :process 0, :f :write, :value 1}", 1,
           "does not follow");
    refuse(HISTORY_REGISTER,
           "{:index 3, :type :invoke, :process 0, :f :write, :value 1}\n"
           "{:index 3, :type :ok, :process 0, :f :write, :value 1}",
           2, ":index 3 follows 3");
    refuse(HISTORY_REGISTER,
           "{:time 3, :type :invoke, :process 0, :f :write, :value 1}\n"
           "{:time 2, :type :ok, :process 0, :f :write, :value 1}",
           2, ":time goes back");
    refuse(HISTORY_REGISTER, "{:time -1, :type :invoke, :process 0, :f :write}", 1,
           ":time is no integer");
}

static void reads_what_jepsen_and_elle_cli_write(void **state)
{
    struct history h;

    (void)state;
    accept(
        HISTORY_REGISTER,
        "[#jepsen.history.Op{:index 4, :time 3, :type :invoke, :process 0, :f :cas, "
        ":value [7 [1 2]]} ; a comment\n"
        "{:type :info, :process 0, :f :cas, :value [7 [1 2]], :error [:timeout 5N], "
        ":time 9, :index 6, :op-index 3}\n"
        "{:process :nemesis :type :info :f :start :value {\"n1\" #{\"n2\"}} :time 9}]",
        &h);
    assert_int_equal(h.count, 3);
    assert_int_equal(h.ops[0].key, 7);
    assert_int_equal(h.ops[0].mate, 1);
    assert_string_equal(h.ops[1].text, "[:timeout 5N]");
    assert_string_equal(h.ops[2].text, "start {\"n1\" #{\"n2\"}}");
    history_close(&h);

    accept(HISTORY_APPEND,
           "{:type :invoke :process 0 :f :txn :value [[:append 5 1] [:r 5 nil]]}\n"
           "{:type :ok :process 0 :f :txn :value [[:append 5 1] [:r 5 [1]]]}\n",
           &h);
    assert_int_equal(h.ops[1].value.count, 2 + 3);
    history_close(&h);

    accept(HISTORY_SET,
           "{:type :invoke, :f :read, :value [0 nil], :process 1}\n"
           "{:type :ok, :f :read, :value [0 #{3 1}], :process 1}\n"
           "{:type :invoke, :f :add, :value [1 3], :process 1}\n"
           "{:type :fail, :f :add, :value nil, :process 1}\n",
           &h);
    assert_int_equal(h.ops[1].value.kind, HISTORY_LIST);
    assert_int_equal(h.ops[1].value.count, 2);
    assert_int_equal(h.ops[3].key, 1);
    history_close(&h);
}

static void what_is_written_obeys_the_rules_and_reads_the_same(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct gen_options o = {.seed = seed,
                                .ops = 60,
                                .clients = 5,
                                .keys = 3,
                                .groups = 2,
                                .values = 5,
                                .unknown = 50,
                                .txn_max = 4};
        enum history_workload workload =
            seed % 2 == 0 ? HISTORY_REGISTER : HISTORY_APPEND;
        char *text = NULL;
        char *again = NULL;
        size_t len = 0;
        size_t again_len = 0;
        struct history h;
        struct history copy;
        size_t rows;
        FILE *out;

        history_init(&h);
        if (workload == HISTORY_REGISTER) {
            gen_register(&h, &o);
        } else {
            gen_append(&h, &o);
        }
        out = open_memstream(&text, &len);
        assert_int_equal(rows_write(out, &h, workload, ROWS_EDN), 0);
        fclose(out);
        assert_null(history_rules(kv_bytes(text, len), &rows));
        assert_int_equal(rows, h.count);
        accept(workload, text, &copy);
        out = open_memstream(&again, &again_len);
        assert_int_equal(rows_write(out, &copy, workload, ROWS_EDN), 0);
        fclose(out);
        assert_string_equal(text, again);
        free(text);
        free(again);
        history_close(&h);
        history_close(&copy);
    }
}

static void the_rules_refuse_what_breaks_them(void **state)
{
    static const char *const broken[] = {
        "{:index 1, :time 0, :type :invoke, :process 0, :f :read, :value nil}",
        "{:index 0, :time 0.5, :type :invoke, :process 0, :f :read, :value nil}",
        "{:index 0, :time 0, :type :ok, :process 0, :f :read, :value nil}",
        "{:index 0, :time 0, :type :ok, :process :nemesis, :f :kill, :value nil}",
        "{:index 0, :time 0, :type :invoke, :process 0, :f \"read\", :value nil}",
        "{:index 0, :time 0, :type :invoke, :process 0, :f :read}",
        "{:index 0, :time 9, :type :invoke, :process 0, :f :read, :value nil}"
        "{:index 1, :time 8, :type :info, :process 0, :f :read, :value nil}",
        "{:index 0, :time 9, :type :invoke, :process 0, :f :read, :value nil}"
        "{:index 1, :time 9, :type :info, :process 0, :f :read, :value nil}"
        "{:index 2, :time 9, :type :invoke, :process 0, :f :read, :value nil}",
        "{:index 0",
    };
    size_t rows;

    (void)state;
    for (size_t i = 0; i < KV_ARRAY_COUNT(broken); i++) {
        assert_non_null(history_rules(kv_bytes_str(broken[i]), &rows));
    }
}

static void a_file_that_is_not_there_is_named(void **state)
{
    struct read_error error;
    struct history h;

    (void)state;
    assert_int_equal(read_history_file("/nonexistent/x.edn", HISTORY_SET, &h, &error),
                     KV_EIO);
    assert_non_null(strstr(error.text, "/nonexistent/x.edn"));
    history_close(&h);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_is_no_edn),
        cmocka_unit_test(refuses_rows_that_are_not_of_the_workload),
        cmocka_unit_test(refuses_rows_that_do_not_follow),
        cmocka_unit_test(reads_what_jepsen_and_elle_cli_write),
        cmocka_unit_test(what_is_written_obeys_the_rules_and_reads_the_same),
        cmocka_unit_test(the_rules_refuse_what_breaks_them),
        cmocka_unit_test(a_file_that_is_not_there_is_named),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("jepsen/read", tests, NULL, NULL);
}
