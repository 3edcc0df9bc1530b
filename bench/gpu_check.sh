#!/usr/bin/env bash
# gpu_check: what only a GPU can prove, on a machine that has one and needs no Go: tests and program are prebuilt (make gpu-bin,
# into build/gpu) and travel with the source tree. It writes bench/results/cuda.md, or $OUT/cuda.md, and prints it; a part that
# fails is said in the table and in the exit code, and the others still run.
#   --quick leaves out the steps against PyTorch
set -uo pipefail
cd "$(dirname "$0")/.."
quick=0; [ "${1:-}" = --quick ] && quick=1
bin=$PWD/build/gpu out=${OUT:-$PWD/bench/results}
mkdir -p "$out"
for f in contraflow cuda.test flows.test; do
  [ -x "$bin/$f" ] || { echo "gpu-check: build/gpu/$f is missing: run make gpu-bin where Go is" >&2; exit 1; }
done
command -v nvidia-smi >/dev/null && nvidia-smi -L || { echo "gpu-check: no NVIDIA GPU on this machine (nvidia-smi): run it where one is" >&2; exit 1; }
export CONTRAFLOW_CUDA=required CONTRAFLOW_CACHE=${CONTRAFLOW_CACHE:-$(mktemp -d)}
# cuDNN looks for its parts by bare name: the wheels' folders go on the path before anything starts.
export LD_LIBRARY_PATH=$(python3 -c 'import glob, site, sys
print(":".join(d for s in {*site.getsitepackages(), site.getusersitepackages(), *sys.path} if s for d in sorted(glob.glob(s + "/nvidia/*/lib"))))' 2>/dev/null):${LD_LIBRARY_PATH:-}

failed=0
rows=()
row() { rows+=("| $1 | $2 | $3 |"); echo "$1: $2: $3"; }
part() { # NAME DIR CMD...: passes or fails
  local name=$1 dir=$2; shift 2
  local log=$out/gpu_${name//[^a-z0-9]/_}.log
  if (cd "$dir" && timeout 900 "$@") >"$log" 2>&1; then
    local passed; passed=$(grep -cE '^ *--- PASS' "$log")
    if [ "$passed" -gt 0 ]; then row "$name" holds "$passed passed"
    else failed=1; row "$name" "DOES NOT HOLD" "no test of that name ran"; fi
  else failed=1; row "$name" "DOES NOT HOLD" "$(grep -m1 -E '^ +[a-z_]+\.go:|panic|rror' "$log" | cut -c1-160 | tr '|' '/')"; fi
}
number() { python3 -c 'import json,sys
for l in open(sys.argv[1]):
    l=l.strip()
    if l.startswith("{"):
        v=json.loads(l)
        if len(sys.argv)<4 or v.get("mode")==sys.argv[3]: print(v.get(sys.argv[2],"")); break' "$@"; }

part "conformance float32" ops/cuda "$bin/cuda.test" -test.v -test.run 'Conform$'
part "conformance bfloat16" ops/cuda "$bin/cuda.test" -test.v -test.run 'BF16'
part "kernels" ops/cuda "$bin/cuda.test" -test.v -test.run 'Kernel|Bank|Draw|Render'
part "goldens" flows env CONTRAFLOW_TEST_DEVICE=cuda "$bin/flows.test" -test.v -test.run 'Golden'
part "flows against the processor, same bits twice" flows "$bin/flows.test" -test.v -test.run 'CUDA'
if san=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null); then
  for tool in memcheck racecheck initcheck; do
    part "compute-sanitizer $tool" ops/cuda "$san" --tool $tool --error-exitcode 9 "$bin/cuda.test" -test.v -test.run 'Kernel|Bank|Draw|ConformSmall'
  done
else
  row "compute-sanitizer" "not run" "it is not on this machine"
fi

# Bandwidth of our kernels against a copy.
(cd ops/cuda && timeout 600 "$bin/cuda.test" -test.run XXX -test.bench . -test.benchtime 20x) >"$out/gpu_kernels.txt" 2>&1 || failed=1
copy=$(awk '/BenchmarkCopy/ {for (i=2; i<NF; i++) if ($(i+1)=="GB/s") print $i}' "$out/gpu_kernels.txt")
[ -n "$copy" ] || { failed=1; row "bandwidth of the kernels" "DOES NOT HOLD" "no copy was measured: see gpu_kernels.txt"; }
while read -r name rate; do
  share=$(awk -v a="$rate" -v b="${copy:-0}" 'BEGIN {printf "%.0f", b ? 100*a/b : 0}')
  verdict=holds; [ "$share" -ge 80 ] || { verdict="DOES NOT HOLD"; failed=1; }
  row "$name ≥ 80 % of a copy" "$verdict" "$rate GB/s of $copy: $share %"
done < <(awk '/^Benchmark/ && !/Copy/ {for (i=2; i<NF; i++) if ($(i+1)=="GB/s") print $1, $i}' "$out/gpu_kernels.txt")

# Steps against PyTorch, in turns, so that both see the same clocks.
compare() { # NAME FLOW MODEL BATCH K N WANT BASE
  local ours=$out/gpu_$2_ours.json theirs=$out/gpu_$2_torch.json; : >"$ours"; : >"$theirs"
  python3 bench/gpu_step.py "$2" "$3" "$4" "$5" "$6" 30 both >"$theirs" 2>"$theirs.log" || { row "$1" "not run" "PyTorch: $(tail -1 "$theirs.log" | cut -c1-120)"; }
  "$bin/contraflow" bench step --flow "$2" --model "$3" --batch "$4" --nce_k "$5" --n_data "$6" --steps 30 --device cuda --amp --softmax="$([ "$2" = moco ] && echo true || echo false)" --json >"$ours" 2>&1 ||
    { failed=1; row "$1" "DOES NOT HOLD" "$(tail -1 "$ours" | cut -c1-160)"; return; }
  local a b e c; a=$(number "$ours" step_ms); e=$(number "$theirs" step_ms eager); c=$(number "$theirs" step_ms compile)
  b=$(python3 -c "v=[float(x) for x in '$e ${8:+$c}'.split()]; print(min(v) if v else 0)")
  local ratio; ratio=$(awk -v a="$a" -v b="$b" 'BEGIN {printf "%.2f", a ? b/a : 0}')
  local verdict=holds; awk -v r="$ratio" -v w="$7" 'BEGIN {exit !(r >= w)}' || { verdict="DOES NOT HOLD"; failed=1; }
  row "$1" "$verdict" "${ratio}×: ours $a ms, PyTorch eager $e ms, compile $c ms"
}
if [ $quick = 0 ]; then
  compare "MoCo ResNet-50, batch 256, ≥ 1.1× eager" moco resnet50 256 16384 1281167 1.1 ""
  compare "CMC resnet50v1, K 16384, N 1.28M, ≥ 1.5× its best" cmc resnet50v1 256 16384 1281167 1.5 best
fi

{
  echo "## CUDA"; echo
  echo "$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -1), $(python3 -c 'import torch; print("PyTorch", torch.__version__, "cuDNN", torch.backends.cudnn.version())' 2>/dev/null || echo no PyTorch), $(date -u +%F)."
  echo "Command: \`make gpu-bin\` where Go is, then \`bench/gpu_check.sh\` on the machine with the GPU."; echo
  echo "| what | verdict | seen |"; echo "|---|---|---|"
  printf '%s\n' "${rows[@]}"
} | tee "$out/cuda.md"
exit $failed
