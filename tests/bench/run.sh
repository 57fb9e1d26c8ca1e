#!/bin/bash
# tests/bench/run.sh - `make bench`: throughput of a local cluster, then failover.
. "$(dirname "$0")/../e2e/lib.sh"

up "${BENCH_NODES:-3}" > "$work/up.out" 2>&1 || { cat "$work/up.out"; exit 1; }
echo "one cluster of ${BENCH_NODES:-3} nodes on $(nproc) cores, 64-byte values, linearizable, synced"
for writers in 1 16 64 256; do
  : > "$work/acked"
  printf 'writers=%-4d ' $writers
  load write --seconds "${BENCH_SECONDS:-5}" --writers $writers 2> "$work/load.err" | tr '\n' ' '
  echo
done
cluster wipe > /dev/null
tests/bench/failover.sh "${RUNS:-10}"
