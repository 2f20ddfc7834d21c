#!/usr/bin/env python3
"""tests/e2e/test_quantize_resume.py BINARY [MODEL TYPE KILLS] - `freehold quantize` that is killed, or has no room.

Killed by SIGKILL at random moments and started again each time: the work kept never shrinks, the file is the one that
an undisturbed run makes, and nothing is left beside it. A full disk and a truncated source: a clear error, no file
under the final name. Without MODEL one is made here and killed a few times.
Closing line: N passed, N failed, N skipped.
"""

import os
import pathlib
import random
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time

BIN = sys.argv[1]
passed = failed = skipped = 0


def check(name, ok, why=""):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print(f"FAIL {name}: {why}", flush=True)


def make(path, n_layer=24, rows=512, cols=1024):
    """An F16 model of random numbers below 2, without its keys being any real model's."""

    def text(s):
        return struct.pack("<Q", len(s)) + s.encode()

    low_exponent = bytes(b & 0xBF for b in range(256))
    names = [f"blk.{i}.ffn_up.weight" for i in range(n_layer)]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(names), 2)
    head += text("general.architecture") + struct.pack("<I", 8) + text("llama")
    head += text("llama.block_count") + struct.pack("<II", 4, n_layer)
    for i, name in enumerate(names):
        head += text(name) + struct.pack("<IQQIQ", 2, cols, rows, 1, i * rows * cols * 2)
    rng = random.Random(5)
    with open(path, "wb") as f:
        f.write(head + b"\0" * (-len(head) % 32))
        for _ in names:
            data = bytearray(rng.randbytes(rows * cols * 2))
            data[1::2] = bytes(data[1::2]).translate(low_exponent)
            f.write(data)


def quantize(*args, **more):
    return subprocess.run([BIN, "quantize", *map(str, args)], capture_output=True, text=True, timeout=1200, **more)


def kept(out):
    try:
        line = (out.parent / f".{out.name}.part.at").read_text()
        return int(line.split()[1]) if line.endswith("\n") else 0
    except (OSError, IndexError):
        return 0


def killed(model, kind, kills, tmp):
    whole, out = tmp / "whole.gguf", tmp / "out.gguf"
    start = time.monotonic()
    p = quantize(model, whole, kind)
    check("undisturbed", p.returncode == 0, p.stderr)
    whole_s = time.monotonic() - start
    before, resumed, done = 0, 0, 0
    rng = random.Random(7)
    for _ in range(kills):
        p = subprocess.Popen([BIN, "quantize", model, out, kind], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            p.wait(timeout=rng.uniform(0.2, 0.8) * whole_s)
        except subprocess.TimeoutExpired:
            p.send_signal(signal.SIGKILL)
            p.wait()
        if out.exists():
            done += 1
            break
        now = kept(out)
        check("work kept", now >= before, f"{before} bytes, then {now}")
        resumed += now > before
        before = now
    start = time.monotonic()
    p = quantize(model, out, kind, *(["--force"] if done else []))
    check("goes on", p.returncode == 0, p.stderr)
    check("same bytes", out.read_bytes() == whole.read_bytes(), "another file than undisturbed")
    if resumed or whole_s > 4:
        check("kept something", resumed > 0, "no kill left any work")
    else:  # work is kept now and then, and the whole took less than that
        global skipped
        skipped += 1
    left = sorted(f.name for f in tmp.iterdir() if f.name.startswith("."))
    check("nothing left", not left, str(left))
    print(
        f"undisturbed {whole_s:.1f} s; {resumed} of {kills} kills left more than the one before; the last run had "
        f"{before} of {whole.stat().st_size} bytes to start from and took {time.monotonic() - start:.1f} s"
    )
    # another type does not take over what was begun
    p = subprocess.Popen([BIN, "quantize", model, tmp / "x.gguf", kind], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(min(1.5, whole_s / 2))
    locked = quantize(model, tmp / "x.gguf", kind)
    check(
        "two at once",
        p.poll() is not None or (locked.returncode == 1 and "another process" in locked.stderr),
        locked.stderr,
    )
    p.kill()
    p.wait()
    p = quantize(model, tmp / "x.gguf", "Q8_0", "--force")
    check("another type", p.returncode == 0, p.stderr)
    p = quantize(model, tmp / "y.gguf", "Q8_0")
    check("another type starts over", (tmp / "x.gguf").read_bytes() == (tmp / "y.gguf").read_bytes(), "mixed up")


def no_room(model, kind, tmp):
    out = tmp / "full.gguf"

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, 2 << 20))

    p = quantize(model, out, kind, preexec_fn=limit)
    check("no room", p.returncode == 1 and "write" in p.stderr and "full.gguf" in p.stderr, p.stderr)
    check("no half file", not out.exists(), "a file has the final name")
    p = quantize(model, out, kind)
    check("room again", p.returncode == 0 and out.read_bytes() == (tmp / "whole.gguf").read_bytes(), p.stderr)


def truncated(model, kind, tmp):
    short, out = tmp / "short.gguf", tmp / "short-out.gguf"
    with open(model, "rb") as f:
        short.write_bytes(f.read(min(os.path.getsize(model), 8 << 20) - 1000))
    p = quantize(short, out, kind)
    check("truncated", p.returncode == 1 and "short.gguf" in p.stderr, p.stderr)
    check("truncated leaves nothing", not [f for f in tmp.iterdir() if "short-out" in f.name], "a file was left")


def main():
    with tempfile.TemporaryDirectory() as folder:
        tmp = pathlib.Path(folder)
        if len(sys.argv) > 4:
            model, kind, kills = pathlib.Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
        else:
            model, kind, kills = tmp / "model.gguf", "IQ3_S", 5
            make(model)
        killed(model, kind, kills, tmp)
        no_room(model, kind, tmp)
        truncated(model, kind, tmp)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


sys.exit(main())
