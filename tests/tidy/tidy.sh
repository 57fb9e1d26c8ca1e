#!/bin/bash
# tests/tidy/tidy.sh - the rules of the tree that a machine can check, as TAP.
#
#   tidy.sh            all checks
#   tidy.sh NAME...    only these; `tidy.sh -l` lists them
#
# Each check is a function check_NAME that prints one line "file:line: what is wrong,
# what to use instead" per violation, and nothing when all is well. Its first comment
# line is the sentence TAP shows. selftest.sh plants a violation of each.
#
# Env: BIN (build) has the release libraries; TIDY_ROOT (.) is the tree to look at.
# shellcheck disable=SC2317,SC2016  # checks are called by name; awk programs
set -u
here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "${BIN:-build}" 2> /dev/null && pwd)
cd "${TIDY_ROOT:-.}" || exit 1

folders="raft raft/base rpc storage server client jepsen jepsen/checker jepsen/format"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

find raft rpc storage server client jepsen -name '*.[ch]' 2> /dev/null | sort > "$work/house"
find tests -name '*.[ch]' 2> /dev/null | sort > "$work/tests"
sort "$work/house" "$work/tests" > "$work/all"

# Runs a command with the files of a list; with an empty list it does nothing.
with() {
  local list=$work/$1
  shift
  xargs -r -a "$list" "$@"
}

code() {
  [ -f "$work/code" ] || with all awk -f "$here/strip.awk" > "$work/code"
  cat "$work/code"
}

check_includes() { # includes point down the house only
  with all awk -f "$here/includes.awk"
}

check_purity() { # libraft.a needs nothing but libbase.a and mem*
  if [ ! -f "$bin/libraft.a" ] || [ ! -f "$bin/libbase.a" ]; then
    echo "$bin/libraft.a: is not built"
    return
  fi
  nm --defined-only "$bin/libraft.a" "$bin/libbase.a" | awk 'NF == 3 { print $3 }' | sort -u > "$work/defined"
  nm -A -u "$bin/libraft.a" | awk -v defined="$work/defined" '
    BEGIN {
      while ((getline name < defined) > 0) ours[name] = 1
      split("memcpy memmove memset memcmp memchr __memcpy_chk __memmove_chk __memset_chk " \
            "__stack_chk_fail _GLOBAL_OFFSET_TABLE_", words, " ")
      for (i in words) ours[words[i]] = 1
    }
    !($NF in ours) {
      split($1, part, ":")
      print "libraft.a:" part[2] ": reaches " $NF ", the core may only use mem* and raft/base"
    }'
}

check_base() { # in libbase.a only arena.o allocates and only check.o prints
  [ -f "$bin/libbase.a" ] || { echo "$bin/libbase.a: is not built"; return; }
  nm -A -u "$bin/libbase.a" | awk '
    { split($1, part, ":"); object = part[2] }
    $NF ~ /^(malloc|calloc|realloc|free|reallocarray|aligned_alloc)$/ && object != "arena.o" {
      print "libbase.a:" object ": calls " $NF ", only raft/base/arena.c may" }
    $NF ~ /(printf|puts|write|abort|exit)(_chk)?$/ && object != "check.o" && $NF !~ /^(__)?v?snprintf/ {
      print "libbase.a:" object ": calls " $NF ", only raft/base/check.c may" }'
}

check_memory() { # memory comes from raft/base/arena.c
  code | grep -vE '^(raft/base/arena\.c|tests/)' |
    grep -E '(^|[^A-Za-z0-9_.>])(malloc|calloc|realloc|reallocarray|free|strdup|strndup|asprintf|vasprintf|posix_memalign|aligned_alloc) *\(' |
    sed -E 's/^([^:]*:[0-9]*):.*[^A-Za-z0-9_]?(malloc|calloc|realloc|reallocarray|free|strdup|strndup|asprintf|vasprintf|posix_memalign|aligned_alloc) *\(.*/\1: \2(): use arena_* or kv_mem_zalloc\/kv_mem_free/'
}

