#!/usr/bin/env python3
"""tests/e2e/load_serve.py BINARY [--cancels N] [HALF_OPEN...] - the server under crowds that never finish.

100 clients who never read their answers; N (10,000) who leave at random moments; 1,000 streams of several keys at once;
for each number (1000 and 10000) that many connections with half a head, /health beside them, their end by deadline,
descriptors and memory afterwards. Takes minutes: a target of its own. Closing line: N passed, N failed, N skipped.
"""

import asyncio
import json
import os
import pathlib
import random
import resource
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import test_serve_core as core  # noqa: E402


def rss(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def crowd(n):
    s = core.Server("--log", "warn", "--sandbox=no")
    before = descriptors(s.p.pid)
    held, start = [], time.time()
    for _ in range(n):
        c = socket.create_connection(("127.0.0.1", s.port))
        c.sendall(b"GET /x HTTP/1.1\r\nHost: local")
        held.append(c)
    opened = time.time() - start
    times = []
    for _ in range(300):
        t = time.time()
        core.check("health beside the crowd", s.ask("/health")[0] == 200)
        times.append((time.time() - t) * 1000)
    times.sort()
    p50, p99 = times[150], times[297]
    memory = rss(s.p.pid)
    while descriptors(s.p.pid) > before + 2 and time.time() - start < 60:
        time.sleep(0.2)
    gone = time.time() - start
    core.check(f"{n} half-open: p99 of /health under 50 ms", p99 < 50, p99)
    core.check(f"{n} half-open: all ended by their deadline", gone < opened + 15, gone)
    print(
        f"{n} half-open: opened in {opened:.1f} s; /health p50 {p50:.2f} ms, p99 {p99:.2f} ms; "
        f"{memory} KiB resident; all closed {gone - opened:.1f} s after the last came; "
        f"{descriptors(s.p.pid) - before} descriptors left"
    )
    for c in held:
        c.close()
    s.clean()


def body(stream, n):
    return json.dumps(
        {
            "model": "",
            "stream": stream,
            "max_tokens": n,
            "ignore_eos": True,
            "messages": [{"role": "user", "content": "say " + "more " * random.randrange(20)}],
        }
    ).encode()


def request(data, key="none"):
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    ).encode() + data


async def leave(port, gate):
    """One client who goes at some moment: before the head is whole, in the queue, in the answer, at its end."""
    async with gate:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        data = request(body(random.random() < 0.7, random.choice((1, 20, 200))))
        try:
            writer.write(data[: random.randrange(len(data))] if random.random() < 0.1 else data)
            if random.random() < 0.7:
                await asyncio.wait_for(reader.read(random.choice((1, 300, 5000))), random.random() * 0.2)
        except (asyncio.TimeoutError, OSError):
            pass
        if random.random() < 0.5:
            writer.transport.abort()
        else:
            writer.close()


def idle(s):
    st = json.loads(s.admin("/status"))
    m = st["models"][0]
    return st["under_way"] <= 1 and m["running"] == m["waiting"] == m["users"] == 0


