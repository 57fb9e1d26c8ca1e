#!/bin/bash
# tests/e2e/150_failpoints.sh - a node ends at each named point of a test build, and comes back.
#
#   150_failpoints.sh [PATTERN]    only points whose names match: 'log_*'
#
# Env: FAILPOINT_NAMES (such a pattern), SEED (which of the times that a point is reached;
# the commit's by default). Points exist in test builds only: with a release BIN, kvd comes
# from MODE=debug beside it.
. "$(dirname "$0")/lib.sh"

kvd=$BIN/kvd
if ! "$kvd" --failpoints > /dev/null 2>&1; then
  if strings "$kvd" | grep -i failpoint; then
    echo "not ok 1 - the release kvd knows no failpoint"
    exit 1
  fi
  env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MODE -u T -u C \
    make --no-print-directory -j2 BUILD="${BUILD:-build}" MODE=debug server > "$work/make.out" 2>&1 || {
    tail -n 20 "$work/make.out"
    exit 1
  }
  kvd=$(cd "${BUILD:-build}/debug" && pwd)/kvd
fi
: "${SEED:=$((16#$(git rev-parse --short=4 HEAD 2> /dev/null || echo 1)))}"
export SEED
KVD=$kvd KVLOAD=$BIN/kvload WORK=$work FAILPOINTS=${1:-${FAILPOINT_NAMES:-}} "$python" "$e2e/failpoints.py" &
wait $!
