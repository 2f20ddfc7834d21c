#!/usr/bin/env python3
"""tests/e2e/test_bench.py BINARY [DATA [LLAMA_BENCH MODEL.gguf]] - `freehold bench`, bench/compare and bench/plot.

Formats are parsed by what reads them elsewhere; names and order of columns and rows are compared with what llama-bench
printed for the same options (build 0c1e570, kept below), or with LLAMA_BENCH itself over a model that it loads, where
one is given. compare's arithmetic is checked with made-up programs that say how fast they are. Closing line: N passed,
N failed, N skipped.
"""

import csv
import hashlib
import json
import math
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

BIN = str(pathlib.Path(sys.argv[1]).resolve())
DATA = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else "tests/golden").resolve()
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
Q4 = DATA / "types/Q4_K_M.gguf"
QUICK = ("-r", "2", "--no-roofline")
passed = failed = 0

# llama-bench -o csv: the facts that freehold has, too
LLAMA_FIELDS = (
    "cpu_info backends model_filename model_type model_size model_n_params n_batch n_ubatch n_threads type_k "
    "type_v embeddings n_prompt n_gen n_depth test_time avg_ns stddev_ns avg_ts stddev_ts"
).split()
LLAMA_COLUMNS = ["model", "size", "params", "backend", "threads", "test", "t/s"]
# -p 16 -n 8 -t 1,2 -ub 8,16 -b 16, and -p 16 -n 8 -pg 8,4 -d 0,16: threads or depth, ubatch and test of each row
LLAMA_ORDER = [(t, u, x) for u in ("8", "16") for t in ("1", "2") for x in ("pp16", "tg8")]
LLAMA_DEPTHS = ["pp16", "tg8", "pp8+tg4", "pp16 @ d16", "tg8 @ d16", "pp8+tg4 @ d16"]


def check(name, ok, text=""):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print(f"FAIL {name}: {str(text)[:600]}")


def run(*args):
    p = subprocess.run([BIN, "bench", *map(str, args)], capture_output=True, text=True, timeout=600)
    return p.returncode, p.stdout, p.stderr


def table(text):
    """The cells of each line of md; the head's first."""
    lines = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return lines[0], lines[2:]


def rows_of(*args):
    rc, out, err = run(*args, "-o", "csv")
    return list(csv.DictReader(out.splitlines())) if rc == 0 else err


# ---- formats ----
def formats():
    rc, out, err = run(Q4, "-p", "16", "-n", "8", *QUICK)
    head, lines = table(out)
    check("md: columns", rc == 0 and head == LLAMA_COLUMNS, out + err)
    check("md: tests", [l[5] for l in lines] == ["pp16", "tg8"], out)
    check("md: t/s", all(re.fullmatch(r"\d+\.\d\d ± \d+\.\d\d", l[6]) for l in lines), out)
    check("md: every line is as wide", len({len(l) for l in out.splitlines()}) == 1, out)
    check("md: facts", lines[0][0] == "qwen3 951.7 K Q4_K_M" and lines[0][2] == "951.7 K", out)

    rc, out, err = run(Q4, "-p", "16", "-n", "8", *QUICK, "-o", "csv")
    names = out.split("\n", 1)[0].split(",")
    check("csv: llama-bench's names", rc == 0 and [n for n in names if n in LLAMA_FIELDS] == LLAMA_FIELDS, names)
    rows = list(csv.DictReader(out.splitlines()))
    check("csv: values are in quotes", all(l.startswith('"') and l.endswith('"') for l in out.splitlines()[1:]), out)
    r = rows[0]
    check(
        "csv: facts",
        (r["model_filename"], r["n_prompt"], r["n_gen"], r["n_depth"], r["type_k"], r["n_batch"])
        == (str(Q4), "16", "0", "0", "f16", "2048"),
        r,
    )
    r = rows_of(Q4, "-p", "16", "-n", "0", "-r", "1", "--no-roofline")[0]
    check("csv: speed is tokens by time", abs(float(r["avg_ts"]) * int(r["avg_ns"]) / 16e9 - 1) < 1e-6, r)

    rc, out, err = run(Q4, "-p", "16", "-n", "8", *QUICK, "-o", "json")
    doc = json.loads(out)
    check("json: one array", rc == 0 and [d["test"] for d in doc] == ["pp16", "tg8"], out)
    for d, n in zip(doc, (16, 8)):
        ns, ts = d["samples_ns"], d["samples_ts"]
        check(
            "json: samples", len(ns) == len(ts) == 2 and all(abs(n * 1e9 / a - b) < 1e-6 * b for a, b in zip(ns, ts)), d
        )
        mean = sum(ts) / 2
        off = math.sqrt(sum((x - mean) ** 2 for x in ts))
        check(
            "json: mean and deviation",
            abs(d["avg_ts"] - mean) < 1e-6 * mean
            and abs(d["stddev_ts"] - off) < 1e-6 * mean
            and abs(d["avg_ns"] - sum(ns) / 2) < 1,
            d,
        )
    check("json: no roofline is null", doc[0]["roofline_share"] is None and doc[0]["n_streams"] == 1, doc[0])
    rc, out, _ = run(Q4, "-p", "16", "-n", "0", *QUICK, "--json")
    check("--json is -o json", rc == 0 and len(json.loads(out)) == 1, out)
    rc, out, _ = run(Q4, "-p", "16", "-n", "8", *QUICK, "-o", "jsonl")
    check("jsonl: a line a row", rc == 0 and [json.loads(l)["n_gen"] for l in out.splitlines()] == [0, 8], out)


