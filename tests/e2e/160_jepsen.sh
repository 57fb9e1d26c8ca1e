#!/bin/bash
# tests/e2e/160_jepsen.sh - kvjepsen: verdicts and exit codes, what it leaves behind, the
# page in a browser.
. "$(dirname "$0")/lib.sh"
plan 16

store=$work/store
jepsen() {
  "$BIN/kvjepsen" "$@" > "$work/out" 2>&1
}

# Processes that run a kvd of ours and its store.
left() {
  local p
  for p in /proc/[0-9]*; do
    tr '\0' ' ' < "$p/cmdline" 2> /dev/null | grep -F "$store" | grep -F kvd
  done
}

run=(--nodes 3 --time 6 --clean 2 --interval 1 --quiet 1 --store "$store" --seed 11)

# ---- a run ----

jepsen "${run[@]}" --workload register --nemesis kill --name good
rc=$?
sed 's/^/# /' "$work/out"
is "a run on a sound cluster ends with 0" 0 echo $rc
ok "it says VALID and how to repeat it" grep -qE '^VALID|--seed 11' "$work/out"
ok "it prints a status line while it works" grep -q 'ops/s' "$work/out"
good=$store/good/latest
ok "it leaves history, results and logs" \
  ls "$good/history.edn" "$good/history.txt" "$good/results.edn" "$good/results.json" \
  "$good/run.json" "$good/report.html" "$good/n1/log" "$store/index.html" \
  "$good"/independent/0/history.edn
ok "the data of a valid run is not kept" test ! -e "$good/n1/data"
is "no process is left" "" left
exits "its stored history is judged valid again" 0 \
  "$BIN/kvjepsen" check "$good/history.edn" --workload register

# ---- other ends ----

exits "a bad history is judged invalid" 1 \
  "$BIN/kvjepsen" check tests/jepsen/histories/stale_read.edn --workload register \
  --store "$store" --name bad
exits "a rate that is not reached makes a run unknown" 2 \
  "$BIN/kvjepsen" "${run[@]}" --rate 100 --name slow
exits "a kvd that does not start is the harness' failure" 3 \
  "$BIN/kvjepsen" "${run[@]}" --kvd /bin/false --name broken
exits "an unknown workload as well" 3 "$BIN/kvjepsen" --workload nothing

# ---- Ctrl-C ----

"$BIN/kvjepsen" "${run[@]}" --time 60 --name ended > "$work/out" 2>&1 &
pid=$!
within 20 grep -q 'ops/s' "$work/out"
kill -INT $pid
wait $pid
is "Ctrl-C ends a run as the harness' failure" 3 echo $?
is "and leaves no process" "" left

"$BIN/kvjepsen" "${run[@]}" --time 60 --name killed > "$work/out" 2>&1 &
pid=$!
within 20 grep -q 'ops/s' "$work/out"
kill -KILL $pid
wait $pid 2> /dev/null
nothing_left() { [ -z "$(left)" ]; }
ok "a harness that is killed leaves no process either" within 10 nothing_left

# ---- the page ----

browser=
for name in chromium-headless-shell chromium chromium-browser google-chrome; do
  command -v "$name" > /dev/null && browser=$name && break
done

# page FILE: what a browser makes of it, in $work/dom.
page() {
  timeout 60 "$browser" --headless --no-sandbox --disable-gpu --enable-logging=stderr \
    --user-data-dir="$work/browser" --virtual-time-budget=2000 --dump-dom \
    "file://$(readlink -f "$1")" > "$work/dom" 2> "$work/dom.err"
}

# The script counted its points at its end; bands, points and verdict are in the page.
looks_right() {
  page "$1" || return 1
  grep -qE 'Uncaught|CONSOLE.*rror' "$work/dom.err" && { cat "$work/dom.err"; return 1; }
  grep -qE '<html[^>]*data-script="[1-9]' "$work/dom" || return 1
  grep -qF "id=\"verdict\" class=\"badge $2\">$2<" "$work/dom" || return 1
  grep -qE 'class="points ok" d="M[0-9]' "$work/dom" || return 1
  shift 2
  for part; do
    grep -qF "$part" "$work/dom" || { echo "no $part"; return 1; }
  done
}

if [ -z "$browser" ]; then
  skip "a browser shows verdict, points and faults" "no chromium"
  skip "and the operations of an anomaly" "no chromium"
else
  ok "a browser shows verdict, points and faults" \
    looks_right "$good/report.html" valid '<rect class="band"' 'id="faults"'
  ok "and the operations of an anomaly" \
    looks_right "$store/bad/latest/report.html" invalid ' marked"' 'class="anomaly"'
fi
done_testing
