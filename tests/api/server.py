"""tests/api/server.py - what the API tests share: a server with models of random weights, one of them with a template
that offers tools and opens reasoning, and the count of checks."""

import json
import os
import pathlib
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

TEMPLATE = (
    "{{ bos_token }}{% if tools %}{{ '<|start|>system\\nTools:\\n' }}{% for t in tools %}{{ t | tojson }}{{ '\\n' }}"
    '{% endfor %}{{ \'Call: <tool_call>\\n{"name": ..., "arguments": ...}\\n</tool_call><|end|>\\n\' }}{% endif %}'
    "{% for m in messages %}{% if m.role == 'tool' %}"
    "{{ '<|start|>user\\n<tool_response>\\n' + m.content + '\\n</tool_response><|end|>\\n' }}"
    "{% elif m.role == 'assistant' %}{{ '<|start|>assistant\\n' }}{% if m.reasoning_content %}"
    "{{ '<think>\\n' + m.reasoning_content + '\\n</think>\\n\\n' }}{% endif %}{{ m.content }}{% if m.tool_calls %}"
    '{% for c in m.tool_calls %}{{ \'\\n<tool_call>\\n{"name": "\' + c.function.name + \'", "arguments": \' }}'
    "{{ c.function.arguments | tojson }}{{ '}\\n</tool_call>' }}{% endfor %}{% endif %}{{ '<|end|>\\n' }}{% else %}"
    "{{ '<|start|>' + m.role + '\\n' + m.content + '<|end|>\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant\\n' }}{% if enable_thinking is defined and enable_thinking %}"
    "{{ '<think>\\n' }}{% endif %}{% endif %}"
)


class Count:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def check(self, name, ok, text=""):
        self.passed, self.failed = self.passed + bool(ok), self.failed + (not ok)
        if not ok:
            print(f"FAIL {name}: {str(text)[:600]}")

    def skip(self, name, why):
        self.skipped += 1
        print(f"skip {name}: {why}")

    def run(self, name, fn):
        try:
            fn()
        except Exception as e:  # a client that raises is a failed check, not the end of the suite
            self.check(name, False, f"{type(e).__name__}: {e}")

    def close(self):
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped")
        return 1 if self.failed else 0


def write_adapter(folder, model, seed, size):
    """A PEFT adapter with random numbers for the attention of a model of config.json."""
    config = json.loads((pathlib.Path(model) / "config.json").read_text())
    rng, rank = random.Random(seed), 2
    width, head = (
        config["hidden_size"],
        config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"],
    )
    rows = {"q_proj": config["num_attention_heads"] * head, "v_proj": config["num_key_value_heads"] * head}
    tensors, data = {}, b""
    for layer in range(config["num_hidden_layers"]):
        for name, out in rows.items():
            for part, shape in (("lora_A", [rank, width]), ("lora_B", [out, rank])):
                raw = struct.pack(f"<{shape[0] * shape[1]}f", *(rng.gauss(0, size) for _ in range(shape[0] * shape[1])))
                key = f"base_model.model.model.layers.{layer}.self_attn.{name}.{part}.weight"
                tensors[key] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
                data += raw
    head = json.dumps(tensors).encode()
    os.makedirs(folder)
    with open(os.path.join(folder, "adapter_model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head + data)
    with open(os.path.join(folder, "adapter_config.json"), "w") as f:
        json.dump({"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": list(rows), "bias": "none"}, f)


class Server:
    """The built binary, serving golden models under short names."""

    def __init__(self, binary, golden, *args):
        self.home = tempfile.mkdtemp(prefix="fh-api-")
        golden = pathlib.Path(golden) / "models"
        plain = golden / ("qwen3" if (golden / "qwen3").exists() else "llama-sharded")
        tools = pathlib.Path(self.home) / "tools"
        shutil.copytree(plain, tools)
        config = tools / "tokenizer_config.json"
        config.chmod(0o644)
        tools.chmod(0o755)
        data = json.loads(config.read_text())
        data["chat_template"] = TEMPLATE
        config.unlink()
        config.write_text(json.dumps(data))
        models = [f"plain={plain}", f"tools={tools}", f"bert={golden / 'bert'}", f"rank={golden / 'bge-reranker'}"]
        self.plain = plain
        self.adapters = []
        for i, name in enumerate(("loud", "odd")):
            self.adapters.append(os.path.join(self.home, name))
            write_adapter(self.adapters[i], plain, i, 0.3)
            models += ["--adapter", f"{name}={self.adapters[i]}"]
        self.log = open(os.path.join(self.home, "err.txt"), "w+")
        self.p = subprocess.Popen(
            [binary, "serve", *models, "--port", "0", "--threads", "2", *args],
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={**os.environ, "FREEHOLD_HOME": self.home},
        )
        out = ""
        while "Ctrl-C" not in out:
            line = self.p.stdout.readline()
            out += line
            if not line:
                self.log.seek(0)
                sys.exit("the server did not start: " + out + self.log.read())
        self.url = re.search(r"http://[\w.]+:\d+", out).group(0)

    def ask(self, path, body=None, headers=None, method=None):
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as r:
                return r.status, dict(r.headers), r.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, dict(e.headers), e.read().decode()

    def json(self, path, body=None, **more):
        status, _, text = self.ask(path, body, **more)
        return status, json.loads(text)

    def admin(self, path, body):
        """Over the administrator's socket."""
        data = json.dumps(body).encode()
        with socket.socket(socket.AF_UNIX) as c:
            c.connect(os.path.join(self.home, "state", "admin.sock"))
            c.sendall(f"POST {path} HTTP/1.0\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
            answer = b"".join(iter(lambda: c.recv(65536), b""))
        return int(answer.split()[1]), json.loads(answer.split(b"\r\n\r\n", 1)[1])

    def events(self, path, body):
        """[(event or None, data)] of a stream; data is parsed where it is JSON."""
        _, _, text = self.ask(path, {**body, "stream": True})
        out = []
        for part in text.split("\n\n"):
            name = data = None
            for line in part.split("\n"):
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: "):
                    data = line[6:]
            if data is not None:
                out.append((name, data if data == "[DONE]" else json.loads(data)))
        return out

    def close(self):
        self.p.terminate()
        try:
            self.p.wait(20)
        except subprocess.TimeoutExpired:
            self.p.kill()
        if self.p.returncode:
            self.log.seek(0)
            lines = [x for x in self.log.read().splitlines() if not x.startswith("info ")]
            print("exit", self.p.returncode, "\n".join(lines[:60]))
        self.log.close()
        shutil.rmtree(self.home, ignore_errors=True)
        return self.p.returncode
