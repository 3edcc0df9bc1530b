#!/usr/bin/env bash
# cuda_clock: would a GPU have to wait for the host? `profile cmc` on cached batches, on a driver that computes nothing and takes the time
# of an H200 (ops/cuda/fake/timedcuda.cpp; make cuda-clock sets it up). Pictures of 64 pixels on a device 13 times as slow make a
# step as long as one of 224 pixels, 34 ms, and leave the processors of this machine to what is measured.
#
#   bench/cuda_clock.sh [RUNS]   the best of 3 runs unless said; fails below 92 % busy, which a busy machine is not enough for, or when
#                                any run has less than 90 % of its uploads beside compute
#   bench/cuda_clock.sh [RUNS] [--defaults]   with the flags' defaults instead: AlexNet, 128 pictures of 224 pixels, float32, nothing slowed
#   BIN=FILE                     another program than build/gpu/contraflow: that of another commit, for comparison
#
# Between pieces of work it then lists where the device stood still in the last run, if TIMEDCUDA_GAPS=1 is set.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${BIN:-$PWD/build/gpu/contraflow} runs=${1:-3} python=${PYTHON:-python3}
case ${CUDA_DRIVER_LIB:-} in *timedcuda*) ;; *) echo "cuda-clock: no timed driver: run make cuda-clock" >&2; exit 1 ;; esac
[ -x "$bin" ] || { echo "cuda-clock: $bin is missing: run make gpu-bin" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
flags=(--model resnet50v1 --batch_size 256 --image_size 64 --nce_k 512 --amp) scale=13
[ "${2:-}" != --defaults ] || { flags=(); scale=1; }
export CONTRAFLOW_CACHE=$work TIMEDCUDA_SCALE=${TIMEDCUDA_SCALE:-$scale}
"$bin" data synth --out "$work/images" --per_class 100 --val_per_class 1 --size 224 >"$work/log"
for i in $(seq "$runs"); do
  "$bin" profile cmc --data_folder "$work/images" "${flags[@]}" --device cuda --seconds 6 --quiet --json \
    >"$work/$i.json" 2>"$work/log" || { tail -3 "$work/log" >&2; exit 1; }
done
grep timedcuda "$work/log" || true
$python - "$work" "$runs" <<'END'
import json, sys
runs = [json.load(open(f"{sys.argv[1]}/{i + 1}.json")) for i in range(int(sys.argv[2]))]
busy = sorted(100 * r["device_busy"]["busy_share"] for r in runs)
hidden = min(100 * r["device_busy"]["hidden_share"] if r["device_busy"]["upload_ms"] else 0 for r in runs)
step = min(1e3 * r["batch_size"] / r["compute"]["images_per_s"] for r in runs)
print(f"busy {busy[-1]:.1f} % ({', '.join(f'{b:.1f}' for b in busy)}), {hidden:.0f} % of the uploads beside compute, {step:.1f} ms a step")
sys.exit(busy[-1] < 92 or hidden < 90)
END
