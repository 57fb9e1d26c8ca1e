#!/bin/bash
# scripts/ladder.sh - runs rungs of the test ladder one after the other and adds up.
#
#   ladder.sh check     before each commit: format, tidy, build, unit
#   ladder.sh test      installs what is missing, then what fits 15 minutes
#   ladder.sh longer    what .ci/run adds; continues the table that `test` began
#
# Each rung is a make target that appends its counts to $BUILD/ladder.tsv. A rung
# that ends badly without counting anything (it did not build, it ran out of time)
# counts as one failure. A rung whose program does not exist yet is not part of the
# ladder; a ladder where nothing ran fails. The last line is the sum over all rungs.
#
# Env: BUILD, FUZZ_SECONDS, SIM_SEEDS, LADDER_SECONDS (time for all rungs together).
set -u
cd "$(dirname "$0")/.." || exit 1

BUILD=${BUILD:-build}
ladder=$BUILD/ladder.tsv
began=$(date +%s)
unset MAKEFLAGS MFLAGS MAKELEVEL MODE T C

left() {
  echo $((LADDER_SECONDS - ($(date +%s) - began)))
}

# rung NAME SECONDS MAKE-ARGUMENTS...
rung() {
  local name=$1 limit=$2 start rows rc
  shift 2
  start=$(date +%s)
  if [ "$(left)" -lt 10 ]; then
    echo "== $name: no time left of $LADDER_SECONDS s"
    printf '%s (no time)\t0\t1\t0\t0\n' "$name" >> "$ladder"
    return
  fi
  [ "$limit" -gt "$(left)" ] && limit=$(left)
  rows=$(wc -l < "$ladder")
  timeout -k 20 "$limit" make --no-print-directory -j"$(nproc)" BUILD="$BUILD" "$@" < /dev/null
  rc=$?
  if [ $rc -ne 0 ] && ! tail -n +$((rows + 1)) "$ladder" | awk -F'\t' '$3 > 0 { f = 1 } END { exit !f }'; then
    [ $rc -eq 124 ] && echo "== $name: ended after $limit s"
    echo "== $name: failed (make $*: exit status $rc)"
    printf '%s (build)\t0\t1\t0\t%d\n' "$name" $(($(date +%s) - start)) >> "$ladder"
  fi
}

has() {
  compgen -G "$1" > /dev/null
}

# Prints the table; its last line is the sum. Fails when something did or nothing ran.
total() {
  echo
  awk -F'\t' '
    BEGIN { printf "%-20s %8s %7s %8s %8s\n", "rung", "passed", "failed", "skipped", "seconds" }
    { printf "%-20s %8d %7d %8d %8d\n", $1, $2, $3, $4, $5; p += $2; f += $3; s += $4 }
    END {
      if (p + f == 0) { print "nothing ran"; f = 1 }
      print ""
      printf "%d passed, %d failed, %d skipped\n", p, f, s
      exit f > 0
    }' "$ladder"
}

mkdir -p "$BUILD" || exit 1
case ${1:-} in
  check)
    LADDER_SECONDS=${LADDER_SECONDS:-600}
    : > "$ladder"
    rung format 60 fmt-check
    rung build 300 all
    rung tidy 120 tidy
    has 'tests/*/test_*.c' && rung unit 300 unit
    ;;
  test)
    LADDER_SECONDS=${LADDER_SECONDS:-1500}
    : > "$ladder"
    scripts/deps.sh build test || exit 2
    rung build 300 all
    rung format 60 fmt-check
    rung tidy 120 tidy
    rung selftest 120 selftest
    has 'tests/*/test_*.c' && rung unit 600 unit
    { has 'tests/scenarios/test_*.c' || has 'tests/*/test_scenario*.c'; } && rung scenario 300 scenario
    has 'tests/sim/main.c' && rung sim 300 sim SIM_SEEDS="${SIM_SEEDS:-1000}"
    has 'tests/fuzz/fuzz_*.c' && rung fuzz 400 fuzz FUZZ_SECONDS="${FUZZ_SECONDS:-10}"
    # A share of the named failpoints; .ci/run goes through all of them.
    [ -f server/main.c ] && rung e2e 600 e2e FAILPOINT_NAMES='log_*'
    ;;
  longer)
    LADDER_SECONDS=${LADDER_SECONDS:-3000}
    touch "$ladder"
    if has 'tests/*/test_*.c'; then
      rung asan 1200 asan SIM_SEEDS=100
      rung tsan 1200 tsan SIM_SEEDS=50
    fi
    [ -f server/main.c ] && rung failpoints 600 e2e T=150
    [ -f server/main.c ] && rung e2e-asan 600 e2e MODE=asan T='0[3478]'
    [ -f tests/mutants.tsv ] && rung mutants-unit 900 mutants-unit
    [ -f tests/sim/mutants.tsv ] && rung mutants 900 mutants-quick
    [ -f jepsen/main.c ] && rung jepsen 420 jepsen
    has 'tests/fuzz/fuzz_*.c' && rung fuzz-long 1200 fuzz FUZZ_SECONDS=60
    has 'tests/sim/main.c' && rung sim-long 900 sim MODE=release SIM_FIRST=10001 SIM_SEEDS="${SIM_LONG_SEEDS:-2000}" SIM_TIME=60s SIM_BLOCK=1000 SIM_LMDB_SEEDS=600
    ;;
  *)
    echo "usage: ladder.sh check|test|longer" >&2
    exit 2
    ;;
esac
total
