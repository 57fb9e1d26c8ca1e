#!/bin/bash
# tests/e2e/055_full.sh - the quota is full: writes are refused, the rest goes on, it heals.
. "$(dirname "$0")/lib.sh"
plan 10

# Small, so that large values fill it quickly; log and state have this much each.
export KVD_ARGS="--quota-bytes 40M --log-bytes 2M --delta-bytes 2M"
ok "three nodes with a small quota start" up 3
head -c 900000 /dev/urandom > "$work/value"
put_one() { ctl put "$1" - < "$work/value" 2> "$work/refusal"; }
# The log alone would not fit: what the state has is given up in time.
over_and_over() {
  local i
  for i in {1..80}; do
    within 10 put_one "big$((i % 10))" || return 1
  done
}
ok "80 values over 10 keys are more than the quota, and fit" over_and_over
fill() {
  local i
  for i in {10..99}; do
    put_one "big$i" || within 5 put_one "big$i" || return 0
  done
  return 1
}
ok "new keys are refused at last" fill
says() { grep NO_SPACE "$work/refusal"; }
ok "with NO_SPACE" says
read_back() { ctl get --raw big1 | cmp - "$work/value"; }
ok "reads go on" read_back
full() { curl -sS --max-time 5 "http://127.0.0.1:$(http_port "$1")/readyz?verbose" | grep 'disk failed'; }
one_full() { full 1 || full 2 || full 3; }
ok "/readyz names the full disk" one_full
delete_some() {
  local i
  for i in {0..60}; do
    ctl del "big$i" || [ $? -eq 1 ] || return 1
  done
}
ok "keys can be deleted" delete_some
ok "it heals by itself" within 30 put_one other
cluster kill 2
ok "a killed node comes back" up 3
all_there() { ctl get --raw other | cmp - "$work/value"; }
ok "and what was written is there" all_there
done_testing
