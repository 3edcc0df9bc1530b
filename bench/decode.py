#!/usr/bin/env python3
"""Loading, side by side: decode.py BINARY DIR [--rounds 2] [--seconds 4]

BINARY is contraflow, DIR a folder that photos.py made. Compared in turn, every round: contraflow bench decode with each decoder
and with plain Go loops; torchvision's DataLoader with Pillow and scikit-image, the transforms of the original system, at 1 and 2
workers; where torchvision has them, the same transforms on tensors (decode_jpeg, transforms.v2, Lab computed by PyTorch); and
libjpeg-turbo that decodes whole files to RGB and does nothing else. Rates are images a second of processor time, of all
processes together, and images a second. Prints a table in Markdown."""
import argparse
import ctypes
import glob
import json
import os
import resource
import subprocess
import time
from functools import partial

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


try:
    from torchvision.io import decode_jpeg, read_file
    from torchvision.transforms import v2
except ImportError:  # before torchvision 0.15
    v2 = CMC_TENSORS = MOCO_TENSORS = None


def decoded(path):
    return decode_jpeg(read_file(path))


class TensorLab:
    """rgb2lab of scikit-image on a uint8 tensor [3,H,W]."""

    def __init__(self):
        self.curve = torch.tensor([v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (i / 255 for i in range(256))])
        rows = [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
        self.to_xyz = torch.tensor([[v / w for v in row] for row, w in zip(rows, (0.95047, 1, 1.08883))])
        self.to_lab = torch.tensor([[0.0, 116, 0], [500, -500, 0], [0, 200, -200]])
        self.offset = torch.tensor([[16.0], [0], [0]])

    def __call__(self, x):
        xyz = self.to_xyz @ self.curve[x.reshape(3, -1).long()]
        f = torch.where(xyz > 0.008856, xyz.pow(1 / 3), 7.787 * xyz + 16 / 116)
        return (self.to_lab @ f - self.offset).reshape(x.shape)


if v2:
    CMC_TENSORS = v2.Compose([v2.RandomResizedCrop(224, scale=(0.1, 1)), v2.RandomHorizontalFlip(), TensorLab(),
                              v2.Normalize([50, 6.025, -6.6895], [50, 92.208, 101.1675])])
    MOCO_TENSORS = Two(v2.Compose([v2.RandomResizedCrop(224, scale=(0.1, 1)), v2.RandomGrayscale(0.2), v2.ColorJitter(0.4, 0.4, 0.4, 0.4),
                                   v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True),
                                   v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]))
    pixels = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (3, 64, 64), np.uint8))
    off = np.abs(TensorLab()(pixels).numpy().transpose(1, 2, 0) - color.rgb2lab(pixels.numpy().transpose(1, 2, 0))).max()
    if not off < 1e-4:
        raise SystemExit(f"Lab on tensors differs from scikit-image's by {off}")


def processor():
    return sum(u.ru_utime + u.ru_stime for u in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)))


def peer(folder, transform, workers, seconds, **options):
    data = ImageFolder(os.path.join(folder, "train"), transform, **options)
    data.samples = data.samples * 100
    cpu, n = processor(), 0
    # Forked workers are children, whose processor time is counted; those of newer Pythons' default are not.
    loader = iter(torch.utils.data.DataLoader(data, 32, shuffle=True, num_workers=workers, multiprocessing_context="fork"))
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
for path, transform, tensors in ("CMC", CMC, CMC_TENSORS), ("MoCo", MOCO, MOCO_TENSORS):
    mine = partial(ours, a.binary, a.folder, path.lower(), seconds=a.seconds)
    rows[f"{path}: contraflow, own decoder"] = partial(mine, "go", 1)
    if path == "CMC":
        rows[f"{path}: contraflow, own decoder, 2 workers"] = partial(mine, "go", 2)
    rows[f"{path}: contraflow, libjpeg-turbo"] = partial(mine, "turbo", 1)
    rows[f"{path}: contraflow, plain Go loops"] = partial(mine, "go", 1, isa="generic")
    for workers in "1 worker", "2 workers":
        rows[f"{path}: torchvision, {workers}"] = partial(peer, a.folder, transform, int(workers[0]), a.seconds)
    for workers in ("1 worker", "2 workers") if tensors else ():
        rows[f"{path}: torchvision on tensors, {workers}"] = partial(peer, a.folder, tensors, int(workers[0]), a.seconds, loader=decoded)
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
