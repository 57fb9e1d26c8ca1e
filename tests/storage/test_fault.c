/* tests/storage/test_fault.c - the nth call fails, for every n.
 *
 * A fixed row of verbs runs again and again; in run n the nth system call (or LMDB
 * call) fails. KV_ENOSPACE must have changed nothing, and the same verb must succeed
 * when it is made again. After anything else the store is closed, as the process would
 * end, and opened: it holds what it held before the verb, or after it.
 */
#include "tests/lib/fault_interpose.h"

#include <setjmp.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <errno.h>
#include <lmdb.h>

#include "raft/base/err.h"
#include "tests/lib/fault_script.h"
#include "tests/lib/store_dir.h"
#include "tests/lib/store_model.h"

enum {
    FAULT_STRIDE = STORE_DIR_SLOW ? 4 : 1
};

/* ---- LMDB's writing calls, of which the nth may fail ---- */

static struct {
    uint64_t calls;
    uint64_t fail_at; /* 0: none. */
    int fail_code;
    const char *failed;
} lmdb = {.failed = ""};

static void lmdb_fail(uint64_t nth, int code)
{
    lmdb.calls = 0;
    lmdb.fail_at = nth;
    lmdb.fail_code = code;
    lmdb.failed = "";
}

static bool lmdb_fails(const char *name)
{
    lmdb.calls++;
    if (lmdb.calls != lmdb.fail_at) {
        return false;
    }
    lmdb.failed = name;
    return true;
}

/* Stores the library's own function in the pointer at `out`. */
static void lmdb_real(const char *name, void *out)
{
    void *found = dlsym(RTLD_NEXT, name);

    assert_non_null(found);
    memcpy(out, &found, sizeof found);
}

int mdb_put(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *data, unsigned flags)
{
    int (*real)(MDB_txn *, MDB_dbi, MDB_val *, MDB_val *, unsigned);

    lmdb_real("mdb_put", &real);
    return lmdb_fails("mdb_put") ? lmdb.fail_code : real(txn, dbi, key, data, flags);
}

int mdb_del(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *data)
{
    int (*real)(MDB_txn *, MDB_dbi, MDB_val *, MDB_val *);

    lmdb_real("mdb_del", &real);
    return lmdb_fails("mdb_del") ? lmdb.fail_code : real(txn, dbi, key, data);
}

int mdb_cursor_put(MDB_cursor *cursor, MDB_val *key, MDB_val *data, unsigned flags)
{
    int (*real)(MDB_cursor *, MDB_val *, MDB_val *, unsigned);

    lmdb_real("mdb_cursor_put", &real);
    return lmdb_fails("mdb_cursor_put") ? lmdb.fail_code
                                        : real(cursor, key, data, flags);
}

int mdb_cursor_del(MDB_cursor *cursor, unsigned flags)
{
    int (*real)(MDB_cursor *, unsigned);

    lmdb_real("mdb_cursor_del", &real);
    return lmdb_fails("mdb_cursor_del") ? lmdb.fail_code : real(cursor, flags);
}

int mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **out)
{
    int (*real)(MDB_env *, MDB_txn *, unsigned, MDB_txn **);

    lmdb_real("mdb_txn_begin", &real);
    return lmdb_fails("mdb_txn_begin") ? lmdb.fail_code : real(env, parent, flags, out);
}

int mdb_txn_commit(MDB_txn *txn)
{
    int (*real)(MDB_txn *);

    lmdb_real("mdb_txn_commit", &real);
    if (lmdb_fails("mdb_txn_commit")) {
        mdb_txn_abort(txn);
        return lmdb.fail_code;
    }
    return real(txn);
}

/* ---- the runs ---- */

struct prints {
    uint64_t log;
    uint64_t state;
};

struct faults {
    struct fault_script script;
    char empty[STORE_DIR_BYTES]; /* A store that was made and closed. */
    char dir[STORE_DIR_BYTES];
    struct prints expect[SCRIPT_STEPS_MAX + 1]; /* After so many steps. */
    uint64_t retried;
    uint64_t reopened;
};

static struct prints prints_of(struct store *s)
{
    return (struct prints){model_print_log(s), model_print_state(s)};
}

static bool same(struct prints a, struct prints b)
{
    return a.log == b.log && a.state == b.state;
}

static struct store *begin(struct faults *f)
{
    struct store *s;

    fault_io_begin("");
    store_dir_remove(f->dir);
    store_dir_copy(f->empty, f->dir);
    fault_io_begin(f->dir);
    fault_io_skip_syncs(true);
    assert_int_equal(store_dir_open(f->dir, &s), 0);
    return s;
}

static void faults_open(struct faults *f)
{
    struct store *s;

    *f = (struct faults){0};
    lmdb_fail(0, 0);
    fault_io_begin("");
    fault_script_open(&f->script);
    store_dir_make_fast(f->empty);
    store_dir_make_fast(f->dir);
    assert_int_equal(store_dir_open(f->empty, &s), 0);
    s->ops->close(s);
    s = begin(f);
    f->expect[0] = prints_of(s);
    for (uint32_t i = 0; i < f->script.steps; i++) {
        int rc = fault_script_step(&f->script, s, i);

        if (rc != 0) {
            fail_msg("step %s: %s", fault_script_name(&f->script, i), kv_err_name(rc));
        }
        f->expect[i + 1] = prints_of(s);
    }
    s->ops->close(s);
}

static void faults_close(struct faults *f)
{
    fault_io_begin("");
    lmdb_fail(0, 0);
    fault_script_close(&f->script);
    store_dir_remove(f->empty);
    store_dir_remove(f->dir);
}

