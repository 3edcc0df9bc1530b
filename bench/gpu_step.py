#!/usr/bin/env python3
"""PyTorch's side of the GPU comparison: whole training steps, its best settings. Batches are on the device already, or come from files.

Usage: gpu_step.py FLOW MODEL BATCH K N STEPS eager|compile|both [--size 224] [--float32] [--tf32] [--rehearse]
       gpu_step.py … --folder DIR --loading pillow|tensors --workers W   trains on JPEG files of DIR/train instead (torch_loading.py)
FLOW is cmc or moco. bfloat16 by autocast (weights float32), channels_last, cudnn.benchmark; --float32 trains in float32.
Prints one JSON line a mode: the median, least and largest milliseconds of a step, timed by CUDA events; of files the images a second of
STEPS steps after 40 others, in which what had been loaded ahead is used up, under jemalloc where it is installed. --rehearse runs the
same lines on the processor, without compiling and with any PyTorch from 1.13 on: no result, but it shows that they run.
gpu_step.py copy prints the bandwidth of a copy on the device, in GB/s, read and written bytes together."""
import json
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
if "--folder" in sys.argv:
    import compare

    compare.keep_memory()
    import torch_loading  # before torch: it keeps libraries from starting threads in every worker

import torch
import torch.nn as nn
import torch.nn.functional as F

import step as cpu  # the models and the loss, shared with the processor's comparison

D, T = 128, 0.07
REHEARSE = "--rehearse" in sys.argv
DEVICE = "cpu" if REHEARSE else "cuda"


def option(name, default):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


SIZE = int(option("--size", 224))


def timed(work):
    """Milliseconds of work on the device."""
    if REHEARSE:
        begin = time.perf_counter()
        work()
        return 1000 * (time.perf_counter() - begin)
    begin, end = torch.cuda.Event(True), torch.cuda.Event(True)
    begin.record()
    work()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end)


def copy_bandwidth():
    a = torch.empty(1 << 30, dtype=torch.uint8, device=DEVICE)
    b = torch.empty_like(a)
    times = [timed(lambda: b.copy_(a)) for _ in range(12)]
    print(json.dumps({"copy_gb_s": 2 * a.numel() / 1e6 / statistics.median(times[2:])}))


def main():
    if sys.argv[1] == "copy":
        return copy_bandwidth()
    flow, model, batch, k, n, steps, mode = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:7]), sys.argv[7]
    bf16 = "--float32" not in sys.argv
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = "--tf32" in sys.argv
    for m in ["eager", "compile"] if mode == "both" else [mode]:
        torch.manual_seed(1)
        step = trainer(flow, model, batch, k, n, m, bf16)
        if "--folder" in sys.argv:
            from_files(step, flow, batch, steps, m)
        else:
            on_device(step, flow, batch, steps, m)


def report(**values):
    about = {"device": "cpu"} if REHEARSE else {"memory_gib": torch.cuda.max_memory_allocated() / 2**30, "device": torch.cuda.get_device_name()}
    print(json.dumps({**values, "torch": torch.__version__, **about}), flush=True)


def views(flow, x):
    """The towers' inputs out of a batch of 3 channels, or of 6 with two crops."""
    x = x.to(DEVICE, non_blocking=True)
    parts = (x[:, :1], x[:, 1:]) if flow == "cmc" else (x[:, :3], x[:, 3:])
    return [p.to(torch.float32, memory_format=torch.channels_last) for p in parts]


def on_device(step, flow, batch, steps, mode):
    images = views(flow, torch.randn(batch, 3 if flow == "cmc" else 6, SIZE, SIZE))
    for _ in range(1 if REHEARSE else 10 if mode == "eager" else 20):
        step(images)
    times = [timed(lambda: step(images)) for _ in range(steps)]
    ms = statistics.median(times)
    report(mode=mode, step_ms=ms, step_ms_min=min(times), step_ms_max=max(times), images_per_s=1000 * batch / ms)


