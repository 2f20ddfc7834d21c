#!/bin/sh
# tools/need.sh PURPOSE... - installs the Debian packages that a purpose needs, and says which.
# Purposes: build, test, peers, lint, fuzz, cross. Does nothing, and needs no network, when all of them are there.
set -eu
packages=
for purpose in "$@"; do
    case $purpose in
    build) packages="$packages gcc libc6-dev libssl-dev libutf8proc-dev libpcre2-dev libedit-dev libevent-dev libcurl4-openssl-dev libsqlite3-dev" ;;
    test) packages="$packages python3 docker-registry strace" ;;
    peers) python3 -m pip --version >/dev/null 2>&1 || packages="$packages python3-pip" ;;
    lint) packages="$packages clang clang-format clang-tidy cppcheck python3" ;;
    fuzz) packages="$packages clang libclang-rt-14-dev" ;;
    cross) packages="$packages gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static" ;;
    *) echo "need.sh: unknown purpose '$purpose'" >&2; exit 2 ;;
    esac
done
if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "freehold: not a Debian system; these packages, or what they hold, are needed:$packages" >&2
    exit 0
fi
missing=
for p in $packages; do
    dpkg-query -W -f='${Status}\n' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
echo "freehold: installing the Debian packages$missing" >&2
if [ "$(id -u)" = 0 ]; then as_root=; else
    command -v sudo >/dev/null 2>&1 || { echo "freehold: neither root nor sudo; please install:$missing" >&2; exit 1; }
    echo "freehold: sudo may ask for your password" >&2
    as_root=sudo
fi
# shellcheck disable=SC2086
$as_root apt-get install -y --no-install-recommends $missing >/dev/null 2>&1 || {
    $as_root apt-get update >/dev/null
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >/dev/null
}
