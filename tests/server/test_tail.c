/* tests/server/test_tail.c - records in memory: order, cutting, dropping, lifetimes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "raft/base/prng.h"
#include "raft/record.h"
#include "server/tail.h"

static uint8_t payload_bytes[100000];

static struct kv_bytes append(struct tail *t, raft_index index, size_t len)
{
    struct raft_entry e = {.pos = {index, 1}, .type = RAFT_ENTRY_COMMAND};
    struct kv_bytes record;

    memset(payload_bytes, (int)(index % 251), len);
    e.payload = kv_bytes(payload_bytes, len);
    assert_int_equal(tail_append(t, &e, &record), 0);
    return record;
}

static void assert_is(struct kv_bytes record, raft_index index, size_t len)
{
    struct raft_entry e;

    assert_int_equal(raft_record_decode(record, &e), 0);
    assert_int_equal(e.pos.index, index);
    assert_int_equal(e.payload.len, len);
    if (len > 0) {
        assert_int_equal(e.payload.data[0], index % 251);
        assert_int_equal(e.payload.data[len - 1], index % 251);
    }
}

static void holds_what_was_appended(void **state)
{
    struct tail t;

    (void)state;
    tail_init(&t, 10);
    for (raft_index i = 10; i < 1000; i++) {
        (void)append(&t, i, i % 300);
    }
    assert_false(tail_has(&t, 9));
    assert_false(tail_has(&t, 1000));
    for (raft_index i = 10; i < 1000; i++) {
        assert_true(tail_has(&t, i));
        assert_is(tail_get(&t, i), i, i % 300);
    }
    tail_close(&t);
}

static void records_larger_than_a_chunk_fit(void **state)
{
    struct tail t;

    (void)state;
    tail_init(&t, 1);
    (void)append(&t, 1, 10);
    (void)append(&t, 2, 90000);
    (void)append(&t, 3, 10);
    assert_is(tail_get(&t, 1), 1, 10);
    assert_is(tail_get(&t, 2), 2, 90000);
    assert_is(tail_get(&t, 3), 3, 10);
    tail_close(&t);
}

static void dropping_frees_memory_once_it_is_written(void **state)
{
    struct tail t;
    size_t full;

    (void)state;
    tail_init(&t, 1);
    for (raft_index i = 1; i <= 1000; i++) {
        (void)append(&t, i, 200);
    }
    tail_handed_out(&t, 1);
    full = t.chunks_bytes;
    tail_drop(&t, 1001);
    assert_int_equal(t.bytes, 0);
    assert_int_equal(t.chunks_bytes, full); /* The disk still reads them. */
    tail_written(&t, 1);
    assert_true(t.chunks_bytes < full / 8);
    tail_close(&t);
}

/* Cutting at the back while a job reads: the job's bytes stay as they are. */
static void cutting_leaves_a_jobs_bytes_alone(void **state)
{
    struct tail t;
    struct kv_bytes job[200];

    (void)state;
    tail_init(&t, 1);
    for (raft_index i = 1; i <= 200; i++) {
        job[i - 1] = append(&t, i, 200);
    }
    tail_handed_out(&t, 1);
    tail_cut(&t, 50);
    for (raft_index i = 50; i <= 300; i++) {
        (void)append(&t, i, 100);
    }
    tail_handed_out(&t, 2);
    tail_drop(&t, 301);
    for (raft_index i = 1; i <= 200; i++) {
        assert_is(job[i - 1], i, 200);
    }
    tail_written(&t, 1);
    tail_written(&t, 2);
    tail_close(&t);
}

static void a_reset_goes_on_elsewhere(void **state)
{
    struct tail t;

    (void)state;
    tail_init(&t, 1);
    (void)append(&t, 1, 10);
    tail_handed_out(&t, 1);
    tail_reset(&t, 500);
    assert_false(tail_has(&t, 1));
    (void)append(&t, 500, 10);
    tail_handed_out(&t, 2);
    assert_is(tail_get(&t, 500), 500, 10);
    tail_written(&t, 2);
    tail_close(&t);
}

/* What is appended but not yet handed out survives that older writes finish. */
static void memory_not_handed_out_yet_is_kept(void **state)
{
    struct tail t;
    struct kv_bytes record;

    (void)state;
    tail_init(&t, 1);
    (void)append(&t, 1, 10);
    tail_handed_out(&t, 1);
    record = append(&t, 2, 10);
    tail_drop(&t, 3);
    tail_written(&t, 1);
    assert_is(record, 2, 10);
    tail_handed_out(&t, 2);
    assert_is(record, 2, 10);
    tail_written(&t, 2);
    tail_close(&t);
}

/* Random work against a naive picture of it; every record of a job in flight is read
 * when the job is done. */
static void behaves_like_a_list(void **state)
{
    enum {
        JOBS = 4,
        RECORDS = 64
    };
    struct {
        uint64_t write;
        uint32_t count;
        raft_index index[RECORDS];
        size_t len[RECORDS];
        struct kv_bytes record[RECORDS];
    } *jobs = calloc(JOBS, sizeof *jobs);
    size_t *lens = calloc(200000, sizeof *lens);
    struct prng p;
    struct tail t;
    uint64_t write = 0;
    uint64_t done = 0;

    (void)state;
    assert_non_null(jobs);
    assert_non_null(lens);
    prng_init(&p, 3);
    tail_init(&t, 1);
    for (int step = 0; step < 20000; step++) {
        uint64_t what = prng_below(&p, 10);

        if (what < 4 && write - done < JOBS) {
            uint32_t count = (uint32_t)prng_between(&p, 1, RECORDS);

            write++;
            jobs[write % JOBS].write = write;
            jobs[write % JOBS].count = count;
            for (uint32_t i = 0; i < count; i++) {
                size_t len = prng_below(&p, 20) == 0 ? 20000 : prng_below(&p, 400);

                jobs[write % JOBS].index[i] = t.end;
                jobs[write % JOBS].len[i] = len;
                lens[t.end] = len;
                jobs[write % JOBS].record[i] = append(&t, t.end, len);
            }
            tail_handed_out(&t, write);
        } else if (what < 8 && done < write) {
            done++;
            for (uint32_t i = 0; i < jobs[done % JOBS].count; i++) {
                assert_is(jobs[done % JOBS].record[i], jobs[done % JOBS].index[i],
                          jobs[done % JOBS].len[i]);
            }
            tail_written(&t, done);
        } else if (what == 8) {
            tail_drop(&t, t.begin + prng_below(&p, 40));
        } else if (prng_below(&p, 10) == 0) {
            tail_cut(&t, t.begin + prng_below(&p, t.end - t.begin + 1));
        }
        if (t.end > t.begin) {
            raft_index i = t.begin + prng_below(&p, t.end - t.begin);

            assert_is(tail_get(&t, i), i, lens[i]);
        }
        if (t.end > 190000) {
            break;
        }
    }
    tail_close(&t);
    free(jobs);
    free(lens);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holds_what_was_appended),
        cmocka_unit_test(records_larger_than_a_chunk_fit),
        cmocka_unit_test(dropping_frees_memory_once_it_is_written),
        cmocka_unit_test(cutting_leaves_a_jobs_bytes_alone),
        cmocka_unit_test(a_reset_goes_on_elsewhere),
        cmocka_unit_test(memory_not_handed_out_yet_is_kept),
        cmocka_unit_test(behaves_like_a_list),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/tail", tests, NULL, NULL);
}
