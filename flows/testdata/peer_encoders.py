"""The other side of torch_peer_test.go: the original's encoders in PyTorch, written from their description.

    peer_encoders.py features IN.npz FILE.pth OUT.npz plain|weights_only [FILE.pth OUT.npz MODE …]
        load checkpoints strictly into modules and an optimizer, embed the pictures x [B,3,H,W] of IN.npz
    peer_encoders.py make DIR IN.npz N K
        train encoders for a step, save them as the original's scripts do, in either layout, and embed the pictures of IN.npz;
        banks have N rows, queues K
"""
import argparse
import os
import sys

import numpy as np
import torch
from torch import nn


class Unit(nn.Module):
    def forward(self, x):
        return x / x.pow(2).sum(1, keepdim=True).pow(0.5)


class AlexHalf(nn.Module):
    def __init__(self, channels, dim):
        super().__init__()

        def block(i, o, k, s, p, pool):
            layers = [nn.Conv2d(i, o, k, s, p, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True)]
            return nn.Sequential(*layers, *([nn.MaxPool2d(3, 2)] if pool else []))

        self.conv_block_1 = block(channels, 48, 11, 4, 2, True)
        self.conv_block_2 = block(48, 128, 5, 1, 2, True)
        self.conv_block_3 = block(128, 192, 3, 1, 1, False)
        self.conv_block_4 = block(192, 192, 3, 1, 1, False)
        self.conv_block_5 = block(192, 128, 3, 1, 1, True)
        self.fc6 = nn.Sequential(nn.Linear(128 * 36, 2048), nn.BatchNorm1d(2048), nn.ReLU(inplace=True))
        self.fc7 = nn.Sequential(nn.Linear(2048, 2048), nn.BatchNorm1d(2048), nn.ReLU(inplace=True))
        self.fc8 = nn.Sequential(nn.Linear(2048, dim))
        self.l2norm = Unit()

    def forward(self, x):
        for i in range(1, 6):
            x = getattr(self, f"conv_block_{i}")(x)
        f = self.fc7(self.fc6(x.flatten(1)))
        return f, self.l2norm(self.fc8(f))


class Basic(nn.Module):
    expansion = 1

    def __init__(self, i, planes, stride, downsample):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(i, planes, 3, stride, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False), nn.BatchNorm2d(planes)
        self.downsample = downsample

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + (self.downsample(x) if self.downsample else x))


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, i, planes, stride, downsample):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(i, planes, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = nn.Conv2d(planes, 4 * planes, 1, bias=False), nn.BatchNorm2d(4 * planes)
        self.downsample = downsample

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + (self.downsample(x) if self.downsample else x))


class ResNet(nn.Module):
    def __init__(self, block, depths, channels, width, dim=128):
        super().__init__()
        base = int(64 * width)
        self.conv1, self.bn1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        i = 64
        for stage, n in enumerate(depths):
            planes, blocks = base << stage, []
            for b in range(n):
                stride, down = (2 if stage and b == 0 else 1), None
                if stride != 1 or i != planes * block.expansion:
                    down = nn.Sequential(nn.Conv2d(i, planes * block.expansion, 1, stride, bias=False), nn.BatchNorm2d(planes * block.expansion))
                blocks.append(block(i, planes, stride, down))
                i = planes * block.expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.avgpool = nn.AvgPool2d(7, stride=1)
        self.fc = nn.Linear(i, dim)
        self.l2norm = Unit()

    def forward(self, x):
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        for s in range(1, 5):
            x = getattr(self, f"layer{s}")(x)
        f = self.avgpool(x).flatten(1)
        return f, self.l2norm(self.fc(f))


class Pair(nn.Module):
    def __init__(self, half):
        super().__init__()
        self.l_to_ab, self.ab_to_l = half(1), half(2)

    def forward(self, x):
        return self.l_to_ab(x[:, :1]), self.ab_to_l(x[:, 1:])


class Single(ResNet):
    def forward(self, x):
        return (super().forward(x),)