check_banned() { # banned calls are not used
  code | awk -v table="$here/banned.txt" '
    BEGIN {
      while ((getline row < table) > 0) {
        if (row ~ /^#/ || row == "") continue
        n = split(row, part, "\t")
        name[++count] = part[1]; instead[count] = part[2]; except[count] = n > 2 ? part[3] : "^$"
      }
    }
    {
      first = index($0, ":"); file = substr($0, 1, first - 1); rest = substr($0, first + 1)
      second = index(rest, ":"); line = substr(rest, 1, second - 1); text = " " substr(rest, second + 1)
      if (text !~ /\(/) next
      for (i = 1; i <= count; i++) {
        if (index(text, name[i]) && text ~ ("[^A-Za-z0-9_.>]" name[i] " *\\(") && file !~ except[i]) {
          print file ":" line ": " name[i] "(): " instead[i]
        }
      }
    }'
}

check_text() { # no long lines, tabs, trailing blanks, // comments, leftovers
  with all awk '
    function units(s) { gsub(/[\200-\277]/, "", s); return length(s) }
    length($0) > 88 && units($0) > 88 { print FILENAME ":" FNR ": longer than 88 columns" }
    /\t/        { print FILENAME ":" FNR ": tab, use spaces" }
    /[ \t]$/    { print FILENAME ":" FNR ": blanks at the end" }
    /\r/        { print FILENAME ":" FNR ": carriage return" }
    /FIXME|TODO|XXX:/ { print FILENAME ":" FNR ": finish it or file an issue" }
    /^[ \t]*#[ \t]*if[ \t]+0/ { print FILENAME ":" FNR ": #if 0, delete the dead code" }'
  code | grep -F '//' | sed -E 's/^([^:]*:[0-9]*):.*/\1: \/\/ comment, use block comments/'
}

check_size() { # files have at most 1,000 lines, functions 70 (tests 120)
  with all awk '
    function length_of_last() {
      if (file != "" && lines > 1000) print file ":" lines ": longer than 1,000 lines, split it by topic"
    }
    FNR == 1 { length_of_last(); file = FILENAME; inside = 0; max = file ~ /^tests\// ? 120 : 70 }
    { lines = FNR }
    /^\{/ && !inside { start = FNR; inside = 1 }
    /^\}/ {
      if (inside && FNR - start - 1 > max && $0 ~ /^\}[ \t]*$/)
        print FILENAME ":" start ": function of " FNR - start - 1 " lines, at most " max
      inside = 0
    }
    END { length_of_last() }'
}

check_head() { # each file begins with its path, each header has its guard
  with all awk '
    FNR == 1 {
      if (index($0, "/* " FILENAME " - ") != 1)
        print FILENAME ":1: begin with \"/* " FILENAME " - what it is\""
    }
    /^#ifndef / && !(FILENAME in seen) && FILENAME ~ /\.h$/ {
      seen[FILENAME] = 1
      want = "KV_" toupper(FILENAME)
      gsub(/[\/.-]/, "_", want)
      if (FILENAME == "client/kv.h") want = "KV_H"
      if ($2 != want) print FILENAME ":" FNR ": guard " $2 ", should be " want
    }'
  grep '\.h$' "$work/all" | while read -r f; do
    grep -q '^#ifndef KV_' "$f" || echo "$f:1: has no include guard"
  done
}

check_globals() { # the libraries have no mutable globals
  local lib
  for lib in raft base rpc storage server kv jepsen; do
    [ -f "$bin/lib$lib.a" ] || continue
    nm -A -f sysv --defined-only "$bin/lib$lib.a" 2> /dev/null | awk -F'|' -v allow="$here/globals.allow" '
      BEGIN { while ((getline row < allow) > 0) if (row !~ /^#/ && row != "") { split(row, w, " "); ok[w[1]] = 1 } }
      NF >= 7 {
        gsub(/ /, "", $7); gsub(/ /, "", $4)
        if ($7 !~ /^(\.data|\.bss|\.tdata|\.tbss|\*COM\*)/ || $7 ~ /^\.data\.rel\.ro/ || $4 == "SECTION") next
        n = split($1, part, ":"); sub(/ *$/, "", part[n]); symbol = part[n]; object = part[n - 1]
        if (!((object ":" symbol) in ok)) {
          sub(/.*\//, "", part[1])
          print part[1] ":" object ": mutable global " symbol ", give it to the struct that owns it"
        }
      }'
  done
}

check_release() { # the release libraries hold no failpoint
  local lib
  for lib in raft base rpc storage server kv; do
    [ -f "$bin/lib$lib.a" ] || continue
    nm -A "$bin/lib$lib.a" 2> /dev/null | grep -E '[^A-Za-z0-9_]failpoint_' |
      awk '{ n = split($1, part, ":"); print part[n - 1] ": " $NF " is for test builds" }' | sed "s/^/lib$lib.a:/"
  done
}

check_bugs() { # planted bugs (raft/base/bug.h) are in MODE=mutants, all of them, and in no other build
  local f name planted
  planted=$(grep -rohE 'KV_BUG\([^,]*, [A-Z0-9]+\)' --include='*.c' raft server storage tests/lib 2> /dev/null)
  [ ! -f raft/base/bug.h ] || sed -n 's/^    X(\([A-Z0-9]*\),.*/\1/p' raft/base/bug.h | while read -r name; do
    grep -q ", $name)" <<< "$planted" || echo "raft/base/bug.h:1: $name is planted nowhere"
  done
  ! grep -qs KV_MUTANTS "$bin/flags" || echo "$bin/flags:1: is a build with planted bugs"
  with house grep -lE 'KV_BUG|KV_MUTANTS|[.>]bug\b' | grep '\.c$' | while read -r f; do
    gcc -E -P -std=gnu11 -D_GNU_SOURCE -I. "$f" 2> /dev/null | grep -E 'KV_BUG|KV_MUTANTS|[.>]bug\b|uint32_t bug;' |
      sed -n "1s|^ *|$f:1: without KV_MUTANTS there is still: |p"
  done
}

check_readmes() { # the README.md of each folder lists its files
  local folder readme f stem
  for folder in $folders; do
    compgen -G "$folder/*.[ch]" > /dev/null || continue
    readme=$folder/README.md
    [ -f "$readme" ] || [ "$folder" != raft/base ] || readme=raft/README.md
    if [ ! -f "$readme" ]; then
      echo "$folder:1: has no README.md"
      continue
    fi
    for f in "$folder"/*.[ch]; do
      stem=$(basename "${f%.*}")
      grep -qE "(^|[^A-Za-z0-9_])$stem\.([ch]|\{|\[)" "$readme" || echo "$f:1: is not in $readme"
    done
  done
  [ -f tests/README.md ] || { echo "tests:1: has no README.md"; return; }
  for folder in tests/*/; do
    folder=$(basename "$folder")
    grep -qE "(^|[^A-Za-z0-9_])$folder/" tests/README.md || echo "tests/$folder:1: is not in tests/README.md"
  done
}

check_paths() { # files that a README.md or docs/ names exist
  find . -name README.md -not -path './build/*' -o -path './docs/*.md' | sed 's|^\./||' | sort |
    xargs -r grep -noE '`[a-z]+(/[A-Za-z0-9_.-]+)+\.(c|h|sh|md|py|js|tsv|awk)`' /dev/null |
    while IFS=: read -r file line path; do
      path=${path//\`/}
      [[ $path == build/* ]] || [ -e "$path" ] || [ -e "$(dirname "$file")/$path" ] || echo "$file:$line: $path does not exist"
    done
}

check_mirror() { # each source has a test of its name or a line in tests/README.md
  local f folder stem
  while read -r f; do
    case $f in
      raft/base/*.c) folder=base ;;
      jepsen/checker/*.c | jepsen/format/*.c) folder=jepsen ;;
      raft/*.c | rpc/*.c | storage/*.c | server/*.c | client/*.c) folder=${f%%/*} ;;
      *) continue ;;
    esac
    stem=$(basename "$f" .c)
    compgen -G "tests/$folder/test_$stem.c" > /dev/null && continue
    [ "$folder" = base ] && { [ -f "tests/raft/base/test_$stem.c" ] || [ -f "tests/raft/test_$stem.c" ] ||
      [ -f "tests/raft/test_base_$stem.c" ]; } && continue
    grep -qF "$f" tests/README.md 2> /dev/null ||
      echo "$f:1: has no tests/$folder/test_$stem.c and no line in tests/README.md"
  done < "$work/house"
}

check_scripts() { # scripts are executable, say what they are, and pass bash -n
  local f
  find scripts tests .ci -type f \( -name '*.sh' -o -path '.ci/run' \) 2> /dev/null | sort | while read -r f; do
    [ -x "$f" ] || [[ $f == tests/lib/* || $f == tests/e2e/lib.sh ]] || echo "$f:1: is not executable"
    sed -n 2p "$f" | grep -qF "# $f - " || echo "$f:2: say \"# $f - what it is\""
    bash -n "$f" || echo "$f:1: does not parse"
  done
}

all="includes purity base memory banned text size head globals release bugs readmes paths mirror scripts"
if [ "${1:-}" = -l ]; then
  echo "$all"
  exit 0
fi
# shellcheck disable=SC2086
[ $# -gt 0 ] || set -- $all
echo "1..$#"
n=0
failed=0
for name in "$@"; do
  n=$((n + 1))
  sentence=$(sed -n "s/^check_$name() { # //p" "$here/tidy.sh")
  found=$("check_$name" 2>&1)
  if [ -z "$found" ]; then
    echo "ok $n - $name: $sentence"
  else
    printf '%s\n' "$found"
    echo "not ok $n - $name: $sentence ($(printf '%s\n' "$found" | wc -l) violations)"
    failed=1
  fi
done
exit $failed
