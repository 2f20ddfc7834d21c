#!/usr/bin/env python3
"""tools/gen_license_hashes.py DIR [--check] - fills the digests in src/library/license.def from the texts they name.

DIR is `licensedcode/data/licenses` of the PyPI package scancode-toolkit-mini; .source of a row is a file there, whose
text starts after the front matter. Nothing of the texts is kept: only the sha256 of the normalized text and of the
byte ranges of the clauses in it. --check writes nothing and fails when the table would change. Standard library only.
"""
import hashlib
import pathlib
import re
import sys

DEF = pathlib.Path(__file__).resolve().parent.parent / "src/library/license.def"
TITLES = {"MIT License", "The MIT License (MIT)", "The MIT License"}
WORDS = {"use", "used", "uses", "not", "only", "must", "shall", "may", "except", "unless", "fee", "no", "if", "will"}
STEMS = ("licens", "licenc", "permi", "prohib", "commerc", "requir", "restrict", "provid", "condition", "subject",
         "grant", "royalt", "without")
FOLD = {"\u00a0": " ", "\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'", "\u00a9": "(c)"}


def is_owner_line(line):
    """A line that only says whose copyright it is; anything that might be a condition is none."""
    s = line.strip(" \t\r\v\f").encode()
    if not s.startswith(b"Copyright ") or len(s) > 120:
        return False
    if any(c < 128 and not chr(c).isalnum() and chr(c) not in " .,&'()<>[]{}@:/-+_\"" for c in s):
        return False
    low = s.lower().decode("latin-1")
    words = re.findall("[a-z]+", low)
    return not any(w in WORDS for w in words) and not any(x in low for x in STEMS)


def normalize(text, owner):
    """As fh_license_normalize in src/library/license_text.c does it."""
    text = text.removeprefix("\ufeff")
    if owner:
        kept = []
        for line in text.split("\n"):
            bare = line.strip(" \t\r\v\f")
            if is_owner_line(line) or (bare in TITLES and not any(k.strip() for k in kept)):
                continue
            kept.append(line)
        text = "\n".join(kept)
    for a, b in FOLD.items():
        text = text.replace(a, b)
    return re.sub("[ \t\n\r\v\f]+", " ", text).strip(" ").encode()


def source_text(folder, name):
    name, _, cut = name.partition("!")  # "apache-2.0!": up to the line that ends the terms
    whole = (folder / f"{name}.LICENSE").read_text(encoding="utf-8")
    text = whole.split("\n---\n", 1)[1]
    if cut:
        text = text[:text.index(cut) + len(cut)]
    return text


def main():
    folder, check = pathlib.Path(sys.argv[1]), "--check" in sys.argv[2:]
    old = DEF.read_text(encoding="utf-8")
    texts = {}

    def row(m):
        body = m.group(0)
        source = re.search(r'\.source = "([^"]*)"', body).group(1)
        texts[m.group(1)] = data = normalize(source_text(folder, source), ".form = FH_LICENSE_FORM_OWNER" in body)
        return re.sub(r'\.sha256 = "[0-9a-f]*"', f'.sha256 = "{hashlib.sha256(data).hexdigest()}"', body)

    def clause(m):
        at, n = int(m.group(3)), int(m.group(4))
        part = texts[m.group(1)][at:at + n]
        assert len(part) == n, f"{m.group(1)} {m.group(2)}: the text is shorter"
        return f'{m.group(0)[:m.group(0).rindex(chr(34), 0, -2) + 1]}{hashlib.sha256(part).hexdigest()}")'

    new = re.sub(r"^FH_LICENSE_ROW\((\w+),.*?\n\)", row, old, flags=re.S | re.M)
    new = re.sub(r'FH_LICENSE_CLAUSE_ROW\((\w+), (\w+), (\d+), (\d+),\s+"[0-9a-f]*"\)', clause, new)
    if check and new != old:
        sys.exit("license.def is not what the texts give")
    if not check:
        DEF.write_text(new, encoding="utf-8")
    print(f"{len(texts)} texts, {len(re.findall('FH_LICENSE_CLAUSE_ROW.[A-Z]', new))} clauses: "
          f"{'as they are' if new == old else 'digests written'}")


if __name__ == "__main__":
    main()