class Model(nn.Module):
    """The original's outer module: its one attribute is an encoder inside DataParallel."""

    def __init__(self, name, dim=128):
        super().__init__()
        r18, r50 = (Basic, [2, 2, 2, 2]), (Bottleneck, [3, 4, 6, 3])
        self.encoder = nn.DataParallel({
            "alexnet": lambda: Pair(lambda c: AlexHalf(c, dim)),
            "resnet18v1": lambda: Pair(lambda c: ResNet(*r18, c, 0.5)),
            "resnet50v1": lambda: Pair(lambda c: ResNet(*r50, c, 0.5)),
            "resnet18": lambda: Single(*r18, 3, 1),
            "resnet50": lambda: Single(*r50, 3, 1),
        }[name]())

    def forward(self, x):
        return self.encoder(x)


def load(path, mode):
    if mode == "weights_only":
        sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "io", "torch", "testdata"))
        from peer import weights_only
        return weights_only(path)
    if int(torch.__version__.split(".")[0]) < 2:
        return torch.load(path, map_location="cpu")
    return torch.load(path, map_location="cpu", weights_only=False)


def save_features(path, model, x):
    model.eval()
    with torch.no_grad():
        out = model(x)
    np.savez(path, **{f"{kind}_{v}": t.numpy() for v, pair in enumerate(out) for kind, t in zip(("feature", "embedding"), pair)})


def features(pictures, path, out, mode):
    c = load(path, mode)
    opt = c["opt"] if isinstance(c["opt"], dict) else vars(c["opt"])
    m = Model(opt["model"], opt["feat_dim"])
    m.load_state_dict(c["model"], strict=True)
    if "model_ema" in c:
        Model(opt["model"]).load_state_dict(c["model_ema"], strict=True)
    sgd = torch.optim.SGD(m.parameters(), lr=1.0, momentum=0.5)
    sgd.load_state_dict(c["optimizer"])
    assert len(sgd.state_dict()["state"]) == len(list(m.parameters())), "momentum buffers"
    for p, s in zip(m.parameters(), (sgd.state[p] for p in m.parameters())):
        assert s["momentum_buffer"].shape == p.shape
    assert all(t.ndim >= 1 for t in c["contrast"].values()) and "params" in c["contrast"]
    save_features(out, m, torch.from_numpy(np.load(pictures)["x"]))


def make(folder, pictures, n, k):
    torch.manual_seed(1)
    x = torch.from_numpy(np.load(pictures)["x"])
    for method, name in (("cmc", "alexnet"), ("cmc", "resnet18v1"), ("moco", "resnet18"), ("insdis", "resnet50")):
        m = Model(name)
        sgd = torch.optim.SGD(m.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4)
        for _ in range(2):
            loss = sum((e * torch.randn_like(e)).sum() for _, e in m(torch.randn(4, 3, 224, 224)))
            sgd.zero_grad()
            loss.backward()
            sgd.step()

        def bank(rows):
            return Unit()(torch.randn(rows, 128))

        opt = argparse.Namespace(model=name, feat_dim=128, nce_k=k, nce_t=0.07, nce_m=0.5, softmax=method != "cmc", batch_size=8, epochs=240,
                                 learning_rate=0.03, lr_decay_epochs=[120, 160, 200], lr_decay_rate=0.1, momentum=0.9, weight_decay=1e-4,
                                 crop_low=0.08, crop=0.08, dataset="imagenet", data_folder="/data", aug="CJ", view="Lab", alpha=0.999, method="nce")
        state = {"opt": opt, "model": m.state_dict(), "optimizer": sgd.state_dict(), "epoch": 2}
        if method == "cmc":
            state["contrast"] = {"params": torch.tensor([k, 0.07, 1234.5, 2345.5, 0.5]), "memory_l": bank(n), "memory_ab": bank(n)}
        elif method == "moco":
            state["contrast"] = {"params": torch.tensor([-1]), "memory": bank(k)}
            state["model_ema"] = Model(name).state_dict()
        else:
            state["contrast"] = {"params": torch.tensor([k, 0.07, -1, 0.5]), "memory": bank(n)}
        base = os.path.join(folder, f"{method}_{name}")
        if name in ("resnet18v1", "resnet18"):
            torch.save(state, base + "_zip.pth")
        if name != "resnet18":
            torch.save(state, base + "_legacy.pth", _use_new_zipfile_serialization=False)
        if name == "resnet18v1":
            torch.save(state["model"], base + "_bare.pth")
        save_features(base + ".npz", m, x)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "features":
        for at in range(3, len(sys.argv), 3):
            features(sys.argv[2], *sys.argv[at:at + 3])
    else:
        make(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
