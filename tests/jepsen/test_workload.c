/* tests/jepsen/test_workload.c - what workloads ask, and what they make of answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "jepsen/workload/workload.h"

static struct prng prng;
static struct workload_state state;

static const struct workload_setup setup = {
    .keys = 3, .workers = 30, .nodes = 5, .ops_per_key = 100};

static int begin(void **unused)
{
    (void)unused;
    prng_init(&prng, 7);
    workload_state_init(&state, &setup, &prng);
    return 0;
}

static struct work work_of(uint32_t worker)
{
    return (struct work){.worker = worker, .prng = &prng, .extra = 0};
}

/* A worker's next operation that is an `f`. */
static void next_of(const struct workload *w, struct work *k, enum history_f f)
{
    do {
        k->ints_count = 0;
        k->stage = 0;
        w->next(&state, k);
    } while (k->f != f);
}

static struct kv_result found(const char *value)
{
    return (struct kv_result){
        .found = value != NULL,
        .value = value == NULL ? kv_nil() : kv_str(value),
    };
}

static bool view_is(struct kv_view v, const char *text)
{
    return v.len == strlen(text) && memcmp(v.data, text, v.len) == 0;
}

/* ---- registry, lanes, numbers ---- */

static void each_workload_is_found_by_its_name(void **unused)
{
    const struct workload *w;
    uint32_t count = 0;

    (void)unused;
    for (; (w = workload_at(count)) != NULL; count++) {
        assert_ptr_equal(workload_find(w->name), w);
        assert_true(w->checks[0] != WORKLOAD_CHECK_END);
        assert_true(w->fs_count >= 1);
    }
    assert_true(count >= 9);
    assert_null(workload_find("nothing"));
}

static void a_lane_moves_to_a_fresh_key_after_its_share(void **unused)
{
    struct work k = work_of(4);
    uint32_t first, ops = 0;

    (void)unused;
    workload_lane(&state, &k);
    first = k.key;
    for (; k.key == first; ops++) {
        workload_lane(&state, &k);
    }
    assert_in_range(ops, 90, 110);
    assert_int_equal(k.key, 3); /* 0 to 2 were taken at the start. */
    assert_int_equal(state.keys_count, 4);
}

static void each_lane_reads_and_writes_on_every_node(void **unused)
{
    uint32_t seen[3][6][2] = {{{0}}};

    (void)unused;
    for (uint32_t i = 0; i < setup.workers; i++) {
        uint32_t node = workload_node(&setup, i);

        assert_in_range(node, 1, 5);
        seen[i % 3][node][workload_is_reader(&state, i)]++;
    }
    for (int lane = 0; lane < 3; lane++) {
        for (int node = 1; node <= 5; node++) {
            assert_int_equal(seen[lane][node][0], 1);
            assert_int_equal(seen[lane][node][1], 1);
        }
    }
}

static void reads_only_whole_decimal_numbers(void **unused)
{
    static const char *const bad[] = {
        "", " 1", "+1", "1 ", "1x", "x", "99999999999999999999"};
    int64_t n = 5;

    (void)unused;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(workload_number(kv_str(bad[i]), &n));
    }
    assert_int_equal(n, 5);
    assert_true(workload_number(kv_str("-42"), &n));
    assert_int_equal(n, -42);
}

/* ---- register ---- */

static void a_register_writes_and_compares_small_values(void **unused)
{
    const struct workload *w = &workload_register;
    struct work k = work_of(0);
    struct kv_request q;
    struct kv_result r = found(NULL);

    (void)unused;
    for (int i = 0; i < 200; i++) {
        next_of(w, &k, HISTORY_CAS);
        assert_int_equal(k.kind, HISTORY_PAIR);
        assert_in_range(k.ints[0], 0, 4);
        assert_in_range(k.ints[1], 0, 4);
    }
    k.ints[0] = 3;
    k.ints[1] = 1;
    q = w->request(&state, &k);
    assert_int_equal(q.op, KV_OP_CAS);
    assert_true(view_is(q.expected, "3"));
    assert_true(view_is(q.value, "1"));
    assert_int_equal(w->result(&state, &k, &r), WORK_FAIL);
    r.swapped = true;
    assert_int_equal(w->result(&state, &k, &r), WORK_OK);
    next_of(w, &k, HISTORY_WRITE);
    k.ints[0] = 4;
    q = w->request(&state, &k);
    assert_int_equal(q.op, KV_OP_PUT);
    assert_true(view_is(q.value, "4"));
    workload_work_close(&k);
}

