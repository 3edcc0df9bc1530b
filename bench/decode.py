#!/usr/bin/env python3
"""Loading, side by side: decode.py BINARY DIR [--rounds 2] [--seconds 4]

BINARY is contraflow, DIR a folder that photos.py made. Compared in turn, every round: contraflow bench decode with each decoder
and with plain Go loops; torchvision's DataLoader with Pillow and scikit-image, the transforms of the original system, at 1 and 2
workers; where torchvision has them, the same transforms on tensors (decode_jpeg, transforms.v2, Lab computed by PyTorch); and
libjpeg-turbo that decodes whole files to RGB and does nothing else. Rates are images a second of processor time, of all
processes together, and images a second. Where jemalloc is installed it runs under it and keeps memory, as compare.py has PyTorch do:
glibc gives every large tensor back to the system, and fresh memory is slow on some machines. Prints a table in Markdown."""
import argparse
import ctypes
import glob
import json
import os
import resource
import subprocess
import time
from functools import partial

import compare

compare.keep_memory()

import torch_loading  # first: it keeps libraries from starting threads of their own

import PIL
import skimage
import torch
import torchvision

torch.set_num_threads(1)


def processor():
    return sum(u.ru_utime + u.ru_stime for u in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)))


def peer(folder, flow, tensors, workers, seconds):
    cpu, n = processor(), 0
    loader = iter(torch_loading.loader(folder, flow, tensors, 32, workers))
    next(loader)
    began = time.time()
    while time.time() - began < seconds:
        n += len(next(loader)[0])
    wall = time.time() - began
    loader._shutdown_workers()
    # The batch before the clock and those in the queues cost processor time too: they are counted as if they had been used.
    return (n + 32 * (1 + 2 * workers)) / (processor() - cpu), n / wall


def raw(folder, seconds):
    tj = ctypes.CDLL("libturbojpeg.so.0")
    tj.tjInitDecompress.restype = ctypes.c_void_p
    h = ctypes.c_void_p(tj.tjInitDecompress())
    files = [open(f, "rb").read() for f in sorted(glob.glob(os.path.join(folder, "train/*/*.jpg")))]
    out, n = ctypes.create_string_buffer(500 * 375 * 3), 0
    cpu, began = time.process_time(), time.time()
    while time.time() - began < seconds:
        for f in files:
            if tj.tjDecompress2(h, f, ctypes.c_ulong(len(f)), out, 500, 0, 375, 0, 0) != 0:
                raise SystemExit("libjpeg-turbo failed")
            n += 1
    return n / (time.process_time() - cpu), n / (time.time() - began)


def ours(binary, folder, path, decoder, workers, seconds, isa=""):
    env = dict(os.environ, **({"CONTRAFLOW_ISA": isa} if isa else {}))
    r = json.loads(subprocess.run([binary, "bench", "decode", "--path", path, "--data_folder", folder, "--workers", str(workers), "--image_size",
                                   "224", "--seconds", str(seconds), "--crop_low", "0.1", "--decoder", decoder, "--json"],
                                  env=env, check=True, stdout=subprocess.PIPE).stdout)
    return r["images_per_s_per_core"], r["images_per_s"]


p = argparse.ArgumentParser()
p.add_argument("binary")
p.add_argument("folder")
p.add_argument("--rounds", type=int, default=2)
p.add_argument("--seconds", type=float, default=4)
a = p.parse_args()
rows = {"libjpeg-turbo, RGB and nothing else": partial(raw, a.folder, a.seconds / 2)}
for path in "CMC", "MoCo":
    mine = partial(ours, a.binary, a.folder, path.lower(), seconds=a.seconds)
    rows[f"{path}: contraflow, own decoder"] = partial(mine, "go", 1)
    if path == "CMC":
        rows[f"{path}: contraflow, own decoder, 2 workers"] = partial(mine, "go", 2)
    rows[f"{path}: contraflow, libjpeg-turbo"] = partial(mine, "turbo", 1)
    rows[f"{path}: contraflow, plain Go loops"] = partial(mine, "go", 1, isa="generic")
    for workers in "1 worker", "2 workers":
        rows[f"{path}: torchvision, {workers}"] = partial(peer, a.folder, path.lower(), False, int(workers[0]), a.seconds)
    for workers in ("1 worker", "2 workers") if torch_loading.v2 else ():
        rows[f"{path}: torchvision on tensors, {workers}"] = partial(peer, a.folder, path.lower(), True, int(workers[0]), a.seconds)
best = {}
for _ in range(a.rounds):
    for name, f in rows.items():
        core, wall = f()
        best[name] = max(best.get(name, (0, 0)), (core, wall))
print(f"Pillow {PIL.__version__}, torchvision {torchvision.__version__}, scikit-image {skimage.__version__}{', jemalloc' if compare.KEEP else ''}; the best of {a.rounds} rounds.\n")
print("| | images/s a core | images/s | of torchvision (1 / 2 workers) | of libjpeg-turbo alone |\n|---|---|---|---|---|")
for name, (core, wall) in best.items():
    path = name.split(":")[0]
    ratio = ""
    if path + ": torchvision, 1 worker" in best:
        ratio = " / ".join(f"{core / best[f'{path}: torchvision, {w}'][0]:.2f}×" for w in ("1 worker", "2 workers"))
    print(f"| {name} | {core:.0f} | {wall:.0f} | {ratio} | {core / best['libjpeg-turbo, RGB and nothing else'][0]:.2f}× |")
