#!/bin/bash
# scripts/sim.sh - runs the simulator over many seeds and reports as TAP.
#
# Seeds SIM_FIRST .. SIM_FIRST+SIM_SEEDS-1 in blocks, then the seed of the commit, then
# one seed twice: both runs must print the same bytes. A block that fails prints what
# was violated and the command that repeats it.
# Env: KVSIM (build/kvsim), SIM_FIRST (1), SIM_SEEDS (300), SIM_TIME (20s), SIM_ARGS,
# SIM_JOBS (processes at a time; all processors), SIM_BLOCK (seeds in one run, 50; 1000 of
# 60 s must also make everything happen that a run can).
set -u

kvsim=${KVSIM:-build/kvsim}
first=${SIM_FIRST:-1}
seeds=${SIM_SEEDS:-300}
duration=${SIM_TIME:-20s}
jobs=${SIM_JOBS:-$(nproc)}
block=${SIM_BLOCK:-50}
# In memory, for the stores of --store lmdb: they are deleted here also when kvsim is ended.
work=$(mktemp -d -p /dev/shm 2> /dev/null || mktemp -d)
export TMPDIR=$work
trap 'rm -rf "$work"' EXIT
failed=0
n=0

# run SEEDS FILE ARGUMENTS...
run() {
  local which=$1 out=$2
  shift 2
  # shellcheck disable=SC2086
  timeout 1000 "$kvsim" --seeds "$which" --time "$duration" ${SIM_ARGS:-} "$@" > "$out" 2>&1
}

say() {
  n=$((n + 1))
  if [ "$1" -eq 0 ]; then
    echo "ok $n - $2"
  else
    tail -n 120 "$3"
    echo "not ok $n - $2 ($kvsim --seeds $4 --time $duration ${SIM_ARGS:-})"
    failed=1
  fi
}

commit=$(git rev-parse --short=7 HEAD 2> /dev/null) || commit=0
last=$((first + seeds - 1))
echo "1..$(((seeds + block - 1) / block + 2))"
for ((from = first; from <= last; from += block)); do
  to=$((from + block - 1))
  [ "$to" -gt "$last" ] && to=$last
  run "$from..$to" "$work/out" --quiet --jobs "$jobs"
  say $? "seeds $from to $to" "$work/out" "$from..$to"
done
run $((16#$commit)) "$work/out" --quiet
say $? "the commit's seed $((16#$commit))" "$work/out" $((16#$commit))
run "$first" "$work/a" --quiet --trace
run "$first" "$work/b" --quiet --trace
cmp -s "$work/a" "$work/b" && [ "$(wc -l < "$work/a")" -gt 200 ]
say $? "seed $first twice prints the same" "$work/b" "$first"
exit $failed
