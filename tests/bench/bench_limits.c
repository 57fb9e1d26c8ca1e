/* tests/bench/bench_limits.c - what this machine can do at best, in kvd's own shapes.
 *
 *   bench_limits [seconds per cell] [folder on the disk to measure] [rounds]
 *
 * Each round measures every cell once; what is printed is the median over the rounds,
 * with the least and the most, as columns that versus.sh reads, too:
 *
 *   sync      fdatasync of 4 KiB in the middle of a file that is already written; by
 *             one thread, and by three with a file each, as three nodes on one disk do
 *   lmdb      commits of 1, 64 or 256 entries to bare LMDB: appended, as many of the
 *             oldest deleted, full sync
 *   echo      a libuv server in a process of its own and clients over loopback,
 *             256-byte messages: connections x messages under way
 *   wake      one idle thread wakes another and waits for its answer
 *
 * Needs:    uv, lmdb, client/kvctl_hist.h, tests/lib/store_dir.h.
 * Used by:  `make bench-limits`, tests/bench/versus.sh.
 * Threads:  its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "client/kvctl_hist.h"
#include "raft/base/arena.h"
#include "raft/base/bytes.h"
#include "raft/base/check.h"
#include "tests/lib/store_dir.h"

enum {
    ROUNDS_MAX = 25,
    CELLS_MAX = 16,
    CONNS_MAX = 256,
    MESSAGE_BYTES = 256,
    ENTRY_BYTES = 300, /* A put of 256 bytes with its key and heads. */
    KEEP = 40000,      /* Entries that stay in the LMDB log. */
    SYNC_BYTES = 4096,
    SYNC_FILE_BYTES = 16 * 1024 * 1024,
    SYNC_THREADS_MAX = 3,
    READ_BYTES = 64 * 1024,
};

struct limits {
    double seconds; /* Per cell. */
    const char *base;
    char dir[STORE_DIR_BYTES];
};

