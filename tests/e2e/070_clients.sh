#!/bin/bash
# tests/e2e/070_clients.sh - MessagePack-RPC clients that others wrote.
. "$(dirname "$0")/lib.sh"
plan 15

ok "three nodes start" up 3
# Prints one "ok"/"not ok" line per test; they are counted as ours.
run_clients() {
  local line
  while IFS= read -r line; do
    case $line in
      "ok "*) test_number=$((test_number + 1)); echo "ok $test_number - ${line#ok }" ;;
      "not ok "*) test_number=$((test_number + 1)); test_failed=1; echo "not ok $test_number - ${line#not ok }" ;;
      *) echo "# $line" ;;
    esac
  done < <("$@" 2>&1)
}
if "$python" -c 'import msgpack' 2> /dev/null; then
  run_clients "$python" "$e2e/client_msgpack.py" "$(client_port 1)" "$(client_port 2)"
else
  for i in 1 2 3 4 5 6 7 8 9; do skip "python3-msgpack $i" "python3-msgpack is not installed"; done
fi
if "$python" -c 'import pynvim' 2> /dev/null; then
  run_clients "$python" "$e2e/client_pynvim.py" "$(client_port 2)"
else
  for i in 1 2; do skip "pynvim $i" "python3-pynvim is not installed"; done
fi
if command -v node > /dev/null && [ -d "$tools/npm/node_modules/msgpack5rpc" ]; then
  run_clients env NODE_PATH="$tools/npm/node_modules" node "$e2e/client_msgpack5rpc.js" "$(client_port 3)"
else
  for i in 1 2 3; do skip "npm msgpack5rpc $i" "npm msgpack5rpc is not available"; done
fi
done_testing
