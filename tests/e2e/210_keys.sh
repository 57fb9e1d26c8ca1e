#!/bin/bash
# tests/e2e/210_keys.sh - conditional writes: --if-rev and getset.
. "$(dirname "$0")/lib.sh"
plan 12

ok "three nodes start" up 3
ok "a key that is not there is put with revision 0" ctl put --if-rev 0 k 1
exits "once" 1 ctl put --if-rev 0 k 2
ok "and told which it is" grep "the revision of k is [0-9]*; nothing was changed" "$work/exits.out"
is "nothing was changed" 1 ctl get k
rev=$(ctl -o json get k | "$python" -c 'import json, sys; print(json.load(sys.stdin)["rev"])')
ok "the right revision is let through" ctl put --if-rev "$rev" k 3
exits "the old one is not" 1 ctl del --if-rev "$rev" k
is "getset prints what was there" 3 ctl getset k 4
is "and sets" 4 ctl get k
exits "it exits 1 where there was nothing" 1 ctl getset new x
is "and sets all the same" x ctl get new
exits "what is no revision is refused" 2 ctl put --if-rev x k 1
done_testing
