#!/usr/bin/env python3
"""tests/e2e/test_engine.py BINARY DATA - what must not be seen in a result: threads, batches, pages; and what kinds of
keys and values may cost. DATA: golden data (models/ with case.json). Standard library only.

In exact mode the same tokens must give the same bits whatever --threads, --batch and --page say. Keys and values in f16
must stay within 1e-5 of f32 ones (error over signal), q8_0 within 1e-3. bf16 keeps 8 bits of a number: on these models,
whose scores are large, that costs up to 5e-5 by itself. Two shapes magnify any rounding and are measured, not judged:
experts (another one may be chosen) and T5 (scores are not scaled)."""
import array
import json
import math
import os
import subprocess
import sys

BINARY, DATA = sys.argv[1], sys.argv[2]
SHAPES = ["llama3-gqa", "llama2", "qwen3", "mixtral", "qwen3-moe", "gemma3", "gpt-oss", "deepseek-v3",
          "deepseek-v2-lite", "qwen35", "qwen35-moe", "t5", "flan-t5", "bert", "embeddinggemma", "qwen3-embedding"]
LENGTH = 150
MAGNIFY = ["mixtral", "qwen3-moe", "gpt-oss", "deepseek-v3", "qwen35-moe", "t5", "flan-t5"]
passed = failed = skipped = 0


def note(ok, what):
    global passed, failed
    passed, failed = passed + ok, failed + (not ok)
    if not ok:
        print("FAIL", what, flush=True)


def logits(path, case, flags):
    tokens = (case["tokens"] * 8)[:case["length"]]
    cmd = [BINARY, "logits", path, "--exact", "--tokens", " ".join(map(str, tokens)), *flags]
    if case["kind"] == "seq2seq":
        cmd += ["--decoder-tokens", " ".join(map(str, (case["decoder_tokens"] * 8)[:100]))]
    p = subprocess.run(cmd, capture_output=True, timeout=300)
    return p.stdout if p.returncode == 0 else p.stderr


def error(got, want):
    a, b = array.array("f", got), array.array("f", want)
    if len(a) != len(b):
        return math.inf
    e, s = sum((x - y) ** 2 for x, y in zip(a, b)), sum(y * y for y in b)
    return e / s if s and not math.isnan(e) else math.inf


def check(name):
    global skipped
    path = os.path.join(DATA, "models", name)
    if not os.path.exists(path + "/case.json"):
        skipped += 1
        return
    case = json.load(open(path + "/case.json"))
    case["length"] = LENGTH
    whole = case["kind"] in ("hidden", "score") and name != "qwen3-embedding"
    base = logits(path, case, ["--threads", "1"])
    note(len(base) > 1000, f"{name}: {base[-200:]!r}")
    ways = [["--threads", "2"], ["--threads", "4"], ["--page", "16"], ["--page", "64", "--threads", "2"]]
    if not whole:
        ways += [["--batch", n] for n in ("1", "63", "64", "65")] + [["--batch", "7", "--page", "16", "--threads", "4"]]
    for way in ways:
        note(logits(path, case, way) == base, f"{name}: other bits with {' '.join(way)}")
    for kind, most in (("f16", 1e-5), ("bf16", 1e-4), ("q8_0", 1e-3)):
        got = logits(path, case, ["--kv-type", kind])
        e = error(got, base) if len(got) == len(base) else math.inf
        if name in MAGNIFY:
            print(f"     {name}: error {e:.1e} with keys and values in {kind}")
        else:
            note(e <= most, f"{name}: error {e:.1e} with keys and values in {kind}, at most {most:.0e}")


for n in SHAPES:
    check(n)
print(f"{passed} passed, {failed} failed, {skipped} skipped")
sys.exit(1 if failed or not passed else 0)
