#!/bin/sh
# bench/run.sh BUILD - measures, shows, and keeps the rows in bench/results/ with the commit they belong to.
set -eu
commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
git diff --quiet HEAD 2>/dev/null || commit=$commit-dirty
"$1/freehold" doctor
"$1/rel/bench-decode" "$commit" > bench/results/decode.csv
column -s, -t bench/results/decode.csv 2>/dev/null || cat bench/results/decode.csv
