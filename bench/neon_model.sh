#!/bin/sh
# What LLVM's models of arm64 processors say of the loop of ops/cpu's micro-kernel of 6×16: cycles a turn, which has 48
# multiply-adds of four floats, and what they would be if nothing but these took time. A model, not a measurement.
# Debian: llvm-16, binutils-aarch64-linux-gnu.
set -eu
cd "$(dirname "$0")/.."
for tool in llvm-mca-16 aarch64-linux-gnu-objdump; do
  command -v $tool >/dev/null || { echo "neon_model: $tool is missing: apt-get install llvm-16 binutils-aarch64-linux-gnu" >&2; exit 1; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
CGO_ENABLED=0 GOOS=linux GOARCH=arm64 go test -c -o "$work/kernels" ./ops/cpu
aarch64-linux-gnu-objdump -d --no-show-raw-insn "$work/kernels" | awk '
  /ops\/cpu\.gemm16x6\.abi0>:/ { inside = 1; next }
  /^$/ { inside = 0 }
  inside { sub(/:/, "", $1); n++; at[$1] = n; $1 = ""; sub(/<.*/, ""); sub(/\/\/.*/, ""); line[n] = $0
           if ($1 == "b.ge" && ($2 in at)) { from = at[$2]; to = n; exit } }
  END { print "1:"; for (i = from; i < to; i++) print line[i]; print "b.ge 1b" }' >"$work/loop.s"
grep -E '^1:|fmla|^b.ge' "$work/loop.s" >"$work/madds.s"
cycles() { llvm-mca-16 -march=aarch64 -mcpu="$1" -iterations=1000 "$work/$2.s" 2>/dev/null | awk '/Total Cycles/ { print $3 / 1000 }'; }
echo "| model | cycles a turn | with the multiply-adds alone |"
echo "|---|---|---|"
for cpu in apple-m1 neoverse-n2 neoverse-v1 neoverse-n1 cortex-a55; do
  printf '| %s | %.1f | %.1f |\n' $cpu "$(cycles $cpu loop)" "$(cycles $cpu madds)"
done
