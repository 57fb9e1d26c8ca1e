#!/bin/bash
# scripts/jepsen.sh - runs cells of kvjepsen: a matrix of short ones, or a swarm.
#
#   jepsen.sh cells [PATTERN]   the short matrix (those whose name matches), as TAP
#   jepsen.sh wide [PATTERN]    faults times workloads, CELL_SECONDS (40) each, as TAP
#   jepsen.sh panics [PATTERN]  nodes of a test build end at failpoints, CELL_SECONDS (60)
#                               each, as TAP; KVD (BIN/debug/kvd) is that build
#   jepsen.sh points [STORE]    the failpoints at which a node ended, over all runs
#   jepsen.sh long HOURS        random workloads under a swarm until the time is over (0.5)
#   jepsen.sh table [STORE]     the cells of a store as a table for jepsen/README.md
#   jepsen.sh cuts [SHAPE...]   CUTS (100) cuts of each shape (of all), a second each
#   jepsen.sh recovery [STORE]  times to recover per kind of fault, over all its runs
#
# A cell is a workload under a nemesis. Each run goes to STORE/NAME/TIME; what failed
# stays there with its data, and its line says the command that repeats it.
#
# Env: BIN (build), STORE (jepsen/store), SEED (drawn), CELL_SECONDS (13; wide: 40),
#      JEPSEN_ARGS (more options for each run), RUN_SECONDS (120, of the swarm's runs).
set -u
cd "$(dirname "$0")/.." || exit 1
BIN=${BIN:-build}
STORE=${STORE:-jepsen/store}
SEED=${SEED:-$((RANDOM * 32768 + RANDOM + 1))}

# name workload nemesis nodes [option...]
matrix() {
  cat << 'END'
partition register partition 5
partition-veth register partition 5 --env veth
partition-txn txn partition 5
kill set kill 5
kill-all counter kill:all 3
pause register pause 3
kill-bank bank kill 3
power set power 3
swarm append swarm 5
once once kill:leaders 5 --deadline 5000
quorum-reads register partition:leaders 5 --read-level quorum
lock-set lock-set partition:leaders 3
watch watch partition 5
END
}

wide_matrix() {
  local shape workload
  for shape in leaders majority one majorities-ring bridge minority-third leaders-in leaders-out; do
    for workload in register append txn set; do
      echo "partition-$shape-$workload $workload partition:$shape 5"
    done
  done
  cat << 'END'
kill-one-set set kill:one 5
kill-leaders-counter counter kill:leaders 5
kill-majority-append append kill:majority 5
kill-all-set set kill:all 5
storm-append append storm 5
term-ids ids term 5
pause-leaders-bank bank pause:leaders 5
pause-leaders-register register pause:leaders 5
pause-all-register register pause:all 5
pause-counter counter pause 5
power-all-set-1 set power:all 1
power-set-3 set power 3
power-all-set-5 set power:all 5
power-pause-append append power,pause 5
packet-register register packet 5
slow-disk-register register slow-disk 5
full-disk-set set full-disk 5
clock-register register clock 5
corrupt-set set corrupt 5
rollback-register register rollback 5
wipe-set set wipe 5
clone-set set clone 5
swarm-register register swarm 5
swarm-txn txn swarm 5
swarm-bank bank swarm 5
swarm-append append swarm 5
once-kill-all once kill:all 3 --deadline 10000
once-pause-leaders once pause:leaders 5 --deadline 5000
once-partition-leaders once partition:leaders 5 --deadline 5000
once-partition-majority once partition:majority 5 --deadline 5000
once-swarm once swarm 5 --deadline 10000
once-clock once clock 5 --deadline 5000
once-power once power 3 --deadline 5000
once-storm once storm 5 --deadline 5000
session-kill session kill 5
session-pause-leaders session pause:leaders 5
session-partition-bridge session partition:bridge 5
session-partition-leaders session partition:leaders 5
session-swarm session swarm 5
session-clock session clock 5
session-storm session storm 5
quorum-kill-leaders register kill:leaders 5 --read-level quorum
quorum-pause-leaders register pause:leaders 5 --read-level quorum
quorum-partition-majority register partition:majority 5 --read-level quorum
quorum-swarm register swarm 5 --read-level quorum
lock-set-leaders lock-set partition:leaders 5
lock-set-pause lock-set pause 5
lock-set-kill lock-set kill:leaders 5
lock-set-swarm lock-set swarm 5
watch-partition watch partition 5
watch-partition-leaders watch partition:leaders 5
watch-kill-leaders watch kill:leaders 5
watch-kill-all watch kill:all 3
watch-pause watch pause 5
watch-swarm watch swarm 5
watch-ring-partition watch-ring partition:one 5 --replicas 3
watch-ring-kill watch-ring kill:leaders 5 --replicas 3
watch-ring-pause watch-ring pause 5 --replicas 3
END
}

