#!/bin/bash
# scripts/cluster.sh - starts, stops and deletes a cluster of local processes.
#
#   cluster.sh up         start what is stopped, wait until every group has a leader
#   cluster.sh down       stop all nodes, keep their data
#   cluster.sh wipe       stop all nodes and delete their data
#   cluster.sh start I    start one node, do not wait
#   cluster.sh stop I     end one node cleanly
#   cluster.sh kill I     end one node with SIGKILL
#   cluster.sh wait       wait until every group has a leader
#   cluster.sh table      print the nodes
#
# A cluster lives in $CLUSTER_DIR: `params` (its size and ports, fixed when it was
# made), `endpoints` (for kvctl), and nI/{data,log,pid} per node. A process is ended
# only by its pid, and only when that pid runs our kvd with that node's data.
#
# Env: BIN (build), CLUSTER_DIR (cluster), NODES (3), NGROUPS (8), PORT_BASE (7400),
#      KVD_ARGS (more flags for kvd). X_ORIGIN=file says that X is make's default.
set -u

BIN=${BIN:-build}
CLUSTER_DIR=${CLUSTER_DIR:-cluster}
KVD_ARGS=${KVD_ARGS:-}
asked_nodes=${NODES:-}
asked_groups=${NGROUPS:-}
asked_base=${PORT_BASE:-}
[ "${NODES_ORIGIN:-}" = file ] && asked_nodes=
[ "${NGROUPS_ORIGIN:-}" = file ] && asked_groups=
[ "${PORT_BASE_ORIGIN:-}" = file ] && asked_base=

die() {
  echo "$1" >&2
  exit "${2:-1}"
}

# Numbers only, so that nothing else reaches arithmetic or a command line.
number() {
  [[ $2 =~ ^[0-9]{1,5}$ ]] || die "$1=$2 is not a number" 2
}

# Reads the cluster's parameters into nodes, groups, base; fails when there is none.
load() {
  [ -f "$CLUSTER_DIR/params" ] || return 1
  read -r nodes groups base < "$CLUSTER_DIR/params" || return 1
  number nodes "$nodes" && number groups "$groups" && number base "$base"
  dir=$(cd "$CLUSTER_DIR" && pwd)
}

need() {
  load || die "there is no cluster in $CLUSTER_DIR/; start one with: make up" 1
}

client_port() { echo $((base + 10 * $1)); }
peer_port() { echo $((base + 10 * $1 + 1)); }
http_port() { echo $((base + 10 * $1 + 2)); }

# Is this the pid of our kvd with node I's data? It may have been given to another
# program since: look at what it runs.
is_node() {
  [[ $2 =~ ^[0-9]+$ ]] || return 1
  { tr '\0' '\n' < "/proc/$2/cmdline"; } 2> /dev/null | grep -qxF -- "$dir/n$1/data" || return 1
  ! grep -q '^State:[[:space:]]*Z' "/proc/$2/status" 2> /dev/null
}

# Prints the pid of a node that runs, else fails. kvd itself writes it into LOCK, in
# case our file was deleted, or written by a second `up` at the same time.
pid_of() {
  local file pid
  for file in "$dir/n$1/pid" "$dir/n$1/data/LOCK"; do
    pid=$(cat "$file" 2> /dev/null)
    is_node "$1" "$pid" && echo "$pid" && return
  done
  return 1
}

# Is something listening on a port?
taken() {
  local hex
  hex=$(printf ':%04X' "$1")
  cat /proc/net/tcp /proc/net/tcp6 2> /dev/null |
    awk -v port="$hex" '$4 == "0A" && substr($2, length($2) - 4) == port { f = 1 } END { exit !f }'
}

initial_cluster() {
  local i out=
  for ((i = 1; i <= nodes; i++)); do
    out="$out${out:+,}$i=127.0.0.1:$(client_port $i):$(peer_port $i)"
  done
  echo "$out"
}

ports_free() {
  local p
  for p in $(client_port "$1") $(peer_port "$1") $(http_port "$1"); do
    taken "$p" || continue
    [ -d "$CLUSTER_DIR/n$1" ] && die "port $p of node $1 is taken by another program; end that one first"
    die "port $p is taken by another program; choose others, for example: make up PORT_BASE=$((base + 200))"
  done
  return 0
}

