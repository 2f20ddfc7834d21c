#!/usr/bin/env python3
# bench/template_vs_jinja2.py - rendering chat templates: freehold against jinja2, one run, one thread each.
# SPDX-License-Identifier: Apache-2.0
"""template_vs_jinja2.py GOLDEN PEER-DATA [--lib build/rel/libfreehold.a] [--seconds 0.2] [--csv FILE --commit NAME]

For every template of GOLDEN/templates whose text is in PEER-DATA/templates: microseconds of CPU time per render over
the cases that have a prompt, for both sides in turn, the best of three turns each; templates are compiled and inputs
read beforehand. jinja2 (pip) is set up as transformers does it: immutable sandbox, trim_blocks,
lstrip_blocks, loop controls. freehold's figure includes turning the parsed JSON into template values, jinja2's inputs
are Python objects already. Inputs and cases are the same.
"""
import argparse, datetime, json, os, subprocess, sys, tempfile, time

import jinja2, jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = datetime.datetime(2026, 3, 9, 7, 5, 2)


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("run"), [], [], body).set_lineno(line)

    def run(self, caller):
        return caller()


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                        extensions=[Generation, jinja2.ext.loopcontrols])

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    return env


def jinja_seconds(template, cases, seconds):
    n, start = 0, time.process_time()
    while True:
        for c in cases:
            template.render(messages=c["messages"], tools=c["tools"], documents=None,
                            add_generation_prompt=c["add_generation_prompt"], bos_token=c["bos_token"],
                            eos_token=c["eos_token"], **c["kwargs"])
        n += len(cases)
        spent = time.process_time() - start
        if spent >= seconds:
            return spent / n


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("golden"), p.add_argument("peer"), p.add_argument("--lib", default="build/rel/libfreehold.a")
    p.add_argument("--seconds", type=float, default=0.2), p.add_argument("--csv")
    p.add_argument("--commit", default="unknown")
    a = p.parse_args()
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    env, rows = environment(), []
    with tempfile.TemporaryDirectory() as tmp:
        exe, case_file = os.path.join(tmp, "bench_template"), os.path.join(tmp, "cases.json")
        source = os.path.join(root, "bench", "bench_template.c")
        include = "-I" + os.path.join(root, "src")
        subprocess.run([os.environ.get("CC", "gcc"), "-std=c11", "-O2", "-D_GNU_SOURCE", include,
                        source, a.lib, "-lcrypto", "-lpthread", "-lm", "-o", exe], check=True)
        folder = os.path.join(a.golden, "templates")
        for name in sorted(os.listdir(folder)):
            path = os.path.join(a.peer, "templates", name[:-5] + ".jinja")
            if not name.endswith(".json") or not os.path.exists(path):
                continue
            g = json.load(open(os.path.join(folder, name), encoding="utf-8"))
            cases = [dict(messages=c["messages"], tools=c["tools"], add_generation_prompt=c["add_generation_prompt"],
                          kwargs=c["kwargs"], bos_token=g["bos_token"], eos_token=g["eos_token"])
                     for c in g["cases"] if "error" not in c]
            json.dump(cases, open(case_file, "w"))
            template = env.from_string(open(path, encoding="utf-8", newline="").read())
            theirs = ours = float("inf")
            for _ in range(3):
                theirs = min(theirs, jinja_seconds(template, cases, a.seconds))
                run = subprocess.run([exe, path, case_file, str(a.seconds)], check=True, capture_output=True)
                ours = min(ours, float(run.stdout) * 1e-9)
            rows.append((name[:-5], len(cases), ours * 1e6, theirs * 1e6, theirs / ours))
            print("%-50s %3d cases  freehold %8.2f us  jinja2 %8.2f us  ratio %6.1f" % rows[-1], flush=True)
    if not rows:
        sys.exit("no template of the golden data is in " + a.peer)
    ratios = sorted(r[4] for r in rows)
    print("%d templates: least ratio %.1f, median %.1f, of the sums %.1f" % (
        len(rows), ratios[0], ratios[len(ratios) // 2], sum(r[3] for r in rows) / sum(r[2] for r in rows)))
    if a.csv:
        with open(a.csv, "w") as f:
            f.write("commit,template,cases,freehold_us,jinja2_us,ratio\n")
            f.writelines("%s,%s,%d,%.3f,%.3f,%.2f\n" % ((a.commit,) + r) for r in rows)


main()
