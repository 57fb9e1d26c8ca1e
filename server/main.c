/* server/main.c - kvd: one node as a process. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "raft/base/arena.h"
#include "raft/base/err.h"
#include "server/banner.h"
#include "server/config.h"
#include "server/log.h"
#include "server/node.h"
#include "server/uv_env.h"
#include "storage/failpoint.h"
#include "storage/store.h"

enum {
    EXIT_USAGE = 2,
    EXIT_LISTEN = 3,
    STATUS_MS = 500, /* How often the status is looked at. */
    OTHER_FILES =
        256, /* Descriptors beside clients, peers and HTTP: LMDB, snapshots. */
    CLIENTS_LEAST = 16,    /* Connections of clients, however few files there may be. */
    CLIENTS_OUT_SHARE = 4, /* Part of the memory budget for unread output: 1/4. */
};

/* Everything that lives as long as the process. */
struct kvd {
    struct config config;
    struct log_sink log;
    struct uv_env env;
    struct store *store;
    struct node *node;
    uv_signal_t terminate, interrupt;
    uv_timer_t status;
    struct banner_state shown; /* What the last status line said. */
    bool shown_once;
    uint64_t files_short; /* The limit of open files, where it is too low; else 0. */
};

/* ---- signals ---- */

/* A page of LMDB's map that the disk could not deliver. Only write(2) and _exit(2) are
 * allowed here. */
static void on_sigbus(int number)
{
    static const char text[] =
        "kvd: SIGBUS: a page of the database could not be read or written; the disk or "
        "its file is damaged; mend it, then start this node again\n";
    ssize_t wrote = write(STDERR_FILENO, text, sizeof text - 1);

    (void)wrote;
    (void)number;
    _exit(UV_ENV_EXIT_DATA);
}

static void signals_prepare(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction bus = {.sa_handler = on_sigbus};

    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGBUS, &bus, NULL);
}

static void on_terminate(uv_signal_t *handle, int number)
{
    struct kvd *k = handle->data;

    if (k->env.stopping) {
        uv_env_log(&k->env, LOG_WARN, "signal=%d second=1 ends=now", number);
        _exit(128 + number);
    }
    uv_env_log(&k->env, LOG_INFO, "signal=%d stop=begin", number);
    uv_env_stop(&k->env);
}

/* ---- limits ---- */

/* Raises the limit of open files so that it fits all connections. Where it cannot,
 * clients get less: peers, HTTP and the disk must not wait for them. Returns the limit
 * that is too low, or 0. */
static uint64_t files_raise(struct config *c)
{
    const rlim_t others =
        UV_NET_LINKS_IN_MAX + UV_NET_LINKS_OUT_MAX + UV_HTTP_CONNS_MAX + OTHER_FILES;
    rlim_t want = (rlim_t)c->node.max_connections + others;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= want) {
        return 0;
    }
    limit.rlim_cur = want;
    if (limit.rlim_max < want) {
        limit.rlim_max = want; /* Only root may. */
    }
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0 ||
        getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 0;
    }
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    c->node.max_connections =
        limit.rlim_cur > others + CLIENTS_LEAST
            ? (uint32_t)KV_MIN(limit.rlim_cur - others, (rlim_t)c->node.max_connections)
            : KV_MIN(c->node.max_connections, (uint32_t)CLIENTS_LEAST);
    return limit.rlim_cur;
}

/* ---- status ---- */

/* Prints a status line when readiness changes. */
static void on_status(uv_timer_t *timer)
{
    struct kvd *k = timer->data;
    struct banner_state now;
    char line[512];

    if (k->env.stopping) {
        return;
    }
    banner_state_get(k->node, &now);
    if (k->shown_once && now.ready == k->shown.ready) {
        return;
    }
    k->shown_once = true;
    k->shown = now;
    banner_status(k->node, &now, line, sizeof line);
    uv_env_log(&k->env, now.ready ? LOG_INFO : LOG_WARN, "%s", line);
}

/* ---- from start to end ---- */

static int complain(const char *text)
{
    fprintf(stderr, "kvd: %s\n", text);
    return -1;
}

/* What a person should do when the data directory cannot be opened. */
static const char *store_advice(int code)
{
    switch (code) {
    case KV_EEXIST:
        return "; stop that process, or give this node another --data-dir";
    case KV_EIO:
        return "; give a directory whose parent exists and that you may write to";
    case KV_ENOSPACE:
        return "; free space on that disk, then start again";
    default:
        return "";
    }
}

