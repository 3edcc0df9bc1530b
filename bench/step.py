#!/usr/bin/env python3
"""PyTorch's side of `contraflow bench step`: the same models, losses, batch and optimiser, in one JSON line.

Debian: apt-get install python3-torch libopenblas0. Usage: step.py FLOW MODEL BATCH THREADS STEPS [channels_last|contiguous [bf16] [compile]]
FLOW is cmc, insdis or moco-query (MoCo without its key encoder). K = 4096, 100000 images, 224 pixels. With bf16 encoders run under
autocast; with compile (PyTorch 2) encoders and scores go through torch.compile, which takes minutes the first time."""
import json
import os
import resource
import statistics
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

K, N, D, T = 4096, 100000, 128, 0.07


class Block(nn.Module):
    def __init__(self, cin, planes, stride, bottleneck):
        super().__init__()
        out = planes * (4 if bottleneck else 1)
        shapes = [(cin, planes, 1, 1), (planes, planes, 3, stride), (planes, out, 1, 1)] if bottleneck else [(cin, planes, 3, stride), (planes, out, 3, 1)]
        self.convs = nn.ModuleList(nn.Conv2d(i, o, k, s, k // 2, bias=False) for i, o, k, s in shapes)
        self.norms = nn.ModuleList(nn.BatchNorm2d(o) for _, o, _, _ in shapes)
        self.short = None
        if stride != 1 or cin != out:
            self.short = nn.Sequential(nn.Conv2d(cin, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        y = x
        for i, (c, b) in enumerate(zip(self.convs, self.norms)):
            y = b(c(y))
            if i < len(self.convs) - 1:
                y = F.relu(y, inplace=True)
        return F.relu(y.add_(x if self.short is None else self.short(x)), inplace=True)


def resnet(depth, width, channels):
    counts, bottleneck = {18: ([2, 2, 2, 2], False), 50: ([3, 4, 6, 3], True)}[depth]
    layers = [nn.Conv2d(channels, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    cin = 64
    for stage, n in enumerate(counts):
        planes = int(64 * width) << stage
        for i in range(n):
            layers.append(Block(cin, planes, 2 if stage and i == 0 else 1, bottleneck))
            cin = planes * (4 if bottleneck else 1)
    return nn.Sequential(*layers, nn.AvgPool2d(7, 1), nn.Flatten(), nn.Linear(cin, D))


def alexnet(channels):
    def conv(i, o, k, s, p):
        return [nn.Conv2d(i, o, k, s, p, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True)]
    def fc(i, o):
        return [nn.Linear(i, o), nn.BatchNorm1d(o), nn.ReLU(inplace=True)]
    return nn.Sequential(*conv(channels, 48, 11, 4, 2), nn.MaxPool2d(3, 2), *conv(48, 128, 5, 1, 2), nn.MaxPool2d(3, 2),
                         *conv(128, 192, 3, 1, 1), *conv(192, 192, 3, 1, 1), *conv(192, 128, 3, 1, 1), nn.MaxPool2d(3, 2),
                         nn.Flatten(), *fc(128 * 36, 2048), *fc(2048, 2048), nn.Linear(2048, D))


def scores(query, bank, index):
    """exp(dot/T) of queries [B,D] with the memory's rows at index [B,K+1]; column 0 is the positive."""
    rows = bank[index.view(-1)].view(*index.shape, D)
    return torch.exp(torch.bmm(rows, query.unsqueeze(2)).squeeze(2) / T)


def nce(s, state, key):
    """The original's criterion with uniform noise."""
    if key not in state:
        state[key] = s.mean().item() * N
    p = s / state[key]
    c0 = K / N
    pos = torch.log(p[:, 0] / (p[:, 0] + c0 + 1e-7))
    neg = torch.log(c0 / (p[:, 1:] + c0 + 1e-7))
    return -(pos.sum() + neg.sum()) / s.shape[0]


def blas():
    """The library that linear layers run on: Debian's reference BLAS takes AlexNet's step three times as long as OpenBLAS."""
    maps = (l.split()[-1] for l in open("/proc/self/maps") if "blas" in l or "libmkl" in l)
    return ", ".join(sorted({os.path.realpath(m) for m in maps})) or "of PyTorch's own"


def main():
    flow, model, batch, threads, steps = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
    layout = torch.channels_last if (sys.argv[6:] or ["channels_last"])[0] == "channels_last" else torch.contiguous_format
    amp, compiled = "bf16" in sys.argv[7:], "compile" in sys.argv[7:]
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    make = {"alexnet": alexnet, "resnet18v1": lambda c: resnet(18, 0.5, c), "resnet50v1": lambda c: resnet(50, 0.5, c), "resnet50": lambda c: resnet(50, 1, c)}[model]
    channels = [1, 2] if flow == "cmc" else [3]
    towers = [make(c).to(memory_format=layout) for c in channels]
    images = [torch.randn(batch, c, 224, 224).to(memory_format=layout) for c in channels]
    fused = {"fused": True} if torch.__version__.split(".")[0] != "1" else {}
    optimiser = torch.optim.SGD([p for t in towers for p in t.parameters()], lr=0.03, momentum=0.9, weight_decay=1e-4, **fused)
    calls, score = (towers, scores) if not compiled else ([torch.compile(t) for t in towers], torch.compile(scores))
    rows = K if flow == "moco-query" else N
    banks = [F.normalize(torch.randn(rows, D)) for _ in channels]
    keys, state = F.normalize(torch.randn(batch, D)), {}

    def step():
        begin = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=amp):
            out = [t(x) for t, x in zip(calls, images)]
        out = [F.normalize(o.float()) for o in out]
        if flow == "moco-query":
            logits = torch.cat([(out[0] * keys).sum(1, keepdim=True), out[0] @ banks[0].t()], 1) / T
            s = torch.exp(logits)
            if "z" not in state:
                state["z"] = float(int(s.mean().item() * N))
            p, c0 = s / state["z"], K / N
            loss = -(torch.log(p[:, 0] / (p[:, 0] + c0 + 1e-7)).sum() + torch.log(c0 / (p[:, 1:] + c0 + 1e-7)).sum()) / batch
        else:
            index = torch.randint(0, N, (batch, K + 1))
            views = [(0, 1), (1, 0)] if flow == "cmc" else [(0, 0)]
            loss = sum(nce(score(out[q], banks[k], index), state, q) for q, k in views)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            if flow == "moco-query":
                banks[0][:batch] = out[0]
            else:
                ids = index[:, 0]
                for b, o in zip(banks, out):
                    b[ids] = F.normalize(b[ids] * 0.5 + o * 0.5)
        return 1000 * (time.perf_counter() - begin)

    for _ in range(3):  # its allocator needs some to have all memory it will want
        step()
    times = [step() for _ in range(steps)]
    ms = statistics.median(times)
    print(json.dumps({"images_per_s": 1000 * batch / ms, "step_ms": ms, "step_ms_min": min(times), "step_ms_max": max(times),
                      "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "torch": torch.__version__, "blas": blas(), "threads": threads}))


if __name__ == "__main__":
    main()