static void a_register_read_takes_the_value_or_nil(void **unused)
{
    const struct workload *w = &workload_register;
    struct work k = work_of(3); /* A reader: never anything else. */
    struct kv_result r = found("2");

    (void)unused;
    for (int i = 0; i < 50; i++) {
        w->next(&state, &k);
        assert_int_equal(k.f, HISTORY_READ);
    }
    assert_int_equal(w->request(&state, &k).op, KV_OP_GET);
    assert_int_equal(w->result(&state, &k, &r), WORK_OK);
    assert_int_equal(k.kind, HISTORY_INT);
    assert_int_equal(k.ints[0], 2);
    k.ints_count = 0;
    w->next(&state, &k);
    r = found(NULL);
    assert_int_equal(w->result(&state, &k, &r), WORK_OK);
    assert_int_equal(k.kind, HISTORY_NIL);
    r = found("garbage");
    assert_int_equal(w->result(&state, &k, &r), WORK_BAD);
    workload_work_close(&k);
}

/* ---- append ---- */

static void an_append_reads_then_swaps_what_it_read(void **unused)
{
    const struct workload *w = &workload_append;
    struct work k = work_of(0);
    struct history h;
    struct history_op op = {.process = 0, .type = HISTORY_INVOKE, .f = HISTORY_TXN};
    struct history_micro micro;
    struct kv_result r = found("7 9");
    struct kv_request q;
    uint32_t at = 0;

    (void)unused;
    history_init(&h);
    w->next(&state, &k);
    assert_int_equal(w->request(&state, &k).op, KV_OP_GET);
    assert_int_equal(w->result(&state, &k, &r), WORK_MORE);
    k.stage++;
    q = w->request(&state, &k);
    assert_int_equal(q.op, KV_OP_CAS);
    assert_true(view_is(q.expected, "7 9"));
    assert_true(view_is(q.value, "7 9 1"));
    r = (struct kv_result){.swapped = true};
    assert_int_equal(w->result(&state, &k, &r), WORK_OK);
    assert_int_equal(history_append(&h, &op, k.kind, k.ints, k.ints_count), 0);
    assert_true(history_micro_next(&h, &h.ops[0].value, &at, &micro));
    assert_false(micro.is_append);
    assert_int_equal(micro.ids_count, 2);
    assert_int_equal(micro.ids[1], 9);
    assert_true(history_micro_next(&h, &h.ops[0].value, &at, &micro));
    assert_true(micro.is_append);
    assert_int_equal(micro.element, 1);
    assert_false(history_micro_next(&h, &h.ops[0].value, &at, &micro));
    history_close(&h);
    workload_work_close(&k);
}

static void an_append_that_does_not_match_reads_again_then_fails(void **unused)
{
    const struct workload *w = &workload_append;
    struct work k = work_of(0);
    struct kv_result r;
    int swaps = 0;

    (void)unused;
    w->next(&state, &k);
    for (;;) {
        enum work_step step;

        r = found(NULL);
        assert_int_equal(w->result(&state, &k, &r), WORK_MORE);
        k.stage++;
        assert_null(w->request(&state, &k).expected.data); /* The list is absent. */
        step = w->result(&state, &k, &r);                  /* Not swapped. */
        swaps++;
        if (step == WORK_FAIL) {
            break;
        }
        assert_int_equal(step, WORK_MORE);
        k.stage++;
        assert_int_equal(w->request(&state, &k).op, KV_OP_GET);
    }
    assert_int_equal(swaps, 4);
    workload_work_close(&k);
}

