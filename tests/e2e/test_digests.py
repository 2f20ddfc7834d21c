#!/usr/bin/env python3
"""tests/e2e/test_digests.py BINARY DATA - check.py's digests, less the cases that are known to be wrong in the data.

Those stand with their reason in tests/golden/known-wrong.txt, are skipped aloud, and must still fail: one that passes
is taken off the list. Closing line: N passed, N failed, N skipped.
"""
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent.parent / "golden"


def main():
    binary, data = sys.argv[1], pathlib.Path(sys.argv[2])
    known = {}
    for line in (HERE / "known-wrong.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, why = line.split(":", 1)
            known[name] = why.strip()
    out = subprocess.run([sys.executable, str(HERE / "check.py"), binary, "digests", "--data", str(data), "-v"],
                         capture_output=True, text=True).stdout
    passed = failed = skipped = 0
    for line in out.splitlines():
        m = re.match(r"(ok|FAIL)\s+digests\s+(\S+)\s+(.*)", line)
        if not m:
            continue
        ok, name, text = m.group(1) == "ok", m.group(2), m.group(3)
        if name not in known:
            passed, failed = passed + ok, failed + (not ok)
            if not ok:
                print(line)
        elif ok:
            failed += 1
            print(f"FAIL {name}: matches after all; take it off known-wrong.txt")
        else:
            skipped += 1
            print(f"skip {name}: {known[name]}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


sys.exit(main())
