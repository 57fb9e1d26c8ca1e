#!/bin/bash
# tests/e2e/010_readme.sh - the commands of README.md, word for word.
#
# Runs in a copy of the tree, so that cluster/ and build/ are those of the copy. Takes
# the lines of README.md's ```sh blocks in front of "## Test it"; where a line ends in
# "# -> text", that text must be the output.
. "$(dirname "$0")/lib.sh"

tree=$work/tree
copy_tree "$tree"
CLUSTER_DIR=$tree/cluster # Cleaned up at the end; the commands find it by themselves.

mapfile -t lines < <(awk '
  /^## Test it/ { exit }
  /^```sh/ { inside = 1; next }
  /^```/ { inside = 0 }
  inside && NF { print }' README.md)
plan $((${#lines[@]} + 1))
cd "$tree" || exit 1
for line in "${lines[@]}"; do
  command=${line%%#*}
  command=${command%"${command##*[! ]}"}
  if [[ $line == *"# -> "* ]]; then
    is "$command" "${line##*# -> }" env -u CLUSTER_DIR -u BIN -u BUILD bash -c "$command"
  else
    ok "$command" env -u CLUSTER_DIR -u BIN -u BUILD bash -c "$command"
  fi
done
ok "the copy's cluster stops" env -u BIN -u BUILD make down CLUSTER_DIR="$CLUSTER_DIR"
cd "$e2e/../.." || exit 1
done_testing
