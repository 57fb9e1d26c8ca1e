#!/bin/bash
# tests/bench/memory.sh - anonymous memory per node: keys and idle connections.
#
# After 100,000 keys were put: how much at the end of the load, and 10 s later. Then
# 10,000 connections to one node, each of which asked for one key. Fails when a node
# holds more than MAX_MB, or a connection more than MAX_KB.
#
# Env: KEYS (100000), VALUE_BYTES (256), REST_S (10), MAX_MB (40), CONNS (10000), MAX_KB (8).
. "$(dirname "$0")/../e2e/lib.sh"

conns=${CONNS:-10000}
ulimit -n $((2 * conns + 1000)) 2> /dev/null || ulimit -n "$(ulimit -Hn)"
export KVD_ARGS="--max-connections $((conns + 100))"
max_mb=${MAX_MB:-40}
anon_kb() { awk '/^RssAnon:/ { print $2 }' "/proc/$1/status"; }

up 3 > "$work/up.out" 2>&1 || { cat "$work/up.out"; exit 1; }
ctl bench --fill --keys "${KEYS:-100000}" --bytes "${VALUE_BYTES:-256}" --duration 1s > /dev/null || exit 1
for i in 1 2 3; do
  loaded[i]=$(anon_kb "$(cat "$CLUSTER_DIR/n$i/pid")")
done
sleep "${REST_S:-10}"
failed=0
for i in 1 2 3; do
  kb=$(anon_kb "$(cat "$CLUSTER_DIR/n$i/pid")")
  echo "node $i: $((loaded[i] / 1024)) MB anonymous at the end of the load, $((kb / 1024)) MB ${REST_S:-10} s later"
  [ $kb -le $((max_mb * 1024)) ] || failed=1
done
[ $failed -eq 0 ] || echo "memory: more than $max_mb MB" >&2

cat > "$work/idle.py" << 'EOF_IDLE'
import socket, sys

port, pid, count, max_kb = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])

def anon_kb():
    with open("/proc/%s/status" % pid) as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

before = anon_kb()
conns = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
for conn in conns:
    conn.sendall(b"\x94\x00\x01\xa6kv.get\x91\xa1k")
answered = 0
for conn in conns:
    conn.settimeout(10)
    answered += len(conn.recv(300)) > 0
each = (anon_kb() - before) / count
print("%d connections, %d of them answered: %.2f KB each" % (count, answered, each))
sys.exit(0 if answered == count and each <= max_kb else 1)
EOF_IDLE
"$python" "$work/idle.py" "$(client_port 1)" "$(cat "$CLUSTER_DIR/n1/pid")" "$conns" "${MAX_KB:-8}" || failed=1
exit $failed
