"""tests/e2e/hub_double.py - a Hugging Face hub and an OCI registry that live in one process and misbehave on demand.

What makes it a hub and not an opinion: test_pull_peers.py lets the real huggingface_hub client download from it, byte
for byte. Routes: /api/models/R[/revision/V], /api/models/R/tree/C (pages by Link), /R/resolve/V/FILE (large files
redirect to a CDN on another port, with a signed link that can expire), /v2/... with or without tokens.

Faults: hub.fault is asked for every file or blob request with (path, offset, number of the request) and answers None or
one of ("status", code, headers), ("cut", bytes), ("wrong",), ("no-ranges",), ("wait", seconds). Standard library only.
"""

import hashlib
import http.server
import json
import re
import threading
import time
import urllib.parse

COMMIT = "1f" * 20
PIECE = 1 << 16


def git_blob(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.serve(head=True)

    def do_GET(self):
        self.serve(head=False)

    def serve(self, head):
        hub = self.server.hub
        with hub.lock:
            hub.n_request += 1
            number = hub.n_request
            hub.requests.append((self.server.role, self.command, self.path, dict(self.headers)))
        try:
            hub.answer(self, head, number)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def reply(self, code, body=b"", headers=None, head=False):
        self.send_response(code)
        for k, v in (headers or {}).items():
            self.send_header(k, v)
        if "Content-Length" not in (headers or {}):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not head:
            self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass


class Hub:
    def __init__(self, page=1000):
        self.repos, self.registry, self.blobs = {}, {}, {}
        self.page, self.fault, self.lock = page, None, threading.Lock()
        self.n_request, self.requests, self.epoch = 0, [], 0
        self.token = None  # what private repositories and registries ask for
        self.private, self.tree_extra, self.lie = set(), [], {}
        self.speed = None  # bytes a second and connection
        self.servers = []
        for role in ("hub", "cdn"):
            s = Server(("127.0.0.1", 0), Handler)
            s.hub, s.role = self, role
            threading.Thread(target=s.serve_forever, daemon=True).start()
            self.servers.append(s)
        self.url = f"http://127.0.0.1:{self.servers[0].server_port}"
        self.cdn = f"http://127.0.0.1:{self.servers[1].server_port}"

    def close(self):
        for s in self.servers:
            s.shutdown()
            s.server_close()

    def add_repo(self, name, files, commit=COMMIT):
        """files: {path: bytes}; those of 64 KiB and more are large files, behind the CDN."""
        self.repos[name] = {"commit": commit, "files": dict(files)}
        for data in files.values():
            self.blobs[hashlib.sha256(data).hexdigest()] = data

    def add_image(self, name, tag, layers):
        """layers: [(media type, bytes, title or None)] -> digest of the manifest."""
        out = []
        for kind, data, title in layers:
            digest = hashlib.sha256(data).hexdigest()
            self.blobs[digest] = data
            out.append({"mediaType": kind, "digest": "sha256:" + digest, "size": len(data)})
            if title:
                out[-1]["annotations"] = {"org.opencontainers.image.title": title}
        config = b"{}"
        self.blobs[hashlib.sha256(config).hexdigest()] = config
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "config": {
                    "mediaType": "application/vnd.docker.container.image.v1+json",
                    "digest": "sha256:" + hashlib.sha256(config).hexdigest(),
                    "size": 2,
                },
                "layers": out,
            }
        ).encode()
        digest = "sha256:" + hashlib.sha256(manifest).hexdigest()
        self.registry[(name, tag)] = self.registry[(name, digest)] = manifest
        return digest

    # ---- answers ----

    def answer(self, h, head, number):
        path, _, query = h.path.partition("?")
        path = urllib.parse.unquote(path)
        if h.server.role == "cdn":
            return self.answer_cdn(h, head, number, path)
        if path.startswith("/v2/"):
            return self.answer_registry(h, head, number, path)
        if path == "/token":
            return h.reply(200, json.dumps({"token": self.token}).encode())
        m = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path)
        if m:
            return self.answer_api(h, head, m, urllib.parse.parse_qs(query))
        m = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if m:
            return self.answer_file(h, head, number, *m.groups())
        return h.reply(404, b"{}")

    def may(self, h, repo):
        if repo in self.private and h.headers.get("Authorization") != f"Bearer {self.token}":
            h.reply(401, b'{"error":"Access to this model is restricted"}', {"X-Error-Code": "GatedRepo"})
            return False
        return True

    def answer_api(self, h, head, m, query):
        repo, kind, revision = m.groups()
        r = self.repos.get(repo)
        if not r or (revision and revision not in ("main", r["commit"])):
            return h.reply(404, b'{"error":"Repository not found"}', {"X-Error-Code": "RepoNotFound"}, head)
        if not self.may(h, repo):
            return None
        if self.fault:
            act = self.fault(h.path, 0, self.n_request)
            if act and act[0] == "status":
                return h.reply(act[1], b"busy", act[2], head)
        if kind != "tree":
            body = {
                "id": repo,
                "modelId": repo,
                "sha": r["commit"],
                "private": repo in self.private,
                "tags": [],
                "downloads": 0,
                "likes": 0,
                "lastModified": "2026-01-01T00:00:00.000Z",
                "siblings": [{"rfilename": p} for p in r["files"]],
            }
            return h.reply(200, json.dumps(body).encode(), {"Content-Type": "application/json"}, head)
        entries = []
        for p, data in sorted(r["files"].items()):
            e = {"type": "file", "oid": git_blob(data), "size": len(data), "path": p}
            if self.is_large(data):
                e["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            entries.append(e)
        entries += self.tree_extra
        start = int(query.get("cursor", ["0"])[0])
        headers = {"Content-Type": "application/json"}
        if start + self.page < len(entries):
            headers["Link"] = (
                f'<{self.url}{h.path.partition("?")[0]}?recursive=true&cursor={start + self.page}>; rel="next"'
            )
        return h.reply(200, json.dumps(entries[start : start + self.page]).encode(), headers, head)

    @staticmethod
    def is_large(data):
        return len(data) >= 65536

    def answer_file(self, h, head, number, repo, revision, path):
        r = self.repos.get(repo)
        if not r or path not in r["files"]:
            return h.reply(404, b"", {"X-Error-Code": "EntryNotFound"}, head)
        if not self.may(h, repo):
            return None
        data = r["files"][path]
        headers = {"X-Repo-Commit": r["commit"], "ETag": f'"{git_blob(data)}"', "Accept-Ranges": "bytes"}
        if not self.is_large(data):
            return self.send_data(h, head, number, path, data, headers)
        digest = hashlib.sha256(data).hexdigest()
        headers["X-Linked-ETag"], headers["X-Linked-Size"] = f'"{digest}"', str(len(data))
        headers["Location"] = f"{self.cdn}/{digest}?signature={self.epoch}"
        return h.reply(302, b"", headers, head)

    def answer_cdn(self, h, head, number, path):
        digest = path[1:]
        if f"signature={self.epoch}" not in h.path:
            return h.reply(403, b"<Error>Request has expired</Error>", {}, head)
        if digest not in self.blobs:
            return h.reply(404, b"", {}, head)
        return self.send_data(h, head, number, digest, self.blobs[digest], {"ETag": f'"{digest}"'})

    def answer_registry(self, h, head, number, path):
        if self.token and h.headers.get("Authorization") != f"Bearer {self.token}":
            name = path[4:].split("/manifests/")[0].split("/blobs/")[0]
            challenge = f'Bearer realm="{self.url}/token",service="double",scope="repository:{name}:pull"'
            return h.reply(401, b"{}", {"WWW-Authenticate": challenge}, head)
        m = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/([^/]+)", path)
        if m and m.group(2) == "manifests" and (m.group(1), m.group(3)) in self.registry:
            body = self.registry[(m.group(1), m.group(3))]
            return h.reply(200, body, {"Content-Type": "application/vnd.docker.distribution.manifest.v2+json"}, head)
        digest = m.group(3).removeprefix("sha256:") if m else ""
        if m and m.group(2) == "blobs" and digest in self.blobs:
            if self.epoch is not None and len(self.blobs[digest]) > 65536:  # as Ollama's registry does
                return h.reply(307, b"", {"Location": f"{self.cdn}/{digest}?signature={self.epoch}"}, head)
            return self.send_data(h, head, number, digest, self.blobs[digest], {})
        return h.reply(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}', {}, head)

    def send_data(self, h, head, number, path, data, headers):
        start, end, code = 0, len(data), 200
        m = re.fullmatch(r"bytes=(\d+)-(\d*)", h.headers.get("Range", ""))
        act = self.fault(path, int(m.group(1)) if m else 0, number) if self.fault and not head else None
        data = self.lie.get(path, data)
        if act and act[0] == "status":
            return h.reply(act[1], b"not now", act[2])
        if m and not (act and act[0] == "no-ranges"):
            start, end = int(m.group(1)), min(int(m.group(2) or len(data) - 1) + 1, len(data))
            if start >= len(data):
                return h.reply(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            code = 206
            headers = dict(headers, **{"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"})
        part = data[start:end]
        if act and act[0] == "wrong":
            part = bytes([part[0] ^ 1]) + part[1:]
        h.send_response(code)
        for k, v in headers.items():
            h.send_header(k, v)
        h.send_header("Content-Length", str(len(part)))
        h.end_headers()
        if head:
            return None
        if act and act[0] == "wait":
            time.sleep(act[1])
        if act and act[0] == "cut":
            part = part[: act[1]]
        for at in range(0, len(part), PIECE):
            h.wfile.write(part[at : at + PIECE])
            if self.speed:
                time.sleep(PIECE / self.speed)
        if act and act[0] == "cut":
            h.wfile.flush()
            h.close_connection = True
            h.connection.close()
        return None
