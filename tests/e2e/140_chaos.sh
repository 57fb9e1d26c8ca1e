#!/bin/bash
# tests/e2e/140_chaos.sh - nodes killed, stopped and paused at random while 16 clients write.
#
# Env: CHAOS_SECONDS (20), CHAOS_SEED (of the order of events; the commit's by default).
. "$(dirname "$0")/lib.sh"
plan 5

seconds=${CHAOS_SECONDS:-20}
RANDOM=${CHAOS_SEED:-$((16#$(git rev-parse --short=4 HEAD 2> /dev/null || echo 1) % 32768))}
ok "three nodes start" up 3
load write --seconds "$seconds" --deadline-ms 800 > "$work/load.out" 2> "$work/load.err" &
writers=$!
end=$(($(date +%s) + seconds - 3))
events=0
while [ "$(date +%s)" -lt $end ]; do
  victim=$((RANDOM % 3 + 1))
  events=$((events + 1))
  case $((RANDOM % 5)) in
    0 | 1) cluster kill $victim ;;
    2) cluster stop $victim ;;
    3)
      cluster kill $victim
      cluster kill $((victim % 3 + 1)) # No majority is left for a while.
      ;;
    4)
      pid=$(cat "$CLUSTER_DIR/n$victim/pid")
      kill -STOP "$pid"
      sleep 0.$((RANDOM % 9 + 1))
      kill -CONT "$pid"
      ;;
  esac
  sleep 0.$((RANDOM % 10))
  for i in 1 2 3; do
    cluster start $i
  done
  sleep $((RANDOM % 2)).$((RANDOM % 10))
done
wait $writers
rc=$?
sed "s/^/# events=$events /" "$work/load.out"
ok "the writers end by themselves" test $rc -eq 0
ok "every group has a leader again" up 3
ok "every acknowledged write is there" load verify
no_halt() { ! grep -hE ' ERROR |ASSERTION' "$CLUSTER_DIR"/n*/log; }
ok "no node found a reason to halt" no_halt
done_testing
