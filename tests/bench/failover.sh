#!/bin/bash
# tests/bench/failover.sh - how long a group has no successful write when its leader goes.
#
#   failover.sh [RUNS] [HOW]       (10 kill)
#
# A cluster of its own; 16 writers spread over all groups. In each run the node that
# leads most groups is killed with SIGKILL (kill), stands still by SIGSTOP (pause), or is
# told to end by SIGTERM (stop); later it is there again, and every write that was
# acknowledged is read back. Prints, per run, the longest time without a success over
# the worst group, and the median over the runs. Fails when an acknowledged write is
# lost or the median is a second or more.
. "$(dirname "$0")/../e2e/lib.sh"

runs=${1:-${RUNS:-10}}
how=${2:-kill}
case $how in
  kill | pause | stop) ;;
  *) echo "failover: $how: kill, pause or stop" >&2; exit 2 ;;
esac
nodes=${BENCH_NODES:-3}
up "$nodes" > "$work/up.out" 2>&1 || { cat "$work/up.out"; exit 1; }
printf '%-4s %-7s %-10s %-9s %-9s %-8s %s\n' run killed gap_ms group writes/s unknown verified
lost=0
for ((run = 1; run <= runs; run++)); do
  : > "$work/acked"
  load write --seconds 6 > "$work/load.out" 2> "$work/load.err" &
  writers=$!
  sleep 2
  victim=$(busiest)
  case $how in
    kill) cluster kill "$victim" ;;
    pause) kill -STOP "$(cat "$CLUSTER_DIR/n$victim/pid")" ;;
    stop) kill -TERM "$(cat "$CLUSTER_DIR/n$victim/pid")" ;;
  esac
  wait $writers
  load verify > "$work/verify.out" 2> "$work/verify.err" || lost=1
  [ "$how" != pause ] || kill -CONT "$(cat "$CLUSTER_DIR/n$victim/pid")"
  if ! up "$nodes" > "$work/up.out" 2>&1; then
    cat "$work/up.out"
    exit 1
  fi
  load verify >> "$work/verify.out" 2>> "$work/verify.err" || lost=1
  awk -v run=$run -v victim="$victim" -v verified="$(sed -n 's/ *errors=.*//; 1p' "$work/verify.out")" '
    { for (i = 1; i <= NF; i++) { split($i, p, "="); v[p[1]] = p[2] } }
    END { printf "%-4d %-7d %-10d %-9d %-9d %-8d %s\n", run, victim, v["gap_ms"], v["group"], v["rate"], v["unknown"], verified }
  ' "$work/load.out"
  sed -n 's/^gap_ms=\([0-9]*\).*/\1/p' "$work/load.out" >> "$work/gaps"
  [ $lost -eq 0 ] || cat "$work/verify.out" "$work/verify.err"
  sleep 1
done
sort -n "$work/gaps" | awk -v lost=$lost -v how="$how" '
  { gap[NR] = $1 }
  END {
    median = NR % 2 ? gap[(NR + 1) / 2] : (gap[NR / 2] + gap[NR / 2 + 1]) / 2
    printf "how=%s median_gap_ms=%d min=%d max=%d runs=%d acknowledged_writes_lost=%s\n",
      how, median, gap[1], gap[NR], NR, lost ? "yes" : "none"
    exit NR == 0 || lost || median >= 1000
  }'
