#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Sourced by run, test and .ci/run: `install_packages SECTION…` installs what of packages.txt is missing. Says what it does, asks nothing.

fail() { echo "$0: $*" >&2; exit 1; }

install_packages() {
  local section wanted=() missing=() name current=""
  while read -r name; do
    case $name in
      '' | '#'*) ;;
      '['*']') current=${name//[\[\]]/} ;;
      *) for section in "$@"; do [ "$section" = "$current" ] && wanted+=("$name"); done ;;
    esac
  done <"$top/packages.txt"
  if ! command -v dpkg-query >/dev/null; then
    echo "This is not Debian: nothing is installed. Needed are the equivalents of: ${wanted[*]}"
    return 0
  fi
  for name in "${wanted[@]}"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  local sudo=""
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || fail "not root and no sudo. As root: apt-get install ${missing[*]}"
    sudo -n true 2>/dev/null || [ -t 0 ] || fail "sudo would ask for a password. First: sudo apt-get install ${missing[*]}"
    sudo=sudo
  fi
  echo "Installing with apt-get: ${missing[*]}"
  local log
  log=$(mktemp)
  # the package lists may be old or missing: one more try after an update
  if ! $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" </dev/null >"$log" 2>&1; then
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get update -q </dev/null >>"$log" 2>&1 || true
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" </dev/null >>"$log" 2>&1 ||
      { tail -n 5 "$log" >&2; rm -f "$log"; fail "apt-get could not install ${missing[*]}. Check the network and /etc/apt/sources.list"; }
  fi
  rm -f "$log"
}

# build PRESET [CMAKE-OPTION…]: configures when needed and builds; quiet unless it fails.
build() {
  local preset=$1 log; shift
  log=$(mktemp)
  cmake --preset "$preset" "$@" </dev/null >"$log" 2>&1 || { tail -n 30 "$log" >&2; rm -f "$log"; fail "cmake --preset $preset failed: see above"; }
  ninja -C "build/$preset" </dev/null >"$log" 2>&1 || { grep -E 'error|FAILED|warning' "$log" | head -n 30 >&2; tail -n 5 "$log" >&2; rm -f "$log"; fail "the build of $preset failed: see above"; }
  rm -f "$log"
}
