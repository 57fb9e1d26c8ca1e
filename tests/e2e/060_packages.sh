#!/bin/bash
# tests/e2e/060_packages.sh - without root: the apt line and exit 2; nothing missing: silence.
. "$(dirname "$0")/lib.sh"
plan 6

is "with every package there, deps says nothing" "" scripts/deps.sh build
mkdir -p "$work/bin"
# A system on which one package is missing, as seen by dpkg-query, and a user who is not root.
cat > "$work/bin/dpkg-query" << 'SH'
#!/bin/bash
for last; do :; done
[ "$last" = liblmdb-dev ] && exit 1
echo -n installed
SH
printf '#!/bin/bash\necho 1000\n' > "$work/bin/id"
chmod +x "$work/bin/"*
chmod 755 "$work" "$work/bin"
is "without root it prints the one line for root" \
  "apt-get update && apt-get install -y --no-install-recommends liblmdb-dev" \
  env PATH="$work/bin:$PATH" scripts/deps.sh build
exits "and exits 2" 2 env PATH="$work/bin:$PATH" scripts/deps.sh build
exits "make up stops with 2 there" 2 env PATH="$work/bin:$PATH" make up CLUSTER_DIR="$CLUSTER_DIR" PORT_BASE="$PORT_BASE"

# With the packages there, an ordinary user builds and starts a cluster.
if [ "$(id -u)" -eq 0 ] && command -v runuser > /dev/null; then
  copy_tree "$work/tree"
  chown -R nobody "$work/tree"
  as_nobody() { runuser -u nobody -- env -u BIN -u BUILD HOME="$work/tree" bash -c "cd '$work/tree' && $1"; }
  CLUSTER_DIR=$work/tree/cluster
  ok "an ordinary user starts a cluster" as_nobody "make up CLUSTER_DIR=cluster PORT_BASE=$PORT_BASE"
  is "writes and reads" hello as_nobody "build/kvctl put greeting hello > put.out && build/kvctl get greeting && make down > down.out"
else
  skip "an ordinary user starts a cluster" "not root, the other tests show it"
  skip "writes and reads" "not root, the other tests show it"
fi
done_testing
