#!/usr/bin/env python3
"""tests/e2e/test_quantize.py BINARY [DATA] - `freehold quantize` from the command line.

DATA: the whole golden data; then every mix of types/quant.json is made from types/base.gguf and compared by the
reference's digests. Without it a small file made here is quantized and read back. Closing line: N passed, N failed,
N skipped.
"""

import hashlib
import json
import math
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

BIN = sys.argv[1]
DATA = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None
passed = failed = 0


def report(name, problem):
    global passed, failed
    passed, failed = passed + (not problem), failed + bool(problem)
    if problem:
        print(f"FAIL {name}: {problem}")


def run(*args):
    return subprocess.run([BIN, "quantize", *map(str, args)], capture_output=True, text=True, timeout=300)


def read(path):
    """Keys in order, and tensors as (name, type, offset), with the start of the data: GGUF by hand."""
    d = path.read_bytes()
    _, n_tensor, n_kv = struct.unpack_from("<IQQ", d, 4)
    at, keys, tensors = 24, {}, []
    size = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

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
        return int.from_bytes(d[at : at + size[kind]], "little"), at + size[kind]

    for _ in range(n_kv):
        key, at = text(at)
        (kind,) = struct.unpack_from("<I", d, at)
        keys[key], at = value(kind, at + 4)
    for _ in range(n_tensor):
        name, at = text(at)
        (n,) = struct.unpack_from("<I", d, at)
        count = 1
        for x in struct.unpack_from(f"<{n}Q", d, at + 4):
            count *= x
        kind, offset = struct.unpack_from("<IQ", d, at + 4 + 8 * n)
        at += 16 + 8 * n
        tensors.append((name, kind, offset, count))
    return d, keys, tensors, (at + 31) // 32 * 32


def write(path, tensors):
    """A model of F32 tensors: (name, dims innermost first, numbers)."""

    def text(s):
        return struct.pack("<Q", len(s)) + s.encode()

    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 2)
    out += text("general.architecture") + struct.pack("<I", 8) + text("llama")
    out += text("llama.block_count") + struct.pack("<II", 4, 1)
    data = b""
    for name, dims, numbers in tensors:
        out += text(name) + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}Q", *dims)
        out += struct.pack("<IQ", 0, len(data))
        b = struct.pack(f"<{len(numbers)}f", *numbers)
        data += b + b"\0" * (-len(b) % 32)
    path.write_bytes(out + b"\0" * (-len(out) % 32) + data)


def small(tmp):
    src = tmp / "small.gguf"
    n = 512
    numbers = [((i * 7919) % 1009 - 504) / 5040 for i in range(n * 4)]
    write(
        src,
        [
            ("token_embd.weight", (n, 4), numbers),
            ("blk.0.attn_q.weight", (n, 4), numbers),
            ("blk.0.attn_norm.weight", (n,), numbers[:n]),
        ],
    )
    return src


def test_basics(tmp):
    src, out = small(tmp), tmp / "out.gguf"
    p = run(src, out, "q8_0", "--json")
    report("small", p.returncode and p.stderr)
    types = {t["name"]: t["type"] for t in json.loads(p.stdout)["tensors"]}
    want = {"token_embd.weight": "Q8_0", "blk.0.attn_q.weight": "Q8_0", "blk.0.attn_norm.weight": "F32"}
    report("types", types != want and types)
    d, keys, tensors, base = read(out)
    report(
        "keys",
        list(keys) != ["general.architecture", "llama.block_count", "general.quantization_version", "general.file_type"]
        and list(keys),
    )
    report("file type", keys["general.file_type"] != 7 and keys["general.file_type"])
    # Q8_0, computed here: scale amax / 127 as a half, codes of the unrounded scale
    src_d, _, src_t, src_base = read(src)
    at = next(base + o for name, _, o, _ in tensors if name == "token_embd.weight")
    src_at = src_base + next(o for name, _, o, _ in src_t if name == "token_embd.weight")
    x = struct.unpack_from("<32f", src_d, src_at)
    scale, *codes = struct.unpack_from("<e32b", d, at)
    amax = max(abs(v) for v in x)
    report("scale", abs(scale - amax / 127) > 1e-3 * amax / 127 and scale)
    report("codes", any(abs(c * scale - v) > 0.51 * amax / 127 for c, v in zip(codes, x)) and codes)
    report("exists", run(src, out, "Q4_0").returncode != 1 and "an existing file was replaced")
    report("force", run(src, out, "Q4_0", "--force").returncode and "--force does not replace")
    before = src.read_bytes()
    report("itself", run(src, src, "Q4_0", "--force").returncode == 0 and "the model was overwritten")
    report("itself whole", src.read_bytes() != before and "the model changed")


