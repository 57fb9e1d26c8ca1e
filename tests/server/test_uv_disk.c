/* tests/server/test_uv_disk.c - lanes run their jobs in order, and all come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <uv.h>

#include "server/uv_disk.h"

enum {
    JOBS = 2000
};

/* What the stubbed disk_job_run() saw, and what came back. */
struct fixture {
    uv_loop_t loop;
    struct uv_disk disk;
    uv_thread_t loop_thread;
    struct disk_job jobs[JOBS];
    uint32_t running[DISK_LANES_COUNT]; /* At the moment; at most one per lane. */
    uint32_t ran[DISK_LANES_COUNT];
    uint32_t delivered;
    uint64_t last_group[DISK_LANES_COUNT];
    bool in_order;
    bool slow; /* Jobs take a while. */
};

static struct fixture f;

enum disk_lane disk_job_lane(enum disk_kind kind)
{
    return kind == DISK_LOG ? DISK_LANE_LOG : DISK_LANE_STATE;
}

void disk_job_run(struct disk_job *job)
{
    enum disk_lane lane = disk_job_lane(job->kind);
    uv_thread_t self = uv_thread_self();

    KV_ASSERT(!uv_thread_equal(&self, &f.loop_thread));
    KV_ASSERT(__atomic_add_fetch(&f.running[lane], 1, __ATOMIC_SEQ_CST) == 1);
    if (f.slow) {
        uv_sleep(20);
    }
    job->result = (int)job->group;
    f.ran[lane]++;
    KV_ASSERT(__atomic_sub_fetch(&f.running[lane], 1, __ATOMIC_SEQ_CST) == 0);
}

static void on_done(void *ctx, struct disk_job *job)
{
    enum disk_lane lane = disk_job_lane(job->kind);
    uv_thread_t self = uv_thread_self();

    assert_ptr_equal(ctx, &f);
    assert_true(uv_thread_equal(&self, &f.loop_thread));
    assert_null(job->next);
    assert_int_equal(job->result, job->group);
    assert_true(job->done_us >= job->submit_us);
    f.in_order &= job->group > f.last_group[lane];
    f.last_group[lane] = job->group;
    f.delivered++;
}

static int setup(void **state)
{
    (void)state;
    memset(&f, 0, sizeof f);
    f.in_order = true;
    f.loop_thread = uv_thread_self();
    assert_int_equal(uv_loop_init(&f.loop), 0);
    assert_int_equal(uv_disk_init(&f.disk, &f.loop, on_done, &f), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    uv_disk_stop(&f.disk);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f.loop), 0);
    return 0;
}

static struct disk_job *submit(uint32_t number, enum disk_kind kind)
{
    struct disk_job *job = &f.jobs[number - 1];

    *job = (struct disk_job){.kind = kind, .group = number};
    uv_disk_submit(&f.disk, job);
    return job;
}

static void run_until_delivered(uint32_t count)
{
    uint64_t end = uv_hrtime() + 10000000000ull;

    while (f.delivered < count && uv_hrtime() < end) {
        uv_run(&f.loop, UV_RUN_ONCE);
    }
    assert_int_equal(f.delivered, count);
}

static void jobs_of_a_lane_run_in_order_one_at_a_time(void **state)
{
    (void)state;
    for (uint32_t i = 1; i <= JOBS; i++) {
        submit(i, i % 3 == 0 ? DISK_CHECKPOINT : DISK_LOG);
    }
    run_until_delivered(JOBS);

    assert_true(f.in_order);
    assert_int_equal(f.ran[DISK_LANE_STATE], JOBS / 3);
    assert_int_equal(f.ran[DISK_LANE_LOG], JOBS - JOBS / 3);
    assert_int_equal(uv_disk_pending(&f.disk), 0);
}

static void nothing_is_delivered_from_within_submit(void **state)
{
    (void)state;
    submit(1, DISK_LOG);
    uv_sleep(50);
    assert_int_equal(f.delivered, 0);
    assert_int_equal(uv_disk_pending(&f.disk), 1);
    run_until_delivered(1);
}

static void a_slow_state_job_does_not_hold_up_the_log(void **state)
{
    (void)state;
    f.slow = true;
    for (uint32_t i = 1; i <= 10; i++) {
        submit(i, DISK_CHECKPOINT);
    }
    submit(11, DISK_LOG);
    while (f.last_group[DISK_LANE_LOG] == 0) {
        uv_run(&f.loop, UV_RUN_ONCE);
    }
    assert_true(f.delivered <= 5);
    run_until_delivered(11);
}

static void stopping_runs_what_is_queued(void **state)
{
    (void)state;
    f.slow = true;
    for (uint32_t i = 1; i <= 5; i++) {
        submit(i, DISK_LOG);
        submit(i + 5, DISK_SWEEP);
    }
    uv_disk_stop(&f.disk);

    assert_int_equal(f.ran[DISK_LANE_LOG], 5);
    assert_int_equal(f.ran[DISK_LANE_STATE], 5);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    assert_int_equal(f.delivered, 0);
}

/* Not judged, printed: what one job costs on top of its work, there and back. */
static void a_round_trip_is_measured(void **state)
{
    enum {
        ROUNDS = 1000
    };
    uint64_t begin = uv_hrtime();

    (void)state;
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        submit(i, DISK_LOG);
        run_until_delivered(i);
    }
    print_message("waking the thread and the loop: %.1f us\n",
                  (double)(uv_hrtime() - begin) / 1000 / ROUNDS);
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(jobs_of_a_lane_run_in_order_one_at_a_time),
        T(nothing_is_delivered_from_within_submit),
        T(a_slow_state_job_does_not_hold_up_the_log),
        T(stopping_runs_what_is_queued),
        T(a_round_trip_is_measured),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/uv_disk", tests, NULL, NULL);
}
