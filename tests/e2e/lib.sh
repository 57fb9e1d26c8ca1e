#!/bin/bash
# tests/e2e/lib.sh - what the end-to-end scripts share: a cluster of their own, and TAP.
#
# Sourced. Gives a temporary folder $work, a cluster in $CLUSTER_DIR with free ports
# from $PORT_BASE on, and cleans up both at the end, also when the script is ended. A
# script says `plan N` first; when it ends early, the missing tests count as failed.
# Run it by hand with BIN=build (release) or another build; needs `make` before.

set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
BIN=$(cd "${BIN:-build}" && pwd) || exit 1
e2e=$PWD/tests/e2e
work=$(mktemp -d "${TMPDIR:-/tmp}/kvd-e2e.XXXXXX")
tools=$PWD/build/tools
[ -d "${BUILD:-build}/tools" ] && tools=$(cd "${BUILD:-build}/tools" && pwd)
export tools
export BIN
export CLUSTER_DIR=$work/cluster
unset NODES NGROUPS KVCTL_ENDPOINTS NODES_ORIGIN NGROUPS_ORIGIN PORT_BASE_ORIGIN
python=/usr/bin/python3 # Debian's modules belong to this one, whatever PATH finds first.

test_number=0
test_failed=0

# Is something listening on a port?
port_taken() {
  cat /proc/net/tcp /proc/net/tcp6 2> /dev/null |
    awk -v port="$(printf ':%04X' "$1")" '
      substr($2, length($2) - 4) == port { f = 1 } END { exit !f }'
}

pick_ports() {
  local base i
  for i in $(seq 50); do
    base=$((20000 + 100 * ((BASHPID + 7 * i) % 120)))
    for ((p = base + 10; p < base + 80; p++)); do
      port_taken $p && continue 2
    done
    echo $base
    return
  done
  echo 20000
}
PORT_BASE=$(pick_ports)
export PORT_BASE

finish() {
  local i
  [ -f "$CLUSTER_DIR/params" ] && scripts/cluster.sh wipe > /dev/null 2>&1
  for i in $(jobs -p); do
    kill "$i" 2> /dev/null
  done
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 143' TERM INT HUP

plan() {
  echo "1..$1"
}

# ok "sentence" COMMAND...: one test; its output is shown when it fails.
ok() {
  local sentence=$1
  shift
  test_number=$((test_number + 1))
  if "$@" > "$work/ok.out" 2>&1; then
    echo "ok $test_number - $sentence"
  else
    echo "# $*"
    sed 's/^/# /' "$work/ok.out" | tail -n 40
    echo "not ok $test_number - $sentence"
    test_failed=1
    return 1
  fi
}

# is "sentence" WANT COMMAND...: the command's output is WANT.
is() {
  local sentence=$1 want=$2 got
  shift 2
  got=$("$@" 2> "$work/is.err")
  test_number=$((test_number + 1))
  if [ "$got" = "$want" ]; then
    echo "ok $test_number - $sentence"
  else
    echo "# $*"
    echo "# want: $want" | head -n 20
    echo "# got:  $got" | head -n 20
    sed 's/^/# stderr: /' "$work/is.err" | head -n 20
    echo "not ok $test_number - $sentence"
    test_failed=1
    return 1
  fi
}

# exits "sentence" STATUS COMMAND...: the command ends with STATUS.
exits() {
  local sentence=$1 want=$2 rc
  shift 2
  "$@" > "$work/exits.out" 2>&1
  rc=$?
  test_number=$((test_number + 1))
  if [ $rc -eq "$want" ]; then
    echo "ok $test_number - $sentence"
  else
    echo "# $*: exit status $rc, not $want"
    sed 's/^/# /' "$work/exits.out" | tail -n 20
    echo "not ok $test_number - $sentence"
    test_failed=1
    return 1
  fi
}

skip() {
  test_number=$((test_number + 1))
  echo "ok $test_number - $1 # SKIP $2"
}

# The last line of each script.
done_testing() {
  if [ $test_failed -ne 0 ] && [ -d "$CLUSTER_DIR" ]; then
    for log in "$CLUSTER_DIR"/n*/log; do
      echo "# ---- $log"
      tail -n 30 "$log" | sed 's/^/# /'
    done
  fi
  exit $test_failed
}

# copy_tree DIR: the sources and what was built of them, in another folder. make finds
# everything up to date there.
copy_tree() {
  local part
  mkdir -p "$1/build"
  for part in Makefile scripts raft rpc storage server client jepsen tests README.md; do
    [ ! -e $part ] || cp -a $part "$1/"
  done
  for part in "$BIN"/*; do
    case ${part##*/} in
      debug | asan | tsan | fuzz | mutants | tools | log | ladder.tsv) ;;
      *) cp -a "$part" "$1/build/" ;;
    esac
  done
}

# ---- the cluster ----

cluster() {
  scripts/cluster.sh "$@"
}

# up [NODES]: starts the cluster of this script.
up() {
  NODES=${1:-3} cluster up
}

endpoints() {
  cat "$CLUSTER_DIR/endpoints"
}

client_port() { echo $((PORT_BASE + 10 * $1)); }
peer_port() { echo $((PORT_BASE + 10 * $1 + 1)); }
http_port() { echo $((PORT_BASE + 10 * $1 + 2)); }

ctl() {
  "$BIN/kvctl" --endpoints "$(endpoints)" "$@"
}

# ctl_at I ...: through node I only.
ctl_at() {
  local i=$1
  shift
  "$BIN/kvctl" --endpoints "127.0.0.1:$(client_port "$i")" "$@"
}

# Prints the node that leads most data groups.
busiest() {
  "$python" "$e2e/rpc.py" leaders "$(endpoints)" |
    awk '$1 > 0 && $2 > 0 { n[$2]++ } END { for (i in n) if (n[i] > max || n[i] == max && i < best) { max = n[i]; best = i } print best }'
}

# Tries a command every 0.2 s until it succeeds, at most SECONDS.
within() {
  local end=$(($(date +%s) + $1))
  shift
  until "$@" > "$work/within.out" 2>&1; do
    if [ "$(date +%s)" -ge $end ]; then
      cat "$work/within.out"
      return 1
    fi
    sleep 0.2
  done
}

load() {
  local verb=$1
  shift
  "$BIN/kvload" "$verb" --endpoints "$(endpoints)" --acked "$work/acked" "$@"
}
