/* client/kvctl_token.c - session tokens from run to run: a file with one line of hex.
 */
#include "client/kvctl.h"

#include <errno.h>
#include <stdio.h>

enum {
    TOKEN_BYTES_MAX = 16 * 1024, /* Longer than any. */
};

static int digit(int c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Reads hex up to the end of the line. Returns bytes, 0 when it is none. */
static size_t hex_read(const char *text, size_t len, uint8_t *out)
{
    while (len > 0 && (uint8_t)text[len - 1] <= ' ') {
        len--;
    }
    for (size_t i = 0; i < len; i += 2) {
        int high = digit(text[i]);
        int low = i + 1 < len ? digit(text[i + 1]) : -1;

        if (high < 0 || low < 0) {
            return 0;
        }
        out[i / 2] = (uint8_t)(high << 4 | low);
    }
    return len / 2;
}

int ctl_token_load(struct ctl *ctl)
{
    const char *path = ctl->values[CTL_OPT_TOKEN];
    char *text;
    uint8_t *bytes;
    size_t len;
    FILE *file;

    if (!ctl_has(ctl, CTL_OPT_TOKEN)) {
        return CTL_OK;
    }
    file = fopen(path, "re");
    if (file == NULL && errno == ENOENT) {
        return CTL_OK; /* It begins with this run. */
    }
    if (file == NULL) {
        return ctl_fail(CTL_DATA, "cannot read the token in %s: %s", path,
                        strerror(errno));
    }
    text = arena_alloc(&ctl->arena, 2 * TOKEN_BYTES_MAX + 1);
    bytes = arena_alloc(&ctl->arena, TOKEN_BYTES_MAX + 1);
    len = text == NULL ? 0 : fread(text, 1, 2 * TOKEN_BYTES_MAX, file);
    (void)fclose(file);
    if (text == NULL || bytes == NULL) {
        return ctl_fail(CTL_DATA, "out of memory");
    }
    len = hex_read(text, len, bytes);
    if (len == 0 || kv_token_add(ctl->client, kv_mem(bytes, len)) != 0) {
        return ctl_fail(CTL_DATA,
                        "%s holds no token. Take the right file, or delete it to begin "
                        "with nothing seen",
                        path);
    }
    return CTL_OK;
}

int ctl_token_save(struct ctl *ctl)
{
    const char *path = ctl->values[CTL_OPT_TOKEN];
    struct kv_view token = kv_token(ctl->client);
    const uint8_t *bytes = token.data;
    bool is_bad;
    FILE *file;

    if (!ctl_has(ctl, CTL_OPT_TOKEN) || token.len == 0) {
        return CTL_OK;
    }
    file = fopen(path, "we");
    if (file == NULL) {
        return ctl_fail(CTL_DATA, "cannot write the token to %s: %s", path,
                        strerror(errno));
    }
    for (size_t i = 0; i < token.len; i++) {
        (void)fprintf(file, "%02x", bytes[i]);
    }
    (void)fputc('\n', file);
    is_bad = ferror(file) != 0;
    if (fclose(file) != 0 || is_bad) {
        return ctl_fail(CTL_DATA, "cannot write the token to %s", path);
    }
    return CTL_OK;
}
