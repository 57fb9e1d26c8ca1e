#!/bin/bash
# tests/e2e/130_lost_directory.sh - a node that lost its directory is refused, the others go on.
. "$(dirname "$0")/lib.sh"
plan 4

ok "three nodes start" up 3
ok "a key is written" ctl put greeting hello
cluster stop 2
rm -rf "$CLUSTER_DIR/n2/data"
cluster start 2
told() { grep -Eiq 'incarnation|lost' "$CLUSTER_DIR/n2/log" "$CLUSTER_DIR/n1/log" "$CLUSTER_DIR/n3/log"; }
ok "a node with an empty directory is recognised and said so" within 15 told
is "the other two serve" hello ctl_at 1 get greeting
done_testing
