#!/bin/bash
# tests/e2e/090_http.sh - health, readiness, status and metrics over HTTP.
. "$(dirname "$0")/lib.sh"
plan 11

ok "three nodes start" up 3
load write --seconds 1 > /dev/null 2>&1
http() {
  curl -sS --max-time 5 "http://127.0.0.1:$(http_port "$1")$2"
}
code() {
  curl -sS --max-time 5 -o /dev/null -w '%{http_code}' "$@"
}
url="http://127.0.0.1:$(http_port 1)"
is "/livez answers 200" 200 code "$url/livez"
is "/readyz answers 200" 200 code "$url/readyz"
verbose() { http 1 '/readyz?verbose' | grep -q .; }
ok "/readyz?verbose says what it checked" verbose
is "an unknown path answers 404" 404 code "$url/nothing"
is "POST is refused with 405" 405 code -X POST -d x "$url/livez"
json() { http 1 /v1/status | "$python" -c 'import json,sys; json.load(sys.stdin)'; }
ok "/v1/status is JSON" json
http 1 /metrics > "$work/metrics"
ok "/metrics has counters of this node" grep -q '^kvd_' "$work/metrics"
promtool=$(command -v promtool || echo "$tools/promtool")
if [ -x "$promtool" ]; then
  check_metrics() { "$promtool" check metrics < "$work/metrics"; }
  ok "promtool finds nothing wrong in /metrics" check_metrics
else
  skip "promtool finds nothing wrong in /metrics" "promtool is not available"
fi
cluster kill 2
cluster kill 3
not_ready() { [ "$(code "$url/readyz")" = 503 ]; }
ok "without a majority /readyz turns to 503" within 10 not_ready
is "while /livez stays 200" 200 code "$url/livez"
done_testing
