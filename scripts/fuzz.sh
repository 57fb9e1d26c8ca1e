#!/bin/bash
# scripts/fuzz.sh - runs one fuzzer over its corpus and reports as TAP.
#
#   fuzz.sh PROGRAM        (.../tests/fuzz/fuzz_NAME)
#
# The corpus of the tree, tests/fuzz/corpus/NAME/, is only read; what the fuzzer
# finds goes to $FUZZ_WORK/NAME. To keep an input, copy it into the corpus by hand.
# Env: FUZZ_SECONDS (10), FUZZ_WORK (build/fuzz/work).
set -u

program=$1
name=$(basename "$program")
name=${name#fuzz_}
corpus=tests/fuzz/corpus/$name
work=${FUZZ_WORK:-build/fuzz/work}/$name
log=$work/run.log

echo "1..1"
if ! compgen -G "$corpus/*" > /dev/null; then
  echo "not ok 1 - fuzz $name has no corpus in $corpus"
  exit 1
fi
mkdir -p "$work/new" || exit 1
"$program" -max_total_time="${FUZZ_SECONDS:-10}" -timeout=10 -rss_limit_mb=2048 \
  -artifact_prefix="$work/" -print_final_stats=1 -verbosity=1 "$work/new" "$corpus" > "$log" 2>&1
rc=$?
runs=$(awk '/^stat::number_of_executed_units:/ { print $2 }' "$log")
if [ $rc -ne 0 ]; then
  tail -n 60 "$log"
  # shellcheck disable=SC2012
  echo "repeat: $program $(ls -t "$work"/crash-* "$work"/timeout-* "$work"/oom-* 2> /dev/null | head -n 1)"
  echo "not ok 1 - fuzz $name"
elif [ "${runs:-0}" -lt 100 ]; then
  tail -n 20 "$log"
  echo "not ok 1 - fuzz $name ran only ${runs:-0} inputs"
  rc=1
else
  echo "ok 1 - fuzz $name finds nothing in $runs inputs"
fi
exit $rc
