/* tests/sim/main.c - kvsim: runs seeds, prints what happened, says how to repeat. */
#include "tests/lib/fault_interpose.h" /* First: the simulated disk of --store lmdb. */

#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

#include "tests/sim/jobs.h"
#include "tests/sim/memory_arena.h"
#include "tests/sim/shrink.h"

enum {
    /* A run of as many simulated seconds must have made everything happen. */
    COVERAGE_SECONDS = 60000,
};

static double seconds(struct timespec t)
{
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Of this process and those that it waited for. */
static double cpu_seconds(void)
{
    struct rusage self, children;

    KV_ASSERT(getrusage(RUSAGE_SELF, &self) == 0);
    KV_ASSERT(getrusage(RUSAGE_CHILDREN, &children) == 0);
    return (double)(self.ru_utime.tv_sec + self.ru_stime.tv_sec +
                    children.ru_utime.tv_sec + children.ru_stime.tv_sec) +
           (double)(self.ru_utime.tv_usec + self.ru_stime.tv_usec +
                    children.ru_utime.tv_usec + children.ru_stime.tv_usec) /
               1e6;
}

static bool write_coverage(const char *path, const struct jobs_total *t)
{
    FILE *out = fopen(path, "w");

    if (out == NULL) {
        fprintf(stderr, "kvsim: cannot write %s\n", path);
        return false;
    }
    coverage_write(out, &t->counts, &t->cover);
    return fclose(out) == 0;
}

/* True when nothing is missing that a run of this size must have seen. */
static bool judge_coverage(const struct sim_command *c, const struct jobs_total *t)
{
    bool large = t->sim_us / 1000000 >= COVERAGE_SECONDS && c->run.without == 0;
    uint32_t zero = 0;

    if (!c->quiet || large) {
        zero = coverage_zero_rows(stdout, &t->counts, &t->cover);
    }
    if (zero > 0 && large) {
        printf("FAILED: %u things never happened in %" PRIu64 " simulated seconds\n",
               zero, t->sim_us / 1000000);
    }
    return zero == 0 || !large;
}

static void print_speed(const struct jobs_total *t, double real_s)
{
    double sim_s = (double)t->sim_us / 1e6, cpu_s = cpu_seconds();

    fflush(stdout);
    fprintf(stderr,
            "%.0f simulated seconds in %.1f s: %.0f times real time; %.1f s of "
            "processor: %.0f times on one core\n",
            sim_s, real_s, sim_s / (real_s + 1e-9), cpu_s, sim_s / (cpu_s + 1e-9));
}

int main(int argc, char **argv)
{
    struct sim_command c;
    struct jobs_total total;
    struct timespec begin, end;
    bool ok;
    int rc = options_parse(argc, argv, &c);

    if (rc != 0) {
        return rc == 1 ? 0 : rc;
    }
    setvbuf(stdout, NULL, _IOFBF, 1 << 20);
    if (c.shrink) {
        return shrink_run(&c) ? 0 : 1;
    }
    clock_gettime(CLOCK_MONOTONIC, &begin);
    jobs_run(&c, &total);
    clock_gettime(CLOCK_MONOTONIC, &end);
    ok = total.failed == 0;
    if (!c.quiet) {
#define PRINT(name) printf("  %-24s %12" PRIu64 "\n", #name, total.counts.name);
        SIM_COUNT_MAP(PRINT)
#undef PRINT
        print_speed(&total, seconds(end) - seconds(begin));
    }
    ok = judge_coverage(&c, &total) && ok;
    if (c.coverage != NULL) {
        ok = write_coverage(c.coverage, &total) && ok;
    }
    printf("%" PRIu64 " seeds, %" PRIu64 " failed, %" PRIu64 " run twice\n",
           total.seeds, total.failed, total.compared);
    return ok ? 0 : 1;
}
