/* tests/raft/test_log.c - the ring of metas over a reader. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "raft/base/err.h"
#include "raft/log.h"

enum {
    WINDOW = 8,
    STORED_MAX = 64
};

/* What "storage" has: entry i at stored[i]. */
struct fixture {
    struct raft_meta stored[STORED_MAX];
    raft_index last;
    raft_index damaged; /* 0: none. */
    unsigned reads;
    struct raft_meta ring[WINDOW];
    struct raft_log log;
};

static struct raft_meta meta_of(raft_index index, raft_term term)
{
    return (struct raft_meta){.pos = {index, term},
                              .type = RAFT_ENTRY_COMMAND,
                              .payload_bytes = 3,
                              .time_ms = 100 * index,
                              .hash = index * 7919 + term};
}

static int read_meta(void *ctx, raft_index index, struct raft_meta *out)
{
    struct fixture *f = ctx;

    f->reads++;
    if (index == f->damaged) {
        return KV_EDAMAGED;
    }
    if (index > f->last) {
        return KV_ENOTFOUND;
    }
    *out = f->stored[index];
    return 0;
}

static int read_entry(void *ctx, raft_index index, struct raft_entry *out)
{
    (void)ctx;
    (void)index;
    (void)out;
    return KV_ENOTFOUND;
}

static struct raft_base base_at(raft_index index, raft_term term)
{
    return (struct raft_base){
        .pos = {index, term}, .hash = index * 7919 + term, .time_ms = 100 * index};
}

/* Storage with entries (base, last]: term 1 up to 10, then 2. */
static void fill(struct fixture *f, raft_index base, raft_index last)
{
    *f = (struct fixture){.last = last};
    for (raft_index i = 1; i <= last; i++) {
        f->stored[i] = meta_of(i, i <= 10 ? 1 : 2);
    }
    f->log.reader = (struct raft_log_reader){f, read_meta, read_entry};
    f->log.window = WINDOW;
    f->log.ring = f->ring;
    raft_log_reset(&f->log, &(struct raft_base){0});
    f->log.base = base == 0 ? (struct raft_base){0} : base_at(base, base <= 10 ? 1 : 2);
}

static void load(struct fixture *f, raft_index base, raft_index last)
{
    struct raft_base at = base == 0 ? (struct raft_base){0} : base_at(base, 1);

    fill(f, base, last);
    assert_int_equal(raft_log_load(&f->log, &at, last, false), 0);
}

static raft_term term_at(struct fixture *f, raft_index index)
{
    struct raft_meta meta = {0};

    assert_int_equal(raft_log_meta(&f->log, index, &meta), 0);
    assert_int_equal(meta.pos.index, index);
    return meta.pos.term;
}

static void append(struct fixture *f, raft_term term)
{
    struct raft_meta meta = meta_of(f->log.last.index + 1, term);

    raft_log_append(&f->log, &meta);
}

static void loads_the_newest_and_reads_the_rest(void **state)
{
    struct fixture f;
    struct raft_meta meta;

    (void)state;
    load(&f, 2, 20);
    assert_int_equal(f.log.last.index, 20);
    assert_int_equal(f.log.last_durable, 20);
    f.reads = 0;
    for (raft_index i = 13; i <= 20; i++) {
        assert_int_equal(term_at(&f, i), 2);
    }
    assert_int_equal(f.reads, 0);
    assert_int_equal(term_at(&f, 5), 1);
    assert_int_equal(f.reads, 1);
    assert_int_equal(term_at(&f, 2), 1); /* The base is known without reading. */
    assert_int_equal(f.reads, 1);
    assert_int_equal(raft_log_meta(&f.log, 1, &meta), KV_ECOMPACTED);
    assert_int_equal(raft_log_meta(&f.log, 21, &meta), KV_ENOTFOUND);
}

