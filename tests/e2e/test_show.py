#!/usr/bin/env python3
"""tests/e2e/test_show.py BINARY [DATA] - `freehold show --json` against an independent reading of the same files.

Parses GGUF and safetensors here, with the standard library alone, and compares architecture, layers, heads, experts,
context, every tensor's name, type, shape, size and place, the mix of types and the split sets. Closing line:
N passed, N failed, N skipped.
"""
import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

BIN = sys.argv[1]
DATA = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else "tests/golden")
passed = failed = 0

GGUF_SCALAR = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
GGML = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K",
        13: "Q5_K", 14: "Q6_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S",
        22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 30: "BF16",
        34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0", 42: "Q2_0"}


def report(name, problems):
    global passed, failed
    passed, failed = passed + (not problems), failed + bool(problems)
    if problems:
        print(f"FAIL {name}: " + "; ".join(problems[:4]))


def show(path, *flags, env=None):
    p = subprocess.run([BIN, "show", str(path), "--json", *flags], capture_output=True, text=True, timeout=120,
                       env={**os.environ, **(env or {})})
    if p.returncode:
        return None, f"exit {p.returncode}: {p.stderr.strip()}"
    return json.loads(p.stdout), None


def read_gguf(path):
    data = path.read_bytes()
    at = 8
    n_tensor, n_kv = struct.unpack_from("<QQ", data, at)
    at += 16

    def string(at):
        n, = struct.unpack_from("<Q", data, at)
        return data[at + 8:at + 8 + n].decode("utf-8", "replace"), at + 8 + n

    def value(kind, at):
        if kind == 8:
            return string(at)
        if kind == 9:
            elem, n = struct.unpack_from("<IQ", data, at)
            at += 12
            out = []
            for _ in range(n):
                v, at = value(elem, at)
                out.append(v)
            return out, at
        return struct.unpack_from(GGUF_SCALAR[kind], data, at)[0], at + struct.calcsize(GGUF_SCALAR[kind])

    kv, tensors = {}, []
    for _ in range(n_kv):
        key, at = string(at)
        kind, = struct.unpack_from("<I", data, at)
        kv[key], at = value(kind, at + 4)
    for _ in range(n_tensor):
        name, at = string(at)
        n_dim, = struct.unpack_from("<I", data, at)
        dims = struct.unpack_from(f"<{n_dim}Q", data, at + 4)
        kind, offset = struct.unpack_from("<IQ", data, at + 4 + 8 * n_dim)
        at += 16 + 8 * n_dim
        tensors.append([name, GGML[kind], list(reversed(dims)), offset])
    align = kv.get("general.alignment", 32)
    start = (at + align - 1) // align * align
    return kv, [dict(name=n, type=t, shape=s, offset=start + o) for n, t, s, o in tensors]


def read_safetensors(path):
    data = path.read_bytes()
    n, = struct.unpack_from("<Q", data, 0)
    head = json.loads(data[8:8 + n])
    head.pop("__metadata__", None)
    return {k: dict(type=v["dtype"], shape=v["shape"], offset=8 + n + v["data_offsets"][0],
                    bytes=v["data_offsets"][1] - v["data_offsets"][0]) for k, v in head.items()}


def compare(problems, what, got, want):
    if want is not None and got != want:
        problems.append(f"{what} is {got!r}, not {want!r}")


def top(v):
    return max(v) if isinstance(v, list) else v


