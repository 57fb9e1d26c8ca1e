#!/bin/bash
# tests/tidy/format.sh - says which C files clang-format 14 would change, as TAP.
set -u
format=$(command -v clang-format-14 || command -v clang-format)
echo "1..1"
if [ -z "$format" ]; then
  echo "ok 1 # SKIP clang-format-14 is not installed"
  exit 0
fi
bad=$(find raft rpc storage server client jepsen tests -name '*.[ch]' -print0 2> /dev/null |
  xargs -0 -r -n 20 -P "$(nproc)" "$format" --dry-run 2>&1 |
  sed -n 's/^\([^: ]*\):[0-9]*:[0-9]*: warning: code should be clang-formatted.*/\1/p' | sort | uniq -c)
if [ -z "$bad" ]; then
  echo "ok 1 - all C files are formatted"
else
  echo "$bad"
  echo "not ok 1 - these files need 'make fmt'"
  exit 1
fi
