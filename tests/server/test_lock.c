/* tests/server/test_lock.c - holders, queue and tokens of one lock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "raft/base/err.h"
#include "raft/base/prng.h"
#include "server/lock.h"

/* A lock that goes through bytes between any two changes, as in the state. */
struct fixture {
    struct arena arena;
    struct kv_bytes row; /* Empty: there is none. */
    uint64_t rev;
    struct lock lock; /* As after the last change. */
    struct lock_change last;
};

static struct fixture *fixture_new(void)
{
    struct fixture *f = kv_mem_zalloc(sizeof *f);

    assert_non_null(f);
    arena_init(&f->arena, 4096, 0);
    f->rev = 10;
    return f;
}

static void fixture_free(struct fixture *f)
{
    arena_close(&f->arena);
    kv_mem_free(f);
}

static void load(struct fixture *f)
{
    assert_int_equal(lock_decode(f->row, &f->arena, &f->lock), 0);
    f->rev++;
}

static void save(struct fixture *f)
{
    size_t bytes = lock_bytes(&f->lock);
    uint8_t *out;

    if (f->lock.holders_count == 0) {
        assert_int_equal(f->lock.waiters_count, 0);
        f->row = kv_bytes(NULL, 0);
        return;
    }
    out = arena_alloc(&f->arena, bytes);
    assert_non_null(out);
    lock_encode(&f->lock, out);
    f->row = kv_bytes(out, bytes);
}

static const struct lock_change *acquire(struct fixture *f, const char *owner,
                                         uint32_t permits, bool may_wait)
{
    struct lock_ask ask = {.permits = permits, .may_wait = may_wait};

    ask.claim.owner = kv_bytes_str(owner);
    ask.claim.value = kv_bytes_str("shown");
    ask.claim.ttl_ms = 1000;
    load(f);
    lock_acquire(&f->lock, &ask, f->rev, &f->last);
    save(f);
    return &f->last;
}

static const struct lock_change *release(struct fixture *f, uint64_t token)
{
    load(f);
    lock_release(&f->lock, token, f->rev, &f->last);
    save(f);
    return &f->last;
}

static const struct lock_change *cancel(struct fixture *f, const char *owner,
                                        bool give_back)
{
    load(f);
    lock_cancel(&f->lock, kv_bytes_str(owner), give_back, f->rev, &f->last);
    save(f);
    return &f->last;
}

static void the_first_who_asks_holds_with_the_entry_as_token(void **state)
{
    struct fixture *f = fixture_new();
    const struct lock_change *c = acquire(f, "a", 1, true);

    (void)state;
    assert_true(c->held && c->changed);
    assert_int_equal(c->token, f->rev);
    assert_int_equal(c->own.ttl_ms, 1000);
    fixture_free(f);
}

static void who_asks_again_finds_token_or_place(void **state)
{
    struct fixture *f = fixture_new();
    uint64_t token = acquire(f, "a", 1, true)->token;

    (void)state;
    assert_int_equal(acquire(f, "a", 1, true)->token, token);
    assert_false(f->last.changed);
    assert_int_equal(acquire(f, "b", 1, true)->place, 1);
    assert_int_equal(acquire(f, "c", 1, true)->place, 2);
    assert_int_equal(acquire(f, "b", 1, true)->place, 1);
    assert_false(f->last.changed);
    fixture_free(f);
}

static void who_does_not_wait_gets_no_place(void **state)
{
    struct fixture *f = fixture_new();

    (void)state;
    (void)acquire(f, "a", 1, true);
    assert_false(acquire(f, "b", 1, false)->held);
    assert_false(f->last.changed);
    assert_int_equal(f->last.place, 0);
    fixture_free(f);
}

static void a_release_passes_the_lock_to_the_next_with_a_higher_token(void **state)
{
    struct fixture *f = fixture_new();
    uint64_t first = acquire(f, "a", 1, true)->token;
    uint64_t arrival = acquire(f, "b", 1, true)->own.id;
    const struct lock_change *c = release(f, first);

    (void)state;
    assert_true(c->released);
    assert_int_equal(c->ended, first);
    assert_int_equal(c->waited, arrival);
    assert_int_equal(c->granted, f->rev);
    assert_true(c->granted > first);
    assert_true(kv_bytes_equal(c->next.owner, kv_bytes_str("b")));
    assert_null(lock_holder(&f->lock, first));
    assert_non_null(lock_holder(&f->lock, c->granted));
    fixture_free(f);
}