/* What a run of a cell gave. */
struct sample {
    double per_s;
    double p50_us; /* 0: not measured. */
};

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void check(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "bench_limits: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static void check_mdb(int rc, const char *what)
{
    if (rc != 0) {
        fprintf(stderr, "bench_limits: %s: %s\n", what, mdb_strerror(rc));
        exit(1);
    }
}

static void check_uv(int rc, const char *what)
{
    if (rc < 0) {
        fprintf(stderr, "bench_limits: %s: %s\n", what, uv_strerror(rc));
        exit(1);
    }
}

static struct sample sample_of(const struct hist *h, uint64_t done, uint64_t spent_ns)
{
    return (struct sample){(double)done * 1e9 / (double)spent_ns,
                           (double)hist_quantile(h, 0.5) / 1e3};
}

static struct hist *hist_make(void)
{
    struct hist *h = kv_mem_zalloc(sizeof *h);

    check(h != NULL, "memory");
    return h;
}

/* ---- sync ---- */

struct syncer {
    pthread_t thread;
    int fd;
    uint64_t end_ns;
    struct hist *hist;
};

static void *sync_main(void *arg)
{
    struct syncer *s = arg;
    static const uint8_t page[SYNC_BYTES];
    off_t at = 0;

    for (uint64_t now = now_ns(); now < s->end_ns;) {
        uint64_t begin = now;

        check(pwrite(s->fd, page, sizeof page, at) == sizeof page, "pwrite");
        check(fdatasync(s->fd) == 0, "fdatasync");
        now = now_ns();
        hist_record(s->hist, now - begin);
        at = (at + SYNC_BYTES) % SYNC_FILE_BYTES;
    }
    return NULL;
}

static void sync_file_make(struct syncer *s, const char *dir, uint32_t number)
{
    static const uint8_t page[SYNC_BYTES] = {1};
    char path[STORE_DIR_BYTES + 32];

    snprintf(path, sizeof path, "%s/sync%u", dir, number);
    s->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    check(s->fd >= 0, path);
    for (off_t at = 0; at < SYNC_FILE_BYTES; at += SYNC_BYTES) {
        check(pwrite(s->fd, page, sizeof page, at) == sizeof page, path);
    }
    check(fsync(s->fd) == 0, path);
}

static struct sample sync_run(struct limits *l, uint32_t threads, uint32_t unused)
{
    struct syncer syncers[SYNC_THREADS_MAX] = {0};
    struct hist *sum = hist_make();
    struct sample out;
    uint64_t begin;

    (void)unused;
    store_dir_make(l->dir);
    for (uint32_t i = 0; i < threads; i++) {
        sync_file_make(&syncers[i], l->dir, i);
        syncers[i].hist = hist_make();
    }
    begin = now_ns();
    for (uint32_t i = 0; i < threads; i++) {
        syncers[i].end_ns = begin + (uint64_t)(l->seconds * 1e9);
        check(pthread_create(&syncers[i].thread, NULL, sync_main, &syncers[i]) == 0,
              "thread");
    }
    for (uint32_t i = 0; i < threads; i++) {
        pthread_join(syncers[i].thread, NULL);
        hist_add(sum, syncers[i].hist);
        kv_mem_free(syncers[i].hist);
        close(syncers[i].fd);
    }
    out = sample_of(sum, sum->count, now_ns() - begin);
    kv_mem_free(sum);
    store_dir_remove(l->dir);
    return out;
}

/* ---- LMDB ---- */

struct lmdb_log {
    MDB_env *env;
    MDB_dbi dbi;
    uint64_t first, last;
};

static void lmdb_commit(struct lmdb_log *l, uint32_t entries)
{
    static uint8_t bytes[ENTRY_BYTES];
    uint8_t room[8];
    MDB_val key = {sizeof room, room};
    MDB_txn *txn;

    check_mdb(mdb_txn_begin(l->env, NULL, 0, &txn), "begin");
    for (uint32_t i = 0; i < entries; i++) {
        MDB_val value = {sizeof bytes, bytes};

        kv_put_u64be(room, ++l->last);
        check_mdb(mdb_put(txn, l->dbi, &key, &value, MDB_APPEND), "put");
    }
    while (l->last - l->first > KEEP) {
        kv_put_u64be(room, ++l->first);
        check_mdb(mdb_del(txn, l->dbi, &key, NULL), "del");
    }
    check_mdb(mdb_txn_commit(txn), "commit");
}

static struct sample lmdb_run(struct limits *limits, uint32_t entries, uint32_t unused)
{
    struct lmdb_log l = {0};
    struct hist *h = hist_make();
    struct sample out;
    MDB_txn *txn;
    uint64_t begin, now, end;

    (void)unused;
    store_dir_make(limits->dir);
    check_mdb(mdb_env_create(&l.env), "env_create");
    check_mdb(mdb_env_set_mapsize(l.env, (size_t)1 << 30), "set_mapsize");
    check_mdb(mdb_env_open(l.env, limits->dir, MDB_NOTLS, 0600), "env_open");
    check_mdb(mdb_txn_begin(l.env, NULL, 0, &txn), "begin");
    check_mdb(mdb_dbi_open(txn, NULL, 0, &l.dbi), "dbi_open");
    check_mdb(mdb_txn_commit(txn), "commit");
    while (l.last < KEEP + 1000) {
        lmdb_commit(&l, 1000); /* Until it deletes as much as it adds. */
    }
    begin = now_ns();
    end = begin + (uint64_t)(limits->seconds * 1e9);
    for (now = begin; now < end;) {
        uint64_t last = now;

        lmdb_commit(&l, entries);
        now = now_ns();
        hist_record(h, now - last);
    }
    out = sample_of(h, h->count, now - begin);
    kv_mem_free(h);
    mdb_env_close(l.env);
    store_dir_remove(limits->dir);
    return out;
}

/* ---- echo ---- */

struct echo_conn {
    uv_tcp_t tcp;
    struct echo *echo;
    size_t received;  /* Bytes of messages not counted yet. */
    uint64_t sent_ns; /* When the last were written. */
};

struct echo {
    uv_loop_t loop;
    uint8_t read_buf[READ_BYTES];
    uint8_t out[READ_BYTES];
    struct echo_conn conns[CONNS_MAX];
    uv_tcp_t listener;
    uv_timer_t end;
    uint32_t conns_count;
    uint64_t done;
    struct hist *hist;
};

static void echo_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct echo *e = handle->loop->data;

    (void)suggested;
    *buf = uv_buf_init((char *)e->read_buf, READ_BYTES);
}

/* Loopback takes this little at once; anything else is a mistake of this program. */
static void echo_write(struct echo_conn *c, const uint8_t *data, size_t len)
{
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)len);

    check_uv(uv_try_write((uv_stream_t *)&c->tcp, &buf, 1) == (int)len ? 0 : UV_EAGAIN,
             "write");
}

static void on_served(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct echo_conn *c = stream->data;

    if (nread < 0) {
        uv_close((uv_handle_t *)stream, NULL);
    } else if (nread > 0) {
        echo_write(c, (const uint8_t *)buf->base, (size_t)nread);
    }
}

