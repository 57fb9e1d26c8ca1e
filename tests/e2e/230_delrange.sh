#!/bin/bash
# tests/e2e/230_delrange.sh - kvctl del --range and --prefix: steps, and where to go on.
. "$(dirname "$0")/lib.sh"
plan 18

fill() { # N keys of 1 KB.
  "$python" -c '
import json, sys
for i in range(int(sys.argv[1])):
    print(json.dumps({"key": "user/%05d" % i, "value": "x" * 1000}))' "$1" | ctl import -
}
count() { ctl export "${1:-}" | wc -l; }

ok "three nodes start" up 3
ok "keys are there" fill 20000
ok "and one behind them" ctl put z last
is "a range is deleted, its end is not" 10 ctl del --range user/00010 user/00020
is "so many are gone" 19990 count user/
is "the end stayed" 1000 bash -c "$BIN/kvctl --endpoints $(endpoints) get --raw user/00020 | wc -c"
exits "an empty range has no keys" 1 ctl del --range user/00010 user/00020
exits "bounds are needed" 2 ctl del --range user/1
exits "a prefix and a key are too much" 2 ctl del --prefix user/ z
exits "an empty prefix is refused" 2 ctl del --prefix ""
is "many steps delete a prefix" '{"deleted":19990,"complete":true}' ctl -o json del --prefix user/
is "and nothing else" 1 count
ok "keys are there again" fill 3000
kill -9 "$(cat "$CLUSTER_DIR/n2/pid")"
is "with a node dead the rest is deleted" 2500 ctl --timeout 20s del --range user/00500 user/03000
kill -9 "$(cat "$CLUSTER_DIR/n3/pid")"
no_quorum() { # What a leader had in its log before it was alone may still be done.
  ctl --timeout 2s del --prefix user/ 2> "$work/del.err"
  case $? in 4 | 5) ;; *) return 1 ;; esac
}
ok "with two dead it is refused, or unknown" no_quorum
ok "it says how many, and where to go on" grep "0 keys are certainly deleted; go on with: --from 'user/'" "$work/del.err"
ok "the nodes come back" up 3
ctl --timeout 20s del --prefix user/ --from user/ > "$work/rest.out" 2>&1
is "and it goes on there" 0 count user/
done_testing
