#!/usr/bin/env python3
"""caulk beside llama.cpp: the same model file, threads and machine, in turns.

    pip install llama-cpp-python        # builds llama.cpp for this machine
    python3 benches/llama.py MODEL.gguf [--caulk target/release/caulk] [--threads 2] [--rounds 5]

Each round is one process of either, one after the other, so that what else the machine does meets both. Printed are the
medians, and the median of the rounds' ratios: more than 1 means that caulk is faster. What is timed is what `caulk bench`
times: prompts of 256, 512 and 1500 tokens, then behind 512 tokens an answer, token by token, and passes over several tokens
with the logits behind each. llama.cpp also gives those behind a prompt's last token, which caulk then computes in part.

Where llama.cpp crashes on a prompt, its matrix kernels (AMX) may not be allowed on the machine; CMAKE_ARGS="-DGGML_NATIVE=OFF
-DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_AVX512=ON -DGGML_AVX512_VNNI=ON" builds it without them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

PROMPTS = (256, 512, 1500)
PASSES = (1, 4, 8, 16, 32)
BEFORE, ANSWER, CHUNK = 512, 16, 512
TEXT = b'resource "aws_s3_bucket" "data" {\n  bucket = "data"\n  acl = "public-read"\n}\n'


def llama(model, threads):
    """One round of llama.cpp, as `caulk bench --format json` tells it."""
    import llama_cpp as lib

    lib.llama_backend_init()
    of_model = lib.llama_model_default_params()
    of_model.n_gpu_layers = 0
    loaded = lib.llama_model_load_from_file(model.encode(), of_model)
    if not loaded:
        sys.exit(f"llama.cpp cannot load {model}")
    settings = lib.llama_context_default_params()
    settings.n_ctx, settings.n_batch, settings.n_ubatch = 2048, CHUNK, CHUNK
    settings.n_threads = settings.n_threads_batch = threads
    context = lib.llama_init_from_model(loaded, settings)

    vocabulary = lib.llama_model_get_vocab(loaded)
    tokens = (lib.llama_token * 4096)()
    count = lib.llama_tokenize(vocabulary, TEXT, len(TEXT), tokens, 4096, False, False)
    tokens = (list(tokens[:count]) * (1 + max(PROMPTS) // count))[: max(PROMPTS) + max(PASSES)]
    batch = lib.llama_batch_init(CHUNK, 0, 1)

    def forget(position):
        # Earlier releases call it otherwise.
        if hasattr(lib, "llama_memory_seq_rm"):
            lib.llama_memory_seq_rm(lib.llama_get_memory(context), 0, position, -1)
        else:
            lib.llama_kv_self_seq_rm(context, 0, position, -1)

    def run(first, count, with_logits):
        for start in range(first, first + count, CHUNK):
            batch.n_tokens = min(CHUNK, first + count - start)
            for i in range(batch.n_tokens):
                batch.token[i], batch.pos[i] = tokens[start + i], start + i
                batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
                batch.logits[i] = with_logits or start + i == first + count - 1
            if lib.llama_decode(context, batch) != 0:
                sys.exit("llama.cpp cannot run the tokens")
        lib.llama_synchronize(context)

    def timed(rounds, position, work):
        times = []
        for _ in range(rounds):
            forget(position)
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
        return statistics.median(times)

    run(0, 64, False)
    prefill = {n: n / timed(1, 0, lambda: run(0, n, False)) for n in PROMPTS}
    forget(0)
    run(0, BEFORE, False)
    forward_ms = {n: 1e3 * timed(2, BEFORE, lambda: run(BEFORE, n, True)) for n in PASSES}

    def answer():
        for at in range(BEFORE, BEFORE + ANSWER):
            run(at, 1, True)

    decode = ANSWER / timed(1, BEFORE, answer)
    return {"prefill": prefill, "decode": decode, "forward_ms": forward_ms}


def rows(caulk, llama):
    """What is told, caulk's figure, llama.cpp's, and how many times faster caulk is."""
    for n in map(str, PROMPTS):
        ours, theirs = caulk["prefill"][n], llama["prefill"][n]
        yield f"prompt of {n} tokens, tokens/s", ours, theirs, ours / theirs
    yield "answer, tokens/s", caulk["decode"], llama["decode"], caulk["decode"] / llama["decode"]
    for n in map(str, PASSES):
        ours, theirs = caulk["forward_ms"][n], llama["forward_ms"][n]
        yield f"pass over {n} tokens, ms", ours, theirs, theirs / ours


def output_of(command, threads):
    """What a command prints; where it fails, what it says of that."""
    # A model without kernels of caulk's own runs on candle's threads.
    threads = {"CANDLE_NUM_THREADS": str(threads)}
    done = subprocess.run(command, capture_output=True, env={**os.environ, **threads})
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr.decode(errors='replace')}")
    return done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a GGUF file")
    parser.add_argument("--caulk", default="target/release/caulk")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--llama-only", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.llama_only:
        print(json.dumps(llama(args.model, args.threads)))
        return
    bench = [args.caulk, "bench", "--model", args.model, "--threads", str(args.threads), "--rounds", "1", "--model-only", "--format", "json", "--quiet"]
    other = [sys.executable, __file__, args.model, "--threads", str(args.threads), "--llama-only"]
    told = []
    for number in range(args.rounds):
        # Neither always comes first.
        order = (bench, other) if number % 2 == 0 else (other, bench)
        outputs = [output_of(command, args.threads) for command in order]
        pair = [json.loads(output) for output in (outputs if number % 2 == 0 else reversed(outputs))]
        told.append(list(rows(*pair)))
        print(f"round {number + 1} of {args.rounds}", file=sys.stderr)
    print(f"{'':34}{'caulk':>10}{'llama.cpp':>12}{'ratio':>8}{'lowest':>9}{'highest':>9}")
    for rounds in zip(*told):
        what, ours, theirs, ratios = rounds[0][0], *([row[i] for row in rounds] for i in (1, 2, 3))
        middle = statistics.median
        print(f"{what:34}{middle(ours):10.2f}{middle(theirs):12.2f}{middle(ratios):8.2f}{min(ratios):9.2f}{max(ratios):9.2f}")


if __name__ == "__main__":
    main()
