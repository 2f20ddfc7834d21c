#!/usr/bin/env python3
"""tests/e2e/test_perplexity.py BINARY [DATA] - `freehold perplexity` and `freehold imatrix`, held to sums done here.

The text's tokens come from `freehold tokenize`, the numbers of every chunk from `freehold logits` and `freehold trace`;
what is made of them is computed again in Python, and files are read by hand. DATA: tests/golden or the whole golden
data. Standard library only. Closing line: N passed, N failed, N skipped.
"""

import array
import json
import math
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

BIN = str(pathlib.Path(sys.argv[1]).resolve())
DATA = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else "tests/golden").resolve()
MODEL, OTHER = DATA / "types/Q4_K_M.gguf", DATA / "types/Q3_K_M.gguf"
SPLIT = DATA / "gguf/llama-sharded-00001-of-00003.gguf"
CTX, CHUNKS = 24, 4
WORDS = (
    "the quick brown fox jumps over a lazy dog and then it sleeps for some time under an old tree near water".split()
)
TEXT = " ".join(WORDS[i * i % 21] for i in range(150)) + ".\n"
passed = failed = 0


def check(name, ok, text=""):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print(f"FAIL {name}: {text!r:.600}")


def run(*args, stdin=b""):
    p = subprocess.run([BIN, *map(str, args)], capture_output=True, timeout=300, input=stdin)
    return p.returncode, p.stdout, p.stderr.decode(errors="replace")


def near(a, b, most=1e-6):
    return math.isclose(a, b, rel_tol=most, abs_tol=most)


def floats(data):
    a = array.array("f")
    a.frombytes(data)
    return a


# ---- the same, by hand ----
def tokens_of(model):
    return [int(x) for x in run("tokenize", model, stdin=TEXT[:-1].encode())[1].split()]


def chunks_of(tokens, step=CTX):
    """What is computed, and what is foretold, chunk by chunk."""
    whole = [tokens[at : at + CTX] for at in range(0, CHUNKS * step, step)]
    return [[tokens[0], *c[1:]] for c in whole], whole


def log_probs(model, chunk, *more):
    x = floats(run("logits", model, "--exact", "--tokens", " ".join(map(str, chunk)), *more)[1])
    width, out = len(x) // len(chunk), []
    for at in range(0, len(x), width):
        row = x[at : at + width]
        top = max(row)
        norm = top + math.log(sum(math.exp(v - top) for v in row))
        out.append([v - norm for v in row])
    return out


def estimate(v):
    m = sum(v) / len(v)
    return m, math.sqrt(sum((x - m) ** 2 for x in v) / len(v) / (len(v) - 1))


