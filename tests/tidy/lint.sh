#!/bin/bash
# tests/tidy/lint.sh - shellcheck over the scripts, clang-tidy over the sources.
#
#   lint.sh FILE... -- COMPILER-FLAGS...
#
# Slow, and clang-tidy is opinionated: not part of the ladder. Exit 1 when there is
# something to look at; what is not installed is skipped with a word.
set -u
files=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  files+=("$1")
  shift
done
rc=0
if command -v shellcheck > /dev/null; then
  find scripts tests .ci -name '*.sh' -print0 | xargs -0 shellcheck .ci/run || rc=1
else
  echo "lint: shellcheck is not installed"
fi
if command -v clang-tidy-14 > /dev/null; then
  printf '%s\0' "${files[@]}" | xargs -0 -n 4 -P "$(nproc)" sh -c '
    flags=$0; exec clang-tidy-14 --quiet --warnings-as-errors="*" --checks="-*,bugprone-*,clang-analyzer-*,\
readability-braces-around-statements,readability-misleading-indentation,\
-bugprone-easily-swappable-parameters,-bugprone-reserved-identifier,-bugprone-macro-parentheses,\
-bugprone-implicit-widening-of-multiplication-result,-bugprone-branch-clone,\
-clang-analyzer-optin.performance.Padding,\
-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling" "$@" -- $flags' "${*:2}" 2> /dev/null || rc=1
else
  echo "lint: clang-tidy-14 is not installed"
fi
exit $rc