static void on_connection(uv_stream_t *server, int status)
{
    struct echo *e = server->data;
    struct echo_conn *c = &e->conns[e->conns_count++];

    check_uv(status, "accept");
    check_uv(uv_tcp_init(&e->loop, &c->tcp), "init");
    c->tcp.data = c;
    c->echo = e;
    check_uv(uv_accept(server, (uv_stream_t *)&c->tcp), "accept");
    uv_tcp_nodelay(&c->tcp, 1);
    check_uv(uv_read_start((uv_stream_t *)&c->tcp, echo_alloc, on_served), "read");
}

static void loop_begin(struct echo *e)
{
    check_uv(uv_loop_init(&e->loop), "loop");
    e->loop.data = e;
}

/* Listens before the fork, so that the client need not wait for the server. */
static int echo_listen(uint16_t *out_port)
{
    struct sockaddr_in at;
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    check(fd >= 0, "socket");
    uv_ip4_addr("127.0.0.1", 0, &at);
    check(bind(fd, (struct sockaddr *)&at, sizeof at) == 0, "bind");
    check(listen(fd, CONNS_MAX) == 0, "listen");
    check(getsockname(fd, (struct sockaddr *)&at, &len) == 0, "getsockname");
    *out_port = ntohs(at.sin_port);
    return fd;
}

static void serve(struct echo *e, int fd)
{
    loop_begin(e);
    check_uv(uv_tcp_init(&e->loop, &e->listener), "init");
    e->listener.data = e;
    check_uv(uv_tcp_open(&e->listener, fd), "open");
    check_uv(uv_listen((uv_stream_t *)&e->listener, CONNS_MAX, on_connection),
             "listen");
    uv_run(&e->loop, UV_RUN_DEFAULT); /* Until it is killed. */
    _exit(0);
}

/* Whole messages that came back are counted and sent again. */
static void on_echoed(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct echo_conn *c = stream->data;
    struct echo *e = c->echo;
    uint64_t now = now_ns();
    size_t whole;

    (void)buf;
    check_uv((int)KV_MIN(nread, 0), "read");
    c->received += (size_t)nread;
    whole = c->received / MESSAGE_BYTES;
    if (whole == 0) {
        return;
    }
    c->received -= whole * MESSAGE_BYTES;
    e->done += whole;
    hist_record(e->hist, now - c->sent_ns);
    c->sent_ns = now;
    echo_write(c, e->out, whole * MESSAGE_BYTES);
}

