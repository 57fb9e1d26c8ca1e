/* tests/sim/test_options.c - what a failure prints is what the command line takes. */
#include <getopt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "raft/base/check.h"
#include "tests/sim/options.h"

enum {
    WORDS_MAX = 40
};

static int parse(const char *line, struct sim_command *out)
{
    char *argv[WORDS_MAX + 1] = {(char *)(uintptr_t) "kvsim"};
    char text[1024];
    char *rest = text, *word;
    int argc = 1;

    snprintf(text, sizeof text, "%s", line);
    while ((word = strsep(&rest, " ")) != NULL && argc < WORDS_MAX) {
        if (*word != '\0') {
            argv[argc++] = word;
        }
    }
    optind = 0; /* Begin anew. */
    return options_parse(argc, argv, out);
}

static void prints_the_options_that_repeat_a_run(void **ctx)
{
    static const char *const lines[] = {
        " --time 20s",
        " --time 7953ms --nodes 3 --groups 1 --replicas 3 --clients 2 --keys 1 --ops 9",
        " --time 60s --store lmdb",
        " --time 60s --without crash,loss",
        " --time 60s --only crash,loss",
        " --time 60s --without all --skip 3,7..9,4000",
    };

    (void)ctx;
    for (size_t i = 0; i < KV_ARRAY_COUNT(lines); i++) {
        struct sim_command c;
        char *printed = NULL;
        size_t size;
        FILE *out = open_memstream(&printed, &size);

        assert_non_null(out);
        assert_int_equal(parse(lines[i], &c), 0);
        options_print(&c.run, out);
        assert_int_equal(fclose(out), 0);
        assert_string_equal(printed, lines[i]);
        free(printed);
    }
}

static void a_fault_is_off_with_all_that_belongs_to_it(void **ctx)
{
    struct sim_command c;
    struct sim_swarm w = {.nodes = 3};

    (void)ctx;
    w.f.crash_every_ms = 5;
    w.f.cut_every_ms = 6;
    w.f.cut_ms = 7;
    assert_int_equal(parse("--without cut", &c), 0);
    options_apply(&c.run, &w);
    assert_int_equal(w.f.crash_every_ms, 5);
    assert_int_equal(w.f.cut_every_ms, 0);
    assert_int_equal(w.f.cut_ms, 0);
    assert_int_equal(w.nodes, 3);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prints_the_options_that_repeat_a_run),
        cmocka_unit_test(a_fault_is_off_with_all_that_belongs_to_it),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("sim/options", tests, NULL, NULL);
}
