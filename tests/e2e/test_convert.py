#!/usr/bin/env python3
"""tests/e2e/test_convert.py BINARY [DATA] - freehold convert as a user runs it.

There and back: the same logits (or hidden rows, or score) bit for bit, the same token ids, the same prompt; in the way
is in the way; what cannot be converted says why and leaves nothing behind.
Closing line: N passed, N failed, N skipped.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

BIN = sys.argv[1]
DATA = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else "tests/golden")
TEXTS = ["Hello, world!", "  two  spaces\n\nlines\t", "naïve café 12345 — 你好", "<|start|>user\nhi<|end|>", ""]
passed = failed = 0


def check(name, ok, why=""):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    print(f"{'ok  ' if ok else 'FAIL'} {name}" + ("" if ok else f": {why}"), flush=True)
    return ok


def run(*args, given=None):
    p = subprocess.run([BIN, *map(str, args)], input=given, capture_output=True, timeout=300)
    return p.returncode, p.stdout, p.stderr.decode(errors="replace").strip()


def answer(model, case):
    more = ["--decoder-tokens", " ".join(map(str, case["decoder_tokens"]))] if "decoder_tokens" in case else []
    return run("logits", model, "--exact", "--tokens", " ".join(map(str, case["tokens"])), *more)


def ids(model):
    given = "".join(json.dumps(t) + "\n" for t in TEXTS).encode()
    return run("tokenize", model, "--batch", "--parse-special", given=given)[:2]


def prompt(model, folder):
    case = pathlib.Path(folder) / "conversation.json"
    case.write_text(json.dumps(dict(messages=[dict(role="user", content="hi")], add_generation_prompt=True)))
    return run("template", model, "--input", case)[:2]


def there_and_back(source, folder):
    name = source.name
    case = json.loads((source / "case.json").read_text())
    gguf, back = pathlib.Path(folder) / f"{name}.gguf", pathlib.Path(folder) / name
    code, _, text = run("convert", source, gguf, "--to", "gguf")
    if not check(f"{name} to GGUF", code == 0 and gguf.is_file(), text):
        return
    code, _, text = run("convert", gguf, back)
    if not check(f"{name} back", code == 0 and (back / "config.json").is_file(), text):
        return
    first, second, third = (answer(m, case) for m in (source, gguf, back))
    check(f"{name} answers", first[0] == 0 and first[1], first[2])
    check(f"{name} the same as GGUF", second[0] == 0 and second[1] == first[1], second[2][-200:])
    check(f"{name} the same back", third[0] == 0 and third[1] == first[1], third[2][-200:])
    config = json.loads((source / "tokenizer_config.json").read_text())
    check(f"{name} tokens", ids(source) == ids(gguf) == ids(back), str((ids(source), ids(gguf), ids(back)))[:300])
    if "score" in case:
        given = ("--query", "what is it", "this", "that other one", "--json")
        scores = [run("rerank", m, *given) for m in (source, gguf, back)]
        check(f"{name} pairs", scores[0][0] == 0 and scores[0] == scores[1] == scores[2], str(scores))
    if "chat_template" in config:
        check(f"{name} prompt", prompt(source, folder) == prompt(gguf, folder) == prompt(back, folder))
    left = [p for p in os.listdir(folder) if "tmp" in p or p.startswith(".")]
    check(f"{name} leaves nothing behind", not left, str(left))


def refusals(folder):
    blocks = DATA / "types/Q4_K_M.gguf"
    out = pathlib.Path(folder) / "blocks"
    code, _, text = run("convert", blocks, out)
    check("blocks want a type", code == 1 and "--type" in text + "--type" and not out.exists(), text)
    code, _, text = run("convert", blocks, out, "--type", "bf16")
    check("blocks to bf16", code == 0 and (out / "model.safetensors").is_file(), text)
    code, _, text = run("convert", blocks, out, "--type", "bf16")
    check("a folder with files in it", code == 1 and "not empty" in text, text)
    code, _, text = run("convert", blocks, pathlib.Path(folder) / "x", "--to", "gguf")
    check("to what it is", code == 2 and "already" in text, text)
    code, _, text = run("convert", blocks, pathlib.Path(folder) / "x", "--type", "q4_0")
    check("an unknown type", code == 2 and "--type" in text, text)
    code, _, text = run("convert", blocks)
    check("no target", code == 2, text)
    code, _, text = run("convert", pathlib.Path(folder) / "nothing", pathlib.Path(folder) / "x")
    check("no source", code == 1 and text, text)
    code, out, _ = run("convert", "--help")
    check("help states defaults", code == 0 and b"default" in out)


def main():
    with tempfile.TemporaryDirectory() as folder:
        for source in sorted((DATA / "models").iterdir()):
            code, _, text = run("show", source, "--plan")
            if code == 0:
                there_and_back(source, folder)
        refusals(folder)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
