#!/usr/bin/env python3
"""tests/e2e/test_passport.py BINARY [DATA [DIR]] - `freehold passport` and `freehold export`, from outside.

With DIR (the tier that may fetch from PyPI): exports are read by cyclonedx-python-lib and by SPDX's own Python model,
fetched by pip into DIR, and a licence that forbids is taken from scancode-toolkit-mini's texts where test_license.py
has left them there. Closing line: N passed, N failed, N skipped.
"""

import hashlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

BIN = str(pathlib.Path(sys.argv[1]).resolve())
DATA = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else "tests/golden").resolve()
DIR = pathlib.Path(sys.argv[3]).resolve() if len(sys.argv) > 3 else None
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MODEL = DATA / "models" / "qwen35-moe"
passed = failed = 0
CARD = """---
license: apache-2.0
datasets:
- some/corpus
language: [en]
pipeline_tag: text-generation
---
# A model
This card has a few sections, and says in one of them what the model cannot do, so that there is something to find in
it, and more than forty words in all, because a card of fewer words says nothing that anybody could rely on later.
## Limitations
It has random weights, and whatever it answers is noise; nobody should use it for anything but tests of a program.
"""
ENV = {**os.environ, "HF_HUB_CACHE": "/nonexistent", "OLLAMA_MODELS": "/nonexistent"}


def check(name, ok, text=""):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print(f"FAIL {name}: {str(text)[:600]}")


def run(*args, env=None):
    return subprocess.run([BIN, *map(str, args)], capture_output=True, text=True, timeout=300, env=env or ENV)


def passport(model, *args, env=None):
    p = run("passport", model, "--json", *args, env=env)
    return json.loads(p.stdout) if p.returncode == 0 else None


def make_model(folder, license_text=ROOT / "LICENSE", card=CARD):
    folder.mkdir(parents=True)
    for path in MODEL.iterdir():
        if path.name not in ("case.json", "logits.f32", "digests.json"):
            shutil.copy(path, folder)
    if license_text:
        shutil.copy(license_text, folder / "LICENSE")
    if card:
        (folder / "README.md").write_text(card)
    (folder / "NOTICE").write_text("Copyright of the test\n")
    return folder


def facts(tmp):
    model = make_model(tmp / "open")
    p = passport(model)
    check("a passport", p)
    areas = ("identity", "weights", "licence", "training", "reproducibility", "architecture", "safety")
    rows = [(a, k, f) for a in areas for k, f in p[a].items()]
    check("all areas", len(rows) >= 60, len(rows))
    for a, k, f in rows:
        stated = f["value"] not in ("unknown", "absent")
        check(f"{a}.{k}: a source when stated", not stated or (f.get("source") and f.get("by")), f)
    known = {layer["layer"]: (layer["known"], layer["of"]) for layer in p["layers"]}
    check("five layers", len(known) == 5, known)
    stated = sum(f["value"] not in ("unknown", "absent") for f in p["training"].values())
    check("unknown never counts", known["training transparency"] == (stated, len(p["training"])), known)
    check("licence by its text", p["licence"]["license"]["value"].startswith("apache-2.0"), p["licence"]["license"])
    check("data sources", p["training"]["data_sources"]["value"] == "some/corpus", p["training"]["data_sources"])
    card = hashlib.sha256(CARD.encode()).hexdigest()
    check("the card's digest", p["safety"]["limits"]["sha256"] == card, p["safety"]["limits"])
    for f in p["files"]:
        data = (model / f["path"]).read_bytes()
        check(
            f"{f['path']}: digest and size", f["sha256"] == hashlib.sha256(data).hexdigest() and f["bytes"] == len(data)
        )
    v = p["verdicts"]
    check("OSAID is not met by weights alone", v["osaid"]["verdict"] == "unknown", v["osaid"])
    check("parameters are open", [x["state"] for x in v["osaid"]["parts"]][2] == "pass", v["osaid"])
    check("no MOF class without a data card", v["mof"]["class"] == 0, v["mof"])
    check(
        "run, not rebuilt",
        p["standing"] == "run" and p["sentence"].startswith("Rented, run, or rebuilt:"),
        p["sentence"],
    )
    check("no path of this machine", str(tmp) not in json.dumps(p))
    check("--no-read leaves digests open", passport(model, "--no-read")["files"][0]["sha256"] == "unknown")
    md = run("passport", model).stdout
    check("Markdown says the same", "| Data sources | some/corpus |" in md and p["sentence"].split(".")[0] in md, md)

    # a checksum beside the file, right and wrong
    name = p["files"][0]["path"]
    (model / "SHA256SUMS").write_text(f"{p['files'][0]['sha256']}  {name}\n")
    check("a checksum holds", passport(model)["verdicts"]["supply_chain"] == "checksums")
    (model / "SHA256SUMS").write_text(f"{'0' * 64}  {name}\n")
    check("a checksum differs", passport(model)["verdicts"]["supply_chain"] == "mismatch")
    (model / "SHA256SUMS").unlink()

    whole = make_model(
        tmp / "whole", card=CARD + "## Training data\n" + "word " * 30 + "\n## Filtering\n" + "word " * 30
    )
    for extra in ("DATA_CARD.md", "train_model.py", "preprocess.py", "modeling_x.py"):
        (whole / extra).write_text("x\n")
    check("everything here: rebuilt", passport(whole)["standing"] == "rebuilt")
    closed = make_model(tmp / "closed", license_text=None)
    p = passport(closed)
    check(
        "a tag is no licence",
        p["licence"]["license"]["value"] == "unknown" and p["verdicts"]["licence_family"] == "unknown",
    )
    empty = tmp / "empty"
    empty.mkdir()
    check("an empty folder: rented", passport(empty)["standing"] == "rented")
    check("not there", run("passport", tmp / "nowhere").returncode == 1)
    check("no such form", run("passport", model, "--format", "yaml").returncode == 2)


