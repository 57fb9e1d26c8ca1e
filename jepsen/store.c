/* jepsen/store.c - the folder of a run: made, filled, trimmed. */
#include "jepsen/store.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "jepsen/format/results.h"
#include "jepsen/format/rows.h"
#include "raft/base/err.h"

enum {
    STORE_PATH_BYTES = 1024,
    STORE_RUNS_PER_SECOND = 100,
};

static int complain(struct run *r, const char *path)
{
    snprintf(r->error, sizeof r->error, "%.400s: %s", path, strerror(errno));
    return KV_EIO;
}

/* ---- folders ---- */

static int make_folders(const char *path)
{
    char part[STORE_PATH_BYTES + 2];

    snprintf(part, sizeof part, "%s/", path);
    for (char *p = strchr(part + 1, '/'); p != NULL; p = strchr(p + 1, '/')) {
        *p = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST) {
            return KV_EIO;
        }
        *p = '/';
    }
    return 0;
}

static void link_latest(const char *folder, const char *target)
{
    char path[STORE_PATH_BYTES];

    snprintf(path, sizeof path, "%s/latest", folder);
    unlink(path);
    if (symlink(target, path) != 0) {
        fprintf(stderr, "kvjepsen: %s: %s\n", path, strerror(errno));
    }
}

int store_begin(struct run *r)
{
    char folder[STORE_PATH_BYTES], path[STORE_PATH_BYTES + 64], target[256];
    char stamp[24];
    struct timespec now;
    struct tm local;
    char real[PATH_MAX];
    int n;

    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &local);
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%S", &local);
    snprintf(folder, sizeof folder, "%s/%s", r->o->store, r->o->name);
    if (make_folders(folder) != 0) {
        return complain(r, folder);
    }
    for (n = 1; n < STORE_RUNS_PER_SECOND; n++) {
        snprintf(r->begun, sizeof r->begun, n == 1 ? "%s" : "%s-%d", stamp, n);
        snprintf(path, sizeof path, "%s/%s", folder, r->begun);
        if (mkdir(path, 0777) == 0) {
            break;
        }
        if (errno != EEXIST || n + 1 == STORE_RUNS_PER_SECOND) {
            return complain(r, path);
        }
    }
    if (realpath(path, real) == NULL || strlen(real) >= sizeof r->dir / 2) {
        return complain(r, path); /* Nodes' paths have to fit behind it. */
    }
    snprintf(r->dir, sizeof r->dir, "%.255s", real);
    link_latest(folder, r->begun);
    snprintf(target, sizeof target, "%s/%s", r->o->name, r->begun);
    link_latest(r->o->store, target);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind,
                      struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    if (remove(path) != 0 && errno != ENOENT) {
        fprintf(stderr, "kvjepsen: %s: %s\n", path, strerror(errno));
    }
    return 0;
}

