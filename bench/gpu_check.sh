#!/usr/bin/env bash
# gpu_check: what only a GPU can prove, on a machine that has one and needs no Go: tests and program are prebuilt (make gpu-bin,
# into build/gpu) and travel with the source tree. It writes bench/results/cuda.md, or $OUT/cuda.md, row by row; a part that
# fails is said in the table and in the exit code, and the others still run.
#
#   bench/gpu_check.sh [--rehearse] [PART…]   PART: profile conform flows goldens bandwidth graphs steps sanitizer curves files; without
#                                             any, all, in this order: what needs the device alone, and has been seen least, comes first
#   GPU_CHECK_SECONDS=570                     it ends by then, and what there was no time for is said: GPUs are often rented by the minute
#
# --rehearse goes the same way on the fake driver (make gpu-rehearsal sets it up), on small cases: what it shows is that every
# command runs, every test that is asked for exists, and every number is found where it is looked for. Its table is no result.
set -uo pipefail
cd "$(dirname "$0")/.."
rehearse=0; [ "${1:-}" = --rehearse ] && { rehearse=1; shift; }
all="profile conform flows goldens bandwidth graphs steps sanitizer curves files"
parts=${*:-$all}
for p in $parts; do case " $all " in *" $p "*) ;; *) echo "gpu-check: there is no part $p" >&2; exit 2 ;; esac; done
bin=$PWD/build/gpu out=${OUT:-$PWD/bench/results}
mkdir -p "$out"
[ -d "$bin" ] || { [ -f build/gpu.tgz ] && tar xzf build/gpu.tgz -C build; } # what make gpu-bin packs to travel
for f in contraflow cuda.test flows.test; do
  [ -x "$bin/$f" ] || { echo "gpu-check: build/gpu/$f is missing: run make gpu-bin where Go is" >&2; exit 1; }
done
if [ $rehearse = 1 ]; then
  [ -n "${CUDA_DRIVER_LIB:-}" ] || { echo "gpu-check: --rehearse without a fake driver: run make gpu-rehearsal" >&2; exit 1; }
  PATH=$PWD/ops/cuda/fake/bin:$PATH # an nvidia-smi and a compute-sanitizer that only hand on