def cancels(n):
    s = core.Server("--log", "off", "--parallel", "8", "--audit", "none")

    async def run(count):
        gate = asyncio.Semaphore(64)
        await asyncio.gather(*(leave(s.port, gate) for _ in range(count)))

    asyncio.run(run(max(n // 10, 1)))
    core.check("idle after the first tenth", any(idle(s) or time.sleep(0.1) for _ in range(100)))
    before, files = rss(s.p.pid), descriptors_of(s)
    start = time.time()
    asyncio.run(run(n))
    spent = time.time() - start
    core.check(
        f"{n} cancels: no slot is left taken", any(idle(s) or time.sleep(0.1) for _ in range(100)), s.admin("/status")
    )
    status, text = s.ask("/v1/chat/completions", data=body(False, 5))
    core.check("and it answers", status == 200, text)
    core.check("no descriptor is left open", any(descriptors_of(s) <= files + 1 or time.sleep(0.1) for _ in range(50)))
    print(f"{n} cancels in {spent:.1f} s; resident {before} -> {rss(s.p.pid)} KiB")
    core.check("it ends", s.stop() == 0, s.log())
    s.clean()


def descriptors_of(s):
    return json.loads(s.admin("/status"))["connections"]


async def read_stream(port, key, done):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(body(True, 40), key))
    text = (await reader.read(-1)).decode(errors="replace")
    writer.close()
    status = int(text.split(" ", 2)[1])
    done.append(
        (
            key,
            status,
            time.time(),
            text.count('"content":"') if status == 200 else 0,
            "[DONE]" in text,
            "Retry-After" in text,
        )
    )


def streams(n):
    s = core.Server("--log", "off", "--parallel", "8", "--queue", str(n), "--audit", "none")
    names = [s.run("key", "create", f"k{i}")[1].strip() for i in range(4)]
    time.sleep(1.2)
    done = []

    async def run():
        await asyncio.gather(*(read_stream(s.port, names[i * 4 // n], done) for i in range(n)))

    start = time.time()
    asyncio.run(run())
    spent = time.time() - start
    core.check(
        f"{n} streams: each ends, or is told when to come back",
        len(done) == n
        and all((st == 200 and whole) or (st in (429, 503) and retry) for _, st, _, _, whole, retry in done),
        done[:3],
    )
    half = sorted(done, key=lambda d: d[2])[: n // 2]
    share = [sum(1 for d in half if d[0] == k) for k in names]
    jain = sum(share) ** 2 / (len(share) * sum(x * x for x in share))
    core.check("keys are served alike while all wait (Jain >= 0.95)", jain >= 0.95, share)
    print(
        f"{n} streams of 4 keys on 8 slots in {spent:.1f} s; of the first half each key had {share}: "
        f"Jain {jain:.4f}; {sum(1 for d in done if d[1] != 200)} were told to come back; {rss(s.p.pid)} KiB resident"
    )
    s.clean()


def stalled(n):
    """Clients who ask for a long stream and never read: those who read are served, and they are let go in time."""
    s = core.Server("--log", "off", "--parallel", "8", "--stall-timeout", "4s", "--buffer", "16K", "--audit", "none")
    before, held = rss(s.p.pid), []
    for _ in range(n):
        c = socket.socket()
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        c.connect(("127.0.0.1", s.port))
        c.sendall(request(body(True, 1500)))
        held.append(c)
    times, start = [], time.time()
    while time.time() - start < 12:
        t = time.time()
        status, text = s.ask("/v1/chat/completions", data=body(False, 4))
        core.check("an answer beside stalled readers", status == 200 and "choices" in text, text)
        times.append(time.time() - t)
    peak = rss(s.p.pid)
    core.check(
        f"{n} stalled readers: none keeps a slot",
        any(idle(s) or time.sleep(0.5) for _ in range(240)),
        s.admin("/status"),
    )
    core.check("memory of what nobody reads is bounded", peak - before < n * 64 + 200_000, (before, peak))
    times.sort()
    print(
        f"{n} stalled readers: {len(times)} answers beside them, median {times[len(times) // 2]:.2f} s, "
        f"worst {times[-1]:.2f} s; {before} -> {peak} KiB resident"
    )
    for c in held:
        c.close()
    core.check("it ends", s.stop() == 0, s.log())
    s.clean()


def main():
    args, n_cancel = sys.argv[2:], 10000
    if args[:1] == ["--cancels"]:
        n_cancel, args = int(args[1]), args[2:]
    sys.argv[2:] = args
    stalled(100)
    cancels(n_cancel)
    streams(1000)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for n in [int(a) for a in sys.argv[2:]] or [1000, 10000]:
        if most < n + 200:
            core.skipped += 1
            print(f"skip {n} half-open: this process may open {most} descriptors")
            continue
        crowd(n)
    print(f"{core.passed} passed, {core.failed} failed, {core.skipped} skipped")
    return 1 if core.failed else 0


sys.exit(main())
