/* client/kvctl_lock.c - the commands lock, sem and election: a command under a lock.
 *
 * The command runs while kvctl keeps the lease alive. When the lock is lost, or its
 * lease may have run out because nobody answers, the command is told to end (SIGTERM),
 * and ended 5 s later (SIGKILL). Time counts from before a call was sent.
 */
#include "client/kvctl.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

enum {
    LOCK_TTL_MS_DEFAULT = 10000,
    LOCK_TTL_MS_MIN = 1000,
    LOCK_KILL_MS = 5000, /* Between SIGTERM and SIGKILL. */
    LOCK_LOOK_MS = 50,   /* How long a wait for signals is at most. */
    LOCK_PAUSE_MS = 200, /* Behind an answer that did not help. */
    LOCK_CALL_MS_MAX = 60000,
    LOCK_LEAVE_MS = 2000,  /* For giving back what a lease would end anyway. */
    LOCK_OWNER_BYTES = 33, /* 128 bits in hex. */
    NS_PER_MS = 1000 * 1000,
    EXIT_NOT_FOUND = 127, /* As a shell says it. */
    EXIT_SIGNAL = 128,
};

/* One lock on its way. */
struct ctl_lock {
    struct ctl *ctl;
    const char *name;
    struct kv_request ask; /* What acquire says. */
    char owner[LOCK_OWNER_BYTES];
    uint32_t ttl_ms;
    uint64_t wait_until;  /* UINT64_MAX: as long as somebody answers. */
    uint64_t answered_at; /* When somebody did last, or we began. */
    bool has_told;        /* That nobody answers. */
    uint64_t token;
    uint64_t valid_until; /* The lease holds until then for certain. */
    uint64_t keepalive_at;
    pid_t child;
    uint64_t kill_at; /* SIGKILL then; 0: it was not told to end. */
    bool is_lost;
};

static uint64_t now_ms(void)
{
    return uv_hrtime() / NS_PER_MS;
}

static void pause_ms(uint32_t ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * NS_PER_MS};

    (void)nanosleep(&t, NULL);
}

/* ---- options ---- */

/* Reads a time option; *out as it was where it is not given. */
static int time_option(const struct ctl *ctl, enum ctl_option option, uint32_t *out)
{
    const char *text = ctl->values[option];

    if (!ctl_has(ctl, option)) {
        return CTL_OK;
    }
    *out = ctl_time_parse(text);
    if (*out == 0 && strcmp(text, "0") != 0 && strcmp(text, "0s") != 0) {
        return ctl_fail(CTL_USAGE, "\"%s\" is not a time; write it like: 10s", text);
    }
    return CTL_OK;
}

static int owner_draw(struct ctl_lock *l)
{
    uint8_t bytes[(LOCK_OWNER_BYTES - 1) / 2];

    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) {
        return ctl_fail(CTL_DATA, "no random bytes: %s", strerror(errno));
    }
    for (size_t i = 0; i < sizeof bytes; i++) {
        (void)snprintf(l->owner + 2 * i, 3, "%02x", bytes[i]);
    }
    return CTL_OK;
}

static int lock_begin(struct ctl *ctl, struct ctl_lock *l)
{
    uint32_t ttl_ms = LOCK_TTL_MS_DEFAULT;
    uint32_t wait_ms = 0;
    int status = time_option(ctl, CTL_OPT_TTL, &ttl_ms);

    *l = (struct ctl_lock){.ctl = ctl, .name = ctl->words[0]};
    if (status == CTL_OK) {
        status = time_option(ctl, CTL_OPT_WAIT, &wait_ms);
    }
    if (status == CTL_OK && ttl_ms < LOCK_TTL_MS_MIN) {
        status = ctl_fail(CTL_USAGE, "a lease of less than 1s is lost by accident");
    }
    if (status == CTL_OK) {
        status = owner_draw(l);
    }
    if (status == CTL_OK) {
        status = ctl_open(ctl);
    }
    if (status != CTL_OK) {
        return status;
    }
    l->ttl_ms = ttl_ms;
    l->wait_until = ctl_has(ctl, CTL_OPT_WAIT) ? now_ms() + wait_ms : UINT64_MAX;
    l->answered_at = now_ms();
    l->ask = kv_lock(kv_str(l->name), kv_str(l->owner));
    l->ask.ttl_ms = ttl_ms;
    return CTL_OK;
}