def test_usage(tmp):
    src, out = small(tmp), tmp / "usage.gguf"
    for name, code, args in [
        ("no type", 2, (src, out)),
        ("bad type", 2, (src, out, "Q9_K")),
        ("bad override", 2, (src, out, "Q4_0", "--tensor-type", "attn_q")),
        ("bad override type", 2, (src, out, "Q4_0", "--tensor-type", "attn_q=q9")),
        ("bad pattern", 2, (src, out, "Q4_0", "--tensor-type", "attn(=q8_0")),
        ("include and exclude", 2, (src, out, "Q4_0", "--include-weights", "a", "--exclude-weights", "b")),
        ("no such file", 1, (tmp / "none.gguf", out, "Q4_0")),
        ("no imatrix", 1, (src, out, "IQ1_S")),
        ("imatrix missing", 1, (src, out, "Q4_0", "--imatrix", "none.dat")),
    ]:
        p = run(*args)
        report(name, p.returncode != code and f"exit {p.returncode}: {p.stderr.strip()}")
        report(name + " says why", not p.stderr and "silent")
    report("nothing written", out.exists() and "a file was left")
    report("help", run("--help").returncode and "no help")


def test_overrides(tmp):
    src, out = small(tmp), tmp / "over.gguf"
    p = run(
        src,
        out,
        "Q4_K_M",
        "--json",
        "--tensor-type",
        "ATTN_Q=q3_k",
        "--tensor-type=attn=q2_k",
        "--token-embedding-type",
        "bf16",
    )
    types = {t["name"]: t["type"] for t in json.loads(p.stdout)["tensors"]} if p.returncode == 0 else p.stderr
    report(
        "overrides",
        types != {"token_embd.weight": "BF16", "blk.0.attn_q.weight": "Q3_K", "blk.0.attn_norm.weight": "F32"}
        and types,
    )
    p = run(src, "Q6_K", "--dry-run")
    report("dry run", (p.returncode or "attn_q.weight  [4, 512]  F32 -> Q6_K" not in p.stdout) and p.stdout + p.stderr)
    one, two = tmp / "t1.gguf", tmp / "t2.gguf"
    run(src, one, "Q4_K_M", "--threads", 1), run(src, two, "Q4_K_M", "--threads", 3)
    report("threads", one.read_bytes() != two.read_bytes() and "1 and 3 threads give different files")


def test_golden(tmp):
    spec = json.loads((DATA / "types" / "quant.json").read_text())
    for name, want in spec["files"].items():
        out = tmp / f"{name}.gguf"
        p = run(DATA / "types" / "base.gguf", out, name, "--imatrix", DATA / "types" / "imatrix.gguf")
        if p.returncode:
            report(name, p.stderr.strip())
            continue
        d, keys, tensors, base = read(out)
        ref_d, ref_keys, ref_tensors, ref_base = read(DATA / "types" / f"{name}.gguf")
        h, ends = hashlib.sha256(), [o for _, _, o, _ in tensors[1:]] + [len(d) - base]
        for (tensor, _, offset, _), end in zip(tensors, ends):
            h.update(tensor.encode() + d[base + offset : base + end])
        # all sizes here are multiples of the alignment, so that a tensor ends where the next one starts
        report(name, h.hexdigest() != want["tensor_sha256"] and "other bytes than the reference's")
        report(name + " directory", tensors != ref_tensors and "other tensors")
        ref_keys["quantize.imatrix.file"] = keys.get("quantize.imatrix.file")
        report(name + " keys", list(keys.items()) != list(ref_keys.items()) and "other keys")
        out.unlink()


def tensor_types(path):
    return {name: kind for name, kind, _, _ in read(path)[2]}


