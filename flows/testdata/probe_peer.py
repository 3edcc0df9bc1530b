"""Train the original's linear probe in PyTorch on features, initial weights and batches that contraflow wrote.

    probe_peer.py case.json     prints {"pred": [...], "top1": ..., "top5": ..., "weight": max difference, ...}

The classifier, optimiser and schedule are written as the original's LinearProbing and eval_moco_ins have them. case.json names
the two .npy files of --cache_features, labels, the order of the images, and the last.pth that contraflow left.
"""
import json
import sys

import numpy as np
import torch

case = json.load(open(sys.argv[1]))
torch.set_num_threads(2)
x = torch.from_numpy(np.load(case["train"]))
v = torch.from_numpy(np.load(case["val"]))
y, vy = torch.tensor(case["train_labels"]), torch.tensor(case["val_labels"])
start = np.load(case["start"])
adam = case["adam"]


def train(dtype, order=slice(None)):
    """Return the trained classifier and its optimiser; the features are summed in the given order."""
    fc = torch.nn.Linear(x.shape[1], case["classes"]).to(dtype)
    with torch.no_grad():
        fc.weight.copy_(torch.from_numpy(start["weight"])[:, order])
        fc.bias.copy_(torch.from_numpy(start["bias"]))
    if adam:
        opt = torch.optim.Adam(fc.parameters(), lr=case["rates"][0], betas=(0.5, 0.999), weight_decay=case["decay"], eps=1e-8)
    else:
        opt = torch.optim.SGD(fc.parameters(), lr=case["rates"][0], momentum=0.9, weight_decay=case["decay"])
    loss = torch.nn.CrossEntropyLoss()
    for index, rate in zip(case["batches"], case["rates"]):
        for group in opt.param_groups:
            group["lr"] = rate
        out = loss(fc(x[index][:, order].to(dtype)), y[index])
        opt.zero_grad()
        out.backward()
        opt.step()
    return fc, opt


fc, opt = train(torch.float32)
exact, exact_opt = train(torch.float64)
with torch.no_grad():
    logits = fc(v)
top5 = logits.topk(min(5, case["classes"]), 1).indices

# What contraflow saved is what the original's scripts load.
saved = torch.load(case["pth"])
assert list(saved)[:5] == ["opt", "epoch", "classifier", "best_acc1", "optimizer"], list(saved)
name = "classifier.LiniearClassifier"
assert list(saved["classifier"]) == [name + ".weight", name + ".bias"], list(saved["classifier"])
assert saved["best_acc1"].shape == (1,) and saved["opt"]["learning_rate"] == case["base"], saved["opt"]
ours = torch.nn.Linear(x.shape[1], case["classes"])
ours.load_state_dict({k[len(name) + 1:]: t for k, t in saved["classifier"].items()})
ours_opt = type(opt)(ours.parameters(), lr=1.0)
ours_opt.load_state_dict(saved["optimizer"])


def errors(fc, opt, order=slice(None)):
    """Largest differences from the float64 run, relative to its largest value: weight, bias, optimiser state."""
    diff = lambda a, b: float((a.double() - (b[:, order] if b.dim() == 2 else b)).abs().max() / b.abs().max())
    moments = []
    for p, q in zip(fc.parameters(), exact.parameters()):
        a, b = opt.state[p], exact_opt.state[q]
        moments += [diff(a[key], b[key]) for key in (("exp_avg", "exp_avg_sq") if adam else ("momentum_buffer",))]
        assert not adam or int(a["step"]) == int(b["step"])
    return {"weight": diff(fc.weight.data, exact.weight.data), "bias": diff(fc.bias.data, exact.bias.data), "moments": max(moments)}


# One order of summation may be lucky: up to eight of them show what float32 is good for here.
torch.manual_seed(1)
orders = [torch.randperm(x.shape[1]) for _ in range(min(8, 2**18 // x.shape[1]))]
spread = [errors(fc, opt)] + [errors(*train(torch.float32, order), order) for order in orders]
print(json.dumps({
    "pred": logits.argmax(1).tolist(),
    "top1": float((logits.argmax(1) == vy).float().mean()),
    "top5": float((top5 == vy[:, None]).any(1).float().mean()),
    "ours": errors(ours, ours_opt),
    "torch": {key: max(e[key] for e in spread) for key in spread[0]},
}))
