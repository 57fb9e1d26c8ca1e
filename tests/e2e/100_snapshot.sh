#!/bin/bash
# tests/e2e/100_snapshot.sh - a node away for longer than the log window comes back by snapshot.
. "$(dirname "$0")/lib.sh"
plan 8

export KVD_ARGS="--log-window 100 --checkpoint-ms 200"
ok "three nodes with a short log start" up 3
ok "a key is written before" ctl put before yes
cluster stop 3
load write --seconds 6 --bytes 200 > "$work/load.out"
sed 's/^/# /' "$work/load.out"
ok "several windows of writes go by without node 3" test "$(wc -l < "$work/acked")" -gt 2400
sleep 2
load write --seconds 8 > "$work/load2.out" 2>&1 &
writers=$!
ok "node 3 comes back while the others serve" up 3
wait $writers
ok "they served without a gap of a second" test "$(sed -n 's/^gap_ms=\([0-9]*\).*/\1/p' "$work/load2.out")" -lt 1000
sed 's/^/# /' "$work/load2.out"
installed() { [ "$(grep -c 'snapshot=installed' "$CLUSTER_DIR/n3/log")" -ge 8 ]; }
ok "node 3 installed a snapshot of every group" within 20 installed
cluster stop 1
ok "with node 3 in the majority every acknowledged write is there" load verify
is "and the oldest key too" yes ctl get before
done_testing
