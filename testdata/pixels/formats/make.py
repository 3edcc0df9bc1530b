#!/usr/bin/env python3
"""Writes small files of every format, and what Pillow's convert("RGB") makes of each as NAME.EXT.ppm: python3 make.py

Pillow 9.4, libjpeg-turbo 2.1.5 (through ctypes, for the samplings that Pillow cannot write), libwebp 1.2.4."""
import ctypes
import glob
import io
import os

import numpy as np
from PIL import Image

rng = np.random.default_rng(11)


def pic(w, h, noise=25):
    y, x = np.mgrid[0:h, 0:w]
    b = np.stack([127 + 120 * np.sin(x / 7 + y / 31), 127 + 120 * np.cos(y / 5), (3 * x + 2 * y) % 256], -1)
    return np.clip(b + rng.normal(0, noise, b.shape), 0, 255).astype(np.uint8)


def turbo(a, sampling, quality, progressive):
    tj = ctypes.CDLL("libturbojpeg.so.0")
    tj.tjInitCompress.restype = ctypes.c_void_p
    h, a = ctypes.c_void_p(tj.tjInitCompress()), np.ascontiguousarray(a)
    buf, n = ctypes.POINTER(ctypes.c_ubyte)(), ctypes.c_ulong(0)
    assert tj.tjCompress2(h, a.ctypes.data_as(ctypes.c_void_p), a.shape[1], 0, a.shape[0], 0, ctypes.byref(buf), ctypes.byref(n), sampling,
                          quality, 0x4000 if progressive else 0) == 0
    return bytes(bytearray(buf[:n.value]))


for s, name in enumerate(["444", "422", "420", "gray", "440", "411"]):
    for w, h in [(1, 1), (3, 5), (17, 15), (50, 37)]:
        for progressive in (False, True):
            with open(f"{name}_{w}x{h}{'_progressive' if progressive else ''}.jpg", "wb") as f:
                f.write(turbo(pic(w, h), s, int(rng.choice([40, 75, 92, 100])), progressive))

a = pic(45, 33)
src = Image.fromarray(a)
alpha = Image.fromarray(rng.integers(0, 256, (33, 45)).astype(np.uint8))
exif = Image.Exif()
exif[0x0112] = 6  # turned by 90°
src.save("exif.jpg", exif=exif)
src.save("optimized.jpg", quality=95, optimize=True)
src.convert("CMYK").save("cmyk.jpg", quality=90)
for name, adobe in (("cmyk_plain", None), ("ycck", 2)):
    b = io.BytesIO()
    src.convert("CMYK").save(b, "jpeg", quality=90)
    b = bytearray(b.getvalue())
    i = b.index(b"Adobe")
    if adobe is None:
        del b[i - 4:i + 12]  # without the marker: inks not inverted
    else:
        b[i + 11] = adobe
    open(name + ".jpg", "wb").write(b)
b = io.BytesIO()
src.save(b, "jpeg", quality=90, subsampling=0)
b = bytearray(b.getvalue())
assert b[2:4] == b"\xff\xe0"
del b[2:20]  # no JFIF, so that the channels' names say what they are
i = b.index(b"\xff\xc0")
j = b.index(b"\xff\xda")
for k, c in enumerate(b"RGB"):
    b[i + 10 + 3 * k] = c
    b[j + 5 + 2 * k] = c
open("rgb.jpg", "wb").write(b)
b = io.BytesIO()
src.save(b, "jpeg", quality=90)
b = b.getvalue()
open("cut_with_end.jpg", "wb").write(b[:len(b) * 3 // 4] + b"\xff\xd9")  # libjpeg warns and goes on with grey
open("bytes_too_many.jpg", "wb").write(b[:-2] + b"\0\1\2\3" + b[-2:])
open("after_the_end.jpg", "wb").write(b + b"trailing")
b = bytearray(open("420_50x37_progressive.jpg", "rb").read())
b[1177] = 57  # a run of a refinement scan passes the last coefficient
open("damaged_progressive.jpg", "wb").write(b)

src.save("rgb.png")
src.convert("L").save("l.png")
src.convert("1").save("1.png")
src.quantize(16).save("p4.png", bits=4)
src.quantize(200).save("p8.png")
src.quantize(50).save("p_transparent.png", transparency=3)
rgba = src.copy()
rgba.putalpha(alpha)
rgba.save("rgba.png")
la = src.convert("L")
la.putalpha(alpha)
la.save("la.png")
Image.fromarray((a[:, :, 0].astype(np.uint16) * 3)).save("i16.png")
src.save("rgb_transparent.png", transparency=(1, 2, 3))
for name, mode in (("rgb", "RGB"), ("l", "L"), ("p", "P"), ("1", "1")):
    (src.quantize(99) if mode == "P" else src.convert(mode)).save(name + ".bmp")
for name, kw in {"plain": {}, "lzw": dict(compression="tiff_lzw"), "deflate": dict(compression="tiff_adobe_deflate"), "packbits": dict(compression="packbits")}.items():
    src.save(f"rgb_{name}.tif", **kw)
src.convert("L").save("l.tif")
src.quantize(77).save("p.tif")
rgba.save("rgba.tif")
src.save("lossy.webp", quality=80)
Image.fromarray(pic(44, 34)).save("lossy_even.webp", quality=60)
Image.fromarray(pic(1, 1)).save("lossy_1.webp", quality=60)
src.save("lossless.webp", lossless=True)
rgba.save("rgba.webp", quality=80)
rgba.save("rgba_lossless.webp", lossless=True, exact=True)
src.save("rgb.pnm", format="ppm")
src.convert("L").save("l.pnm", format="ppm")
open("comment.pnm", "wb").write(b"P6 # a comment\n45\t33 255\n" + a.tobytes())

for f in glob.glob("*"):
    if f.split(".")[-1] in ("jpg", "png", "bmp", "tif", "webp", "pnm"):
        Image.open(f).convert("RGB").save(f + ".ppm")
