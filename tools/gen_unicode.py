#!/usr/bin/env python3
# tools/gen_unicode.py - writes src/text/unicode_tables.c from the files of the Unicode Character Database.
# SPDX-License-Identifier: Apache-2.0
"""Usage: gen_unicode.py UCD_DIR > src/text/unicode_tables.c
       gen_unicode.py --python          (3.11: the digest that tests/unit/test_unicode.c expects)

UCD_DIR holds UnicodeData.txt, PropList.txt, DerivedCoreProperties.txt, Scripts.txt, PropertyValueAliases.txt,
CaseFolding.txt, SpecialCasing.txt, DerivedAge.txt and DerivedNumericType.txt as unicode.org publishes them. The file in
the tree is Unicode 16.0.0: the version of the Oniguruma in Hugging Face tokenizers 0.23 and of the regex-syntax crate
in tiktoken 0.14, found by asking both about code points that 15.1, 16.0 and 17.0 added. (DerivedAge.txt,
DerivedNumericType.txt and SpecialCasing.txt may be older: only what is up to 14.0, ideographs that are numbers, and
unconditional casings are read from them.)

Others froze older versions: Hugging Face's classes of BERT 8.0, its StripAccents 9.0, the Python that templates are
written for 14.0. What is newer is unassigned there, so a code point's age gives their answer; what a later version
changed of a code point that was there already is in PAST. With these, the classes of 8.0 and 9.0 that char_class.h
names, and all that Python 3.11's str methods say, came out equal over all code points.

Normal forms are another matter: Hugging Face tokenizers normalizes by Unicode 9.0 (U+1DF7, new in 10.0, stays where it
is). So code points that are newer than that and would take part in normalization are marked as late.
"""

import hashlib
import pathlib
import struct
import sys

END = 0x110000
BLOCK = 128
CATS = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co Cn".split()
WHITE, HAN, LATE, UPPER, LOWER, DIGIT, NUMERIC = (1 << n for n in range(5, 12))
AGE_SHIFT, CHANGED = 12, 1 << 14
AGES = (8, 9, 14)  # the number of the first that has it, or 3, is a code point's age
# (first, last, newest of AGES that holds it, category then, not yet Lowercase)
PAST = [
    (0x10FC, 0x10FC, 14, "Lm", True),
    (0x166D, 0x166D, 9, "Po", False),
    (0x1734, 0x1734, 9, "Mn", False),
    (0x1885, 0x1886, 8, "Lo", False),
    (0x1CF2, 0x1CF3, 9, "Mc", False),
    (0xA7F2, 0xA7F4, 14, "Lm", True),
    (0xA9BD, 0xA9BD, 9, "Mc", False),
    (0xAB69, 0xAB69, 14, "Lm", True),
    (0x111C9, 0x111C9, 9, "Po", False),
    (0x1171E, 0x1171E, 14, "Mn", False),
]


def rows(path):
    for line in path.read_text(encoding="utf-8").splitlines():
        line = line.split("#")[0].strip()
        if line:
            yield [x.strip() for x in line.split(";")]


def span(text):
    a, _, b = text.partition("..")
    return int(a, 16), int(b or a, 16)


def version_of(path):
    first = path.read_text(encoding="utf-8").splitlines()[0]
    return first.rsplit("-", 1)[1].removesuffix(".txt")


def late(ucd):
    """Newer than 9.0, and with a combining class or decomposition or part of a newer composition."""
    old = set()
    for r in rows(ucd / "DerivedAge.txt"):
        if int(r[1].split(".")[0]) <= 9:
            a, b = span(r[0])
            old.update(range(a, b + 1))
    new = set()
    for r in rows(ucd / "UnicodeData.txt"):
        cp = int(r[0], 16)
        if cp not in old and (r[3] != "0" or r[5]):
            new.add(cp)
            if not r[5].startswith("<"):
                new.update(x for x in (int(y, 16) for y in r[5].split()) if x not in old)
    return new


def ages(ucd):
    age = [len(AGES)] * END
    for r in rows(ucd / "DerivedAge.txt"):
        major, minor = map(int, r[1].split("."))
        a, b = span(r[0])
        for c in range(a, b + 1):
            age[c] = sum((major, minor) > (x, 0) for x in AGES)
    return age


