#!/bin/bash
# tests/bench/compare.sh - two builds of kvd in turn on the same work: what a change gives.
#
#   compare.sh OLD_KVD NEW_KVD [SHAPE...]      SHAPE: op:clients:under way on each
#
# Two clusters side by side, each round every shape on one and then on the other, the
# order swapped from round to round; kvctl is that of BIN. Prints medians with spread
# and the ratios new/old of rate and of processor time, taken within a round. On a busy
# machine the processor time is what can be compared.
#
# Env: ROUNDS (5), SECONDS_EACH (4), KEYS (100000), VALUE_BYTES (256), BENCH_ARGS (more
# options of kvctl bench, as "--session on").
. "$(dirname "$0")/../e2e/lib.sh"

if [ $# -lt 2 ]; then
  echo "usage: compare.sh OLD_KVD NEW_KVD [SHAPE...]" >&2
  exit 2
fi
declare -A kvd=([old]=$1 [new]=$2)
shift 2
[ $# -gt 0 ] || set -- put:1:1 put:64:1 put:64:16 get:64:1 get:64:16
rounds=${ROUNDS:-5}
seconds=${SECONDS_EACH:-4}
keys=${KEYS:-100000}
bytes=${VALUE_BYTES:-256}

# in_cluster new|old COMMAND...: with that cluster's folder and ports.
in_cluster() {
  local name=$1 base=$PORT_BASE
  shift
  [ "$name" = old ] || base=$((PORT_BASE + 40))
  BIN=$work/$name CLUSTER_DIR=$work/c_$name PORT_BASE=$base "$@"
}

wipe() {
  in_cluster old scripts/cluster.sh wipe
  in_cluster new scripts/cluster.sh wipe
} > /dev/null 2>&1
trap 'wipe; finish' EXIT

cpu_us() {
  cat "$work/c_$1"/n*/pid | while read -r pid; do
    awk '{ print $14 + $15 }' "/proc/$pid/stat"
  done | awk -v hz="$(getconf CLK_TCK)" '{ t += $1 } END { printf "%.0f\n", t * 1e6 / hz }'
}

bench() {
  local name=$1
  shift
  # shellcheck disable=SC2086
  "$BIN/kvctl" --endpoints "$(cat "$work/c_$name/endpoints")" -o simple bench --keys "$keys" \
    --bytes "$bytes" "$@" ${BENCH_ARGS:-} | awk 'NR == 2 { print $2, $3, $4, $6, $7, $8, $9 + $10 }'
}

for name in old new; do
  mkdir -p "$work/$name"
  cp "${kvd[$name]}" "$work/$name/kvd" && cp "$BIN/kvctl" "$work/$name/kvctl" || exit 2
  NODES=3 in_cluster $name scripts/cluster.sh up > "$work/up.out" 2>&1 || { cat "$work/up.out"; exit 1; }
  bench $name --fill --duration 1s > /dev/null
done
sleep 4
for ((round = 1; round <= rounds; round++)); do
  order="new old"
  [ $((round % 2)) -eq 0 ] || order="old new"
  for shape in "$@"; do
    IFS=: read -r op clients flight <<< "$shape"
    for name in $order; do
      before=$(cpu_us "$name")
      # shellcheck disable=SC2046
      set -- $(bench "$name" --mix "$op" --clients "$clients" --flight "$flight" \
        --warmup 0s --duration "${seconds}s") "$@"
      printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' $round "$name" "$shape" "$2" "$3" "$4" "$5" "$6" \
        "$7" "$((($(cpu_us "$name") - before) * 100 / ($1 + 1)))" "$(cut -d' ' -f1 /proc/loadavg)" >> "$work/rows.$name"
      shift 7
    done
  done
done
# The new one first: ratios are of the first name to the others.
cat "$work/rows.new" "$work/rows.old" | awk -f tests/bench/versus.awk