/* ---- getting it ---- */

/* Gives back whatever the owner has or waits for. */
static void lock_leave(struct ctl_lock *l)
{
    struct kv_request q = kv_lock_release(kv_str(l->name), l->token);

    q.owner = l->token == 0 ? kv_str(l->owner) : kv_mem("", 0);
    q.deadline_ms =
        KV_MIN(KV_MIN(l->ctl->timeout_ms, l->ttl_ms), (uint32_t)LOCK_LEAVE_MS);
    kv_result_free(kv_wait(l->ctl->client, q));
}

/* It got an error instead of an answer. CTL_NO: ask again; else the end: what asking
 * again does not help, or the time is over. */
static int lock_unanswered(struct ctl_lock *l, const struct kv_result *r)
{
    bool is_over = l->wait_until == UINT64_MAX
                       ? now_ms() >= l->answered_at + l->ctl->timeout_ms
                       : now_ms() >= l->wait_until;

    if (is_over || r->error == KV_ERR_BAD_REQUEST || r->error == KV_ERR_INVALID) {
        return ctl_result_fail(l->ctl, r);
    }
    if (!l->has_told) {
        (void)ctl_fail(CTL_NO, "waiting for %s: %s: %s", l->name, kv_errname(r->error),
                       r->text);
        l->has_told = true;
    }
    pause_ms(LOCK_PAUSE_MS);
    return CTL_NO;
}

/* Asks once. CTL_NO: not yet, ask again; another status is the end. */
static int lock_ask(struct ctl_lock *l)
{
    uint64_t begin = now_ms();
    uint64_t left = l->wait_until > begin ? l->wait_until - begin : 0;
    const struct kv_result *r;
    int status;

    l->ask.wait_ms = (uint32_t)KV_MIN(left, (uint64_t)2 * LOCK_CALL_MS_MAX);
    l->ask.deadline_ms = KV_MIN(l->ctl->timeout_ms, (uint32_t)LOCK_CALL_MS_MAX);
    r = kv_wait(l->ctl->client, l->ask);
    if (r->error == 0) {
        l->answered_at = now_ms();
    }
    if (r->error == 0 && r->held) {
        l->token = r->token;
        l->valid_until = begin + r->ttl_ms;
        l->keepalive_at = begin + r->ttl_ms / 3;
        status = CTL_OK;
    } else if (r->error == 0) {
        status = CTL_NO;
    } else {
        status = lock_unanswered(l, r);
    }
    kv_result_free(r);
    return status;
}

/* Gets it, or says why not. A grant that was slow is no grant: its time may be over. */
static int lock_get(struct ctl_lock *l)
{
    int status;

    do {
        status = lock_ask(l);
        if (status == CTL_OK && now_ms() >= l->valid_until) {
            lock_leave(l);
            l->token = 0;
            status = CTL_NO;
        }
    } while (status == CTL_NO && now_ms() < l->wait_until);
    if (status == CTL_NO) {
        lock_leave(l);
        return ctl_fail(CTL_NO, "%s is held by somebody else. See: kvctl lock info %s",
                        l->name, l->name);
    }
    if (status != CTL_OK && status != CTL_CONNECT) {
        lock_leave(l);
    }
    return status;
}

/* ---- keeping it ---- */

