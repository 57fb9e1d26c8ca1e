#!/bin/bash
# tests/e2e/180_txn.sh - transactions on one slot: kvctl txn, and a bank whose leaders die.
. "$(dirname "$0")/lib.sh"
plan 17

ok "three nodes start" up 3
is "operations are carried out in order" $'OK\n5\n1' ctl txn then put '{a}x' 1 then incr '{a}n' 5 then get '{a}x'
is "then, where all compares are true" $'OK\n{a}n\t5\n{a}x\t2' ctl txn if value '{a}x' = 1 if exists '{a}q' = false \
  then put '{a}x' 2 then range '{a}' '{a}~' else get '{a}x'
is "else, where one is false" $'2\n(not found)' ctl txn if value '{a}x' = 1 then put '{a}x' 3 else get '{a}x' else get '{a}zz'
exits "which exits 1" 1 ctl txn if value '{a}x' = 1 then put '{a}x' 3
exits "what cannot be carried out to its end is refused" 4 ctl txn then put '{a}x' 9 then put '{a}y' abc then incr '{a}y' 1
is "and leaves no trace" $'2\n(not found)' ctl txn then get '{a}x' then get '{a}y'
exits "keys of two slots are refused" 4 ctl txn then put foo 1 then put bar 2
ok "and named" grep 'CROSS_SLOT.*"foo".*"bar".*{tag}' "$work/exits.out"
exits "a range over several slots too" 4 ctl txn then range a b
for i in 1 2 3; do
  is "node $i answers the same" 2 ctl_at $i txn if exists '{a}x' = true then get '{a}x'
done
results() { ctl -o json txn then get '{a}x' then del '{a}x' | "$python" -c '
import json, sys
r = json.load(sys.stdin)
assert r["succeeded"] and r["results"][0]["value"] == "2" and r["results"][1]["deleted"], r'; }
ok "-o json has one result per operation" results

ports() { echo "$(client_port 1),$(client_port 2),$(client_port 3)"; }
"$python" "$e2e/bank.py" 8 "$(ports)" > "$work/bank.out" 2>&1 &
bank=$!
sleep 2
node=$(busiest)
kill -9 "$(cat "$CLUSTER_DIR/n$node/pid")"
sleep 2
ok "a killed node comes back" up 3
sum() { wait $bank && cat "$work/bank.out"; }
ok "money moves while a node dies, and the sum stays" sum
grep moved "$work/bank.out" | sed 's/^/# /'
after() { "$python" "$e2e/rpc.py" call "127.0.0.1:$(client_port 2)" kv.range '{bank}' '{bank}~' | "$python" -c '
import json, sys
assert sum(int(v) for _, v, _ in json.load(sys.stdin)["items"]) == 800'; }
ok "and is there at the end" after
done_testing
