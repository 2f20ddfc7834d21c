#!/usr/bin/env python3
# tests/golden/jinja/make_cases.py - renders the templates of cases.json again with jinja2 and writes the answers back.
# SPDX-License-Identifier: Apache-2.0
"""Usage: make_cases.py   (pip install Jinja2==3.1.6)

cases.json: {"values": {...}, "cases": [[template, answer or null], ...]}. null: the reference refuses to compile or to
render. jinja2 is set up as transformers sets it up for chat templates. To add a case, add its template with any answer
and run this.
"""
import copy
import datetime
import json
import os

import jinja2
import jinja2.ext
import jinja2.utils
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


class Dict:
    def __call__(self, *args, **kwargs):
        return dict(*args, **kwargs)

    def fromkeys(self, *args, **kwargs):
        return dict.fromkeys(*args, **kwargs)


class Namespace(jinja2.utils.Namespace):
    def __init__(*args, **kwargs):
        attrs = dict(*args[1:], **kwargs)
        for name in attrs:
            Namespace.check(name)
        jinja2.utils.Namespace.__init__(args[0], attrs)

    def __setitem__(self, name, value):
        Namespace.check(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)

    @staticmethod
    def check(name):
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(name)


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                        extensions=[Generation, jinja2.ext.loopcontrols])

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    env.filters["tojson"] = tojson
    env.globals.update(raise_exception=raise_exception, strftime_now=NOW.strftime, dict=Dict(), namespace=Namespace)
    return env


def main():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "cases.json")
    doc, env = json.load(open(path, encoding="utf-8")), environment()
    for case in doc["cases"]:
        try:
            case[1] = env.from_string(case[0]).render(**copy.deepcopy(doc["values"]))
        except Exception:
            case[1] = None
    with open(path, "w", encoding="utf-8") as f:
        f.write('{"values": %s,\n"cases": [\n' % json.dumps(doc["values"], ensure_ascii=False))
        f.write(",\n".join(json.dumps(c, ensure_ascii=False) for c in doc["cases"]))
        f.write("\n]}\n")


main()
