/* jepsen/nemesis/files.c - corrupt, rollback, wipe, clone: a node's files. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "jepsen/nemesis/nemesis_own.h"
#include "raft/base/err.h"

enum {
    REFUSE_MS = 10000, /* For a node to find out and say so. */
    LOOK_MS = 50,
    SETTLE_MS = 1500,  /* A damaged node that has not ended by then goes on. */
    ROLLBACK_MS = 500, /* The node's files become that old. */
    DAMAGE_FILES = 2,  /* The log and the state are the largest. */
    LOG_BYTES = 65536,
};

/* A node of the minority that may be damaged, and is up. */
static bool victim_draw(struct nemesis *n, struct nemesis_fault *f,
                        struct nemesis_outcome *out)
{
    uint32_t mask = n->victims & cluster_up(n->c);

    f->mask = 0;
    if (mask == 0) {
        return nemesis_blame(out, "no node that may be damaged is up");
    }
    f->mask = CLUSTER_BIT(targets_any(&f->prng, mask));
    n->damaged |= f->mask;
    return true;
}

static uint32_t node_of(const struct nemesis_fault *f)
{
    return (uint32_t)__builtin_ctz(f->mask) + 1;
}

/* Starts the node; whether it stays up is looked at later. */
static void start_anyway(struct nemesis *n, const struct nemesis_fault *f)
{
    if (cluster_start(n->c, f->mask) != 0) {
        return; /* Then it is not up, and everybody will see that. */
    }
}

static off_t log_size(struct nemesis *n, uint32_t node)
{
    struct cluster_node_info info;
    struct stat st;

    cluster_node(n->c, node, &info);
    return stat(info.log_path, &st) == 0 ? st.st_size : 0;
}

/* Does the node's log say a text behind `from`? */
static bool log_says(struct nemesis *n, uint32_t node, off_t from, const char *what)
{
    char text[LOG_BYTES + 1];
    struct cluster_node_info info;
    ssize_t len = 0;
    int fd;

    cluster_node(n->c, node, &info);
    fd = open(info.log_path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        len = pread(fd, text, LOG_BYTES, from);
        (void)close(fd);
    }
    text[len > 0 ? len : 0] = '\0';
    return strstr(text, what) != NULL;
}

/* ---- corrupt ---- */

static bool corrupt_begin(struct nemesis *n, struct nemesis_fault *f,
                          struct nemesis_outcome *out)
{
    struct fault_damage_how how = {.kind = FAULT_BITFLIP, .seed = prng_next(&f->prng)};
    char file[CLUSTER_PATH_BYTES];
    const char *name;
    uint32_t node;
    bool up;

    if (!victim_draw(n, f, out)) {
        return false;
    }
    node = node_of(f);
    how.amount = prng_between(&f->prng, 1, 64);
    if (strcmp(f->word, "truncate") == 0) {
        how.kind = FAULT_TRUNCATE;
        how.amount *= 4096;
    } else if (strcmp(f->word, "copy") == 0) {
        how.kind = FAULT_COPY;
    }
    cluster_kill(n->c, f->mask);
    if (fault_save(n->c, node) != 0 ||
        fault_damage(n->c, node, (uint32_t)prng_below(&f->prng, DAMAGE_FILES), &how,
                     file) != 0) {
        return nemesis_blame(out, "%s", cluster_error(n->c));
    }
    start_anyway(n, f);
    nemesis_sleep_ms(SETTLE_MS);
    up = (cluster_up(n->c) & f->mask) != 0;
    name = strstr(file, "/data/");
    nemesis_say(out, "{:node %u, :file \"%.80s\", :%s %llu, :then :%s}", node,
                name != NULL ? name + 6 : file, f->word, (unsigned long long)how.amount,
                up ? "runs" : "refused");
    return true;
}

/* A node that refused gets its files back as they were before the damage: as if it
 * had been down all the time. One that runs has healed, or has still to notice. */
static bool files_end(struct nemesis *n, struct nemesis_fault *f,
                      struct nemesis_outcome *out)
{
    bool up;

    if (f->mask == 0) {
        return nemesis_blame(out, "it had not begun");
    }
    up = (cluster_up(n->c) & f->mask) != 0;
    nemesis_say(out, "{:node %u, :%s true}", node_of(f), up ? "runs" : "restored");
    if (up) {
        return true;
    }
    if (fault_restore(n->c, node_of(f)) != 0) {
        return nemesis_blame(out, "%s", cluster_error(n->c));
    }
    return nemesis_start(n, f->mask, out);
}

const struct nemesis_action nemesis_corrupt = {
    .kind = {"corrupt", "bitflip truncate copy",
             "a file of a node of one minority is damaged while the node is down",
             false, false, false},
    .f_begin = "corrupt",
    .f_end = "restore",
    .begin = corrupt_begin,
    .end = files_end,
};