/* After a step that failed for good: closes, opens, compares. A log reset that was left
 * undone is finished by opening, so one step more may be there. */
static void reopen_and_compare(struct faults *f, struct store *s, uint32_t step,
                               uint64_t n, const char *call)
{
    struct prints now;

    s->ops->close(s);
    fault_io_begin(f->dir);
    fault_io_skip_syncs(true);
    lmdb_fail(0, 0);
    assert_int_equal(store_dir_open(f->dir, &s), 0);
    now = prints_of(s);
    s->ops->close(s);
    f->reopened++;
    /* Steps 20 to 22 are install, reset, mark_clear: opening goes through to their
     * end. */
    if (!same(now, f->expect[step]) && !same(now, f->expect[step + 1]) &&
        !(step >= 20 && step <= 22 && same(now, f->expect[23]))) {
        fail_msg("n=%llu: %s failed in step %s: neither before nor after",
                 (unsigned long long)n, call, fault_script_name(&f->script, step));
    }
}

static const char *lmdb_failed(void)
{
    return lmdb.failed;
}

/* Runs the script with a fault armed by `arm`. */
static bool script_run(struct faults *f, uint64_t n, int code, bool in_lmdb)
{
    const char *(*failed)(void) = in_lmdb ? lmdb_failed : fault_io_failed;
    struct store *s = begin(f);

    if (in_lmdb) {
        lmdb_fail(n, code);
    } else {
        fault_io_fail(n, code);
    }
    for (uint32_t i = 0; i < f->script.steps; i++) {
        int rc = fault_script_step(&f->script, s, i);

        if (rc == KV_ENOSPACE) {
            assert_true(failed()[0] != 0);
            if (!same(prints_of(s), f->expect[i])) {
                fail_msg("n=%llu: %s: step %s said NO_SPACE but changed something",
                         (unsigned long long)n, failed(),
                         fault_script_name(&f->script, i));
            }
            f->retried++;
            rc = fault_script_step(&f->script, s, i);
            if (rc == KV_EINVAL && i == 19) { /* The chunk is there already. */
                rc = 0;
            }
            if (rc != 0) {
                fail_msg("n=%llu: %s: step %s again: %s", (unsigned long long)n,
                         failed(), fault_script_name(&f->script, i), kv_err_name(rc));
            }
        }
        if (rc != 0) {
            assert_true(failed()[0] != 0);
            reopen_and_compare(f, s, i, n, failed());
            return true;
        }
    }
    if (!same(prints_of(s), f->expect[f->script.steps])) {
        fail_msg("n=%llu: %s was swallowed and changed the end", (unsigned long long)n,
                 failed());
    }
    s->ops->close(s);
    return failed()[0] != 0;
}

static void every_n(int code, const char *name, bool in_lmdb)
{
    struct faults f;
    uint64_t n = 1;

    faults_open(&f);
    while (script_run(&f, n, code, in_lmdb)) {
        n += FAULT_STRIDE;
    }
    print_message("%s at each of %llu calls: %llu verbs tried again, %llu reopened\n",
                  name, (unsigned long long)(n - 1), (unsigned long long)f.retried,
                  (unsigned long long)f.reopened);
    assert_true(n > 50);
    faults_close(&f);
}

static void system_calls_fail_with_eio(void **unused)
{
    (void)unused;
    every_n(EIO, "EIO", false);
}

static void system_calls_fail_with_enospc(void **unused)
{
    (void)unused;
    every_n(ENOSPC, "ENOSPC", false);
}

static void lmdb_calls_fail_with_map_full(void **unused)
{
    (void)unused;
    every_n(MDB_MAP_FULL, "MDB_MAP_FULL", true);
}

static void lmdb_calls_fail_with_eio(void **unused)
{
    (void)unused;
    every_n(EIO, "EIO of LMDB", true);
}

/* Opening an existing directory, and making a new one. */
static void open_fails_at_every_call(void **unused)
{
    struct faults f;

    (void)unused;
    for (int is_new = 0; is_new < 2; is_new++) {
        for (int kind = 0; kind < 2; kind++) {
            uint64_t n = 1;
            bool met = true;

            faults_open(&f);
            for (; met; n += FAULT_STRIDE) {
                struct store *s;
                int rc;

                s = begin(&f);
                assert_int_equal(fault_script_step(&f.script, s, 0), 0);
                s->ops->close(s);
                if (is_new != 0) {
                    fault_io_begin("");
                    store_dir_remove(f.dir);
                    fault_io_begin(f.dir);
                    fault_io_skip_syncs(true);
                }
                fault_io_fail(n, kind == 0 ? EIO : ENOSPC);
                rc = store_dir_open(f.dir, &s);
                met = fault_io_failed()[0] != 0;
                if (rc == 0) {
                    s->ops->close(s);
                }
                fault_io_fail(0, 0);
                assert_int_equal(store_dir_open(f.dir, &s), 0);
                assert_true(same(prints_of(s), f.expect[is_new != 0 ? 0 : 1]));
                s->ops->close(s);
            }
            assert_true(n > 5);
            faults_close(&f);
        }
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(system_calls_fail_with_eio),
        cmocka_unit_test(system_calls_fail_with_enospc),
        cmocka_unit_test(lmdb_calls_fail_with_map_full),
        cmocka_unit_test(lmdb_calls_fail_with_eio),
        cmocka_unit_test(open_fails_at_every_call),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("storage/fault", tests, NULL, NULL);
}
