/* tests/server/test_apply_lock.c - locks as rows of a state over mem_store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "raft/base/err.h"
#include "rpc/slot.h"
#include "server/apply.h"
#include "tests/lib/mem_store.h"

struct machine {
    struct mem_store *mem;
    struct state *st;
    struct apply apply;
    struct arena keep;
    raft_index last;
};

static struct apply_result run(struct machine *m, const struct command *c)
{
    struct apply_result r;
    uint8_t payload[4096];
    struct raft_entry e = {.pos = {m->last + 1, 1}, .type = RAFT_ENTRY_COMMAND};

    assert_true(command_bytes(c) <= sizeof payload);
    command_encode(c, payload);
    e.payload = kv_bytes(payload, command_bytes(c));
    assert_int_equal(apply_entry(&m->apply, &e, &m->keep, &r), 0);
    m->last++;
    return r;
}

static struct machine *machine_new(void)
{
    static uint8_t all[COMMAND_SLOTS_BYTES];
    struct command own = {.kind = COMMAND_OWN_SLOTS, .rev_offset = 100};
    struct machine *m = kv_mem_zalloc(sizeof *m);

    assert_non_null(m);
    assert_int_equal(mem_store_new(1, &m->mem), 0);
    assert_int_equal(state_open(mem_store_base(m->mem), 1, 1 << 20, &m->st), 0);
    assert_int_equal(apply_open(&m->apply, m->st), 0);
    arena_init(&m->keep, 4096, 0);
    memset(all, 0xff, sizeof all);
    own.slots = kv_bytes(all, sizeof all);
    (void)run(m, &own);
    return m;
}

static void machine_free(struct machine *m)
{
    apply_close(&m->apply);
    state_close(m->st);
    mem_store_free(m->mem);
    arena_close(&m->keep);
    kv_mem_free(m);
}

static struct command command_for(enum command_kind kind, const char *name)
{
    struct command c = {.kind = kind};

    c.key = kv_bytes_str(name);
    c.slot = slot_of(c.key);
    return c;
}

static struct apply_result acquire(struct machine *m, const char *name,
                                   const char *owner)
{
    struct command c = command_for(COMMAND_LOCK_ACQUIRE, name);

    c.owner = kv_bytes_str(owner);
    c.permits = 1;
    c.ttl_ms = 5000;
    c.may_wait = true;
    return run(m, &c);
}

static struct apply_result end(struct machine *m, enum command_kind kind,
                               const char *name, uint64_t token)
{
    struct command c = command_for(kind, name);

    c.token = token;
    return run(m, &c);
}

static uint32_t holders(struct machine *m, const char *name)
{
    struct lock l;

    assert_int_equal(apply_lock_read(m->st, kv_bytes_str(name), &m->keep, &l), 0);
    return l.holders_count;
}

static void a_token_is_the_revision_of_the_entry_that_granted_it(void **state)
{
    struct machine *m = machine_new();
    struct apply_result r = acquire(m, "l", "a");

    (void)state;
    assert_true(r.is_lock && r.lock.held);
    assert_int_equal(r.lock.token, 100 + m->last);
    assert_true(kv_bytes_equal(r.lock_name, kv_bytes_str("l")));
    assert_false(acquire(m, "l", "b").lock.held);
    r = end(m, COMMAND_LOCK_RELEASE, "l", r.lock.token);
    assert_int_equal(r.lock.granted, 100 + m->last);
    machine_free(m);
}

static void the_last_claim_takes_the_row_along_and_tokens_still_grow(void **state)
{
    struct machine *m = machine_new();
    uint64_t hash = state_meta_get(m->st)->state_hash;
    uint64_t token = acquire(m, "l", "a").lock.token;

    (void)state;
    assert_int_equal(holders(m, "l"), 1);
    assert_true(end(m, COMMAND_LOCK_EXPIRE, "l", token).lock.released);
    assert_int_equal(holders(m, "l"), 0);
    assert_true(state_meta_get(m->st)->state_hash == hash); /* Nothing is left. */
    assert_true(acquire(m, "l", "b").lock.token > token);
    machine_free(m);
}

static void locks_of_other_names_and_keys_are_not_touched(void **state)
{
    struct machine *m = machine_new();
    struct command put = command_for(COMMAND_KV_PUT, "l");
    uint64_t token = acquire(m, "l", "a").lock.token;

    (void)state;
    put.value = kv_bytes_str("v");
    (void)run(m, &put);
    assert_true(acquire(m, "k", "b").lock.held);
    assert_true(end(m, COMMAND_LOCK_RELEASE, "l", token).lock.released);
    assert_int_equal(holders(m, "k"), 1);
    machine_free(m);
}

static void a_group_without_the_slot_changes_no_lock(void **state)
{
    struct machine *m = machine_new();

    (void)state;
    memset(m->apply.slots, 0, sizeof m->apply.slots);
    assert_int_equal(acquire(m, "l", "a").code, KV_ENOTFOUND);
    assert_int_equal(holders(m, "l"), 0);
    machine_free(m);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_the_revision_of_the_entry_that_granted_it),
        cmocka_unit_test(the_last_claim_takes_the_row_along_and_tokens_still_grow),
        cmocka_unit_test(locks_of_other_names_and_keys_are_not_touched),
        cmocka_unit_test(a_group_without_the_slot_changes_no_lock),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/apply_lock", tests, NULL, NULL);
}
