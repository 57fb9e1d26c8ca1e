#!/bin/bash
# scripts/mutants.sh - plants bugs, one at a time, and demands that a test fails, as TAP.
#
#   mutants.sh [NAME...]
#
# tests/mutants.tsv has one bug per line: name, file, sed expression, test ("T" of make
# unit T=, or "scenario T"), what is broken; separated by tabs. Each is planted in a copy of the tree; the
# expression must change the file, the copy must build, and its test must fail. A bug
# that no test notices means that a test is missing.
#
# Env: BUILD (build): its debug objects are copied, so that little is built again.
set -u
list=tests/mutants.tsv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 143' TERM INT HUP

mapfile -t rows < <(grep -v '^#' "$list" | awk -F'\t' -v want=" $* " 'NF >= 4 && (want == "  " || index(want, " " $1 " "))')
echo "1..${#rows[@]}"
[ ${#rows[@]} -gt 0 ] || exit 1
mkdir -p "$work/tree"
cp -a Makefile scripts raft rpc storage server client tests "$work/tree/"
[ -d jepsen ] && cp -a jepsen "$work/tree/"
mkdir -p "$work/tree/build"
if [ -d "${BUILD:-build}/debug" ]; then
  cp -a "${BUILD:-build}/debug" "$work/tree/build/"
  find "$work/tree/build" -name '*.d' -exec sed -i "s|${BUILD:-build}/debug/|build/debug/|g" {} +
fi

# Builds and runs a test in the copy; prints "built" when it built.
run_test() {
  local goal=unit test=$1
  [[ $test != "scenario "* ]] || goal=scenario test=${1#scenario }
  (cd "$work/tree" && env -u MAKEFLAGS -u MAKELEVEL -u BUILD -u MODE -u LADDER \
    make -j"$(nproc)" MODE=debug $goal T="$test" > "$work/log" 2>&1 < /dev/null)
  local rc=$?
  grep -qE '^== (unit|scenario)' "$work/log" && echo built
  return $rc
}

# A test that fails anyway would notice every bug: each must pass first.
declare -A red=()
for row in "${rows[@]}"; do
  IFS=$'\t' read -r _ _ _ test _ <<< "$row"
  [ -z "${red[$test]:-}" ] || continue
  run_test "$test" > /dev/null && red[$test]=no || red[$test]=yes
done

n=0
failed=0
for row in "${rows[@]}"; do
  IFS=$'\t' read -r name file expression test what <<< "$row"
  n=$((n + 1))
  problem=
  if [ "${red[$test]}" = yes ]; then
    echo "not ok $n - $name: $what ($test fails without the bug, too)"
    failed=1
    continue
  fi
  cp -a "$work/tree/$file" "$work/saved"
  sed -i -E "$expression" "$work/tree/$file"
  if cmp -s "$work/saved" "$work/tree/$file"; then
    problem="the expression changes nothing in $file"
  else
    built=$(run_test "$test")
    rc=$?
    if [ "$built" != built ]; then
      tail -n 5 "$work/log" | sed 's/^/# /'
      problem="it does not build"
    elif [ $rc -eq 0 ]; then
      problem="$test does not notice"
    fi
  fi
  cp "$work/saved" "$work/tree/$file" # With a new time, so that it is built again.
  if [ -z "$problem" ]; then
    echo "ok $n - $name: $what"
  else
    echo "not ok $n - $name: $what ($problem)"
    failed=1
  fi
done
exit $failed