static void lock_keep(struct ctl_lock *l)
{
    uint64_t begin = now_ms();
    struct kv_request q = kv_lock_keepalive(kv_str(l->name), l->token);
    const struct kv_result *r;

    if (begin >= l->valid_until) {
        (void)ctl_fail(CTL_UNKNOWN, "%s is lost: nobody confirmed its lease in time",
                       l->name);
        l->is_lost = true;
        return;
    }
    q.deadline_ms = (uint32_t)KV_MIN((uint64_t)l->ttl_ms / 3, l->valid_until - begin);
    r = kv_wait(l->ctl->client, q);
    if (r->error == 0) {
        l->valid_until = begin + r->ttl_ms;
        l->keepalive_at = begin + r->ttl_ms / 3;
    } else if (r->error == KV_ERR_FENCED) {
        (void)ctl_fail(CTL_NO, "%s is lost: %s", l->name, r->text);
        l->is_lost = true;
    } else {
        l->keepalive_at = now_ms() + LOCK_PAUSE_MS;
    }
    kv_result_free(r);
}

/* ---- the command ---- */

static void signals_of(sigset_t *out)
{
    (void)sigemptyset(out);
    (void)sigaddset(out, SIGCHLD);
    (void)sigaddset(out, SIGINT);
    (void)sigaddset(out, SIGTERM);
    (void)sigaddset(out, SIGHUP);
}

