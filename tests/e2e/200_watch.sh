#!/bin/bash
# tests/e2e/200_watch.sh - watches: kvctl watch while leaders die, restart, and from positions.
. "$(dirname "$0")/lib.sh"
plan 12

ok "three nodes start" up 3
ok "every group takes a write" ctl put a 0

# kvctl watch runs until it has seen enough, or for half a minute.
watch() { # OUT ARGS...
  local out=$1; shift
  timeout 40 "$KVCTL" watch "$@" > "$out" 2> "$out.err" &
  watcher=$!
}
KVCTL=${BIN:-build}/kvctl
export KVCTL_ENDPOINTS
KVCTL_ENDPOINTS="127.0.0.1:$(client_port 1),127.0.0.1:$(client_port 2),127.0.0.1:$(client_port 3)"

watch "$work/one" --prev --count 3 --pos a
one=$watcher
watch "$work/all" --count 4 --prefix ""
all=$watcher
watch "$work/run" --count 2 a -- sh -c 'echo "$KVCTL_EVENT $KVCTL_KEY $KVCTL_VALUE"'
run=$watcher
sleep 1
ctl put a 1 > /dev/null
ctl put b 1 > /dev/null
ctl put a 2 > /dev/null
ctl del a > /dev/null
wait $one
is "a key's watch hears its changes, with the values before" \
  $'put a 1 (was 0)\nput a 2 (was 1)\ndel a (was 2)' sed 's/ rev=.*//' "$work/one"
wait $all
is "a watch of everything hears all" $'del a\nput a 1\nput a 2\nput b 1' \
  sh -c "sed 's/ rev=.*//' '$work/all' | sort"
wait $run
is "a command runs for each change" $'put a 1\nput a 2' cat "$work/run"

# From a position: what came behind it, though nobody listened meanwhile.
pos=$(sed -n 's/^pos //p' "$work/one.err" | sed -n 2p)
ok "each change has a position" test -n "$pos"
watch "$work/again" --count 2 --from "$pos" a
wait $watcher
is "from a position nothing is missing" $'put a 2\ndel a' sed 's/ rev=.*//' "$work/again"

# Nodes die one after the other; the watch hears each number once, in order.
watch "$work/chaos" --count 60 n
chaos=$watcher
sleep 1
writes() {
  for i in $(seq 60); do
    ctl put n "$i" > /dev/null || return 1
    case $i in
      15|30|45)
        victim=$((i / 15))
        kill -9 "$(cat "$CLUSTER_DIR/n$victim/pid")"
        sleep 1
        up 3 > /dev/null || return 1 ;;
    esac
  done
}
ok "writes go on while nodes die one after the other" writes
wait $chaos
is "the watch heard all of them" 60 sh -c "wc -l < '$work/chaos' | tr -d ' '"
is "each once and in order" "$(seq 60)" sh -c "sed 's/^put n //; s/ rev=.*//' '$work/chaos'"
exits "a position that is none is refused" 2 ctl watch --from 00 a
exits "a watch without a key too" 2 ctl watch
done_testing
