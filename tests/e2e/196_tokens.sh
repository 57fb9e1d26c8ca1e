#!/bin/bash
# tests/e2e/196_tokens.sh - levels of reads, and tokens that one client gives another:
# what was written is read from a replica that has stood still meanwhile.
. "$(dirname "$0")/lib.sh"
plan 10

ok "three nodes start" up 3
level_of() {
  ctl_at 2 get --level "$1" --explain greeting 2>&1 > /dev/null | sed 's/ .*//'
}
ok "a key is written" ctl put greeting hello
for level in linearizable quorum session stale; do
  is "a read of level $level says so" "level=$level" level_of $level
done

# A node that does not lead the key's group stands still while it is written 20 times.
leader=$(ctl get --explain greeting 2>&1 > /dev/null | sed 's/.*node=\([0-9]*\).*/\1/')
lags=$((leader % 3 + 1))
read_there() {
  ctl_at $lags get --level session --token "$work/theirs" greeting
}
round() {
  local i=$1 pid
  pid=$(cat "$CLUSTER_DIR/n$lags/pid")
  kill -STOP "$pid"
  "$BIN/kvctl" --endpoints "127.0.0.1:$(client_port "$leader")" bench --mix put=1 --clients 4 \
    --count 1000 --warmup 0 > /dev/null
  ctl_at "$leader" put --token "$work/mine" greeting "hello $i" || echo "put failed"
  cp "$work/mine" "$work/theirs"
  kill -CONT "$pid"
  [ "$(read_there)" = "hello $i" ] || echo "round $i: $(read_there)"
}
rounds() {
  local i
  for i in 1 2 3 4 5; do
    round $i
  done
}
is "what the token stands for is read from the node that stood still" "" rounds
ok "the token is a line of hex" grep -qE '^[0-9a-f]{22,}$' "$work/theirs"
sed -i 's/^../02/' "$work/theirs"
exits "a token that was changed is refused" 7 read_there
rm "$work/theirs"
ok "without a token the read is served as well, and begins one" read_there
done_testing
