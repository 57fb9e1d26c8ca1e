/* client/examples/sync.c - writes a key and reads it back, blocking. */
#include "client/kv.h"
#include <stdio.h>

int main(int argc, char **argv)
{
    struct kv_client *c = NULL;
    const struct kv_result *r;

    if (kv_open(argc > 1 ? argv[1] : "127.0.0.1:7410,127.0.0.1:7420", &c) != 0) {
        return 2;
    }
    kv_result_free(kv_wait(c, kv_put(kv_str("greeting"), kv_str("hello"))));
    r = kv_wait(c, kv_get(kv_str("greeting")));
    fprintf(stdout, "%.*s%s\n", (int)r->value.len, (const char *)r->value.data,
            r->text);
    kv_result_free(r);
    kv_free(c);
    return 0;
}
