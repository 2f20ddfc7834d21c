#!/usr/bin/env python3
"""tests/e2e/test_serve_core.py BINARY - the server as people start it: what it prints, keys, signals, sandbox, TLS.

Closing line: N passed, N failed, N skipped.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

BIN = str(pathlib.Path(sys.argv[1]).resolve())
passed = failed = skipped = 0


def check(name, ok, text=""):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print(f"FAIL {name}: {text}")


class Server:
    def __init__(self, *args, home=None, ready=True):
        self.home = home or tempfile.mkdtemp(prefix="fh-serve-")
        self.env = {**os.environ, "FREEHOLD_HOME": self.home}
        self.err = open(os.path.join(self.home, "err.txt"), "a+")
        self.p = subprocess.Popen(
            [BIN, "serve", "--port", "0", *args], stdout=subprocess.PIPE, stderr=self.err, env=self.env, text=True
        )
        self.out = ""
        while ready:
            line = self.p.stdout.readline()
            self.out += line
            if not line or "Ctrl-C" in line:
                break
        found = re.search(r"https?://[\w.\[\]:]+?:(\d+)", self.out)
        self.port = int(found.group(1)) if found else 0
        self.url = found.group(0) if found else ""

    def ask(self, path, data=None, headers=None, context=None):
        request = urllib.request.Request(self.url + path, data=data, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=10, context=context) as r:
                return r.status, r.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()

    def admin(self, path, method="GET", body=b""):
        s = socket.socket(socket.AF_UNIX)
        s.connect(os.path.join(self.home, "state", "admin.sock"))
        s.sendall(f"{method} {path} HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        data = b""
        while piece := s.recv(65536):
            data += piece
        return data.split(b"\r\n\r\n", 1)[1].decode()

    def run(self, *args):
        p = subprocess.run([BIN, *args], capture_output=True, text=True, env=self.env, timeout=60)
        return p.returncode, p.stdout, p.stderr

    def log(self):
        self.err.flush()
        self.err.seek(0)
        return self.err.read()

    def stop(self, sig=signal.SIGTERM):
        if self.p.poll() is None:
            self.p.send_signal(sig)
        try:
            return self.p.wait(40)
        except subprocess.TimeoutExpired:
            self.p.kill()
            return -1

    def clean(self):
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)


def first_steps():
    s = Server()
    check("it says where it listens", s.port, s.out)
    for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "OLLAMA_HOST"):
        line = re.search(rf"^  (export {name}=\S+.*)$", s.out, re.M)
        p = subprocess.run(["sh", "-c", f"{line.group(1)} && printenv {name}"], capture_output=True, text=True)
        check(f"the line for {name} works as it stands", p.stdout.strip().startswith(s.url), p.stdout)
    curl = re.search(r"^  (curl .*)$", s.out, re.M).group(1)
    if shutil.which("curl"):
        p = subprocess.run(
            ["sh", "-c", curl.replace("curl ", "curl -s ", 1)], capture_output=True, text=True, timeout=60
        )
        check("the curl line gets JSON", p.stdout.startswith("{") and json.loads(p.stdout), p.stdout + p.stderr)
    check("health", s.ask("/health") == (200, '{"status":"ok"}'))
    check("ready", s.ask("/readyz")[0] == 200)
    check("Ollama's probe", s.ask("/") == (200, "Ollama is running"))
    rc, out, err = s.run("ps")
    check("ps shows the model", rc == 0 and "freehold" in out and "for ever" in out, out + err)
    status = json.loads(s.admin("/status"))
    box = status["sandbox"]
    check(
        "the sandbox is on and was tried",
        box["on"] and box["no_new_privileges"] and box["tried"] == box["refused"] > 0,
        box,
    )
    check(
        "the digest becomes known",
        any(json.loads(s.admin("/status"))["models"][0]["digest"] or time.sleep(0.2) for _ in range(25)),
    )
    mode = os.stat(os.path.join(s.home, "state", "admin.sock")).st_mode & 0o777
    check("the admin socket is its owner's alone", mode == 0o600, oct(mode))
    check("metrics on the admin socket", "freehold_connections " in s.admin("/metrics"))
    check("metrics are not public", s.ask("/metrics")[0] == 401)
    with open(f"/proc/{s.p.pid}/status") as f:
        text = f.read()
    check("seccomp and no_new_privs hold for the process", "NoNewPrivs:\t1" in text and "Seccomp:\t2" in text)
    listens = subprocess.run(["ss", "-ltnp"], capture_output=True, text=True).stdout if shutil.which("ss") else ""
    mine = [x for x in listens.split("\n") if f"pid={s.p.pid}," in x]
    check("one port, on loopback", not listens or (len(mine) == 1 and f"127.0.0.1:{s.port}" in mine[0]), mine)
    t = time.time()
    check("SIGTERM ends it with 0", s.stop() == 0, s.log())
    check("at once when idle", time.time() - t < 3)
    check("its socket is gone", not os.path.exists(os.path.join(s.home, "state", "admin.sock")))
    s.clean()


def keys():
    s = Server()
    canary = "CANARYPROMPT-7391"
    rc, key, err = s.run("key", "create", "bob", "--requests-per-minute", "1000")
    key = key.strip()
    check("key create prints the key alone", rc == 0 and re.fullmatch(r"fh-[0-9a-f]{8}-[\w.]{43}", key), key + err)
    time.sleep(1.2)
    check("a running server asks for it", s.ask("/status")[0] == 401)
    good = {"Authorization": f"Bearer {key}"}
    check("and takes it", s.ask("/status", headers=good)[0] == 403)
    s.ask(f"/v1/{canary}", data=json.dumps({"messages": [{"content": canary}]}).encode(), headers=good)
    rc, out, _ = s.run("key", "list", "--json")
    one = json.loads(out)[0]
    check("key list", rc == 0 and one["name"] == "bob" and "key" not in one and one["requests_per_minute"] == 1000, out)
    rc, out, err = s.run("key", "limit", "bob", "--concurrent", "2", "--expires", "1h", "--budget", "500/day")
    check("key limit", rc == 0 and "2 at once" in out and "500 tok/day" in out, out + err)
    check("a wrong word is refused", s.run("key", "limit", "bob", "--budget", "5/year")[0] == 2)
    check("nobody unknown", s.run("key", "revoke", "alice")[0] == 1)
    check("key revoke", s.run("key", "revoke", "bob")[0] == 0)
    time.sleep(1.2)
    check("a revoked key no longer works", s.ask("/status", headers=good)[0] == 401)
    s.stop()
    rc, out, _ = s.run("key", "log")
    check("the audit log holds together", rc == 0 and "each following" in out, out)
    secret = key.split("-")[2]
    for path in pathlib.Path(s.home).rglob("*"):
        if path.is_file():
            text = path.read_bytes()
            check(f"no key in {path.name}", secret.encode() not in text)
            check(f"no prompt in {path.name}", b'"content"' not in text)
    log = pathlib.Path(s.home, "state", "audit.log")
    text = log.read_text().replace('"bob"', '"bab"', 1)
    log.write_text(text)
    rc, out, _ = s.run("key", "log")
    check("a changed line is seen", rc == 1 and "was changed" in out, out)
    s.clean()


def settings():
    home = tempfile.mkdtemp(prefix="fh-serve-")
    pathlib.Path(home, "config").write_text("# ours\nlog = debug\nallow_host = first.lan\nalias = tiny=freehold\n")
    s = Server(home=home)
    check("the file is read", s.ask("/health", headers={"Host": "first.lan"})[0] == 200)
    check("other names are refused", s.ask("/health", headers={"Host": "second.lan"})[0] == 403)
    pathlib.Path(home, "config").write_text("allow_host = second.lan\nport = 1\nalias = tiny=freehold\n")
    s.p.send_signal(signal.SIGHUP)
    check(
        "SIGHUP takes over what is hot",
        any(s.ask("/health", headers={"Host": "second.lan"})[0] == 200 or time.sleep(0.1) for _ in range(50)),
    )
    check("what is not is left", s.ask("/health", headers={"Host": "first.lan"})[0] == 403)
    pathlib.Path(home, "config").write_text("nonsense = 1\n")
    s.admin("/admin/reload", "POST")
    time.sleep(0.5)
    check(
        "a broken file changes nothing and is reported",
        s.ask("/health", headers={"Host": "second.lan"})[0] == 200 and "there is no setting" in s.log(),
        s.log(),
    )
    s.clean()
    for args, says, rc in (
        (("--no-such",), "--no-such", 2),
        (("--port", "99999999999999999999"), "whole number", 2),
        (("--port", "70000"), "65535", 2),
        (("/nonexistent.gguf",), "no file or folder", 1),
        (("--host", "0.0.0.0"), "freehold key create", 1),
        (("--host", "example.com"), "IP address", 2),
        (("--config", "/nonexistent"), "/nonexistent", 1),
        (("--compat", "x"), "ollama", 2),
    ):
        s = Server(*args, ready=False)
        got = s.p.wait(20)
        check(f"{' '.join(args)} is refused", got == rc and says in s.log(), f"{got} {s.log()}")
        s.clean()
    p = subprocess.run([BIN, "serve", "--help"], capture_output=True, text=True)
    table = pathlib.Path(__file__).resolve().parents[2] / "src/serve/config.def"
    for key in re.findall(r"^FH_CONFIG_ROW\((\w+)", table.read_text(), re.M):
        check(f"--help names {key}", re.search(rf"--{key.replace('_', '-')}[ \[]", p.stdout))


def tls():
    global skipped
    if not shutil.which("openssl"):
        skipped += 1
        print("skip tls: no openssl to make a certificate with")
        return
    home = tempfile.mkdtemp(prefix="fh-serve-")
    key, crt = os.path.join(home, "k.pem"), os.path.join(home, "c.pem")
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            key,
            "-out",
            crt,
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1,DNS:localhost",
        ],
        capture_output=True,
        check=True,
    )
    s = Server("--tls-key", key, "--tls-certificate", crt, home=home)
    context = ssl.create_default_context(cafile=crt)
    check("https answers, and its certificate is checked", s.ask("/health", context=context)[0] == 200, s.log())
    body = os.urandom(3 << 20)
    check("a large body over TLS", s.ask("/v1/none", data=body, context=context)[0] in (404, 405))
    old = ssl.create_default_context(cafile=crt)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        s.ask("/health", context=old)
        check("TLS 1.2 is refused", False)
    except (urllib.error.URLError, OSError):
        check("TLS 1.2 is refused", True)
    check("plain text on the TLS port gets nothing", plain_gets_nothing(s.port))
    check("still alive", s.ask("/health", context=context)[0] == 200)
    s.clean()


def plain_gets_nothing(port):
    with socket.create_connection(("127.0.0.1", port)) as c:
        c.settimeout(5)
        c.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            return b"200 OK" not in c.recv(4096)
        except OSError:
            return True


def ends():
    s = Server("--drain", "20s")
    with socket.create_connection(("127.0.0.1", s.port)) as c:
        c.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{")
        time.sleep(0.3)  # a request under way: its body is not whole
        s.p.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        check("it waits for requests under way", s.p.poll() is None)
        try:
            socket.create_connection(("127.0.0.1", s.port), timeout=1).close()
            check("and takes no new connections", False)
        except OSError:
            check("and takes no new connections", True)
        t = time.time()
        s.p.send_signal(signal.SIGTERM)
        check("a second signal ends it now", s.p.wait(5) == 130 and time.time() - t < 2)
    s.clean()
    s = Server("--drain", "1s")
    with socket.create_connection(("127.0.0.1", s.port)) as c:
        c.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{")
        time.sleep(0.3)
        t = time.time()
        check("the drain has an end", s.stop() == 0 and 0.9 < time.time() - t < 5)
    s.clean()


def half_open(n):
    """n connections that never finish their head; /health must stay quick."""
    import resource

    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most < n + 200:
        return None
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    s = Server("--log", "warn")
    crowd = []
    for i in range(n):
        c = socket.create_connection(("127.0.0.1", s.port))
        c.sendall(b"GET /x HTTP/1.1\r\nHost: local")
        crowd.append(c)
    times = []
    for _ in range(200):
        t = time.time()
        status, _ = s.ask("/health")
        times.append(time.time() - t)
        check("health answers in the crowd", status == 200)
    times.sort()
    for c in crowd:
        c.close()
    s.clean()
    return times[int(len(times) * 0.99) - 1] * 1000


def kept_prompts():
    """Computed prompts outlive the server where that is asked for, for their tenant only, and damage is no harm."""
    home = tempfile.mkdtemp(prefix="fh-serve-")
    text = " ".join(f"word {i}" for i in range(60))

    def ask(s, key=None):
        body = json.dumps({"model": "freehold", "prompt": text, "max_tokens": 4, "temperature": 0}).encode()
        head = {"Content-Type": "application/json", **({"Authorization": "Bearer " + key} if key else {})}
        r = json.loads(s.ask("/v1/completions", body, head)[1])
        return r["usage"]["prompt_tokens_details"]["cached_tokens"], r["choices"][0]["text"]

    folder = pathlib.Path(home) / "state" / "prompts"
    s = Server("--deterministic", home=home)
    fresh = ask(s)
    s.stop()
    check("prompts: none kept unless asked", fresh[0] == 0 and not folder.exists())
    s = Server("--prompt-cache", "16M", "--deterministic", home=home)
    check("prompts: a first start knows none", ask(s) == fresh)
    again = ask(s)
    s.stop()
    files = list(folder.glob("*.kv"))
    check("prompts: one file, its owner's alone", len(files) == 1 and files[0].stat().st_mode & 0o77 == 0, files)
    s = Server("--prompt-cache", "16M", "--deterministic", home=home)
    check("prompts: the next server has them", ask(s) == again and again[0] > 100, again)
    s.stop()
    data = bytearray(files[0].read_bytes())
    data[len(data) // 2] ^= 1
    files[0].write_bytes(data)
    s = Server("--prompt-cache", "16M", "--deterministic", home=home)
    check("prompts: a damaged file is refused, aloud", ask(s) == fresh and "prompts.refused" in s.log(), s.log())
    s.stop()
    check("prompts: and written anew", files[0].read_bytes() != data)
    files[0].unlink()
    s = Server("--prompt-cache", "16M", "--deterministic", home=home)
    ask(s)
    written = any(files[0].exists() or time.sleep(0.1) for _ in range(150))
    s.stop(signal.SIGKILL)
    check("prompts: written when nothing is asked", written, s.log())
    s = Server("--prompt-cache", "16M", "--deterministic", home=home)
    check("prompts: a server that was killed leaves them to the next", ask(s) == again, again)
    s.stop()
    s = Server("--prompt-cache", "16M", "--deterministic", home=home)
    key = json.loads(s.run("key", "create", "other", "--json")[1])["key"]
    known = any(s.ask("/v1/models")[0] == 401 or time.sleep(0.1) for _ in range(50))  # until the server has read it
    check("prompts: a key is asked for", known)
    other = ask(s, key)
    check("prompts: another tenant has not", other == fresh, (other, fresh))
    s.run("key", "revoke", "other")
    s.stop()
    s = Server("--prompt-cache", "20K", "--deterministic", home=home)
    ask(s)
    s.stop()
    size = sum(f.stat().st_size for f in folder.glob("*"))
    check("prompts: within the ceiling", size <= 20 << 10, size)
    s.clean()


def folders():
    """FREEHOLD_HOME over all, then XDG's variables if they are absolute, then HOME."""
    with tempfile.TemporaryDirectory() as t:
        t = pathlib.Path(t)

        def keys_of(**env):
            kept = {k: v for k, v in os.environ.items() if k not in ("FREEHOLD_HOME", "HOME") and k[:4] != "XDG_"}
            before = set(t.rglob("*"))
            p = subprocess.run([BIN, "key", "create", "a"], capture_output=True, text=True, env={**kept, **env}, cwd=t)
            new = sorted(str(f.relative_to(t)) for f in set(t.rglob("*")) - before if f.is_file())
            broken = subprocess.run([BIN, "serve"], capture_output=True, text=True, env={**kept, **env}, cwd=t)
            return p.returncode, sorted({os.path.dirname(f) for f in new}), broken.stderr

        home, state, config, own = (str(t / x) for x in ("home", "state", "config", "own"))
        for folder in (home + "/.config/freehold", config + "/freehold", own):
            os.makedirs(folder)
            pathlib.Path(folder, "config").write_text(f"{folder.replace(str(t), 'in')} = 1\n")
        rc, where, said = keys_of(HOME=home)
        check("folders: HOME", where == ["home/.local/state/freehold"] and "in/home/.config" in said, (where, said))
        rc, where, said = keys_of(HOME=home, XDG_STATE_HOME="relative", XDG_CONFIG_HOME="./too")
        check(
            "folders: relative ones count as none", rc == 0 and not where and "in/home/.config" in said, (where, said)
        )
        rc, where, said = keys_of(HOME=home, XDG_STATE_HOME=state, XDG_CONFIG_HOME=config)
        check("folders: XDG", where == ["state/freehold"] and "in/config/freehold" in said, (where, said))
        rc, where, said = keys_of(HOME=home, XDG_STATE_HOME=state, XDG_CONFIG_HOME=config, FREEHOLD_HOME=own)
        check("folders: FREEHOLD_HOME", where == ["own/state"] and "in/own" in said, (where, said))
        rc, where, said = keys_of()
        check("folders: none at all", rc != 0 and not where and "FREEHOLD_HOME" in said, (where, said))


def main():
    first_steps()
    folders()
    keys()
    settings()
    tls()
    ends()
    kept_prompts()
    p99 = half_open(1000)
    check("p99 of /health beside 1,000 half-open connections is under 50 ms", p99 is not None and p99 < 50, p99)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
