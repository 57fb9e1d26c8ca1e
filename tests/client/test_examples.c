/* tests/client/test_examples.c - the examples for users of libkv compile and work. */
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/client/probe.h"

extern char **environ;

int example_sync(int argc, char **argv);
int example_async(int argc, char **argv);

#define main example_sync
#include "client/examples/sync.c"
#undef main
#define main example_async
#include "client/examples/async.c"
#undef main

/* Runs this program as an example and compares what it prints. */
static void assert_prints(const char *name, const char *endpoint, const char *want)
{
    char own[1024] = "";
    char out[256] = "";
    char *argv[] = {own, (char *)(uintptr_t)name, (char *)(uintptr_t)endpoint, NULL};
    posix_spawn_file_actions_t actions;
    int ends[2];
    int status = -1;
    size_t len = 0;
    ssize_t count;
    pid_t pid;

    assert_true(readlink("/proc/self/exe", own, sizeof own - 1) > 0);
    assert_int_equal(pipe(ends), 0);
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    (void)posix_spawn_file_actions_addclose(&actions, ends[0]);
    (void)posix_spawn_file_actions_addclose(&actions, ends[1]);
    assert_int_equal(posix_spawn(&pid, own, &actions, NULL, argv, environ), 0);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(ends[1]);
    do {
        count = read(ends[0], out + len, sizeof out - 1 - len);
        len += count > 0 ? (size_t)count : 0;
    } while (count > 0);
    (void)close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_string_equal(out, want);
}

static void the_blocking_example_works(void **state)
{
    struct fake_server *server = fake_server_start(1, 0);

    (void)state;
    assert_prints("sync", fake_server_endpoint(server), "hello\n");
    fake_server_stop(server);
}

static void the_asynchronous_example_works(void **state)
{
    struct fake_server *server = fake_server_start(1, 0);

    (void)state;
    assert_prints("async", fake_server_endpoint(server),
                  "100 done, 0 not done, 0 unknown\n");
    fake_server_stop(server);
}

static size_t slurp(const char *path, char *out, size_t room)
{
    FILE *file = fopen(path, "re");
    size_t len = file == NULL ? 0 : fread(out, 1, room - 1, file);

    if (file != NULL) {
        (void)fclose(file);
    }
    out[len] = '\0';
    return len;
}

/* But for the first line and how the header is found. */
static void the_readme_shows_the_blocking_example(void **state)
{
    static char readme[64 * 1024];
    static char source[8 * 1024];
    static const char end[] = "```\n";
    const char *shown;
    const char *code;

    (void)state;
    if (slurp("client/README.md", readme, sizeof readme) == 0 ||
        slurp("client/examples/sync.c", source, sizeof source) == 0) {
        skip(); /* Not run from the root of the tree. */
    }
    shown = strstr(readme, "```c\n#include <kv.h>\n");
    code = strstr(source, "#include \"client/kv.h\"\n");
    assert_non_null(shown);
    assert_non_null(code);
    shown += strlen("```c\n#include <kv.h>\n");
    code += strlen("#include \"client/kv.h\"\n");
    assert_memory_equal(shown, code, strlen(code));
    assert_memory_equal(shown + strlen(code), end, strlen(end));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_blocking_example_works),
        cmocka_unit_test(the_asynchronous_example_works),
        cmocka_unit_test(the_readme_shows_the_blocking_example),
    };

    if (argc > 2 && strcmp(argv[1], "sync") == 0) {
        return example_sync(argc - 1, argv + 1);
    }
    if (argc > 2 && strcmp(argv[1], "async") == 0) {
        return example_async(argc - 1, argv + 1);
    }
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("client/examples", tests, NULL, NULL);
}
