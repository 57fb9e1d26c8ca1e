#!/bin/bash
# tests/bench/versus.sh - kvd beside Debian's etcd and redis-server, in turn.
#
#   versus.sh            `make bench-versus`; needs `make deps-bench`
#
# Three nodes of kvd, three of etcd with its defaults, and one redis-server that syncs
# each write before it answers and replicates to nobody: the not replicated upper bound.
# All on this machine's disk and loopback. Each round runs every shape on kvd, etcd and
# redis one after the other, so that what else the machine does hits all alike; ratios
# are taken within a round. etcd is started afresh for each round, and reads come first,
# because 3.4 reads slowly after a burst of writes. Up to 64 requests under way go to
# etcd's leader, more are spread over its nodes, as suits it best; libkv asks leaders.
#
# Env: ROUNDS (5), SECONDS_EACH (5), KEYS (100000), VALUE_BYTES (256),
#      SHAPES ("get:1:1 ...": op, clients, requests under way on each),
#      SYSTEMS ("kvd etcd redis"), OUT (build/versus: OUT.tsv, OUT.json, OUT.svg).
. "$(dirname "$0")/../e2e/lib.sh"

rounds=${ROUNDS:-5}
seconds=${SECONDS_EACH:-5}
keys=${KEYS:-100000}
bytes=${VALUE_BYTES:-256}
systems=${SYSTEMS:-kvd etcd redis}
out=${OUT:-${BUILD:-build}/versus}
shapes=${SHAPES:-get:1:1 get:16:1 get:64:1 get:256:1 get:64:16 put:1:1 put:16:1 put:64:1 put:256:1 put:64:16}
etcd=$(command -v etcd || echo "$tools/etcd/usr/bin/etcd")
etcd_pids=
redis_pid=

die() {
  echo "versus: $1" >&2
  exit 2
}
[ -x "$BIN/kvrival" ] || die "$BIN/kvrival is not built; run: make bench-versus"
[ -x "$etcd" ] || die "etcd is not there; run: make deps-bench"
[ -x /usr/bin/redis-check-rdb ] || die "redis-tools is not there; run: make deps-bench"

stop_pids() {
  local pid
  for pid in "$@"; do
    kill "$pid" 2> /dev/null
    wait "$pid" 2> /dev/null
  done
}

rivals_stop() {
  # shellcheck disable=SC2086
  stop_pids $etcd_pids $redis_pid
  etcd_pids=
  redis_pid=
}
trap 'rivals_stop; finish' EXIT

etcd_client() { echo $((PORT_BASE + 40 + 10 * ($1 - 1))); }
etcd_peer() { echo $(($(etcd_client "$1") + 1)); }
redis_port=$((PORT_BASE + 70))

etcd_all() {
  echo "127.0.0.1:$(etcd_client 1),127.0.0.1:$(etcd_client 2),127.0.0.1:$(etcd_client 3)"
}

etcd_leader() {
  local i
  for i in 1 2 3; do
    curl -s --max-time 2 "http://127.0.0.1:$(etcd_client $i)/metrics" |
      grep -q '^etcd_server_is_leader 1' && echo "127.0.0.1:$(etcd_client $i)" && return
  done
  return 1
}

etcd_start() {
  local i all=
  for i in 1 2 3; do
    all="$all${all:+,}n$i=http://127.0.0.1:$(etcd_peer $i)"
  done
  for i in 1 2 3; do
    "$etcd" --name n$i --data-dir "$work/etcd$i" --initial-cluster "$all" \
      --listen-client-urls "http://127.0.0.1:$(etcd_client $i)" \
      --advertise-client-urls "http://127.0.0.1:$(etcd_client $i)" \
      --listen-peer-urls "http://127.0.0.1:$(etcd_peer $i)" \
      --initial-advertise-peer-urls "http://127.0.0.1:$(etcd_peer $i)" \
      > "$work/etcd$i.log" 2>&1 &
    etcd_pids="$etcd_pids $!"
  done
  within 30 etcd_leader || { tail "$work"/etcd*.log; die "etcd found no leader"; }
}

redis_start() {
  # redis-tools holds the server under the name of its checker; argv[0] decides.
  mkdir -p "$work/redis"
  (exec -a redis-server /usr/bin/redis-check-rdb --port "$redis_port" --bind 127.0.0.1 \
    --appendonly yes --appendfsync always --save '' --dir "$work/redis") \
    > "$work/redis.log" 2>&1 &
  redis_pid=$!
  sleep 0.5
  kill -0 $redis_pid 2> /dev/null || { tail "$work/redis.log"; die "redis did not start"; }
}

