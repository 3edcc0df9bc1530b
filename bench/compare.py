#!/usr/bin/env python3
"""Measures contraflow and its peers in turn, A B A B …, and writes bench/results/{step,conv,bank}.md.

    compare.py step [ROW…]   whole training steps against PyTorch (Debian: python3-torch, libopenblas0, libjemalloc2); a row is
                             FLOW:MODEL:BATCH:THREADS, and with :avx2 behind it both sides are held to AVX2, with :bf16 both
                             compute in bfloat16 (--amp, autocast). PEER=/a/python measures the PyTorch of another Python, and
                             NAME=step_x writes bench/results/step_x.{json,md} in place of step.{json,md}
    compare.py more [ROW…]   more rounds of rows that were measured before
    compare.py table         the table again, of what was measured
    compare.py scaling [ROW…]
                             how much faster steps are on all cores than on one, and what the machine allows; a row is FLOW:MODEL:BATCH
    compare.py conv          ResNet-50's convolutions against oneDNN (libdnnl-dev, g++)
    compare.py bank          the memory's contrast against C (gcc) and plain Go

Rows measured before are kept in bench/results/step.json, so that they can be measured one at a time, and ROUNDS of them. A ratio is
that of two neighbours in time; the table has the median of five and, in brackets, the smallest and the largest."""
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
RESULTS = HERE / "results"
OURS = os.environ.get("CONTRAFLOW", str(HERE.parent / "contraflow"))
PEER = os.environ.get("PEER", sys.executable)
NAME = os.environ.get("NAME", "step")
ROUNDS = int(os.environ.get("ROUNDS", "5"))
CORES = os.cpu_count()
ROWS = [f"{r}:{t}" for r in ["moco:resnet50:8", "moco:resnet50:16", "cmc:resnet18v1:16", "cmc:resnet50v1:8", "cmc:alexnet:32"] for t in dict.fromkeys([1, CORES])]


NAMES = {"moco": "MoCo's query step", "cmc": "CMC"}
AVX2 = {"CONTRAFLOW_ISA": "avx2", "ATEN_CPU_CAPABILITY": "avx2", "DNNL_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}


def run(*command, env=None):
    out = subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True, env={**os.environ, **(env or {})})
    return out.stdout


def machine():
    model = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
    return f"{model}, {CORES} cores; {platform.system()} {platform.release()}; {run('go', 'version').strip()}"


def spread(values, digits=2):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} … {max(values):.{digits}f})"


def write(name, title, command, text):
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / name).write_text(f"## {title}\n\n{machine()}. `{command}`\n\n{text}\n")
    print(text)


# PyTorch gives tensors back to glibc, which gives large ones back to the system. Where fresh memory is slow a step takes far longer then
# (results/step_allocators.md) than under an allocator that keeps it, on huge pages as ours.
JEMALLOC = next(pathlib.Path("/usr/lib").glob("*/libjemalloc.so.2"), None)
KEEP = {"LD_PRELOAD": str(JEMALLOC), "MALLOC_CONF": "dirty_decay_ms:-1,muzzy_decay_ms:-1,thp:always"} if JEMALLOC else {}


def keep_memory():
    """keep_memory starts a script anew under jemalloc, where that is installed; scripts call it before they load anything large."""
    loaded = os.environ.get("LD_PRELOAD", "")
    if KEEP and KEEP["LD_PRELOAD"] not in loaded:
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEEP, "LD_PRELOAD": f"{KEEP['LD_PRELOAD']} {loaded}".strip()})


def torch(flow, model, batch, threads, steps, how, kind):
    """torch is PyTorch's step; how is its memory format and, behind a comma, whether it is compiled."""
    env = {**(AVX2 if kind == ["avx2"] else {}), **KEEP}
    peer = "moco-query" if flow == "moco" else flow
    layout, *compiled = how.split(", ")
    more = (["bf16"] if kind == ["bf16"] else []) + (["compile"] if compiled else [])
    r = json.loads(run(PEER, HERE / "step.py", peer, model, batch, threads, steps, layout, *more, env=env))
    if "/blas/libblas.so" in r["blas"]:
        sys.exit("PyTorch's linear layers run on the reference BLAS, which nobody would use: apt-get install libopenblas0")
    return r


