#!/usr/bin/env python3
"""tools/check_layers.py - a folder of src/ may include only folders above it in this list (design: docs/tour.md).

Also refuses: includes that climb with "../", included .c files, headers of a folder that is not in the list,
and a private header (NAME_part.h, *_table.h) used outside its folder. Standard library only.
"""
import pathlib
import re
import sys

LAYERS = [
    ["base"], ["tensor"], ["kernel"], ["format"], ["text"], ["graph"], ["device"], ["model"], ["infer"], ["train"],
    ["forge"], ["library"], ["knowledge", "evaluate"], ["route"], ["serve"], ["api"], ["cli"],
]
RANK = {name: i for i, names in enumerate(LAYERS) for name in names}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    wrong = []
    n = 0
    for path in sorted((root / "src").rglob("*")):
        if path.suffix not in (".c", ".h", ".def", ".S", ".cu"):
            continue
        room = path.relative_to(root / "src").parts[0]
        where = path.relative_to(root)
        if room not in RANK:
            wrong.append(f"{where}: '{room}' is no room of the house; add it to tools/check_layers.py on purpose")
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            m = INCLUDE.match(line)
            if not m:
                continue
            n += 1
            target = m.group(1)
            other = target.split("/")[0]
            at = f"{where}:{number}"
            if target == "freehold.h":
                if room not in ("api", "cli"):
                    wrong.append(f"{at}: the public header is for src/api and src/cli")
            elif ".." in target.split("/") or target.endswith(".c"):
                wrong.append(f"{at}: includes {target}")
            elif "/" not in target or other not in RANK:
                wrong.append(f"{at}: \"{target}\" is not written as room/file.h")
            elif other != room and RANK[other] >= RANK[room]:
                wrong.append(f"{at}: {room} may not include {other} (it stands beside or below)")
            elif other != room and re.search(r"_(part|table)\.h$", target):
                wrong.append(f"{at}: {target} is private to src/{other}")
    print("\n".join(wrong) if wrong else f"layers: {n} includes, all of them upwards")
    return 1 if wrong else 0


sys.exit(main())
