#!/bin/bash
# tests/e2e/260_kvctl_faults.sh - what kvctl says, and when, while nodes are paused or dead.
. "$(dirname "$0")/lib.sh"
plan 10

ok "three nodes start" up 3
ok "a key is there" ctl put k 1
first=$(cat "$CLUSTER_DIR/n1/pid")
kill -STOP "$first"
is "a first endpoint that stands still does not keep a read from the others" 1 ctl --timeout 2s get k
is "nor a quorum read" 1 ctl --timeout 2s get --level quorum k
ok "nor a write" ctl --timeout 2s put k 2
kill -CONT "$first"
sleep 1
kill -9 "$first" "$(cat "$CLUSTER_DIR/n2/pid")"
# timed STATUS COMMAND...: that exit status, and not before the deadline of 1 s: a node
# is there and says that there is no leader.
timed() {
  local want=$1 begin rc ms
  shift
  begin=$(date +%s%3N)
  "$@"
  rc=$?
  ms=$(($(date +%s%3N) - begin))
  echo "exit status $rc after $ms ms"
  [ $rc -eq "$want" ] && [ $ms -ge 700 ] && [ $ms -le 1800 ]
}
ok "with one of three a read is certainly refused, at the deadline" timed 4 ctl --timeout 1s get k
ok "so is a quorum read" timed 4 ctl --timeout 1s get --level quorum k
# 5 where it was sent to a leader whose death was not known yet.
write() { timed 4 ctl --timeout 1s put k 3 || timed 5 ctl --timeout 1s put k 3; }
ok "a write ends at the deadline" write
kill -9 "$(cat "$CLUSTER_DIR/n3/pid")"
exits "with none of three no endpoint can be reached" 3 ctl --timeout 1s get k
ok "they come back" up 3
done_testing
