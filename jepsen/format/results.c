/* jepsen/format/results.c - writes what the checkers said. */
#include "jepsen/format/results.h"

#include "raft/base/err.h"

enum verdict_valid results_valid(const struct results *r)
{
    enum verdict_valid worst = r->verdicts_count == 0 ? VERDICT_UNKNOWN : VERDICT_VALID;

    for (size_t i = 0; i < r->verdicts_count; i++) {
        worst = verdict_worse(worst, r->verdicts[i].valid);
    }
    return worst;
}

static void valid_write(struct emit *e, enum verdict_valid valid)
{
    emit_name(e, "valid?");
    if (valid == VERDICT_UNKNOWN) {
        emit_word(e, "unknown");
    } else {
        emit_bool(e, valid == VERDICT_VALID);
    }
}

static void anomaly_write(struct emit *e, const struct verdict_anomaly *a)
{
    emit_map_begin(e);
    emit_name(e, "type");
    emit_word(e, a->kind);
    emit_name(e, "key");
    emit_u64(e, a->key);
    emit_name(e, "text");
    emit_text(e, a->text);
    emit_name(e, "rows");
    emit_list_begin(e);
    for (uint32_t i = 0; i < a->ops_count; i++) {
        emit_u64(e, a->ops[i]);
    }
    emit_end(e);
    emit_end(e);
}

static void verdict_write(struct emit *e, const struct verdict *v)
{
    emit_name(e, v->checker);
    emit_map_begin(e);
    valid_write(e, v->valid);
    if (v->text[0] != '\0') {
        emit_name(e, "text");
        emit_text(e, v->text);
    }
    for (uint32_t i = 0; i < v->facts_count; i++) {
        emit_name(e, v->facts[i].name);
        emit_double(e, v->facts[i].value);
    }
    if (v->anomalies_total > 0) {
        emit_name(e, "anomaly-count");
        emit_u64(e, v->anomalies_total);
        emit_name(e, "anomalies");
        emit_list_begin(e);
        for (uint32_t i = 0; i < v->anomalies_count; i++) {
            anomaly_write(e, &v->anomalies[i]);
        }
        emit_end(e);
    }
    emit_end(e);
}

int results_write(FILE *out, const struct results *r, enum emit_style style)
{
    struct emit e;

    emit_init(&e, out, style);
    emit_map_begin(&e);
    valid_write(&e, results_valid(r));
    for (size_t i = 0; i < r->notes_count; i++) {
        emit_name(&e, r->notes[i].name);
        emit_text(&e, r->notes[i].text);
    }
    for (size_t i = 0; i < r->verdicts_count; i++) {
        verdict_write(&e, &r->verdicts[i]);
    }
    emit_end(&e);
    return fflush(out) != 0 || ferror(out) != 0 ? KV_EIO : 0;
}
