/* tests/lib/bug.c - names and texts of the planted bugs. */
#include "tests/lib/bug.h"

#include <stddef.h>
#include <string.h>

static const struct {
    const char *name;
    const char *what;
    const char *seen;
} bugs[] = {{"none", "nothing", ""},
#ifdef KV_MUTANTS
#define BUG_ROW(name, what, seen) {#name, what, seen},
            KV_BUG_MAP(BUG_ROW)
#undef BUG_ROW
#endif
};

static const uint32_t bugs_count = sizeof bugs / sizeof bugs[0];

uint32_t bug_find(const char *name)
{
    for (uint32_t i = 0; name != NULL && i < bugs_count; i++) {
        if (strcmp(bugs[i].name, name) == 0) {
            return i;
        }
    }
    return 0;
}

const char *bug_what(uint32_t bug)
{
    return bug < bugs_count ? bugs[bug].what : "";
}

const char *bug_seen(uint32_t bug)
{
    return bug < bugs_count ? bugs[bug].seen : "";
}

const char *bug_name(uint32_t bug)
{
    return bug < bugs_count ? bugs[bug].name : NULL;
}
