#!/bin/bash
# tests/e2e/240_ttl.sh - keys that end: kvctl put --ttl, txn, watch, another leader.
. "$(dirname "$0")/lib.sh"
plan 20

left() { ctl -o json get "$1" | "$python" -c 'import json, sys; print(json.load(sys.stdin).get("ttl_ms", 0))'; }
left_is() { # KEY LEAST MOST
  local ms
  ms=$(left "$1")
  [ "$ms" -ge "$2" ] && [ "$ms" -le "$3" ] || { echo "$ms ms are left"; return 1; }
}

ok "three nodes start" up 3
ctl watch --count 2 k > "$work/watch.out" 2>&1 &
watcher=$!
sleep 0.5
ok "a key with a time to live is put" ctl put --ttl 2s k v
is "it is there" v ctl get k
ok "and says what is left" left_is k 500 2000
ok "one that is put again without it stays" ctl put --ttl 1s stays v
ctl put stays w
ok "one that is counted with, too" ctl put --ttl 1s n 1
ctl incr n > /dev/null
exits "a transaction sets it" 0 ctl txn then put '{t}a' 1 ttl 1s then put '{t}b' 2
exits "and asks for it" 0 ctl txn if lease '{t}a' '>' 0 if lease '{t}b' = 0 then get '{t}b'
exits "what is no time is refused" 2 ctl put --ttl x k v
ok "hours and days are times" ctl txn then put "{t}h" 1 ttl 1.5h then put "{t}d" 1 ttl 30d
exits "getset takes it, too" 1 ctl getset --ttl 60s fresh x
sleep 3
exits "then it is gone" 1 ctl get k
ok "a watch was told" wait $watcher
is "that it expired" expire awk 'NR == 2 { print $1 }' "$work/watch.out"
is "the others stay" "w 2" echo "$(ctl get stays)" "$(ctl get n)"
exits "what the transaction set ended" 1 ctl get '{t}a'
is "and its neighbour stays" 2 ctl get '{t}b'

for i in $(seq 20); do ctl put --ttl 5s "all/$i" x; done
kill -9 "$(cat "$CLUSTER_DIR/n1/pid")"
count() { ctl export all/ | wc -l; }
is "a node dies, and no key ends before its time" 20 count
sleep 6
is "with other leaders they end as well" 0 count
ok "the node comes back" up 3
done_testing