def props(ucd):
    prop = [CATS.index("Cn")] * END
    start = None
    for r in rows(ucd / "UnicodeData.txt"):
        cp, name, cat = int(r[0], 16), r[1], CATS.index(r[2])
        first = start if name.endswith("Last>") else cp
        start = cp
        for c in range(first, cp + 1):
            prop[c] = cat
        if r[7]:
            prop[cp] |= DIGIT
        if r[8]:
            prop[cp] |= NUMERIC
    for c in late(ucd):
        prop[c] |= LATE
    for file, want, bit in (
        ("PropList.txt", "White_Space", WHITE),
        ("Scripts.txt", "Han", HAN),
        ("DerivedCoreProperties.txt", "Uppercase", UPPER),
        ("DerivedCoreProperties.txt", "Lowercase", LOWER),
        ("DerivedNumericType.txt", "Numeric", NUMERIC),
    ):
        for r in rows(ucd / file):
            if r[1] == want:
                a, b = span(r[0])
                for c in range(a, b + 1):
                    prop[c] |= bit
    for c, age in enumerate(ages(ucd)):
        prop[c] |= age << AGE_SHIFT
    for first, last, _, _, _ in PAST:
        for c in range(first, last + 1):
            prop[c] |= CHANGED
    return prop


def past(prop):
    """first, last, newest age that holds it, record then"""
    for first, last, version, cat, small in PAST:
        then = (prop[first] & ~(CHANGED | 0x1F)) | CATS.index(cat)
        yield first, last, AGES.index(version), then & ~LOWER if small else then


def runs_of(points):
    """Sorted code points to inclusive runs."""
    out = []
    for p in sorted(points):
        if out and out[-1][1] == p - 1:
            out[-1][1] = p
        else:
            out.append([p, p])
    return out


def named_sets(ucd):
    """Scripts and three binary properties"""
    sets = {}
    for r in rows(ucd / "Scripts.txt"):
        a, b = span(r[0])
        sets.setdefault(r[1], set()).update(range(a, b + 1))
    for r in rows(ucd / "DerivedCoreProperties.txt"):
        if r[1] in ("Uppercase", "Lowercase", "Alphabetic"):
            a, b = span(r[0])
            sets.setdefault(r[1], set()).update(range(a, b + 1))
    alias = {}
    for r in rows(ucd / "PropertyValueAliases.txt"):
        if r[0] == "sc":
            alias.setdefault(r[2], []).extend(x for x in r[1:] if x != r[2])
    alias.update({"Uppercase": ["Upper"], "Lowercase": ["Lower"], "Alphabetic": ["Alpha"]})
    return sets, alias


def case_runs(pairs):
    """(first, last, step, distance): every step-th code point maps to itself plus distance"""
    runs = []
    for cp, to in sorted(pairs.items()):
        d = to - cp
        r = runs[-1] if runs else None
        if r and r[3] == d and (cp - r[1] == r[2] or (r[0] == r[1] and cp - r[1] in (1, 2))):
            r[2] = cp - r[1]
            r[1] = cp
        else:
            runs.append([cp, cp, 1, d])
    return runs


def cases(ucd):
    lower, upper, title, fold = {}, {}, {}, {}
    for r in rows(ucd / "UnicodeData.txt"):
        if r[12]:
            upper[int(r[0], 16)] = int(r[12], 16)
        if r[13]:
            lower[int(r[0], 16)] = int(r[13], 16)
        if r[14]:
            title[int(r[0], 16)] = int(r[14], 16)
    for cp in set(title) | set(upper):  # where it is another than the capital, which may be the letter itself
        if title.get(cp, cp) == upper.get(cp, cp):
            title.pop(cp, None)
        else:
            title.setdefault(cp, cp)
    full = {"lower": {}, "upper": {}, "title": {}, "fold": {}}
    for r in rows(ucd / "CaseFolding.txt"):
        to = [int(x, 16) for x in r[2].split()]
        if r[1] in "CS":
            fold[int(r[0], 16)] = to[0]
        elif r[1] == "F":
            full["fold"][int(r[0], 16)] = to
    for r in rows(ucd / "SpecialCasing.txt"):
        if len(r) > 4 and r[4]:
            continue  # depends on language or context
        cp = int(r[0], 16)
        for which, col in (("lower", 1), ("title", 2), ("upper", 3)):
            to = [int(x, 16) for x in r[col].split()]
            if len(to) > 1:
                full[which][cp] = to
            elif which == "title" and len(r[3].split()) > 1:
                title[cp] = to[0]  # the capital is longer
    return {"lower": lower, "upper": upper, "title": title, "fold": fold}, full


def table(out, head, cells, columns=118):
    out.write(head + " = {\n")
    line = "   "
    for c in cells:
        if len(line) + len(c) + 2 > columns:
            out.write(line + "\n")
            line = "   "
        line += " " + c + ","
    out.write(line + "\n};\n")


