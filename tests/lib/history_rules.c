/* tests/lib/history_rules.c - does a history.edn obey the rules of the format? */
#include "tests/lib/history_rules.h"

#include "jepsen/format/edn.h"
#include "raft/base/err.h"

enum {
    PROCESSES_MAX = 4096,
};

enum process_state {
    PROCESS_IDLE,
    PROCESS_BUSY,
    PROCESS_SILENT,
};

static bool is_integer(const struct edn_node *n)
{
    return n != NULL && n->kind == EDN_INT && n->integer >= 0;
}

static const char *client_rules(const struct edn_node *row, uint8_t *processes)
{
    const struct edn_node *process = edn_get(row, "process");
    const struct edn_node *type = edn_get(row, "type");
    uint8_t *state;

    if (!is_integer(process) || process->integer >= PROCESSES_MAX) {
        return "a process that is no number";
    }
    if (edn_get(row, "value") == NULL) {
        return "a row without :value";
    }
    state = &processes[process->integer];
    if (edn_is(type, "invoke")) {
        if (*state != PROCESS_IDLE) {
            return "an invocation of a process that is busy or silent";
        }
        *state = PROCESS_BUSY;
        return NULL;
    }
    if (*state != PROCESS_BUSY) {
        return "a completion without an invocation";
    }
    *state = edn_is(type, "info") ? PROCESS_SILENT : PROCESS_IDLE;
    return edn_is(type, "info") || edn_is(type, "ok") || edn_is(type, "fail")
               ? NULL
               : "a :type that is none";
}

static const char *row_rules(const struct edn_node *row, size_t index, int64_t *time,
                             uint8_t *processes)
{
    const struct edn_node *f = edn_get(row, "f");

    if (!is_integer(edn_get(row, "index")) || !is_integer(edn_get(row, "time"))) {
        return "an :index or :time that is no integer";
    }
    if (edn_get(row, "index")->integer != (int64_t)index) {
        return "an :index that is not the next";
    }
    if (edn_get(row, "time")->integer < *time) {
        return "a :time that goes back";
    }
    *time = edn_get(row, "time")->integer;
    if (f == NULL || f->kind != EDN_KEYWORD) {
        return "an :f that is no keyword";
    }
    if (edn_is(edn_get(row, "process"), "nemesis")) {
        return edn_is(edn_get(row, "type"), "info") ? NULL
                                                    : "a nemesis that is no :info";
    }
    return client_rules(row, processes);
}

const char *history_rules(struct kv_bytes text, size_t *out_rows)
{
    uint8_t processes[PROCESSES_MAX] = {0};
    const char *why = NULL;
    struct edn_node *row = NULL;
    struct edn_reader r;
    struct arena a;
    int64_t time = 0;
    int rc = 0;

    *out_rows = 0;
    arena_init(&a, 4096, 1 << 24);
    edn_init(&r, text);
    while (why == NULL && rc == 0) {
        arena_reset(&a);
        rc = edn_next(&r, &a, &row);
        if (rc == 0) {
            why = row_rules(row, (*out_rows)++, &time, processes);
        }
    }
    arena_close(&a);
    return why != NULL || rc == KV_ENOTFOUND ? why : "it is no EDN";
}
