#!/bin/sh
# tests/fuzz/run.sh DIR SECONDS TARGET... - runs each target that long on its corpus; a finding stops with its input.
# FUZZ_SEED fixes the random numbers (0: new ones each time), so that CI repeats itself. New inputs go to DIR/corpus,
# so the committed seeds stay as they are. Closing line: N passed, N failed, N skipped.
set -u
dir=$1 seconds=$2
shift 2
passed=0 failed=0
for t in "$@"; do
    seeds=tests/fuzz/corpus/$t
    mkdir -p "$dir/corpus/$t"
    dict=
    [ -f "tests/fuzz/$t.dict" ] && dict=-dict=tests/fuzz/$t.dict
    # 2 GiB of memory and 1 s per input: more is a finding. Compilers of grammars and patterns have budgets of their own,
    # which sanitizers stretch.
    limit=1
    case $t in grammar | regex | schema | template | split | tokenize | toolcall | request) limit=4 ;; esac
    if "$dir/fuzz_$t" -max_total_time="$seconds" -seed="${FUZZ_SEED:-0}" -timeout=$limit -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 \
        -artifact_prefix="$dir/finding-$t-" $dict "$dir/corpus/$t" "$seeds" > "$dir/$t.log" 2>&1; then
        passed=$((passed + 1))
        echo "ok   $t: $(awk '/stat::number_of_executed_units/ {print $2}' "$dir/$t.log") inputs"
    else
        failed=$((failed + 1))
        echo "FAIL $t: see $dir/$t.log"
        tail -n 25 "$dir/$t.log"
    fi
done
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
