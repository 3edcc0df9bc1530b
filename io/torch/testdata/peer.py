"""The other side of peer_test.go: PyTorch reads what Go wrote, and writes what Go reads.

    peer.py load FILE plain|weights_only   print every tensor and scalar as JSON
    peer.py train FILE                     load strictly into modules and an optimizer, step, print the weights
    peer.py save DIR                       write small checkpoints in every layout, print what is in them
    peer.py version
"""
import argparse
import hashlib
import json
import os
import struct
import sys
from collections import OrderedDict

import torch


def describe(v, path, out):
    if isinstance(v, argparse.Namespace):
        out[path] = "Namespace"
        v = vars(v)
    elif isinstance(v, OrderedDict):
        out[path] = "OrderedDict"
    elif isinstance(v, dict):
        out[path] = "dict"
    if isinstance(v, dict):
        for k, x in v.items():
            describe(x, f"{path}/{k}", out)
    elif isinstance(v, (list, tuple)):
        out[path] = f"{type(v).__name__} {len(v)}"
        for i, x in enumerate(v):
            describe(x, f"{path}/{i}", out)
    elif isinstance(v, torch.Tensor):
        c = v.detach().contiguous()
        b = c.view(torch.int16) if c.dtype == torch.bfloat16 else c
        sha = hashlib.sha256(b.numpy().tobytes()).hexdigest()
        out[path] = f"{str(v.dtype)[6:]} {list(v.shape)} {sha}"
    elif isinstance(v, float):
        out[path] = f"float {struct.pack('>d', v).hex()}"
    else:
        out[path] = f"{type(v).__name__} {v}"


def weights_only(path):
    if int(torch.__version__.split(".")[0]) < 2:
        # The first weights_only unpickler had no BINFLOAT; 2.0 added exactly this branch. Everything else it
        # refuses or allows stays as it is.
        import torch._weights_only_unpickler as w
        source = open(w.__file__).read()
        anchor = "            elif key[0] == BINUNICODE[0]:\n"
        assert source.count(anchor) == 1
        source = source.replace(
            anchor, '            elif key[0] == b"G"[0]:\n                self.append(unpack(">d", self.read(8))[0])\n' + anchor)
        exec(compile(source, w.__file__, "exec"), w.__dict__)
    return torch.load(path, map_location="cpu", weights_only=True)


def plain(path):
    if int(torch.__version__.split(".")[0]) < 2:
        return torch.load(path, map_location="cpu")
    return torch.load(path, map_location="cpu", weights_only=False)


def module():
    m = torch.nn.Module()
    m.encoder = torch.nn.DataParallel(torch.nn.Sequential(
        OrderedDict(conv1=torch.nn.Conv2d(1, 2, 3, bias=False), bn1=torch.nn.BatchNorm2d(2), fc=torch.nn.Linear(3, 2))))
    return m


def main():
    out = {}
    if sys.argv[1] == "version":
        out = torch.__version__
    elif sys.argv[1] == "load":
        describe({"plain": plain, "weights_only": weights_only}[sys.argv[3]](sys.argv[2]), "", out)
    elif sys.argv[1] == "train":
        c = plain(sys.argv[2])
        m = module()
        m.load_state_dict(c["model"], strict=True)
        o = torch.optim.SGD(m.parameters(), lr=1.0, momentum=0.0, weight_decay=0.0)
        o.load_state_dict(c["optimizer"])
        for p in m.parameters():
            p.grad = torch.zeros_like(p)
        o.step()
        describe(m.state_dict(), "", out)
    elif sys.argv[1] == "save":
        torch.manual_seed(0)
        m = module()
        o = torch.optim.SGD(m.parameters(), lr=0.03, momentum=0.9)
        for p in m.parameters():
            p.grad = torch.randn_like(p)
        o.step()
        base = torch.randn(4, 6)
        state = {"opt": argparse.Namespace(model="tiny", lr_decay_epochs=[1, 2], learning_rate=0.03, resume="", big=1 << 70, none=None),
                 "model": m.state_dict(), "optimizer": o.state_dict(), "epoch": 7, "best_acc1": torch.tensor([12.5]),
                 "views": (base.t(), base[1:3], base[:, ::2], base.half(), base.bfloat16(), base > 0)}
        kinds = {"zip.pth": {}, "legacy.pth": {"_use_new_zipfile_serialization": False}, "proto4.pth": {"pickle_protocol": 4},
                 "proto3_legacy.pth": {"pickle_protocol": 3, "_use_new_zipfile_serialization": False}}
        for name, kw in kinds.items():
            torch.save(state, os.path.join(sys.argv[2], name), **kw)
        describe(state, "", out)
    json.dump(out, sys.stdout)


if __name__ == "__main__":
    main()
