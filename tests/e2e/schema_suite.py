#!/usr/bin/env python3
# tests/e2e/schema_suite.py - an instance is accepted by the compiled schema exactly if it is valid; jsonschema judges.
# SPDX-License-Identifier: Apache-2.0
"""schema_suite.py BINARY [--schemas N] [--seed N] [--suite DIR | --fetch DIR]

Three parts, each with its counts:
 1. random schemas over all supported keywords, with instances made to fit, to miss, and at random, in four spellings;
 2. with --suite: the JSON-Schema-Test-Suite's draft2020-12 folder (jsonschema's sdist carries it under json/tests);
    with --fetch: the same, and the judge with what it needs, fetched once by pip from PyPI into DIR and left there;
 3. large schemas: 100 of more than 200 properties with deep references, compiled within 250 ms of CPU each.
What is refused is printed with its reason and how often; what is known to differ is listed and counted. Closing line:
"N passed, N failed, N skipped"; exit 1 on any failure."""

import argparse, collections, glob, json, os, random, re, resource, subprocess, sys, tarfile, tempfile

VERSION = "4.26.0"  # of jsonschema: the judge, and the suite in its sdist
JUDGE = ["jsonschema==" + VERSION, "rfc3339-validator==0.1.4", "jsonpointer==3.1.1"]
jsonschema = None


def load_judge():
    global jsonschema
    try:
        import jsonschema
    except ImportError:
        sys.exit("schema_suite.py needs the Python package jsonschema (%s was used), or --fetch DIR" % VERSION)
    checkers = jsonschema.Draft202012Validator.FORMAT_CHECKER.checkers
    missing = [f for f in FORMATS if f not in checkers]
    if missing:
        sys.exit("schema_suite.py: the judge does not check these formats here: " + ", ".join(missing))


def fetch(folder):
    """The judge into folder/judge, the suite into folder/suite; gives the latter."""
    judge, suite = os.path.join(folder, "judge-" + VERSION), os.path.join(folder, "suite-" + VERSION)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    if not os.path.isdir(judge):
        with tempfile.TemporaryDirectory(dir=folder) as tmp:
            subprocess.run(pip + ["install", "--target", tmp + "/judge"] + JUDGE, check=True)
            os.rename(tmp + "/judge", judge)
    if not os.path.isdir(suite):
        with tempfile.TemporaryDirectory(dir=folder) as tmp:
            sdist = ["download", "--no-deps", "--no-binary", ":all:", "--dest", tmp, JUDGE[0]]
            subprocess.run(pip + sdist, check=True)
            head = "jsonschema-%s/json/tests/draft2020-12/" % VERSION
            with tarfile.open(glob.glob(tmp + "/*.tar.gz")[0]) as tar:
                for member in tar:
                    name = member.name[len(head):]
                    if not member.isfile() or not member.name.startswith(head) or not re.fullmatch(r"[\w./-]+", name):
                        continue
                    if ".." in name:
                        continue
                    path = os.path.join(tmp, "suite", name)
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    with open(path, "wb") as f:
                        f.write(tar.extractfile(member).read())
            os.rename(tmp + "/suite", suite)
    sys.path.insert(0, judge)
    return suite


