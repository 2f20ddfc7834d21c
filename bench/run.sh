#!/bin/sh
# bench/run.sh BUILD [MODEL...] - measures, shows, and keeps the rows in bench/results/ with the commit they belong to.
set -eu
build=$1
shift
commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
git diff --quiet HEAD 2>/dev/null || commit=$commit-dirty
show() { column -s, -t "$1" 2>/dev/null || cat "$1"; }
"$build/freehold" doctor
"$build/rel/bench-decode" "$commit" > bench/results/decode.csv
show bench/results/decode.csv
"$build/freehold" bench "$@" -o csv | sed "1s/^/commit,/; 1!s/^/\"$commit\",/" > bench/results/bench.csv
python3 - bench/results/bench.csv <<'END'
import csv, sys
for r in csv.DictReader(open(sys.argv[1], newline="")):
    share = f"{float(r['roofline_share']):6.1%} of {r['roofline_bound']}" if r["roofline_share"] else ""
    print(f"{r['model_type']:32} {r['test']:16} {float(r['avg_ts']):10.2f} t/s  {share}")
END
