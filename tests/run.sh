#!/bin/sh
# tests/run.sh KIND [GOLDEN] - the required tests of one build; GOLDEN: the whole golden data, where it is there.
# Every suite closes with "N passed, N failed, N skipped"; this adds them up and says which build it was.
set -u
kind=$1 golden=${2:-}
log=build/$kind/test.log
bad=0
: > "$log"
suite() {
    echo "== $*" | tee -a "$log"
    "$@" > "build/$kind/suite.log" 2>&1 || bad=1
    grep -v -E '^ok ' "build/$kind/suite.log" | tail -n 40
    cat "build/$kind/suite.log" >> "$log"
    # a suite that died before its closing line is a failure that nobody counted
    tail -n 1 "build/$kind/suite.log" | grep -qE '^[0-9]+ passed, [0-9]+ failed' || { bad=1; echo "1 failed" >> "$log"; }
}
# The shipped binary is tested as it is shipped; sanitizer builds run their own.
binary=build/$kind/freehold
[ "$kind" = test ] && binary=build/freehold
suite "build/$kind/fh-test" ${golden:+--data "$golden"}
suite python3 tests/e2e/test_digests.py "$binary" tests/golden
suite python3 tests/golden/check.py "$binary" tokenizers --data tests/golden
suite python3 tests/golden/check.py "$binary" models gguf checkpoints types --data tests/golden
suite python3 tests/e2e/test_show.py "$binary" tests/golden
suite python3 tests/e2e/test_cli.py "$binary" tests/golden
suite python3 tests/e2e/test_commands.py "$binary" tests/golden
suite python3 tests/e2e/test_run.py "$binary" tests/golden
suite python3 tests/e2e/test_bench.py "$binary" tests/golden
suite python3 tests/e2e/test_quantize_resume.py "$binary"
suite python3 tests/e2e/test_perplexity.py "$binary" tests/golden
# A sanitizer reads its own files as it ends, which the sandbox refuses.
case $kind in asan | tsan) open=--sandbox=no ;; *) open= ;; esac
suite python3 tests/api/test_api.py "$binary" tests/golden $open
[ "$kind" = test ] && suite python3 tests/e2e/test_serve_core.py "$binary"
[ "$kind" = test ] && suite python3 tests/e2e/test_serve_first.py "$binary"
suite python3 tests/e2e/test_pull.py "$binary" tests/golden
if [ -n "$golden" ]; then
    suite python3 tests/e2e/test_digests.py "$binary" "$golden"
    suite python3 tests/e2e/test_show.py "$binary" "$golden"
    suite python3 tests/golden/check.py "$binary" models gguf checkpoints --data "$golden" --only "$(cat tests/golden/models.txt)"
    suite python3 tests/golden/check.py "$binary" types samplers --data "$golden"
    suite python3 tests/golden/check.py "$binary" adapters --data "$golden" --only "$(cat tests/golden/adapters.txt)"
    suite python3 tests/e2e/test_quantize.py "$binary" "$golden"
    suite python3 tests/e2e/test_convert.py "$binary" "$golden"
    suite python3 tests/e2e/test_engine.py "$binary" "$golden"
else
    echo "the whole golden data is not here: its committed part in tests/golden was used"
fi
awk -v kind="$kind" '/^[0-9]+ passed, [0-9]+ failed/ {p += $1; f += $3; s += $5} /^1 failed$/ {f++}
    END {printf "%s: %d passed, %d failed, %d skipped\n", kind, p, f, s}' "$log"
exit $bad
