#!/bin/bash
# tests/e2e/020_one_key.sh - three nodes; a key written through one is read through all.
. "$(dirname "$0")/lib.sh"
plan 29

ok "three nodes start and every group gets a leader" up 3
ok "a key is written" ctl put greeting hello
is "get prints the value only" hello ctl get greeting
for i in 1 2 3; do
  ok "a key is written through node $i" ctl_at $i put "from$i" "value $i"
  for j in 1 2 3; do
    is "a key written through node $i is read through node $j at once" "value $i" ctl_at $j get "from$i"
  done
done
exits "a missing key exits 1" 1 ctl get nothing
exits "a wrong use exits 2" 2 ctl put greeting
exits "nobody listening exits 3" 3 "$BIN/kvctl" --endpoints 127.0.0.1:1 get greeting
ok "a key is deleted" ctl del greeting
exits "a deleted key is gone" 1 ctl get greeting
ok "incr begins an absent key at 0" ctl incr counter 5
ok "incr adds" ctl incr counter 2
is "the sum is there" 7 ctl get counter
ctl put word hello
no_number() { ! ctl incr word 2> "$work/no_number" && grep 'Try: kvctl get word$' "$work/no_number"; }
ok "what is no number names the command that shows it" no_number
head -c 300000 /dev/urandom | base64 -w 0 > "$work/big"
from_stdin() { ctl put big - < "$work/big"; }
ok "a value of 400 kB comes from stdin" from_stdin
same() { [ "$(ctl get big)" = "$(cat "$work/big")" ]; }
ok "and comes back the same" same
status_json() { ctl -o json status | "$python" -c 'import json,sys; json.load(sys.stdin)'; }
closed_stdout() { ctl get counter >&-; }
exits "a result that nobody gets is an I/O error" 7 closed_stdout
ok "status -o json is JSON" status_json
ring() { ctl ring greeting | grep -Eiq 'slot.*group|group.*slot'; }
ok "ring KEY names slot and group" ring
done_testing
