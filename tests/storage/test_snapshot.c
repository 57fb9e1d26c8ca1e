/* tests/storage/test_snapshot.c - snapshot streams: only the whole and right one is
 * taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>

#include "raft/base/err.h"
#include "storage/snapshot.h"

enum {
    STREAM_ROWS = 12,
    STREAM_BYTES_MAX = 4096
};

struct stream {
    struct snapshot_head head;
    uint8_t data[STREAM_BYTES_MAX];
    size_t len;
    size_t frame[STREAM_ROWS + 3]; /* Where each frame begins, and the end. */
};

static struct row row_at(uint32_t i, char room[16])
{
    snprintf(room, 16, "key%02u", i);
    return (struct row){.kind = ROW_KV,
                        .slot = (uint16_t)i,
                        .rev = 100 + i,
                        .key = kv_bytes_str(room),
                        .value = kv_bytes(room, i % 5)};
}

static void stream_make(struct stream *s)
{
    char room[16];
    size_t frames = 0;

    *s = (struct stream){
        .head = {.group = 4,
                 .meta = {.applied = {.pos = {77, 5}, .hash = 9, .time_ms = 8},
                          .config = {.voters_count = 1, .voters = {3}},
                          .config_index = 2}}};
    for (uint32_t i = 0; i < STREAM_ROWS; i++) {
        struct row r = row_at(i, room);

        s->head.meta.rows_count++;
        s->head.meta.rows_bytes += r.key.len + r.value.len;
        s->head.meta.state_hash += row_hash(&r);
    }
    s->frame[frames++] = 0;
    s->len = snapshot_head_encode(&s->head, s->data);
    for (uint32_t i = 0; i < STREAM_ROWS; i++) {
        struct row r = row_at(i, room);

        s->frame[frames++] = s->len;
        s->len += snapshot_row_encode(&r, s->data + s->len);
    }
    s->frame[frames++] = s->len;
    s->len +=
        snapshot_end_encode(STREAM_ROWS, s->head.meta.state_hash, s->data + s->len);
    s->frame[frames] = s->len;
}

/* Reads as far as it goes. 0: a whole stream with this head; KV_EAGAIN: it ends too
 * soon. */
static int stream_read(const uint8_t *data, size_t len, const struct stream *want)
{
    struct snapshot_reader r;
    struct raft_snapshot about;
    size_t at = 0;

    snapshot_reader_init(&r);
    for (;;) {
        enum snapshot_item item;
        struct row row;
        size_t used;
        int rc =
            snapshot_reader_next(&r, kv_bytes(data + at, len - at), &used, &item, &row);

        if (rc == KV_EAGAIN && r.last == SNAPSHOT_END && at == len) {
            break;
        }
        if (rc != 0) {
            return rc;
        }
        at += used;
    }
    snapshot_describe(&want->head, want->len, &about);
    return snapshot_head_is(&r.head, 4, &about) ? 0 : KV_EDAMAGED;
}

static void a_whole_stream_is_read(void **unused)
{
    struct stream s;

    (void)unused;
    stream_make(&s);
    assert_int_equal(stream_read(s.data, s.len, &s), 0);
}

static void a_stream_cut_anywhere_is_not_whole(void **unused)
{
    struct stream s;

    (void)unused;
    stream_make(&s);
    for (size_t len = 0; len < s.len; len++) {
        assert_int_equal(stream_read(s.data, len, &s), KV_EAGAIN);
    }
}

static void every_flipped_bit_is_found(void **unused)
{
    struct stream s;

    (void)unused;
    stream_make(&s);
    for (size_t bit = 0; bit < s.len * 8; bit++) {
        s.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
        /* A length that grew makes it end too soon. */
        assert_int_not_equal(stream_read(s.data, s.len, &s), 0);
        s.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    assert_int_equal(stream_read(s.data, s.len, &s), 0);
}

static void bytes_behind_the_end_are_refused(void **unused)
{
    struct stream s;

    (void)unused;
    stream_make(&s);
    assert_int_equal(stream_read(s.data, s.len + 1, &s), KV_EDAMAGED);
}

/* Whole frames, each with a right checksum, in another order or number. */
static void lost_doubled_and_swapped_rows_are_found(void **unused)
{
    struct stream s;
    uint8_t bent[STREAM_BYTES_MAX + 512];

    (void)unused;
    stream_make(&s);
    for (size_t i = 0; i <= STREAM_ROWS + 1; i++) {
        size_t at = s.frame[i];
        size_t len = s.frame[i + 1] - at;
        int rc;

        memcpy(bent, s.data, at); /* Without frame i. */
        memcpy(bent + at, s.data + at + len, s.len - at - len);
        rc = stream_read(bent, s.len - len, &s);
        assert_int_equal(rc, i == STREAM_ROWS + 1 ? KV_EAGAIN : KV_EDAMAGED);
        memcpy(bent, s.data, at + len); /* Frame i twice. */
        memcpy(bent + at + len, s.data + at, s.len - at);
        assert_int_equal(stream_read(bent, s.len + len, &s), KV_EDAMAGED);
    }
    for (size_t i = 1; i < STREAM_ROWS; i++) { /* Frames i and i + 1 swapped. */
        size_t a = s.frame[i];
        size_t b = s.frame[i + 1];
        size_t c = s.frame[i + 2];

        memcpy(bent, s.data, s.len);
        memcpy(bent + a, s.data + b, c - b);
        memcpy(bent + a + (c - b), s.data + a, b - a);
        assert_int_equal(stream_read(bent, s.len, &s), KV_EDAMAGED);
    }
}

static void the_head_must_be_the_snapshot_that_was_announced(void **unused)
{
    struct stream s;
    struct raft_snapshot about;

    (void)unused;
    stream_make(&s);
    snapshot_describe(&s.head, s.len, &about);
    assert_true(snapshot_head_is(&s.head, 4, &about));
    assert_false(snapshot_head_is(&s.head, 5, &about));
    about.last.hash++;
    assert_false(snapshot_head_is(&s.head, 4, &about));
    about.last.hash--;
    about.config.voters[0] = 9;
    assert_false(snapshot_head_is(&s.head, 4, &about));
    about.config.voters[0] = 3;
    about.config.voters_count = 999; /* From the network: anything. */
    assert_false(snapshot_head_is(&s.head, 4, &about));
    about.config.voters_count = 1;
    about.state_hash ^= 1;
    assert_false(snapshot_head_is(&s.head, 4, &about));
}

static void equal_states_have_equal_ids(void **unused)
{
    struct stream a;
    struct stream b;

    (void)unused;
    stream_make(&a);
    stream_make(&b);
    assert_int_equal(snapshot_id(&a.head), snapshot_id(&b.head));
    b.head.meta.applied.pos.index++;
    assert_int_not_equal(snapshot_id(&a.head), snapshot_id(&b.head));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_stream_is_read),
        cmocka_unit_test(a_stream_cut_anywhere_is_not_whole),
        cmocka_unit_test(every_flipped_bit_is_found),
        cmocka_unit_test(bytes_behind_the_end_are_refused),
        cmocka_unit_test(lost_doubled_and_swapped_rows_are_found),
        cmocka_unit_test(the_head_must_be_the_snapshot_that_was_announced),
        cmocka_unit_test(equal_states_have_equal_ids),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("storage/snapshot", tests, NULL, NULL);
}