/* ---- rollback ---- */

static bool rollback_begin(struct nemesis *n, struct nemesis_fault *f,
                           struct nemesis_outcome *out)
{
    uint32_t node;

    if (!victim_draw(n, f, out)) {
        return false;
    }
    node = node_of(f);
    if (fault_save(n->c, node) != 0) {
        return nemesis_blame(out, "%s", cluster_error(n->c));
    }
    nemesis_sleep_ms(ROLLBACK_MS);
    cluster_kill(n->c, f->mask);
    if (fault_restore(n->c, node) != 0) {
        return nemesis_blame(out, "%s", cluster_error(n->c));
    }
    start_anyway(n, f);
    nemesis_sleep_ms(SETTLE_MS);
    nemesis_say(out, "{:node %u, :back-ms %d, :then :%s}", node, ROLLBACK_MS,
                (cluster_up(n->c) & f->mask) != 0 ? "runs" : "refused");
    return true;
}

const struct nemesis_action nemesis_rollback = {
    .kind = {"rollback", "one",
             "the files of a node of one minority are half a second old again", false,
             false, false},
    .f_begin = "rollback",
    .f_end = "restore",
    .begin = rollback_begin,
    .end = files_end,
};

/* ---- wipe, clone: must be refused ---- */

/* Starts the node and waits until it has ended and its log says why. */
static bool refusal_wait(struct nemesis *n, struct nemesis_fault *f, const char *why,
                         off_t log, struct nemesis_outcome *out)
{
    uint32_t node = node_of(f);

    start_anyway(n, f);
    for (uint32_t ms = 0; ms < REFUSE_MS; ms += LOOK_MS) {
        if ((cluster_up(n->c) & f->mask) == 0 && log_says(n, node, log, why)) {
            return true;
        }
        nemesis_sleep_ms(LOOK_MS);
    }
    out->wrong = true; /* It may have taken part with what it does not know. */
    return nemesis_blame(out, "node %u did not end with: %s", node, why);
}

/* The node gets its own files back, whatever it does now. */
static bool own_files_end(struct nemesis *n, struct nemesis_fault *f,
                          struct nemesis_outcome *out)
{
    if (f->mask == 0) {
        return nemesis_blame(out, "it had not begun");
    }
    cluster_kill(n->c, f->mask);
    nemesis_say(out, "{:node %u, :restored true}", node_of(f));
    if (fault_restore(n->c, node_of(f)) != 0) {
        return nemesis_blame(out, "%s", cluster_error(n->c));
    }
    return nemesis_start(n, f->mask, out);
}

static bool wipe_begin(struct nemesis *n, struct nemesis_fault *f,
                       struct nemesis_outcome *out)
{
    off_t log;

    if (!victim_draw(n, f, out)) {
        return false;
    }
    cluster_kill(n->c, f->mask);
    log = log_size(n, node_of(f));
    if (fault_save(n->c, node_of(f)) != 0 || fault_wipe(n->c, node_of(f)) != 0) {
        return nemesis_blame(out, "%s", cluster_error(n->c));
    }
    nemesis_say(out, "{:node %u, :expect :refused}", node_of(f));
    return refusal_wait(n, f, "was lost or replaced", log, out);
}

const struct nemesis_action nemesis_wipe = {
    .kind = {"wipe", "one", "a node starts with an empty folder and must be refused",
             false, false, false},
    .f_begin = "wipe",
    .f_end = "restore",
    .begin = wipe_begin,
    .end = own_files_end,
};

static bool clone_begin(struct nemesis *n, struct nemesis_fault *f,
                        struct nemesis_outcome *out)
{
    bool shared = strcmp(f->word, "shared") == 0;
    off_t log;
    uint32_t from;
    uint32_t others;

    if (!victim_draw(n, f, out)) {
        return false;
    }
    others = cluster_up(n->c) & ~f->mask;
    if (others == 0) {
        return nemesis_blame(out, "no other node is up");
    }
    from = targets_any(&f->prng, others);
    cluster_kill(n->c, f->mask);
    log = log_size(n, node_of(f));
    if (fault_save(n->c, node_of(f)) != 0 ||
        fault_clone(n->c, from, node_of(f), shared) != 0) {
        return nemesis_blame(out, "%s", cluster_error(n->c));
    }
    nemesis_say(out, "{:node %u, :%s-of %u, :expect :refused}", node_of(f), f->word,
                from);
    return refusal_wait(
        n, f, shared ? "is in use by another process" : "belongs to node", log, out);
}

const struct nemesis_action nemesis_clone = {
    .kind =
        {"clone", "copy shared",
         "a node starts with another's folder, or a copy of it, and must be refused",
         false, false, false},
    .f_begin = "clone",
    .f_end = "restore",
    .begin = clone_begin,
    .end = own_files_end,
};