def export(tmp):
    model = make_model(tmp / "export-from")
    out = tmp / "export-to"
    p = run("export", model, out, "--json")
    check("exported", p.returncode == 0, p.stderr)
    names = set(json.loads(p.stdout)["files"])
    check(
        "what belongs to it",
        {"LICENSE", "NOTICE", "PASSPORT.md", "passport.json", "config.json", "SHA256SUMS"} <= names,
        names,
    )
    check("nothing else", names == {x.name for x in out.iterdir()}, list(out.iterdir()))
    sums = dict(reversed(line.split("  ", 1)) for line in (out / "SHA256SUMS").read_text().splitlines())
    check("every file has its digest", set(sums) == names - {"SHA256SUMS"}, sums)
    for name, digest in sums.items():
        check(f"{name}: digest", hashlib.sha256((out / name).read_bytes()).hexdigest() == digest)
    check("its own notice goes on", (out / "NOTICE").read_text().startswith("Copyright of the test"))
    check("the licence goes on", (out / "LICENSE").read_bytes() == (model / "LICENSE").read_bytes())
    check("it still opens", run("show", out).returncode == 0)
    check("never over a folder in use", run("export", model, out).returncode == 1)
    check("needs a folder", run("export", model).returncode == 2)
    closed = make_model(tmp / "export-closed", license_text=None)
    p = run("export", closed, tmp / "refused")
    check(
        "unknown terms are refused",
        p.returncode == 1 and "unknown" in p.stderr and not (tmp / "refused").exists(),
        p.stderr,
    )
    check("unless taken on", run("export", closed, tmp / "taken", "--accept-unknown").returncode == 0)


