#!/bin/bash
# tests/sim/failure.sh - a failure of kvsim says all there is to know, repeats, shrinks.
#
#   failure.sh KVSIM BUG...
#
# KVSIM is a build with planted bugs. For each bug: the first seed that it fails, what
# the report says, the command that the report names, what --shrink finds (smaller, and
# in bounded time), the command that it names, and its --trace. Prints TAP.
set -u
kvsim=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 143' TERM INT HUP
export LC_ALL=C
seeds=${SEEDS:-200}
n=0
failed=0

check() { # what, command...
  local what=$1
  shift
  n=$((n + 1))
  if "$@"; then
    echo "ok $n - $what"
  else
    echo "not ok $n - $what"
    failed=1
  fi
}

violated() { # The number, as a run prints it.
  sed -n 's/^  violated: \([0-9]*\),.*/\1/p' "$1" | head -1
}

# A command that failed is run again: it must fail with the same invariant.
fails_the_same() { # command line, number
  timeout 60 bash -c "$1" > "$work/again" 2> /dev/null
  [ $? -eq 1 ] && [ "$(violated "$work/again")" = "$2" ]
}

report_is_whole() {
  grep -Eq '^seed [0-9]+ FAILED after [0-9.]+ s \(commit [0-9a-f]+' "$work/report" &&
    grep -q '^  the world:$' "$work/report" &&
    grep -Eq '^  node 1 is (up|down); its last events:$' "$work/report" &&
    [ "$(grep -c '^    \[ *[0-9.]* ms\] ' "$work/report")" -ge 10 ]
}

for bug; do
  timeout 120 "$kvsim" --bug "$bug" --seeds "1..$seeds" --time 20s --quiet > "$work/all" 2> /dev/null
  sed -n '/^seed [0-9]* FAILED/,/^  again: /p;/^  again: /q' "$work/all" > "$work/report"
  number=$(violated "$work/report")
  again=$(sed -n 's/^  again: //p' "$work/report")
  seed=$(sed -n 's/^seed \([0-9]*\) FAILED.*/\1/p' "$work/report")
  check "$bug: seed ${seed:-none} fails, and the report has all parts" report_is_whole
  check "$bug: the command of the report fails in the same way" fails_the_same "$again" "$number"

  timeout 300 "$kvsim" --bug "$bug" --seed "${seed:-1}" --time 20s --shrink > "$work/shrunk" 2> /dev/null
  check "$bug: shrinking ends" [ $? -eq 0 ]
  small=$(sed -n '/^smallest of /{n;s/^  \(.*\) --trace$/\1/p}' "$work/shrunk")
  check "$bug: it is smaller: $(sed -n 's/^smallest of //p' "$work/shrunk")" \
    [ "$(grep -c '^  still fails:' "$work/shrunk")" -ge 3 ]
  check "$bug: its command fails in the same way" fails_the_same "$small" "$number"
  timeout 60 bash -c "$small --trace" > "$work/trace" 2> /dev/null
  check "$bug: its story ends with the report" \
    [ "$(grep -c '^\[ *[0-9.]* ms\] ' "$work/trace")" -ge 5 -a "$(violated "$work/trace")" = "$number" ]
done
echo "1..$n"
exit $failed
