/* tests/server/test_apply_fence.c - tokens of locks: marks, floors, the lock itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
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

/* The group owns only the slots of keys, not those of locks. */
static void disown(struct machine *m, const char *lock)
{
    uint16_t slot = slot_of(kv_bytes_str(lock));

    m->apply.slots[slot / 8] &= (uint8_t) ~(1u << (slot % 8));
}

static int put(struct machine *m, const char *lock, uint64_t token)
{
    struct command c = command_for(COMMAND_KV_PUT, "key");

    c.value = kv_bytes_str("v");
    c.fence = (struct command_fence){kv_bytes_str(lock), token};
    return run(m, &c).code;
}

static enum fence_verdict look(struct machine *m, const char *lock, uint64_t token)
{
    struct command_fence fence = {kv_bytes_str(lock), token};
    enum fence_verdict verdict;

    assert_int_equal(apply_fence_look(&m->apply, &fence, &verdict), 0);
    return verdict;
}

static void a_mark_only_goes_up(void **state)
{
    struct machine *m = machine_new();

    (void)state;
    disown(m, "l");
    assert_int_equal(put(m, "l", 5), 0);
    assert_int_equal(put(m, "l", 5), 0);
    assert_int_equal(put(m, "l", 4), KV_EFENCED);
    assert_int_equal(put(m, "l", 9), 0);
    assert_int_equal(put(m, "l", 5), KV_EFENCED);
    assert_int_equal(m->apply.marks_count, 1);
    machine_free(m);
}

static void a_fenced_write_changes_nothing(void **state)
{
    struct machine *m = machine_new();
    struct row row;

    (void)state;
    disown(m, "l");
    assert_int_equal(put(m, "l", 5), 0);
    {
        struct command c = command_for(COMMAND_KV_DEL, "key");

        c.fence = (struct command_fence){kv_bytes_str("l"), 4};
        assert_int_equal(run(m, &c).code, KV_EFENCED);
    }
    assert_int_equal(state_get(m->st, ROW_KV, kv_bytes_str("key"), &m->keep, &row), 0);
    machine_free(m);
}

static void a_read_notes_its_token_by_an_entry(void **state)
{
    struct machine *m = machine_new();
    struct command c = command_for(COMMAND_FENCE_MARK, "l");

    (void)state;
    disown(m, "l");
    assert_int_equal(look(m, "l", 7), FENCE_MARK);
    c.token = 7;
    assert_int_equal(run(m, &c).code, 0);
    assert_int_equal(look(m, "l", 7), FENCE_PASSES);
    assert_int_equal(look(m, "l", 6), FENCE_STALE);
    c.token = 6;
    assert_int_equal(run(m, &c).code, KV_EFENCED);
    machine_free(m);
}

static void where_the_lock_lives_it_must_be_held(void **state)
{
    struct machine *m = machine_new();
    struct command c = command_for(COMMAND_LOCK_ACQUIRE, "l");
    uint64_t token;

    (void)state;
    assert_int_equal(put(m, "l", 1), KV_EFENCED);
    c.owner = kv_bytes_str("a");
    c.permits = 1;
    c.ttl_ms = 1000;
    token = run(m, &c).lock.token;
    assert_int_equal(put(m, "l", token), 0);
    assert_int_equal(put(m, "l", token + 1), KV_EFENCED);
    assert_int_equal(m->apply.marks_count, 0);
    machine_free(m);
}

/* Every token that a mark refuses is refused when the mark is forgotten; the token of
 * the mark itself passes, and so do later ones. */
static void forgotten_marks_leave_floors(void **state)
{
    struct machine *m = machine_new();
    char lock[16];

    (void)state;
    m->apply.marks_max = 16;
    for (int i = 0; i < 200; i++) {
        (void)snprintf(lock, sizeof lock, "l%d", i);
        disown(m, lock);
        assert_int_equal(put(m, lock, 1000), 0);
        assert_true(m->apply.marks_count <= 16);
    }
    for (int i = 0; i < 200; i++) {
        (void)snprintf(lock, sizeof lock, "l%d", i);
        assert_int_equal(put(m, lock, 999), KV_EFENCED);
        assert_int_not_equal(look(m, lock, 1000), FENCE_STALE);
    }
    assert_int_equal(look(m, "never seen", 1), FENCE_STALE); /* Its slot is owned. */
    machine_free(m);
}

static void marks_are_counted_when_a_state_is_opened(void **state)
{
    struct machine *m = machine_new();
    char lock[16];

    (void)state;
    for (int i = 0; i < 1200; i++) {
        (void)snprintf(lock, sizeof lock, "l%d", i);
        disown(m, lock);
        assert_int_equal(put(m, lock, 7), 0);
    }
    assert_int_equal(m->apply.marks_count, 1200);
    assert_int_equal(apply_reload(&m->apply), 0);
    assert_int_equal(m->apply.marks_count, 1200);
    machine_free(m);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mark_only_goes_up),
        cmocka_unit_test(a_fenced_write_changes_nothing),
        cmocka_unit_test(a_read_notes_its_token_by_an_entry),
        cmocka_unit_test(where_the_lock_lives_it_must_be_held),
        cmocka_unit_test(forgotten_marks_leave_floors),
        cmocka_unit_test(marks_are_counted_when_a_state_is_opened),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/apply_fence", tests, NULL, NULL);
}
