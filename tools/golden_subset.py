#!/usr/bin/env python3
"""tools/golden_subset.py SOURCE - copies the committed subset of the golden data into tests/golden.

SOURCE is a folder with the whole data. The subset is small (under 16 MB) and enough for the required tests to run on a
fresh clone; where the whole data is there, the tests use it too. Standard library only.
"""
import json
import pathlib
import shutil
import sys

TYPES = ["Q4_K_M", "Q3_K_M", "IQ1_M", "IQ2_XXS", "TQ1_0", "Q1_0"]
GGUF = ["llama-sharded-00001-of-00003", "llama-sharded-00002-of-00003", "llama-sharded-00003-of-00003",
        "gpt-oss-mxfp4", "nvfp4-modelopt"]
CHECKPOINTS = ["gptq-4bit-actorder", "awq-4bit", "nvfp4-ct", "fp8-block-edges", "gpt-oss-mxfp4"]
MODELS = ["llama-sharded", "mm-gemma3", "deepseek-v3", "qwen35-moe", "bert", "t5", "qwen3-embedding", "bge-reranker"]
TOKENIZERS = ["llama3", "qwen35", "o200k", "kimi", "deepseek-v3", "gemma4", "bert-uncased", "added-flags",
              "spm-bpe-llama", "spm-unigram-identity"]
TRAIN = ["lora-llama3-attn", "dora-llama2"]


def copy(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o644)


def main():
    source = pathlib.Path(sys.argv[1])
    target = pathlib.Path(__file__).resolve().parent.parent / "tests/golden"
    for kind in ("types", "gguf", "checkpoints", "models", "train", "tokenizers"):
        shutil.rmtree(target / kind, ignore_errors=True)
    for name in TYPES:
        copy(source / f"types/{name}.gguf", target / f"types/{name}.gguf")
        copy(source / f"types/{name}.logits.f32", target / f"types/{name}.logits.f32")
    quant = json.loads((source / "types/quant.json").read_text())
    quant["files"] = {k: v for k, v in quant["files"].items() if k in TYPES}
    (target / "types/quant.json").write_text(json.dumps(quant, indent=1) + "\n")
    for name in GGUF:
        copy(source / f"gguf/{name}.gguf", target / f"gguf/{name}.gguf")
    digests = json.loads((source / "gguf/digests.json").read_text())
    digests = {k: v for k, v in digests.items() if k[:-5] in GGUF}
    (target / "gguf/digests.json").write_text(json.dumps(digests, indent=1) + "\n")
    for kind, names in (("checkpoints", CHECKPOINTS), ("models", MODELS)):
        for name in names:
            for path in sorted((source / kind / name).iterdir()):
                copy(path, target / kind / name / path.name)
    for name in TRAIN:
        for path in sorted((source / "train" / name / "adapter-end").iterdir()):
            copy(path, target / "train" / name / "adapter-end" / path.name)
    for name in TOKENIZERS:
        case = json.loads((source / f"tokenizers/{name}.json").read_text())
        copy(source / f"tokenizers/{name}.json", target / f"tokenizers/{name}.json")
        copy(source / "tokenizers" / case["tokenizer"], target / "tokenizers" / case["tokenizer"])
    # one local variable hides the function of the same name, which ends the tokenizers kind at its first case
    text = (source / "check.py").read_text()
    text = text.replace('    lines = "".join(json.dumps(c["text"])', '    given = "".join(json.dumps(c["text"])')
    text = text.replace('"--batch", *flags], lines)', '"--batch", *flags], given)')
    (target / "check.py").write_text(text)
    (target / "check.py").chmod(0o755)
    total = sum(p.stat().st_size for p in target.rglob("*") if p.is_file())
    print(f"{total / 1e6:.1f} MB in {target}")
    return total > 16e6


sys.exit(main())
