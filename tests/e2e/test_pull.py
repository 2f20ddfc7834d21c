#!/usr/bin/env python3
"""tests/e2e/test_pull.py BINARY [DATA] [--kills N] - pull and the library: listings, faults, hostile servers, kills.

The hub is hub_double.py, which test_pull_peers.py proves against the real huggingface_hub; where Debian's
docker-registry is installed it serves the same image, else that case is skipped and counted. After every fault and
every kill: the digests are right, and nothing half-written has a final name.

Closing line: N passed, N failed, N skipped.
"""

import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request

from hub_double import COMMIT, Hub

argv = sys.argv[1:]
KILLS = int(argv.pop(argv.index("--kills") + 1)) if "--kills" in argv else 10
argv = [a for a in argv if a != "--kills"]
BIN = str(pathlib.Path(argv[0]).resolve())
DATA = pathlib.Path(argv[1] if len(argv) > 1 else "tests/golden").resolve()
LLAMA = DATA / "models/llama-sharded"
passed = failed = skipped = 0
rng = random.Random(20261121)


def check(name, ok, text=""):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print(f"FAIL {name}: {text!r:.900}")


def sha(data):
    return hashlib.sha256(data).hexdigest()


class Machine:
    """A user's home of its own, and the commands typed there."""

    def __init__(self, hub=None, **env):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="freehold-pull-"))
        keep = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("HF_", "HUGGING", "OLLAMA", "XDG", "FREEHOLD")) and not k.lower().endswith("_proxy")
        }
        self.env = dict(keep, HOME=str(self.home), **env)
        if hub:
            self.env["HF_ENDPOINT"] = hub.url
        self.library = self.home / ".local/share/freehold/library"

    def run(self, *args, timeout=120, **env):
        p = subprocess.run([BIN, *map(str, args)], capture_output=True, timeout=timeout, env=dict(self.env, **env))
        return p.returncode, p.stdout.decode(), p.stderr.decode(errors="replace")

    def json(self, *args, **env):
        rc, out, err = self.run(*args, "--json", **env)
        return json.loads(out) if rc == 0 else {"rc": rc, "err": err}

    def start(self, *args):
        return subprocess.Popen(
            [BIN, *map(str, args)], env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def blobs_are_whole(self):
        folder = self.library / "blobs"
        return not folder.exists() or all(b.name == "sha256-" + sha(b.read_bytes()) for b in folder.iterdir())

    def partials(self):
        folder = self.library / "partial"
        return sorted(p.name for p in folder.iterdir()) if folder.exists() else []

    def remove(self):
        shutil.rmtree(self.home, ignore_errors=True)


def same_files(folder, files):
    folder = pathlib.Path(folder)
    return all((folder / p).read_bytes() == data for p, data in files.items())


def llama_files():
    return {p.name: p.read_bytes() for p in LLAMA.iterdir() if p.suffix in (".json", ".safetensors")}


# ---- what is taken, and what is said ----


def choosing(hub):
    m = Machine(hub)
    wanted = dict(llama_files(), LICENSE=b"Apache License", **{"1_Pooling/config.json": b"{}", "vocab.txt": b"a\n"})
    hub.add_repo(
        "org/llama",
        dict(
            wanted,
            **{
                "pytorch_model.bin": b"\x80\x04",
                "consolidated.safetensors": b"x" * 100,
                "onnx/model.onnx": b"y",
                "original/params.json": b"{}",
            },
        ),
    )
    r = m.json("pull", "org/llama")
    check(
        "a repository of safetensors",
        r.get("revision") == COMMIT
        and {f["path"] for f in r["files"]} == set(wanted)
        and same_files(r["folder"], wanted),
        r,
    )
    everything = m.json("pull", "hf.co/org/llama", "--all", "--dry-run")
    paths = {f["path"] for f in everything.get("files", [])}
    check("--all takes all but pickle", "onnx/model.onnx" in paths and "pytorch_model.bin" not in paths, everything)
    again = m.json("pull", "https://huggingface.co/org/llama/tree/main")
    check("a second pull fetches nothing", again.get("bytes_fetched") == 0 and again["bytes_here"] == r["bytes"], again)
    at = m.json("pull", f"org/llama@{COMMIT}")
    check("a revision has a name of its own", at.get("name") == f"org/llama@{COMMIT}" and at["id"] == r["id"], at)
    rc, out, err = m.run("verify", "org/llama")
    check("verify by name", rc == 0 and out.count("checksum    ok") == 2, (out, err))
    rc, out, err = m.run("run", "org/llama", "--tokens", "1 2 3", "--ids", "-n", "4", "--temp", "0")
    rc2, out2, _ = m.run("run", LLAMA, "--tokens", "1 2 3", "--ids", "-n", "4", "--temp", "0")
    check("run by name", rc == 0 and out == out2 and out.strip(), (out, err))
    quants = {f"{q}/big-{q}-0000{i}-of-00002.gguf": f"{q}{i}".encode() * 50 for q in ("Q8_0", "Q4_K_M") for i in (1, 2)}
    hub.add_repo("org/gguf", dict(quants, **{"one-Q4_K.gguf": b"k", "mmproj-f16.gguf": b"m", "README.md": b"# card"}))
    for typed, want in (
        ("org/gguf", {"Q4_K_M/big-Q4_K_M-00001-of-00002.gguf", "Q4_K_M/big-Q4_K_M-00002-of-00002.gguf"}),
        ("hf.co/org/gguf:q8_0", {"Q8_0/big-Q8_0-00001-of-00002.gguf", "Q8_0/big-Q8_0-00002-of-00002.gguf"}),
        ("org/gguf:Q4_K@main", {"one-Q4_K.gguf"}),
        ("org/gguf:one-Q4_K.gguf", {"one-Q4_K.gguf"}),
    ):
        r = m.json("pull", typed)
        check(f"chosen: {typed}", {f["path"] for f in r.get("files", [])} == want | {"README.md"}, r)
    rc, _, err = m.run("pull", "org/gguf:IQ1_S")
    check("a quantization that is not there", rc == 1 and "IQ1_S" in err and "one-Q4_K.gguf" in err, err)
    hub.add_repo("org/pickle", {"pytorch_model.bin": b"\x80\x04", "config.json": b"{}"})
    rc, _, err = m.run("pull", "org/pickle")
    check(
        "pickle is never fetched",
        rc == 1
        and "pickle" in err
        and "never fetched" in err
        and not any("pytorch_model.bin" in q[2] for q in hub.requests),
        err,
    )
    rc, _, err = m.run("pull", "org/nothing-here")
    check("what does not exist", rc == 1 and "org/nothing-here" in err, err)
    for bad in ("", "../x", "a b", "org/../x", "-x/y", "org/llama/sub/dir", "llama3:a:b", "x@sha256:12"):
        rc, _, err = m.run("pull", "--", bad)
        check(f"no name: {bad!r}", rc == 2, (rc, err))
    big = hub.repos["org/llama"]["files"]
    hub.tree_extra = [
        {
            "type": "file",
            "path": "huge.safetensors",
            "oid": "0" * 40,
            "size": 1 << 50,
            "lfs": {"oid": "a" * 64, "size": 1 << 50},
        }
    ]
    rc, _, err = m.run("pull", "org/llama")
    hub.tree_extra = []
    check("space is looked at first", rc == 1 and "MB are needed" in err and len(big) > 3, err)
    check("blobs are whole", m.blobs_are_whole() and not m.partials())
    m.remove()


def tokens(hub):
    hub.add_repo("org/gated", {"config.json": b"{}", "model.safetensors": rng.randbytes(100000)})
    hub.private, hub.token = {"org/gated"}, "hf_secret_of_this_test"
    m = Machine(hub)
    rc, _, err = m.run("pull", "org/gated")
    check("gated without a token", rc == 1 and "HF_TOKEN" in err, err)
    places = [{"HF_TOKEN": hub.token}, {"HUGGING_FACE_HUB_TOKEN": hub.token}, {}]
    for env in places:
        m = Machine(hub)
        if not env:
            (m.home / ".cache/huggingface").mkdir(parents=True)
            (m.home / ".cache/huggingface/token").write_text(hub.token + "\n")
        hub.requests.clear()
        rc, out, err = m.run("pull", "org/gated", "--verbose", **env)
        sent = [q for q in hub.requests if "Authorization" in q[3]]
        foreign = [q for q in hub.requests if q[0] == "cdn"]
        check(f"token from {list(env) or 'the file'}", rc == 0 and sent and foreign, err)
        check("a token never goes to the CDN", not any("Authorization" in q[3] for q in foreign))
        check("a token is never printed", hub.token not in out + err)
        urls = [q[2] for q in hub.requests]
        check("--verbose prints every URL", all(u in err for u in urls), (urls, err))
        m.remove()
    hub.private, hub.token = set(), None


# ---- faults ----


def big_repo(hub, name="org/big", mib=6):
    files = {"model.safetensors": rng.randbytes(mib << 20), "config.json": b"{}", "tokenizer.json": rng.randbytes(9000)}
    hub.add_repo(name, files)
    return files


def faults(hub):
    files = big_repo(hub)
    digest = sha(files["model.safetensors"])
    seen = {}

    def first_times(n, act, only=lambda path, at: True):
        def fault(path, at, number):
            key = (path, at >> 21)
            seen[key] = seen.get(key, 0) + 1
            return act(seen[key]) if seen[key] <= n and only(path, at) else None

        return fault

    cases = {
        "503 twice everywhere": first_times(2, lambda k: ("status", 503, {})),
        "429 with Retry-After": first_times(
            1, lambda k: ("status", 429, {"Retry-After": "1"}), lambda path, at: at == 0
        ),
        "cut after some bytes, three times": first_times(3, lambda k: ("cut", 70000 * k)),
        "cut at the head": first_times(2, lambda k: ("cut", 0)),
        "no ranges": lambda path, at, number: ("no-ranges",) if path == digest else None,
        "ranges refused half way": lambda path, at, number: (
            ("no-ranges",) if path == digest and number % 3 == 0 else None
        ),
        "wrong bytes once": first_times(1, lambda k: ("wrong",), lambda path, at: path == digest and at > 0),
    }
    for name, fault in cases.items():
        m = Machine(hub)
        seen.clear()
        hub.fault = fault
        start = time.monotonic()
        r = m.json("pull", "org/big", "--connections", "6")
        hub.fault = None
        check(name, r.get("bytes_fetched") == sum(map(len, files.values())) and same_files(r["folder"], files), r)
        check(f"{name}: nothing left over", m.blobs_are_whole() and not m.partials(), m.partials())
        if "429" in name:
            check("Retry-After is kept", time.monotonic() - start >= 1)
        m.remove()
    m = Machine(hub)
    hub.lie[digest] = files["model.safetensors"][:-1] + b"?"
    rc, _, err = m.run("pull", "org/big")
    check("wrong bytes for good", rc == 1 and "nothing of it was kept" in err and digest[:20] in err, err)
    hub.lie.clear()
    rc, out, err = m.run("list")
    check(
        "nothing got a name",
        "org/big" not in out and m.blobs_are_whole() and not any(digest in p for p in m.partials()),
        (out, m.partials()),
    )
    hub.fault = lambda path, at, number: ("status", 500, {}) if path == digest else None
    rc, _, err = m.run("pull", "org/big", "--retries", "2")
    check("a server that stays broken", rc == 1 and "500" in err, err)
    hub.fault = None
    port = free_port()
    rc, _, err = m.run("pull", "org/big", HF_ENDPOINT=f"http://127.0.0.1:{port}")
    check("no server", rc == 1 and "cannot fetch" in err, err)
    rc, _, err = m.run("pull", "org/big", HF_ENDPOINT="http://192.0.2.1", HF_TOKEN="t", timeout=60)
    check("a token is not sent in the clear", rc == 1 and "unencrypted" in err, err)
    # through a proxy, which is the hub itself here: it sees absolute URLs
    hub.requests.clear()
    rc, _, err = m.run("pull", "org/big", "--retries", "1", HF_ENDPOINT="http://hub.example", http_proxy=hub.url)
    check("a proxy is used", any(q[2].startswith("http://hub.example/") for q in hub.requests), err)
    m.remove()


def changed_links(hub):
    """Signed links expire in the middle; the next piece asks for a new one."""
    files = big_repo(hub, "org/links", 20)
    count = [0]

    def fault(path, at, number):
        count[0] += len(path) == 64
        if count[0] in (5, 9):
            hub.epoch += 1
            return ("status", 403, {})
        return None

    hub.fault = fault
    m = Machine(hub)
    r = m.json("pull", "org/links")
    hub.fault = None
    check("changed links", r.get("id") and same_files(r["folder"], files) and hub.epoch >= 2, r)
    m.remove()


def mending(hub):
    m = Machine(hub)
    files = big_repo(hub, "org/mend", 2)
    r = m.json("pull", "org/mend")
    blob = pathlib.Path(r["folder"], "model.safetensors").resolve()
    data = bytearray(blob.read_bytes())
    data[1000] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(data)
    again = m.json("pull", "org/mend")
    check(
        "a flipped bit is found and mended",
        again.get("damaged") == 1 and same_files(again["folder"], files) and m.blobs_are_whole(),
        again,
    )
    m.remove()


# ---- hostile servers ----


def hostile(hub):
    m = Machine(hub)
    hub.add_repo("org/evil", {"config.json": b"{}", "model.safetensors": b"x" * 1000})
    good = {"type": "file", "oid": "0" * 40, "size": 5}
    evil = [
        "../../escape.json",
        "/etc/cron.d/x.json",
        "a/../../b.json",
        "a//b.json",
        "./x.json",
        "x\n.json",
        "a\\b.json",
        "x" * 600 + ".json",
        "a/" * 20 + "x.json",
        "\x1b[2J.json",
        ".",
        "..",
        "",
    ]
    for path in evil:
        hub.tree_extra = [dict(good, path=path)]
        rc, _, err = m.run("pull", "org/evil")
        check(f"hostile path {path[:20]!r}", rc == 1 and "\x1b" not in err, err)
    for extra, name in (
        ([dict(good, path="b.json", oid="zz")], "no digest"),
        ([dict(good, path="b.json", size=-1)], "size -1"),
        ([dict(good, path="b.json", size=1 << 63)], "size 2^63"),
        ([dict(good, path="config.json")], "twice"),
        ([dict(good, path="b.json", lfs={"oid": "../x", "size": 1})], "digest that is a path"),
        ([dict(good, path="1_P.json"), dict(good, path="1_P.json/x.json")], "a file in a file"),
        ([dict(good, path=f"f{i}.json") for i in range(10050)], "too many files"),
    ):
        hub.tree_extra = extra
        rc, _, err = m.run("pull", "org/evil", "--retries", "1")
        check(f"hostile listing: {name}", rc == 1 and err, (rc, err))
    hub.tree_extra = []
    page, hub.page = hub.page, 1
    check("pages of one", m.json("pull", "org/evil").get("id"))
    hub.page = page
    m2 = Machine(hub)
    escaped = [p for p in (m.home.parent / "escape.json", m.home / "escape.json") if p.exists()]
    check("nothing outside, nothing with a name", not escaped and m2.blobs_are_whole())
    layer = ("application/vnd.ollama.image.model", b"GGUF" + b"x" * 200, None)
    hub.add_image("lib/evil", "a", [layer, ("application/octet-stream", b"y", "../../escape")])
    hub.add_image(
        "lib/evil", "b", [layer, ("application/octet-stream", b"y", "t"), ("application/octet-stream", b"z", "t")]
    )
    hub.add_image("lib/evil", "c", [("application/octet-stream", b"z", "pytorch_model.bin")])
    for tag, word in (("a", "no path"), ("b", "two layers"), ("c", "pickle")):
        rc, _, err = m.run("pull", f"{hub.url[7:]}/lib/evil:{tag}")
        check(f"hostile image {tag}", rc == 1 and word in err, err)
    m.remove()
    m2.remove()


# ---- registries ----


def ollama_layers():
    model = LLAMA.parent.parent / "gguf"
    files = sorted(model.rglob("*.gguf"))
    data = files[0].read_bytes() if files else b"GGUF"
    return [
        ("application/vnd.ollama.image.model", data, None),
        ("application/vnd.ollama.image.template", b"{{ .Prompt }}", None),
        ("application/vnd.ollama.image.license", b"MIT License", None),
        ("application/vnd.ollama.image.params", b'{"stop":["x"]}', None),
    ]


def registries(hub):
    layers = ollama_layers()
    digest = hub.add_image("library/tiny", "1b", layers)
    want = {"model.gguf": layers[0][1], "template": layers[1][1], "LICENSE": layers[2][1], "params": layers[3][1]}
    m = Machine(hub)
    r = m.json("pull", "tiny:1b", "--endpoint", hub.url)
    check(
        "Ollama's layout", r.get("name") == "tiny:1b" and r["revision"] == digest and same_files(r["folder"], want), r
    )
    shown = m.json("show", "tiny:1b")
    check("shown with its licence", shown.get("found_in") == "library", shown)
    host = hub.url[7:]
    hub.add_image("team/model", "latest", [("application/octet-stream", layers[0][1], "tiny.gguf")])
    hub.token = "registry-token"
    hub.requests.clear()
    r = m.json("pull", f"{host}/team/model")
    check(
        "any registry, with a token for anybody",
        r.get("name") == f"{host}/team/model:latest" and same_files(r["folder"], {"tiny.gguf": layers[0][1]}),
        r,
    )
    check("its token stays with it", not any("Authorization" in q[3] for q in hub.requests if q[0] == "cdn"))
    hub.token = None
    check(
        "one blob for both",
        len([b for b in (m.library / "blobs").iterdir() if b.stat().st_size == len(layers[0][1])]) == 1,
    )
    r = m.json("pull", f"{host}/library/tiny@{digest}")
    check("by digest", r.get("revision") == digest, r)
    hub.registry[("library/tiny", digest)] += b" "
    rc, _, err = m.run("pull", f"{host}/library/tiny@{digest}")
    check("a manifest with another digest", rc == 1 and "not the one with digest" in err, err)
    rc, _, err = m.run("pull", "tiny:7b", "--endpoint", hub.url)
    check("a tag that is not there", rc == 1 and "tiny:7b" in err, err)
    m.remove()
    docker_registry(layers, want)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def put(url, data, kind, method):
    req = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": kind})
    return urllib.request.urlopen(req, timeout=30)


def docker_registry(layers, want):
    global skipped
    exe = shutil.which("docker-registry")
    if not exe:
        skipped += 1
        print("SKIP docker-registry is not installed (apt-get install docker-registry)")
        return
    m = Machine()
    port = free_port()
    config = m.home / "registry.yml"
    config.write_text(
        f"version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {m.home}/registry\n"
        f"http:\n  addr: 127.0.0.1:{port}\n"
    )
    server = subprocess.Popen([exe, "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        base = f"http://127.0.0.1:{port}"
        for _ in range(100):
            try:
                urllib.request.urlopen(base + "/v2/", timeout=1)
                break
            except OSError:
                time.sleep(0.1)
        out = []
        for kind, data, _ in layers + [("application/vnd.docker.container.image.v1+json", b"{}", None)]:
            r = put(f"{base}/v2/library/tiny/blobs/uploads/", b"", "application/octet-stream", "POST")
            put(r.headers["Location"] + f"&digest=sha256:{sha(data)}", data, "application/octet-stream", "PUT")
            out.append({"mediaType": kind, "digest": "sha256:" + sha(data), "size": len(data)})
        kind = "application/vnd.docker.distribution.manifest.v2+json"
        manifest = {"schemaVersion": 2, "mediaType": kind, "config": out.pop(), "layers": out}
        put(f"{base}/v2/library/tiny/manifests/1b", json.dumps(manifest).encode(), kind, "PUT")
        r = m.json("pull", f"127.0.0.1:{port}/library/tiny:1b")
        check("docker-registry, an Ollama-style model", "folder" in r and same_files(r["folder"], want), r)
        rc, _, err = m.run("pull", f"127.0.0.1:{port}/library/tiny:none")
        check("docker-registry, no such tag", rc == 1 and "there is no" in err, err)
    finally:
        server.terminate()
        server.wait()
        m.remove()


# ---- kills ----


def kills(hub, n):
    """At random moments, with random faults; the library keeps its parts between them and ends right."""
    files = big_repo(hub, "org/kill", 16)
    hub.speed = 24 << 20
    m = Machine(hub)
    bad, rounds, finished, first_bytes = 0, 0, 0, []

    def fault(path, at, number):
        dice = rng.random()
        if dice < 0.05:
            return ("status", 503, {})
        return ("cut", rng.randrange(1 << 20)) if dice < 0.12 else None

    hub.fault = fault
    while rounds < n:
        p = m.start("pull", "org/kill")
        try:
            p.wait(timeout=rng.uniform(0.005, 0.45))
        except subprocess.TimeoutExpired:
            rounds += 1
            p.send_signal(signal.SIGKILL)
            p.wait()
        bad += not m.blobs_are_whole()
        rc, out, err = m.run("list")
        named = "org/kill" in out
        bad += rc != 0
        if named:
            finished += 1
            bad += not same_files(m.json("pull", "org/kill")["folder"], files)
            shutil.rmtree(m.library)
    hub.fault = hub.speed = None
    r = m.json("pull", "org/kill")
    check(f"{rounds} kills, {finished} finished between them", bad == 0 and same_files(r["folder"], files), (bad, r))
    check("nothing half-written under a final name", m.blobs_are_whole() and not m.partials(), m.partials())
    m.remove()


def resumes(hub):
    """What had come before a kill is not fetched again."""
    files = big_repo(hub, "org/resume", 16)
    m = Machine(hub)
    hub.speed = 3 << 19
    p = m.start("pull", "org/resume", "--connections", "2")
    time.sleep(3.6)
    p.kill()
    p.wait()
    hub.speed = None
    hub.requests.clear()
    journal = [x for x in m.partials() if x.endswith(".journal")]
    noted = (m.library / "partial" / journal[0]).read_bytes()[24:].count(1) if journal else 0
    r = m.json("pull", "org/resume")
    ranges = [q for q in hub.requests if q[0] == "cdn"]
    check(
        "a resumed pull fetches only what is missing",
        noted > 3 and len(ranges) == 16 - noted and same_files(r["folder"], files),
        (noted, len(ranges), r),
    )
    m.remove()


def one_at_a_time(hub):
    big_repo(hub, "org/both", 8)
    hub.speed = 2 << 20
    m = Machine(hub)
    p = m.start("pull", "org/both")
    time.sleep(0.8)
    rc, _, err = m.run("pull", "org/both")
    check("two pulls of one file", rc == 1 and "another freehold" in err, err)
    rc, _, err = m.run("gc")
    check("gc waits its turn", rc == 1 and "another freehold" in err, err)
    hub.speed = None
    check("the first one finishes", p.wait(timeout=60) == 0)
    m.remove()


# ---- the library ----


def library(hub):
    files = big_repo(hub, "org/lib", 1)
    m = Machine(hub)
    rc, out, err = m.run("list")
    check("an empty list", rc == 0 and out == "" and "no models here" in err and not m.library.exists(), (out, err))
    a = m.json("pull", "org/lib")
    m.run("cp", "org/lib", "mine")
    names = {x["name"]: x for x in m.json("list")["models"]}
    check("cp shares the blobs", set(names) == {"org/lib", "mine:latest"} or set(names) == {"org/lib", "mine"}, names)
    check("equal ids", len({x["id"] for x in names.values()}) == 1)
    rc, _, err = m.run("rm", "org/lib", "nothing")
    check("rm is all or nothing", rc == 1 and len(m.json("list")["models"]) == 2, err)
    rc, out, err = m.run("rm", "org/lib")
    check("rm of one name keeps the bytes", rc == 0 and same_files(a["folder"], files), (out, err))
    rc, out, err = m.run("rm", "mine")
    check(
        "rm of the last gives them back",
        rc == 0 and not list((m.library / "blobs").iterdir()) and not list((m.library / "models").iterdir()),
        out,
    )
    hub.speed = 1 << 20
    p = m.start("pull", "org/lib")
    time.sleep(0.5)
    p.kill()
    p.wait()
    hub.speed = None
    check("gc --dry-run only counts", m.json("gc", "--dry-run").get("partial", 0) >= 1 and m.partials())
    check("gc takes what was given up", m.json("gc").get("partial", 0) >= 1 and not m.partials())
    for bad in ("-x", "../x", "a b", "x\ty", "a/../b", ""):
        m.json("pull", "org/lib")
        rc, _, err = m.run("cp", "--", "org/lib", bad)
        check(f"no name for a copy: {bad!r}", rc == 2, err)
    (m.library / "library.db").write_bytes(b"not a database at all, really not" * 100)
    rc, _, err = m.run("list")
    check("a broken table is said", rc == 1 and "table of names" in err, err)
    m.remove()


def in_place(hub):
    """Other programs' stores: listed with who keeps them, found by the names listed, never changed."""
    m = Machine(hub)
    model = ollama_layers()[0][1]
    ollama, cache, lm = m.home / ".ollama/models", m.home / ".cache/huggingface/hub", m.home / ".lmstudio/models"
    (ollama / "blobs").mkdir(parents=True)
    (ollama / "blobs" / f"sha256-{sha(model)}").write_bytes(model)
    manifest = {
        "schemaVersion": 2,
        "layers": [
            {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:" + sha(model), "size": len(model)}
        ],
    }
    for name in (
        "registry.ollama.ai/library/tiny/1b",
        "registry.ollama.ai/me/tiny/latest",
        "hf.co/org/tiny-GGUF/Q4_K_M",
    ):
        (ollama / "manifests" / name).parent.mkdir(parents=True)
        (ollama / "manifests" / name).write_text(json.dumps(manifest))
    broken = ollama / "manifests/registry.ollama.ai/library/broken"
    broken.mkdir()
    (broken / "latest").write_text("{")
    entry = cache / "models--org--cached"
    snapshot = entry / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (entry / "blobs").mkdir()
    (entry / "refs").mkdir()
    (entry / "refs/main").write_text(COMMIT)
    for name, data in llama_files().items():
        (entry / "blobs" / sha(data)).write_bytes(data)
        (snapshot / name).symlink_to(f"../../blobs/{sha(data)}")
    (lm / "pub/tiny-GGUF").mkdir(parents=True)
    (lm / "pub/tiny-GGUF/tiny-Q8_0.gguf").write_bytes(model)

    def state():
        return sorted(
            (str(p), p.lstat().st_mtime_ns, p.lstat().st_size) for p in m.home.rglob("*") if "freehold" not in str(p)
        )

    before = state()
    r = m.json("list")
    kept = {(x["name"], x["kept_by"]) for x in r["models"]}
    check(
        "listed with their source",
        kept
        == {
            ("tiny:1b", "Ollama's store"),
            ("me/tiny:latest", "Ollama's store"),
            ("hf.co/org/tiny-GGUF:Q4_K_M", "Ollama's store"),
            ("org/cached", "Hugging Face's cache"),
            ("pub/tiny-GGUF:tiny-Q8_0.gguf", "LM Studio's folder"),
        }
        and r["unreadable"] == 1,
        r,
    )
    for x in r["models"]:
        shown = m.json("show", x["name"])
        check(f"found by its name: {x['name']}", shown.get("found_in") == x["kept_by"], shown)
        rc, _, err = m.run("rm", x["name"])
        check(f"never removed: {x['name']}", rc == 1 and "another program" in err, err)
    check("never changed", state() == before)
    m.remove()


def upgrades(hub):
    first = big_repo(hub, "org/up", 1)
    m = Machine(hub)
    a = m.json("pull", "org/up")
    rc, out, err = m.run("upgrade")
    check("nothing new", rc == 0 and "is what it was" in out, (out, err))
    rc, _, err = m.run("rollback", "org/up")
    check("nothing to go back to", rc == 1 and "nothing was kept" in err, err)
    second = dict(first, **{"tokenizer.json": b"new"})
    hub.add_repo("org/up", second, commit="2e" * 20)
    b = m.json("upgrade", "org/up")
    check("upgraded", b[0]["changed"] and b[0]["id"] != a["id"] and b[0]["revision"] == "2e" * 20, b)
    check("the old one is still there", same_files(a["folder"], first))
    rc, out, err = m.run("rollback", "org/up")
    check("rollback", rc == 0 and m.json("list")["models"][0]["id"] == a["id"] and same_files(a["folder"], first), err)
    check("and forth again", m.json("rollback", "org/up").get("id") == b[0]["id"])
    check("gc keeps it", m.json("gc").get("blobs") == 0 and same_files(a["folder"], first))
    check("until told", m.json("gc", "--before").get("blobs") == 1 and not pathlib.Path(a["folder"]).exists())
    check("the new one stays", m.json("rollback", "org/up").get("rc") == 1 and m.blobs_are_whole())
    m.remove()


def locks(hub):
    """A second machine becomes equal to the first, also when the hub has moved on; a lock that lies gets no name."""
    first = big_repo(hub, "org/team", 1)
    digest = hub.add_image("library/team", "1b", ollama_layers())
    a, b = Machine(hub), Machine(hub)
    one = a.json("pull", "org/team")
    host = hub.url[7:]
    two = a.json("pull", f"{host}/library/team:1b")
    lock = a.home / "freehold.lock"
    rc, out, err = a.run("lock", "-o", lock)
    text = json.loads(lock.read_text())
    check("lock", rc == 0 and {x["id"] for x in text["models"]} == {one["id"], two["id"]}, (out, err))
    # the tag moves on, the pinned digest stays
    hub.add_image("library/team", "1b", [("application/vnd.ollama.image.model", b"GGUFother", None)])
    check("sync --check says what is missing", b.run("sync", "--lock", lock, "--check")[0] == 1)
    r = b.json("sync", "--lock", lock)
    names = {x["name"]: x["id"] for x in b.json("list")["models"]}
    check("sync", r.get("fetched") == 2 and names == {x["name"]: x["id"] for x in text["models"]}, (r, names))
    check(
        "sources are those of the lock",
        {x["pulled_from"] for x in b.json("list")["models"]} == {x["source"] for x in text["models"]},
    )
    r = b.json("sync", "--lock", lock)
    check("a second sync asks nobody", r.get("right") == 2 and r["fetched"] == 0, r)
    b.run("cp", "org/team", "spare")
    b.run("rm", "org/team")
    hub.requests.clear()
    r = b.json("sync", "--lock", lock, "--prune")
    check("from what is here, and pruned", r.get("renamed") == 1 and r["removed"] == 1 and not hub.requests, r)
    c = Machine(hub)
    evil = json.loads(lock.read_text())
    hub.add_repo("org/team", dict(first, **{"tokenizer.json": b"tampered"}))
    rc, _, err = c.run("sync", "--lock", lock)
    check(
        "other bytes than the lock's get no name",
        rc == 1
        and "not the model that the lock names" in err
        and not any(x["name"] == "org/team" for x in c.json("list")["models"]),
        err,
    )
    for field, value in (("id", "0" * 64), ("name", "../x"), ("entry", "../x"), ("files", [])):
        evil["models"][0][field] = value
        lock.write_text(json.dumps(evil))
        check(f"a lock with a bad {field}", c.run("sync", "--lock", lock)[0] == 1)
        evil = json.loads(json.dumps(text))
    check("digests of registries are pinned", digest.startswith("sha256:") and two["revision"] == digest)
    for m in (a, b, c):
        m.remove()


def bundles(hub):
    a, b = Machine(hub), Machine(hub)
    hub.add_repo("org/crate", dict(llama_files(), LICENSE=b"Apache License", **{"LICENSE.md": b"Apache License"}))
    r = a.json("pull", "org/crate")
    archive, result = a.home / "model.tar", a.home / "eval.json"
    result.write_text('{"score": 0.5}')
    rc, out, err = a.run("bundle", "org/crate", "-o", archive, "--add", result)
    check("bundle", rc == 0 and "signed by" in out, (out, err))
    print_ = out.strip().split()[-1]
    listed = subprocess.run(["tar", "-tf", archive], capture_output=True, text=True)
    check("tar can look into it", listed.returncode == 0 and listed.stdout.startswith("freehold-bundle.json"), listed)
    rc, _, err = b.run("unbundle", archive)
    check("a stranger's signature is not enough", rc == 1 and print_ in err and not b.json("list")["models"], err)
    rc, _, err = b.run("unbundle", archive, "--trust", "0" * 64)
    check("nor is another's", rc == 1, err)
    hub.requests.clear()
    rc, out, err = b.run("unbundle", archive, "--trust", print_, "--extras", b.home / "extras")
    check("unbundle", rc == 0 and b.json("list")["models"][0]["id"] == r["id"], (out, err))
    check("offline", not hub.requests)
    check(
        "extras",
        (b.home / "extras/eval.json").read_text() == '{"score": 0.5}'
        and "licen" in (b.home / "extras/passport.json").read_text(),
    )
    check("it runs", b.run("run", "org/crate", "--tokens", "1 2", "--ids", "-n", "2")[0] == 0)
    rc, out, err = a.run("unbundle", archive, "--check", "--as", "again")
    check("one's own key is trusted, --check keeps nothing", rc == 0 and len(a.json("list")["models"]) == 1, err)
    # keys and signatures by OpenSSL's own tool
    key, public = a.home / "key.pem", a.home / "public.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True)
    subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", public], check=True)
    other = a.home / "other.tar"
    a.run("bundle", "org/crate", "-o", other, "--key", key)
    check("openssl's keys", b.run("unbundle", other, "--key", public, "--check")[0] == 0)
    check("another key", b.run("unbundle", archive, "--key", public, "--check")[0] == 1)
    with tarfile.open(other) as tar:
        text = tar.extractfile("freehold-bundle.json").read()
        sig = bytes.fromhex(json.load(tar.extractfile("freehold-bundle.sig"))["signature"])
    (a.home / "list").write_bytes(text)
    (a.home / "sig").write_bytes(sig)
    p = subprocess.run(
        [
            "openssl",
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            public,
            "-rawin",
            "-in",
            a.home / "list",
            "-sigfile",
            a.home / "sig",
        ],
        capture_output=True,
    )
    check("openssl verifies the list", p.returncode == 0, p.stderr)
    whole = archive.read_bytes()
    held = {x: 0 for x in ("refused", "same")}
    for i in range(60):  # one bit anywhere; padding and tar's dates do not matter to what is kept
        at = rng.randrange(len(whole))
        bad = a.home / "bad.tar"
        bad.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << rng.randrange(8))]) + whole[at + 1 :])
        rc, _, err = b.run("unbundle", bad, "--trust", print_, "--check")
        held["refused" if rc else "same"] += 1
    check("a flipped bit is refused", held["refused"] >= 57, held)
    for cut in (0, 1, 511, 512, 1000, 5000, len(whole) // 2, len(whole) - 1100):
        (a.home / "bad.tar").write_bytes(whole[:cut])
        check(f"cut at {cut}", a.run("unbundle", a.home / "bad.tar", "--check")[0] == 1)
    b.run("rm", "org/crate")
    for _ in range(8):
        p = b.start("unbundle", archive, "--trust", print_)
        time.sleep(rng.uniform(0, 0.03))
        p.kill()
        p.wait()
        check("killed while unpacking", b.blobs_are_whole())
    check("and again", b.run("unbundle", archive, "--trust", print_)[0] == 0 and b.run("verify", "org/crate")[0] == 0)
    a.remove()
    b.remove()


def served(hub):
    """The server reads models of the library from within its sandbox, by their names."""
    hub.add_repo("org/served", llama_files())
    m = Machine(hub)
    m.run("pull", "org/served")
    port = free_port()
    server = m.start("serve", "org/served", "--port", str(port))
    body = json.dumps({"model": "org/served", "prompt": "a", "max_tokens": 2}).encode()
    answer = None
    for _ in range(200):
        try:
            answer = put(f"http://127.0.0.1:{port}/v1/completions", body, "application/json", "POST").read()
            break
        except OSError:
            time.sleep(0.1)
    check("served by name", answer and json.loads(answer)["model"] == "org/served", answer)
    server.terminate()
    server.wait(timeout=30)
    m.remove()


def no_network(hub):
    """Without a pull nothing opens a socket: what commands ask of the kernel, as strace sees it."""
    global skipped
    m = Machine(hub)
    m.json("pull", "org/llama") if "org/llama" in hub.repos else None
    strace = shutil.which("strace")
    if not strace:
        skipped += 1
        print("SKIP strace is not installed")
        return
    for args in (
        ["run", LLAMA, "--tokens", "1 2", "--ids", "-n", "2"],
        ["show", LLAMA],
        ["list"],
        ["verify", LLAMA],
        ["fit", "llama3.2:1b"],
        ["show", "org/llama"],
        ["gc"],
        ["lock", "-o", m.home / "l"],
        ["license", LLAMA],
        ["run", "org/not-here", "hello"],
        ["show", "https://huggingface.co/org/llama"],
    ):
        trace = m.home / "trace"
        subprocess.run(
            [strace, "-f", "-qq", "-e", "trace=socket,connect,sendto,sendmsg", "-o", trace, BIN, *map(str, args)],
            env=m.env,
            capture_output=True,
            timeout=120,
        )
        seen = [x for x in trace.read_text().splitlines() if "AF_INET" in x or "AF_INET6" in x or "AF_UNSPEC" in x]
        check(f"no packet: {args[0]} {args[1] if len(args) > 1 else ''}", trace.exists() and not seen, seen[:3])
    m.remove()


PARTS = [
    choosing,
    tokens,
    faults,
    changed_links,
    mending,
    hostile,
    registries,
    resumes,
    one_at_a_time,
    library,
    in_place,
    upgrades,
    locks,
    bundles,
    served,
    no_network,
]


def main():
    hub = Hub(page=4)
    try:
        for part in PARTS:
            hub.fault = hub.speed = None
            start = time.monotonic()
            part(hub)
            if "-v" in argv:
                print(f"{part.__name__}: {time.monotonic() - start:.1f} s")
        kills(hub, KILLS)
    finally:
        hub.close()
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


sys.exit(main())
