#!/usr/bin/env python3
"""Loading, side by side: decode.py BINARY DIR [--rounds 2] [--seconds 4]

BINARY is contraflow, DIR a folder that photos.py made. Compared in turn, every round: contraflow bench decode with each decoder
and with plain Go loops; torchvision's DataLoader with Pillow and scikit-image, the transforms of the original system, at 1 and 2
workers; and libjpeg-turbo that decodes whole files to RGB and does nothing else. Rates are images a second of processor time,
of all processes together, and images a second. Prints a table in Markdown."""
import argparse
import ctypes
import glob
import json
import os
import resource
import subprocess
import time

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np  # noqa: E402
import PIL  # noqa: E402
import skimage  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402
from skimage import color  # noqa: E402
from torchvision import transforms as T  # noqa: E402
from torchvision.datasets import ImageFolder  # noqa: E402

torch.set_num_threads(1)


class Lab:
    def __call__(self, img):
        return color.rgb2lab(np.asarray(img, np.uint8))


class Two:
    def __init__(self, t):
        self.t = t

    def __call__(self, img):
        return torch.cat([self.t(img), self.t(img)])


CMC = T.Compose([T.RandomResizedCrop(224, scale=(0.1, 1)), T.RandomHorizontalFlip(), Lab(), T.ToTensor(),
                 T.Normalize([50, 6.025, -6.6895], [50, 92.208, 101.1675])])
MOCO = Two(T.Compose([T.RandomResizedCrop(224, scale=(0.1, 1)), T.RandomGrayscale(0.2), T.ColorJitter(0.4, 0.4, 0.4, 0.4),
                      T.RandomHorizontalFlip(), T.ToTensor(), T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]))


def processor():
    return sum(u.ru_utime + u.ru_stime for u in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)))


def peer(folder, transform, workers, seconds):
    data = ImageFolder(os.path.join(folder, "train"), transform)
    data.samples = data.samples * 100
    cpu, n = processor(), 0
    loader = iter(torch.utils.data.DataLoader(data, 32, shuffle=True, num_workers=workers))
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
rows = {
    "libjpeg-turbo, RGB and nothing else": lambda: raw(a.folder, a.seconds / 2),
    "CMC: contraflow, own decoder": lambda: ours(a.binary, a.folder, "cmc", "go", 1, a.seconds),
    "CMC: contraflow, own decoder, 2 workers": lambda: ours(a.binary, a.folder, "cmc", "go", 2, a.seconds),
    "CMC: contraflow, libjpeg-turbo": lambda: ours(a.binary, a.folder, "cmc", "turbo", 1, a.seconds),
    "CMC: contraflow, plain Go loops": lambda: ours(a.binary, a.folder, "cmc", "go", 1, a.seconds, "generic"),
    "CMC: torchvision, 1 worker": lambda: peer(a.folder, CMC, 1, a.seconds),
    "CMC: torchvision, 2 workers": lambda: peer(a.folder, CMC, 2, a.seconds),
    "MoCo: contraflow, own decoder": lambda: ours(a.binary, a.folder, "moco", "go", 1, a.seconds),
    "MoCo: contraflow, libjpeg-turbo": lambda: ours(a.binary, a.folder, "moco", "turbo", 1, a.seconds),
    "MoCo: contraflow, plain Go loops": lambda: ours(a.binary, a.folder, "moco", "go", 1, a.seconds, "generic"),
    "MoCo: torchvision, 1 worker": lambda: peer(a.folder, MOCO, 1, a.seconds),
    "MoCo: torchvision, 2 workers": lambda: peer(a.folder, MOCO, 2, a.seconds),
}
best = {}
for _ in range(a.rounds):
    for name, f in rows.items():
        core, wall = f()
        best[name] = max(best.get(name, (0, 0)), (core, wall))
print(f"Pillow {PIL.__version__}, torchvision {torchvision.__version__}, scikit-image {skimage.__version__}; the best of {a.rounds} rounds.\n")
print("| | images/s a core | images/s | of torchvision (1 / 2 workers) | of libjpeg-turbo alone |\n|---|---|---|---|---|")
for name, (core, wall) in best.items():
    path = name.split(":")[0]
    ratio = ""
    if path + ": torchvision, 1 worker" in best:
        ratio = " / ".join(f"{core / best[f'{path}: torchvision, {w}'][0]:.2f}×" for w in ("1 worker", "2 workers"))
    print(f"| {name} | {core:.0f} | {wall:.0f} | {ratio} | {core / best['libjpeg-turbo, RGB and nothing else'][0]:.2f}× |")
