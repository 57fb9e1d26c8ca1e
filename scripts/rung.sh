#!/bin/bash
# scripts/rung.sh - runs one rung of the test ladder and counts its tests.
#
#   rung.sh -o OUT -n NAME [-t SECONDS] [-j JOBS] COMMAND...
#
# Each COMMAND (a program, with arguments if quoted) is run on its own with a time
# limit. Its output is read as cmocka's ("[       OK ] name") or as TAP ("ok 1 -
# name"). What crashes, runs out of time, prints no test or fewer than it announced
# counts as failed, whatever its exit status says; so does a rung without commands.
#
# Output:  OUT/log/NAME/*.log, one line per command, a failed one's log.
# Appends: NAME passed failed skipped seconds  to $LADDER (tab separated), if set.
# Env:     CASE is passed to each command as its only argument (a cmocka filter).
# Exit:    0 when something ran and nothing failed.
set -u

# Prints "passed failed skipped" for a log and an exit status.
count() {
  awk -v rc="$2" '
    /\[==========\] Running [0-9]+ test/ {
      sub(/.*Running /, ""); announced += $1; groups++; next }
    /\[       OK \] /   { ok++; next }
    /\[  SKIPPED \] / && !/test\(s\)/ { if (!($NF in skip)) { skip[$NF] = 1; skipped++ } next }
    /^\[  FAILED  \] / && !/test\(s\)/ { if (!($0 in bad)) { bad[$0] = 1; failed++ } next }
    /^1\.\.[0-9]+/      { sub(/^1\.\./, ""); announced += $1; next }
    /^ok [0-9]+.*# ?(SKIP|skip)/     { skipped++; next }
    /^not ok [0-9]+.*# ?(SKIP|skip)/ { skipped++; next }
    /^ok [0-9]+/        { ok++; next }
    /^not ok [0-9]+/    { failed++; next }
    END {
      run = ok + failed + skipped
      if (run < announced) failed += announced - run
      if (rc != 0 && !failed) failed = 1
      if (ok + failed + skipped == 0) failed = 1
      print ok + 0, failed + 0, skipped + 0
    }' "$1"
}

# Runs one command; leaves its counts in DIR/SLUG.count.
one() {
  local cmd=$1 slug log rc start spent
  slug=$(printf '%s' "$cmd" | sed -e "s|^$RUNG_OUT/||" -e 's|[^A-Za-z0-9_.-]|_|g')
  log=$RUNG_DIR/$slug.log
  start=$(date +%s.%N)
  # shellcheck disable=SC2086
  timeout -k 5 "$RUNG_TIME" $cmd ${CASE:+"$CASE"} > "$log" 2>&1 < /dev/null
  rc=$?
  spent=$(awk -v a="$start" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }')
  read -r ok bad skip <<< "$(count "$log" $rc)"
  printf '%s %s %s\n' "$ok" "$bad" "$skip" > "$RUNG_DIR/$slug.count"
  if [ "$bad" -eq 0 ]; then
    printf '  ok    %-44s %4d passed%s  %s s\n' "${cmd#"$RUNG_OUT"/}" "$ok" \
      "$([ "$skip" -gt 0 ] && echo ", $skip skipped")" "$spent"
  else
    {
      printf '  FAIL  %-44s %4d passed, %d failed  %s s\n' "${cmd#"$RUNG_OUT"/}" "$ok" "$bad" "$spent"
      [ $rc -eq 124 ] && echo "        ended after $RUNG_TIME s"
      [ $rc -gt 128 ] && echo "        ended by signal $((rc - 128))"
      [ $((ok + skip)) -eq 0 ] && [ $rc -eq 0 ] && echo "        ran no test"
      grep -nE '\[  (FAILED|ERROR|LINE)|^not ok|ERROR: |runtime error|SUMMARY|Assert|assert|failed' "$log" | head -n 40
      echo "        log: $log, its end:"
      tail -n 25 "$log"
    } | cut -c 1-300
  fi
}

if [ "${1:-}" = --one ]; then
  one "$2"
  exit 0
fi

out=build name="" limit=300 jobs=${JOBS:-2}
while getopts o:n:t:j: opt; do
  case $opt in
    o) out=$OPTARG ;;
    n) name=$OPTARG ;;
    t) limit=$OPTARG ;;
    j) jobs=$OPTARG ;;
    *) echo "usage: rung.sh -o OUT -n NAME [-t SECONDS] [-j JOBS] COMMAND..." >&2; exit 2 ;;
  esac
done
shift $((OPTIND - 1))

dir=$out/log/$name
mkdir -p "$dir" || exit 1
rm -f "$dir"/*.log "$dir"/*.count
echo "== $name"
start=$(date +%s)
if [ $# -gt 0 ]; then
  export RUNG_DIR=$dir RUNG_OUT=$out RUNG_TIME=$limit
  printf '%s\0' "$@" | xargs -0 -P "$jobs" -n 1 "$0" --one
fi
spent=$(($(date +%s) - start))
read -r ok bad skip n <<< "$(cat "$dir"/*.count 2> /dev/null |
  awk '{ a += $1; b += $2; c += $3; n++ } END { print a + 0, b + 0, c + 0, n + 0 }')"
if [ "$n" -lt $# ]; then
  bad=$((bad + $# - n))
fi
if [ $((ok + bad + skip)) -eq 0 ]; then
  echo "  FAIL  $name: no test found${T:+ for T=$T}"
  bad=1
fi
if [ -n "${LADDER:-}" ]; then
  mkdir -p "$(dirname "$LADDER")"
  printf '%s\t%d\t%d\t%d\t%d\n' "$name" "$ok" "$bad" "$skip" "$spent" >> "$LADDER"
fi
echo "$name: $ok passed, $bad failed, $skip skipped ($spent s)"
[ "$bad" -eq 0 ]