def test_keys(tmp):
    """Keys set by hand, and layers that go: what the file then says."""
    src, out = tmp / "layers.gguf", tmp / "keys.gguf"
    n = 256
    numbers = [(i * 7919 % 1009 - 504) / 5040 for i in range(n * 2)]
    write(
        src,
        [(f"blk.{i}.{w}.weight", (n, 2), numbers[i:] + numbers[:i]) for i in range(4) for w in ("attn_q", "ffn_up")],
    )
    p = run(
        src,
        out,
        "Q8_0",
        "--prune-layers",
        "2,0,2",
        "--override-kv",
        "a.int=int:-7",
        "--override-kv",
        "a.float=float:1.5",
        "--override-kv",
        "a.bool=bool:true",
        "--override-kv",
        "a.text=str:x=y:z",
        "--override-kv",
        "a.int=int:8",
    )
    report("keys run", p.returncode and p.stderr)
    _, keys, tensors, _ = read(out)
    report(
        "keys",
        list(keys.items())
        != [
            ("general.architecture", "llama"),
            ("general.quantization_version", 2),
            ("general.file_type", 7),
            ("a.float", struct.unpack("<I", struct.pack("<f", 1.5))[0]),
            ("a.bool", 1),
            ("a.text", "x=y:z"),
            ("a.int", 8),
            ("llama.block_count", 2),
        ]
        and list(keys.items()),
    )
    report(
        "layers",
        [t[0] for t in tensors] != [f"blk.{i}.{w}.weight" for i in range(2) for w in ("attn_q", "ffn_up")] and tensors,
    )
    whole = tmp / "whole.gguf"
    run(src, whole, "Q8_0")
    d, _, t, base = read(out)
    wd, _, wt, wbase = read(whole)
    size = n * 2 // 32 * 34
    at = {name: wbase + o for name, _, o, _ in wt}
    report(
        "layer 3 is layer 1 now",
        any(
            d[base + o : base + o + size] != wd[at[name.replace("blk.1", "blk.3").replace("blk.0", "blk.1")] :][:size]
            for name, _, o, _ in t
        )
        and "other numbers",
    )
    types = tmp / "types.txt"
    types.write_text("attn_q=q4_0\n  ^blk\\.0\\.ffn=q5_0 blk=q6_k\n")
    p = run(src, out, "Q8_0", "--force", "--tensor-type-file", types)
    report(
        "type file", (p.returncode and p.stderr) or set(tensor_types(out).values()) != {2, 6, 14} and tensor_types(out)
    )
    for name, args in [
        ("no such layer", ("--prune-layers", "4")),
        ("no number", ("--prune-layers", "1,x")),
        ("no layer left", ("--prune-layers", "0,1,2,3")),
        ("no type", ("--override-kv", "a=5")),
        ("bad type", ("--override-kv", "a=u8:5")),
        ("bad bool", ("--override-kv", "a=bool:5")),
        ("bad int", ("--override-kv", "a=int:x")),
        ("bad float", ("--override-kv", "a=float:x")),
        ("bad budget", ("--bpw", "-1")),
        ("budget and type", ("--bpw", "4")),
    ]:
        p = run(src, tmp / "never.gguf", "Q8_0", *args)
        report(name, (p.returncode != 2 or not p.stderr) and f"exit {p.returncode}: {p.stderr}")
    p = run(src, tmp / "never.gguf", "Q8_0", "--tensor-type-file", tmp / "none.txt")
    report("no type file", p.returncode != 1 and p.stderr)
    report("never written", (tmp / "never.gguf").exists() and "a file was written")


def test_budget(tmp):
    """A budget is kept, nearly used up, the same on any number of threads; what was named stays; too little says so."""
    src, out = tmp / "budget-src.gguf", tmp / "budget.gguf"
    n = 256
    rng = random.Random(3)
    # tensors that differ in how well they can be quantized: normal numbers, and few large ones among small
    write(
        src,
        [
            (f"blk.{i}.ffn_up.weight", (n, 16), [rng.gauss(0, 1) ** (3 if i % 2 else 1) for _ in range(n * 16)])
            for i in range(8)
        ],
    )
    for bpw in (2.7, 3.5, 4.5, 6.0, 8.5):
        p = run(src, out, "--force", "--bpw", bpw, "--json", "--threads", 1)
        if p.returncode:
            report(f"budget {bpw}", p.stderr)
            continue
        r = json.loads(p.stdout)
        bits = r["bytes"] * 8 / r["values"]
        report(f"budget {bpw} kept", bits > bpw and f"{bits} bits")
        report(f"budget {bpw} used", bits < bpw - 0.15 and f"only {bits} bits")
        one = out.read_bytes()
        run(src, out, "--force", "--bpw", bpw, "--threads", 3)
        report(f"budget {bpw} threads", one != out.read_bytes() and "threads change the file")
    p = run(src, "--dry-run", "--bpw", 4, "--tensor-type", "blk.3=q8_0")
    report("named stays", "blk.3.ffn_up.weight  [16, 256]  F32 -> Q8_0" not in p.stdout and p.stdout + p.stderr)
    p = run(src, out, "--force", "--bpw", 1.5)
    report("too little", (p.returncode != 1 or "2.625" not in p.stderr) and p.stderr)


