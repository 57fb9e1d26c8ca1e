#!/bin/bash
# scripts/jepsen-bugs.sh - does kvjepsen bite? Runs kvds with planted bugs, prints a table.
#
#   jepsen-bugs.sh [BUG...]     those of the list below, or all
#
# Each bug of raft/base/bug.h has a cell in which kvjepsen has to find invalid what a kvd
# with that bug does, within 5 minutes, the time until it starts to judge included. What
# needs luck is tried with up to TRIES seeds in that time. Exit status 1: one was missed.
#
# Env: BIN (build), KVD (BIN/mutants/kvd, from MODE=mutants), STORE (jepsen/store/bugs),
#      SEED (61), TRIES (3), SOUND=1 (runs the cells without bugs: nothing may be found).
set -u
cd "$(dirname "$0")/.." || exit 1
BIN=${BIN:-build}
KVD=${KVD:-$BIN/mutants/kvd}
STORE=${STORE:-jepsen/store/bugs}
SEED=${SEED:-61}
SOUND=${SOUND:-}
LIMIT_SECONDS=300
small='--delta-bytes 64K --checkpoint-ms 300 --log-window 64'

# bug cell workload nemesis nodes concurrency small?
bugs() {
  cat << 'END'
B35 leaders-cut-set set partition:leaders 5 200 -
B36 kill-one-small-set set kill:one 3 24 small
B37 power-alone-set set power:all 1 8 -
B38 cut-and-kill-register register partition:leaders,kill:leaders 5 40 -
B41 kill-all-small-counter counter kill:all 3 24 small
B46 wipe-set set wipe 5 40 -
K03 power-all-set set power:all 3 24 -
K04 clock-and-kill-register register clock:bump,kill:leaders 5 40 -
K12 power-all-set set power:all 3 24 -
K14 pause-and-kill-set set pause:minority,kill:leaders 5 40 -
K15 leaders-cut-append append partition:leaders 5 40 -
K16 power-all-set set power:all 3 24 -
K17 leaders-cut-set set partition:leaders 5 200 -
K50 watch-kill watch kill:leaders 5 40 -
K51 watch-partition watch partition 5 40 -
K52 watch-partition watch partition 5 40 -
K53 watch-pause-small watch pause:minority 5 40 small
K54 watch-kill-all-small watch kill:all 3 40 small
END
}

# What the checkers said of the run in $out, on one line.
said() {
  local dir
  dir=$(sed -n 's/^  report  *\(.*\)\/report.html$/\1/p' "$out")
  "${PYTHON:-/usr/bin/python3}" - "$dir" << 'END'
import json, os, sys

try:
    with open(os.path.join(sys.argv[1], "run.json")) as f:
        run = json.load(f)
    said = [v["checker"] + (": " + v["text"].split(", see /")[0] if v["text"] else "")
            for v in run["verdicts"] if v["valid"] == "invalid"]
    print("; ".join(said).replace("|", "/").replace("\n", " ")[:240])
except OSError:
    print("no run")
END
}

# one BUG CELL WORKLOAD NEMESIS NODES CONCURRENCY SMALL: a row of the table.
one() {
  local bug=$1 cell=$2 begin=$SECONDS try=0 rc=2 what verdict
  local -a more=()
  [ "$7" = small ] && more=(--kvd-args "$small")
  while [ $rc -ne 1 ] && [ $try -lt "${TRIES:-3}" ] &&
    [ $((SECONDS - begin)) -lt $((LIMIT_SECONDS / 2)) ]; do
    KVD_BUG=$([ -n "$SOUND" ] || echo "$bug") timeout -k 10 $((LIMIT_SECONDS - SECONDS + begin)) \
      "$BIN/kvjepsen" --kvd "$KVD" --name "bug-$bug" --workload "$3" --nemesis "$4" --nodes "$5" \
      --concurrency "$6" --seed $((SEED + try)) --store "$STORE" --time 30 --clean 3 --interval 2 \
      --quiet 2 --no-progress ${more[@]+"${more[@]}"} > "$out" 2>&1 < /dev/null
    rc=$?
    try=$((try + 1))
  done
  rm -rf "$STORE/bug-$bug"/*/n*/data
  verdict="not found (exit status $rc)"
  [ $rc -eq 1 ] && verdict=invalid
  what=$([ $rc -eq 1 ] && said)
  printf '| %s | %s | %s | %s, %s, %d nodes | %d s, %d | %s | %s |\n' "$bug" \
    "$(sed -n "s/^ *X($bug, \"\\([^\"]*\\)\".*/\\1/p" raft/base/bug.h)" "$cell" "$3" "$4" "$5" \
    $((SECONDS - begin)) $try "$verdict" "$what"
  [ $rc -eq 1 ]
}

[ -x "$KVD" ] || { echo "jepsen-bugs: no $KVD; make MODE=mutants server" >&2; exit 2; }
out=$(mktemp)
trap 'rm -f "$out"' EXIT
trap 'exit 143' TERM INT HUP
missed=0 found=0
echo "| bug | what is wrong | cell | what runs | time, runs | verdict | what the checkers said |"
echo "|---|---|---|---|---|---|---|"
while read -r bug rest; do
  [ $# -eq 0 ] || [[ " $* " = *" $bug "* ]] || continue
  # shellcheck disable=SC2086
  if one "$bug" $rest; then
    found=$((found + 1))
  else
    missed=$((missed + 1))
  fi
done < <(bugs)
echo
if [ -n "$SOUND" ]; then
  echo "$found of $((found + missed)) cells found something in a sound kvd"
  [ $found -eq 0 ]
else
  echo "$found of $((found + missed)) bugs were found"
  [ $missed -eq 0 ]
fi
