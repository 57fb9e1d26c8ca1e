/* jepsen/report/index.c - the page of all runs of a store. */
#include <dirent.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "jepsen/report/page.h"
#include "jepsen/report/report.h"
#include "raft/base/arena.h"
#include "raft/base/err.h"

enum {
    INDEX_PATH_BYTES = 1024,
    INDEX_NAME_BYTES = 128,
    INDEX_RUNS_MAX = 10000, /* Older ones are left out. */
};

struct index_run {
    char time[INDEX_NAME_BYTES];
    char name[INDEX_NAME_BYTES];
};

struct index_list {
    struct index_run *runs;
    uint32_t count, cap;
};

static bool list_add(struct index_list *l, const char *name, const char *time)
{
    if (l->count == l->cap) {
        uint32_t cap = l->cap == 0 ? 64 : l->cap * 2;
        struct index_run *runs = kv_mem_realloc(l->runs, cap * sizeof *runs);

        if (runs == NULL) {
            return false;
        }
        l->runs = runs;
        l->cap = cap;
    }
    snprintf(l->runs[l->count].name, INDEX_NAME_BYTES, "%.127s", name);
    snprintf(l->runs[l->count].time, INDEX_NAME_BYTES, "%.127s", time);
    l->count++;
    return true;
}

/* A folder's name that is neither hidden nor a link like "latest". */
static bool is_folder(const struct dirent *e)
{
    return e->d_name[0] != '.' && (e->d_type == DT_DIR || e->d_type == DT_UNKNOWN) &&
           strcmp(e->d_name, "latest") != 0 && strlen(e->d_name) < INDEX_NAME_BYTES;
}

static void list_fill(struct index_list *l, const char *store)
{
    char path[INDEX_PATH_BYTES];
    DIR *names = opendir(store);
    const struct dirent *e;

    while (names != NULL && (e = readdir(names)) != NULL) {
        char name[INDEX_NAME_BYTES];
        DIR *times;

        if (!is_folder(e)) {
            continue;
        }
        snprintf(name, sizeof name, "%.127s", e->d_name);
        snprintf(path, sizeof path, "%s/%s", store, name);
        times = opendir(path);
        while (times != NULL && (e = readdir(times)) != NULL) {
            if (is_folder(e) && !list_add(l, name, e->d_name)) {
                break;
            }
        }
        if (times != NULL) {
            closedir(times);
        }
    }
    if (names != NULL) {
        closedir(names);
    }
}

static int newest_first(const void *a, const void *b)
{
    const struct index_run *x = a;
    const struct index_run *y = b;
    int order = strcmp(y->time, x->time);

    return order != 0 ? order : strcmp(x->name, y->name);
}

static void row_write(FILE *f, const char *store, const struct index_run *run)
{
    char path[INDEX_PATH_BYTES];
    json_error_t error;
    json_t *root;
    const char *valid;

    snprintf(path, sizeof path, "%s/%s/%s/run.json", store, run->name, run->time);
    root = json_load_file(path, 0, &error);
    valid = json_string_value(json_object_get(root, "valid"));
    valid = valid == NULL ? "failed" : valid; /* It never came to a verdict. */
    fprintf(f, "<tr class=\"run\"><td><span class=\"badge %s\">%s</span></td><td>",
            valid, valid);
    if (root != NULL) {
        fprintf(f, "<a href=\"%s/%s/report.html\">%s</a>", run->name, run->time,
                run->time);
    } else {
        fprintf(f, "<a href=\"%s/%s/\">%s</a>", run->name, run->time, run->time);
    }
    fputs("</td><td>", f);
    report_text(f, run->name);
    fprintf(f,
            "</td><td class=\"n\">%" JSON_INTEGER_FORMAT
            "</td><td class=\"n\">%" JSON_INTEGER_FORMAT "</td><td>",
            json_integer_value(json_object_get(root, "ok")) +
                json_integer_value(json_object_get(root, "fail")) +
                json_integer_value(json_object_get(root, "info")),
            json_integer_value(json_object_get(root, "faults_effective")));
    for (size_t i = 0; i < json_array_size(json_object_get(root, "verdicts")); i++) {
        const json_t *v = json_array_get(json_object_get(root, "verdicts"), i);
        const char *text = json_string_value(json_object_get(v, "text"));
        const char *word = json_string_value(json_object_get(v, "valid"));

        if (word != NULL && strcmp(word, "valid") != 0 && text != NULL) {
            report_text(f, text);
            fputs("<br>", f);
        }
    }
    fputs("</td></tr>\n", f);
    json_decref(root);
}

int report_index(const char *store)
{
    struct index_list l = {.runs = NULL};
    char path[INDEX_PATH_BYTES];
    FILE *f;
    int rc;

    list_fill(&l, store);
    if (l.count > 0) {
        qsort(l.runs, l.count, sizeof *l.runs, newest_first);
    }
    snprintf(path, sizeof path, "%s/index.html", store);
    f = fopen(path, "we");
    if (f == NULL) {
        kv_mem_free(l.runs);
        return KV_EIO;
    }
    fprintf(f,
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
            "<title>kvjepsen: runs</title>\n<style>\n%s</style></head>\n<body>\n"
            "<h1>Runs</h1>\n<table id=\"runs\"><tr><th>verdict</th><th>begun</th>"
            "<th>name</th><th class=\"n\">operations</th><th class=\"n\">faults</th>"
            "<th>reason</th></tr>\n",
            page_style);
    for (uint32_t i = 0; i < KV_MIN(l.count, (uint32_t)INDEX_RUNS_MAX); i++) {
        row_write(f, store, &l.runs[i]);
    }
    fputs("</table>\n</body></html>\n", f);
    rc = fclose(f) == 0 ? 0 : KV_EIO;
    kv_mem_free(l.runs);
    return rc;
}
