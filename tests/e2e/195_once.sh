#!/bin/bash
# tests/e2e/195_once.sh - every acknowledged increment counts once, while leaders are
# killed and clients send again what got no answer.
. "$(dirname "$0")/lib.sh"
plan 12

ok "three nodes start" up 3
nodes=$(endpoints) # The file is written anew while a node is started.
# kvctl by kvctl, each a session of its own; the first of its nodes may be a dead one.
count_up() {
  local done_count=0 other=0 rc end=$(($(date +%s) + 14))
  while [ "$(date +%s)" -lt $end ]; do
    "$BIN/kvctl" --endpoints "$nodes" --timeout 10s incr "$1" > /dev/null 2>> "$work/errors"
    rc=$?
    if [ $rc -eq 0 ]; then done_count=$((done_count + 1)); else other=$((other + 1)); fi
  done
  echo "$done_count $other"
}
for i in 1 2; do
  count_up "counter$i" > "$work/count$i" &
done
# And one client of libkv with 8 clients and many increments under way, over 50 keys.
"$BIN/kvctl" --endpoints "$nodes" --timeout 10s bench --session on --mix incr=1 --clients 8 \
  --flight 4 --keys 50 --count 30000 --warmup 0 -o json > "$work/bench" 2> "$work/bench.err" &
bench=$!
kills() {
  local i victim
  for i in 1 2 3; do
    sleep 2
    victim=$(busiest)
    cluster kill "${victim:-1}" || return 1
    sleep 1
    up 3 || return 1
  done
}
ok "the busiest node is killed three times, and comes back" kills
wait $bench
rc=$?
for i in 1 2; do
  within 30 test -s "$work/count$i"
done
sed 's/^/# /' "$work/errors"
ok "the load went on" test $rc -eq 0
for i in 1 2; do
  read -r acked other < "$work/count$i"
  is "counter $i is the number of acknowledged increments, $acked" "$acked" ctl get "counter$i"
  is "and nothing failed or was unknown" 0 echo "$other"
done
read -r acked other <<< "$("$python" -c '
import json, sys
b = json.load(open(sys.argv[1]))
op = b["ops"]["incr"] if isinstance(b["ops"], dict) else [o for o in b["ops"] if o["op"] == "incr"][0]
print(op["done"], op["unknown"] + op["not_done"])' "$work/bench")"
sum() {
  ctl range --prefix bench/ -o json | "$python" -c '
import json, sys
print(sum(int(i["value"]) for i in json.load(sys.stdin)["items"]))'
}
is "libkv's increments, $acked, are all there and there once" "$acked" sum
is "and nothing failed or was unknown" 0 echo "$other"

# A name instead of a session: two programs, one write.
ctl incr named --idem order-1 > /dev/null
is "a named write is done once, by whomever it is sent" 1 ctl incr named --idem order-1
exits "the name of another request is refused" 4 ctl incr named 5 --idem order-1
is "and changed nothing" 1 ctl get named
done_testing