static void on_end(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

static void echo_dial(struct echo *e, struct echo_conn *c, uint16_t port)
{
    struct sockaddr_in at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    uv_ip4_addr("127.0.0.1", port, &at);
    check(fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0, "connect");
    check_uv(uv_tcp_init(&e->loop, &c->tcp), "init");
    c->tcp.data = c;
    c->echo = e;
    check_uv(uv_tcp_open(&c->tcp, fd), "open");
    uv_tcp_nodelay(&c->tcp, 1);
    check_uv(uv_read_start((uv_stream_t *)&c->tcp, echo_alloc, on_echoed), "read");
}

static struct sample echo_run(struct limits *l, uint32_t conns, uint32_t depth)
{
    struct echo *e = kv_mem_zalloc(sizeof *e);
    struct sample out;
    uint16_t port;
    uint64_t begin;
    pid_t pid;
    int fd = echo_listen(&port);

    check(e != NULL, "memory");
    KV_ASSERT(conns <= CONNS_MAX && depth * MESSAGE_BYTES <= READ_BYTES);
    pid = fork();
    check(pid >= 0, "fork");
    if (pid == 0) {
        serve(e, fd);
    }
    close(fd);
    loop_begin(e);
    e->hist = hist_make();
    for (uint32_t i = 0; i < conns; i++) {
        echo_dial(e, &e->conns[i], port);
    }
    check_uv(uv_timer_init(&e->loop, &e->end), "timer");
    uv_timer_start(&e->end, on_end, (uint64_t)(l->seconds * 1e3), 0);
    begin = now_ns();
    for (uint32_t i = 0; i < conns; i++) {
        e->conns[i].sent_ns = begin;
        echo_write(&e->conns[i], e->out, (size_t)depth * MESSAGE_BYTES);
    }
    uv_run(&e->loop, UV_RUN_DEFAULT);
    out = sample_of(e->hist, e->done, now_ns() - begin);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    for (uint32_t i = 0; i < conns; i++) {
        uv_close((uv_handle_t *)&e->conns[i].tcp, NULL);
    }
    uv_close((uv_handle_t *)&e->end, NULL);
    uv_run(&e->loop, UV_RUN_DEFAULT);
    check_uv(uv_loop_close(&e->loop), "loop_close");
    kv_mem_free(e->hist);
    kv_mem_free(e);
    return out;
}

/* ---- wake ---- */

struct waker {
    pthread_mutex_t mutex;
    pthread_cond_t cond[2];
    uint64_t turn; /* Even: the first thread's; odd: the second's. */
    bool stop;
};

static void *wake_main(void *arg)
{
    struct waker *w = arg;

    pthread_mutex_lock(&w->mutex);
    while (!w->stop) {
        if (w->turn % 2 == 1) {
            w->turn++;
            pthread_cond_signal(&w->cond[0]);
        } else {
            pthread_cond_wait(&w->cond[1], &w->mutex);
        }
    }
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

static struct sample wake_run(struct limits *l, uint32_t unused, uint32_t unused_too)
{
    struct waker w = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                      .cond = {PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER}};
    struct hist *h = hist_make();
    struct sample out;
    uint64_t begin = now_ns(), now = begin;
    pthread_t thread;

    (void)unused, (void)unused_too;
    check(pthread_create(&thread, NULL, wake_main, &w) == 0, "thread");
    pthread_mutex_lock(&w.mutex);
    while (now < begin + (uint64_t)(l->seconds * 1e9)) {
        uint64_t last = now;

        w.turn++;
        pthread_cond_signal(&w.cond[1]);
        while (w.turn % 2 == 1) {
            pthread_cond_wait(&w.cond[0], &w.mutex);
        }
        now = now_ns();
        hist_record(h, now - last);
    }
    w.stop = true;
    pthread_cond_signal(&w.cond[1]);
    pthread_mutex_unlock(&w.mutex);
    pthread_join(thread, NULL);
    out = sample_of(h, h->count, now - begin);
    kv_mem_free(h);
    return out;
}

/* ---- the table ---- */

static const struct cell {
    const char *name;
    struct sample (*run)(struct limits *l, uint32_t a, uint32_t b);
    uint32_t a, b;
} cells[] = {
    {"sync_1", sync_run, 1, 0},       {"sync_3", sync_run, 3, 0},
    {"lmdb_1", lmdb_run, 1, 0},       {"lmdb_64", lmdb_run, 64, 0},
    {"lmdb_256", lmdb_run, 256, 0},   {"echo_1", echo_run, 1, 1},
    {"echo_64", echo_run, 64, 1},     {"echo_256", echo_run, 256, 1},
    {"echo_64x16", echo_run, 64, 16}, {"wake", wake_run, 0, 0},
};

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void cell_print(const struct cell *c, const struct sample *samples, uint32_t n)
{
    double rates[ROUNDS_MAX], p50s[ROUNDS_MAX];

    for (uint32_t i = 0; i < n; i++) {
        rates[i] = samples[i].per_s;
        p50s[i] = samples[i].p50_us;
    }
    qsort(rates, n, sizeof rates[0], by_size);
    qsort(p50s, n, sizeof p50s[0], by_size);
    printf("%-11s %11.0f %11.0f %11.0f %9.1f %9.1f %9.1f\n", c->name, rates[n / 2],
           rates[0], rates[n - 1], p50s[n / 2], p50s[0], p50s[n - 1]);
}

int main(int argc, char **argv)
{
    static struct sample samples[KV_ARRAY_COUNT(cells)][ROUNDS_MAX];
    struct limits l = {.seconds = argc > 1 ? strtod(argv[1], NULL) : 1,
                       .base = argc > 2 ? argv[2] : "/tmp"};
    unsigned long rounds = argc > 3 ? strtoul(argv[3], NULL, 10) : 5;

    if (l.seconds < 0.01 || l.seconds > 600 || rounds < 1 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: bench_limits [seconds] [folder] [rounds, up to %d]\n",
                ROUNDS_MAX);
        return 2;
    }
    (void)setenv("TMPDIR", l.base, 1);
    for (unsigned long r = 0; r < rounds; r++) {
        for (size_t i = 0; i < KV_ARRAY_COUNT(cells); i++) {
            samples[i][r] = cells[i].run(&l, cells[i].a, cells[i].b);
        }
    }
    printf("%-11s %11s %11s %11s %9s %9s %9s\n", "limit", "per_s", "least", "most",
           "p50_us", "least", "most");
    for (size_t i = 0; i < KV_ARRAY_COUNT(cells); i++) {
        cell_print(&cells[i], samples[i], (uint32_t)rounds);
    }
    return 0;
}