def python_digest():
    """All that the str methods of this Python say of every code point but surrogates"""
    says = [str.isalpha, str.isdecimal, str.isdigit, str.isnumeric, str.isspace, str.isupper, str.islower]
    says += [str.isprintable, lambda c: c.istitle() and not c.isupper()]
    h = hashlib.sha256()
    for c in map(chr, [*range(0xD800), *range(0xE000, END)]):
        h.update(struct.pack("<H", sum(1 << bit for bit, f in enumerate(says) if f(c))))
        for f in (str.upper, str.lower, str.title, str.casefold):
            h.update(f(c).encode("utf-32-le"))
    return h.hexdigest()


def main():
    if sys.argv[1] == "--python":
        print(python_digest())
        return
    ucd = pathlib.Path(sys.argv[1])
    out = sys.stdout
    out.write(
        "/* text/unicode_tables.c - generated, do not edit: tools/gen_unicode.py wrote it from Unicode %s.\n"
        " * SPDX-License-Identifier: Apache-2.0\n"
        " * What the columns are is said in unicode_part.h. */\n"
        "/* clang-format off */\n"
        '#include "text/unicode_part.h"\n\n' % version_of(ucd / "Scripts.txt")
    )
    out.write('const char fh_unicode_version_text[] = "%s";\n' % version_of(ucd / "Scripts.txt"))
    prop = props(ucd)
    record = sorted(set(prop))
    place = {p: i for i, p in enumerate(record)}
    table(out, "const uint16_t fh_unicode_record[%d]" % len(record), ["0x%x" % p for p in record])
    which = bytes(place[p] for p in prop)
    blocks, index, stage1 = [], {}, []
    for at in range(0, END, BLOCK):
        b = which[at : at + BLOCK]
        if b not in index:
            index[b] = len(blocks)
            blocks.append(b)
        stage1.append(index[b])
    # The upper planes repeat: a third stage takes 64 numbers at a time.
    tops, top_index, stage0 = [], {}, []
    for at in range(0, len(stage1), 64):
        t = tuple(stage1[at : at + 64])
        if t not in top_index:
            top_index[t] = len(tops)
            tops.append(t)
        stage0.append(top_index[t])
    table(out, "const uint8_t fh_unicode_stage0[%d]" % len(stage0), map(str, stage0))
    table(out, "const uint16_t fh_unicode_stage1[%d]" % (len(tops) * 64), [str(x) for t in tops for x in t])
    table(out, "const uint8_t fh_unicode_stage2[%d]" % (len(blocks) * BLOCK), [str(x) for b in blocks for x in b])
    runs, last = [], None
    for cp in range(END):
        if which[cp] != last:
            last = which[cp]
            runs.append("0x%x" % (cp << 8 | last))
    table(out, "const uint32_t fh_unicode_run[]", runs)
    out.write("const size_t fh_unicode_n_run = %d;\n" % len(runs))
    rest = ["{0x%x, 0x%x, %d, 0x%x}" % x for x in past(prop)]
    table(out, "const fh_unicode_past_row fh_unicode_past[]", rest)
    out.write("const size_t fh_unicode_n_past = %d;\n" % len(rest))

    sets, alias = named_sets(ucd)
    cells, names, at = [], [], 0
    for name in sorted(sets):
        r = runs_of(sets[name])
        cells += ["{0x%x, 0x%x}" % tuple(x) for x in r]
        for n in [name] + alias.get(name, []):
            names.append((n.lower().replace("_", ""), at, len(r)))
        at += len(r)
    table(out, "const uint32_t fh_unicode_set_range[][2]", cells)
    table(out, "const fh_unicode_set_row fh_unicode_set[]", ['{"%s", %d, %d}' % x for x in sorted(set(names))])
    out.write("const size_t fh_unicode_n_set = %d;\n" % len(set(names)))

    simple, full = cases(ucd)
    for how in ("lower", "upper", "title", "fold"):
        r = case_runs(simple[how])
        table(
            out, "const fh_unicode_case_row fh_unicode_%s_run[]" % how, ["{0x%x, 0x%x, %d, %d}" % tuple(x) for x in r]
        )
        out.write("const size_t fh_unicode_n_%s_run = %d;\n" % (how, len(r)))
        f = sorted(full[how].items())
        table(
            out,
            "const fh_unicode_full_row fh_unicode_%s_full_row[]" % how,
            ["{0x%x, {%s}}" % (cp, ", ".join("0x%x" % x for x in to)) for cp, to in f],
        )
        out.write("const size_t fh_unicode_n_%s_full = %d;\n" % (how, len(f)))


main()
