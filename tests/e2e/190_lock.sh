#!/bin/bash
# tests/e2e/190_lock.sh - kvctl lock, sem, election, and fences.
. "$(dirname "$0")/lib.sh"
plan 18

ok "three nodes start" up 3
KVCTL_ENDPOINTS=$(endpoints)
kvctl=$BIN/kvctl
export KVCTL_ENDPOINTS kvctl

exits "a command's status is handed on" 7 ctl lock l --wait 20s -- sh -c 'exit 7'
is "it gets the fence" l ctl lock l --wait 20s -- sh -c 'echo "${KVCTL_FENCE%%:*}"'
exits "a command that does not exist" 127 ctl lock l --wait 20s -- /no/such/command

ctl put c 0 > /dev/null
worker() {
  for _ in 1 2 3 4 5; do
    ctl lock l --wait 30s -- sh -c 'v=$("$kvctl" get c) && "$kvctl" put c $((v + 1)) > /dev/null' || return 1
  done
}
workers() {
  local pids=() status=0
  for _ in 1 2 3 4; do
    worker &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || status=1; done
  return $status
}
ok "four processes count under a lock" workers
is "and lose nothing" 20 ctl get c

old=$(ctl lock l --wait 20s -- sh -c 'echo "$KVCTL_FENCE"')
ok "a newer holder reads and writes" ctl lock l --wait 20s -- sh -c '"$kvctl" get c && "$kvctl" put c x'
exits "the older token is refused for a read" 4 ctl get c --fence "$old"
exits "and for a write" 4 ctl put c y --fence "$old"
is "which changed nothing" x ctl get c
exits "and for a transaction" 4 ctl txn then put c y --fence "$old"
is "one that asks for the token sees it held" 1 \
  ctl lock '{t}l' --wait 20s -- sh -c '"$kvctl" txn if lock "{t}l" = "${KVCTL_FENCE##*:}" then incr "{t}n" 1'

exits "who does not wait is told so" 1 ctl lock l --wait 20s -- "$kvctl" lock l --wait 0 -- true
exits "a semaphore has as many holders as permits" 1 \
  ctl sem s 2 --wait 20s -- "$kvctl" sem s 2 --wait 5s -- "$kvctl" sem s 2 --wait 0 -- true
leader() { ctl election e here --wait 20s -- "$kvctl" election e | grep -q here; }
ok "an election shows who leads" leader

ctl lock l --ttl 2s --wait 20s -- sh -c 'trap "exit 9" TERM; while :; do sleep 0.1; done' 2> /dev/null &
holder=$!
sleep 1
kill -9 "$(cat "$CLUSTER_DIR/n1/pid")" "$(cat "$CLUSTER_DIR/n2/pid")"
lost() { wait $holder; [ $? -eq 9 ]; }
ok "a command ends when nobody confirms its lock" lost
gives_up() { ctl lock l "$@" -- true 2> "$work/err"; [ $? -ge 3 ]; }
ok "without a leader it gives up in time" gives_up --timeout 1s
tells() { gives_up "$@" && [ "$(grep -c "waiting for l" "$work/err")" = 1 ]; }
ok "or says once what it waits for" tells --timeout 1s --wait 4s
done_testing
