#!/usr/bin/env python3
"""tests/e2e/test_faults.py BINARY [DATA] - show, verify and one step survive every failing call, one after the other.

BINARY is a test build with AddressSanitizer: FREEHOLD_FAULT=KIND:N makes the N-th call of a kind fail, KIND:N+ that
one and all after it. For every kind and command: each of the calls that an undisturbed run makes. Each run must end by
itself with exit code 0, 1 or 2, one line of message when it failed, no sanitizer report and no leak.
Closing line: N passed, N failed, N skipped.
"""

import concurrent.futures
import os
import pathlib
import subprocess
import sys
import tempfile

BIN = sys.argv[1]
DATA = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else "tests/golden")
KINDS = ["alloc", "open", "read", "mmap"]
ORDER = ["alloc", "read", "write", "fsync", "mmap", "rename", "open"]  # of the line "fault calls:"
TMP = tempfile.TemporaryDirectory()
SPLIT = DATA / "gguf/llama-sharded-00001-of-00003.gguf"
TEXT = ["-f", "tests/golden/README.md", "-c", "16", "--chunks", "2", "--threads", "2"]
COMMANDS = [
    ["show", str(DATA / "gguf/llama-sharded-00001-of-00003.gguf"), "--tensors", "--metadata"],
    ["show", str(DATA / "checkpoints/gptq-4bit-actorder"), "--json", "--tensors", "--metadata"],
    ["show", str(DATA / "models/llama-sharded")],
    ["verify", str(DATA / "types/IQ1_M.gguf")],
    ["verify", str(DATA / "checkpoints/nvfp4-ct"), "--json"],
    ["show", "--digests", "--json"],
    # loading and one step: a decoder, one with experts and memory, an encoder-decoder; exact and fast
    ["logits", str(DATA / "models/llama-sharded"), "--exact", "--tokens", "1 2 3"],
    ["logits", str(DATA / "types/Q4_K_M.gguf"), "--tokens", "1 2 3"],
    ["logits", str(DATA / "models/qwen35-moe"), "--tokens", "1 2 3"],
    ["logits", str(DATA / "models/t5"), "--exact", "--tokens", "1 2 3", "--decoder-tokens", "0 1"],
    # a text: scored, watched, its numbers written
    ["perplexity", str(SPLIT), *TEXT],
    ["imatrix", str(SPLIT), *TEXT, "--no-ppl", "--force", "-o", TMP.name + "/m.gguf"],
    ["imatrix", "--in-file", "tests/fuzz/corpus/imatrix/dat", "--force", "-o", TMP.name + "/merged.gguf"],
    ["imatrix", "--in-file", "tests/fuzz/corpus/imatrix/gguf", "--show-statistics"],
]


def run(command, fault):
    env = {
        **os.environ,
        "FREEHOLD_FAULT": fault,
        "ASAN_OPTIONS": "detect_leaks=1:exitcode=77:allocator_may_return_null=1",
    }
    p = subprocess.run([BIN, *command], capture_output=True, env=env, timeout=120)
    return p.returncode, p.stderr.decode(errors="replace")


def sweep(command, kind, forever):
    """Returns (runs, what went wrong)."""
    clean, text = run(command, f"{kind}:0")
    if clean:
        return 1, f"fails without a fault: {text.strip()[-200:]}"
    calls = int(text.splitlines()[-1].split()[2 + ORDER.index(kind)])
    refused = 0
    for n in range(1, calls + 1):
        fault = f"{kind}:{n}{'+' if forever else ''}"
        code, text = run(command, fault)
        if code not in (0, 1, 2) or "Sanitizer" in text or "runtime error" in text:
            return n, f"{fault}: exit {code}: {text.strip()[-600:]}"
        if code and "freehold: " not in text:
            return n, f"{fault}: no message: {text!r}"
        refused += code != 0
    if calls and not refused:
        return calls, "no failing call was noticed"
    return calls, None


def main():
    jobs = [(c, k, f) for c in COMMANDS for k in KINDS for f in (False, True)]
    passed = failed = total = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for (command, kind, forever), (runs, wrong) in zip(jobs, pool.map(lambda j: sweep(*j), jobs)):
            total += runs
            passed, failed = passed + (wrong is None), failed + (wrong is not None)
            if wrong:
                print(f"FAIL {' '.join(command)}: {wrong}")
    print(f"{total} runs with a failing call")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed or not passed else 0


sys.exit(main())
