#!/bin/bash
# tests/e2e/030_kill_leader.sh - kill -9 of the busiest node while 16 clients write.
. "$(dirname "$0")/lib.sh"
plan 7

ok "three nodes start" up 3
load write --seconds 8 > "$work/load.out" 2> "$work/load.err" &
writers=$!
sleep 2
victim=$(busiest)
ok "node ${victim:-?} leads most groups and is killed" cluster kill "${victim:-0}"
sleep 3
ok "the others go on serving" ctl put while-one-is-dead yes
ok "the killed node is started again and every group has a leader" up 3
wait $writers
rc=$?
sed 's/^/# /' "$work/load.out"
ok "the writers went on" test $rc -eq 0
ok "every acknowledged write is there" load verify
caught_up() {
  local i=${victim:-1}
  "$python" - "$(endpoints)" "$i" << 'PY'
import sys
sys.path.insert(0, "tests/e2e")
from rpc import Conn, text
ports = [int(e.rsplit(":", 1)[1]) for e in sys.argv[1].strip().split(",")]
status = [{g["id"]: g["applied"] for g in text(Conn(p).call("cluster.status"))["groups"]} for p in ports]
mine = status[int(sys.argv[2]) - 1]
for group in mine:
    best = max(s.get(group, 0) for s in status)
    assert mine[group] >= best, f"group {group}: applied {mine[group]} of {best}"
PY
}
ok "the killed node catches up" within 20 caught_up
done_testing
