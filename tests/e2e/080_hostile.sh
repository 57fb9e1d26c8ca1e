#!/bin/bash
# tests/e2e/080_hostile.sh - hostile input on client, peer and HTTP ports.
. "$(dirname "$0")/lib.sh"
plan 22

ok "three nodes start" up 3
while IFS= read -r line; do
  case $line in
    "ok "*) test_number=$((test_number + 1)); echo "ok $test_number - ${line#ok }" ;;
    "not ok "*) test_number=$((test_number + 1)); test_failed=1; echo "not ok $test_number - ${line#not ok }" ;;
    *) echo "# $line" ;;
  esac
done < <("$python" "$e2e/hostile.py" "$(client_port 1)" "$(peer_port 1)" "$(http_port 1)" \
  "$(client_port 2)" "$(cat "$CLUSTER_DIR/n1/pid")" 2>&1)
same_process() { [ "$(cat "$CLUSTER_DIR/n1/pid")" = "$1" ] && kill -0 "$1"; }
ok "the node is still the same process" same_process "$(cat "$CLUSTER_DIR/n1/pid")"
ok "and every group still has a leader" cluster wait
done_testing
