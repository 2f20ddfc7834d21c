#!/usr/bin/env python3
"""tests/e2e/test_fit.py BINARY [DATA] - `freehold fit`: what it foretells against what the program then takes.

Every model of the golden data: weights against an independent sum over its files, state against `freehold show
--plan`; the same from config.json alone; names, machines, charts and refusals. Closing line: N passed, N failed,
N skipped.
"""

import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

BIN = str(pathlib.Path(sys.argv[1]).resolve())
DATA = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else "tests/golden").resolve()
passed = failed = 0
ENV = {**os.environ, "HF_HUB_CACHE": "/nonexistent", "OLLAMA_MODELS": "/nonexistent"}


def check(name, ok, text=""):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print(f"FAIL {name}: {str(text)[:500]}")


def run(*args):
    return subprocess.run([BIN, *map(str, args)], capture_output=True, text=True, timeout=300, env=ENV)


def fit(model, *args):
    p = run("fit", model, "--no-measure", "--json", *args)
    return json.loads(p.stdout) if p.returncode == 0 else None


def safetensors_bytes(folder):
    """Bytes of all tensors, and the number of values of those that are plain floats: None where some are not."""
    total = values = 0
    for path in folder.glob("*.safetensors"):
        with open(path, "rb") as f:
            head = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        for name, t in head.items():
            if name == "__metadata__":
                continue
            total += t["data_offsets"][1] - t["data_offsets"][0]
            n = 1
            for d in t["shape"]:
                n *= d
            values = None if values is None or t["dtype"] not in ("BF16", "F16", "F32") else values + n
    return total, values


def models():
    for path in sorted((DATA / "models").iterdir()):
        if (path / "config.json").is_file():
            plan = run("show", path, "--plan", "--json", "--ctx", "300")
            told = fit(path, "--ctx", "300")
            check(f"{path.name}: an answer", told)
            if not told:
                continue
            total, values = safetensors_bytes(path)
            check(
                f"{path.name}: weights", abs(told["stored_bytes"] - total) <= total / 100, (told["stored_bytes"], total)
            )
            if values is not None:
                check(f"{path.name}: parameters", told["parameters"] == values, (told["parameters"], values))
            if plan.returncode == 0:
                state = json.loads(plan.stdout)["memory"]["state_bytes"]
                check(
                    f"{path.name}: state",
                    told["state"] and told["state"]["paged_bytes"] == state,
                    (told["state"], state),
                )
            alone = fit(path / "config.json", "--ctx", "300")
            check(f"{path.name}: config alone", alone)
            if not alone or alone["parameters"] is None or alone["senses_not_counted"]:
                continue
            off = alone["parameters"] / told["parameters"] - 1
            check(f"{path.name}: parameters from the config", abs(off) <= 0.01, off)
            if alone["state"] and told["state"]:
                check(
                    f"{path.name}: state from the config",
                    alone["state"]["paged_bytes"] == told["state"]["paged_bytes"],
                    (alone["state"], told["state"]),
                )
    for path in sorted((DATA / "gguf").glob("*.gguf")):
        plan = run("show", path, "--plan", "--json", "--ctx", "300")
        told = fit(path, "--ctx", "300")
        check(f"{path.name}: an answer", told)
        if told and plan.returncode == 0:
            state = json.loads(plan.stdout)["memory"]["state_bytes"]
            check(
                f"{path.name}: state", told["state"] and told["state"]["paged_bytes"] == state, (told["state"], state)
            )


def catalogue():
    rows = json.loads(run("fit", "--list", "--json").stdout)
    check("the catalogue has a hundred models", len(rows) >= 100, len(rows))
    for row in rows[::7]:
        told = fit(row["repository"], "--on", "H200")
        check(f"{row['model']}: by its repository", told and told["model"] == row["model"], told)
    both = fit("llama3.1:8b", "--on", "2x A100-80")
    check("as runners write it", both and both["model"] == "Llama 3.1 8B")
    check("two of them", both["machines"][0]["memory_bytes"] == 160 * 10**9)
    check("KV of 8B", both["state"]["bytes_per_token"] == 131072)
    everywhere = fit("gpt-oss-20b", "--on", "catalogue")
    check("every machine", len(everywhere["machines"]) >= 15)
    for m in everywhere["machines"]:
        best = [q for q in m["quantizations"] if q["fits"]]
        check(
            f"{m['machine']}: best is the first that fits", m["best"] == (best[0]["quantization"] if best else None), m
        )
        for q in m["quantizations"]:
            parts = q["weight_bytes"] + q["state_bytes"] + q["scratch_bytes"] + q["overhead_bytes"]
            check(f"{m['machine']} {q['quantization']}: parts add up", parts == q["bytes"], q)
            check(f"{m['machine']} {q['quantization']}: fits", q["fits"] == (q["bytes"] <= m["memory_bytes"]), q)


def text_and_refusals(tmp):
    p = run("fit", "Llama 3.3 70B", "--on", "RTX 4090")
    check("does not fit", p.returncode == 0 and "does not fit" in p.stdout and "more memory" in p.stdout, p.stdout)
    p = run("fit", "Qwen3 4B", "--on", "RTX 4090")
    check("fits", p.returncode == 0 and "It fits" in p.stdout and "|" in p.stdout, p.stdout)
    p = run("fit", "qwen3")
    check("several names", p.returncode == 1 and "'Qwen3 8B'" in p.stderr, p.stderr)
    check("no such machine", run("fit", "Qwen3 4B", "--on", "abacus").returncode == 1)
    check("no such type", run("fit", "Qwen3 4B", "--kv-type", "q3_k").returncode == 2)
    check("too many slots", run("fit", "Qwen3 4B", "--slots", "99999").returncode == 2)
    svg = tmp / "fit.svg"
    p = run("fit", "Gemma 3 12B", "--on", "RTX 4090", "--svg", svg)
    root = xml.etree.ElementTree.parse(svg).getroot() if p.returncode == 0 else None
    check("a chart", root is not None and root.tag.endswith("svg"), p.stderr)
    check("a chart nowhere", run("fit", "Qwen3 4B", "--on", "H100", "--svg", tmp / "no" / "x.svg").returncode == 1)
    (tmp / "bad").mkdir()
    (tmp / "bad" / "config.json").write_text('{"model_type": "llama", "num_hidden_layers": "many"}')
    p = run("fit", tmp / "bad", "--no-measure")
    check("a wrong config", p.returncode == 1 and "num_hidden_layers" in p.stderr, p.stderr)
    (tmp / "bad" / "config.json").write_text('{"model_type": "never_seen"}')
    told = fit(tmp / "bad")
    check("an unknown architecture", told and told["parameters"] is None and told["state"] is None, told)


with tempfile.TemporaryDirectory() as d:
    models()
    catalogue()
    text_and_refusals(pathlib.Path(d))
print(f"{passed} passed, {failed} failed, 0 skipped")
sys.exit(failed > 0)
