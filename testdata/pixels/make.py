#!/usr/bin/env python3
"""Writes the pictures of this folder with Pillow 9.4 and scikit-image 0.19.3: python3 make.py"""
import json
import numpy as np
from PIL import Image, ImageEnhance
from skimage import color

rng = np.random.default_rng(7)
y, x = np.mgrid[0:47, 0:61]
base = np.stack([127 + 120 * np.sin(x / 7), 127 + 120 * np.cos(y / 5), (3 * x + 2 * y) % 256], -1)
pix = np.clip(base + rng.normal(0, 25, base.shape), 0, 255).astype(np.uint8)
src = Image.fromarray(pix)
src.save("source.ppm")

# box (left, top, width, height), size
for i, (box, size) in enumerate([((0, 0, 61, 47), (32, 32)), ((5, 3, 40, 31), (32, 32)), ((10, 7, 20, 40), (48, 24)),
                                 ((0, 0, 61, 47), (61, 20)), ((11, 2, 30, 45), (64, 45)), ((3, 3, 9, 9), (40, 40))]):
    left, top, w, h = box
    src.crop((left, top, left + w, top + h)).resize(size, Image.BILINEAR).save(f"resize_{i}_{left}_{top}_{w}_{h}_{size[0]}_{size[1]}.ppm")


def hue(img, f):
    h, s, v = img.convert("HSV").split()
    a = np.array(h, dtype=np.uint8)
    with np.errstate(over="ignore"):
        a += np.array(f * 255).astype(np.int32).astype(np.uint8)
    return Image.merge("HSV", (Image.fromarray(a, "L"), s, v)).convert("RGB")


for f in (0.6, 0.87, 1.0, 1.4):
    ImageEnhance.Brightness(src).enhance(f).save(f"brightness_{f}.ppm")
    ImageEnhance.Contrast(src).enhance(f).save(f"contrast_{f}.ppm")
    ImageEnhance.Color(src).enhance(f).save(f"saturation_{f}.ppm")
for f in (-0.4, -0.1, 0.25, 0.4):
    hue(src, f).save(f"hue_{f}.ppm")
src.convert("L").convert("RGB").save("gray.ppm")

for name, kw in {"420": dict(subsampling=2), "444": dict(subsampling=0), "progressive": dict(progressive=True)}.items():
    src.save(f"jpeg_{name}.jpg", quality=90, **kw)
    Image.open(f"jpeg_{name}.jpg").convert("RGB").save(f"jpeg_{name}.ppm")
src.convert("L").save("jpeg_gray.jpg", quality=90)
Image.open("jpeg_gray.jpg").convert("RGB").save("jpeg_gray.ppm")
src.save("source.png")

cells = pix[::6, ::6].reshape(-1, 3)
spaces = dict(Lab=color.rgb2lab, HSV=color.rgb2hsv, HED=color.rgb2hed, LUV=color.rgb2luv, YUV=color.rgb2yuv, XYZ=color.rgb2xyz,
              YCbCr=color.rgb2ycbcr, YDbDr=color.rgb2ydbdr, YPbPr=color.rgb2ypbpr, YIQ=color.rgb2yiq, CIERGB=color.rgb2rgbcie)
with open("spaces.json", "w") as f:
    json.dump({"rgb": cells.tolist(), **{n: np.round(c(cells[None])[0], 12).tolist() for n, c in spaces.items()}}, f)
