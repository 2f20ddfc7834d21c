#!/usr/bin/env python3
"""tests/e2e/test_pull_peers.py BINARY SITE [DATA] - the hub double is a hub: the real huggingface_hub downloads from
it, byte for byte, and what that client leaves in its cache is found in place.

SITE: where pip put it (pip install --target SITE huggingface_hub). Closing line: N passed, N failed, N skipped.
"""

import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

from hub_double import COMMIT, Hub

BIN = str(pathlib.Path(sys.argv[1]).resolve())
SITE = str(pathlib.Path(sys.argv[2]).resolve())
DATA = pathlib.Path(sys.argv[3] if len(sys.argv) > 3 else "tests/golden").resolve()
passed = failed = 0


def check(name, ok, text=""):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print(f"FAIL {name}: {text!r:.1500}")


def main():
    hub = Hub(page=3)
    home = pathlib.Path(tempfile.mkdtemp(prefix="freehold-peer-"))
    env = dict(
        os.environ,
        HOME=str(home),
        HF_ENDPOINT=hub.url,
        PYTHONPATH=SITE,
        HF_HUB_DISABLE_XET="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        HF_HUB_DISABLE_PROGRESS_BARS="1",
        HF_HUB_DISABLE_SYMLINKS_WARNING="1",
    )
    for name in ("HF_TOKEN", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME", "XDG_DATA_HOME", "FREEHOLD_HOME"):
        env.pop(name, None)
    files = {
        p.name: p.read_bytes()
        for p in (DATA / "models/llama-sharded").iterdir()
        if p.suffix in (".json", ".safetensors")
    }
    files["big.safetensors"] = random.Random(7).randbytes(3 << 20)
    hub.add_repo("org/peer", files)
    code = "import huggingface_hub as h; print(h.snapshot_download('org/peer'))"
    p = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=300)
    folder = pathlib.Path(p.stdout.strip().splitlines()[-1]) if p.returncode == 0 else None
    check("huggingface_hub downloads from the double", p.returncode == 0, p.stderr[-1500:])
    check("byte for byte", folder and {x.name: x.read_bytes() for x in folder.iterdir()} == files)

    def run(*args):
        q = subprocess.run([BIN, *args], env=env, capture_output=True, text=True, timeout=300)
        return q.returncode, q.stdout, q.stderr

    models = json.loads(run("list", "--json")[1])["models"]
    check(
        "its cache is found in place",
        [(x["name"], x["kept_by"], x["id"]) for x in models] == [("org/peer", "Hugging Face's cache", COMMIT)],
        models,
    )
    rc, out, err = run("pull", "org/peer", "--json")
    pulled = json.loads(out) if rc == 0 else {}
    check(
        "freehold pulls the same bytes",
        rc == 0 and all((pathlib.Path(pulled["folder"]) / n).read_bytes() == data for n, data in files.items()),
        err,
    )
    hub.close()
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


sys.exit(main())