# Small deltas and windows, so that checkpoints, compaction and snapshots are common.
panic_matrix() {
  cat << 'END'
panic-set-3 set panic 3
panic-counter-3 counter panic 3
panic-start-append-3 append panic:start 3
panic-all-set-1 set panic:all 1
panic-register-5 register panic 5
panic-and-kill-append append panic,kill:leaders 5
END
}

panics() {
  cells panic_matrix "$1" --time "${CELL_SECONDS:-60}" --clean 3 --interval 1 --quiet 2 \
    --kvd "${KVD:-$BIN/debug/kvd}" \
    --kvd-args '--delta-bytes 64K --checkpoint-ms 300 --log-window 64'
}

points() {
  local store=${1:-$STORE}
  grep -ohE ':point [a-z_0-9]+, :nodes' "$store"/*/[0-9]*/history.txt 2> /dev/null |
    awk '{ sub(",", "", $2); n[$2]++ } END { for (p in n) print p, n[p] }' | sort
}

# run NAME WORKLOAD NEMESIS NODES SEED [OPTION...]: one cell; its output in $out.
run() {
  local name=$1 workload=$2 nemesis=$3 nodes=$4 seed=$5
  shift 5
  # shellcheck disable=SC2086
  "$BIN/kvjepsen" --name "$name" --workload "$workload" --nemesis "$nemesis" \
    --nodes "$nodes" --seed "$seed" --store "$STORE" --no-progress "$@" ${JEPSEN_ARGS:-} \
    > "$out" 2>&1
}

# cells MATRIX PATTERN OPTION...
cells() {
  local list n=0 failed=0 name workload nemesis nodes more rc
  list=$("$1" | awk -v pattern="$2" '$1 ~ pattern')
  [ -n "$list" ] || { echo "jepsen: no cell matches $2" >&2; exit 2; }
  shift 2
  echo "1..$(wc -l <<< "$list")"
  while read -r name workload nemesis nodes more; do
    n=$((n + 1))
    if [[ $more == *veth* ]] && ! unshare -n nft add table bridge kvj 2> /dev/null; then
      echo "ok $n - $name # SKIP needs root and nft (Debian: nftables)"
      continue
    fi
    # shellcheck disable=SC2086
    run "$name" "$workload" "$nemesis" "$nodes" "$SEED" "$@" $more < /dev/null
    rc=$?
    sed 's/^/# /' "$out"
    case $rc in
      0) echo "ok $n - $name: $workload under $nemesis, $nodes nodes, seed $SEED" ;;
      *)
        echo "not ok $n - $name: $workload under $nemesis, $nodes nodes, seed $SEED: exit status $rc"
        failed=1
        ;;
    esac
  done <<< "$list"
  return $failed
}

long() {
  local end n=0 bad=0 rc seed
  end=$(awk -v now="$(date +%s)" -v hours="${1:-1}" 'BEGIN { printf "%d", now + hours * 3600 }')
  local -a workloads=(register set counter append ids txn bank once session lock-set watch)
  RANDOM=$((SEED % 32768))
  while [ "$(date +%s)" -lt "$end" ]; do
    n=$((n + 1))
    seed=$((SEED + n))
    run long "${workloads[RANDOM % ${#workloads[@]}]}" swarm $((RANDOM % 2 ? 5 : 3)) $seed --time "${RUN_SECONDS:-120}"
    rc=$?
    printf '%s run %d seed %d exit %d: %s\n' "$(date +%H:%M:%S)" $n $seed $rc \
      "$(sed -n 's/^  repeat *//p' "$out")"
    if [ $rc -ne 0 ]; then
      bad=$((bad + 1))
      cat "$out"
    fi
  done
  echo "$n runs, $bad not valid; first seed $((SEED + 1))"
  [ $n -gt 0 ] && [ $bad -eq 0 ]
}

SHAPES='one minority-third halves majority majorities-ring bridge leaders one-in one-out
  minority-third-in minority-third-out halves-in halves-out majority-in majority-out
  majorities-ring-in bridge-in leaders-in leaders-out'