static void a_list_that_is_none_is_bad(void **unused)
{
    static const char *const bad[] = {"1  2", "1 ", " 1", "a", "1,2"};
    struct work k = work_of(3); /* A reader. */
    struct kv_result r;

    (void)unused;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        k.ints_count = 0;
        workload_append.next(&state, &k);
        r = found(bad[i]);
        assert_int_equal(workload_append.result(&state, &k, &r), WORK_BAD);
    }
    workload_work_close(&k);
}

/* ---- set ---- */

static void a_set_is_read_page_by_page(void **unused)
{
    const struct workload *w = &workload_set;
    const struct kv_item first[] = {{.key = kv_str("set/0/0")},
                                    {.key = kv_str("set/0/10")}};
    const struct kv_item second[] = {{.key = kv_str("set/0/2")}};
    struct work k = work_of(0);
    struct kv_result r = {.items = first,
                          .items_count = 2,
                          .more = true,
                          .next = kv_mem("set/0/10\0", 9)};
    struct kv_request q;

    (void)unused;
    next_of(w, &k, HISTORY_READ);
    assert_int_equal(k.key, 0);
    q = w->request(&state, &k);
    assert_int_equal(q.op, KV_OP_RANGE);
    assert_true(view_is(q.key, "set/0/"));
    assert_true(view_is(q.value, "set/00"));
    assert_int_equal(w->result(&state, &k, &r), WORK_MORE);
    k.stage++;
    q = w->request(&state, &k);
    assert_int_equal(q.key.len, 9); /* Its last byte is a NUL. */
    assert_memory_equal(q.key.data, "set/0/10\0", 9);
    assert_true(view_is(q.value, "set/00"));
    r = (struct kv_result){.items = second, .items_count = 1};
    assert_int_equal(w->result(&state, &k, &r), WORK_OK);
    assert_int_equal(k.kind, HISTORY_LIST);
    assert_int_equal(k.ints_count, 3);
    assert_int_equal(k.ints[1], 10);
    assert_int_equal(k.ints[2], 2);
    workload_work_close(&k);
}

static void an_element_of_another_set_is_bad(void **unused)
{
    const struct kv_item items[] = {{.key = kv_str("set/1/0")}};
    struct work k = work_of(0);
    struct kv_result r = {.items = items, .items_count = 1};

    (void)unused;
    next_of(&workload_set, &k, HISTORY_READ);
    assert_int_equal(workload_set.result(&state, &k, &r), WORK_BAD);
    workload_work_close(&k);
}

/* ---- lock-set ---- */

/* An add to the end; returns what its put carries as fence. */
static uint64_t lockset_fence(const struct workload *w)
{
    struct kv_result held = {.held = true, .token = 77};
    struct kv_result read = found("4 5");
    struct work k = work_of(0);
    struct kv_request q;
    uint64_t token;

    next_of(w, &k, HISTORY_ADD);
    q = w->request(&state, &k);
    assert_int_equal(q.op, KV_OP_LOCK);
    assert_int_equal(w->result(&state, &k, &held), WORK_MORE);
    k.stage = 1;
    q = w->request(&state, &k);
    assert_int_equal(q.op, KV_OP_GET);
    token = q.fence_token;
    assert_int_equal(w->result(&state, &k, &read), WORK_MORE);
    assert_false(k.is_settled);
    k.stage = 2;
    q = w->request(&state, &k);
    assert_int_equal(q.op, KV_OP_PUT);
    assert_int_equal(q.fence_token, token);
    assert_memory_equal(q.value.data, "4 5 ", 4);
    assert_int_equal(w->result(&state, &k, &read), WORK_MORE);
    assert_true(k.is_settled);
    k.stage = 3;
    q = w->request(&state, &k);
    assert_int_equal(q.op, KV_OP_LOCK_RELEASE);
    assert_int_equal(q.lock_token, 77);
    assert_int_equal(w->result(&state, &k, &held), WORK_OK);
    workload_work_close(&k);
    return token;
}

static void an_add_under_a_lock_carries_its_token_where_it_is_fenced(void **unused)
{
    (void)unused;
    assert_int_equal(lockset_fence(&workload_lockset), 77);
    assert_int_equal(lockset_fence(&workload_lockset_unfenced), 0);
}