/* Starts the command with KVCTL_FENCE. CTL_OK or an exit status. */
static int child_start(struct ctl_lock *l, const char *const *words)
{
    const char *fence =
        ctl_text(l->ctl, "%s:%llu", l->name, (unsigned long long)l->token);
    sigset_t set;

    (void)fflush(stdout);
    l->child = fork();
    if (l->child < 0) {
        return ctl_fail(CTL_DATA, "cannot start a process: %s", strerror(errno));
    }
    if (l->child > 0) {
        return CTL_OK;
    }
    signals_of(&set);
    (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
    if (setenv("KVCTL_FENCE", fence, 1) == 0 &&
        setenv("KVCTL_ENDPOINTS", l->ctl->endpoints, 1) == 0) {
        (void)execvp(words[0], (char *const *)(uintptr_t)words);
    }
    _exit(ctl_fail(EXIT_NOT_FOUND, "cannot run %s: %s", words[0], strerror(errno)));
}

/* Has it ended? Then *out is its status, as a shell would say it. */
static bool child_ended(struct ctl_lock *l, int *out)
{
    int status;

    if (waitpid(l->child, &status, WNOHANG) != l->child) {
        return false;
    }
    *out = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_SIGNAL + WTERMSIG(status);
    return true;
}

static void child_end(struct ctl_lock *l)
{
    if (l->kill_at == 0) {
        l->kill_at = now_ms() + LOCK_KILL_MS;
        (void)kill(l->child, SIGTERM);
    } else if (now_ms() >= l->kill_at) {
        (void)kill(l->child, SIGKILL);
    }
}

/* Runs the command to its end; its status. */
static int child_run(struct ctl_lock *l, const char *const *words)
{
    const struct timespec look = {.tv_sec = 0, .tv_nsec = LOCK_LOOK_MS * NS_PER_MS};
    sigset_t set;
    int status;

    signals_of(&set);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    status = child_start(l, words);
    if (status != CTL_OK) {
        return status;
    }
    while (!child_ended(l, &status)) {
        int got = sigtimedwait(&set, NULL, &look);

        if (got == SIGTERM || got == SIGHUP) {
            (void)kill(l->child, got); /* SIGINT comes to it from the terminal. */
        }
        if (!l->is_lost && now_ms() >= l->keepalive_at) {
            lock_keep(l);
        }
        if (l->is_lost) {
            child_end(l);
        }
    }
    return status;
}

static int lock_run(struct ctl_lock *l, const char *const *words)
{
    int status = lock_get(l);

    if (status != CTL_OK) {
        return status;
    }
    status = child_run(l, words);
    if (!l->is_lost) {
        lock_leave(l);
    }
    return status;
}

/* ---- looking ---- */

static int info_print(struct ctl *ctl, const char *name)
{
    const char *const heads[] = {"TOKEN", "OWNER", "VALUE"};
    const struct kv_result *r;
    struct ctl_table t;
    int status = ctl_call(ctl, kv_lock_info(kv_str(name)), &r);

    if (status != CTL_OK) {
        return status;
    }
    if (ctl->format == CTL_JSON) {
        json_t *out = json_object();
        json_t *holders = json_array();

        for (size_t i = 0; i < r->items_count; i++) {
            json_t *holder = json_object();

            ctl_json_set(holder, "token", json_integer((json_int_t)r->items[i].rev));
            ctl_json_bytes(holder, "owner", r->items[i].key);
            ctl_json_bytes(holder, "value", r->items[i].value);
            (void)json_array_append_new(holders, holder);
        }
        ctl_json_set(out, "holders", holders);
        ctl_json_set(out, "permits", json_integer(r->permits));
        ctl_json_set(out, "waiting", json_integer(r->waiting));
        ctl_json_print(out);
    } else {
        ctl_table_begin(&t, ctl, (uint32_t)r->items_count, heads, 3);
        for (size_t i = 0; i < r->items_count; i++) {
            const char *const cells[] = {
                ctl_text(ctl, "%llu", (unsigned long long)r->items[i].rev),
                ctl_escape(ctl, r->items[i].key), ctl_escape(ctl, r->items[i].value)};

            ctl_table_row(&t, cells);
        }
        ctl_table_print(&t);
        printf("%zu of %u permits held, %u waiting\n", r->items_count, r->permits,
               r->waiting);
    }
    status = r->items_count > 0 ? CTL_OK : CTL_NO;
    kv_result_free(r);
    return status;
}

/* ---- commands ---- */

int ctl_lock(struct ctl *ctl)
{
    struct ctl_lock l;
    int status;

    if (ctl->words_count == 2 && strcmp(ctl->words[0], "info") == 0) {
        return info_print(ctl, ctl->words[1]);
    }
    if (ctl->words_count < 2) {
        return ctl_fail(CTL_USAGE, "which command? Write it like: kvctl lock NAME -- "
                                   "COMMAND");
    }
    status = lock_begin(ctl, &l);
    return status != CTL_OK ? status : lock_run(&l, ctl->words + 1);
}

int ctl_sem(struct ctl *ctl)
{
    struct ctl_lock l;
    unsigned long permits;
    char *end;
    int status;

    if (ctl->words_count == 2 && strcmp(ctl->words[0], "info") == 0) {
        return info_print(ctl, ctl->words[1]);
    }
    permits = strtoul(ctl->words[1], &end, 10);
    if (ctl->words_count < 3 || *end != '\0' || permits < 1 || permits > 512) {
        return ctl_fail(CTL_USAGE,
                        "write it like: kvctl sem NAME 3 -- COMMAND, with 1 to 512 "
                        "permits");
    }
    status = lock_begin(ctl, &l);
    l.ask.permits = (uint32_t)permits;
    return status != CTL_OK ? status : lock_run(&l, ctl->words + 2);
}

int ctl_election(struct ctl *ctl)
{
    struct ctl_lock l;
    int status;

    if (ctl->words_count == 1) {
        return info_print(ctl, ctl->words[0]);
    }
    if (ctl->words_count < 3) {
        return ctl_fail(CTL_USAGE,
                        "write it like: kvctl election NAME VALUE -- COMMAND");
    }
    status = lock_begin(ctl, &l);
    l.ask.value = kv_str(ctl->words[1]);
    return status != CTL_OK ? status : lock_run(&l, ctl->words + 2);
}

int ctl_fence(struct ctl *ctl, struct kv_request *request)
{
    const char *text = ctl_has(ctl, CTL_OPT_FENCE) ? ctl->values[CTL_OPT_FENCE]
                                                   : getenv("KVCTL_FENCE");
    const char *colon = text == NULL ? NULL : strrchr(text, ':');
    char *end = NULL;

    if (text == NULL || text[0] == '\0') {
        return CTL_OK;
    }
    errno = 0;
    if (colon != NULL && colon > text && colon[1] >= '1' && colon[1] <= '9') {
        request->fence_token = strtoull(colon + 1, &end, 10);
    }
    if (end == NULL || *end != '\0' || errno != 0) {
        return ctl_fail(CTL_USAGE, "\"%s\" is not a fence; write it like: NAME:TOKEN",
                        text);
    }
    request->fence_lock = kv_mem(text, (size_t)(colon - text));
    return CTL_OK;
}