# A cut of a second, half a second without, and so on. Many workers, for one that waits
# for a node that is cut off is no measure of the others; and quick ones, as a lane is
# back when a write that began after the cut has ended.
cuts() {
  local shape bad=0
  # shellcheck disable=SC2086
  [ $# -gt 0 ] || set -- $SHAPES
  for shape; do
    run "cuts-$shape" ids "partition:$shape" 5 "$SEED" \
      --time $((${CUTS:-100} * 15 / 10 + 5)) --clean 3 --quiet 1 \
      --period-ms 1500 --fault-ms 1000 --rate 600 --concurrency 400 < /dev/null
    echo "$shape: exit $?, load $(cut -d' ' -f1-3 /proc/loadavg), seed $SEED"
    grep -qE '^VALID' "$out" || { bad=1; cat "$out"; }
  done
  return $bad
}

# The newest run of each name.
table() {
  local store=${1:-$STORE}
  "${PYTHON:-/usr/bin/python3}" - "$store" << 'END'
import glob, json, os, sys

newest = {}
for path in sorted(glob.glob(os.path.join(sys.argv[1], "*", "[0-9]*", "run.json"))):
    with open(path) as f:
        run = json.load(f)
    newest[run["name"]] = run
print("| cell | workload | nemesis | nodes | operations | rate/s | faults (proven) "
      "| recovery p50 / worst ms | verdict |")
print("|---|---|---|---|---|---|---|---|---|")
for name in sorted(newest):
    r = newest[name]
    times = sorted(f["recover_ms"] for f in r["faults"] if f["recover_ms"] >= 0)
    recovery = f"{times[len(times) // 2]:.0f} / {times[-1]:.0f}" if times else "-"
    print(f"| {name} | {r['workload']} | {r['nemesis']} | {r['nodes']} "
          f"| {r['ok'] + r['fail'] + r['info']:,} | {r['rate']:.0f} "
          f"| {r['faults_begun']} ({r['faults_effective']}) | {recovery} | {r['valid']} |")
END
}

# From before the first command of a fault to the write of the slowest lane. A cut that
# ended before counts with its whole length, and is counted apart; so is one whose length
# is not within 100 ms of --fault-ms: then the machine stood still.
recovery() {
  local store=${1:-$STORE}
  "${PYTHON:-/usr/bin/python3}" - "$store" << 'END'
import collections, glob, json, math, os, re, sys

times, short, late = collections.defaultdict(list), collections.Counter(), collections.Counter()
for path in sorted(glob.glob(os.path.join(sys.argv[1], "*", "[0-9]*", "run.json"))):
    with open(path) as f:
        run = json.load(f)
    for fault in run["faults"]:
        shape = fault["value"].split(" ")[0].lstrip(":")
        name = fault["kind"] + (" " + shape if shape[:1].isalpha() else "")
        if not fault["effective"] or fault["end_ns"] == 0:
            continue
        long_ms = (fault["end_ns"] - fault["begin_ns"]) / 1e6
        wanted = re.search(r"--fault-ms (\d+)", run["command"])
        if wanted and abs(long_ms - int(wanted[1])) > 100:
            late[name] += 1
            continue
        over = fault["recover_ms"] < 0
        short[name] += over
        times[name].append(long_ms if over else fault["recover_ms"])
print("| fault | cuts | disturbed | ended before recovery | p50 ms | p99 ms | worst ms |")
print("|---|---|---|---|---|---|---|")
for name in sorted(times):
    t = sorted(times[name])
    at = lambda q: f"{t[min(len(t) - 1, math.ceil(q * len(t)) - 1)]:.0f}"
    print(f"| {name} | {len(t)} | {late[name]} | {short[name]} | {at(0.5)} | {at(0.99)} | {at(1)} |")
END
}

out=$(mktemp)
trap 'rm -f "$out"' EXIT
trap 'exit 143' TERM INT HUP
case ${1:-} in
  cells) cells matrix "${2:-}" --time "${CELL_SECONDS:-13}" --clean 3 --interval 2 --quiet 2 ;;
  wide) cells wide_matrix "${2:-}" --time "${CELL_SECONDS:-40}" --clean 5 --interval 4 ;;
  panics) panics "${2:-}" ;;
  points) points "${2:-}" ;;
  cuts) shift && cuts "$@" ;;
  long) long "${2:-1}" ;;
  table) table "${2:-}" ;;
  recovery) recovery "${2:-}" ;;
  *)
    echo "usage: jepsen.sh cells|wide|panics [PATTERN] | long HOURS | cuts [SHAPE...] |" \
      "table|recovery|points [STORE]" >&2
    exit 2
    ;;
esac