# ---- combinations ----
def combinations():
    rc, out, err = run(Q4, "-p", "16", "-n", "8", "-t", "1,2", "-ub", "8,16", "-b", "16", "-r", "1", "--no-roofline")
    head, lines = table(out)
    want = LLAMA_COLUMNS[:5] + ["n_batch", "n_ubatch"] + LLAMA_COLUMNS[5:]
    check("columns of what is not the default", head == want, head)
    check("order of combinations", [(l[4], l[6], l[7]) for l in lines] == LLAMA_ORDER, lines)
    rows = rows_of(Q4, "-p", "16", "-n", "8", "-pg", "8,4", "-d", "0,16", "-r", "1", "--no-roofline")
    check("order of depths", [r["test"] for r in rows] == LLAMA_DEPTHS, rows)
    rows = rows_of(Q4, "-p", "8-32*2", "-n", "4-8+2", "-r", "1", "--no-roofline", "-ctk", "q8_0")
    check("ranges", [r["test"] for r in rows] == ["pp8", "pp16", "pp32", "tg4", "tg6", "tg8"], rows)
    check("types of keys and values", {(r["type_k"], r["type_v"]) for r in rows} == {("q8_0", "q8_0")}, rows)
    rows = rows_of(Q4, "-p", "8", "-p", "4", "-n", "4", "--streams", "1,4,8", "-d", "8", "-r", "1", "--no-roofline")
    tests = ["pp8 @ d8", "pp4 @ d8", "tg4 @ d8", "tg4 x4 @ d8", "tg4 x8 @ d8"]
    check("streams", [r["test"] for r in rows] == tests and [r["n_streams"] for r in rows] == list("11148"), rows)
    rows = rows_of("-m", f"{Q4},{DATA / 'types/TQ1_0.gguf'}", Q4, "-p", "4", "-n", "0", "-r", "1", "--no-roofline")
    names = [pathlib.Path(r["model_filename"]).name for r in rows]
    check("several models", names == ["Q4_K_M.gguf", "TQ1_0.gguf", "Q4_K_M.gguf"], names)
    rows = rows_of(Q4, "-p", "4", "-n", "4", "-r", "1", "--no-roofline", "--exact", "--cpu-level", "ref", "--no-warmup")
    check("exact", [(r["exact"], r["cpu_level"], r["type_k"]) for r in rows] == [("1", "ref", "f32")] * 2, rows)
    rows = rows_of(Q4, "-p", "4", "-n", "0", "-r", "3", "--no-roofline", "--first-token")
    check("first token", [r["test"] for r in rows] == ["first token", "pp4"] and int(rows[0]["avg_ns"]) > 10**5, rows)

    rc, out, err = run(DATA / "models/bert", "-p", "8", "-n", "4", *QUICK)
    check(
        "an encoder has prompts only",
        rc == 0 and "left out: tg4" in err and [l[5] for l in table(out)[1]] == ["pp8"],
        err,
    )
    rows = rows_of(DATA / "models/t5", "-p", "8", "-n", "4", *QUICK)
    check("an encoder and decoder", [r["test"] for r in rows] == ["pp8", "tg4"], rows)
    rows = rows_of(DATA / "models/deepseek-v3", "-p", "8", "-n", "4", "-d", "40", "--streams", "2", *QUICK)
    check("latent state at a depth", [r["test"] for r in rows] == ["pp8 @ d40", "tg4 x2 @ d40"], rows)
    rows = rows_of(DATA / "models/qwen35-moe", "-p", "8", "-n", "4", "-d", "40", "--streams", "2", *QUICK)
    check("recurrent state at a depth", [r["test"] for r in rows] == ["pp8 @ d40", "tg4 x2 @ d40"], rows)


