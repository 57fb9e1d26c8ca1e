#!/bin/bash
# tests/e2e/035_pause_leader.sh - the busiest node stands still for 3 s while clients write.
#
# Unlike a killed process it keeps its connections, and believes for a moment after
# waking that it still leads: what it answers then must be true.
. "$(dirname "$0")/lib.sh"
plan 6

ok "three nodes start" up 3
ok "a counter is there" ctl put counter 0
# A write that was sent to the standing node ends as unknown after its deadline.
load write --seconds 9 --deadline-ms 500 > "$work/load.out" 2> "$work/load.err" &
writers=$!
# Adds 1 over and over through one node; prints how often it was acknowledged, and how
# often the outcome was unknown.
count_up() {
  local done_count=0 unknown=0 rc end=$(($(date +%s) + 8))
  while [ "$(date +%s)" -lt $end ]; do
    ctl_at "$1" --timeout 2s incr counter > /dev/null 2>&1
    rc=$?
    [ $rc -eq 0 ] && done_count=$((done_count + 1))
    [ $rc -eq 5 ] && unknown=$((unknown + 1))
  done
  echo "$done_count $unknown"
}
for i in 1 2 3; do
  count_up $i > "$work/count$i" &
done
sleep 2
victim=$(busiest)
pid=$(cat "$CLUSTER_DIR/n${victim:-1}/pid")
kill -STOP "$pid"
sleep 3
kill -CONT "$pid"
wait $writers
rc=$?
sed 's/^/# /' "$work/load.out"
for i in 1 2 3; do
  within 20 test -s "$work/count$i"
done
ok "the writers went on" test $rc -eq 0
ok "no group was without a write for 2 s" test "$(sed -n 's/^gap_ms=\([0-9]*\).*/\1/p' "$work/load.out")" -lt 2000
ok "every acknowledged write is there" load verify
in_bounds() {
  local sum acked unknown
  sum=$(ctl get counter)
  read -r acked unknown <<< "$(awk '{ a += $1; u += $2 } END { print a, u }' "$work"/count?)"
  echo "counter=$sum acknowledged=$acked unknown=$unknown"
  [ "$acked" -gt 50 ] && [ "$sum" -ge "$acked" ] && [ "$sum" -le $((acked + unknown)) ]
}
ok "a counter holds what was acknowledged, and at most the unknown ones besides" in_bounds
sed 's/^/# /' "$work/ok.out"
done_testing