static void an_add_whose_lock_was_not_got_has_failed(void **unused)
{
    struct kv_result waits = {.place = 3};
    struct work k = work_of(0);

    (void)unused;
    next_of(&workload_lockset, &k, HISTORY_ADD);
    (void)workload_lockset.request(&state, &k);
    assert_int_equal(workload_lockset.result(&state, &k, &waits), WORK_FAIL);
    workload_work_close(&k);
}

static void some_clients_sleep_for_longer_than_their_lease(void **unused)
{
    struct kv_result held = {.held = true, .token = 77};
    struct kv_result read = found(NULL);
    uint32_t sleeps = 0;

    (void)unused;
    for (int i = 0; i < 400; i++) {
        struct work k = work_of(0);
        struct kv_request q;

        next_of(&workload_lockset, &k, HISTORY_ADD);
        q = workload_lockset.request(&state, &k);
        (void)workload_lockset.result(&state, &k, &held);
        k.stage = 1;
        (void)workload_lockset.result(&state, &k, &read);
        sleeps += k.sleep_ms > q.ttl_ms;
        assert_true(k.sleep_ms == 0 || k.sleep_ms > q.ttl_ms);
        workload_work_close(&k);
    }
    assert_in_range(sleeps, 1, 40);
}

/* ---- counter, ids ---- */

static void a_counter_that_is_absent_is_zero(void **unused)
{
    struct work k = work_of(0);
    struct kv_result r = found(NULL);

    (void)unused;
    next_of(&workload_counter, &k, HISTORY_ADD);
    assert_in_range(k.ints[0], 1, 5);
    assert_int_equal(workload_counter.request(&state, &k).delta, k.ints[0]);
    workload_work_close(&k);
    k = work_of(3);
    workload_counter.next(&state, &k);
    assert_int_equal(k.f, HISTORY_READ);
    assert_int_equal(workload_counter.result(&state, &k, &r), WORK_OK);
    assert_int_equal(k.kind, HISTORY_INT);
    assert_int_equal(k.ints[0], 0);
    workload_work_close(&k);
}

static void ids_of_two_generators_differ(void **unused)
{
    struct work a = work_of(0);
    struct work b = work_of(1);
    struct kv_result r = {.number = 12};

    (void)unused;
    workload_ids.next(&state, &a);
    workload_ids.next(&state, &b);
    assert_int_equal(workload_ids.result(&state, &a, &r), WORK_OK);
    assert_int_equal(workload_ids.result(&state, &b, &r), WORK_OK);
    assert_int_not_equal(a.ints[0], b.ints[0]);
    workload_work_close(&a);
    workload_work_close(&b);
}

/* ---- txn ---- */

/* Answers a first request: list i of the transaction holds values[i]. */
static struct kv_result lists_found(const char *const *values, uint32_t count,
                                    struct kv_txn_result *results)
{
    for (uint32_t i = 0; i < count; i++) {
        results[i] = (struct kv_txn_result){.found = values[i] != NULL, .rev = 10 + i};
        results[i].value = values[i] == NULL ? kv_nil() : kv_str(values[i]);
    }
    return (struct kv_result){
        .succeeded = true, .results = results, .results_count = count};
}

/* A transaction [[:r 0] [:append 0 5] [:r 0] [:append 1 6]]. */
static void mixed_txn(struct work *k)
{
    const struct history_micro micros[4] = {
        {.key = 0, .is_nil = true},
        {.is_append = true, .key = 0, .element = 5},
        {.key = 0, .is_nil = true},
        {.is_append = true, .key = 1, .element = 6},
    };

    workload_txn.next(&state, k); /* Its kind and lane; what it asks is replaced. */
    workload_micros(k, micros, 4);
    k->txn.keys_count = 2;
    k->txn.keys[0] = (struct work_key){.name = "{txn/0}/0", .number = 0};
    k->txn.keys[1] = (struct work_key){.name = "{txn/0}/1", .number = 1};
}

