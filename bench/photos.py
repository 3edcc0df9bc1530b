#!/usr/bin/env python3
"""Writes a folder of JPEG files cut out of scikit-image's own photographs: photos.py DIR [N [COPIES]]

Every file is 500×375, quality 92, 4:2:0: a random crop of a photograph, scaled by Lanczos. DIR/train/<photo>/NNNN.jpg, and COPIES - 1
copies of every one, NNNN_C.jpg."""
import os
import shutil
import sys

import numpy as np
import skimage.data
from PIL import Image

names = ["astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg", "motorcycle_left.png", "motorcycle_right.png", "ihc.png"]
folder = os.path.dirname(skimage.data.__file__)
out, n = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 210
rng = np.random.default_rng(1)
total = 0
for i in range(n):
    name = names[i % len(names)]
    img = Image.open(os.path.join(folder, name)).convert("RGB")
    h = int(min(img.height, img.width * 3 / 4) * rng.uniform(0.8, 1))
    w = h * 4 // 3
    x, y = rng.integers(0, img.width - w + 1), rng.integers(0, img.height - h + 1)
    img = img.crop((x, y, x + w, y + h)).resize((500, 375), Image.LANCZOS)
    d = os.path.join(out, "train", name.split(".")[0])
    os.makedirs(d, exist_ok=True)
    f = os.path.join(d, f"{i:04d}.jpg")
    img.save(f, quality=92, subsampling=2)
    total += os.path.getsize(f)
    for c in range(1, int(sys.argv[3]) if len(sys.argv) > 3 else 1):
        shutil.copy(f, f"{f[:-4]}_{c}.jpg")
print(f"{out}: {n} files, {total / n / 1e3:.0f} kB on average")
