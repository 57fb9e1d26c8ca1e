/* raft/base/err.c - look-ups in the list of errors. */
#include "raft/base/err.h"

#include <stddef.h>
#include <string.h>

#include "raft/base/check.h"

struct err_row {
    int code;
    const char *name;
    const char *word;
    enum kv_outcome outcome;
    const char *text;
};

static const struct err_row err_rows[] = {
#define ERR_ROW(name, number, word, outcome, text) \
    {name, #name, word, KV_OUTCOME_##outcome, text},
    KV_ERR_MAP(ERR_ROW)
#undef ERR_ROW
};

static const struct err_row *err_find(int code)
{
    for (size_t i = 0; i < KV_ARRAY_COUNT(err_rows); i++) {
        if (err_rows[i].code == code) {
            return &err_rows[i];
        }
    }
    return NULL;
}

const char *kv_err_text(int code)
{
    const struct err_row *row = err_find(code);

    if (code == 0) {
        return "ok";
    }
    return row == NULL ? "unknown error" : row->text;
}

const char *kv_err_word(int code)
{
    const struct err_row *row = err_find(code);

    return row == NULL ? "" : row->word;
}

const char *kv_err_name(int code)
{
    const struct err_row *row = err_find(code);

    if (code == 0) {
        return "KV_OK";
    }
    return row == NULL ? "KV_E?" : row->name;
}

enum kv_outcome kv_err_outcome(int code)
{
    const struct err_row *row = err_find(code);

    if (code == 0) {
        return KV_OUTCOME_DONE;
    }
    return row == NULL ? KV_OUTCOME_UNKNOWN : row->outcome;
}

bool kv_err_is_fatal(int code)
{
    return code == KV_EIO || code == KV_ECORRUPT || code == KV_ELOST ||
           code == KV_EFORMAT;
}

int kv_err_from_word(const char *word, unsigned long len)
{
    for (size_t i = 0; i < KV_ARRAY_COUNT(err_rows); i++) {
        const char *known = err_rows[i].word;

        if (known[0] != '\0' && strlen(known) == len && memcmp(known, word, len) == 0) {
            return err_rows[i].code;
        }
    }
    return KV_EUNKNOWN;
}
