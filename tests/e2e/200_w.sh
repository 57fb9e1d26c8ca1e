#!/bin/bash
# tests/e2e/200_w.sh - how many replicas hold a write: cluster set-w, and option w.
. "$(dirname "$0")/lib.sh"
plan 16

ok "three nodes start" up 3
set_all() { ctl cluster set-w 3 > "$work/set.out" 2> "$work/set.err"; }
ok "W of all groups is 3" set_all
ok "which says so" grep "group 1: W 3 of 3" "$work/set.out"
ok "and warns" grep "one node that is down stops" "$work/set.err"
shows() { ctl status | grep -q "3 of 3"; }
ok "kvctl status shows it" shows
ok "a write is taken" ctl put k 1
is "one replica is enough for a quorum read" 1 ctl get --level quorum k
exits "a W below the majority is refused" 4 ctl cluster set-w 1 --group 1
exits "there is no such group" 2 ctl cluster set-w 2 --group 999
node=$(busiest)
other=$((node % 3 + 1))
kill -9 "$(cat "$CLUSTER_DIR/n$other/pid")"
exits "with a node down nothing is acknowledged" 5 ctl --timeout 2s put k 2
ok "the node comes back" up 3
ok "W goes down again" ctl --timeout 10s cluster set-w majority
ok "a write can ask for all three" ctl --timeout 10s put --w 3 k 3
kill -9 "$(cat "$CLUSTER_DIR/n$other/pid")"
exits "which it does not get with a node down" 5 ctl --timeout 2s put --w 3 k 4
ok "and is told how many hold it" grep "done, but of the 3 replicas asked for only 2" "$work/exits.out"
is "but it is applied, and others go on" 4 ctl --timeout 10s get k
done_testing
