/* tests/raft/test_scenario.c - runs the files of tests/scenarios/raft.
 *
 * A file is a series of blocks: commands, a line "----", the expected output, an
 * empty line. KV_REWRITE=1 (make rewrite) writes what happened into the files
 * instead of comparing; commit a rewritten file only when you can explain each
 * changed line.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <glob.h>

#include "raft/base/arena.h"
#include "tests/lib/raft_script.h"

#define SCENARIO_DIR "tests/scenarios/raft"

enum {
    FILES_MAX = 256,
    TEXT_MAX = 512 * 1024
};

struct scenario {
    FILE *in;
    const char *path;
    unsigned line_number;
    struct raft_script *script;
    size_t expected_len;
    size_t rewritten_len;
    char expected[TEXT_MAX];
    char rewritten[TEXT_MAX];
};

static bool rewriting(void)
{
    const char *text = getenv("KV_REWRITE");

    return text != NULL && text[0] == '1';
}

static void append(char *text, size_t *len, const char *more)
{
    size_t more_len = strlen(more);

    assert_true(*len + more_len < TEXT_MAX);
    memcpy(text + *len, more, more_len + 1);
    *len += more_len;
}

static bool next_line(struct scenario *s, char *line, size_t cap)
{
    if (fgets(line, (int)cap, s->in) == NULL) {
        return false;
    }
    s->line_number++;
    return true;
}

/* Everything up to an empty line or the end. */
static void read_expected(struct scenario *s)
{
    char line[1024];

    s->expected_len = 0;
    s->expected[0] = '\0';
    while (next_line(s, line, sizeof line) && line[0] != '\n') {
        append(s->expected, &s->expected_len, line);
    }
}

static void finish_block(struct scenario *s)
{
    unsigned at = s->line_number;
    const char *got = raft_script_take(s->script);

    read_expected(s);
    append(s->rewritten, &s->rewritten_len, got);
    append(s->rewritten, &s->rewritten_len, "\n");
    if (!rewriting() && strcmp(got, s->expected) != 0) {
        fail_msg("%s:%u\nexpected:\n%sgot:\n%s", s->path, at, s->expected, got);
    }
}

static void run_file(void **state)
{
    struct scenario *s = kv_mem_zalloc(sizeof *s);
    char line[1024];
    unsigned blocks = 0;

    assert_non_null(s);
    s->path = *state;
    s->in = fopen(s->path, "r");
    assert_non_null(s->in);
    s->script = raft_script_new();
    while (next_line(s, line, sizeof line)) {
        append(s->rewritten, &s->rewritten_len, line);
        if (strcmp(line, "----\n") == 0) {
            finish_block(s);
            blocks++;
        } else if (line[0] != '#' && line[0] != '\n') {
            raft_script_run(s->script, line);
        }
    }
    fclose(s->in);
    raft_script_free(s->script);
    assert_true(blocks > 0);
    if (rewriting()) {
        FILE *out = fopen(s->path, "w");

        assert_non_null(out);
        while (s->rewritten_len > 1 && s->rewritten[s->rewritten_len - 2] == '\n') {
            s->rewritten[--s->rewritten_len] = '\0'; /* One newline at the end. */
        }
        fputs(s->rewritten, out);
        fclose(out);
    }
    kv_mem_free(s);
}

int main(int argc, char **argv)
{
    static struct CMUnitTest tests[FILES_MAX];
    glob_t found = {0};
    size_t count;
    int failed;

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    if (glob(SCENARIO_DIR "/*.txt", 0, NULL, &found) != 0 || found.gl_pathc == 0) {
        fprintf(stderr,
                "no scenarios in " SCENARIO_DIR ": run from the repository root\n");
        return 1;
    }
    count = found.gl_pathc < FILES_MAX ? found.gl_pathc : FILES_MAX;
    for (size_t i = 0; i < count; i++) {
        const char *name = strrchr(found.gl_pathv[i], '/') + 1;

        tests[i] = (struct CMUnitTest){
            .name = name, .test_func = run_file, .initial_state = found.gl_pathv[i]};
    }
    failed = _cmocka_run_group_tests("raft/scenario", tests, count, NULL, NULL);
    globfree(&found);
    return failed;
}