static void index_zero_is_the_empty_base(void **state)
{
    struct fixture f;
    struct raft_meta meta;

    (void)state;
    load(&f, 0, 0);
    assert_int_equal(raft_log_meta(&f.log, 0, &meta), 0);
    assert_int_equal(meta.pos.term, 0);
    assert_int_equal(meta.hash, 0);
    assert_int_equal(raft_log_meta(&f.log, 1, &meta), KV_ENOTFOUND);
}

static void refuses_a_log_that_contradicts_itself(void **state)
{
    struct fixture f;

    (void)state;
    fill(&f, 0, 6);
    f.stored[5].pos.term = 0; /* Goes back. */
    assert_int_equal(raft_log_load(&f.log, &(struct raft_base){0}, 6, false),
                     KV_ECORRUPT);
    fill(&f, 0, 6);
    f.stored[5].pos.index = 4;
    assert_int_equal(raft_log_load(&f.log, &(struct raft_base){0}, 6, false),
                     KV_ECORRUPT);
    fill(&f, 0, 6);
    f.stored[5].time_ms = 1;
    assert_int_equal(raft_log_load(&f.log, &(struct raft_base){0}, 6, false),
                     KV_ECORRUPT);
    fill(&f, 0, 6);
    assert_int_equal(raft_log_load(&f.log, &(struct raft_base){0}, 7, false),
                     KV_ECORRUPT);
    fill(&f, 0, 6);
    f.damaged = 5;
    assert_int_equal(raft_log_load(&f.log, &(struct raft_base){0}, 6, false),
                     KV_EDAMAGED);
}

static void tolerates_damage_where_it_is_told_to(void **state)
{
    struct fixture f;
    struct raft_meta meta;

    (void)state;
    fill(&f, 0, 6);
    f.damaged = 4;
    assert_int_equal(raft_log_load(&f.log, &(struct raft_base){0}, 6, true), 0);
    assert_int_equal(f.log.last.term, 1);
    assert_int_equal(raft_log_meta(&f.log, 4, &meta), KV_EDAMAGED);
    assert_int_equal(term_at(&f, 5), 1);
    fill(&f, 0, 6);
    f.damaged = 6;
    assert_int_equal(raft_log_load(&f.log, &(struct raft_base){0}, 6, true), 0);
    assert_int_equal(f.log.last.term, 0); /* Nobody knows. */
    assert_int_equal(raft_log_repair(&f.log), KV_EDAMAGED);
    f.damaged = 0;
    assert_int_equal(raft_log_repair(&f.log), 0);
    assert_int_equal(f.log.last.term, 1);
    assert_int_equal(f.log.last_hash, f.stored[6].hash);
}

/* The ring may drop what is durable, never what is not. */
static void window_bounds_what_is_not_durable(void **state)
{
    struct fixture f;

    (void)state;
    load(&f, 0, 3);
    for (int i = 0; i < WINDOW; i++) {
        assert_int_equal(raft_log_room(&f.log), WINDOW - i);
        append(&f, 1);
    }
    assert_int_equal(raft_log_room(&f.log), 0);
    for (raft_index i = 4; i <= 11; i++) {
        f.reads = 0;
        assert_int_equal(term_at(&f, i), 1);
        assert_int_equal(f.reads, 0);
    }
    assert_int_equal(f.log.last_durable, 3);
}

static void persisted_counts_only_what_is_still_there(void **state)
{
    struct fixture f;

    (void)state;
    load(&f, 0, 3);
    append(&f, 1);
    append(&f, 1);
    raft_log_persisted(&f.log, (struct raft_pos){5, 9}); /* Another entry. */
    assert_int_equal(f.log.last_durable, 3);
    raft_log_persisted(&f.log, (struct raft_pos){9, 1}); /* No such entry. */
    assert_int_equal(f.log.last_durable, 3);
    raft_log_persisted(&f.log, (struct raft_pos){0, 0}); /* None. */
    assert_int_equal(f.log.last_durable, 3);
    raft_log_persisted(&f.log, (struct raft_pos){5, 1});
    assert_int_equal(f.log.last_durable, 5);
    raft_log_persisted(&f.log, (struct raft_pos){4, 1}); /* Late. */
    assert_int_equal(f.log.last_durable, 5);
}

