#!/bin/bash
# tests/e2e/040_all_killed.sh - all nodes killed at once while clients write; nothing lost.
. "$(dirname "$0")/lib.sh"
plan 12

ok "three nodes start" up 3
for round in 1 2 3; do
  load write --seconds 4 --deadline-ms 1000 > "$work/load.out" 2> "$work/load.err" &
  writers=$!
  sleep 2
  for i in 1 2 3; do
    cluster kill $i &
  done
  wait $writers
  rc=$?
  wait
  sed "s/^/# /" "$work/load.out"; tail -n 3 "$work/load.err" | sed "s/^/# /"
  ok "round $round: the writers end by themselves" test $rc -eq 0
  ok "round $round: all three, killed at once, start again" up 3
  ok "round $round: every acknowledged write is there" load verify
done
ok "writes were acknowledged before the kills" test "$(wc -l < "$work/acked")" -gt 300
ok "the cluster takes new writes" ctl put after all
done_testing
