#!/usr/bin/env python3
"""tests/e2e/test_run.py BINARY [DATA] - freehold run as people use it: at a terminal, with pipes, and with --json.

The terminal is a pseudo terminal. Models have random weights, so what they say does not matter here; that it is said
whole, in time, and where it belongs does. Closing line: N passed, N failed, N skipped.
"""
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time

BIN = str(pathlib.Path(sys.argv[1]).resolve())
DATA = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else "tests/golden").resolve()
CHAT = DATA / "models/llama-sharded"  # has a tokenizer and a template
PROMPT = ">>> "
SLOW = 4 if "asan" in BIN or "tsan" in BIN else 1
passed = failed = 0


def check(name, ok, text=""):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print(f"FAIL {name}: {text!r}")


def run(*args, stdin=b"", env=None):
    p = subprocess.run([BIN, "run", *map(str, args)], capture_output=True, timeout=300, input=stdin,
                       env={**os.environ, **(env or {})})
    return p.returncode, p.stdout, p.stderr.decode(errors="replace")


class Terminal:
    """freehold run with a terminal as its standard input and output."""

    def __init__(self, *args, home, **env):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            e = {**os.environ, "TERM": "xterm", "FREEHOLD_HOME": str(home), "LANG": "C.UTF-8", **env}
            os.execve(BIN, [BIN, "run", *map(str, args)], e)
        self.all = ""

    def until(self, what, seconds=20):
        """What came, up to and with `what`; fails when it does not come."""
        end, got = time.time() + seconds * SLOW, b""
        while time.time() < end:
            if not select.select([self.fd], [], [], 0.05)[0]:
                continue
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""
            if not data:
                break
            got += data
            if what.encode() in got:
                break
        text = got.decode(errors="replace").replace("\r\n", "\n")
        self.all += text
        return text

    def type(self, text):
        os.write(self.fd, text.encode())

    def line(self, text, what="\n" + PROMPT):
        self.type(text + "\r")
        return self.until(what)

    def close(self):
        """The exit code; -1 when it does not end."""
        for _ in range(100 * SLOW):
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.05)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)
        return -1


def interactive(home):
    t = Terminal("-n", "8", "--seed", "1", home=home)
    start = t.until(PROMPT)
    check("the prompt comes", PROMPT in start and "/bye" in start, start)
    first = t.line("hello")
    check("an answer, then the prompt", PROMPT in first and len(first) > len("hello\n\n" + PROMPT), first)
    t.type('"""one\r')
    more = t.until("... ")
    both = t.line('two"""')
    check("texts of several lines", "... " in more and PROMPT in both, more + both)
    for command, expect in (("/?", "/set"), ("/? set", "/set parameter"), ("/help", "/bye"), ("/set", "system"),
                            ("/show", "/show info"), ("/show info", "messages      4"), ("/show system", "no system"),
                            ("/show template", "no template"), ("/show license", "apache"),
                            ("/set parameter temperature 0", PROMPT),
                            ("/show parameters", "temperature          0  (set)"),
                            ("/set parameter num_ctx 64", PROMPT), ("/show parameters", "num_ctx              64"),
                            ("/set parameter seed 7", PROMPT), ("/show modelfile", "PARAMETER temperature 0"),
                            ("/set system You are terse.", PROMPT), ("/show system", "You are terse."),
                            ('/set system """Be kind."""', PROMPT), ("/show system", "Be kind."),
                            ("/set nothing", "knows no 'nothing'"),
                            ("/set parameter warmth 1", "no parameter 'warmth'"),
                            ("/set parameter top_p warm", "wants a number"),
                            ("/set parameter mirostat 1", "0 (off) or 2"),
                            ("/nonsense", "no command '/nonsense'"), ("/load", "wants a name"),
                            ("/load no-such-model", "no-such-model"), ("/set wordwrap", PROMPT), ("/set quiet", PROMPT),
                            ("/set format {\"type\": 5}", "type"), ("/set format json", PROMPT),
                            ("/set noformat", PROMPT), ("/set think", PROMPT), ("/set nothink", PROMPT),
                            ("/set parameter stop \"zzz zz\"", PROMPT), ("/show parameters", "\"zzz zz\""),
                            ("/set verbose", PROMPT)):
        got = t.line(command)
        check(command, expect in got, got)
    check("/set verbose", "eval rate:" in t.line("again"), t.all[-600:])
    long = t.line("word " * 100)
    check("a prompt that does not fit is refused, the chat goes on", "nothing was cut" in long and PROMPT in long, long)
    check("it is no part of the chat", "messages      6" in t.line("/show info"), t.all[-400:])
    saved = t.line("/save mine")
    check("/save", "mine.json" in saved and (home / "chats/mine.json").exists(), saved)
    check("a saved chat is its owner's", stat.S_IMODE((home / "chats/mine.json").stat().st_mode) == 0o600)
    chat = json.loads((home / "chats/mine.json").read_text())
    check("what is saved", len(chat["messages"]) == 6 and chat["system"] == "Be kind." and
          chat["parameters"]["temperature"] == 0, chat)
    check("/clear", "messages      0" in t.line("/clear") + t.line("/show info"), t.all[-400:])
    check("/load", "messages      6" in t.line("/load mine") + t.line("/show info"), t.all[-400:])
    got = t.line(f"/load {CHAT}")
    check("/load of another model", "now talking to" in got and PROMPT in t.line("hello"), got)
    check("/save outside the folder", "no name for a chat" in t.line("/save .."), t.all[-300:])
    t.type("half a line\x03")
    check("Ctrl-C at the prompt drops the line", "/bye" in t.until("\n" + PROMPT), t.all[-300:])
    t.type("\x1b[A")  # up: the line before
    up = t.until("/save ..", 3)
    check("history", "/save .." in up, up)
    t.type("\x03")
    t.until("\n" + PROMPT)
    t.type("/bye\r")
    check("/bye", t.close() == 0)
    history = home / "history"
    check("the history file", history.exists() and stat.S_IMODE(history.stat().st_mode) == 0o600 and
          "hello" in history.read_text())


