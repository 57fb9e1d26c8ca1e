/* tests/server/test_pending.c - pending entries by key, against a naive list. */
#include "tests/lib/txn_make.h"

#include <stdio.h>
#include <string.h>

#include "raft/base/arena.h"
#include "raft/base/prng.h"
#include "rpc/slot.h"
#include "server/command.h"
#include "server/pending.h"

enum {
    ENTRIES = 4000,
    KEYS = 12
};

static struct kv_bytes key_of(uint32_t key, char *out)
{
    snprintf(out, 16, "key-%u", key);
    return kv_bytes_str(out);
}

static void put(struct pending *p, raft_index index, uint32_t key, raft_index applied)
{
    char name[16];
    uint8_t payload[256];
    struct command c = {.kind = COMMAND_KV_DEL, .key = key_of(key, name)};
    struct raft_entry e = {.pos = {.index = index}, .type = RAFT_ENTRY_COMMAND};

    command_encode(&c, payload);
    e.payload = kv_bytes(payload, command_bytes(&c));
    pending_put(p, &e, applied);
}

static void finds_the_highest_of_a_key(void **state)
{
    static uint32_t keys[ENTRIES + 1];
    struct pending p;
    struct prng r;
    raft_index last = 0, applied = 0;
    char name[16];

    (void)state;
    prng_init(&r, 3);
    pending_init(&p);
    for (uint32_t i = 0; i < 20000; i++) {
        uint64_t dice = prng_below(&r, 100);

        if (dice < 60 && last < ENTRIES) {
            last++;
        } else if (dice < 63 && last > applied) {
            last = applied + 1 + prng_below(&r, last - applied); /* Truncates. */
        } else {
            applied += prng_below(&r, last - applied + 1) / 4;
            goto look;
        }
        keys[last] = (uint32_t)prng_below(&r, KEYS);
        put(&p, last, keys[last], applied);
    look:
        for (uint32_t k = 0; k < KEYS; k++) {
            raft_index at = last;

            while (at > applied && keys[at] != k) {
                at--;
            }
            assert_true(pending_find(&p, key_of(k, name), applied, last) ==
                        (at > applied ? at : 0));
        }
    }
    pending_close(&p);
}

/* After a restart nobody remembers what they touch. */
static void what_was_not_seen_counts_for_every_key(void **state)
{
    struct pending p;

    (void)state;
    pending_init(&p);
    assert_true(pending_find(&p, kv_bytes_str("a"), 5, 5) == 0);
    assert_true(pending_find(&p, kv_bytes_str("a"), 5, 9) == 9);
    put(&p, 10, 1, 5);
    assert_true(pending_find(&p, kv_bytes_str("key-1"), 5, 10) == 10);
    assert_true(pending_find(&p, kv_bytes_str("key-2"), 5, 10) == 9);
    assert_true(pending_find(&p, kv_bytes_str("key-2"), 9, 10) == 0);
    pending_close(&p);
}

static void what_lists_no_keys_counts_for_every_key(void **state)
{
    struct pending p;
    struct raft_entry e = {.pos = {.index = 1}, .type = RAFT_ENTRY_NOOP};
    uint8_t strange[8] = {9, 9};

    (void)state;
    pending_init(&p);
    pending_put(&p, &e, 0);
    assert_true(pending_find(&p, kv_bytes_str("a"), 0, 1) == 0);
    e = (struct raft_entry){.pos = {.index = 2}, .type = RAFT_ENTRY_COMMAND};
    e.payload = kv_bytes(strange, sizeof strange);
    pending_put(&p, &e, 0);
    assert_true(pending_find(&p, kv_bytes_str("a"), 0, 2) == 2);
    pending_close(&p);
}

static void a_range_delete_counts_for_every_key(void **state)
{
    struct pending p;
    uint8_t payload[64];
    struct command c = {.kind = COMMAND_KV_DELRANGE, .rows_max = 1};
    struct raft_entry e = {.pos = {.index = 6}, .type = RAFT_ENTRY_COMMAND};

    (void)state;
    pending_init(&p);
    c.begin = kv_bytes_str("a");
    c.end = kv_bytes_str("b");
    command_encode(&c, payload);
    e.payload = kv_bytes(payload, command_bytes(&c));
    pending_put(&p, &e, 5);
    assert_true(pending_find(&p, kv_bytes_str("ab"), 5, 6) == 6);
    pending_close(&p);
}

static void put_command(struct pending *p, raft_index index, struct command *c)
{
    uint8_t payload[512];
    struct raft_entry e = {.pos = {.index = index}, .type = RAFT_ENTRY_COMMAND};

    command_encode(c, payload);
    e.payload = kv_bytes(payload, command_bytes(c));
    pending_put(p, &e, 0);
}

/* Locks and results for copies are no keys: what ends a lease by itself must not hold
 * up the reads of a group that cannot commit now. */
static void locks_and_records_count_for_no_key(void **state)
{
    struct command expire = {.kind = COMMAND_LOCK_EXPIRE,
                             .slot = slot_of(kv_bytes_str("a")),
                             .key = kv_bytes_str("a"),
                             .token = 1};
    struct command sweep = {
        .kind = COMMAND_RECORD_SWEEP, .rows_max = 1, .key = kv_bytes_str("a")};
    struct pending p;

    (void)state;
    pending_init(&p);
    put_command(&p, 1, &expire);
    put_command(&p, 2, &sweep);
    assert_true(pending_find(&p, kv_bytes_str("a"), 0, 2) == 0);
    pending_close(&p);
}

static void a_transaction_counts_for_the_keys_of_its_slot(void **state)
{
    const struct rpc_txn_op ops[] = {
        {.verb = RPC_TXN_DEL, .key = kv_bytes_str("{t}1")}};
    const struct rpc_txn txn = {NULL, {ops, NULL}, 0, {1, 0}};
    struct command c = {.kind = COMMAND_KV_TXN};
    struct rpc_error error;
    struct arena arena;
    struct pending p;

    (void)state;
    arena_init(&arena, 4096, 0);
    assert_int_equal(txn_make(&txn, &arena, &c.txn, &c.slot, &error), 0);
    pending_init(&p);
    put_command(&p, 1, &c);
    put(&p, 2, 7, 0);
    assert_true(pending_find(&p, kv_bytes_str("{t}2"), 0, 2) == 1);
    assert_true(pending_find(&p, kv_bytes_str("{u}2"), 0, 2) == 0);
    pending_close(&p);
    arena_close(&arena);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_highest_of_a_key),
        cmocka_unit_test(what_was_not_seen_counts_for_every_key),
        cmocka_unit_test(what_lists_no_keys_counts_for_every_key),
        cmocka_unit_test(a_range_delete_counts_for_every_key),
        cmocka_unit_test(locks_and_records_count_for_no_key),
        cmocka_unit_test(a_transaction_counts_for_the_keys_of_its_slot),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/pending", tests, NULL, NULL);
}
