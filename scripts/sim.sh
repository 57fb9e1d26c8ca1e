#!/bin/bash
# scripts/sim.sh - runs the simulator over many seeds and reports as TAP.
#
# Seeds SIM_FIRST .. SIM_FIRST+SIM_SEEDS-1, then the seed of the commit, then one
# seed twice: both runs must print the same bytes.
# Env: KVSIM (build/kvsim), SIM_FIRST (1), SIM_SEEDS (40), SIM_ARGS.
set -u

kvsim=${KVSIM:-build/kvsim}
first=${SIM_FIRST:-1}
seeds=${SIM_SEEDS:-40}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
n=0

# run SEED FILE
run() {
  # shellcheck disable=SC2086
  timeout 120 "$kvsim" --seed "$1" ${SIM_ARGS:-} ${3:-} > "$2" 2>&1
}

say() {
  n=$((n + 1))
  if [ "$1" -eq 0 ]; then
    echo "ok $n - $2"
  else
    tail -n 30 "$3"
    echo "not ok $n - $2 (repeat: $kvsim --seed $4 ${SIM_ARGS:-})"
    failed=1
  fi
}

commit=$(git rev-parse --short=7 HEAD 2> /dev/null) || commit=0
list=$(seq "$first" $((first + seeds - 1)))
echo "1..$((seeds + 2))"
for seed in $list $((16#$commit)); do
  run "$seed" "$work/out"
  say $? "seed $seed" "$work/out" "$seed"
done
run "$first" "$work/a" --trace
run "$first" "$work/b" --trace
# The last line says how fast the machine was.
sed -i '/ times real time$/d' "$work/a" "$work/b"
cmp -s "$work/a" "$work/b" && [ "$(wc -l < "$work/a")" -gt 20 ]
say $? "seed $first twice prints the same" "$work/b" "$first"
exit $failed
