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
fc = torch.nn.Linear(x.shape[1], case["classes"])
with torch.no_grad():
    fc.weight.copy_(torch.from_numpy(start["weight"]))
    fc.bias.copy_(torch.from_numpy(start["bias"]))
if case["adam"]:
    opt = torch.optim.Adam(fc.parameters(), lr=case["rates"][0], betas=(0.5, 0.999), weight_decay=case["decay"], eps=1e-8)
else:
    opt = torch.optim.SGD(fc.parameters(), lr=case["rates"][0], momentum=0.9, weight_decay=case["decay"])
loss = torch.nn.CrossEntropyLoss()
for index, rate in zip(case["batches"], case["rates"]):
    for group in opt.param_groups:
        group["lr"] = rate
    out = loss(fc(x[index]), y[index])
    opt.zero_grad()
    out.backward()
    opt.step()
with torch.no_grad():
    logits = fc(v)
top5 = logits.topk(min(5, case["classes"]), 1).indices

# What contraflow saved is what the original's scripts load.
saved = torch.load(case["pth"])
assert list(saved)[:5] == ["opt", "epoch", "classifier", "best_acc1", "optimizer"], list(saved)
name = "classifier.LiniearClassifier"
assert list(saved["classifier"]) == [name + ".weight", name + ".bias"], list(saved["classifier"])
assert saved["best_acc1"].shape == (1,) and saved["opt"].learning_rate == case["base"], saved["opt"]
diff = lambda a, b: float((a - b).abs().max() / b.abs().max())
ours = torch.nn.Linear(x.shape[1], case["classes"])
other = type(opt)(ours.parameters(), lr=1.0)
other.load_state_dict(saved["optimizer"])
moments = []
for p, q in zip(fc.parameters(), ours.parameters()):
    a, b = opt.state[p], other.state[q]
    for key in ("exp_avg", "exp_avg_sq") if case["adam"] else ("momentum_buffer",):
        moments.append(diff(b[key], a[key]))
    if case["adam"]:
        assert int(a["step"]) == int(b["step"])
print(json.dumps({
    "pred": logits.argmax(1).tolist(),
    "top1": float((logits.argmax(1) == vy).float().mean()),
    "top5": float((top5 == vy[:, None]).any(1).float().mean()),
    "weight": diff(saved["classifier"][name + ".weight"], fc.weight.data),
    "bias": diff(saved["classifier"][name + ".bias"], fc.bias.data),
    "moments": max(moments),
}))
