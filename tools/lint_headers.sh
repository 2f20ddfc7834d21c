#!/bin/sh
# tools/lint_headers.sh CC FLAGS... - every header compiles alone: whoever includes it needs nothing else.
set -eu
cc=$1
shift
n=0
for h in src/*/*.h include/*.h; do
    [ -f "$h" ] || continue
    # generated tables belong to the one file that includes them
    if head -n 3 "$h" | grep -qi 'generated'; then continue; fi
    printf '#include "%s"\nextern int fh_header_check;\n' "${h#*/}" | "$cc" "$@" -x c -fsyntax-only - || { echo "$h does not compile alone"; exit 1; }
    n=$((n + 1))
done
echo "headers: $n compile alone"
