#!/bin/bash
# scripts/stats.sh - lines, comments, functions and asserts per folder (`make stats`).
#
# Aims: comments 12-20 %, at least two asserts per function in raft/ and storage/.
set -u
printf '%-14s %6s %7s %9s %9s %10s %8s %8s\n' folder files lines comment% functions asserts/f longest public
for folder in raft/base raft rpc storage server client jepsen tests; do
  depth=1
  [ "$folder" = tests ] && depth=3
  find "$folder" -maxdepth $depth -name '*.[ch]' -print0 2> /dev/null | xargs -0 -r awk -v folder="$folder" '
    FNR == 1 { files++; inside = 0; comment = 0 }
    { lines++ }
    /\/\*/ { comment = 1 }
    comment { comments++ }
    /\*\// { comment = 0 }
    /KV_ASSERT|KV_UNREACHABLE/ && !/define/ { asserts++ }
    /^\{/ { inside = 1; start = FNR }
    /^\}$/ && inside { functions++; inside = 0; if (FNR - start - 1 > longest) longest = FNR - start - 1 }
    FILENAME ~ /\.h$/ && /^[a-z].*\(.*/ && !/static inline/ { public++ }
    END {
      if (files)
        printf "%-14s %6d %7d %8.1f%% %9d %10.1f %8d %8d\n", folder, files, lines, 100 * comments / lines,
          functions, functions ? asserts / functions : 0, longest, public
    }'
done