static void a_txn_puts_back_what_it_read_unless_it_changed(void **unused)
{
    const struct workload *w = &workload_txn;
    const char *const values[2] = {"3 4", NULL};
    struct kv_txn_result results[2];
    struct work k = work_of(0);
    struct kv_result r;
    struct kv_request q;

    (void)unused;
    mixed_txn(&k);
    q = w->request(&state, &k);
    assert_int_equal(q.op, KV_OP_TXN);
    assert_int_equal(q.txn->then_count, 2);
    assert_int_equal(q.txn->then[1].op, KV_OP_GET);
    r = lists_found(values, 2, results);
    results[1].rev = 0;
    assert_int_equal(w->result(&state, &k, &r), WORK_MORE);
    k.stage++;
    q = w->request(&state, &k);
    assert_int_equal(q.txn->compares_count, 2);
    assert_int_equal(q.txn->compares[0].what, KV_WHAT_REV);
    assert_int_equal(q.txn->compares[0].rev, 10);
    assert_int_equal(q.txn->compares[1].rev, 0);
    assert_int_equal(q.txn->then_count, 2);
    assert_true(view_is(q.txn->then[0].value, "3 4 5"));
    assert_true(view_is(q.txn->then[1].value, "6"));
    r = (struct kv_result){.succeeded = false};
    assert_int_equal(w->result(&state, &k, &r), WORK_MORE); /* Read again. */
    workload_work_close(&k);
}

static void a_txn_reads_what_it_appended_itself(void **unused)
{
    const struct workload *w = &workload_txn;
    const char *const values[2] = {"3 4", "9"};
    struct kv_txn_result results[2];
    struct work k = work_of(0);
    struct history h;
    struct history_op op = {.process = 0, .type = HISTORY_INVOKE, .f = HISTORY_TXN};
    struct history_micro m;
    struct kv_result r;
    uint32_t at = 0;

    (void)unused;
    history_init(&h);
    mixed_txn(&k);
    r = lists_found(values, 2, results);
    assert_int_equal(w->result(&state, &k, &r), WORK_MORE);
    k.stage++;
    (void)w->request(&state, &k);
    r = (struct kv_result){.succeeded = true};
    assert_int_equal(w->result(&state, &k, &r), WORK_OK);
    assert_int_equal(history_append(&h, &op, k.kind, k.ints, k.ints_count), 0);
    assert_true(history_micro_next(&h, &h.ops[0].value, &at, &m));
    assert_int_equal(m.ids_count, 2);
    assert_true(history_micro_next(&h, &h.ops[0].value, &at, &m));
    assert_true(m.is_append);
    assert_true(history_micro_next(&h, &h.ops[0].value, &at, &m));
    assert_int_equal(m.ids_count, 3);
    assert_int_equal(m.ids[2], 5);
    assert_true(history_micro_next(&h, &h.ops[0].value, &at, &m));
    assert_int_equal(m.element, 6);
    history_close(&h);
    workload_work_close(&k);
}

/* ---- bank ---- */

static void a_transfer_moves_what_is_there(void **unused)
{
    const struct workload *w = &workload_bank;
    const char *const values[2] = {"7", NULL};
    struct kv_txn_result results[2];
    struct work k = work_of(0);
    struct kv_result r;
    struct kv_request q;

    (void)unused;
    next_of(w, &k, HISTORY_TRANSFER);
    assert_int_not_equal(k.ints[0], k.ints[1]);
    k.ints[2] = 5;
    r = lists_found(values, 2, results);
    results[1].rev = 0;
    assert_int_equal(w->result(&state, &k, &r), WORK_MORE);
    k.stage++;
    q = w->request(&state, &k); /* The second account holds what all begin with. */
    assert_int_equal(q.txn->compares_count, 2);
    assert_true(view_is(q.txn->then[0].value, "2"));
    assert_true(view_is(q.txn->then[1].value, "15"));
    results[1].rev = 4;
    results[1].found = true;
    results[1].value = kv_str("1");
    k.stage++;
    assert_int_equal(w->result(&state, &k, &r), WORK_MORE);
    k.stage++;
    q = w->request(&state, &k);
    assert_int_equal(q.txn->compares_count, 1);
    assert_int_equal(q.txn->then[0].delta, -5);
    assert_int_equal(q.txn->then[1].delta, 5);
    results[0].value = kv_str("4"); /* Too little for it. */
    k.stage++;
    assert_int_equal(w->result(&state, &k, &r), WORK_FAIL);
    workload_work_close(&k);
}

