#!/usr/bin/env python3
"""tests/e2e/test_serve_first.py BINARY - a first-time user's path: start the server, use every line that it prints as
it stands, stop it. Nothing is known here but what is printed; lines are run by sh, where `freehold` is on the PATH.

Closing line: N passed, N failed, N skipped.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request

BIN = pathlib.Path(sys.argv[1]).resolve()
passed = failed = skipped = 0


def check(name, ok, text=""):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print(f"FAIL {name}: {str(text)[:600]}")


class User:
    """Somebody with a home folder and `freehold` installed."""

    def __init__(self):
        self.home = tempfile.mkdtemp(prefix="fh-first-")
        os.mkdir(self.home + "/bin")
        os.symlink(BIN, self.home + "/bin/freehold")
        keep = {k: v for k, v in os.environ.items() if k not in ("FREEHOLD_HOME", "http_proxy", "HTTP_PROXY")}
        keep = {k: v for k, v in keep.items() if not k.startswith("XDG_")}
        self.env = {**keep, "HOME": self.home, "PATH": self.home + "/bin:" + os.environ["PATH"]}

    def sh(self, line):
        p = subprocess.run(["sh", "-c", line], capture_output=True, text=True, env=self.env, timeout=60)
        return p.returncode, p.stdout, p.stderr

    def serve(self, *args):
        p = subprocess.Popen(
            ["freehold", "serve", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.env
        )
        lines = []
        for line in p.stdout:
            lines.append(line.rstrip("\n"))
            if "Ctrl-C" in line:
                break
        return p, lines


def url_lines(user, lines):
    """The exports, each used by what it is for."""
    first = next(x for x in lines if "listens on" in x)
    url = re.search(r"https?://\S+", first).group(0)
    with urllib.request.urlopen(url + "/health") as r:
        check("the address answers", json.load(r) == {"status": "ok"})
    asks = {
        "OPENAI_BASE_URL": 'curl -sS "$OPENAI_BASE_URL/models" -H "Authorization: Bearer $OPENAI_API_KEY"',
        "ANTHROPIC_BASE_URL": 'curl -sS "$ANTHROPIC_BASE_URL/v1/models" -H "Authorization: Bearer '
        '$ANTHROPIC_AUTH_TOKEN" -H "anthropic-version: 2023-06-01"',
        "OLLAMA_HOST": 'curl -sS "$OLLAMA_HOST/api/tags"',
    }
    for name, ask in asks.items():
        line = next((x.strip() for x in lines if f"export {name}=" in x), None)
        check(f"a line for {name}", line, lines)
        rc, out, err = user.sh(f"{line}\n{ask}")
        check(
            f"{name}: its server lists the model", rc == 0 and "freehold" in out, out + err
        )
    return url


def main():
    global skipped
    if not shutil.which("curl"):
        skipped += 1
        print("skip all: no curl")
    else:
        user = User()
        p, lines = user.serve("--port", "0")
        check(
            "it starts, and says so", lines and "listens on" in lines[0], lines + [p.stderr.read() if not lines else ""]
        )
        url_lines(user, lines)
        curl = next((x.strip() for x in lines if x.strip().startswith("curl ")), None)
        rc, out, err = user.sh(curl)
        answer = json.loads(out) if rc == 0 else {}
        check("the curl line gets an answer", answer.get("choices", [{}])[0].get("message"), out + err)
        commands = re.findall(r"freehold (?:ps|key create NAME)", "\n".join(lines))
        check("what it names next", sorted(commands) == ["freehold key create NAME", "freehold ps"], lines)
        rc, out, err = user.sh("freehold ps")
        check("freehold ps shows the model", rc == 0 and re.search(r"^freehold .*for ever", out, re.M), out + err)
        rc, out, err = user.sh("freehold key create NAME")
        key = re.search(r"fh-\S+|[A-Za-z0-9_-]{30,}", out)
        check("freehold key create NAME prints a key", rc == 0 and key, out + err)
        rc, out, err = user.sh("freehold key list")
        check("and lists it, without the key", rc == 0 and "NAME" in out and key.group(0) not in out, out + err)
        p.send_signal(signal.SIGINT)
        check("Ctrl-C ends it well", p.wait(40) == 0)
        kept = sorted(str(x.relative_to(user.home)) for x in pathlib.Path(user.home).rglob("*") if not x.is_dir())
        outside = [x for x in kept if not x.startswith((".local/state/freehold/", ".config/freehold/", "bin/"))]
        check("nothing lies about in the home folder", not outside, outside)
        p, lines = user.serve("--port", "0")
        check("with a key, the lines ask for it", any("YOUR-KEY" in x for x in lines), lines)
        line = next(x.strip() for x in lines if "export OPENAI_BASE_URL=" in x).replace("YOUR-KEY", key.group(0))
        rc, out, err = user.sh(line + '\ncurl -sS "$OPENAI_BASE_URL/models" -H "Authorization: Bearer $OPENAI_API_KEY"')
        check("and with it they work", rc == 0 and '"freehold"' in out, out + err)
        p.send_signal(signal.SIGTERM)
        check("SIGTERM ends it well", p.wait(40) == 0)
        rc, out, err = user.sh("freehold ps")
        check("then ps says that nobody is there, and what to do", rc == 1 and "freehold serve" in err, out + err)
        shutil.rmtree(user.home, ignore_errors=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)


main()