def refusals():
    cases = [
        (("-p", "0", "-n", "0"), 2, "nothing to measure"),
        (("-p", "x"), 2, "--n-prompt 'x'"),
        (("-p", "1-"), 2, "ranges"),
        (("-n", "8-4"), 2, "upwards"),
        (("-t", "0"), 2, "--threads"),
        (("-b", "0"), 2, "--batch-size"),
        (("--streams", "300"), 2, "256"),
        (("-pg", "8"), 2, "PROMPT,GEN"),
        (("-ctk", "q4_0"), 2, "f32, f16, bf16"),
        (("-ctk", "f16", "-ctv", "q8_0"), 1, "one type"),
        (("-o", "sql"), 2, "md, csv, json, jsonl"),
        (("-o", "csv", "--json"), 2, "different things"),
        (("-r", "0"), 2, "--repetitions"),
        (("--tokens", "1"), 2, "--agree"),
        (("--agree", "--tokens", "x"), 2, "token ids"),
        (("--agree", "--tokens", "999999"), 2, "vocabulary"),
        (("--cpu-level", "none"), 2, "none"),
        (("-p", "1-64", "-n", "1-64", "-d", "0-63"), 2, "combinations"),
    ]
    for args, want, word in cases:
        rc, out, err = run(Q4, *args)
        check(f"refused: {' '.join(args)}", rc == want and word in err and not out, f"{rc} {out}{err}")
    rc, out, err = run("none.gguf", "--no-roofline", "-o", "json")
    check("a missing model", rc == 1 and "none.gguf" in err and not out, out + err)
    rc, out, err = run(Q4, DATA / "none.gguf", "-p", "4", "-n", "0", *QUICK)
    check("rows stand before a failure", rc == 1 and "pp4" in out and "none.gguf" in err, out + err)
    if os.path.exists("/dev/full"):
        with open("/dev/full", "w") as full:
            p = subprocess.run(
                [BIN, "bench", str(Q4), "-p", "4", "-n", "0", *QUICK], stdout=full, stderr=subprocess.PIPE
            )
        check("a full disk", p.returncode == 1 and p.stderr, p)