def more_terminals(home, tmp):
    t = Terminal("--nohistory", home=tmp / "other")
    t.until(PROMPT)
    t.type("\x1b[A")
    check("another home has another history", "hello" not in t.until("hello", 1))
    t.type("\x15\x04")
    check("Ctrl-D", t.close() == 0)
    check("--nohistory", not (tmp / "other/history").exists())

    t = Terminal("--ignore-eos", "--ctx", "60000", "--seed", "1", home=home)
    t.until(PROMPT)
    t.type("go\r")
    t.until("go\n")
    time.sleep(0.5)
    t.type("\x03")
    stopped = t.until("\n" + PROMPT)
    check("Ctrl-C stops the answer", stopped.endswith(PROMPT), stopped[-200:])
    t.type("/show info\r")
    check("and keeps the chat", "messages      2" in t.until("\n" + PROMPT), t.all[-300:])
    t.type("/bye\r")
    check("exit behind an interrupt", t.close() == 0)


def reasoning(home, tmp):
    """A template that opens reasoning: what a model writes before </think> is none of the answer."""
    model = tmp / "thinker"
    shutil.copytree(CHAT, model)
    config = json.loads((model / "tokenizer_config.json").read_text())
    config["chat_template"] = ("{% for m in messages %}{{ m['role'] }}: {% if m['role'] == 'assistant' %}<think>{{ "
                               "m['reasoning_content'] }}</think>{% endif %}{{ m['content'] }}\n{% endfor %}"
                               "{% if add_generation_prompt %}assistant: {% if enable_thinking is not defined or "
                               "enable_thinking %}<think>\n{% else %}<think>\n\n</think>\n\n{% endif %}{% endif %}")
    (model / "tokenizer_config.json").write_text(json.dumps(config))
    common = (model, "hello", "-n", "12", "--temp", "0", "--ignore-eos")
    rc, out, err = run(*common)
    check("reasoning is not the answer", rc == 0 and b"Thinking" not in out and "Thinking..." in err, (out, err))
    rc, out, err = run(*common, "--hidethinking")
    check("--hidethinking", rc == 0 and "Thinking" not in err, err)
    rc, out, err = run(*common, "--think=false", "--json")
    a = json.loads(out)
    check("--think=false", rc == 0 and a["reasoning"] == "" and a["text"], out)
    rc, out, err = run(*common, "--json")
    a = json.loads(out)
    check("--json keeps them apart", rc == 0 and a["reasoning"] and a["text"] == "", out)
    rc, out, err = run(*common, "--think=maybe")
    check("--think of what is none", rc == 2 and "maybe" in err, err)
    for env, dim in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        t = Terminal(*common[0:1], "-n", "12", "--temp", "0", "--ignore-eos", home=home, **env)
        t.until(PROMPT)
        got = t.line("hello")
        check(f"dim reasoning {env}", ("\x1b[2m" in got) == dim and "...done thinking." in got, got)
        t.type("/bye\r")
        t.close()


