#!/usr/bin/env python3
"""tests/e2e/soak_serve.py BINARY [MINUTES] - mixed traffic for an hour: does anything grow, leak or stop.

Chats whole and streamed, tools, schemas, several answers, wrong requests, clients that leave, keys that come and go,
settings that are read again. After a warm-up (a tenth of the time) memory, descriptors and threads are looked at:
resident memory of the last quarter against that of the first (medians) is less than 1 % more. At the end no slot is
taken, no descriptor open, and only what was meant to fail has failed. Closing line: N passed, N failed, N skipped.
"""

import json
import os
import pathlib
import random
import signal
import socket
import statistics
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import test_serve_core as core  # noqa: E402

SCHEMA = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}


def look(pid):
    """KiB resident, descriptors, threads."""
    memory = threads = 0
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS"):
            memory = int(line.split()[1])
        elif line.startswith("Threads"):
            threads = int(line.split()[1])
    return memory, len(os.listdir(f"/proc/{pid}/fd")), threads


class Traffic:
    def __init__(self, server, key):
        self.s, self.key, self.over = server, key, threading.Event()
        self.lock, self.n, self.wrong = threading.Lock(), {}, []

    def post(self, path, body, want=200):
        head = {"Content-Type": "application/json", "Authorization": "Bearer " + self.key}
        status, text = self.s.ask(path, json.dumps(body).encode(), head)
        if status != want and status != 429:
            with self.lock:
                self.wrong.append((path, status, text[:200]))

    def leave(self, rng, body):
        data = json.dumps({**body, "stream": True}).encode()
        with socket.create_connection(("127.0.0.1", self.s.port), timeout=20) as c:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.key}\r\n"
            c.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
            c.recv(rng.choice([1, 400, 4000]))

    def one(self, rng):
        words = " ".join(str(rng.randrange(50)) for _ in range(rng.choice([1, 5, 40, 120])))
        messages = [{"role": "user", "content": words}]
        body = {
            "model": "freehold",
            "messages": messages,
            "max_tokens": rng.choice([1, 8, 40]),
            "seed": rng.randrange(9),
        }
        kind = rng.choice(
            ["chat", "stream", "tools", "schema", "many", "text", "ollama", "claude", "wrong", "leave", "list"]
        )
        if kind == "chat":
            self.post("/v1/chat/completions", body)
        elif kind == "stream":
            self.post("/v1/chat/completions", {**body, "stream": True, "stream_options": {"include_usage": True}})
        elif kind == "tools":
            self.post("/v1/chat/completions", {**body, "tools": [TOOL], "tool_choice": "none"})
        elif kind == "schema":
            form = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
            self.post("/v1/chat/completions", {**body, "response_format": form})
        elif kind == "many":
            self.post("/v1/chat/completions", {**body, "n": 3, "logprobs": True, "top_logprobs": 2})
        elif kind == "text":
            self.post("/v1/completions", {"model": "freehold", "prompt": [words, "x"], "max_tokens": 5})
        elif kind == "ollama":
            self.post("/api/chat", {"model": "freehold", "messages": messages, "options": {"num_predict": 8}})
        elif kind == "claude":
            self.post("/v1/messages", {"model": "freehold", "messages": messages, "max_tokens": 8, "stream": True})
        elif kind == "wrong":
            self.post("/v1/chat/completions", {**body, "messages": 7}, 400)
        elif kind == "leave":
            self.leave(rng, body)
        else:
            self.post("/tokenize", {"content": words})
        with self.lock:
            self.n[kind] = self.n.get(kind, 0) + 1

    def run(self, seed):
        rng = random.Random(seed)
        while not self.over.is_set():
            try:
                self.one(rng)
            except OSError as e:
                with self.lock:
                    self.wrong.append(("connection", 0, str(e)))


def administer(s, over):
    """Keys come and go, settings are read again."""
    i = 0
    while not over.wait(5):
        s.run("key", "create", f"guest{i}")
        s.run("key", "revoke", f"guest{i}")
        s.p.send_signal(signal.SIGHUP)
        i += 1


def main():
    seconds = 60 * float(sys.argv[2] if len(sys.argv) > 2 else 60)
    s = core.Server(
        "--log", "error", "--audit", "admin", "--memory", "96M"
    )  # so that its cache is full after the warm-up
    key = json.loads(s.run("key", "create", "soak", "--json")[1])["key"]
    while s.ask("/v1/models")[0] != 401:  # until the server has read it
        time.sleep(0.1)
    t = Traffic(s, key)
    crew = [threading.Thread(target=t.run, args=(i,)) for i in range(8)]
    crew.append(threading.Thread(target=administer, args=(s, t.over)))
    for c in crew:
        c.start()
    time.sleep(seconds / 10)
    seen, end = [], time.time() + seconds * 0.9
    while time.time() < end and s.p.poll() is None:
        seen.append(look(s.p.pid))
        time.sleep(max(0.2, seconds / 400))
    t.over.set()
    for c in crew:
        c.join()
    core.check("it lives", s.p.poll() is None, s.log())
    quarter = max(len(seen) // 4, 1)
    first, last = (statistics.median(x[0] for x in part) for part in (seen[:quarter], seen[-quarter:]))
    drift = (last - first) / first * 100
    n = sum(t.n.values())
    print(f"{seconds / 60:.1f} min: {n} requests; resident {first:.0f} -> {last:.0f} KiB ({drift:+.2f} %); {t.n}")
    core.check("resident memory drifts by less than 1 %", drift < 1, (first, last))
    core.check("the number of threads is one number", len({x[2] for x in seen}) == 1, {x[2] for x in seen})
    core.check("descriptors are bounded by the clients", max(x[1] for x in seen) < seen[0][1] + 40, seen[0])
    core.check("every kind of request came", len(t.n) == 11 and n > 100, t.n)
    core.check("only what was meant to fail has failed", not t.wrong, (len(t.wrong), t.wrong[:5]))

    def idle():
        st = json.loads(s.admin("/status"))
        m = st["models"][0]
        return st["under_way"] <= 1 and m["running"] == m["waiting"] == m["users"] == 0

    core.check("no slot is left taken", any(idle() or time.sleep(0.1) for _ in range(100)), s.admin("/status"))
    core.check("it ends well", s.stop() == 0, s.log())
    s.clean()
    print(f"{core.passed} passed, {core.failed} failed, {core.skipped} skipped")
    return 1 if core.failed else 0


sys.exit(main())
