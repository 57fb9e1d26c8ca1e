#!/bin/bash
# tests/tidy/selftest.sh - plants one violation of each rule and demands that tidy
# finds it, as TAP. A check that cannot fail is worthless.
#
# The tree is copied to a temporary folder; each violation gets a file of its own
# there, and the check must name that file.
# Env: BIN (build) has the release libraries.
set -u
here=$(cd "$(dirname "$0")" && pwd)
tree=$here/../..
bin=$(cd "${BIN:-build}" 2> /dev/null && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"
n=0
failed=0

say() {
  n=$((n + 1))
  if [ "$1" -eq 0 ]; then
    echo "ok $n - $2"
  else
    echo "not ok $n - $2"
    failed=1
  fi
}

fresh() {
  rm -rf "$work/tree"
  mkdir -p "$work/tree"
  (cd "$tree" && cp -r --parents raft rpc storage server client jepsen tests scripts .ci "$work/tree" 2> /dev/null)
}

tidy() {
  TIDY_ROOT=$work/tree BIN=$work/bin "$here/tidy.sh" "$@" 2>&1
}

# plant CHECK FILE TEXT PATTERN SENTENCE: FILE with TEXT must draw PATTERN from CHECK.
plant() {
  mkdir -p "$work/tree/$(dirname "$2")"
  printf '%b' "$3" > "$work/tree/$2"
  tidy "$1" > "$work/out"
  grep -E "^$2:[0-9]*: .*$4" "$work/out" > /dev/null
  say $? "$1: $5"
  rm -f "$work/tree/$2"
}

# spare CHECK FILE TEXT SENTENCE: FILE with TEXT must draw nothing.
spare() {
  mkdir -p "$work/tree/$(dirname "$2")"
  printf '%b' "$3" > "$work/tree/$2"
  tidy "$1" > "$work/out"
  ! grep -F "$2:" "$work/out" > /dev/null
  say $? "$1: $4"
  rm -f "$work/tree/$2"
}

# An object of C TEXT, put into a copy of an archive; the check must name PATTERN.
plant_object() {
  rm -f "$work/bin/"*
  cp "$bin/libbase.a" "$bin/libraft.a" "$work/bin/"
  printf '%b' "$4" > "$work/zz_planted.c"
  gcc -std=gnu11 -O0 -fPIE -c "$work/zz_planted.c" -o "$work/zz_planted.o" &&
    ar rs "$work/bin/$2" "$work/zz_planted.o" 2> /dev/null
  tidy "$1" | grep -E "$3" > /dev/null
  say $? "$1: $5"
}

echo "1..54"
fresh
touch "$work/tree/raft/README.md" "$work/tree/tests/README.md"
plant includes raft/zz.c '#include "storage/store.h"\n' 'may not include' 'the core looks up to storage'
plant includes raft/zz.c '#include <stdio.h>\n' 'may not include' 'the core includes stdio'
plant includes raft/base/zz.c '#include "raft/raft.h"\n' 'may not include' 'the floor looks up to raft'
plant includes rpc/zz.c '#include "server/node.h"\n' 'may not include' 'rpc looks up to the server'
plant includes rpc/zz.c '#include "raft/zz_inner.h"\n' 'may not include' 'rpc looks into the core'
plant includes storage/zz.c '#include "rpc/msg.h"\n' 'may not include' 'storage looks sideways to rpc'
plant includes server/zz.c '#include "storage/delta.h"\n' 'may not include' 'the server looks into storage'
plant includes server/zz.c '#include "client/kv.h"\n' 'may not include' 'the server looks sideways to the client'
plant includes client/zz.c '#include "raft/raft.h"\n' 'may not include' 'the client looks into raft'
plant includes jepsen/zz.c '#include "server/node.h"\n' 'may not include' 'jepsen looks into the server'
plant includes server/zz.c '#include "node.h"\n' 'repository root' 'a path that is not from the root'
plant includes server/zz.c '#include <uv.h>\n' 'belongs to' 'libuv outside the seam'
plant includes server/zz.c '#include <lmdb.h>\n' 'belongs to' 'LMDB outside storage'
plant includes rpc/zz.c '#include <xxhash.h>\n' 'belongs to' 'xxhash outside base/hash'
plant includes storage/zz.c '#include <msgpack.h>\n' 'belongs to' 'msgpack in storage'
spare includes server/uv_zz.c '#include <uv.h>\n#include "server/env.h"\n' 'the seam may include libuv'
if [ -f "$bin/libraft.a" ]; then
  plant_object purity libraft.a 'zz_planted.o: reaches time' '#include <time.h>\nlong zz(void);long zz(void){return time(0);}\n' 'the core reads a clock'
  plant_object purity libraft.a 'zz_planted.o: reaches malloc' '#include <stdlib.h>\nvoid*zz(void);void*zz(void){return malloc(9);}\n' 'the core allocates'
  plant_object purity libraft.a 'zz_planted.o: reaches printf' '#include <stdio.h>\nvoid zz(int);void zz(int i){printf("%%d", i);}\n' 'the core prints'
  plant_object base libbase.a 'zz_planted.o: calls malloc' '#include <stdlib.h>\nvoid*zz(void);void*zz(void){return malloc(9);}\n' 'malloc outside the arena'
  plant_object globals libraft.a 'zz_planted.o: mutable global zz_count' 'static int zz_count;int zz(void);int zz(void){return zz_count++;}\n' 'a static counter'
  plant_object globals libraft.a 'zz_planted.o: mutable global zz_table' 'int zz_table[3] = {1, 2, 3};\n' 'a table without const'
  plant_object globals libraft.a 'zz_planted.o: mutable global zz_tls' '__thread int zz_tls;\n' 'a thread-local'
plant_object release libbase.a 'failpoint_hit is for test builds' 'void failpoint_hit(void);\nvoid failpoint_hit(void)\n{\n}\n' 'a failpoint in a release library'
else
  for i in 1 2 3 4 5 6 7; do say 1 "libraft.a is not built ($i)"; done
fi
plant bugs raft/zz.c 'int f(struct o *o)\n{\n    return o->bug == 5;\n}\n' 'there is still' 'a planted bug in every build'

plant memory server/zz.c 'void f(void)\n{\n    p = malloc(10);\n}\n' 'malloc\(\)' 'malloc in the server'
plant memory client/zz.c 'void f(void)\n{\n    free (p);\n}\n' 'free\(\)' 'free in the client'
plant memory rpc/zz.c 'char *f(void)\n{\n    return strdup(s);\n}\n' 'strdup\(\)' 'strdup in rpc'
spare memory server/zz.c '/* malloc(1) */\nvoid f(void)\n{\n    kv_mem_free(p); x->free(q); puts_("free(x)");\n}\n' 'words in comments, strings and other names'
plant banned server/zz.c 'void f(void)\n{\n    strcpy(a, b);\n}\n' 'strcpy' 'strcpy'
plant banned server/zz.c 'void f(void)\n{\n    n = atoi(a);\n}\n' 'atoi' 'atoi'
plant banned server/zz.c 'void f(void)\n{\n    t = time(NULL);\n}\n' 'time' 'time()'
plant banned raft/zz.c 'void f(void)\n{\n    x = rand();\n}\n' 'rand' 'rand'
plant banned storage/zz.c 'void f(void)\n{\n    assert(x);\n}\n' 'KV_ASSERT' 'assert'
plant banned rpc/zz.c 'void f(void)\n{\n    printf("x");\n}\n' 'only programs print' 'printf in a library'
plant banned server/zz.c 'void f(void)\n{\n    signal(1, g);\n}\n' 'sigaction' 'signal'
spare banned server/zz.c 'void f(void)\n{\n    env_time(x); wall_time(y); e->time(z); snprintf(a, 1, "time(0)");\n    KV_ASSERT(x);\n}\n' 'other names that end alike'
plant text raft/zz.c "/* $(printf 'x%.0s' $(seq 90)) */\n" '88 columns' 'a long line'
plant text raft/zz.c '\tint x;\n' 'tab' 'a tab'
plant text raft/zz.c 'int x; \n' 'blanks' 'blanks at the end'
plant text raft/zz.c 'int x; // note\n' 'block comments' 'a // comment'
plant text raft/zz.c '/* TODO: later */\n' 'finish it' 'a leftover'
plant text raft/zz.c '#if 0\n#endif\n' 'dead code' '#if 0'
spare text raft/zz.c 'const char *url = "http://x"; /* // fine */\n' '// in a string or comment'
plant size raft/zz.c "$(seq 1001 | sed 's/.*/int x&;/')\n" '1,000 lines' 'a file of 1,001 lines'
plant size raft/zz.c "void f(void)\n{\n$(seq 71 | sed 's/.*/    x();/')\n}\n" 'function of 71' 'a function of 71 lines'
spare size raft/zz.c "void f(void)\n{\n$(seq 70 | sed 's/.*/    x();/')\n}\n" 'a function of 70 lines'
plant head raft/zz.h '/* raft/zy.h - copied */\n#ifndef KV_RAFT_ZZ_H\n' 'begin with' 'another path in the first line'
plant head raft/zz.h '/* raft/zz.h - x */\n#ifndef ZZ_H\n' 'guard' 'another guard'
plant readmes raft/zz.c 'int x;\n' '(README|is not in)' 'a file that its README does not list'
plant paths raft/zz/README.md 'see `raft/nothing.c`\n' 'does not exist' 'a README that names a file that is gone'
spare paths raft/zz/README.md 'see `raft/raft.h`, `raft/zz/README.md` and `tests/zz_<file>.c`\n' 'paths that exist, and patterns'
plant mirror rpc/zz.c 'int x;\n' 'has no tests/rpc/test_zz.c' 'a source without a test'
plant scripts scripts/zz.sh '#!/bin/bash\n# something\nif\n' '(executable|parse|say)' 'a script without its name'
mkdir -p "$work/tree/tests/zz"
tidy readmes | grep -q '^tests/zz:'
say $? "readmes: a test folder that tests/README.md does not list"
[ $n -eq 54 ] || echo "# planned 54, did $n"
exit $failed
