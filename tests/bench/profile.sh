#!/bin/bash
# tests/bench/profile.sh - where the microseconds of a request go, over all nodes.
#
#   profile.sh [SHAPE...]        SHAPE: op:clients:under way on each (put:64:1 get:64:1)
#
# A cluster of its own, filled, then kvctl bench in each shape. Per request and summed
# over the nodes: processor time by thread; Raft messages and frames; log commits, and
# the syncs they are; bytes written to disk for each byte of keys and values; means of
# the times that the nodes measure themselves. Where `perf` is installed and allowed,
# processor time by system call and, in user space, by source file (Debian: linux-perf).
#
# With SYSCALLS=1 a second run under strace counts system calls per request, by kind;
# it slows the nodes down, so its commits are smaller than those of the first run.
#
# Env: SECONDS_EACH (6), KEYS (100000), VALUE_BYTES (256), BENCH_NODES (3).
. "$(dirname "$0")/../e2e/lib.sh"

seconds=${SECONDS_EACH:-6}
keys=${KEYS:-100000}
bytes=${VALUE_BYTES:-256}
nodes=${BENCH_NODES:-3}
[ $# -gt 0 ] || set -- put:1:1 put:64:1 put:64:16 get:64:1 get:64:16

pids() {
  cat "$CLUSTER_DIR"/n*/pid
}

# Lines "name value": everything that is counted, summed over the nodes.
counters() {
  local pid i
  for pid in $(pids); do
    # Threads in the order they began: the loop, then the disk lanes log and state.
    for task in $(find "/proc/$pid/task" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -n); do
      echo "thread $(awk '{ print $1 }' "/proc/$pid/task/$task/schedstat")"
    done | awk '{ split("loop log state", name); print "cpu_ns_" (NR <= 3 ? name[NR] : "other"), $2 }'
    awk '/^(wchar|write_bytes|syscr|syscw):/ { sub(":", "", $1); print "io_" $1, $2 }' "/proc/$pid/io"
    awk '/ctxt_switches/ { sub(":", "", $1); print $1, $2 }' "/proc/$pid"/task/*/status
  done
  for ((i = 1; i <= nodes; i++)); do
    curl -s "http://127.0.0.1:$(http_port $i)/metrics" | grep -v '^#' | grep -v '^kvd_group_[a-z_]*index'
  done
}

# profile_one OP CLIENTS FLIGHT
profile_one() {
  local op=$1 perf_pid=
  counters > "$work/before"
  if command -v perf > /dev/null; then
    perf record -q -F 1999 -g -o "$work/perf.data" -p "$(pids | paste -sd,)" -- \
      sleep $((seconds + 30)) > /dev/null 2> "$work/perf.err" &
    perf_pid=$!
  fi
  ctl -o simple bench --mix "$op" --clients "$2" --flight "$3" --warmup 0s \
    --duration "${seconds}s" --keys "$keys" --bytes "$bytes" > "$work/bench" || return 1
  counters > "$work/after" # At once: a second of quiet brings checkpoints.
  if [ -n "$perf_pid" ]; then
    kill -INT $perf_pid 2> /dev/null
    wait $perf_pid 2> /dev/null
  fi
  sed 1d "$work/bench" | awk '{ print "bench", $2, $3, $4, $6, $7 }' > "$work/numbers"
  : > "$work/samples"
  if [ -n "$perf_pid" ]; then
    perf script -i "$work/perf.data" -F comm,tid,ip,sym,dso > "$work/samples" 2> /dev/null
  fi
  awk -f tests/bench/profile.awk -v shape="$1:$2:$3" -v op="$op" -v bytes="$bytes" \
    "$work/numbers" "$work/before" "$work/after" "$work/symbols" "$work/samples"
}

# syscalls_one OP CLIENTS FLIGHT: calls per request, summed over the nodes.
syscalls_one() {
  local pid flags=()
  for pid in $(pids); do
    flags+=(-p "$pid")
  done
  strace -f -c -qq -o "$work/strace" "${flags[@]}" &
  pid=$!
  sleep 1
  ctl -o simple bench --mix "$1" --clients "$2" --flight "$3" --warmup 0s \
    --duration "${seconds}s" --keys "$keys" --bytes "$bytes" > "$work/bench"
  kill -INT $pid
  wait $pid
  awk -v done="$(awk 'NR == 2 { print $2 }' "$work/bench")" '
    BEGIN { printf "  system calls per request, under strace:" }
    $4 ~ /^[0-9]+$/ && $NF != "total" && $4 / done >= 0.005 { printf " %s %.2f", $NF, $4 / done }
    END { print "" }' "$work/strace"
}

nm -A --defined-only "$BIN"/lib{base,raft,rpc,storage,server}.a > "$work/symbols" 2> /dev/null
up "$nodes" > "$work/up.out" 2>&1 || { cat "$work/up.out"; exit 1; }
ctl bench --fill --keys "$keys" --bytes "$bytes" --duration 1s > /dev/null || exit 1
sleep 4 # What was filled is checkpointed once nothing has changed for a second.
for shape in "$@"; do
  IFS=: read -r op clients flight <<< "$shape"
  profile_one "$op" "$clients" "$flight" || { echo "profile: no numbers for $shape" >&2; exit 1; }
  [ -z "${SYSCALLS:-}" ] || syscalls_one "$op" "$clients" "$flight"
  echo "load average $(cut -d' ' -f1-3 /proc/loadavg)"
  echo
done
