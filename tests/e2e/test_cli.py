#!/usr/bin/env python3
"""tests/e2e/test_cli.py BINARY [DATA] - commands as people type them: exit codes, messages, big and damaged files.

Closing line: N passed, N failed, N skipped.
"""
import hashlib
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

BIN = str(pathlib.Path(sys.argv[1]).resolve())
DATA = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else "tests/golden").resolve()
ROOT = pathlib.Path(__file__).resolve().parents[2]
passed = failed = 0


def check(name, ok, text=""):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print(f"FAIL {name}: {text}")


def run(*args, env=None, stdin=None):
    p = subprocess.run([BIN, *map(str, args)], capture_output=True, timeout=120, env={**os.environ, **(env or {})},
                       input=stdin)
    return p.returncode, p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")


def gguf_with_hole(path, gib):
    """A valid GGUF whose one F32 tensor is a hole of that many GiB."""
    n = gib * (1 << 30) // 4
    name = b"big.weight"
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 1)
    key, text = b"general.architecture", b"llama"
    head += struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, len(text)) + text
    head += struct.pack("<Q", len(name)) + name + struct.pack("<IQQIQ", 2, 1024, n // 1024, 0, 0)
    head += b"\0" * (-len(head) % 32)
    with open(path, "wb") as f:
        f.write(head)
        f.truncate(len(head) + n * 4)


def main():
    rc, out, err = run("help")
    check("help lists the commands", rc == 0 and "verify" in out and not err)
    commands = re.findall(r"^  ([a-z]+) ", out, re.M)
    check("help's list", len(commands) > 25 and {"run", "serve", "bench", "version"} <= set(commands), commands)
    readme, manual = (ROOT / "README.md").read_text(), (ROOT / "docs/freehold.1").read_text()
    for command in commands:
        check(f"README knows {command}", re.search(rf"(freehold |`){command}\b", readme))
        named = re.search(rf'^\.TP\n\.BR? ("?[a-z]+"? ", " )*"?{command}\b', manual, re.M)
        check(f"the manual page knows {command}", named)
    for name in re.findall(r"^  ([A-Z_]+) ", out, re.M):
        check(f"the manual page knows {name}", name == "HOME" or name in manual)
    for command in set(commands) - {"help"}:
        rc, out, err = run(command, "--help")
        check(f"{command} --help", rc == 0 and f"freehold {command}" in out and "--json" in out, out + err)
        rc, out, err = run("help", command)
        check(f"help {command}", rc == 0 and f"freehold {command}" in out, out + err)
        rc, out, err = run(command, "--no-such-option")
        check(f"{command} refuses unknown options", rc == 2 and "--no-such-option" in err and not out, err)
    rc, out, err = run("nonsense")
    check("unknown command", rc == 2 and "nonsense" in err and not out, err)
    for shell in ("bash", "zsh", "fish"):
        rc, out, err = run("completion", shell)
        check(f"completion {shell}", rc == 0 and "doctor" in out, err)
        # as these shells quote: an apostrophe that ends a word early would leave a line open
        bare = out.replace("'\\''", "") if shell != "fish" else out.replace("\\'", "")
        odd = [line for line in bare.splitlines() if line.count("'") % 2]
        quoted = not odd if shell != "bash" else bare.count("'") % 2 == 0
        check(f"completion {shell} closes its quotes", quoted, odd)
    for words, want in ((("do",), "doctor"), (("key", "cr"), "create"), (("help", "qua"), "quantize"),
                        (("bench", "--fi"), "--first-token"), (("perplexity", "-f"), "-f"),
                        (("show", "a f"), "a file")):
        text = " ".join(f"'{w}'" for w in (BIN, *words))
        with tempfile.TemporaryDirectory() as tmp:
            (pathlib.Path(tmp) / "a file").touch()
            p = subprocess.run(["bash", "-c", f'eval "$({BIN} completion bash)"; COMP_WORDS=({text}); '
                                f'COMP_CWORD={len(words)}; _freehold; echo "${{COMPREPLY[*]}}"'],
                               capture_output=True, text=True, cwd=tmp)
        check(f"bash completes {words}", p.stdout.strip() == want, p.stdout + p.stderr)

    rc, out, err = run("run", stdin=b"")
    check("run works on the built-in model", rc == 0 and out and "no default model yet" in err, out + err)
    rc, out, err = run("doctor", "--json", "--no-measure")
    check("doctor --json is JSON", rc == 0 and isinstance(json.loads(out), dict), out[:200] + err)

    rc, out, err = run("cost", "--example")
    to_the_cent = all(x in out for x in ("2,100.00", "4,800.00", "1,200.12"))
    check("cost --example", rc == 0 and to_the_cent and "not the same quality" in out, out[-600:] + err)
    rc, out, err = run("template", "--builtin", "chatml", "--messages", "-", stdin=b'[{"role":"user","content":"Hi"}]')
    prompt = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    check("a built-in template", rc == 0 and out == prompt, out + err)

    q4 = DATA / "types/Q4_K_M.gguf"
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        # every way to be no model
        cases = {
            "empty.gguf": b"", "zip.bin": b"PK\x03\x04" + b"x" * 100, "html.gguf": b"<!DOCTYPE html><html>",
            "lfs.safetensors": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
            "v1.gguf": b"GGUF" + struct.pack("<I", 1) + b"\0" * 32,
            "be.gguf": b"GGUF" + struct.pack(">I", 3) + b"\0" * 32,
            "header.safetensors": struct.pack("<Q", 1 << 62) + b"{}",
        }
        words = {"empty.gguf": "empty", "zip.bin": "PyTorch", "html.gguf": "HTML", "lfs.safetensors": "LFS",
                 "v1.gguf": "version 1", "be.gguf": "big-endian", "header.safetensors": "header"}
        for name, data in cases.items():
            (tmp / name).write_bytes(data)
            rc, out, err = run("show", tmp / name)
            check(f"show {name}", rc == 1 and name in err and words[name].lower() in err.lower() and not out, err)
        rc, out, err = run("show", tmp / "none.gguf")
        check("a missing file", rc == 1 and "none.gguf" in err, err)
        (tmp / "folder").mkdir()
        rc, out, err = run("show", tmp / "folder")
        check("an empty folder", rc == 1 and "no .safetensors" in err, err)
        (tmp / "folder/pytorch_model.bin").write_bytes(b"PK\x03\x04")
        rc, out, err = run("show", tmp / "folder")
        check("a pickle", rc == 1 and "can run code" in err, err)
        for n in (1, 3):
            shutil.copy(DATA / f"gguf/llama-sharded-0000{n}-of-00003.gguf", tmp)
        rc, out, err = run("show", tmp / "llama-sharded-00001-of-00003.gguf")
        check("a missing part", rc == 1 and "part 2 of 3 is missing" in err, err)
        shutil.copy(DATA / "gguf/llama-sharded-00001-of-00003.gguf", tmp / "llama-sharded-00002-of-00003.gguf")
        rc, out, err = run("show", tmp / "llama-sharded-00001-of-00003.gguf")
        check("a wrong part", rc == 1 and "part" in err, err)

        # checksums
        shutil.copy(q4, tmp / "m.gguf")
        digest = hashlib.sha256(q4.read_bytes()).hexdigest()
        (tmp / "SHA256SUMS").write_text(f"{digest}  m.gguf\n")
        rc, out, err = run("verify", tmp / "m.gguf")
        check("verify: right checksum", rc == 0 and "checksum    ok" in out, out + err)
        damaged = bytearray(q4.read_bytes())
        damaged[-100] ^= 1
        (tmp / "m.gguf").write_bytes(damaged)
        rc, out, err = run("verify", tmp / "m.gguf", "--json")
        check("verify: wrong checksum", rc == 1 and json.loads(out)["ok"] is False, out + err)
        (tmp / "SHA256SUMS").unlink()
        blob = tmp / f"sha256-{digest}"
        blob.write_bytes(damaged)
        rc, out, err = run("verify", blob)
        check("verify: a blob is named by its content", rc == 1 and "WRONG" in out and "its name" in out, out + err)
        nan = bytearray((DATA / "gguf/llama-sharded-00003-of-00003.gguf").read_bytes())
        nan[-4:] = b"\xff\xff\xff\x7f"
        for n in (1, 2):
            shutil.copy(DATA / f"gguf/llama-sharded-0000{n}-of-00003.gguf", tmp)
        (tmp / "llama-sharded-00003-of-00003.gguf").write_bytes(nan)
        rc, out, err = run("verify", tmp / "llama-sharded-00002-of-00003.gguf")
        check("verify: not a number", rc == 1 and "not finite" in out and "WRONG" in out, out + err)

        # a 2 GiB file opens at once
        gguf_with_hole(tmp / "big.gguf", 2)
        times = []
        for _ in range(5):
            start = time.monotonic()
            rc, out, err = run("show", tmp / "big.gguf", "--tensors")
            times.append(time.monotonic() - start)
        check("show of 2 GiB in under 50 ms", rc == 0 and min(times) < 0.05, f"{min(times) * 1000:.1f} ms {err}")
        print(f"show of a 2 GiB file: {min(times) * 1000:.1f} ms")

        # a result that cannot be written is a failure
        if os.path.exists("/dev/full"):
            with open("/dev/full", "wb") as full:
                p = subprocess.run([BIN, "show", str(q4)], stdout=full, stderr=subprocess.PIPE, text=True)
            check("a full disk under stdout", p.returncode == 1 and "could not be written" in p.stderr, p.stderr)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed or not passed else 0


sys.exit(main())