# ---- rooflines ----
def rooflines():
    rows = rows_of(Q4, "-p", "0", "-n", "8", "-r", "1")
    r = rows[0] if isinstance(rows, list) else {}
    size = Q4.stat().st_size
    steps, data = int(r["n_step"]), float(r["bytes"])
    # all but the table of embeddings (Q4_K, 320 x 256), of which a token takes a row, and what is no weight
    table_bytes = 320 * 256 / 256 * 144
    check(
        "a step reads the file",
        steps == 8 and 0.9 * (size - table_bytes) < data / steps < size - table_bytes + 20000,
        r,
    )
    ts = float(r["roofline_ts"])
    check("the share is the quotient", abs(float(r["roofline_share"]) - int(r["avg_ns"]) ** -1 * 8e9 / ts) < 1e-3, r)
    check(
        "the nearer ceiling",
        abs(ts - 8 / max(data / float(r["read_peak"]), float(r["ops"]) / float(r["ops_peak"]))) < 1e-3 * ts,
        r,
    )
    check(
        "operations by kind", abs(sum(float(r[f"ops_{k}"]) for k in ("f32", "bf16", "int8")) - float(r["ops"])) < 1, r
    )
    rc, out, err = run(Q4, "-p", "16", "-n", "0", "-r", "1")
    head, lines = table(out)
    line = lines[1]
    check(
        "md: a roofline under each row",
        rc == 0
        and len(lines) == 2
        and line[5] == "roofline"
        and re.fullmatch(r"\d+\.\d% of \d+\.\d\d", line[6])
        and line[1].endswith("B/s")
        and line[2].endswith("OP/s")
        and line[3] in ("memory", "cache", "compute")
        and "a step" in line[0],
        out + err,
    )


# ---- agreement ----
def logits(model, tokens, *more):
    p = subprocess.run([BIN, "logits", str(model), "--tokens", " ".join(map(str, tokens)), *more], capture_output=True)
    values = struct.unpack(f"<{len(p.stdout) // 4}f", p.stdout)
    width = len(values) // len(tokens)
    return [values[i * width : (i + 1) * width] for i in range(len(tokens))]


def log_softmax(row):
    top = max(row)
    total = top + math.log(sum(math.exp(x - top) for x in row))
    return [x - total for x in row]


def agreement():
    """Against the same formulas here, over what `freehold logits` writes."""
    tokens = json.loads((DATA / "types/quant.json").read_text())["tokens"][:64]
    rc, out, err = run(Q4, "--agree", "--tokens", " ".join(map(str, tokens)), "-o", "json")
    told = json.loads(out)[0]
    exact, fast = logits(Q4, tokens, "--exact"), logits(Q4, tokens)
    kld = [sum(math.exp(a) * (a - b) for a, b in zip(log_softmax(e), log_softmax(f))) for e, f in zip(exact, fast)]
    power = sum(x * x for e in exact for x in e)
    rms = math.sqrt(power / sum(map(len, exact)))
    asked = [i for i, e in enumerate(exact) if sorted(e)[-1] - sorted(e)[-2] > 0.02 * rms]
    same = sum(exact[i].index(max(exact[i])) == fast[i].index(max(fast[i])) for i in asked)
    nmse = sum((a - b) ** 2 for e, f in zip(exact, fast) for a, b in zip(e, f)) / power
    near = lambda a, b: abs(a - b) <= 1e-6 * abs(b) + 1e-12
    check("agree: mean KLD", rc == 0 and near(told["mean_kld"], sum(kld) / len(kld)), (told, sum(kld) / len(kld)))
    rank = 0.999 * (len(kld) - 1)
    low = sorted(kld)[int(rank)]
    high = sorted(kld)[min(int(rank) + 1, len(kld) - 1)]
    check("agree: 99.9%", near(told["kld_999"], low + (rank - int(rank)) * (high - low)), (told, low, high))
    check(
        "agree: top-1", told["n_top1"] == len(asked) and near(told["top1_agreement"], same / len(asked)), (told, same)
    )
    check("agree: NMSE", near(told["nmse"], nmse) and told["kept"] is True and told["n_positions"] == 64, (told, nmse))

    rc, out, err = run(Q4, DATA / "types/TQ1_0.gguf", DATA / "models/bert", "--agree", "-o", "jsonl")
    rows = [json.loads(l) for l in out.splitlines()]
    kld = [r["mean_kld"] for r in rows]
    check(
        "agree: models are pooled",
        rc == 0
        and len(rows) == 3
        and rows[2]["model_type"] == "all together"
        and rows[2]["n_positions"] == rows[0]["n_positions"] + rows[1]["n_positions"]
        and min(kld[:2]) < kld[2] < max(kld[:2]),
        out + err,
    )
    check("agree: who has no logits is named", "left out" in err and "bert" in err, err)
    rc, out, err = run(Q4, "--agree", "-ub", "1", "--tokens", "1 2 3 4 5 6 7 8")
    head, lines = table(out)
    check("agree: a table", rc == 0 and head[1:] == ["positions", "mean KLD", "99.9% KLD", "top-1", "of", "NMSE"], out)
    rc, out, err = run(DATA / "models/bert", "--agree")
    check("agree: nothing to compare", rc != 0 and "nothing was compared" in err, err)


