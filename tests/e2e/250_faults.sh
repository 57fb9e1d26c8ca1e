#!/bin/bash
# tests/e2e/250_faults.sh - what is unavailable when: the table of docs/promises.md holds.
#
# REPEAT=5 (1) asks each question that often, and prints the table anew.
. "$(dirname "$0")/lib.sh"
plan 1

faults() {
  TMPDIR=$work "$python" "$e2e/faults.py" --bin "$BIN" --repeat "${REPEAT:-1}"
}
ok "under faults the words and times are the documented ones, and no promise is weaker" faults
sed 's/^/# /' "$work/ok.out"
done_testing