static void a_token_that_is_not_held_releases_nothing(void **state)
{
    struct fixture *f = fixture_new();
    uint64_t token = acquire(f, "a", 1, true)->token;
    uint64_t arrival = acquire(f, "b", 1, true)->own.id;

    (void)state;
    assert_false(release(f, token + 100)->released);
    assert_false(release(f, arrival)->released); /* A waiter's id is no token. */
    assert_false(f->last.changed);
    fixture_free(f);
}

static void who_gave_up_is_not_granted(void **state)
{
    struct fixture *f = fixture_new();
    uint64_t token = acquire(f, "a", 1, true)->token;

    (void)state;
    (void)acquire(f, "b", 1, true);
    (void)acquire(f, "c", 1, true);
    assert_true(cancel(f, "b", false)->changed);
    assert_true(f->last.ended > 0);
    (void)release(f, token);
    assert_true(kv_bytes_equal(f->last.next.owner, kv_bytes_str("c")));
    fixture_free(f);
}

static void a_cancel_that_comes_behind_the_grant_tells_the_token(void **state)
{
    struct fixture *f = fixture_new();
    uint64_t token = acquire(f, "a", 1, true)->token;

    (void)state;
    (void)acquire(f, "b", 1, true);
    token = release(f, token)->granted;
    assert_true(cancel(f, "b", false)->held);
    assert_int_equal(f->last.token, token);
    assert_false(f->last.changed);
    assert_true(cancel(f, "b", true)->released);
    assert_int_equal(f->last.ended, token);
    fixture_free(f);
}

static void another_number_of_permits_is_refused_while_it_is_held(void **state)
{
    struct fixture *f = fixture_new();
    uint64_t token = acquire(f, "a", 1, true)->token;

    (void)state;
    assert_int_equal(acquire(f, "b", 2, true)->code, KV_EBADREQUEST);
    (void)release(f, token);
    assert_int_equal(acquire(f, "b", 2, true)->code, 0);
    fixture_free(f);
}

static void the_queue_is_bounded(void **state)
{
    struct fixture *f = fixture_new();
    char owner[16];

    (void)state;
    for (uint32_t i = 0; i < KV_LOCK_CLAIMS_MAX; i++) {
        (void)snprintf(owner, sizeof owner, "o%u", i);
        assert_int_equal(acquire(f, owner, 1, true)->code, 0);
    }
    assert_int_equal(acquire(f, "more", 1, true)->code, KV_EBUSY);
    assert_false(f->last.changed);
    fixture_free(f);
}

static void rows_that_no_lock_writes_are_refused(void **state)
{
    struct fixture *f = fixture_new();
    struct lock l;
    uint8_t copy[256];
    size_t len;

    (void)state;
    (void)acquire(f, "a", 2, true);
    (void)acquire(f, "b", 2, true);
    (void)acquire(f, "c", 2, true);
    len = f->row.len;
    assert_true(len <= sizeof copy);
    for (size_t cut = 1; cut < len; cut++) {
        assert_int_equal(lock_decode(kv_bytes(f->row.data, cut), &f->arena, &l),
                         KV_EFORMAT);
    }
    for (size_t i = 0; i < 7; i++) { /* Version and counts. */
        memcpy(copy, f->row.data, len);
        copy[i] ^= 0x40;
        assert_int_equal(lock_decode(kv_bytes(copy, len), &f->arena, &l), KV_EFORMAT);
    }
    fixture_free(f);
}

/* ---- against a naive model ---- */

enum {
    MODEL_OWNERS = 7,
    MODEL_STEPS = 4000,
};

/* Who stands where, in order of arrival; tokens[i] 0: waits. */
struct model {
    uint32_t permits;
    uint32_t owners[MODEL_OWNERS];
    uint64_t tokens[MODEL_OWNERS];
    uint32_t count;
    uint64_t highest;
};

