#!/bin/sh
# tools/coverage.sh DIR - line coverage by file, from gcov's data under DIR, and the sum.
set -eu
find "$1" -name '*.gcda' | grep -v /tests/ | while read -r f; do
    gcov -n -o "$(dirname "$f")" "$f" 2>/dev/null
done | awk -F"'" '/^File .src\// {file = $2} /^Lines executed/ && file != "" {
        split($0, a, /[:% ]+/); share[file] = a[3]; lines[file] = a[5]; file = ""}
    END {for (f in share) {printf "%6.1f%%  %5d  %s\n", share[f], lines[f], f | "sort -k3"; hit += share[f] * lines[f]; all += lines[f]}
        close("sort -k3"); printf "%6.1f%%  %5d  all\n", all ? hit / all : 0, all}'