/* Opens the data directory. 0 or an exit status. */
static int kvd_store_open(struct kvd *k)
{
    struct store_options o = {
        .dir = k->config.data_dir,
        .map_bytes = k->config.map_bytes,
        .quota_bytes = k->config.quota_bytes,
        .reserve_bytes = k->config.reserve_bytes,
        .groups_max = KV_GROUPS_MAX,
        .incarnation_seed = k->env.env.ops->random(&k->env.env),
#ifdef KV_MUTANTS
        .bug = k->config.node.bug,
#endif
    };
    char error[CONFIG_ERROR_BYTES] = "cannot be opened";
    char line[3 * CONFIG_ERROR_BYTES];
    int rc = store_open(&o, &k->store, error, sizeof error);

    if (rc == 0) {
        return 0;
    }
    snprintf(line, sizeof line, "--data-dir %s: %s%s", k->config.data_dir, error,
             store_advice(rc));
    complain(line);
    return UV_ENV_EXIT_DATA;
}

/* Listens on all three ports. 0 or an exit status. */
static int kvd_listen(struct kvd *k)
{
    struct config *c = &k->config;
    char error[CONFIG_ERROR_BYTES];
    uint16_t port;
    int rc;

    rc = uv_net_listen(&k->env.net, UV_SOCK_CLIENT, &c->listen, &port, error,
                       sizeof error);
    if (rc == 0) {
        rc = uv_net_listen(&k->env.net, UV_SOCK_LINK_IN, &c->peer, &port, error,
                           sizeof error);
    }
    if (rc == 0) {
        rc = uv_http_listen(&k->env.http, &c->http, &port, error, sizeof error);
    }
    if (rc != 0) {
        complain(error);
        return EXIT_LISTEN;
    }
    return 0;
}

/* Opens store, node and ports. 0 or an exit status. */
static int kvd_open(struct kvd *k)
{
    char error[CONFIG_ERROR_BYTES] = "cannot start";
    int rc = kvd_store_open(k);

    if (rc != 0) {
        return rc;
    }
    rc =
        node_new(&k->config.node, &k->env.env, k->store, &k->node, error, sizeof error);
    if (rc != 0) {
        complain(error);
        return rc == KV_EINVAL ? EXIT_USAGE : UV_ENV_EXIT_DATA;
    }
    return kvd_listen(k);
}

static int kvd_handles_start(struct kvd *k)
{
    uv_loop_t *loop = &k->env.loop;
    int rc = uv_signal_init(loop, &k->terminate) | uv_signal_init(loop, &k->interrupt) |
             uv_timer_init(loop, &k->status);

    k->terminate.data = k;
    k->interrupt.data = k;
    k->status.data = k;
    return rc | uv_signal_start(&k->terminate, on_terminate, SIGTERM) |
           uv_signal_start(&k->interrupt, on_terminate, SIGINT) |
           uv_timer_start(&k->status, on_status, STATUS_MS, STATUS_MS);
}

static void kvd_handles_close(struct kvd *k)
{
    uv_close((uv_handle_t *)&k->terminate, NULL);
    uv_close((uv_handle_t *)&k->interrupt, NULL);
    uv_close((uv_handle_t *)&k->status, NULL);
}

/* Ends everything in order: threads, sockets, node, store. */
static void kvd_close(struct kvd *k)
{
    (void)KV_FAILPOINT(stop_loop);
    uv_env_close(&k->env);
    (void)KV_FAILPOINT(stop_threads);
    if (k->node != NULL) {
        node_free(k->node);
    }
    (void)KV_FAILPOINT(stop_node);
    if (k->store != NULL) {
        k->store->ops->close(k->store);
    }
    (void)KV_FAILPOINT(stop_done);
}

static int kvd_run(struct kvd *k)
{
    char text[2048];
    int status;

    banner_start(&k->config, k->node, text, sizeof text);
    fputs(text, stderr);
    if (k->files_short != 0) {
        uv_env_log(
            &k->env, LOG_WARN,
            "open_files=%llu max_connections=%u next=\"raise it with ulimit -n\"",
            (unsigned long long)k->files_short, k->config.node.max_connections);
    }
    if (kvd_handles_start(k) != 0) {
        complain("cannot watch for signals: out of descriptors or memory");
        return UV_ENV_EXIT_BROKEN;
    }
    uv_env_attach(&k->env, k->node);
    status = uv_env_run(&k->env);
    if (status != 0) {
        _exit(status); /* Nothing in memory may be believed any more. */
    }
    kvd_handles_close(k);
    return 0;
}