def forms(tmp):
    model = tmp / "open"
    cdx = json.loads(run("passport", model, "--format", "cyclonedx").stdout)
    check(
        "CycloneDX",
        cdx["bomFormat"] == "CycloneDX" and cdx["metadata"]["component"]["type"] == "machine-learning-model",
    )
    check("its licence", cdx["metadata"]["component"]["licenses"][0]["license"]["id"] == "Apache-2.0")
    spdx = json.loads(run("passport", model, "--format", "spdx").stdout)
    kinds = [x["type"] for x in spdx["@graph"]]
    check("SPDX", kinds.count("ai_AIPackage") == 1 and "SpdxDocument" in kinds, kinds)
    ids = {x["spdxId"] for x in spdx["@graph"] if "spdxId" in x}
    used = {y for x in spdx["@graph"] if x["type"] == "Relationship" for y in [x["from"], *x["to"]]}
    check("every reference is there", used <= ids, used - ids)
    document = next(x for x in spdx["@graph"] if x["type"] == "SpdxDocument")
    check("the AI profile is not claimed where it cannot be met", "ai" not in document["profileConformance"])

    # a store that knows publisher, revision and repository
    commit = "0123456789abcdef0123456789abcdef01234567"
    repo = tmp / "hub" / "models--meta-llama--Llama-3.1-8B-Instruct"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(commit)
    shutil.copytree(model, repo / "snapshots" / commit)
    env = {**ENV, "HF_HUB_CACHE": str(tmp / "hub")}
    p = passport("meta-llama/Llama-3.1-8B-Instruct", env=env)
    check("revision", p["identity"]["revision"]["value"] == commit, p["identity"])
    spdx2 = json.loads(run("passport", "meta-llama/Llama-3.1-8B-Instruct", "--format", "spdx", env=env).stdout)
    document = next(x for x in spdx2["@graph"] if x["type"] == "SpdxDocument")
    check("the AI profile where it is met", "ai" in document["profileConformance"])
    return cdx, [spdx, spdx2]


def validate(tmp, cdx, spdx):
    site = DIR / "bom"
    if not (site / "cyclonedx").is_dir():
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--target",
                str(site),
                "cyclonedx-python-lib[json-validation]",
                "spdx-python-model",
            ],
            check=True,
        )
    sys.path.insert(0, str(site))
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
    from spdx_python_model import v3_0_1 as model

    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(cdx))
    check("CycloneDX validates", wrong is None, wrong)
    del cdx["bomFormat"]
    check("and would not without its format", JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(cdx)))

    def read(doc):
        found = model.SHACLObjectSet()
        model.JSONLDDeserializer().read(io.BytesIO(json.dumps(doc).encode()), found)
        found.link()
        model.JSONLDSerializer().write(found, io.BytesIO())  # checks what is required
        return found

    for doc in spdx:
        found = read(doc)
        check("SPDX reads, nothing is missing", not found.missing_ids, found.missing_ids)
        for x in doc["@graph"]:
            if x["type"] != "Relationship":
                continue
            broken = json.loads(json.dumps(doc))
            next(y for y in broken["@graph"] if y.get("spdxId") == x["spdxId"]).pop("from")
            try:
                read(broken)
                check("SPDX without a required field", False)
            except Exception:
                check("SPDX without a required field", True)
    texts = DIR / "licensedcode/data/licenses"
    if (texts / "cc-by-nc-4.0.LICENSE").is_file():
        text = (texts / "cc-by-nc-4.0.LICENSE").read_text(encoding="utf-8").split("---\n", 2)[2]
        (tmp / "nc.txt").write_text(text)
        nc = make_model(tmp / "nc", license_text=tmp / "nc.txt", card=CARD.replace("apache-2.0", "cc-by-nc-4.0"))
        (tmp / "org.json").write_text(
            json.dumps(
                {
                    "seat": "US",
                    "countries": ["US"],
                    "sector": "commercial",
                    "sells_inference": True,
                    "monthly_active_users": 5,
                    "monthly_revenue": 5,
                    "annual_revenue": 5,
                }
            )
        )
        p = run("export", nc, tmp / "nc-out", "--org", tmp / "org.json", "--accept-unknown")
        check(
            "forbidden is refused", p.returncode == 1 and "forbidden" in p.stderr and not (tmp / "nc-out").exists(), p
        )
        p = passport(nc)
        check("not open: OSAID fails", p["verdicts"]["osaid"]["verdict"] == "fail", p["verdicts"]["osaid"])
        check("its family", p["verdicts"]["licence_family"] == "non-commercial", p["verdicts"])


with tempfile.TemporaryDirectory() as d:
    facts(pathlib.Path(d))
    export(pathlib.Path(d))
    made = forms(pathlib.Path(d))
    if DIR:
        validate(pathlib.Path(d), *made)
print(f"{passed} passed, {failed} failed, 0 skipped")
sys.exit(failed > 0)
