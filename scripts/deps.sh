#!/bin/bash
# scripts/deps.sh - installs the Debian packages that building or testing needs.
#
#   deps.sh build|test|bench ...
#
# As root it installs what is missing with apt-get. As another user it prints the
# one line that root has to run and exits 2. With everything there it says nothing
# and touches nothing. `test` also puts promtool and an npm MessagePack-RPC client
# into $BUILD/tools (not into the system); without them their tests are skipped.
# `bench` is what `make bench-versus` compares with; etcd, too, is only unpacked there.
set -u

build_packages="gcc libc6-dev make pkg-config libuv1-dev libmsgpack-dev liblmdb-dev
  libxxhash-dev node-llhttp libinih-dev libjansson-dev"
test_packages="libcmocka-dev clang-14 libclang-rt-14-dev clang-format-14 shellcheck curl
  python3 python3-msgpack python3-pynvim ca-certificates
  iproute2 nftables"

bench_packages="libnghttp2-dev redis-tools curl"

want=
want_tools=
want_etcd=
for kind in "${@:-build}"; do
  case $kind in
    build) want="$want $build_packages" ;;
    test)
      want="$want $test_packages"
      # npm conflicts with a Node.js that came from elsewhere.
      command -v npm > /dev/null || want="$want nodejs npm"
      want_tools=1
      ;;
    bench)
      want="$want $bench_packages"
      want_etcd=1
      ;;
    *) echo "usage: deps.sh build|test|bench" >&2; exit 2 ;;
  esac
done

if ! command -v dpkg-query > /dev/null; then
  echo "deps: not a Debian system; it needs the equivalents of:$want" >&2
  exit 0
fi

missing=
for p in $want; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$p" 2> /dev/null)
  [ "$status" = installed ] || missing="$missing $p"
done

if [ -n "$missing" ]; then
  if [ "$(id -u)" -ne 0 ]; then
    echo "kvd needs packages that are not installed. Run this as root, then again:" >&2
    echo "apt-get update && apt-get install -y --no-install-recommends$missing"
    exit 2
  fi
  echo "installing:$missing"
  export DEBIAN_FRONTEND=noninteractive
  log=$(mktemp)
  # shellcheck disable=SC2086
  if ! { apt-get -q -o DPkg::Lock::Timeout=300 update &&
    apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends $missing; } \
    > "$log" 2>&1; then
    tail -n 30 "$log" >&2
    rm -f "$log"
    echo "deps: apt-get could not install:$missing" >&2
    exit 2
  fi
  rm -f "$log"
fi

[ -n "$want_tools$want_etcd" ] || exit 0
tools=${BUILD:-build}/tools
mkdir -p "$tools" || exit 1

# unpack PACKAGE DIR: a Debian package's files, without its service or its scripts.
unpack() {
  (cd "$2" && apt-get -q download "$1" > log 2>&1 && dpkg-deb -x "$1"_*.deb .)
}

# Like prometheus below, etcd-server would start a service.
if [ -n "$want_etcd" ] && ! command -v etcd > /dev/null && [ ! -x "$tools/etcd/usr/bin/etcd" ]; then
  tmp=$(mktemp -d "$tools/deb.XXXXXX")
  chmod 755 "$tmp"
  if unpack etcd-server "$tmp"; then
    rm -f "$tmp"/*.deb
    mv "$tmp" "$tools/etcd"
  else
    rm -rf "$tmp"
    echo "deps: etcd-server cannot be downloaded; bench-versus needs it" >&2
    exit 2
  fi
fi

[ -n "$want_tools" ] || exit 0
# The prometheus package would start a service: only its checker is unpacked.
if ! command -v promtool > /dev/null && [ ! -x "$tools/promtool" ]; then
  tmp=$(mktemp -d "$tools/deb.XXXXXX")
  chmod 755 "$tmp"
  if unpack prometheus "$tmp" &&
    mv "$tmp/usr/bin/promtool" "$tools/promtool"; then
    :
  else
    echo "deps: promtool is not available, its test will be skipped" >&2
  fi
  rm -rf "$tmp"
fi

if [ ! -d "$tools/npm/node_modules/msgpack5rpc" ]; then
  if ! command -v npm > /dev/null ||
    ! npm install --prefix "$tools/npm" --no-package-lock --fetch-retries=1 --fetch-timeout=30000 --no-audit --no-fund \
      --loglevel=error msgpack5rpc@1.1.0 > "$tools/npm.log" 2>&1; then
    echo "deps: npm msgpack5rpc is not available, its test will be skipped" >&2
  fi
fi
exit 0