static void truncation_takes_durability_back(void **state)
{
    struct fixture f;

    (void)state;
    load(&f, 0, 12);
    assert_int_equal(raft_log_truncate(&f.log, 11), 0);
    assert_int_equal(f.log.last.index, 10);
    assert_int_equal(f.log.last.term, 1);
    assert_int_equal(f.log.last_hash, f.stored[10].hash);
    assert_int_equal(f.log.last_durable, 10);
    append(&f, 3);
    assert_int_equal(f.log.last_durable, 10);
    assert_int_equal(term_at(&f, 11), 3);
}

static void truncates_below_the_ring(void **state)
{
    struct fixture f;

    (void)state;
    load(&f, 0, 20);
    assert_int_equal(raft_log_truncate(&f.log, 3), 0);
    assert_int_equal(f.log.last.index, 2);
    append(&f, 5);
    assert_int_equal(term_at(&f, 3), 5);
    assert_int_equal(term_at(&f, 2), 1);
}

static void compaction_moves_the_base(void **state)
{
    struct fixture f;
    struct raft_base base = base_at(15, 2);
    struct raft_meta meta;

    (void)state;
    load(&f, 0, 20);
    raft_log_compact(&f.log, &base);
    assert_int_equal(raft_log_meta(&f.log, 14, &meta), KV_ECOMPACTED);
    assert_int_equal(term_at(&f, 15), 2);
    assert_int_equal(term_at(&f, 16), 2);
    base = base_at(20, 2);
    raft_log_compact(&f.log, &base);
    assert_int_equal(f.log.last.index, 20);
    append(&f, 2);
    assert_int_equal(term_at(&f, 21), 2);
}

static void reset_forgets_everything(void **state)
{
    struct fixture f;
    struct raft_base base = base_at(30, 4);
    struct raft_meta meta;

    (void)state;
    load(&f, 0, 20);
    raft_log_reset(&f.log, &base);
    assert_int_equal(f.log.last.index, 30);
    assert_int_equal(f.log.last_durable, 30);
    assert_int_equal(f.log.last_hash, base.hash);
    assert_int_equal(raft_log_meta(&f.log, 20, &meta), KV_ECOMPACTED);
    assert_int_equal(term_at(&f, 30), 4);
}

static void backs_up_over_whole_terms(void **state)
{
    struct fixture f;
    struct raft_pos pos;

    (void)state;
    load(&f, 0, 14); /* Term 1 up to 10, term 2 up to 14. */
    pos = raft_log_back_up(&f.log, 14, 2, 0);
    assert_int_equal(pos.index, 14);
    pos = raft_log_back_up(&f.log, 14, 1, 0);
    assert_int_equal(pos.index, 10);
    assert_int_equal(pos.term, 1);
    pos = raft_log_back_up(&f.log, 99, 1, 0); /* From its own end. */
    assert_int_equal(pos.index, 10);
    pos = raft_log_back_up(&f.log, 14, 1, 12); /* Not below what is certain. */
    assert_int_equal(pos.index, 12);
    pos = raft_log_back_up(&f.log, 14, 0, 0); /* A bounded number of steps. */
    assert_true(pos.index >= 14 - WINDOW - 1 && pos.index < 14);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_the_newest_and_reads_the_rest),
        cmocka_unit_test(index_zero_is_the_empty_base),
        cmocka_unit_test(refuses_a_log_that_contradicts_itself),
        cmocka_unit_test(tolerates_damage_where_it_is_told_to),
        cmocka_unit_test(window_bounds_what_is_not_durable),
        cmocka_unit_test(persisted_counts_only_what_is_still_there),
        cmocka_unit_test(truncation_takes_durability_back),
        cmocka_unit_test(truncates_below_the_ring),
        cmocka_unit_test(compaction_moves_the_base),
        cmocka_unit_test(reset_forgets_everything),
        cmocka_unit_test(backs_up_over_whole_terms),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("raft/log", tests, NULL, NULL);
}