static void model_drop(struct model *m, uint32_t at)
{
    for (uint32_t i = at; i + 1 < m->count; i++) {
        m->owners[i] = m->owners[i + 1];
        m->tokens[i] = m->tokens[i + 1];
    }
    m->count--;
}

/* Gives free permits to those who came first; each new token is the highest. */
static void model_settle(struct model *m, uint64_t rev)
{
    uint32_t held = 0;

    for (uint32_t i = 0; i < m->count; i++) {
        held += m->tokens[i] != 0;
    }
    for (uint32_t i = 0; i < m->count && held < m->permits; i++) {
        if (m->tokens[i] == 0) {
            assert_true(rev > m->highest);
            m->tokens[i] = rev;
            m->highest = rev;
            held++;
        }
    }
    assert_true(held <= m->permits);
}

static uint32_t model_find(const struct model *m, uint32_t owner)
{
    uint32_t i = 0;

    while (i < m->count && m->owners[i] != owner) {
        i++;
    }
    return i;
}

static void assert_as_model(const struct fixture *f, const struct model *m)
{
    uint32_t held = 0;
    uint32_t waits = 0;

    for (uint32_t i = 0; i < m->count; i++) {
        char name[2] = {(char)('a' + m->owners[i]), 0};
        const struct lock_claim *c;

        if (m->tokens[i] != 0) {
            c = lock_holder(&f->lock, m->tokens[i]);
            held++;
        } else {
            c = waits < f->lock.waiters_count ? lock_waiter(&f->lock, waits) : NULL;
            waits++;
        }
        assert_non_null(c);
        assert_true(kv_bytes_equal(c->owner, kv_bytes_str(name)));
    }
    assert_int_equal(f->lock.holders_count, held);
    assert_int_equal(f->lock.waiters_count, waits);
    assert_true(held <= m->permits);
}

static void model_step(struct fixture *f, struct model *m, struct prng *p)
{
    uint32_t owner = (uint32_t)prng_below(p, MODEL_OWNERS);
    char name[2] = {(char)('a' + owner), 0};
    uint32_t at = model_find(m, owner);
    bool may_wait = prng_below(p, 4) != 0;

    switch (prng_below(p, 4)) {
    case 0:
    case 1:
        (void)acquire(f, name, m->permits, may_wait);
        if (at == m->count) {
            m->owners[m->count] = owner;
            m->tokens[m->count++] = 0;
            model_settle(m, f->rev);
            if (m->tokens[m->count - 1] == 0 && !may_wait) {
                model_drop(m, m->count - 1);
            }
        }
        break;
    case 2:
        (void)release(f, at < m->count && m->tokens[at] != 0 ? m->tokens[at] : 9999999);
        if (at < m->count && m->tokens[at] != 0) {
            model_drop(m, at);
            model_settle(m, f->rev);
        }
        break;
    default:
        (void)cancel(f, name, !may_wait);
        if (at < m->count && (m->tokens[at] == 0 || !may_wait)) {
            model_drop(m, at);
            model_settle(m, f->rev);
        }
        break;
    }
}

static void random_changes_do_what_a_naive_model_does(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct fixture *f = fixture_new();
        struct model m = {.permits = (uint32_t)(seed % 4 + 1)};
        struct prng p;

        prng_init(&p, seed);
        for (uint32_t i = 0; i < MODEL_STEPS; i++) {
            model_step(f, &m, &p);
            assert_as_model(f, &m);
        }
        fixture_free(f);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_who_asks_holds_with_the_entry_as_token),
        cmocka_unit_test(who_asks_again_finds_token_or_place),
        cmocka_unit_test(who_does_not_wait_gets_no_place),
        cmocka_unit_test(a_release_passes_the_lock_to_the_next_with_a_higher_token),
        cmocka_unit_test(a_token_that_is_not_held_releases_nothing),
        cmocka_unit_test(who_gave_up_is_not_granted),
        cmocka_unit_test(a_cancel_that_comes_behind_the_grant_tells_the_token),
        cmocka_unit_test(another_number_of_permits_is_refused_while_it_is_held),
        cmocka_unit_test(the_queue_is_bounded),
        cmocka_unit_test(rows_that_no_lock_writes_are_refused),
        cmocka_unit_test(random_changes_do_what_a_naive_model_does),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/lock", tests, NULL, NULL);
}
