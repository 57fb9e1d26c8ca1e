#!/bin/bash
# tests/e2e/050_sizes.sh - five nodes; another size is refused; down keeps data, wipe does not.
. "$(dirname "$0")/lib.sh"
plan 17

exits "down without a cluster says so" 1 cluster down
ok "wipe without a cluster is fine" cluster wipe
ok "five nodes start" up 5
ok "a key is written" ctl put greeting hello
for i in 1 2 3 4 5; do
  is "it is read through node $i" hello ctl_at $i get greeting
done
exits "another NODES is refused" 2 up 3
ok "with a hint" grep -q "make wipe" "$work/exits.out"
ok "up again changes nothing" up 5
two_down() {
  cluster kill 2 && cluster kill 5 && sleep 1 &&
    ctl put with-three-of-five ok && [ "$(ctl get with-three-of-five)" = ok ]
}
ok "two of five may die" two_down
ok "down stops all" cluster down
no_process() { ! pgrep -f -- "$CLUSTER_DIR/n[0-9]/data" > /dev/null; }
ok "no process is left" no_process
data_back() { cluster up && [ "$(ctl get greeting)" = hello ]; }
ok "up brings the data back" data_back
wiped() { cluster wipe && [ ! -e "$CLUSTER_DIR" ] && no_process; }
ok "wipe deletes it" wiped
done_testing
