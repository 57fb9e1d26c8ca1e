#!/bin/bash
# tests/e2e/120_start_stop.sh - banner, refusals at start, clean shutdown.
. "$(dirname "$0")/lib.sh"
plan 20

ok "three nodes start" up 3
banner() { head -n 30 "$CLUSTER_DIR/n1/log" | grep -qF "$1"; }
ok "the banner names the client address" banner "127.0.0.1:$(client_port 1)"
ok "the banner names the data directory" banner "$CLUSTER_DIR/n1/data"

# kvd_fails "sentence" PATTERN FLAGS...: it ends by itself, saying PATTERN.
kvd_fails() {
  local sentence=$1 pattern=$2
  shift 2
  fails() {
    timeout 10 "$BIN/kvd" "$@" > "$work/kvd.out" 2>&1
    local rc=$?
    cat "$work/kvd.out"
    [ "$rc" -ne 0 ] && [ "$rc" -ne 124 ] && [ "$rc" -lt 128 ] && grep -Eiq -- "$pattern" "$work/kvd.out"
  }
  ok "$sentence" fails "$@"
}
free=$((PORT_BASE + 60))
alone=127.0.0.1:$free:$((free + 1)) # Ports that nobody uses.
kvd_fails "an unknown flag is refused" "nonsense" --nonsense 1
kvd_fails "another address without TLS is refused" "--insecure" --id 1 --data-dir "$work/other" \
  --listen "0.0.0.0:$free" --peer "0.0.0.0:$((free + 1))" --initial-cluster "1=$alone"
kvd_fails "a data directory in use is refused" "in use by another process" \
  --id 1 --data-dir "$CLUSTER_DIR/n1/data" --initial-cluster "1=$alone"
cluster stop 2
kvd_fails "another node's data directory is refused" "belongs to node 2, not to node 1" \
  --id 1 --data-dir "$CLUSTER_DIR/n2/data" --initial-cluster "1=$alone"
kvd_fails "a taken port is named" "$(client_port 1): cannot listen" --id 1 --data-dir "$work/new" \
  --initial-cluster "1=127.0.0.1:$(client_port 1):$((free + 1))"
ok "node 2 comes back" up 3

# A deleted or outdated pid file: the node is found nevertheless.
rm -f "$CLUSTER_DIR/n1/pid"
echo 1 > "$CLUSTER_DIR/n3/pid"
ok "nodes whose pid file is lost count as running" up 3
ok "and are stopped with the others" cluster down
ended() { ! curl -sS --max-time 2 "http://127.0.0.1:$(http_port 1)/livez" && ! curl -sS --max-time 2 "http://127.0.0.1:$(http_port 3)/livez"; }
ok "really" ended
up 3 > /dev/null 2>&1

# Closed standard streams: log lines must not go into what was opened in their place.
"$BIN/kvd" --id 1 --data-dir "$work/closed" --initial-cluster "1=$alone" --listen "127.0.0.1:$free" \
  --peer "127.0.0.1:$((free + 1))" --http "127.0.0.1:$((free + 2))" <&- >&- 2>&- &
closed=$!
closed_put() { within 10 "$BIN/kvctl" --endpoints "127.0.0.1:$free" put closed streams; }
ok "a node without standard streams serves" closed_put
closed_fds() { [ "$(readlink "/proc/$closed/fd/"{0,1,2} | sort -u)" = /dev/null ]; }
ok "and has /dev/null in their place" closed_fds
kill $closed
wait $closed

# Few files may be open, and clients want them all: HTTP and the disk have theirs.
(ulimit -n 80 && exec "$BIN/kvd" --id 1 --data-dir "$work/few" --initial-cluster "1=$alone" \
  --http "127.0.0.1:$((free + 2))") > "$work/few.log" 2>&1 &
few=$!
few_put() { within 10 "$BIN/kvctl" --endpoints "127.0.0.1:$free" put few files; }
ok "a node serves that may open few files" few_put
crowded() {
  "$python" - "$free" $((free + 2)) << 'PY'
import socket, sys, urllib.request
idle = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(200)]
assert urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[2]}/livez", timeout=5).status == 200
PY
}
ok "and answers over HTTP beside a crowd of clients" crowded
kill $few
wait $few

# A node that stops cleanly hands its groups over: nobody waits for an election.
victim=$(busiest)
load write --seconds 5 > "$work/load.out" 2> "$work/load.err" &
writers=$!
sleep 1
ok "the busiest node stops" cluster stop "${victim:-1}"
wait $writers
sed 's/^/# /' "$work/load.out"
ok "no group was without a write for 500 ms" test "$(sed -n 's/^gap_ms=\([0-9]*\).*/\1/p' "$work/load.out")" -lt 500
ok "it comes back" up 3
spread() {
  "$python" "$e2e/rpc.py" leaders "$(endpoints)" |
    awk '$1 > 0 { n[$2]++ } END { for (i = 1; i <= 3; i++) if (n[i] < 1 || n[i] > 4) exit 1 }'
}
ok "leaders spread over all three nodes again" within 60 spread
done_testing
