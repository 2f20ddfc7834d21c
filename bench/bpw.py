#!/usr/bin/env python3
"""bench/bpw.py BINARY MODEL... [--imatrix FILE] [--tokens N] [--exact] [--csv FILE] - budgets against mixes.

For each model: quantized as Q4_K_M and as Q3_K_M, and with --bpw at the bits that each of these took; then the mean
KL divergence and the share of equal first choices over N tokens, against the model itself. One CSV row a file (in its
command the commas of lists are written as +).
"""

import argparse
import array
import json
import math
import os
import pathlib
import random
import subprocess
import sys
import tempfile


def run(*args):
    return subprocess.run([str(a) for a in args], capture_output=True, check=True).stdout


def logits(binary, model, tokens, n_vocab, exact):
    raw = run(binary, "logits", model, "--tokens", " ".join(map(str, tokens)), *(["--exact"] if exact else []))
    a = array.array("f", raw)
    return [a[i : i + n_vocab] for i in range(0, len(a), n_vocab)]


def softmax_log(row):
    top = max(row)
    z = math.log(math.fsum(math.exp(v - top) for v in row)) + top
    return [v - z for v in row]


def compare(want, got):
    kld, same = 0.0, 0
    for p, row in zip(want, got):
        q = softmax_log(row)
        kld += math.fsum(math.exp(a) * (a - b) for a, b in zip(p, q))
        same += p.index(max(p)) == q.index(max(q))
    return kld / len(want), same / len(want)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("binary")
    ap.add_argument("model", nargs="+", type=pathlib.Path)
    ap.add_argument("--imatrix")
    ap.add_argument("--tokens", type=int, default=64)
    ap.add_argument("--exact", action="store_true")
    ap.add_argument("--csv", type=pathlib.Path)
    ap.add_argument("--mixes", default="Q4_K_M,Q3_K_M")
    ap.add_argument("--more", default="", help="options for the budget, such as --measure")
    a = ap.parse_args()
    commit = run("git", "-C", pathlib.Path(__file__).parent, "rev-parse", "--short", "HEAD").decode().strip()
    head = "commit,model,imatrix,tokens,mix,bpw,mean_kld,same_top,command"
    command = "bench/bpw.py " + " ".join(os.path.basename(v) for v in sys.argv[1:]).replace(",", "+")
    rows = []
    for model in a.model:
        n_vocab = json.loads(run(a.binary, "show", model, "--json"))["vocabulary"]
        rng = random.Random(11)
        tokens = [rng.randrange(n_vocab) for _ in range(a.tokens)]
        want = [softmax_log(r) for r in logits(a.binary, model, tokens, n_vocab, a.exact)]
        for mix in a.mixes.split(","):
            bpw = None
            for what in ("mix", "budget"):
                with tempfile.TemporaryDirectory() as t:
                    out = pathlib.Path(t) / "out.gguf"
                    how = [mix] if what == "mix" else ["--bpw", f"{bpw:.9f}"]
                    im = ["--imatrix", a.imatrix] if a.imatrix else []
                    more = a.more.split() if what == "budget" else []
                    r = json.loads(run(a.binary, "quantize", model, out, *how, *im, *more, "--json"))
                    bits = r["bytes"] * 8 / r["values"]
                    bpw = bpw or bits
                    kld, same = compare(want, logits(a.binary, out, tokens, n_vocab, a.exact))
                name = mix if what == "mix" else f"--bpw {bpw:.3f} {a.more}".strip()
                row = (
                    f"{commit},{model.name},{os.path.basename(a.imatrix or '')},{a.tokens},{name},{bits:.4f},"
                    f"{kld:.6g},{same:.4f},{command}"
                )
                print(row, flush=True)
                rows.append(row)
    if a.csv:
        old = a.csv.read_text().splitlines()[1:] if a.csv.exists() else []
        a.csv.write_text("\n".join([head, *old, *rows]) + "\n")


main()
