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

/* ---- results ---- */

static json_t *anomaly_json(const struct verdict_anomaly *a)
{
    json_t *ops = json_array();

    for (uint32_t i = 0; i < a->ops_count; i++) {
        json_array_append_new(ops, json_integer((json_int_t)a->ops[i]));
    }
    return json_pack("{s:s,s:s,s:i,s:o}", "kind", a->kind, "text", a->text, "key",
                     (int)a->key, "ops", ops);
}

static json_t *verdict_json(const struct verdict *v)
{
    json_t *facts = json_object();
    json_t *anomalies = json_array();

    for (uint32_t i = 0; i < v->facts_count; i++) {
        json_object_set_new(facts, v->facts[i].name, json_real(v->facts[i].value));
    }
    for (uint32_t i = 0; i < v->anomalies_count; i++) {
        json_array_append_new(anomalies, anomaly_json(&v->anomalies[i]));
    }
    return json_pack("{s:s,s:s,s:s,s:o,s:I,s:o}", "checker", v->checker, "valid",
                     verdict_name(v->valid), "text", v->text, "facts", facts,
                     "anomalies_total", (json_int_t)v->anomalies_total, "anomalies",
                     anomalies);
}

static json_t *fault_json(const struct run_fault *f)
{
    return json_pack("{s:s,s:s,s:b,s:s,s:I,s:I,s:I,s:I,s:f,s:f}", "kind", f->kind,
                     "value", f->value, "effective", f->effective ? 1 : 0, "why",
                     f->why, "begin_ns", (json_int_t)f->begin_ns, "begun_ns",
                     (json_int_t)f->begun_ns, "end_ns", (json_int_t)f->end_ns,
                     "ended_ns", (json_int_t)f->ended_ns, "recover_ms", f->recover_ms,
                     "recover_end_ms", f->recover_end_ms);
}

/* All that is known but the rows of the history. NULL without memory. */
static json_t *results_json(const struct run *r)
{
    json_t *faults = json_array();
    json_t *verdicts = json_array();

    for (uint32_t i = 0; i < r->faults_count; i++) {
        json_array_append_new(faults, fault_json(&r->faults[i]));
    }
    for (uint32_t i = 0; i < r->verdicts_count; i++) {
        json_array_append_new(verdicts, verdict_json(&r->verdicts[i]));
    }
    return json_pack(
        "{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:i,s:I,s:I,s:I,s:f,s:i,s:i,s:o,s:o}",
        "valid", verdict_name(r->valid), "name", r->o->name, "time", r->begun,
        "workload", r->workload->name, "nemesis", r->o->nemesis, "env", r->env,
        "command", r->command, "seed", (json_int_t)r->o->seed, "nodes",
        (int)r->o->nodes, "ok", (json_int_t)r->count.ok, "fail",
        (json_int_t)r->count.fail, "info", (json_int_t)r->count.info, "clean_rate",
        r->clean_rate, "faults_begun", (int)r->nemesis.begun, "faults_effective",
        (int)r->nemesis.effective, "faults", faults, "verdicts", verdicts);
}

/* A string of EDN; what is not printable becomes a blank. */
static void edn_string(FILE *f, const char *s)
{
    fputc('"', f);
    for (; *s != '\0'; s++) {
        if (*s == '"' || *s == '\\') {
            fputc('\\', f);
        }
        fputc((unsigned char)*s < 0x20 ? ' ' : *s, f);
    }
    fputc('"', f);
}

static const char *edn_valid(enum verdict_valid valid)
{
    return valid == VERDICT_VALID     ? "true"
           : valid == VERDICT_INVALID ? "false"
                                      : ":unknown";
}

static void edn_verdict(FILE *f, const struct verdict *v)
{
    fprintf(f, " :%s {:valid? %s", v->checker, edn_valid(v->valid));
    if (v->text[0] != '\0') {
        fputs(" :text ", f);
        edn_string(f, v->text);
    }
    for (uint32_t i = 0; i < v->facts_count; i++) {
        fprintf(f, " :%s %.15g", v->facts[i].name, v->facts[i].value);
    }
    if (v->anomalies_count > 0) {
        fprintf(f, "\n  :anomaly-count %" PRIu64 "\n  :anomalies [",
                v->anomalies_total);
        for (uint32_t i = 0; i < v->anomalies_count; i++) {
            const struct verdict_anomaly *a = &v->anomalies[i];

            fprintf(f, "%s{:kind :%s :key %u :ops [", i > 0 ? "\n              " : "",
                    a->kind, a->key);
            for (uint32_t j = 0; j < a->ops_count; j++) {
                fprintf(f, "%s%" PRIu64, j > 0 ? " " : "", a->ops[j]);
            }
            fputs("] :text ", f);
            edn_string(f, a->text);
            fputs("}", f);
        }
        fputs("]", f);
    }
    fputs("}\n", f);
}

static void results_edn(const struct run *r, FILE *f)
{
    fprintf(f, "{:valid? %s\n :name ", edn_valid(r->valid));
    edn_string(f, r->o->name);
    fputs("\n :command ", f);
    edn_string(f, r->command);
    fputs("\n", f);
    for (uint32_t i = 0; i < r->verdicts_count; i++) {
        edn_verdict(f, &r->verdicts[i]);
    }
    fputs("}\n", f);
}

int store_write(struct run *r)
{
    char path[STORE_PATH_BYTES];
    json_t *root = results_json(r);
    FILE *f;
    int rc;

    snprintf(path, sizeof path, "%s/results.json", r->dir);
    rc = root == NULL
             ? -1
             : json_dump_file(root, path, JSON_INDENT(1) | JSON_REAL_PRECISION(10));
    json_decref(root);
    if (rc != 0) {
        return complain(r, path);
    }
    snprintf(path, sizeof path, "%s/results.edn", r->dir);
    f = fopen(path, "we");
    if (f == NULL) {
        return complain(r, path);
    }
    results_edn(r, f);
    if (fclose(f) != 0) {
        return complain(r, path);
    }
    return 0;
}