void store_remove(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

void store_trim(const struct run *r)
{
    if (r->o->keep_data || r->valid != VERDICT_VALID || r->error[0] != '\0') {
        return;
    }
    for (uint32_t i = 0; i < r->o->nodes; i++) {
        if (r->nodes[i].data_dir[0] != '\0') {
            store_remove(r->nodes[i].data_dir);
        }
    }
}

/* ---- files ---- */

static json_t *fault_json(const struct run_fault *f)
{
    return json_pack("{s:s,s:s,s:b,s:s,s:I,s:I,s:I,s:I,s:f,s:f}", "kind", f->kind,
                     "value", f->value, "effective", f->effective ? 1 : 0, "why",
                     f->why, "begin_ns", (json_int_t)f->begin_ns, "begun_ns",
                     (json_int_t)f->begun_ns, "end_ns", (json_int_t)f->end_ns,
                     "ended_ns", (json_int_t)f->ended_ns, "recover_ms", f->recover_ms,
                     "recover_end_ms", f->recover_end_ms);
}

/* What the index and the tables of cells want to know. NULL without memory. */
static json_t *run_json(const struct run *r)
{
    json_t *faults = json_array();
    json_t *verdicts = json_array();
    uint64_t all = r->count.ok + r->count.fail + r->count.info;

    for (uint32_t i = 0; i < r->faults_count; i++) {
        json_array_append_new(faults, fault_json(&r->faults[i]));
    }
    for (uint32_t i = 0; i < r->verdicts_count; i++) {
        const struct verdict *v = &r->verdicts[i];

        json_array_append_new(verdicts,
                              json_pack("{s:s,s:s,s:s}", "checker", v->checker, "valid",
                                        verdict_name(v->valid), "text", v->text));
    }
    return json_pack(
        "{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:i,s:I,s:I,s:I,s:f,s:i,s:i,s:o,s:o}",
        "valid", verdict_name(r->valid), "name", r->o->name, "time", r->begun,
        "workload", r->workload->name, "nemesis", r->o->nemesis, "env", r->env,
        "command", r->command, "seed", (json_int_t)r->o->seed, "nodes",
        (int)r->o->nodes, "ok", (json_int_t)r->count.ok, "fail",
        (json_int_t)r->count.fail, "info", (json_int_t)r->count.info, "rate",
        r->times.quiet_ns > 0 ? (double)all * 1e9 / (double)r->times.quiet_ns : 0.0,
        "faults_begun", (int)r->nemesis.begun, "faults_effective",
        (int)r->nemesis.effective, "faults", faults, "verdicts", verdicts);
}

/* Writes a file of the run by `write`. */
static int file_write(struct run *r, const char *name,
                      int (*write)(FILE *f, const struct run *r))
{
    char path[STORE_PATH_BYTES];
    FILE *f;
    int rc;

    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    f = fopen(path, "we");
    if (f == NULL) {
        return complain(r, path);
    }
    rc = write(f, r);
    if (fclose(f) != 0 || rc != 0) {
        return complain(r, path);
    }
    return 0;
}

static int write_results(FILE *f, const struct run *r, enum emit_style style)
{
    const struct results_note notes[] = {
        {"name", r->o->name},
        {"time", r->begun},
        {"env", r->env},
        {"workload", r->workload->name},
        {"nemesis", r->o->nemesis},
        {"command", r->command},
    };
    const struct results results = {.notes = notes,
                                    .notes_count = KV_ARRAY_COUNT(notes),
                                    .verdicts = r->verdicts,
                                    .verdicts_count = r->verdicts_count};

    return results_write(f, &results, style);
}

static int write_results_edn(FILE *f, const struct run *r)
{
    return write_results(f, r, EMIT_EDN);
}

static int write_results_json(FILE *f, const struct run *r)
{
    return write_results(f, r, EMIT_JSON);
}

static int write_history_edn(FILE *f, const struct run *r)
{
    return rows_write(f, &r->history, r->workload->history, ROWS_EDN);
}

static int write_history_txt(FILE *f, const struct run *r)
{
    return rows_write(f, &r->history, r->workload->history, ROWS_TXT);
}

static int write_run_json(FILE *f, const struct run *r)
{
    json_t *root = run_json(r);
    int rc = root == NULL
                 ? KV_ENOMEM
                 : json_dumpf(root, f, JSON_INDENT(1) | JSON_REAL_PRECISION(10));

    json_decref(root);
    return rc;
}

int store_write(struct run *r)
{
    static const struct {
        const char *name;
        int (*write)(FILE *f, const struct run *r);
    } files[] = {
        {"history.edn", write_history_edn}, {"history.txt", write_history_txt},
        {"results.edn", write_results_edn}, {"results.json", write_results_json},
        {"run.json", write_run_json},
    };
    int rc = 0;

    for (size_t i = 0; i < KV_ARRAY_COUNT(files) && rc == 0; i++) {
        rc = file_write(r, files[i].name, files[i].write);
    }
    if (rc == 0 &&
        rows_write_independent(r->dir, &r->history, r->workload->history) != 0) {
        rc = complain(r, r->dir);
    }
    return rc;
}