def from_files(step, flow, batch, steps, mode):
    kind, workers = option("--loading", "tensors"), int(option("--workers", "8"))
    loader = iter(torch_loading.loader(option("--folder", ""), flow, kind == "tensors", batch, workers, pin_memory=not REHEARSE, drop_last=True))
    for _ in range(1 if REHEARSE else 40):
        step(views(flow, next(loader)[0]))
    if not REHEARSE:
        torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(steps):
        step(views(flow, next(loader)[0]))
    if not REHEARSE:
        torch.cuda.synchronize()
    report(mode=mode, loading=kind, workers=workers, images_per_s=batch * steps / (time.perf_counter() - began))


def trainer(flow, model, batch, k, n, mode, bf16):
    """A function that trains on the towers' inputs of one batch."""
    make = {"alexnet": cpu.alexnet, "resnet18": lambda c: cpu.resnet(18, 1, c), "resnet18v1": lambda c: cpu.resnet(18, 0.5, c), "resnet50v1": lambda c: cpu.resnet(50, 0.5, c),
            "resnet50": lambda c: cpu.resnet(50, 1, c)}[model]

    def new(c):
        net = make(c)
        if SIZE != 224:
            net[-3] = nn.AdaptiveAvgPool2d(1)
        return net.to(DEVICE).to(memory_format=torch.channels_last)

    channels = [1, 2] if flow == "cmc" else [3]
    towers = [new(c) for c in channels]
    key = None
    if flow == "moco":
        key = new(3)
        key.load_state_dict(towers[0].state_dict())
        key.requires_grad_(False)
    optimiser = torch.optim.SGD([p for t in towers for p in t.parameters()], lr=0.03, momentum=0.9, weight_decay=1e-4, **({} if REHEARSE else {"fused": True}))
    banks = [F.normalize(torch.randn(k if flow == "moco" else n, D, device=DEVICE)) for _ in channels]
    state = {}
    calls = [torch.compile(t) if mode == "compile" and not REHEARSE else t for t in towers + ([key] if key else [])]

    def embed(net, x):
        with torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=bf16):
            out = net(x)
        return F.normalize(out.float())

    def nce(query, rows, at):
        s = torch.exp(torch.bmm(rows, query.unsqueeze(2)).squeeze(2) / T)
        if at not in state:
            state[at] = s.mean().detach() * n
        p, c0 = s / state[at], k / n
        return -(torch.log(p[:, 0] / (p[:, 0] + c0 + 1e-7)).sum() + torch.log(c0 / (p[:, 1:] + c0 + 1e-7)).sum()) / batch

    def step(images):
        if flow == "moco":
            q = embed(calls[0], images[0])
            with torch.no_grad():
                order = torch.randperm(batch, device=DEVICE)
                keys = embed(calls[1], images[1][order])[torch.argsort(order)]
            logits = torch.cat([(q * keys).sum(1, keepdim=True), q @ banks[0].t()], 1) / T
            loss = F.cross_entropy(logits, torch.zeros(batch, dtype=torch.long, device=DEVICE))
        else:
            out = [embed(c, x) for c, x in zip(calls, images)]
            index = torch.randint(0, n, (batch, k + 1), device=DEVICE)
            rows = [b.index_select(0, index.view(-1)).view(batch, k + 1, D) for b in banks]
            loss = nce(out[0], rows[1], 0) + nce(out[1], rows[0], 1)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            if flow == "moco":
                if REHEARSE:  # PyTorch 1.13 has no _foreach_lerp_
                    for slow, fast in zip(key.parameters(), towers[0].parameters()):
                        slow.lerp_(fast, 0.001)
                else:
                    torch._foreach_lerp_(list(key.parameters()), list(towers[0].parameters()), 0.001)
                banks[0][:batch] = keys
            else:
                for b, o in zip(banks, out):
                    b[index[:, 0]] = F.normalize(b[index[:, 0]] * 0.5 + o.detach() * 0.5)

    return step


if __name__ == "__main__":
    main()