# ---- compare and plot ----
FAKE = """#!/usr/bin/env python3
import json, pathlib, sys
a = sys.argv[1:]
me = pathlib.Path(__file__)
state = me.with_suffix(".state")
n = int(state.read_text()) if state.exists() else 0
me.with_suffix(".args").write_text(" ".join(a))
if a[0] == "doctor":
    print(json.dumps({"cpu": {"model": "Tin CPU", "usable": 2, "features": [{"name": "avx2", "proven": True}]}}))
    sys.exit()
if a[0] == "quantize" or "NAME" == "quantize":
    sys.exit()
if a[0] == "logits" or "--no-warmup" in a:
    sys.exit()
state.write_text(str(n + 1))
speeds = SPEEDS
n %= len(speeds)
if speeds[n] is None:
    print("it broke", file=sys.stderr)
    sys.exit(3)
print("build_commit,n_prompt,n_gen,n_depth,avg_ts")
print(f'"abc1234","512","0","0","{speeds[n][0]}"')
print(f'"abc1234","0","128","0","{speeds[n][1]}"')
"""


def fake(folder, name, speeds):
    path = folder / name
    path.write_text(FAKE.replace("SPEEDS", repr(speeds)))
    path.chmod(0o755)
    return path


def comparison():
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        model = tmp / "model.gguf"
        model.write_bytes(b"weights")
        ours = fake(tmp, "ours", [(300, 10), (600, 12), (150, 11)])
        slow = fake(tmp, "slow", [(100, 10), (100, 10), (100, 10)])
        broken = fake(tmp, "broken", [(100, 20), None, (1, 1)])
        (tmp / "targets.csv").write_text("peer,model,test,at_least\nslow,*,pp*,2.5\nslow,*,tg*,1.2\n*,*,*,1\n")
        out = tmp / "compare.csv"
        compare = [
            sys.executable,
            str(ROOT / "bench/compare"),
            "-m",
            str(model),
            "--freehold",
            str(ours),
            "--peer",
            f"slow={slow} -fa 1",
            "--peer",
            f"broken={broken}",
            "--rounds",
            "3",
            "--targets",
            str(tmp / "targets.csv"),
            "--out",
            str(out),
        ]
        p = subprocess.run([*compare, "--check"], capture_output=True, text=True)
        rows = {(r["test"], r["peer"]): r for r in csv.DictReader(out.open())}
        r = rows.get(("pp512", "slow"), {})
        got = tuple(float(r.get(k, 0)) for k in ("ours", "theirs", "ratio", "ratio_least", "ratio_most", "at_least"))
        check("compare: ratios within rounds", got == (300, 100, 3, 1.5, 6, 2.5), (r, p.stderr))
        check(
            "compare: who and where",
            (r.get("peer_version"), r.get("machine"), r.get("proven"), r.get("rounds"), r.get("unit"))
            == ("abc1234", "Tin CPU, 2 CPUs", "avx2", "3", "t/s")
            and r.get("commit")
            and r.get("model_sha256") == hashlib.sha256(b"weights").hexdigest()
            and "bench/compare" in r.get("command", ""),
            r,
        )
        t = rows.get(("tg128", "slow"), {})
        check(
            "compare: below its target",
            p.returncode == 1 and float(t.get("ratio", 0)) == 1.1 and "below" in p.stdout,
            p,
        )
        b = rows.get(("pp512", "broken"), {})
        check(
            "compare: a peer that breaks",
            b.get("rounds") == "1" and "broken is left out" in p.stderr and "it broke" in p.stderr,
            p.stderr,
        )
        check("compare: options of a peer", slow.with_suffix(".args").read_text().endswith("-o csv -fa 1"), "")
        for f in (ours, slow, broken):
            f.with_suffix(".state").unlink(missing_ok=True)
        p = subprocess.run(compare, capture_output=True, text=True)
        check("compare: rows are appended", p.returncode == 0 and len(list(csv.DictReader(out.open()))) == 8, p)
        p = subprocess.run(
            [*compare[:4], "--freehold", str(ours), "--peer", f"broken={tmp / 'nobody'}", "--out", str(out)],
            capture_output=True,
            text=True,
        )
        check("compare: no peer at all", p.returncode == 1 and "left out" in p.stderr, p)
        plot(tmp, out)


