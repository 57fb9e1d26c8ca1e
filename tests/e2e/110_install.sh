#!/bin/bash
# tests/e2e/110_install.sh - make install, and a program that uses the installed libkv.
. "$(dirname "$0")/lib.sh"
plan 14

dest=$work/dest
ok "make install into DESTDIR" make install DESTDIR="$dest" PREFIX=/usr LIBDIR=/usr/lib/kv
for f in /usr/bin/kvd /usr/bin/kvctl /usr/lib/kv/libkv.a /usr/lib/kv/libkv.so.0 \
  /usr/include/kv.h /usr/lib/kv/pkgconfig/libkv.pc; do
  ok "$f is there" test -e "$dest$f"
done
cat > "$work/use.c" << 'C'
#include <kv.h>
#include <stdio.h>
int main(void)
{
    struct kv_client *c = NULL;
    const struct kv_result *r;
    if (kv_open("127.0.0.1:1", &c) != 0) {
        return 1;
    }
    r = kv_wait(c, kv_get(kv_str("greeting")));
    printf("%s %s\n", kv_version(), kv_errname(r->error));
    kv_result_free(r);
    kv_free(c);
    return 0;
}
C
pc() { PKG_CONFIG_PATH=$dest/usr/lib/kv/pkgconfig PKG_CONFIG_SYSROOT_DIR=$dest pkg-config "$@"; }
use_shared() {
  # shellcheck disable=SC2046
  gcc -Wall -Wextra -Werror $(pc --cflags libkv) "$work/use.c" -o "$work/shared" $(pc --libs libkv) &&
    LD_LIBRARY_PATH=$dest/usr/lib/kv "$work/shared" | grep -q '^0\.1\.0 '
}
use_static() {
  # shellcheck disable=SC2046
  gcc -Wall -Wextra -Werror $(pc --cflags libkv) "$work/use.c" -o "$work/static" \
    "$dest/usr/lib/kv/libkv.a" $(pc --libs --static libkv | sed 's/-lkv//') && "$work/static" | grep -q '^0\.1\.0 '
}
ok "a program links with the shared library" use_shared
ok "and with the static one" use_static
# A program may have functions of its own with the names of our inner ones.
cat > "$work/names.c" << 'C'
const char *buf_init(void);
const char *map_free(void);
const char *buf_init(void)
{
    return "buf_init of the program";
}
const char *map_free(void)
{
    return "map_free of the program";
}
C
static_exports() {
  nm -g --defined-only "$dest/usr/lib/kv/libkv.a" | awk 'NF == 3 { print $3 }' | sort > "$work/defined"
  grep -oE '\bkv_[a-z_]+;' client/libkv.map | tr -d ';' | sort | diff - "$work/defined"
}
ok "the static library defines what the shared one exports, and nothing else" static_exports
use_names() {
  # shellcheck disable=SC2046
  gcc -Wall -Wextra -Werror $(pc --cflags libkv) "$work/use.c" "$work/names.c" -o "$work/names" \
    "$dest/usr/lib/kv/libkv.a" $(pc --libs --static libkv | sed 's/-lkv//') && "$work/names" | grep -q '^0\.1\.0 '
}
ok "names of the program's own do not disturb it" use_names
exports() { ! nm -D --defined-only "$dest/usr/lib/kv/libkv.so.0" | awk '{ print $3 }' | grep -vE '^(kv_|LIBKV_)'; }
ok "the shared library exports kv_* only" exports
used_soname() { objdump -p "$work/shared" | grep -q 'NEEDED.*libkv.so.0'; }
ok "its soname is libkv.so.0" used_soname
uninstalled() { make uninstall DESTDIR="$dest" PREFIX=/usr LIBDIR=/usr/lib/kv && [ -z "$(find "$dest" -type f)" ]; }
ok "make uninstall leaves no file" uninstalled
done_testing