def logits(model, n_vocab):
    """Rows of log-probabilities over fixed tokens."""
    tokens = " ".join(str(i * 37 % n_vocab) for i in range(48))
    p = subprocess.run([BIN, "logits", model, "--exact", "--tokens", tokens], capture_output=True, timeout=300)
    x = struct.unpack(f"<{len(p.stdout) // 4}f", p.stdout)
    rows = [x[i : i + n_vocab] for i in range(0, len(x), n_vocab)]
    return [[v - math.log(sum(math.exp(u) for u in r)) for v in r] for r in rows]


def test_quality(tmp):
    """At the bits that a mix takes a budget loses less, and least when it has measured."""
    base, out = DATA / "types" / "base.gguf", tmp / "quality.gguf"
    n_vocab = 320
    want = logits(base, n_vocab)
    for mix in ("Q4_K_M", "Q3_K_M"):
        kld = []
        for how in ([mix], ["--bpw"], ["--bpw", "--measure"]):
            args = [how[0]] if len(kld) == 0 else ["--bpw", f"{bits:.9f}", *how[1:]]
            p = run(base, out, "--force", "--json", *args)
            report(f"{mix} {how}", p.returncode and p.stderr)
            r = json.loads(p.stdout)
            bits = bits if kld else r["bytes"] * 8 / r["values"]
            report(f"{mix} {how} bits", r["bytes"] * 8 / r["values"] > bits + 1e-6 and str(bits))
            got = logits(out, n_vocab)
            kld.append(sum(math.exp(a) * (a - b) for x, y in zip(want, got) for a, b in zip(x, y)) / len(want))
        report(f"{mix} against a budget", not kld[1] < 0.8 * kld[0] and str(kld))
        report(f"{mix} against a measured one", not kld[2] < 0.8 * kld[0] and str(kld))
    left = [f.name for f in tmp.iterdir() if "probe" in f.name]
    report("no probe left", left and str(left))
    p = run(base, "--dry-run", "--bpw", 4, "--measure")
    report("measuring wants a place", p.returncode != 2 and p.stderr)


def test_sources(tmp):
    """Safetensors folders of every shape there is: the file that convert and then quantize make."""
    names = (pathlib.Path(__file__).parent.parent / "golden/models.txt").read_text().split(",")
    folders = [
        f
        for kind in ("models", "checkpoints")
        for f in sorted((DATA / kind).iterdir())
        if kind == "checkpoints" or f.name in [x.strip() for x in names]
    ]
    tested = 0
    for folder in folders:
        direct, step, two = tmp / "direct.gguf", tmp / "step.gguf", tmp / "two.gguf"
        p = subprocess.run([BIN, "convert", folder, step, "--type", "f32"], capture_output=True, text=True)
        if p.returncode:
            continue  # no family reads it: test_convert says what converts
        name = ["--override-kv", "general.name=str:x"]
        p = run(folder, direct, "Q4_K_M", *name, "--threads", 2)
        report(f"{folder.name} direct", p.returncode and p.stderr)
        p = run(step, two, "Q4_K_M", *name)
        report(f"{folder.name} in two steps", p.returncode and p.stderr)
        same = direct.exists() and two.exists() and direct.read_bytes() == two.read_bytes()
        if not same and direct.exists() and two.exists():  # what is not quantized stays in the source's type
            a, b = tensor_types(direct), tensor_types(two)
            same = list(a) == list(b) and all(a[k] == b[k] or (a[k] in (1, 30) and b[k] == 0) for k in a)
            report(f"{folder.name} differs in kept tensors only", not same and f"{a} {b}")
        report(f"{folder.name} the same", not same and "other bytes")
        tested += 1
        for f in (direct, step, two):
            f.unlink(missing_ok=True)
    report("models were there", tested < 9 and f"only {tested}")
    p = run(DATA / "models" / "qwen3", tmp / "k.gguf", "Q8_0", "--keep-split")
    report("folders have no parts", p.returncode != 1 and p.stderr)
    out = tmp / "fp4.gguf"
    p = run(DATA / "checkpoints" / "gpt-oss-mxfp4", out, "MXFP4_MOE")
    kept = sum(1 for k in tensor_types(out).values() if k == 39) if out.exists() else 0
    report("4-bit floats stay", (p.returncode or not kept) and p.stderr + f" {kept} tensors")


def main():
    skipped = 0
    with tempfile.TemporaryDirectory() as t:
        tmp = pathlib.Path(t)
        test_basics(tmp)
        test_usage(tmp)
        test_overrides(tmp)
        test_keys(tmp)
        test_budget(tmp)
        if DATA and (DATA / "types" / "quant.json").exists():
            test_golden(tmp)
            test_quality(tmp)
            test_sources(tmp)
        else:
            skipped = 1
            print("skip golden types: the whole golden data is not here")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


sys.exit(main())