# Processor time that processes have used, in microseconds: the sum is exact, only its
# parts (user, system) are sampled.
cpu_us() {
  local pid
  for pid in "$@"; do
    awk '{ print $14 + $15 }' "/proc/$pid/stat"
  done | awk -v hz="$(getconf CLK_TCK)" '{ t += $1 } END { printf "%.0f\n", t * 1e6 / hz }'
}

pids_of() {
  case $1 in
    kvd) cat "$CLUSTER_DIR"/n*/pid ;;
    etcd) echo "$etcd_pids" ;;
    redis) echo "$redis_pid" ;;
  esac
}

# Prints: done per_s p50 p99 p99.9 max failed
run_one() {
  local system=$1 op=$2 clients=$3 flight=$4 at
  case $system in
    kvd)
      ctl -o simple bench --mix "$op" --clients "$clients" --flight "$flight" --warmup 0s \
        --duration "${seconds}s" --keys "$keys" --bytes "$bytes" 2> "$work/err" |
        awk 'NR == 2 { print $2, $3, $4, $6, $7, $8, $9 + $10 }'
      ;;
    etcd)
      at=$(etcd_leader)
      [ $((clients * flight)) -le 64 ] || at=$(etcd_all)
      "$BIN/kvrival" etcd -e "$at" -m "$op" -c "$clients" -f "$flight" -w 0 -t "$seconds" \
        -k "$keys" -v "$bytes" 2> "$work/err"
      ;;
    redis)
      "$BIN/kvrival" redis -e "127.0.0.1:$redis_port" -m "$op" -c "$clients" -f "$flight" \
        -w 0 -t "$seconds" -k "$keys" -v "$bytes" 2> "$work/err"
      ;;
  esac
}

fill() {
  case $1 in
    kvd) ctl bench --fill --keys "$keys" --bytes "$bytes" --duration 1s > /dev/null ;;
    etcd) "$BIN/kvrival" etcd -e "$(etcd_all)" -m fill -k "$keys" -v "$bytes" > /dev/null ;;
    redis) "$BIN/kvrival" redis -e "127.0.0.1:$redis_port" -m fill -k "$keys" -v "$bytes" > /dev/null ;;
  esac || die "could not fill $1"
}

has() {
  [[ " $systems " == *" $1 "* ]]
}

mkdir -p "$(dirname "$out")"
! has kvd || up 3 > "$work/up.out" 2>&1 || { cat "$work/up.out"; exit 1; }
! has etcd || etcd_start
! has redis || redis_start
for system in $systems; do
  fill "$system"
done
: > "$out.tsv"
for ((round = 1; round <= rounds; round++)); do
  if has etcd; then
    # shellcheck disable=SC2086
    stop_pids $etcd_pids
    etcd_pids=
    etcd_start
  fi
  for shape in $shapes; do
    IFS=: read -r op clients flight <<< "$shape"
    for system in $systems; do
      # shellcheck disable=SC2046
      before=$(cpu_us $(pids_of "$system"))
      row=$(run_one "$system" "$op" "$clients" "$flight")
      # shellcheck disable=SC2046
      after=$(cpu_us $(pids_of "$system"))
      [ -n "$row" ] || { cat "$work/err" >&2; die "$system gave no numbers for $shape"; }
      # shellcheck disable=SC2086
      set -- $row
      printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' $round "$system" "$shape" "$2" "$3" \
        "$4" "$5" "$6" "$7" "$(((after - before) * 100 / ($1 + 1)))" "$(cut -d' ' -f1 /proc/loadavg)" >> "$out.tsv"
    done
  done
  echo "round $round of $rounds done, load average $(cut -d' ' -f1-3 /proc/loadavg)" >&2
done
for system in $systems; do
  # shellcheck disable=SC2046
  for pid in $(pids_of "$system"); do
    awk -v name="$system" '/^RssAnon/ { print name, $2 }' "/proc/$pid/status"
  done
done > "$work/memory"
awk -f tests/bench/versus.awk -v rounds="$rounds" -v seconds="$seconds" -v keys="$keys" \
  -v bytes="$bytes" -v when="$(date -u +%Y-%m-%dT%H:%MZ)" -v cores="$(nproc)" \
  -v json="$out.json" -v svg="$out.svg" -v memory="$work/memory" "$out.tsv"