def check_gguf(name, paths):
    got, problem = show(paths[0], "--tensors", "--metadata")
    if problem:
        return report(name, [problem])
    problems = []
    kv, tensors = {}, []
    for i, p in enumerate(paths):
        k, t = read_gguf(p)
        kv = kv or k
        tensors += [dict(x, file=i) for x in t]
    arch = kv.get("general.architecture")  # an imatrix file has none

    def key(field):
        return top(kv.get(f"{arch}.{field}"))

    compare(problems, "format", got["format"], "gguf")
    compare(problems, "architecture", got.get("architecture"), arch)
    for field, ours in (("block_count", "layers"), ("context_length", "context_length"),
                        ("embedding_length", "embedding_length"), ("attention.head_count", "heads"),
                        ("expert_count", "experts"), ("expert_used_count", "experts_used"),
                        ("attention.sliding_window", "sliding_window")):
        want = key(field)
        compare(problems, ours, got.get(ours, 0), want if want is not None else 0)
    for a, b in zip(got["tensors"], tensors):
        for field in ("name", "type", "shape", "offset", "file"):
            compare(problems, f"{b['name']} {field}", a[field], b[field])
    compare(problems, "number of tensors", len(got["tensors"]), len(tensors))
    count = {}
    for t in tensors:
        n = 1
        for d in t["shape"]:
            n *= d
        count[t["type"]] = count.get(t["type"], 0) + 1
        t["n"] = n
    compare(problems, "types", {t["type"]: t["tensors"] for t in got["quantization"]["types"]}, count)
    compare(problems, "parameters", got["parameters"], sum(t["n"] for t in tensors))
    compare(problems, "metadata keys", sorted(got["metadata"]), sorted(kv))
    for k, v in kv.items():
        if isinstance(v, (int, bool)) or (isinstance(v, str) and "\ufffd" not in v):
            compare(problems, k, got["metadata"][k], v)
        elif isinstance(v, list) and v and isinstance(v[0], (int, str)) and not any("\ufffd" in str(x) for x in v):
            compare(problems, k, got["metadata"][k], v)
        elif isinstance(v, float):
            compare(problems, k, struct.pack("<f", got["metadata"][k]), struct.pack("<f", v))
    report(name, problems)


NAMES = {"layers": ("num_hidden_layers", "n_layer", "num_layers"),
         "embedding_length": ("hidden_size", "n_embd", "d_model"),
         "heads": ("num_attention_heads", "n_head", "num_heads"), "vocabulary": ("vocab_size",),
         "experts": ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"),
         "experts_used": ("num_experts_per_tok", "num_experts_per_token", "moe_k", "top_k_experts")}


def check_folder(folder):
    name = f"{folder.parent.name}/{folder.name}"
    got, problem = show(folder, "--tensors", "--metadata")
    if problem:
        return report(name, [problem])
    problems = []
    config = json.loads((folder / "config.json").read_text())
    text = config.get("text_config") or config
    stored = {}
    for i, p in enumerate(sorted(folder.glob("*.safetensors"))):
        for k, v in read_safetensors(p).items():
            stored[k] = dict(v, file=i)
    compare(problems, "format", got["format"], "safetensors")
    compare(problems, "class", got.get("class"), (config.get("architectures") or [None])[0])
    compare(problems, "architecture", got["architecture"], text.get("model_type", config.get("model_type")))
    for ours, theirs in NAMES.items():
        for t in theirs:
            want = text.get(t, config.get(t))
            if isinstance(want, int):
                compare(problems, ours, got.get(ours, 0), want)
                break
    compare(problems, "config.json", got["metadata"].get("config.json"), config)
    seen = set()
    for t in got["tensors"]:
        if not t.get("layout"):  # a plain tensor is the file's own
            if t["name"] not in stored:
                problems.append(f"{t['name']} is not in the files")
                continue
            for field in ("type", "shape", "offset", "bytes", "file"):
                compare(problems, f"{t['name']} {field}", t[field], stored[t["name"]][field])
        seen.add(t["name"])
    if not any(t.get("layout") for t in got["tensors"]):
        compare(problems, "tensors", sorted(seen), sorted(stored))
    compare(problems, "stored bytes", got["quantization"]["weight_bytes"], sum(v["bytes"] for v in stored.values()))
    report(name, problems)