start() {
  local i=$1 home=$dir/n$1
  mkdir -p "$home/data" || exit 1
  # shellcheck disable=SC2086
  setsid nohup "$kvd" --id "$i" --data-dir "$home/data" \
    --listen "127.0.0.1:$(client_port "$i")" --peer "127.0.0.1:$(peer_port "$i")" \
    --http "127.0.0.1:$(http_port "$i")" --initial-cluster "$(initial_cluster)" \
    --groups "$groups" $KVD_ARGS < /dev/null >> "$home/log" 2>&1 &
  echo $! > "$home/pid"
  # Until the new process has become kvd, pid_of would not know it.
  for _ in {1..100}; do
    pid_of "$i" > /dev/null && return
    kill -0 $! 2> /dev/null || return
    sleep 0.01
  done
}

# GET path of a node's HTTP port: prints the body; fails unless the status is 200.
http_get() {
  local status line
  exec 3<> "/dev/tcp/127.0.0.1/$(http_port "$1")" || return 1
  printf 'GET %s HTTP/1.1\r\nHost: kvd\r\nConnection: close\r\n\r\n' "$2" >&3
  read -r -t 5 _ status _ <&3
  while read -r -t 5 line <&3 && [ "$line" != $'\r' ]; do :; done
  timeout 5 cat <&3
  exec 3>&- 3<&-
  [ "$status" = 200 ]
}

# Waits until every node says that each of its groups has a leader.
wait_ready() {
  local limit=${READY_SECONDS:-60} start i waiting said=0
  start=$(date +%s)
  while :; do
    waiting=
    for ((i = 1; i <= nodes; i++)); do
      if ! pid_of $i > /dev/null; then
        echo "node $i ended while starting; the end of $CLUSTER_DIR/n$i/log:" >&2
        tail -n 15 "$dir/n$i/log" >&2
        return 1
      fi
      (http_get $i /readyz) > /dev/null 2>&1 || waiting="$waiting $i"
    done
    [ -z "$waiting" ] && return 0
    if [ $(($(date +%s) - start)) -ge "$limit" ]; then
      echo "after $limit s these nodes are not ready:$waiting" >&2
      for i in $waiting; do
        echo "node $i (log: $CLUSTER_DIR/n$i/log) says:" >&2
        (http_get "$i" '/readyz?verbose') 2> /dev/null | head -n 20 >&2
      done
      return 1
    fi
    if [ $(($(date +%s) - start)) -ge $((said + 5)) ]; then
      said=$(($(date +%s) - start))
      echo "waiting for node$waiting ..."
    fi
    sleep 0.1
  done
}

table() {
  local i pid
  printf '%-5s %-17s %-17s %-17s %-8s %s\n' NODE CLIENT PEER HTTP PID STATE
  for ((i = 1; i <= nodes; i++)); do
    pid=$(pid_of $i) || pid=-
    printf '%-5s %-17s %-17s %-17s %-8s %s\n' $i "127.0.0.1:$(client_port $i)" \
      "127.0.0.1:$(peer_port $i)" "127.0.0.1:$(http_port $i)" "$pid" \
      "$([ "$pid" = - ] && echo stopped || echo running)"
  done
}

