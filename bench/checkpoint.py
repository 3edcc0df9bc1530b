#!/usr/bin/env python3
"""What saving a state of 200 MB costs a run that trains: runs with and without checkpoints, interleaved.

    bench/checkpoint.py CONTRAFLOW FOLDER [ROUNDS [STEPS [EVERY]]]

MoCo with ResNet-18 and a queue of 131,072 keys on generated pictures, a checkpoint every EVERY steps. Throughput is taken from
metrics.jsonl, from the third step on; the last checkpoint, when nothing trains any more, does not count.
"""
import json
import os
import shutil
import subprocess
import sys

cf, folder = sys.argv[1], sys.argv[2]
rounds, steps, every = (int(v) for v in (sys.argv[3:] + ["3", "42", "20"][len(sys.argv) - 3:]))
data = os.path.join(folder, "data")
if not os.path.exists(data):
    subprocess.run([cf, "data", "synth", "--out", data, "--classes", "4", "--per_class", "160", "--val_per_class", "2", "--size", "72"], check=True, stdout=subprocess.DEVNULL)


def train(save):
    runs = os.path.join(folder, "runs")
    shutil.rmtree(runs, ignore_errors=True)
    subprocess.run([cf, "train", "moco", "--softmax", "--data_folder", data, "--model", "resnet18", "--image_size", "64", "--batch_size", "64",
                    "--nce_k", "131072", "--dataset", "imagenet100", "--epochs", "1000", "--max_steps", str(steps), "--save_freq", "0",
                    "--save_steps", str(every if save else 0), "--model_path", runs, "--run_name", "r", "--tb_path", "", "--quiet"], check=True)
    lines = [json.loads(l) for l in open(os.path.join(runs, "r", "metrics.jsonl"))][2:]
    last = max(f for f in os.listdir(os.path.join(runs, "r")) if f.startswith("step-"))
    size = sum(os.path.getsize(os.path.join(runs, "r", last, f)) for f in os.listdir(os.path.join(runs, "r", last)))
    seconds = sum(64 / l["images_per_s"] for l in lines)
    return 64 * len(lines) / seconds, seconds, size


print("| round | images/s without | with | seconds | saves | cost |\n|---|---|---|---|---|---|")
total = [0.0, 0.0]
for r in range(rounds):
    result = {}
    for save in ((False, True), (True, False))[r % 2]:
        result[save] = train(save)
        total[save] += result[save][1]
    a, b = result[False], result[True]
    print(f"| {r + 1} | {a[0]:.1f} | {b[0]:.1f} | {b[1]:.1f} | {(steps - 1) // every} | {100 * (1 - b[0] / a[0]):.1f} % |", flush=True)
print(f"\nstate {b[2] / 1e6:.0f} MB; all rounds: {100 * (1 - total[0] / total[1]):.1f} % of throughput, "
      f"{(total[1] - total[0]) / (rounds * ((steps - 1) // every)):.2f} s a save, one every {total[1] / (rounds * ((steps - 1) // every)):.1f} s")