def check_stores(folder, gguf):
    """The same files through the other programs' stores, in place."""
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        digest = "ab" * 32
        blobs = tmp / "ollama/blobs"
        blobs.mkdir(parents=True)
        (blobs / f"sha256-{digest}").symlink_to(gguf.resolve())
        (blobs / f"sha256-{'cd' * 32}").write_text("Some licence\nin two lines\n")
        manifest = tmp / "ollama/manifests/registry.ollama.ai/library/tiny/1b"
        manifest.parent.mkdir(parents=True)
        layers = [{"mediaType": f"application/vnd.ollama.image.{k}", "digest": f"sha256:{d}"}
                  for k, d in (("model", digest), ("license", "cd" * 32))]
        manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
        snapshot = tmp / "hf/models--org--name/snapshots/0123abcd"
        snapshot.parent.mkdir(parents=True)
        snapshot.symlink_to(folder.resolve())
        (tmp / "hf/models--org--name/refs").mkdir()
        (tmp / "hf/models--org--name/refs/main").write_text("0123abcd")
        lm = tmp / "home/.lmstudio/models/pub/repo"
        lm.mkdir(parents=True)
        (lm / "repo-Q4_K_M.gguf").symlink_to(gguf.resolve())
        (lm / "repo-Q8_0.gguf").symlink_to(gguf.resolve())
        env = {"OLLAMA_MODELS": str(tmp / "ollama"), "HF_HUB_CACHE": str(tmp / "hf"), "HOME": str(tmp / "home")}
        for what, model, ok in (("ollama name", "tiny:1b", True), ("ollama manifest", str(manifest), True),
                                ("ollama missing tag", "tiny:2b", False), ("cache name", "org/name", True),
                                ("cache url", "https://huggingface.co/org/name", True),
                                ("cache entry", str(tmp / "hf/models--org--name"), True),
                                ("cache revision", "org/name@0123abcd", True), ("no revision", "org/name@zz", False),
                                ("lm studio variant", "pub/repo:q4_k_m", True), ("lm studio both", "pub/repo", False),
                                ("climbing name", "../../etc:passwd", False), ("climbing tag", "tiny:../1b", False)):
            got, problem = show(model, env=env)
            problems = [] if (problem is None) == ok else [problem or "was found"]
            if ok and got and "ollama" in what:
                compare(problems, "licence", got.get("license_text"), "Some licence\nin two lines\n")
                compare(problems, "store", got["found_in"], "Ollama's store")
            report(what, problems)
        for bad in ("sha256:../../../../etc/passwd", "sha256:" + "AB" * 32, "md5:00", 7):
            layer = {"mediaType": "application/vnd.ollama.image.model", "digest": bad}
            manifest.write_text(json.dumps({"layers": [layer]}))
            _, problem = show("tiny:1b", env=env)
            report(f"digest {bad}", [] if problem and "64 hex digits" in problem else [problem or "accepted"])


def main():
    for kind in ("gguf", "types"):
        for path in sorted((DATA / kind).glob("*.gguf")):
            m = re.match(r"(.+)-(\d{5})-of-(\d{5})\.gguf$", path.name)
            if not m:
                check_gguf(f"{kind}/{path.name}", [path])
            elif m.group(2) == "00001":
                check_gguf(f"{kind}/{path.name}", sorted((DATA / kind).glob(m.group(1) + "-*-of-*.gguf")))
    for kind in ("models", "checkpoints"):
        for folder in sorted((DATA / kind).iterdir()):
            if (folder / "config.json").exists():
                check_folder(folder)
    quant = json.loads((DATA / "types/quant.json").read_text())["files"]
    for t, want in quant.items():
        got, problem = show(DATA / f"types/{t}.gguf")
        problems = [problem] if problem else []
        if got:
            compare(problems, "mix", {x["type"]: x["tensors"] for x in got["quantization"]["types"]}, want["types"])
            compare(problems, "name", got["quantization"]["name"].replace("TQ", "TQ"), got["quantization"]["name"])
        report(f"mix {t}", problems)
    any_part = DATA / "gguf/llama-sharded-00002-of-00003.gguf"
    got, problem = show(any_part)
    report("a split set by its second part", [problem] if problem else
           [] if len(got["files"]) == 3 else [f"{len(got['files'])} files"])
    check_stores(DATA / "models/llama-sharded", DATA / "types/Q4_K_M.gguf")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed or not passed else 0


sys.exit(main())