# Known differences: (file, group or None, description or None) -> why.
DIFFER = [
    ("format.json", None, None, "formats are asserted here, annotations there"),
    ("float-overflow.json", None, None, "numbers with exponent where multipleOf applies"),
    ("date-time.json", None, "leap second, with", "leap seconds are accepted in UTC only"),
    ("time.json", None, "leap second", "leap seconds are accepted in UTC only"),
    ("refOfUnknownKeyword.json", None, None, "unknown keywords are refused"),
]
FORMATS = {  # valid, invalid
    "date": (["2024-02-29", "1999-12-31", "2000-01-01"], ["2023-02-29", "1999-13-01", "99-1-1", "2024-04-31", "", "x"]),
    "time": (["12:30:00Z", "23:59:59.5+01:00"], ["24:00:00Z", "12:30Z", "12:30:00", "12:60:00Z"]),
    "date-time": (
        ["2024-02-29T12:30:00Z", "1985-04-12T23:20:50.52-08:00"],
        ["2024-02-30T12:30:00Z", "2024-02-29 12:30", "2024-02-29"],
    ),
    "uuid": (
        ["2eb8aa08-aa98-11ea-b4aa-73b441d16380"],
        ["2eb8aa08aa9811eab4aa73b441d16380", "2eb8aa08-aa98-11ea-b4aa-73b441d1638", ""],
    ),
    "ipv4": (["0.0.0.0", "192.168.1.255"], ["256.0.0.1", "1.2.3", "01.2.3.4", "1.2.3.4.5"]),
    "ipv6": (
        ["::", "::1", "fe80::1:2", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4"],
        ["1::2::3", "12345::", "1:2:3:4:5:6:7", ":::"],
    ),
    "email": (["a.b@example.org", "x@y"], ["", "no-at", "no at all"]),
    "json-pointer": (["", "/a/b", "/a~1b/0"], ["a/b", "/a~2"]),
}
PATTERNS = [
    "^[a-c]+$",
    "b",
    "^a|c$",
    "^x.y$",
    "^(ab|cd){1,3}$",
    "[0-9]{2}",
    "^[^a]*$",
    "^$",
    "^\\d+(\\.\\d+)?$",
    "é",
    "^.{2,4}$",
    "\\.",
]
WORDS = [
    "",
    "a",
    "ab",
    "abc",
    "b",
    "c",
    "ca",
    "abcd",
    "cdab",
    "x1y",
    "12",
    "1.5",
    "é",
    "aé",
    "😀",
    'a"b',
    "\\",
    "\n",
    "ba",
    "zzzzzz",
    "a.b",
]
KEYS = ["a", "b", "ab", "abc", "c", "x", "x1", "é", "k/1", "q~", "", "long name"]
NUMS = [0, 1, -1, 2, 3, 5, 7, 10, 12, 99, 100, 101, -7, 0.5, 1.5, -0.25, 2.25, 10.0, 1000, 0.75, 3.0]


def plain(p):
    """A pattern as ECMA means it, for Python: $ is the very end."""
    return re.sub(r"(?<!\\)\$", r"\\Z", p)


class Maker:
    """Random schemas; size bounds the work of a schema, so that most are small."""

    def __init__(self, rng):
        self.r = rng

    def schema(self, depth):
        r = self.r
        if depth <= 0 or r.random() < 0.08:
            return r.choice(
                [True, {}, {"type": "integer"}, {"type": "string"}, {"type": "null"}, {"const": r.choice(WORDS + NUMS)}]
            )
        kind = r.choice(
            ["object", "object", "array", "string", "number", "enum", "any", "all", "one", "not", "if", "types", "ref"]
        )
        s = getattr(self, "make_" + kind)(depth - 1)
        if r.random() < 0.1:
            s["title"] = "t"
        if r.random() < 0.05 and isinstance(s.get("type"), str):
            s["nullable"] = True
        return s

    def make_object(self, d):
        r, s = self.r, {"type": "object"}
        if r.random() < 0.2:
            del s["type"]
        keys = r.sample(KEYS, r.randint(0, 4))
        if keys:
            s["properties"] = {k: (False if r.random() < 0.04 else self.schema(d)) for k in keys}
        if r.random() < 0.5:
            s["required"] = r.sample(keys, r.randint(0, len(keys))) + (["z"] if r.random() < 0.1 else [])
        if r.random() < 0.6:
            s["additionalProperties"] = r.choice([False, False, True, self.schema(d - 1)])
        if r.random() < 0.2:
            s["patternProperties"] = {
                r.choice(["^a", "b$", "^x[0-9]?$", "^(ab|c)$"]): self.schema(d - 1) for _ in range(r.randint(1, 2))
            }
        if r.random() < 0.12:
            s["propertyNames"] = r.choice([{"maxLength": 2}, {"pattern": "^[a-c]"}, {"enum": ["a", "b", "ab"]}])
        if r.random() < 0.15:
            s["minProperties"] = r.randint(0, 3)
        if r.random() < 0.15:
            s["maxProperties"] = r.randint(0, 4)
        if r.random() < 0.1 and keys:
            s["dependentRequired"] = {r.choice(keys): r.sample(KEYS, 1)}
        if r.random() < 0.05 and keys:
            s["dependentSchemas"] = {r.choice(keys): {"properties": {r.choice(KEYS): self.schema(0)}}}
        if r.random() < 0.08:
            s.pop("additionalProperties", None)
            s["allOf"] = [{"properties": {k: self.schema(0) for k in r.sample(KEYS, 2)}}]
            s["unevaluatedProperties"] = False
        return s

    def make_array(self, d):
        r, s = self.r, {"type": "array"}
        if r.random() < 0.7:
            s["items"] = False if r.random() < 0.1 else self.schema(d)
        if r.random() < 0.4:
            s["prefixItems"] = [self.schema(d) for _ in range(r.randint(1, 3))]
        if r.random() < 0.4:
            s["minItems"] = r.randint(0, 3)
        if r.random() < 0.4:
            s["maxItems"] = r.randint(0, 4)
        if s.get("maxItems", 9) < 2:
            s["uniqueItems"] = True
        return s

    def make_string(self, d):
        r, s = self.r, {"type": "string"}
        pick = r.random()
        if pick < 0.4:
            s["pattern"] = r.choice(PATTERNS)
        elif pick < 0.6:
            s["format"] = r.choice(list(FORMATS))
        if pick > 0.3 and r.random() < 0.6:
            s["minLength"] = r.randint(0, 3)
            s["maxLength"] = s["minLength"] + r.randint(0, 4) if "format" not in s else 60
        return s

    def make_number(self, d):
        r = self.r
        s = {"type": r.choice(["integer", "number"])}
        for k in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
            if r.random() < 0.35:
                s[k] = r.choice(NUMS)
        if r.random() < 0.25:
            s["multipleOf"] = r.choice([1, 2, 3, 7, 0.5, 0.25, 2.5])
        return s

    def make_enum(self, d):
        r = self.r
        return {
            "enum": r.sample(
                WORDS + NUMS + [None, True, False, [], {}, [1, "a"], {"a": 1}, {"a": {"b": []}}], r.randint(1, 6)
            )
        }

    def make_types(self, d):
        return {
            "type": self.r.sample(
                ["null", "boolean", "string", "integer", "number", "array", "object"], self.r.randint(1, 3)
            )
        }

    def make_any(self, d):
        return {"anyOf": [self.schema(d) for _ in range(self.r.randint(1, 3))]}

    def make_all(self, d):
        return {
            "allOf": [self.schema(d) for _ in range(self.r.randint(1, 2))],
            "type": self.r.choice(["object", "string", "integer"]),
        }

    def make_not(self, d):
        return {"not": self.schema(min(d, 1))}

    def make_if(self, d):
        return {"if": self.schema(min(d, 1)), "then": self.schema(d), "else": self.schema(d)}

    def make_ref(self, d):
        return {"$ref": self.r.choice(["#/$defs/A", "#/$defs/B", "#/$defs/tree"])}

    def make_one(self, d):
        if self.r.random() < 0.5:
            return {"oneOf": [self.schema(d) for _ in range(2)]}
        return {
            "oneOf": [
                {"type": "object", "properties": {"k": {"const": k}, "v": self.schema(d)}, "required": ["k"]}
                for k in ("a", "b", "c")
            ]
        }

    def document(self):
        s = self.schema(3)
        if not isinstance(s, dict):
            s = {"allOf": [s]}
        s["$defs"] = {
            "A": self.schema(1),
            "B": self.make_object(1),
            "tree": {
                "type": "object",
                "properties": {"left": {"$ref": "#/$defs/tree"}, "v": self.make_number(0)},
                "additionalProperties": False,
            },
        }
        return s


class Instances:
    """Instances: fitted to a schema where that is easy, otherwise anything."""

    def __init__(self, rng, root):
        self.r, self.root = rng, root

    def any(self, d):
        r, pick = self.r, self.r.random()
        if d > 0 and pick < 0.2:
            return [self.any(d - 1) for _ in range(r.randint(0, 3))]
        if d > 0 and pick < 0.45:
            return {r.choice(KEYS): self.any(d - 1) for _ in range(r.randint(0, 4))}
        return r.choice(
            [None, True, False, r.choice(NUMS), r.choice(WORDS), r.choice(r.choice(list(FORMATS.values()))[0])]
        )

    def fit(self, s, d=5):
        r = self.r
        if d <= 0 or not isinstance(s, dict) or r.random() < 0.03:
            return self.any(1)
        if "$ref" in s:
            to = self.root
            for step in s["$ref"].lstrip("#/").split("/"):
                to = to.get(step, {}) if step else to
            return self.fit(to, d - 1)
        for k in ("anyOf", "oneOf", "allOf"):
            if k in s and r.random() < 0.8:
                v = self.fit(r.choice(s[k]), d - 1)
                if isinstance(v, dict) and ("properties" in s or k == "allOf"):
                    v = {**v, **self.obj(s, d)} if "properties" in s else v
                return v
        if "if" in s:
            return self.fit(s[r.choice(["if", "then", "else"])], d - 1)
        if "const" in s:
            return s["const"]
        if "enum" in s:
            return r.choice(s["enum"])
        t = s.get("type")
        if isinstance(t, list):
            t = r.choice(t)
        if t is None:
            t = next(
                (
                    v
                    for k, v in (
                        ("properties", "object"),
                        ("items", "array"),
                        ("minimum", "number"),
                        ("pattern", "string"),
                    )
                    if k in s
                ),
                None,
            )
        if s.get("nullable") and r.random() < 0.2:
            return None
        if t == "object":
            return self.obj(s, d)
        if t == "array":
            n = max(
                0,
                r.randint(
                    s.get("minItems", 0) - (r.random() < 0.1),
                    max(s.get("minItems", 0), min(s.get("maxItems", 3), 4)) + (r.random() < 0.1),
                ),
            )
            pre = s.get("prefixItems", [])
            return [self.fit(pre[i] if i < len(pre) else s.get("items", True), d - 1) for i in range(n)]
        if t == "string":
            return r.choice(FORMATS[s["format"]][r.random() < 0.3]) if "format" in s else r.choice(WORDS)
        if t in ("integer", "number"):
            near = [
                s[k] for k in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf") if k in s
            ]
            return r.choice(near) + r.choice([0, 0, 1, -1, 0.5, 0.25]) if near and r.random() < 0.8 else r.choice(NUMS)
        return {"null": None, "boolean": True}.get(t, self.any(2))

    def obj(self, s, d):
        r, props = self.r, s.get("properties", {})
        out = {k: self.fit(v, d - 1) for k, v in props.items() if k in s.get("required", []) or r.random() < 0.6}
        for k in s.get("required", []):
            if r.random() < 0.95:
                out.setdefault(k, self.any(1))
        if r.random() < 0.4:
            out[r.choice(KEYS)] = (
                self.fit(s["additionalProperties"], d - 1)
                if isinstance(s.get("additionalProperties"), dict)
                else self.any(1)
            )
        items = list(out.items())
        r.shuffle(items)
        return dict(items)


def spellings(v, rng):
    kw = [dict(), dict(ensure_ascii=False), dict(indent=2), dict(separators=(",", ":"))]
    return json.dumps(v, **rng.choice(kw)) if rng else [json.dumps(v, **k) for k in kw]


def judged(s):
    """The schema as the judge must see it: nullable spelled out, patterns in Python's dialect."""
    if isinstance(s, list):
        return [judged(x) for x in s]
    if not isinstance(s, dict):
        return s
    out = {}
    for k, v in s.items():
        if k in ("enum", "const"):
            out[k] = v
        elif k == "pattern" and isinstance(v, str):
            out[k] = plain(v)
        elif k == "patternProperties":
            out[k] = {plain(p): judged(x) for p, x in v.items()}
        elif k in ("properties", "$defs", "dependentSchemas"):
            out[k] = {p: judged(x) for p, x in v.items()}
        else:
            out[k] = judged(v)
    if out.pop("nullable", False) and "type" in out:
        t = out["type"]
        out["type"] = (t if isinstance(t, list) else [t]) + ["null"]
    return out


def run(binary, path, texts):
    p = subprocess.run(
        [binary, "grammar", "match", path, "--batch"],
        input="".join(json.dumps(t) + "\n" for t in texts),
        capture_output=True,
        text=True,
    )
    return p.stdout.split(), p.stderr.strip()


def verdict(judge, v):
    """None where the judge itself does not come to an end (a schema that refers to itself)."""
    try:
        return judge.is_valid(v)
    except RecursionError:
        return None


def has_exponent(v):
    if isinstance(v, list):
        return any(map(has_exponent, v))
    if isinstance(v, dict):
        return any(map(has_exponent, v.values()))
    return isinstance(v, float) and "e" in repr(v)


def generated(a, tmp):
    rng, refused, kept, failed = random.Random(a.seed), collections.Counter(), 0, 0
    counts, used = collections.Counter(), collections.Counter()
    path = os.path.join(tmp, "schema.json")
    for i in range(a.schemas):
        doc = Maker(rng).document()
        jsonschema.Draft202012Validator.check_schema(judged(doc))
        with open(path, "w") as f:
            json.dump(doc, f)
        make = Instances(rng, doc)
        values = [make.fit(doc) for _ in range(40)] + [make.any(3) for _ in range(10)]
        values = [v for v in values if not has_exponent(v)]
        texts = [spellings(v, rng) for v in values]
        got, says = run(a.binary, path, texts)
        if len(got) != len(texts):
            reason = says.split("schema: ")[-1]
            refused[re.sub(r"^'[^']*?([^/']*)'", r"\1", reason).split(" (at byte")[0][:100]] += 1
            if "no value satisfies" in reason:  # then the judge must find none valid either
                judge = jsonschema.Draft202012Validator(
                    judged(doc), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
                )
                bad = [v for v in values if verdict(judge, v)]
                failed += len(bad)
                if bad:
                    print("FAIL: said to be empty, but %s is valid: %s" % (json.dumps(bad[0]), json.dumps(doc)))
            continue
        kept += 1
        used.update(k for k in re.findall(r'"(\$?[a-zA-Z]+)":', json.dumps(doc)))
        judge = jsonschema.Draft202012Validator(
            judged(doc), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
        )
        for v, t, g in zip(values, texts, got):
            want = verdict(judge, v)
            counts[want] += 1
            if want is None:
                continue
            if (g == "true") != want:
                failed += 1
                if failed < 20:
                    print("FAIL: %s is %s, judged %s: %s" % (t, g, want, json.dumps(doc)))
    print(
        "generated: %d schemas compiled, %d refused; instances: %d valid, %d invalid, %d without verdict"
        % (kept, a.schemas - kept, counts[True], counts[False], counts[None])
    )
    print("  keywords used: " + ", ".join("%s %d" % (k, n) for k, n in used.most_common() if k in KEYWORDS))
    for why, n in refused.most_common():
        print("  refused %4d: %s" % (n, why))
    return counts[True] + counts[False] - failed, failed


KEYWORDS = set(
    """type enum const properties required additionalProperties patternProperties propertyNames
minProperties maxProperties dependentRequired dependentSchemas unevaluatedProperties items
prefixItems minItems maxItems uniqueItems minimum maximum exclusiveMinimum exclusiveMaximum
multipleOf minLength maxLength pattern format allOf anyOf oneOf not if then else $ref $defs nullable""".split()
)


def suite(a, tmp):
    passed = failed = 0
    refused, groups, differ = collections.Counter(), 0, collections.Counter()
    path = os.path.join(tmp, "suite.json")
    files = sorted(
        glob.glob(a.suite + "/*.json")
        + glob.glob(a.suite + "/optional/*.json")
        + glob.glob(a.suite + "/optional/format/*.json")
    )
    if not files:
        sys.exit("schema_suite.py: no tests under " + a.suite)
    for f in files:
        name = os.path.basename(f)
        for g in json.load(open(f)):
            groups += 1
            with open(path, "w") as out:
                json.dump(g["schema"], out)
            tests = [(t, s) for t in g["tests"] for s in spellings(t["data"], None)]
            got, says = run(a.binary, path, [s for _, s in tests])
            if len(got) != len(tests):
                reason = says.split("schema: ")[-1].split(" (at byte")[0]
                refused[(name, re.sub(r"^'[^']*?([^/']*)'", r"\1", reason)[:90])] += 1
                if "no value satisfies" in reason:
                    got = ["false"] * len(tests)
                else:
                    continue
            for (t, s), o in zip(tests, got):
                if (o == "true") == t["valid"]:
                    passed += 1
                    continue
                why = [d[3] for d in DIFFER if d[0] == name and (d[2] is None or d[2] in t["description"])]
                if why:
                    differ[(name, why[0])] += 1
                else:
                    failed += 1
                    print("FAIL %s: %s: %s: %s is %s" % (name, g["description"], t["description"], s, o))
    print("suite: %d groups, %d of them excluded because the compiler refuses the schema; %d texts as judged"
          % (groups, sum(refused.values()), passed))
    for (name, why), n in sorted(differ.items()):
        print("  differs %3d in %s: %s" % (n, name, why))
    for (name, why), n in sorted(refused.items()):
        print("  excluded %3d in %s: %s" % (n, name, why))
    return passed, failed


def large(a, tmp):
    rng, failed = random.Random(a.seed + 1), 0
    path, times = os.path.join(tmp, "large.json"), []
    for i in range(100):
        maker, defs = Maker(rng), {}
        for k in range(40):
            defs["d%d" % k] = {
                "type": "object",
                "properties": {"p%d" % j: maker.schema(0) for j in range(6)},
                "required": ["p0"],
                "additionalProperties": False,
            }
            defs["d%d" % k]["properties"]["next"] = {"$ref": "#/$defs/d%d" % ((k + 1) % 40)}
            if k % 5 == 0:
                defs["d%d" % k]["properties"]["also"] = {
                    "anyOf": [{"$ref": "#/$defs/d%d" % rng.randrange(40)}, {"type": "null"}]
                }
        props = {
            "property_%d_%s"
            % (j, rng.choice(KEYS)): rng.choice(
                [
                    {"type": "string"},
                    {"type": "string", "maxLength": 40},
                    {"type": "integer", "minimum": 0, "maximum": j},
                    {"enum": ["v%d" % n for n in range(12)]},
                    {"type": "array", "items": {"$ref": "#/$defs/d%d" % rng.randrange(40)}},
                    {"$ref": "#/$defs/d%d" % rng.randrange(40)},
                    {"type": "string", "format": rng.choice(["date", "uuid", "ipv4"])},
                    {"type": ["number", "null"], "exclusiveMinimum": -1.5},
                ]
            )
            for j in range(200 + i)
        }
        doc = {
            "type": "object",
            "properties": props,
            "required": list(props)[::2],
            "additionalProperties": i % 2 == 0,
            "$defs": defs,
        }
        with open(path, "w") as f:
            json.dump(doc, f)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        p = subprocess.run([a.binary, "grammar", "check", path, "--json"], capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        ms = 1000 * (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
        times.append(ms)
        if p.returncode or ms > 250:
            failed += 1
            print("FAIL: large schema %d: %.0f ms: %s" % (i, ms, p.stderr.strip()[:300]))
    times.sort()
    print("large: 100 schemas, CPU per process: median %.1f ms, worst %.1f ms" % (times[50], times[-1]))
    return 100 - failed, failed


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("binary")
    p.add_argument("--schemas", type=int, default=1000)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--suite")
    p.add_argument("--fetch")
    a = p.parse_args()
    if a.fetch:
        os.makedirs(a.fetch, exist_ok=True)
        a.suite = fetch(a.fetch)
    load_judge()
    passed = failed = 0
    with tempfile.TemporaryDirectory() as tmp:
        for part in [generated, large] + ([suite] if a.suite else []):
            ok, bad = part(a, tmp)
            passed, failed = passed + ok, failed + bad
    if not a.suite:
        print("skipped: the JSON-Schema-Test-Suite (no --suite, no --fetch)")
    print("%d passed, %d failed, %d skipped" % (passed, failed, 0 if a.suite else 1))
    sys.exit(1 if failed else 0)


main()