def peers():
    """peers is every way in which PyTorch can run; None without PyTorch."""
    version = subprocess.run([PEER, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True).stdout
    formats = ["channels_last", "contiguous"]
    return None if not version else formats if version.startswith("1.") else formats + [f + ", compiled" for f in formats]


def step(rows, more=False):
    ways = peers()
    if not ways:
        sys.exit(f"{PEER} has no torch: Debian's is python3-torch, for /usr/bin/python3")
    file = RESULTS / f"{NAME}.json"
    done = json.loads(file.read_text()) if file.exists() else {}
    for row in rows:
        flow, model, batch, threads, *kind = row.split(":")
        env, flags = (AVX2, []) if kind == ["avx2"] else ({}, ["--amp"] if kind == ["bf16"] else [])
        if more:
            layout = done[row]["layout"]
        else:
            layouts = {l: torch(flow, model, batch, threads, 3, l, kind)["step_ms"] for l in ways}
            print(row, layouts, flush=True)
            layout = min(layouts, key=layouts.get)
        pairs = [(ours(flow, model, batch, threads, 6, *flags, env=env), torch(flow, model, batch, threads, 4, layout, kind)) for _ in range(ROUNDS)]
        before = done[row] if more else {"ours_ms": [], "torch_ms": [], "ours_mb": 0, "torch_mb": 0}
        done[row] = {"layout": layout, "torch": pairs[0][1]["torch"], "isa": pairs[0][0]["isa"],
                     "ours_ms": before["ours_ms"] + [a["step_ms"] for a, _ in pairs], "torch_ms": before["torch_ms"] + [b["step_ms"] for _, b in pairs],
                     "ours_mb": max(before["ours_mb"], *(a["peak_rss_mb"] for a, _ in pairs)),
                     "torch_mb": max(before["torch_mb"], *(b["peak_rss_mb"] for _, b in pairs))}
        RESULTS.mkdir(exist_ok=True)
        file.write_text(json.dumps(done, indent=1) + "\n")
        print(row, spread([b / a for a, b in zip(done[row]["ours_ms"], done[row]["torch_ms"])]), flush=True)
    table(done)


def ours(flow, model, batch, threads, steps, *more, env=None):
    return json.loads(run(OURS, "bench", "step", "--flow", flow, "--model", model, "--batch", batch, "--image_size", 224, "--nce_k", 4096, "--n_data", 100000,
                          "--threads", threads, "--steps", steps, "--json", *(["--query_only"] if flow == "moco" else []), *more, env=env))


def scaling(rows):
    """scaling runs one thread and all of them in turn, and beside every pair the machine's multiply-adds and bandwidth on as many."""
    file = RESULTS / f"{NAME}.json"
    done = json.loads(file.read_text()) if file.exists() else {}
    steps, peaks = done.setdefault("scaling", {}), {"peak_gflops": [], "peak_gb_s": []}
    for row in rows or dict.fromkeys(r.rsplit(":", 1)[0] for r in ROWS):
        steps[row] = []
        for i in range(ROUNDS):
            r = {t: ours(*row.split(":"), t, 4) for t in ((1, CORES), (CORES, 1))[i % 2]}
            top = {t: ours("insdis", "resnet18", 2, t, 1, "--peak") for t in (1, CORES)}
            steps[row].append(r[1]["step_ms"] / r[CORES]["step_ms"])
            for k, v in peaks.items():
                v.append(top[CORES][k] / top[1][k])
        print(row, spread(steps[row]), *(spread(v) for v in peaks.values()), flush=True)
    done["ceiling"] = peaks
    file.write_text(json.dumps(done, indent=1) + "\n")
    table(done)


def table(done):
    """table writes step.md from what was measured."""
    ceiling, neighbours = done.pop("ceiling", None), done.pop("scaling", {})
    wide, narrow, half = [r for r in ROWS if r in done], [r for r in done if r.endswith(":avx2")], [r for r in done if r.endswith(":bf16")]
    wide += [r for r in done if r not in ROWS + narrow + half]
    version, rounds = done[wide[0]], sorted({len(done[r]["ours_ms"]) for r in wide + narrow + half})
    about, command = ("", "make bench-compare") if NAME == "step" else (f", PyTorch {'.'.join(version['torch'].split('.')[:2])}, {machine().split(',')[0]}", f"NAME={NAME} PEER=… bench/compare.py step {' '.join(wide)}")
    write(f"{NAME}.md", "Whole training steps on the processor" + about, command,
          f"Forward, loss with K = 4096, backward, SGD, memory update; 224 pixels, float32; kernels {version['isa']}, PyTorch {version['torch']} in the "
          f"{'better of its two memory formats' if version['torch'].startswith('1.') else 'best of its two memory formats, compiled or not,'}{' under jemalloc, which keeps its memory' if KEEP else ''}. Median of {' to '.join(str(r) for r in dict.fromkeys([rounds[0], rounds[-1]]))} interleaved processes a side.\n\n" + steps(done, wide)
          + (f"\n\n`bench/compare.py scaling`: times as fast on {CORES} threads as on one, processes in turn, beside what the machine allows at the same "
             f"time: {CORES} threads that only multiply are {spread(ceiling['peak_gflops'])} times as fast as one, and read memory "
             f"{spread(ceiling['peak_gb_s'])} times as fast.\n\n| step | {CORES} threads ÷ one |\n|---|---|\n"
             + "\n".join("| {}, {}, batch {} | ".format(NAMES[r.split(":")[0]], *r.split(":")[1:]) + spread(v) + " |" for r, v in neighbours.items()) if ceiling else "")
          + ("\n\nBoth sides held to AVX2:\n\n" + steps(done, narrow) if narrow else "")
          + ("\n\n`bench/compare.py step moco:resnet50:8:1:bf16 …`: both sides in bfloat16, ours with `--amp`, PyTorch under autocast:\n\n" + steps(done, half) if half else ""))


def steps(done, rows):
    """steps is the table of rows."""
    lines = ["| step | threads | ours, images/s | PyTorch, images/s | ours ÷ PyTorch | peak memory, MB: ours, PyTorch |", "|---|---|---|---|---|---|"]
    for row in rows:
        flow, model, batch, threads = row.split(":")[:4]
        d = done[row]
        rate = lambda ms: f"{1000 * int(batch) / statistics.median(ms):.1f}"
        lines.append(f"| {NAMES.get(flow, flow)}, {model}, batch {batch} | {threads} | {rate(d['ours_ms'])} | {rate(d['torch_ms'])} ({d['layout']}) | "
                     f"{spread([b / a for a, b in zip(d['ours_ms'], d['torch_ms'])])} | {d['ours_mb']:.0f}, {d['torch_mb']:.0f} |")
    return "\n".join(lines)


def conv(_):
    with tempfile.TemporaryDirectory() as tmp:
        peer = f"{tmp}/onednn_conv"
        run("g++", "-O2", HERE / "onednn_conv.cpp", "-o", peer, "-ldnnl")
        sums, layers = {"direct": [], "winograd": [], "onednn": []}, {}
        for _ in range(ROUNDS):
            for kind, flags in (("direct", ["--deterministic_reference"]), ("onednn", None), ("winograd", [])):
                total = 0
                if flags is None:
                    rows = [l.split("\t") for l in run(peer, 8, 3, env={"OMP_NUM_THREADS": "1"}).splitlines()]
                    rows = [(n, int(c), [float(v) for v in ms]) for n, c, *ms in rows]
                else:
                    rows = json.loads(run(OURS, "bench", "conv", "--batch", 8, "--threads", 1, "--runs", 4, "--json", *flags))["layers"]
                    rows = [(r["layer"], r["count"], [1000 * r["gflop"] / r[k] for k in ("forward", "data", "weight")]) for r in rows]
                for i, (name, count, ms) in enumerate(rows):
                    if i == 0:
                        ms[1] = 0.0  # nobody needs the gradient of the pictures
                    total += count * sum(ms)
                    layers.setdefault(name, {}).setdefault(kind, []).append(ms)
                sums[kind].append(total)
    lines = ["| layer | direct ÷ oneDNN: forward, input, weights | with Winograd |", "|---|---|---|"]
    for name, kinds in layers.items():
        def cell(kind):
            out = []
            for p in range(3):
                ours, theirs = (statistics.median(ms[p] for ms in kinds[k]) for k in (kind, "onednn"))
                out.append(f"{theirs / ours:.2f}" if theirs and ours else "–")
            return ", ".join(out)
        lines.append(f"| {name} | {cell('direct')} | {cell('winograd')} |")
    ratio = lambda kind: spread([b / a for a, b in zip(sums[kind], sums["onednn"])])
    write("conv.md", "Convolutions of ResNet-50", "bench/compare.py conv",
          f"Batch 8, one thread, all three passes of all layers; oneDNN (libdnnl-dev) in its own layouts without reorders, ours with packing. Rates, ours ÷ oneDNN, "
          f"median of {ROUNDS}: direct **{ratio('direct')}**, with Winograd **{ratio('winograd')}**.\n\n" + "\n".join(lines))


def bank(_):
    with tempfile.TemporaryDirectory() as tmp:
        peer = f"{tmp}/bank"
        run("gcc", "-O3", "-march=native", "-ffast-math", HERE / "bank.c", "-o", peer, "-lm")
        ours, theirs, naive, all_ = [], [], [], []
        for _ in range(ROUNDS):
            r = json.loads(run(OURS, "bench", "bank", "--threads", 1, "--runs", 5, "--json"))
            ours.append(r["ms"])
            naive.append(r["naive_ms"])
            theirs.append(statistics.median(float(v) for v in run(peer, 128, 16384, 128, 1280000, 5).split()))
            all_.append(json.loads(run(OURS, "bench", "bank", "--runs", 5, "--json"))["ms"])
    div = lambda a, b: spread([x / y for x, y in zip(a, b)])
    write("bank.md", "The memory's contrast", "bench/compare.py bank",
          "B = 128, K = 16384, D = 128, N = 1.28 M rows: gathered dot products, NCE loss and the gradient of the queries, one direction.\n\n"
          "| | milliseconds | ours is faster by |\n|---|---|---|\n"
          f"| ours, one thread | {spread(ours, 1)} | |\n| ours, {CORES} threads | {spread(all_, 1)} | |\n"
          f"| C, AVX-512 with prefetch, one thread | {spread(theirs, 1)} | {div(theirs, ours)} |\n| plain Go, one thread | {spread(naive, 1)} | {div(naive, ours)} |")


if __name__ == "__main__":
    what, rows = sys.argv[1], sys.argv[2:]
    if what in ("step", "more"):
        step(rows or ROWS, what == "more")
    else:
        {"conv": conv, "bank": bank, "scaling": scaling, "table": lambda _: table(json.loads((RESULTS / f"{NAME}.json").read_text()))}[what](rows)
