#!/usr/bin/env bash
# Gets what the tests of pages need: Chromium, from Debian's packages where this is Debian and there are the rights, and
# the packages of npm in this folder. Exits with 1, and says why, where one of them cannot be had.
set -euo pipefail
cd "$(dirname "$0")"

give_up() {
  echo "$1"
  exit 1
}

# Node 20 is the oldest that the packages work with.
command -v npm >/dev/null || give_up "Node and npm are not installed"
node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || give_up "Node $(node --version) is older than version 20"

is_there() { command -v chromium || command -v chromium-browser || command -v google-chrome; }
if ! is_there >/dev/null; then
  grep -qsx 'ID=debian' /etc/os-release || give_up "Chromium is not installed"
  [ "$(id -u)" = 0 ] || give_up "Chromium is not installed, and only root can install it"
  install() { DEBIAN_FRONTEND=noninteractive timeout 180 apt-get install -qq -y --no-install-recommends chromium; }
  { install || { apt-get -qq update && install; }; } >/dev/null 2>&1 ||
    give_up "Chromium cannot be fetched from Debian's packages"
fi

# npm writes this file at the end of an installation.
[ node_modules/.package-lock.json -nt package-lock.json ] && exit 0
timeout 120 npm ci --silent --no-audit --no-fund || give_up "the packages of tests/browser cannot be fetched by npm"
