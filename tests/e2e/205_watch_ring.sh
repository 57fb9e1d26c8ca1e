#!/bin/bash
# tests/e2e/205_watch_ring.sh - watches over groups of which no node has all: five nodes, three replicas.
. "$(dirname "$0")/lib.sh"
plan 9

export KVD_ARGS="--replicas 3"
ok "five nodes start" up 5
ok "a write is taken" ctl put r/0 0
KVCTL=${BIN:-build}/kvctl
KVCTL_ENDPOINTS=$(endpoints)
export KVCTL_ENDPOINTS

# kvctl watch runs until it has seen enough, or for a minute.
watch() { # OUT ARGS...
  local out=$1; shift
  timeout 60 "$KVCTL" watch "$@" > "$out" 2> "$out.err" &
  watcher=$!
}

# 25 keys, spread over the groups, 8 times each; nodes die and come back meanwhile.
watch "$work/all" --count 200 --pos --prefix r/
all=$watcher
sleep 1
round() {
  for key in $(seq 25); do
    ctl put "r/$key" "$1" > /dev/null || return 1
  done
}
writes() {
  local i
  for i in $(seq 8); do
    round "$i" || return 1
    case $i in
      2 | 4 | 6)
        kill -9 "$(cat "$CLUSTER_DIR/n$((i / 2))/pid")"
        sleep 1
        up 5 > /dev/null || return 1
        ;;
    esac
  done
}
ok "writes go on while nodes die one after the other" writes
wait $all
is "a watch of all groups hears all of them" 200 sh -c "wc -l < '$work/all' | tr -d ' '"
is "each key's once and in order" "" sh -c "sed 's/ rev=.*//; s/^put //' '$work/all' |
  awk '{ if (\$2 != ++n[\$1]) print } '"

# From the joint position behind all of them: what nobody heard, and nothing else.
pos=$(sed -n 's/^pos //p' "$work/all.err" | tail -n 1)
ok "its positions are joint ones" test ${#pos} -gt 40
ok "nobody listens to one more round" round 9
watch "$work/rest" --from "$pos" --count 25 --prefix r/
wait $watcher
is "from there exactly that round is told" "25 25" sh -c "sed 's/ rev=.*//; s/^put //' '$work/rest' |
  sort -u | awk '\$2 == 9 { n++ } END { print n, NR }'"
exits "a position that is none is refused" 2 ctl watch --from 00 --prefix r/
done_testing
