#!/usr/bin/env python3
"""tests/e2e/test_serve_faults.py BINARY [STEP] - a server whose allocations fail, one after the other.

BINARY is a test build with AddressSanitizer (tests/e2e/test_faults.py has the mechanism). Each run starts a server with
two models, asks for a chat, a stream and an embedding, asks once more, and ends it. The N-th allocation of all that
fails, or that one and all after it; N goes through every STEP-th (default 1). A start may fail with one line of
message. A request may fail with an error in JSON, or by a closed connection; a single failure costs one request at
the most. Each run ends by itself when it is told to, without a sanitizer's report and without a leak.
Closing line: N passed, N failed, N skipped.
"""

import concurrent.futures
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request

BIN = sys.argv[1]
STEP = int(sys.argv[2]) if len(sys.argv) > 2 else 1
HELLO = [{"role": "user", "content": "Hello"}]
ASKS = [
    ("/v1/chat/completions", {"model": "m", "messages": HELLO, "max_tokens": 3}),
    ("/v1/messages", {"model": "m", "messages": HELLO, "max_tokens": 3, "stream": True}),
    ("/v1/embeddings", {"model": "e", "input": "Hello"}),
]


def ask(url, path, body):
    """Status and text; (0, "") for a connection that was closed."""
    request = urllib.request.Request(url + path, data=json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request, timeout=30) as r:
            return r.status, r.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()
    except TimeoutError:
        raise
    except OSError as e:
        if isinstance(getattr(e, "reason", None), TimeoutError):
            raise TimeoutError from e
        return 0, ""
    except Exception:  # an answer that was cut off
        return 0, ""


def run(fault):
    """What went wrong (or None), and how many allocations there were."""
    with tempfile.TemporaryDirectory(prefix="fh-faults-") as home:
        env = {
            **os.environ,
            "FREEHOLD_HOME": home,
            "FREEHOLD_FAULT": fault,
            "ASAN_OPTIONS": "detect_leaks=1:exitcode=77:allocator_may_return_null=1",
        }
        models = ["m=tests/golden/models/llama-sharded", "e=tests/golden/models/bert"]
        more = ["--port", "0", "--threads", "1", "--sandbox=no", "--ctx", "128", "--drain", "5s"]
        with open(os.path.join(home, "err"), "w+") as err:
            p = subprocess.Popen([BIN, "serve", *models, *more], stdout=subprocess.PIPE, stderr=err, env=env, text=True)
            late = threading.Timer(120, p.kill)
            late.start()
            out, wrong = "", None
            for line in p.stdout:
                out += line
                if "Ctrl-C" in line:
                    break
            found = re.search(r"http://[\w.]+:\d+", out)
            if found and "Ctrl-C" in out:
                wrong = requests(found.group(0), fault)
                p.terminate()
            p.stdout.read()
            code = p.wait()
            late.cancel()
            err.seek(0)
            said = err.read()
    if "Sanitizer" in said or "runtime error" in said or code not in (0, 1, 2):
        wrong = f"exit {code}: {said[:3500]}"
    elif not found and "freehold: " not in said:
        wrong = f"no message: {said!r}"
    calls = re.findall(r"fault calls: (\d+)", said)
    return wrong, int(calls[-1]) if calls else 0


def requests(url, fault):
    """A single failure may cost one request, and no more; which one it meets is not certain."""
    spoilt = []
    for _ in range(2):
        for path, body in ASKS:
            try:
                status, text = ask(url, path, body)
            except TimeoutError:
                return f"{path}: no answer"
            bare = (status, text) == (503, "out of memory\n")  # none was left for a body
            if status != 200 and text and not bare and not text.lstrip().startswith("{"):
                return f"{path}: {status} {text[:200]!r}"
            if status in (400, 404, 413):
                return f"{path}: {status}, as if the client were wrong: {text[:300]!r}"
            if status != 200:
                spoilt.append(f"{path}: {status} {text[:300]!r}")
    return None if fault.endswith("+") or len(spoilt) < 2 else "; ".join(spoilt)


def main():
    wrong, calls = run("alloc:0")
    if wrong or not calls:
        print(f"FAIL without a fault: {wrong or 'no count of calls'}")
        print("0 passed, 1 failed, 0 skipped")
        return 1
    faults = [f"alloc:{n}{more}" for more in ("", "+") for n in range(1, calls + 1, STEP)]
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for fault, (wrong, _) in zip(faults, pool.map(run, faults)):
            passed, failed = passed + (wrong is None), failed + (wrong is not None)
            if wrong:
                print(f"FAIL {fault}: {wrong}")
    print(f"{len(faults)} servers, {calls} allocations in one without a fault")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
