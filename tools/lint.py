#!/usr/bin/env python3
"""tools/lint.py - what the compiler does not check: sizes, headers, words and calls that do not belong.

Limits: a file 1,500 lines (generated ones exempt), a function 120 lines, a line 120 columns. Exceptions stand with
their reason in tools/lint-allow.txt, one "path: rule: reason" a line. Standard library only.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MAX_FILE, MAX_FUNCTION, MAX_COLUMNS = 1500, 120, 120  # .clang-format has the columns too
HEAP = re.compile(r"(?<![\w.>])(malloc|calloc|realloc|free|strdup|strndup|asprintf|vasprintf)\s*\(")
GETENV = re.compile(r"(?<!\w)(secure_)?getenv\s*\(")
LEFT = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
PRINTS = re.compile(r"(?<![\w.>])(printf|puts|putchar|exit|_exit|abort)\s*\(|\b(stdout|stderr)\b")
# Who may print, exit or abort below src/cli, and why.
MAY_PRINT = {"src/base/err.c": "fh_bug_at", "src/base/cpu_probe.c": "the probe's forked child"}
MAY_HEAP = {"src/base/mem.c"}
# Generic code serves families, it does not ask for one: only src/model/family_*.c may know a name.
FAMILY = re.compile(r'fh_family_(?!find|slide)[a-z]\w*|fh_str_(is|eq|starts)\(\s*[^,]*\barch\b|family\s*[!=]=|'
                    r'"(llama|mixtral|qwen|gemma|deepseek|kimi|gpt.oss|bert|t5)[^"]*"')
GENERIC = ("src/kernel/", "src/graph/", "src/device/", "src/model/", "src/infer/", "src/train/")
HOME = re.compile(r"(?<![\w.])/(?:work|root|home/\w+)/")


def tracked():
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    names = out.stdout.split("\n") if out.returncode == 0 else [str(p.relative_to(ROOT)) for p in ROOT.rglob("*")]
    return sorted(n for n in names if n and (ROOT / n).is_file())


def strip_comments(text):
    """Comments and string literals blanked, lines kept."""
    def blank(m):
        return re.sub(r"[^\n]", " ", m.group(0))
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def functions(lines):
    start = None
    for i, line in enumerate(lines, 1):
        if re.match(r"^[A-Za-z].*\)\s*\{\s*$", line) or (line.startswith("{") and start is None):
            start = i
        if line.startswith("}"):
            if start:
                yield start, i - start + 1
            start = None


def main():
    allow = {}
    for line in (ROOT / "tools/lint-allow.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            path, rule, _ = line.split(":", 2)
            allow.setdefault(path.strip(), set()).add(rule.strip())
    wrong = []
    files = tracked()
    for name in files:
        path = ROOT / name
        generic = name.startswith(GENERIC) and not name.startswith("src/model/family")
        code = path.suffix in (".c", ".h", ".def", ".S")
        script = path.suffix in (".py", ".sh") or name in ("Makefile", ".ci/run")
        if not (code or script or path.suffix == ".md"):
            continue
        text = path.read_text(encoding="utf-8")
        lines = text.split("\n")
        ok = allow.get(name, set())

        def say(rule, at, what):
            if rule not in ok:
                wrong.append(f"{name}:{at}: {what}")
        for i, line in enumerate(lines, 1):
            if line != line.rstrip():
                say("blank", i, "blanks at the end of the line")
            if HOME.search(line):
                say("path", i, "a path of somebody's machine")
            if (code or path.suffix == ".py") and len(line) > MAX_COLUMNS:
                say("columns", i, f"{len(line)} columns")
            if code and "\t" in line:
                say("tab", i, "a tab")
        if not code:
            continue
        head = "\n".join(lines[:14])
        expect = name[4:] if name.startswith("src/") else name
        if path.suffix != ".def" and not lines[0].startswith(f"/* {expect} - "):
            say("head", 1, f"the first line should begin '/* {expect} - '")
        if "SPDX-License-Identifier: Apache-2.0" not in head:
            say("spdx", 1, "no SPDX line in the first comment")
        generated = "generated, do not edit" in head
        if len(lines) > MAX_FILE and not generated:
            say("file", 1, f"{len(lines)} lines")
        bare = strip_comments(text)
        if LEFT.search(text):
            say("left", 1, "a TODO, FIXME, XXX or HACK")
        if not generated:
            for at, n in functions(bare.split("\n")):
                if n > MAX_FUNCTION:
                    say("function", at, f"a function of {n} lines")
        if not name.startswith("src/"):
            continue
        asks = re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m.group(0)), text, flags=re.S)
        for i, line in enumerate(asks.split("\n"), 1):
            if generic and FAMILY.search(line):
                say("family", i, "generic code asks which family it serves")
        for i, line in enumerate(bare.split("\n"), 1):
            if HEAP.search(line) and name not in MAY_HEAP:
                say("heap", i, "the heap is reached through base/mem.h only")
            if GETENV.search(line) and name != "src/base/env.c":
                say("getenv", i, "the environment is read through base/env.h only")
            if PRINTS.search(line) and not name.startswith("src/cli/") and name not in MAY_PRINT:
                say("print", i, "only src/cli prints or exits")
    print("\n".join(wrong) if wrong else f"lint: {len(files)} files, nothing to say")
    return 1 if wrong else 0


sys.exit(main())