def nll_of(model, step=CTX, first=CTX // 2):
    computed, foretold = chunks_of(tokens_of(model), step)
    out = []
    for c, f in zip(computed, foretold):
        rows = log_probs(model, c)
        out += [-rows[at][f[at + 1]] for at in range(first, CTX - 1)]
    return out


def percentile(v, part):
    v, at = sorted(v), part * (len(v) - 1)
    i = int(at)
    return v[i] + (at - i) * (v[min(i + 1, len(v) - 1)] - v[i])


# ---- files ----
def read_base(path):
    d = path.read_bytes()
    n_ctx, n_vocab, n_chunk = struct.unpack_from("<III", d, 8)
    tokens = struct.unpack_from(f"<{n_ctx * n_chunk}I", d, 20)
    at, rows, wide = 20 + 4 * len(tokens), [], n_vocab + n_vocab % 2
    for _ in range(n_chunk * (n_ctx - 1 - n_ctx // 2)):
        scale, least = struct.unpack_from("<ff", d, at)
        rows.append([scale * u + least for u in struct.unpack_from(f"<{n_vocab}H", d, at + 8)])
        at += 8 + 2 * wide
    return d[:8], n_ctx, n_vocab, n_chunk, list(tokens), rows, len(d) - at


def read_gguf(path):
    """Keys, and f32 tensors as lists."""
    d = path.read_bytes()
    _, n_tensor, n_kv = struct.unpack_from("<IQQ", d, 4)
    size = {0: "B", 4: "I", 5: "i", 6: "f", 10: "Q", 12: "d"}
    at, keys, infos, tensors = 24, {}, [], {}

    def text(at):
        (n,) = struct.unpack_from("<Q", d, at)
        return d[at + 8 : at + 8 + n].decode("utf-8", "replace"), at + 8 + n

    def value(kind, at):
        if kind == 8:
            return text(at)
        if kind == 9:
            kind, n = struct.unpack_from("<IQ", d, at)
            at, out = at + 12, []
            for _ in range(n):
                v, at = value(kind, at)
                out.append(v)
            return out, at
        (v,) = struct.unpack_from("<" + size.get(kind, "B"), d, at)
        return v, at + struct.calcsize(size.get(kind, "B"))

    for _ in range(n_kv):
        key, at = text(at)
        (kind,) = struct.unpack_from("<I", d, at)
        keys[key], at = value(kind, at + 4)
    for _ in range(n_tensor):
        name, at = text(at)
        (n_dim,) = struct.unpack_from("<I", d, at)
        dims = struct.unpack_from(f"<{n_dim}Q", d, at + 4)
        kind, offset = struct.unpack_from("<IQ", d, at + 4 + 8 * n_dim)
        at += 16 + 8 * n_dim
        infos.append((name, dims, kind, offset))
    base = -(-at // 32) * 32
    for name, dims, kind, offset in infos:
        if kind == 0:
            tensors[name] = floats(d[base + offset : base + offset + 4 * math.prod(dims)])
    return keys, tensors


def read_dat(path):
    d = path.read_bytes()
    (n,) = struct.unpack_from("<i", d)
    at, out = 4, {}
    for _ in range(n):
        (size,) = struct.unpack_from("<i", d, at)
        name = d[at + 4 : at + 4 + size].decode()
        calls, count = struct.unpack_from("<ii", d, at + 4 + size)
        at += 12 + size
        out[name] = calls, struct.unpack_from(f"<{count}f", d, at)
        at += 4 * count
    chunks, size = struct.unpack_from("<ii", d, at)
    return out, chunks, d[at + 8 : at + 8 + size].decode()


def read_safetensors(path):
    d = path.read_bytes()
    (n,) = struct.unpack_from("<Q", d)
    return {
        k: (v["shape"], floats(d[8 + n + v["data_offsets"][0] : 8 + n + v["data_offsets"][1]]))
        for k, v in json.loads(d[8 : 8 + n]).items()
        if k != "__metadata__"
    }


# ---- tests ----
def of_a_text(tmp, text):
    for model in (SPLIT, MODEL):
        mean, error = estimate(nll_of(model))
        args = ("perplexity", model, "-f", text, "-c", CTX, "--chunks", CHUNKS, "--exact")
        rc, out, err = run(*args, "--json")
        v = json.loads(out) if rc == 0 else {}
        check(
            f"perplexity {model.name}",
            rc == 0
            and near(v["perplexity"]["value"], math.exp(mean))
            and near(v["perplexity"]["error"], math.exp(mean) * error, 1e-5),
            (err, v.get("perplexity"), math.exp(mean)),
        )
        check(
            "what was done",
            rc == 0
            and (v["context"], v["chunks"], v["tokens"], len(v["running"]))
            == (CTX, CHUNKS, CHUNKS * (CTX - 1 - CTX // 2), CHUNKS),
            v,
        )
        rc, out, err = run(*args, "--threads", 1, "--batch", 5)
        check(
            "text, other batches",
            rc == 0 and f"Final estimate: PPL = {math.exp(mean):.4f} +/- " in out.decode(),
            (out, err),
        )
        rc, out, err = run(*args[:2], "-f", "-", *args[4:], "--json", stdin=TEXT.encode())
        check("from standard input", rc == 0 and json.loads(out)["perplexity"] == v["perplexity"], err)
    mean, _ = estimate(nll_of(MODEL, 5, CTX - 6))
    rc, out, err = run(
        "perplexity", MODEL, "-f", text, "-c", CTX, "--chunks", CHUNKS, "--exact", "--ppl-stride", 5, "--json"
    )
    check("--ppl-stride", rc == 0 and near(json.loads(out)["perplexity"]["value"], math.exp(mean)), (out, err))
    rc, out, err = run(
        "perplexity", MODEL, "-f", text, "-c", CTX, "--chunks", 1, "--from-chunk", 2, "--json", "--exact"
    )
    mean, _ = estimate(nll_of(MODEL)[2 * (CTX // 2 - 1) : 3 * (CTX // 2 - 1)])
    check("--from-chunk", rc == 0 and near(json.loads(out)["perplexity"]["value"], math.exp(mean)), (out, err))


def divergence(tmp, text):
    base = tmp / "base.kld"
    args = ("--kl-divergence-base", base, "--exact")
    rc, out, err = run("perplexity", MODEL, "-f", text, "-c", CTX, "--chunks", CHUNKS, *args, "--batch", 7)
    check("a base is written", rc == 0 and base.exists(), err)
    magic, n_ctx, n_vocab, n_chunk, tokens, rows, left = read_base(base)
    computed, foretold = chunks_of(tokens_of(MODEL))
    check(
        "its head",
        (magic, n_ctx, n_chunk, left) == (b"_logits_", CTX, CHUNKS, 0) and tokens == [t for c in foretold for t in c],
        (magic, n_ctx, n_vocab, n_chunk, left),
    )
    p = [row for c in computed for row in log_probs(MODEL, c)[CTX // 2 : CTX - 1]]
    off = max(abs(max(a, max(x) - 16) - b) for x, y in zip(p, rows) for a, b in zip(x, y))
    check("its rows", len(p) == len(rows) and off < 16 / 65535 / 2 + 1e-5, off)
    q = [row for c in computed for row in log_probs(OTHER, c)[CTX // 2 : CTX - 1]]
    came = [c[at + 1] for c in foretold for at in range(CTX // 2, CTX - 1)]
    kld = [sum(math.exp(a) * (a - b) for a, b in zip(x, y) if a > -16) for x, y in zip(rows, q)]
    dp = [math.exp(y[t]) - math.exp(x[t]) for x, y, t in zip(rows, q, came)]
    mine, its = [-y[t] for y, t in zip(q, came)], [-x[t] for x, t in zip(rows, came)]
    rc, out, err = run("perplexity", OTHER, "--kl-divergence", *args, "--json")
    v = json.loads(out) if rc == 0 else None
    check("--kl-divergence", rc == 0, err)
    if not v:
        return
    want = {
        "mean": estimate(kld)[0],
        "max": max(kld),
        "min": min(kld),
        "median": percentile(kld, 0.5),
        "p99": percentile(kld, 0.99),
        "p05": percentile(kld, 0.05),
    }
    got = {**v["kld"], "mean": v["kld"]["mean"]["value"]}
    check("KLD", all(near(got[k], want[k], 1e-6) for k in want), (got, want))
    check("its error", near(v["kld"]["mean"]["error"], estimate(kld)[1]), v["kld"])
    check(
        "delta p",
        near(v["delta_p"]["mean"]["value"], estimate(dp)[0])
        and near(v["delta_p"]["p90"], percentile(dp, 0.9))
        and near(v["delta_p_rms"]["value"], math.sqrt(sum(x * x for x in dp) / len(dp))),
        v["delta_p"],
    )
    check(
        "PPL of both",
        near(v["perplexity"]["value"], math.exp(estimate(mine)[0]))
        and near(v["base_perplexity"]["value"], math.exp(estimate(its)[0])),
        v,
    )
    check(
        "ln of their ratio",
        near(v["log_ratio"]["value"], estimate(mine)[0] - estimate(its)[0])
        and near(v["log_ratio"]["error"], estimate([a - b for a, b in zip(mine, its)])[1], 1e-5),
        v["log_ratio"],
    )
    same = sum(x.index(max(x)) == y.index(max(y)) for x, y in zip(rows, q)) / len(q)
    check("same top", near(v["same_top"]["value"], same), (v["same_top"], same))
    rc, out, err = run("perplexity", OTHER, "--kl-divergence", *args)
    check("as text", rc == 0 and f"Mean    KLD: {want['mean']:10.6f} ± ".encode() in out and out.count(b"\n") > 40, out)
    rc, out, err = run("perplexity", MODEL, "--kl-divergence", *args, "--json")
    check(
        "with itself",
        rc == 0 and abs(json.loads(out)["kld"]["max"]) < 1e-3 and json.loads(out)["same_top"]["value"] > 0.99,
        out,
    )
    refusals(tmp, text, base)


def refusals(tmp, text, base):
    cut = tmp / "cut.kld"
    cut.write_bytes(base.read_bytes()[:-1])
    compare = ("--kl-divergence", "--kl-divergence-base")
    for name, want, args in (
        ("a base is not written over", "--force", [MODEL, "-f", text, "-c", CTX, "--kl-divergence-base", base]),
        ("a cut base", "cut.kld", [MODEL, *compare, cut]),
        ("another vocabulary", "vocabulary", [DATA / "gguf/gpt-oss-mxfp4.gguf", *compare, tmp / "small.kld"]),
        ("a text too short", "tokens", [MODEL, "-f", text, "-c", 100000]),
        ("no text", "-f", [MODEL]),
        ("nothing to compare with", "--kl-divergence-base", [MODEL, "--kl-divergence"]),
        ("a stride and a base", "--ppl-stride", [MODEL, "-f", text, "--ppl-stride", 5, "--kl-divergence-base", cut]),
        ("an encoder", "foretell", [DATA / "models/bert", "-f", text, "-c", CTX]),
        ("an encoder and a decoder", "foretell", [DATA / "models/t5", "-f", text, "-c", CTX]),
        ("store in a folder", "GGUF", [DATA / "models/llama-sharded", "-f", text, "-c", CTX, "--store"]),
    ):
        if want == "vocabulary":
            d = (
                bytearray(base.read_bytes()[:20])
                + struct.pack("<4I", 0, 1, 1, 0)
                + struct.pack("<ffHH", 1e-5, -1, 0, 9)
            )
            struct.pack_into("<III", d, 8, 4, 2, 1)
            (tmp / "small.kld").write_bytes(d)
        rc, out, err = run("perplexity", *args)
        check(name, rc in (1, 2) and want in err and err.count("\n") >= 1, (rc, out, err))
    check("nothing is left behind", not list(tmp.glob(".*.part")), list(tmp.iterdir()))


def stored(tmp, text):
    model = tmp / "stored.gguf"
    shutil.copy(MODEL, model)
    args = ("-f", text, "-c", CTX, "--chunks", CHUNKS, "--exact", "--store")
    rc, out, err = run("perplexity", model, *args, "--json")
    check("--store", rc == 0 and "stored in" in err, err)
    v = json.loads(run("show", model, "--json")[1]).get("measured", {})
    check(
        "show --json",
        near(v.get("ppl", 0), json.loads(out)["perplexity"]["value"], 1e-12)
        and v.get("text") == text.name
        and len(v.get("text_sha256", "")) == 64
        and v.get("chunks") == CHUNKS,
        v,
    )
    shown = run("show", model)[1].decode()
    check("show", f"Perplexity  {v.get('ppl', 0):.4f}" in shown and text.name in shown, shown)
    check("no divergence is claimed", "kld" not in v and "divergence" not in shown, v)
    digests = [run("show", m, "--digests", "--json")[1] for m in (MODEL, model)]
    check("the weights are the same", digests[0] == digests[1])
    old, new = read_gguf(MODEL)[0], read_gguf(model)[0]
    check("so are the other keys", {k: v for k, v in new.items() if not k.startswith("freehold.")} == old)
    size = model.stat().st_size
    run("perplexity", model, *args)
    check("a second time replaces the first", model.stat().st_size == size)
    for part in SPLIT.parent.glob("llama-sharded-*.gguf"):
        shutil.copy(part, tmp / part.name)
    rc, out, err = run("perplexity", tmp / SPLIT.name, *args)
    v = json.loads(run("show", tmp / SPLIT.name, "--json")[1]).get("measured")
    check("the first of a split set", rc == 0 and v and run("verify", tmp / SPLIT.name)[0] == 0, err)


def importance(tmp, text):
    computed, _ = chunks_of(tokens_of(SPLIT))
    inputs = {
        "blk.0.attn_q.weight": "layers.0.attn_norm",
        "blk.1.attn_output.weight": "layers.1.attn.mixed",
        "blk.2.ffn_up.weight": "layers.2.ffn_norm",
        "blk.2.ffn_down.weight": "layers.2.ffn.act",
    }
    want = {k: None for k in inputs}
    for i, c in enumerate(computed):
        run("trace", SPLIT, "--exact", "--tokens", " ".join(map(str, c)), "--out", tmp / f"{i}.safetensors")
        values = read_safetensors(tmp / f"{i}.safetensors")
        for name, value in inputs.items():
            (rows, cols), x = values[value]
            sums = want[name] or [0] * cols
            want[name] = [s + sum(x[r * cols + j] ** 2 for r in range(rows)) for j, s in enumerate(sums)]
    args = ("imatrix", SPLIT, "-f", text, "-c", CTX, "--chunks", CHUNKS, "--exact")
    out_file = tmp / "m.gguf"
    rc, out, err = run(*args, "-o", out_file, "--json")
    check("imatrix", rc == 0 and json.loads(out)["entries"] == 21 and json.loads(out)["chunks"] == CHUNKS, (out, err))
    keys, t = read_gguf(out_file)
    check(
        "keys",
        (keys["general.type"], keys["imatrix.datasets"], keys["imatrix.chunk_count"], keys["imatrix.chunk_size"])
        == ("imatrix", [str(text)], CHUNKS, CTX),
        keys,
    )
    for name, sums in want.items():
        got = t.get(name + ".in_sum2", [])
        check(
            name,
            len(got) == len(sums)
            and all(near(a, b) for a, b in zip(got, sums))
            and list(t[name + ".counts"]) == [CHUNKS * CTX],
            (list(got)[:4], sums[:4]),
        )
    check("no output", "output.weight.in_sum2" not in t)
    ppl = json.loads(out)["perplexity"]["value"]
    check("its perplexity", near(ppl, math.exp(estimate(nll_of(SPLIT))[0])), ppl)
    rc, out, err = run(*args, "-o", tmp / "head.gguf", "--process-output", "--no-ppl")
    head = read_gguf(tmp / "head.gguf")[1] if rc == 0 else {}
    check(
        "--process-output --no-ppl",
        len(head) == len(t) + 2 and b"PPL" not in out and all(head[k] == t[k] for k in t),
        (err, len(head)),
    )
    rc, out, err = run(*args, "-o", out_file)
    check("an output is not written over", rc == 1 and "--force" in err, err)
    rc, out, err = run(*args, "-o", tmp / "s.gguf", "--save-frequency", 3, "--no-ppl")
    check(
        "--save-frequency",
        rc == 0 and read_gguf(tmp / "s.gguf.at_3")[0]["imatrix.chunk_count"] == 3 and read_gguf(tmp / "s.gguf")[1] == t,
        err,
    )
    merging(tmp, text, args, out_file, t)


def merging(tmp, text, args, whole, t):
    half = [tmp / "a.gguf", tmp / "b.dat"]
    for i, f in enumerate(half):
        run(*args[:-3], "--chunks", CHUNKS // 2, "--from-chunk", i * CHUNKS // 2, "--exact", "-o", f)
    entries, chunks, dataset = read_dat(half[1])
    check(
        "the older form",
        chunks == CHUNKS // 2
        and dataset == str(text)
        and len(entries) == 21
        and entries["blk.0.attn_q.weight"][0] == CHUNKS // 2,
        (chunks, dataset),
    )
    rc, out, err = run("imatrix", "--in-file", half[0], "--in-file", half[1], "-c", CTX, "-o", tmp / "ab.gguf")
    keys, both = read_gguf(tmp / "ab.gguf") if rc == 0 else ({}, {})
    check(
        "both forms merged",
        keys.get("imatrix.chunk_count") == CHUNKS
        and both.keys() == t.keys()
        and all(near(a, b, 1e-5) for k in t for a, b in zip(both[k], t[k])),
        err,
    )
    rc, out, err = run(
        *args[:-3],
        "--chunks",
        CHUNKS // 2,
        "--from-chunk",
        CHUNKS // 2,
        "--exact",
        "--in-file",
        half[0],
        "-o",
        tmp / "on.gguf",
    )
    keys, on = read_gguf(tmp / "on.gguf") if rc == 0 else ({}, {})
    check(
        "a run that goes on",
        keys.get("imatrix.chunk_count") == CHUNKS and all(near(a, b) for k in t for a, b in zip(on[k], t[k])),
        err,
    )
    rc, out, err = run("imatrix", "--show-statistics", "--in-file", whole, "--json")
    v = {w["name"]: w for w in json.loads(out)["weights"]} if rc == 0 else {}
    x = [s / (CHUNKS * CTX) for s in t["blk.2.ffn_down.weight.in_sum2"]]
    w = v.get("blk.2.ffn_down.weight", {})
    check(
        "--show-statistics",
        len(v) == 21
        and near(w["sum"], sum(x))
        and near(w["max"], max(x))
        and near(w["entropy"], -sum(s / sum(x) * math.log2(s / sum(x)) for s in x)),
        (err, w),
    )
    check("as text", len(run("imatrix", "--show-statistics", "--in-file", whole)[1].splitlines()) == 1 + 21 + 2 + 3)
    rc, out, err = run("quantize", "--imatrix", whole, "--dry-run", SPLIT, "IQ3_S", "--json")
    v = json.loads(out)["tensors"] if rc == 0 else []
    check("quantize takes it", any(x["weighted"] for x in v), err)
    for name, want_text, a in (
        ("no model, no text", "--in-file", []),
        ("no text", "-f", [SPLIT]),
        ("no such form", "gguf or dat", [SPLIT, "-f", text, "--output-format", "txt"]),
        ("two to look at", "one", ["--show-statistics", "--in-file", whole, "--in-file", whole]),
        ("no imatrix", "tokenizer.json", ["--in-file", DATA / "models/llama-sharded/tokenizer.json", "-o", tmp / "x"]),
    ):
        rc, out, err = run("imatrix", *a)
        check(name, rc in (1, 2) and want_text in err, (rc, err))


def main():
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        text = tmp / "text.txt"
        text.write_text(TEXT)
        for test in (of_a_text, divergence, stored, importance):
            test(tmp, text)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed or not passed else 0


sys.exit(main())
