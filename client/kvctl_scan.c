/* client/kvctl_scan.c - what commands over many keys share, and deleting a range.
 *
 * They go step by step: each has the timeout for itself, progress is shown to people,
 * and whoever is interrupted is told where to go on.
 */
#include <stdio.h>
#include <unistd.h>
#include <uv.h>

#include "client/kvctl.h"

enum {
    SCAN_PROGRESS_MS = 200,
    SCAN_KEY_MAX = 480,
    NS_PER_MS = 1000 * 1000,
};

/* ---- progress ---- */

void ctl_progress_show(struct ctl_progress *p, uint64_t count, const char *unit)
{
    uint64_t now_ms = uv_hrtime() / NS_PER_MS;

    p->count = count;
    if (isatty(STDERR_FILENO) && now_ms >= p->shown_ms + SCAN_PROGRESS_MS) {
        p->shown_ms = now_ms;
        fprintf(stderr, "\r%llu %s %s", (unsigned long long)count, unit, p->what);
    }
}

void ctl_progress_end(const struct ctl_progress *p)
{
    if (p->shown_ms != 0) {
        (void)fputc('\n', stderr);
    }
}

/* ---- bounds ---- */

size_t ctl_prefix_end(const char *prefix, uint8_t *out)
{
    size_t len = strlen(prefix);

    memcpy(out, prefix, len);
    while (len > 0 && out[len - 1] == 0xff) {
        len--;
    }
    if (len > 0) {
        out[len - 1]++;
    }
    return len;
}

static int hex_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t ctl_unescape(const char *text, uint8_t *out, size_t room)
{
    size_t len = 0;

    for (const char *p = text; *p != '\0' && len < room; len++) {
        if (p[0] == '\\' && p[1] == 'x' && hex_of(p[2]) >= 0 && hex_of(p[3]) >= 0) {
            out[len] = (uint8_t)(hex_of(p[2]) << 4 | hex_of(p[3]));
            p += 4;
        } else {
            out[len] = (uint8_t)*p++;
        }
    }
    return len;
}

/* ---- del --range, del --prefix ---- */

/* Where a range delete stands. */
struct scan_del {
    uint8_t begin[SCAN_KEY_MAX + 1];
    size_t begin_len;
    uint8_t end[SCAN_KEY_MAX + 1];
    size_t end_len;
    struct ctl_progress progress; /* Its count: keys that are certainly deleted. */
};

/* Bounds out of the command line. CTL_OK, or CTL_USAGE after a message. */
static int del_bounds(const struct ctl *ctl, struct scan_del *d)
{
    bool is_prefix = ctl_has(ctl, CTL_OPT_PREFIX);
    const char *from = ctl->values[CTL_OPT_FROM];
    const char *begin;

    if (is_prefix == ctl_has(ctl, CTL_OPT_RANGE) ||
        ctl->words_count != (is_prefix ? 0 : 2)) {
        return ctl_fail(CTL_USAGE, "del takes KEY, or --prefix P, or --range BEGIN END "
                                   "(\"\" as END: to the last key)");
    }
    if (ctl_has(ctl, CTL_OPT_IF_REV) || ctl_has(ctl, CTL_OPT_IDEM)) {
        return ctl_fail(CTL_USAGE, "--if-rev and --idem are for one key");
    }
    begin = is_prefix ? ctl->values[CTL_OPT_PREFIX] : ctl->words[0];
    if (strlen(begin) > SCAN_KEY_MAX ||
        (!is_prefix && strlen(ctl->words[1]) > SCAN_KEY_MAX)) {
        return ctl_fail(CTL_USAGE, "a prefix or bound is longer than 480 bytes");
    }
    if (is_prefix && begin[0] == '\0') {
        return ctl_fail(CTL_USAGE,
                        "the prefix is empty; all keys are --range \"\" \"\"");
    }
    if (is_prefix) {
        d->end_len = ctl_prefix_end(begin, d->end);
    } else {
        d->end_len = strlen(ctl->words[1]);
        memcpy(d->end, ctl->words[1], d->end_len);
    }
    if (from == NULL) {
        d->begin_len = strlen(begin);
        memcpy(d->begin, begin, d->begin_len);
    } else {
        d->begin_len = ctl_unescape(from, d->begin, sizeof d->begin);
    }
    if (from != NULL &&
        kv_bytes_compare(kv_bytes(d->begin, d->begin_len), kv_bytes_str(begin)) < 0) {
        return ctl_fail(CTL_USAGE, "--from lies before the range");
    }
    return CTL_OK;
}

/* Step by step, to the end or the first failure. */
static int del_steps(struct ctl *ctl, struct scan_del *d)
{
    const struct kv_result *r;
    bool more = true;
    int status;

    while (more) {
        /* The timeout is for each step: nobody knows how long all will take. */
        ctl->deadline_at = uv_hrtime() / NS_PER_MS + ctl->timeout_ms;
        status = ctl_call(
            ctl,
            kv_delrange(kv_mem(d->begin, d->begin_len), kv_mem(d->end, d->end_len)),
            &r);
        if (status != CTL_OK) {
            return status;
        }
        ctl_progress_show(&d->progress, d->progress.count + (uint64_t)r->number,
                          "keys");
        more = r->more && r->next.len <= sizeof d->begin;
        if (more) {
            d->begin_len = r->next.len;
            memcpy(d->begin, r->next.data, d->begin_len);
        }
        kv_result_free(r);
    }
    return CTL_OK;
}

static void del_print(struct ctl *ctl, const struct scan_del *d, bool is_complete)
{
    json_t *out;

    if (ctl->format == CTL_JSON) {
        out = json_object();
        ctl_json_set(out, "deleted", json_integer((json_int_t)d->progress.count));
        ctl_json_set(out, "complete", json_boolean(is_complete));
        if (!is_complete) {
            ctl_json_bytes(out, "next", kv_mem(d->begin, d->begin_len));
        }
        ctl_json_print(out);
    } else if (is_complete) {
        printf("%llu\n", (unsigned long long)d->progress.count);
    }
}

int ctl_del_range(struct ctl *ctl)
{
    struct scan_del d = {.progress = {.what = "deleted"}};
    int status = del_bounds(ctl, &d);

    if (status == CTL_OK) {
        status = ctl_open(ctl);
    }
    if (status != CTL_OK) {
        return status;
    }
    status = del_steps(ctl, &d);
    ctl_progress_end(&d.progress);
    del_print(ctl, &d, status == CTL_OK);
    if (status != CTL_OK) {
        fprintf(stderr,
                "kvctl: %llu keys are certainly deleted; go on with: --from '%s'\n",
                (unsigned long long)d.progress.count,
                ctl_escape(ctl, kv_mem(d.begin, d.begin_len)));
        return status;
    }
    return d.progress.count > 0 ? CTL_OK : CTL_NO;
}