up() {
  local i to_start=
  if load; then
    if [ -n "$asked_nodes" ] && [ "$asked_nodes" != "$nodes" ]; then
      die "$CLUSTER_DIR/ is a cluster of $nodes nodes, not $asked_nodes. Either keep it (make up), or delete it and its data (make wipe) and then: make up NODES=$asked_nodes" 2
    fi
    if [ -n "$asked_groups" ] && [ "$asked_groups" != "$groups" ]; then
      die "$CLUSTER_DIR/ is a cluster of $groups groups, not $asked_groups. Either keep it (make up), or delete it and its data (make wipe) and then: make up NGROUPS=$asked_groups" 2
    fi
    if [ -n "$asked_base" ] && [ "$asked_base" != "$base" ]; then
      die "$CLUSTER_DIR/ has its ports from $base on, not $asked_base. Either keep it (make up), or start another beside it: make up CLUSTER_DIR=cluster2 PORT_BASE=$asked_base" 2
    fi
  else
    nodes=${asked_nodes:-3}
    groups=${asked_groups:-8}
    base=${asked_base:-7400}
    number NODES "$nodes"
    number NGROUPS "$groups"
    number PORT_BASE "$base"
    case $nodes in
      1 | 3 | 5 | 7) ;;
      *) die "NODES=$nodes: a cluster has 3 or 5 nodes (1 and 7 work too)" 2 ;;
    esac
    if [ "$groups" -lt 1 ] || [ "$groups" -gt 1024 ]; then
      die "NGROUPS=$groups: 1 to 1024" 2
    fi
    if [ "$base" -lt 1024 ] || [ "$base" -gt $((65535 - 10 * nodes - 2)) ]; then
      die "PORT_BASE=$base: 1024 to $((65535 - 10 * nodes - 2))" 2
    fi
    if [ -e "$CLUSTER_DIR" ] && [ -n "$(ls -A "$CLUSTER_DIR" 2> /dev/null)" ]; then
      die "$CLUSTER_DIR/ exists and is not a cluster; move it away" 2
    fi
    for ((i = 1; i <= nodes; i++)); do
      ports_free $i
    done
    mkdir -p "$CLUSTER_DIR" || exit 1
    echo "$nodes $groups $base" > "$CLUSTER_DIR/params"
    load || die "$CLUSTER_DIR/params cannot be read back"
  fi

  [ -x "$kvd" ] || die "$BIN/kvd does not exist; build it with: make"
  for ((i = 1; i <= nodes; i++)); do
    pid_of $i > /dev/null && continue
    ports_free $i
    to_start="$to_start $i"
  done
  for ((i = 1; i <= nodes; i++)); do
    printf '%s127.0.0.1:%s' "$([ $i -gt 1 ] && echo ,)" "$(client_port $i)"
  done > "$dir/endpoints"
  echo >> "$dir/endpoints"
  if [ -n "$to_start" ]; then
    echo "starting node$to_start, data in $CLUSTER_DIR/"
    for i in $to_start; do
      start "$i"
    done
  fi
  wait_ready || exit 1
  table
  local ctl=$BIN/kvctl
  [ "$CLUSTER_DIR" = cluster ] || ctl="$ctl --endpoints $(cat "$dir/endpoints")"
  cat << TEXT

$nodes nodes are up, each of $groups groups has a leader. Next:
  $ctl put greeting hello
  $ctl get greeting
  $ctl status
  make down          (stops it, keeps data)   make wipe (also deletes its data)
TEXT
}

# Ends nodes with a signal and waits; nodes that do not end in time are killed.
end() {
  local signal=$1 i pid waited=0 left killed=0
  shift
  for i in "$@"; do
    pid=$(pid_of "$i") && kill "-$signal" "$pid" 2> /dev/null
  done
  while :; do
    left=
    for i in "$@"; do
      pid_of "$i" > /dev/null && left="$left $i"
    done
    [ -z "$left" ] && break
    if [ $waited -ge 200 ] && [ $killed -eq 1 ]; then
      die "node$left cannot be ended; does the process belong to another user?"
    fi
    if [ $waited -ge 200 ]; then
      echo "node$left did not end within 20 s, killing" >&2
      for i in $left; do
        pid=$(pid_of "$i") && kill -KILL "$pid" 2> /dev/null
      done
      waited=0
      killed=1
    fi
    waited=$((waited + 1))
    sleep 0.1
  done
  for i in "$@"; do
    rm -f "$dir/n$i/pid"
  done
}

kvd=$(cd "$BIN" 2> /dev/null && pwd)/kvd
case ${1:-} in
  up) up ;;
  down)
    need
    # shellcheck disable=SC2046
    end TERM $(seq "$nodes")
    echo "stopped; the data is in $CLUSTER_DIR/, start again with: make up"
    ;;
  wipe)
    if ! load; then
      echo "there is no cluster in $CLUSTER_DIR/"
      exit 0
    fi
    # shellcheck disable=SC2046
    end TERM $(seq "$nodes")
    for ((i = 1; i <= nodes; i++)); do
      rm -rf "${dir:?}/n$i"
    done
    rm -f "$dir/params" "$dir/endpoints"
    rmdir "$dir" 2> /dev/null
    echo "stopped and deleted $CLUSTER_DIR/"
    ;;
  start | stop | kill)
    need
    number node "${2:-x}"
    if [ "$2" -lt 1 ] || [ "$2" -gt "$nodes" ]; then
      die "there is no node $2, only 1 to $nodes" 2
    fi
    case $1 in
      start) pid_of "$2" > /dev/null || { ports_free "$2" && start "$2"; } ;;
      stop) end TERM "$2" ;;
      kill) end KILL "$2" ;;
    esac
    ;;
  wait) need && wait_ready ;;
  table) need && table ;;
  *)
    echo "usage: cluster.sh up|down|wipe|start I|stop I|kill I|wait|table" >&2
    exit 2
    ;;
esac