static void a_look_reads_all_accounts_of_its_bank(void **unused)
{
    const struct workload *w = &workload_bank;
    const struct kv_item items[] = {
        {.key = kv_str("{bank/0}/3"), .value = kv_str("8")}};
    const struct kv_item other[] = {
        {.key = kv_str("{bank/1}/3"), .value = kv_str("8")}};
    struct kv_txn_result result = {.items = items, .items_count = 1};
    struct work k = work_of(3); /* A reader. */
    struct kv_result r = {.succeeded = true, .results = &result, .results_count = 1};

    (void)unused;
    do {
        next_of(w, &k, HISTORY_READ);
    } while (w->request(&state, &k).txn->then[0].op != KV_OP_RANGE);
    k.key = 0;
    memcpy(k.txn.keys[3].name, "{bank/0}/3", 11);
    assert_int_equal(w->result(&state, &k, &r), WORK_OK);
    assert_int_equal(k.ints_count, 5);
    assert_int_equal(k.ints[3], 8);
    assert_int_equal(k.ints[4], 10);
    result.items = other;
    assert_int_equal(w->result(&state, &k, &r), WORK_BAD);
    workload_work_close(&k);
}

static void final_reads_cover_every_key_that_was_used(void **unused)
{
    struct work k = work_of(0);
    uint32_t count = 0;

    (void)unused;
    for (int i = 0; i < 1000; i++) {
        workload_register.next(&state, &k);
        k.ints_count = 0;
    }
    while (workload_register.last(&state, count, &k)) {
        assert_int_equal(k.key, count);
        assert_int_equal(k.f, HISTORY_READ);
        count++;
    }
    assert_int_equal(count, state.keys_count);
    assert_true(count > 10);
    workload_work_close(&k);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_workload_is_found_by_its_name, begin),
        cmocka_unit_test_setup(a_lane_moves_to_a_fresh_key_after_its_share, begin),
        cmocka_unit_test_setup(each_lane_reads_and_writes_on_every_node, begin),
        cmocka_unit_test_setup(reads_only_whole_decimal_numbers, begin),
        cmocka_unit_test_setup(a_register_writes_and_compares_small_values, begin),
        cmocka_unit_test_setup(a_register_read_takes_the_value_or_nil, begin),
        cmocka_unit_test_setup(an_append_reads_then_swaps_what_it_read, begin),
        cmocka_unit_test_setup(an_append_that_does_not_match_reads_again_then_fails,
                               begin),
        cmocka_unit_test_setup(a_list_that_is_none_is_bad, begin),
        cmocka_unit_test_setup(a_set_is_read_page_by_page, begin),
        cmocka_unit_test_setup(an_element_of_another_set_is_bad, begin),
        cmocka_unit_test_setup(an_add_under_a_lock_carries_its_token_where_it_is_fenced,
                               begin),
        cmocka_unit_test_setup(an_add_whose_lock_was_not_got_has_failed, begin),
        cmocka_unit_test_setup(some_clients_sleep_for_longer_than_their_lease, begin),
        cmocka_unit_test_setup(a_counter_that_is_absent_is_zero, begin),
        cmocka_unit_test_setup(ids_of_two_generators_differ, begin),
        cmocka_unit_test_setup(a_txn_puts_back_what_it_read_unless_it_changed, begin),
        cmocka_unit_test_setup(a_txn_reads_what_it_appended_itself, begin),
        cmocka_unit_test_setup(a_transfer_moves_what_is_there, begin),
        cmocka_unit_test_setup(a_look_reads_all_accounts_of_its_bank, begin),
        cmocka_unit_test_setup(final_reads_cover_every_key_that_was_used, begin),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
