#!/usr/bin/env python3
# bench/peer_ik.py - times the library in the Python package ik_llama_cpp as llama-bench times its own.
# SPDX-License-Identifier: Apache-2.0
"""peer_ik.py SITE -m MODEL [-p N] [-n N] [-d N] [-pg P,N] [-t N] [-r N] [-b N] [-ub N] [-fa 0|1] [-rtr 0|1]
[--first-token]

SITE: where pip put ik_llama_cpp (pip install --target). A run is what llama-bench's is: the cache is emptied, the depth
is computed, then the clock runs: the prompt in calls of -b tokens with one row of logits each, and single tokens with
theirs; before the first run one that does not count. All batches are made before the clock starts, so that Python is
not in the time. --first-token: instead, from before the library is opened to one token's logits. Prints JSON."""

import argparse
import importlib.metadata
import json
import os
import random
import statistics
import sys
import time


def numbers(text):
    return [int(x) for x in text.split(",")]


def arguments():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("site")
    ap.add_argument("-m", dest="model", required=True)
    ap.add_argument("-p", dest="prompt", type=numbers, default=[512])
    ap.add_argument("-n", dest="gen", type=numbers, default=[128])
    ap.add_argument("-d", dest="depth", type=numbers, default=[0])
    ap.add_argument("-pg", dest="pairs", type=numbers, action="append", default=[])
    ap.add_argument("-t", dest="threads", type=int, default=os.cpu_count())
    ap.add_argument("-r", dest="runs", type=int, default=5)
    ap.add_argument("-b", dest="batch", type=int, default=2048)
    ap.add_argument("-ub", dest="ubatch", type=int, default=512)
    ap.add_argument("-fa", dest="flash", type=int, default=1)
    ap.add_argument("-rtr", dest="repack", type=int, default=0)
    ap.add_argument("--first-token", action="store_true")
    return ap.parse_args()


class Peer:
    def __init__(self, args):
        sys.path.insert(0, args.site)
        from ik_llama_cpp import _ctypes_api as api

        self.api, self.args = api, args
        api.llama_backend_init()
        params = api.llama_model_default_params()
        params.repack_tensors = bool(args.repack)
        params.use_mmap = not args.repack
        self.model = api.llama_model_load_from_file(os.fsencode(args.model), params)
        if not self.model:
            sys.exit(f"peer_ik: load '{args.model}': the library refuses it")
        self.n_vocab = api.llama_vocab_n_tokens(api.llama_model_get_vocab(self.model))
        self.random = random.Random(512)
        self.context = None

    def open(self, n_context):
        api, args = self.api, self.args
        params = api.llama_context_default_params()
        params.n_ctx = n_context
        params.n_batch, params.n_ubatch = args.batch, min(args.batch, args.ubatch)
        params.n_threads = params.n_threads_batch = args.threads
        params.flash_attn = bool(args.flash)
        self.context = api.llama_init_from_model(self.model, params)
        if not self.context:
            sys.exit("peer_ik: the library makes no context")

    def close(self):
        self.api.llama_free(self.context)

    def batch(self, first, n):
        """n random tokens from position first on, the last one's logits wanted."""
        b = self.api.llama_batch_init(n, 0, 1)
        b.n_tokens = n
        for i in range(n):
            b.token[i], b.pos[i], b.n_seq_id[i] = self.random.randrange(self.n_vocab), first + i, 1
            b.seq_id[i][0], b.logits[i] = 0, i == n - 1
        return b

    def prompt(self, first, n):
        return [self.batch(first + at, min(self.args.batch, n - at)) for at in range(0, n, self.args.batch)]

    def decode(self, batches):
        for b in batches:
            if self.api.llama_decode(self.context, b):
                sys.exit("peer_ik: decoding failed")
            self.api.llama_get_logits_ith(self.context, b.n_tokens - 1)  # waits for the result

    def seconds(self, before, timed):
        self.api.llama_kv_cache_clear(self.context)
        self.decode(before)
        start = time.perf_counter()
        self.decode(timed)
        return time.perf_counter() - start

    def test(self, p, n, d):
        self.open(max(p + n + d, 32))
        before, prompt = self.prompt(0, d), self.prompt(d, p)
        steps = [self.batch(d + p + i, 1) for i in range(n)]
        self.seconds(before, prompt + steps[:1])
        took = [self.seconds(before, prompt + steps) for _ in range(self.args.runs)]
        for b in before + prompt + steps:
            self.api.llama_batch_free(b)
        self.close()
        speeds = [(p + n) / s for s in took]
        return {
            "n_prompt": p,
            "n_gen": n,
            "n_depth": d,
            "avg_ts": statistics.fmean(speeds),
            "stddev_ts": statistics.stdev(speeds) if len(speeds) > 1 else 0.0,
        }


def main():
    args = arguments()
    start = time.perf_counter()
    peer = Peer(args)
    answer = {"version": "ik_llama_cpp_python " + importlib.metadata.distribution("ik_llama_cpp_python").version}
    if args.first_token:
        peer.open(32)
        peer.decode(peer.prompt(0, 1))
        answer["first_token_s"] = time.perf_counter() - start
        peer.close()
    else:
        tests = []
        for d in args.depth:
            tests += [(p, 0, d) for p in args.prompt if p] + [(0, n, d) for n in args.gen if n]
            tests += [(*pair, d) for pair in args.pairs]
        answer["rows"] = [peer.test(*t) for t in tests]
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