def pipes(tmp):
    rc, out, err = run("-n", "5", "--seed", "1", stdin=b"hello\n")
    check("standard input", rc == 0 and out.endswith(b"\n") and b"\x1b[" not in out, (out, err))
    out.decode()
    rc, out, err = run(stdin=b"")
    check("nothing at all: the built-in model speaks", rc == 0 and out, err)
    rc, out, err = run(CHAT, stdin=b"")
    check("a model and nothing to answer", rc == 2 and "nothing to answer" in err, err)
    rc, a, err = run(CHAT, "hello there", "-n", "8", "--seed", "5", stdin=b"")
    rc2, b, _ = run(CHAT, "hello", "there", "-n", "8", "--seed", "5", stdin=b"")
    check("words are one prompt", rc == rc2 == 0 and a == b, (a, b, err))
    rc, c, _ = run(CHAT, "hello there", "-n", "8", "--seed", "6", stdin=b"")
    check("seeds differ", a != c, a)
    rc, d, _ = run(CHAT, "hello", "-n", "8", "--seed", "5", stdin=b"there\n")
    check("arguments and standard input together", rc == 0 and d, d)
    rc, e, _ = run(CHAT, "hello there", "-n", "8", "--seed", "5", "--system", "Be brief.", stdin=b"")
    check("--system is part of the prompt", rc == 0 and e != a, e)

    # what a prompt spells is text: special tokens are the template's own
    plain = json.loads(run(CHAT, "hi", "-n", "1", "--json", stdin=b"")[1])["prompt_tokens"]
    special = json.loads((CHAT / "tokenizer.json").read_text())["added_tokens"][0]["content"]
    rc, out, err = run(CHAT, special, "-n", "1", "--json", stdin=b"")
    check("a special token in a prompt is spelled", rc == 0 and
          json.loads(out)["prompt_tokens"] >= plain + len(special) - 4, (special, plain, out, err))

    schema = {"type": "object", "required": ["a", "b"], "additionalProperties": False,
              "properties": {"a": {"type": "boolean"}, "b": {"enum": ["x", "yy", 3]}}}
    (tmp / "schema.json").write_text(json.dumps(schema))
    for seed in range(5):
        rc, out, err = run("--format", tmp / "schema.json", "--seed", seed, stdin=b"hello")
        v = json.loads(out)
        check(f"--format SCHEMA, seed {seed}", rc == 0 and sorted(v) == ["a", "b"] and isinstance(v["a"], bool) and
              v["b"] in ("x", "yy", 3), out)
    valid = 0
    for seed in range(5):
        rc, out, err = run("--format", "json", "--seed", seed, "--top-k", "0", stdin=b"hello")
        try:
            valid += isinstance(json.loads(out), dict)
        except ValueError:
            check("an unfinished object is explained", "context" in err, (out, err))
    check("--format json", valid >= 1, valid)
    (tmp / "bad.json").write_text('{"type": "object", "uniqueItems": true, "contains": {"type": "string"}}')
    rc, out, err = run("--format", tmp / "bad.json", stdin=b"hello")
    check("a schema that is not supported", rc != 0 and "bad.json" in err and not out, err)

    rc, out, err = run("-n", "30", "--seed", "2", "--json", stdin=b"hello")
    text = json.loads(out)["text"]
    word = text[3:5]
    rc, out, err = run("-n", "30", "--seed", "2", "--json", "--stop", word, stdin=b"hello")
    a = json.loads(out)
    check("--stop", a["ended_by"] == "stop" and a["text"] == text[:text.index(word)], (text, word, a))
    rc, out, err = run("-n", "4", "--verbose", stdin=b"hello")
    check("--verbose", rc == 0 and re.search(r"eval count: +4 token", err) and
          re.search(r"eval rate: +[\d.]+", err), err)
    rc, out, err = run("--ctx", "20", "--ignore-eos", "--seed", "1", stdin=b"hello")
    check("a full context is said", rc == 0 and "context of 20 tokens is full" in err, err)
    rc, out, err = run("--ctx", "20", stdin=b"hello " * 10)
    check("a prompt that is too long", rc == 1 and "nothing was cut" in err and not out, err)
    p = subprocess.Popen([BIN, "run", "--ignore-eos", "--ctx", "60000", "--seed", "1", "hello"][:2] +
                         ["--ignore-eos", "--ctx", "60000", "--seed", "1"], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    p.stdin.write(b"hello")
    p.stdin.close()
    first = p.stdout.read(1)
    p.send_signal(signal.SIGINT)
    rest = p.stdout.read()
    check("Ctrl-C in a pipe", p.wait(60) == 130 and first and rest.endswith(b"\n"), p.returncode)


def main():
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        home = tmp / "home"
        home.mkdir()
        interactive(home)
        more_terminals(home, tmp)
        reasoning(home, tmp)
        pipes(tmp)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed or not passed else 0


sys.exit(main())