def plot(tmp, path):
    draw = [sys.executable, str(ROOT / "bench/plot")]
    p = subprocess.run([*draw, str(path)], capture_output=True, text=True)
    svg = tmp / "compare.svg"
    text = svg.read_text() if svg.exists() else "<none/>"
    root = xml.etree.ElementTree.fromstring(text)
    ns = "{http://www.w3.org/2000/svg}"
    bars = [e for e in root.iter(ns + "rect") if e.get("fill")]
    marks = [e for e in root.iter(ns + "line") if e.get("class") == "want"]
    check("plot: a bar and a mark a row", p.returncode == 0 and len(bars) == len(marks) == 4, p)
    widths = sorted(float(e.get("width")) for e in bars)
    check("plot: bars are in proportion", abs(widths[-1] / widths[0] - 3 / 0.5) < 0.05, widths)
    check("plot: one commit has no history", not (tmp / "compare-history.svg").exists(), p.stdout)
    rows = list(csv.DictReader(path.open()))
    with path.open("w", newline="") as f:
        w = csv.DictWriter(f, rows[0].keys())
        w.writeheader()
        for i, r in enumerate(rows):
            w.writerow({**r, "commit": "old" if i < 4 else "<&new"})
    p = subprocess.run([*draw, str(path)], capture_output=True, text=True)
    lines = xml.etree.ElementTree.parse(tmp / "compare-history.svg").iter(ns + "polyline")
    check("plot: history by commit", p.returncode == 0 and len(list(lines)) == 4, p)
    path.write_text(path.read_text().replace("3.0000", "fast"))
    p = subprocess.run([*draw, str(path)], capture_output=True, text=True)
    check("plot: what is no number is named", p.returncode == 1 and "line 2" in p.stderr and "ratio" in p.stderr, p)


def real_peer(program, model):
    options = ["-p", "16", "-n", "8", "-pg", "8,4", "-d", "0,16", "-r", "1", "-o", "csv"]
    theirs = subprocess.run([program, "-m", model, *options], capture_output=True, text=True).stdout
    names = theirs.split("\n", 1)[0].split(",")
    check("peer: names", [n for n in names if n in LLAMA_FIELDS] == LLAMA_FIELDS, names)
    theirs = list(csv.DictReader(theirs.splitlines()))
    ours = rows_of(model, *options[:-2], "--no-roofline")
    same = (
        "model_size",
        "model_n_params",
        "n_batch",
        "n_ubatch",
        "n_threads",
        "type_k",
        "type_v",
        "n_prompt",
        "n_gen",
        "n_depth",
        "backends",
        "embeddings",
        "model_filename",
    )
    for a, b in zip(ours, theirs):
        check("peer: the same facts", all(a[k] == b[k] for k in same), [(k, a[k], b[k]) for k in same if a[k] != b[k]])
    check("peer: as many rows", len(ours) == len(theirs) == 6, (len(ours), len(theirs)))


def main():
    formats()
    combinations()
    refusals()
    rooflines()
    agreement()
    comparison()
    if len(sys.argv) > 4:
        real_peer(sys.argv[3], sys.argv[4])
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


sys.exit(main())