fi
command -v nvidia-smi >/dev/null && nvidia-smi -L || { echo "gpu-check: no NVIDIA GPU on this machine (nvidia-smi): run it where one is" >&2; exit 1; }
export CONTRAFLOW_CUDA=required CONTRAFLOW_CACHE=${CONTRAFLOW_CACHE:-$(mktemp -d)}
python=${PYTHON:-python3}
# cuDNN looks for its parts by bare name: the wheels' folders go on the path before anything starts.
wheels=$($python -c 'import glob, site, sys
print(":".join(d for s in dict.fromkeys([*site.getsitepackages(), site.getusersitepackages(), *sys.path]) if s for d in sorted(glob.glob(s + "/nvidia/*/lib"))))' 2>/dev/null)
export LD_LIBRARY_PATH=${wheels:+$wheels:}${LD_LIBRARY_PATH:-}

end=${GPU_CHECK_SECONDS:-$([ $rehearse = 1 ] && echo 3600 || echo 570)}
within() { local most=$1 left=$((end - SECONDS)); shift; timeout -k 5 $((left < 1 ? 1 : left < most ? left : most)) "$@"; } # SECONDS CMD…

{
  echo "## CUDA"; echo
  echo "$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -1), $($python -c 'import torch; print("PyTorch", torch.__version__, "cuDNN", torch.backends.cudnn.version())' 2>/dev/null || echo no PyTorch), $(date -u +%F)."
  echo "Command: \`make gpu-bin\` where Go is, then \`bench/gpu_check.sh\` on the machine with the GPU."; echo
  echo "| what | verdict | seen |"; echo "|---|---|---|"
} >"$out/cuda.md"
failed=0
row() {
  local seen=${3:-it was killed without a word, or not done in time}
  echo "| $1 | $2 | $seen |" >>"$out/cuda.md"; echo "[$SECONDS s] $1: $2: $seen"
  [ "$2" != "DOES NOT HOLD" ] || failed=1
}
ratio() { awk -v a="$1" -v b="$2" 'BEGIN {printf "%.2f", (b > 0) ? a/b : 0}'; } # A B: A/B, 0 when there is no B
# judge NAME VALUE WANT TEXT: a number and what it should at least be; a rehearsal only wants it to be one.
judge() {
  if ! [[ $2 =~ ^[0-9]+(\.[0-9]+)?$ ]] || awk -v v="$2" 'BEGIN {exit (v > 0)}'; then row "$1" "DOES NOT HOLD" "no number: $4"
  elif [ $rehearse = 1 ]; then row "$1" rehearsed "$4"
  elif awk -v v="$2" -v w="$3" 'BEGIN {exit !(v >= w)}'; then row "$1" holds "$4"
  else row "$1" "DOES NOT HOLD" "$4"; fi
}
# tests NAME DIR REHEARSED CMD… -test.run PATTERN: passes or fails. REHEARSED takes the pattern's place in a rehearsal. Tests that
# need the fake driver are left out.
tests() {
  local name=$1 dir=$2 small=$3; shift 3
  local cmd=("$@") log=$out/gpu_${1##*/}_${name//[^a-z0-9]/_}.log rc
  [ $rehearse = 0 ] || cmd=("${cmd[@]:0:$#-1}" "$small" -test.short)
  (cd "$dir" && within 900 "${cmd[@]}" -test.v -test.skip OnFake) >"$log" 2>&1; rc=$?
  if [ $rc = 0 ]; then
    local passed skipped; passed=$(grep -cE '^--- PASS' "$log"); skipped=$(grep -cE '^ *--- SKIP' "$log")
    if [ "$passed" = 0 ]; then row "$name" "DOES NOT HOLD" "no test of that name ran"
    elif [ "$skipped" != 0 ]; then row "$name" "DOES NOT HOLD" "$passed passed, $skipped skipped: $(grep -m1 -A1 -E '^ *--- SKIP' "$log" | tail -1 | cut -c1-120)"
    else row "$name" holds "$passed passed$(grep -oE '[a-z]+: \(worst: [^)]*\)' "$log" | sed 's/^/; /' | tr -d '\n')"; fi
  elif [ $rc = 124 ] || [ $rc = 137 ]; then row "$name" "DOES NOT HOLD" "it was not done in time: $(grep -E '^(=== RUN|--- )' "$log" | tail -1)"
  else row "$name" "DOES NOT HOLD" "$(grep -m1 -E '^ +[a-z_0-9]+\.go:|^panic|^fatal|rror' "$log" | cut -c1-160 | tr '|' '/')"; fi
}
# number FILE KEY [MODE]: a field of the first JSON line, or of the line of a mode.
number() { $python -c 'import json,sys
for l in open(sys.argv[1]):
    l=l.strip()
    if l.startswith("{"):
        o=json.loads(l)
        if len(sys.argv)<4 or o.get("mode")==sys.argv[3]:
            v=o.get(sys.argv[2],""); print(round(v,2) if isinstance(v,float) else v); break' "$@"; }

part_conform() {
  tests "conformance float32" ops/cuda 'Conform$/^(basic_block|head|max_pool)$' "$bin/cuda.test" -test.run 'Conform'
  tests "conformance bfloat16" ops/cuda 'BF16' "$bin/cuda.test" -test.run 'BF16'
  tests "kernels, memory, spans, same bits" ops/cuda 'Bank|Render|Spans' "$bin/cuda.test" -test.run '^Test([^C]|C[^o])' # all but conformance
}
part_goldens() {
  tests "goldens float32" flows '^TestGolden(Misc|BatchNorm)$' env CONTRAFLOW_TEST_DEVICE=cuda "$bin/flows.test" -test.run '^TestGolden'
  tests "golden features bfloat16" flows 'CUDAGoldenBF16' "$bin/flows.test" -test.run 'CUDAGoldenBF16'
}
part_flows() {
  tests "two steps of every flow, same bits twice" flows 'CUDAFlows/moco/nce' "$bin/flows.test" -test.run '^TestCUDA(Flows|Bits|Mistakes)'
}
part_curves() {
  tests "200 steps of CMC and MoCo within the processor's noise" flows 'CUDACurves/moco' "$bin/flows.test" -test.run 'CUDACurves'
}
part_sanitizer() {
  if san=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null); then
    for tool in memcheck racecheck initcheck; do
      tests "compute-sanitizer $tool" ops/cuda 'BankUpdates' "$san" --tool $tool --error-exitcode 9 "$bin/cuda.test" -test.run 'BankScores|BankUpdates|Send|UnderWay|Render|ConformSmall' # none that lets a call fail
    done
  else
    row "compute-sanitizer" "not run" "it is not on this machine"
  fi
}

# Bandwidth of our kernels against a copy: all that is named here must be there.
part_bandwidth() {
  log=$out/gpu_kernels.txt
  short=(); [ $rehearse = 0 ] || short=(-test.short)
  (cd ops/cuda && within 600 "$bin/cuda.test" -test.run '^$' -test.bench . -test.benchtime $([ $rehearse = 1 ] && echo 2x || echo 20x) "${short[@]}") >"$log" 2>&1 ||
    row "bandwidth of the kernels" "DOES NOT HOLD" "the benchmarks failed: $(tail -1 "$log" | cut -c1-120)"
  rate() { awk -v n="$1" '{name=$1; sub(/-[0-9]+$/, "", name)} name == n {for (i=2; i<NF; i++) if ($(i+1) == "GB/s") print $i}' "$log"; }
  copy=$(rate BenchmarkCopy)
  for b in Contrast Norm/forward Norm/backward; do
    r=$(rate "Benchmark$b")
    judge "bandwidth of $b ≥ 80 % of a copy" "$(ratio "${r:-0}e2" "${copy:-0}")" 80 "${r:-?} GB/s of ${copy:-?}"
  done
}

# Whether the device has to wait: real batches from JPEG files, kept and run again and again.
profile() { # NAME FLAG…
  local log=$out/gpu_profile${1//[^a-z0-9]/_}.json busy hidden small=()
  [ $rehearse = 0 ] || small=(--model resnet18v1 --batch_size 2 --image_size 32 --nce_k 8)
  if within 300 "$bin/contraflow" profile cmc --data_folder "$data/images" --device cuda "${@:2}" "${small[@]}" --seconds $([ $rehearse = 1 ] && echo 2 || echo 12) \
    --quiet --json >"$log" 2>"$log.log"; then
    of() { $python -c 'import json,sys
b = json.load(open(sys.argv[1]))["device_busy"]
if b["upload_ms"] > 0 or sys.argv[2] != "hidden_share": print("%.2f" % (100 * b[sys.argv[2]]))' "$log" "$1"; } # of no uploads no share is hidden
    busy=$(of busy_share) hidden=$(of hidden_share)
    judge "profile cmc$1, cached batches: device busy ≥ 97 %" "$busy" 97 "$busy %, $(of seam_share) % of the time seams of its own events"
    judge "its uploads beside compute ≥ 90 %" "$hidden" 90 "$hidden %"
  else
    row "profile cmc$1" "DOES NOT HOLD" "$(tail -1 "$log.log" | cut -c1-160)"
  fi
}
part_profile() {
  data=$(mktemp -d)
  within 120 "$bin/contraflow" data synth --out "$data/images" --per_class $([ $rehearse = 1 ] && echo 3 || echo 100) --val_per_class 1 --size $([ $rehearse = 1 ] && echo 32 || echo 224) >"$out/gpu_profile.log" 2>&1
  profile ""
  [ $rehearse = 1 ] || profile ", resnet50v1, batch 256, bfloat16" --model resnet50v1 --batch_size 256 --amp
  rm -rf "$data"
}

# Whole training from JPEG files, with all processors of the machine: the rate at which each side goes through images.
files() { # NAME FLOW MODEL SECONDS FLAG…
  local log=$out/gpu_files_$2 a best=0 kind mode v seen="" b=256 k=16384 steps=60 size=224 extra=()
  [ $rehearse = 0 ] || { b=2 k=8 steps=2 size=32 extra=(--rehearse); }
  within 300 "$bin/contraflow" profile "$2" --data_folder "$data" --model "$3" --batch_size $b --image_size $size --nce_k $k --dataset imagenet100 --amp \
    --device cuda --workers "$(nproc)" --seconds "$4" --quiet --json "${@:5}" >"$log.json" 2>"$log.log" ||
    { row "$1" "DOES NOT HOLD" "$(tail -1 "$log.log" | cut -c1-160)"; return; }
  a=$($python -c 'import json,sys; print("%.0f" % json.load(open(sys.argv[1]))["flow"]["images_per_s"])' "$log.json")
  $python -c 'import torch, torchvision, skimage' 2>/dev/null || { row "$1" "not run" "ours $a images/s; there is no PyTorch, torchvision or scikit-image"; return; }
  for kind in tensors pillow; do # its best, and what the original scripts do
    [ $kind = pillow ] || $python -c 'from torchvision.transforms import v2' 2>/dev/null || continue
    mode=eager; [ $kind = pillow ] || mode=compile
    within 150 $python bench/gpu_step.py "$2" "$3" $b $k "$(find "$data/train" -name '*.jpg' | wc -l)" $steps $mode --folder "$data" --loading $kind --workers "$(nproc)" \
      "${extra[@]}" >"$log.$kind.json" 2>"$log.$kind.log"
    v=$(number "$log.$kind.json" images_per_s)
    [ -n "$v" ] || { row "$1" "DOES NOT HOLD" "ours $a images/s; PyTorch from $kind: $(tail -1 "$log.$kind.log" | cut -c1-120 | grep . || echo not done in time)"; return; }
    seen="$seen; $(printf %.0f "$v") from $kind, $mode"
    best=$(awk -v a="$best" -v b="$v" 'BEGIN {print (a > b) ? a : b}')
  done
  local times; times=$(ratio "$a" "$best")
  judge "$1" "$times" 1 "$times×: ours $a images/s, PyTorch ${seen#; }"
}
part_files() {
  data=$(mktemp -d)
  if [ $rehearse = 1 ]; then
    within 120 "$bin/contraflow" data synth --out "$data" --per_class 3 --val_per_class 1 --size 32
  else
    within 120 $python bench/photos.py "$data" 256 40
  fi >"$out/gpu_files.log" 2>&1 || { row "training from files" "not run" "no pictures: $(tail -1 "$out/gpu_files.log" | cut -c1-120)"; rm -rf "$data"; return; }
  if [ $rehearse = 1 ]; then
    files "training from JPEG files" cmc resnet18v1 1
  else
    files "MoCo ResNet-50 from JPEG files, $(nproc) processors: no slower" moco resnet50 12 --softmax
    files "CMC resnet50v1 from JPEG files, $(nproc) processors: no slower" cmc resnet50v1 12
  fi
  rm -rf "$data"
}

# ours FILE FLOW MODEL BATCH SIZE K N STEPS FLAG…: milliseconds of our step, into a file and printed; nothing when it fails.
ours() {
  local file=$1 softmax=false; [ "$2" = moco ] && softmax=true
  within 900 "$bin/contraflow" bench step --flow "$2" --model "$3" --batch "$4" --image_size "$5" --nce_k "$6" --n_data "$7" --steps "$8" --device cuda --amp \
    --softmax=$softmax --json "${@:9}" >"$file" 2>"$file.log" && number "$file" step_ms
}
# Steps against PyTorch, one after the other, so that both see the same clocks.
compare() { # NAME FLOW MODEL BATCH SIZE K N STEPS WANT eager|best
  local theirs=$out/gpu_$2_torch.json extra=()
  [ $rehearse = 1 ] && extra=(--rehearse)
  : >"$theirs"
  within 900 $python bench/gpu_step.py "$2" "$3" "$4" "$6" "$7" "$8" both --size "$5" "${extra[@]}" >"$theirs" 2>"$theirs.log"
  local a e c best; a=$(ours "$out/gpu_$2_ours.json" "${@:2:7}") || { row "$1" "DOES NOT HOLD" "$(tail -1 "$out/gpu_$2_ours.json.log" | cut -c1-160)"; return; }
  e=$(number "$theirs" step_ms eager); c=$(number "$theirs" step_ms compile)
  $python -c 'import torch' 2>/dev/null || { row "$1" "not run" "ours $a ms; there is no PyTorch"; return; }
  [ -n "$e" ] || { row "$1" "DOES NOT HOLD" "ours $a ms; PyTorch: $(tail -1 "$theirs.log" | cut -c1-120)"; return; }
  best=$e
  if [ "${10}" = best ]; then # which nobody knows without both
    [ -n "$c" ] || { row "$1" "DOES NOT HOLD" "ours $a ms, PyTorch eager $e ms, no compiled step: $(tail -1 "$theirs.log" | cut -c1-120)"; return; }
    best=$(awk -v e="$e" -v c="$c" 'BEGIN {print (e < c) ? e : c}')
  fi
  judge "$1" "$(ratio "$best" "$a")" "$9" "ours $a ms, PyTorch eager $e ms, compile ${c:-failed} ms"
}
part_steps() {
  if [ $rehearse = 1 ]; then
    compare "MoCo" moco resnet18 4 32 32 100 2 1.1 eager
    compare "CMC" cmc resnet18v1 4 32 8 100 2 1.5 best
  else
    compare "MoCo ResNet-50, batch 256: ≥ 1.1× eager" moco resnet50 256 224 16384 1281167 30 1.1 eager
    compare "CMC resnet50v1, K 16384, N 1.28M: ≥ 1.5× its best" cmc resnet50v1 256 224 16384 1281167 30 1.5 best
  fi
}
# What recording a step as CUDA graphs gains, with and without in turn; more with small batches, where launching takes longest.
graphs() { # NAME FLOW MODEL BATCH SIZE K N STEPS
  local a b; a=$(ours "$out/gpu_plain.json" "${@:2}") && b=$(ours "$out/gpu_graph.json" "${@:2}" --cuda_graph) ||
    { row "$1" "DOES NOT HOLD" "$(tail -qn 1 "$out"/gpu_{plain,graph}.json.log 2>/dev/null | cut -c1-160 | tail -1)"; return; }
  local times; times=$(ratio "$a" "$b")
  judge "$1" "$times" 0.98 "$times×: $a ms without, $b ms with"
}
part_graphs() {
  if [ $rehearse = 1 ]; then
    graphs "--cuda_graph" moco resnet18 4 32 32 100 4
  else
    graphs "--cuda_graph is no slower: MoCo ResNet-50, batch 256" moco resnet50 256 224 16384 1281167 30
    graphs "--cuda_graph is no slower: CMC AlexNet, batch 32" cmc alexnet 32 224 4096 1281167 100
  fi
}

for p in $parts; do
  if [ $SECONDS -lt $end ]; then part_$p; else row "$p" "DOES NOT HOLD" "not run: no time was left"; fi
done
cat "$out/cuda.md"
exit $failed