static int kvd_main(struct kvd *k)
{
    struct uv_env_options o = {
        .slow_ms = k->config.slow_ms,
        .unacked_ms = KV_MAX((uint32_t)UV_ENV_UNACKED_MS_MIN,
                             4 * k->config.node.election_timeout_ms),
        .clients_out_max = k->config.node.memory_bytes_max / CLIENTS_OUT_SHARE,
        .log = &k->log,
    };
    int status;

    k->files_short = files_raise(&k->config);
    o.max_connections = k->config.node.max_connections;
    signals_prepare();
    log_sink_init(&k->log, STDERR_FILENO, k->config.log_level);
    if (uv_env_init(&k->env, &o) != 0) {
        complain("cannot start: out of memory or threads");
        return UV_ENV_EXIT_BROKEN;
    }
    status = kvd_open(k);
    if (status == 0) {
        status = kvd_run(k);
    }
    kvd_close(k);
    if (status == 0) {
        fputs("kvd: stopped\n", stderr);
    }
    return status;
}

/* ---- failpoints, in test builds ---- */

#ifdef KV_FAILPOINTS
/* Arms what the environment asks for. -1: go on; else the exit status. */
static int failpoints_begin(int argc, char **argv)
{
    const char *armed = getenv("KVD_FAILPOINTS");
    struct failpoint_about about;

    if (argc == 2 && strcmp(argv[1], "--failpoints") == 0) {
        for (size_t i = 0; failpoint_about(i, &about); i++) {
            printf("%-20s %-6s %s => %s\n", about.name, about.kinds, about.where,
                   about.leaves);
        }
        return 0;
    }
    if (armed != NULL && armed[0] != '\0' && !failpoint_arm(armed)) {
        complain("KVD_FAILPOINTS: no such point, or it cannot do that; see kvd "
                 "--failpoints");
        return EXIT_USAGE;
    }
    return -1;
}
#else
#define failpoints_begin(argc, argv) (-1)
#endif

/* Whoever starts us with closed standard streams must not get a data file under their
 * numbers, or log lines would be written into it. */
static bool streams_hold(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    return fd >= 0 && close(fd) == 0;
}

/* ---- planted bugs, in MODE=mutants ---- */

#ifdef KV_MUTANTS
/* Switches on the bug that the environment variable KVD_BUG names ("B04"; see
 * raft/base/bug.h), so that a harness can show that it finds it. -1, or an exit
 * status. */
static int bug_begin(struct config *c)
{
#define BUG_NAME(name, what, seen) #name,
    static const char *const names[] = {"", KV_BUG_MAP(BUG_NAME)};
#undef BUG_NAME
    const char *wanted = getenv("KVD_BUG");

    for (uint32_t i = 0; i < KV_ARRAY_COUNT(names); i++) {
        if (strcmp(wanted == NULL ? "" : wanted, names[i]) == 0) {
            c->node.bug = i;
            return -1;
        }
    }
    complain("KVD_BUG names no bug of raft/base/bug.h");
    return EXIT_USAGE;
}
#else
#define bug_begin(c) (-1)
#endif

int main(int argc, char **argv)
{
    char error[CONFIG_ERROR_BYTES];
    enum config_action action = CONFIG_RUN;
    struct kvd *k = kv_mem_zalloc(sizeof *k);
    int status = failpoints_begin(argc, argv);

    if (status >= 0) {
        kv_mem_free(k);
        return status;
    }
    if (!streams_hold() || k == NULL) {
        complain("out of memory, or /dev/null is missing");
        return UV_ENV_EXIT_BROKEN;
    }
    if (config_parse(argc, argv, &k->config, &action, error, sizeof error) != 0) {
        complain(error);
        status = EXIT_USAGE;
    } else if (action == CONFIG_HELP) {
        config_help(stdout);
        status = 0;
    } else if (action == CONFIG_VERSION) {
        puts("kvd " KV_VERSION_STRING);
        status = 0;
    } else {
        status = bug_begin(&k->config);
        status = status >= 0 ? status : kvd_main(k);
    }
    kv_mem_free(k);
    return status;
}
