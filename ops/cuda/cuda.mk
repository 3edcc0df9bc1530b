# The CUDA device: building it without a toolkit, and proving it without a GPU. docs/cuda.md explains.

# gorgonia.org/cu is compiled with our header and an empty archive; go does not look into that header, so its checksum is a flag.
CUDA_SHIM = build/cuda/include/cuda.h
CUDA_ENV = CGO_ENABLED=1 CGO_CFLAGS="-O2 -g -I$(CURDIR)/build/cuda/include -DSHIM_V=$$(cksum < $(CUDA_SHIM) | cut -d' ' -f1)" CGO_LDFLAGS="-L$(CURDIR)/build/cuda/lib"
FAKE = build/cuda/libfakecuda.so build/cuda/libmockcudnn.so build/cuda/libmockcublaslt.so build/cuda/libmocknvrtc.so
FAKE_ENV = CUDA_DRIVER_LIB=$(CURDIR)/build/cuda/libfakecuda.so CONTRAFLOW_CUDNN=$(CURDIR)/build/cuda/libmockcudnn.so \
	CONTRAFLOW_CUBLASLT=$(CURDIR)/build/cuda/libmockcublaslt.so CONTRAFLOW_NVRTC=$(CURDIR)/build/cuda/libmocknvrtc.so \
	FAKECUDA_SHIM=$(CURDIR)/ops/cuda/fake FAKECUDA_GUARD=1 CONTRAFLOW_CACHE=$(CURDIR)/build/cuda/cache CONTRAFLOW_CUDA=required

.PHONY: cuda vet-cuda test-cuda-fake race-cuda-fake ptx-check gpu-bin gpu-check gpu-rehearsal cuda-clock

$(CUDA_SHIM): ops/cuda/shim/main.go go.mod
	$(GO) run ./ops/cuda/shim -out build/cuda
	@touch $@

cuda: $(CUDA_SHIM) ## the contraflow binary with the CUDA device; needs gcc and no CUDA
	$(CUDA_ENV) $(GO) build -tags cuda -o contraflow ./cmd/contraflow

FLOWS_GUARD ?= 0

vet-cuda: $(CUDA_SHIM) ## go vet of everything with the CUDA device
	$(CUDA_ENV) $(GO) vet -tags cuda ./...

build/cuda/lib%.so: ops/cuda/fake/%.cpp ops/cuda/fake/mock.h
	@mkdir -p build/cuda
	g++ -std=c++20 -O3 -mavx2 -mfma -ffast-math -Wall -Wno-unused-result -shared -fPIC $< -o $@

test-cuda-fake: $(CUDA_SHIM) $(FAKE) ## the CUDA device on a fake driver, its kernels on the processor (needs g++)
	$(CUDA_ENV) $(FAKE_ENV) $(GO) test -timeout 20m -tags cuda ./ops/cuda/...
	for how in FAKECUDA_ORDER=1 'FAKECUDA_ORDER=2 GOMAXPROCS=8'; do \
		env $$how $(CUDA_ENV) $(FAKE_ENV) $(GO) test -count=1 -tags cuda ./ops/cuda -run 'UnderWay|Send|BankScores|StepAll|Render|Spans' || exit 1; done # of 8 processors the owner keeps one awake
	@# Guarding every buffer of a whole flow takes some machines four times as long.
	$(CUDA_ENV) $(FAKE_ENV) FAKECUDA_GUARD=$(FLOWS_GUARD) $(GO) test -timeout 20m -tags cuda ./flows -run 'CUDA(Flows|Bits|Mistakes)|NaNStops'

race-cuda-fake: $(CUDA_SHIM) $(FAKE) ## the same under the race detector
	$(CUDA_ENV) $(FAKE_ENV) $(GO) test -race -tags cuda ./ops/cuda/...

ptx-check: ## every kernel through clang to PTX, in both precisions
	@command -v clang-16 >/dev/null || { echo "clang-16 is missing: kernels are not compiled to PTX (apt-get install --no-install-recommends clang-16)"; exit 0; }; \
	mkdir -p build/cuda; for d in -DCF_F32 -DCF_BF16; do \
	clang-16 -x cuda --cuda-device-only --cuda-gpu-arch=sm_90 --cuda-feature=+ptx78 -nocudainc -nocudalib -fdeclspec -std=c++17 -O3 -Wall -Werror $$d \
	-S ops/cuda/kernel/all.cu -o build/cuda/kernels$$d.ptx && echo "$$d: $$(grep -c '\.entry' build/cuda/kernels$$d.ptx) kernels"; done

# What a machine with a GPU and no Go needs, beside the source tree: tests and program.
gpu-bin: $(CUDA_SHIM) ## prebuilt tests and program for bench/gpu_check.sh, in build/gpu
	@mkdir -p build/gpu
	$(CUDA_ENV) $(GO) build -tags cuda -ldflags "-s -w" -o build/gpu/contraflow ./cmd/contraflow
	$(CUDA_ENV) $(GO) test -c -tags cuda -ldflags "-s -w" -o build/gpu/cuda.test ./ops/cuda
	$(CUDA_ENV) $(GO) test -c -tags cuda -ldflags "-s -w" -o build/gpu/flows.test ./flows
	tar czf build/gpu.tgz -C build gpu # small enough to travel
	ls -l build/gpu build/gpu.tgz

gpu-check: gpu-bin ## all that only a GPU can prove: conformance, goldens, sanitizer, bandwidth, steps against PyTorch
	bench/gpu_check.sh

gpu-rehearsal: gpu-bin $(FAKE) ## gpu-check on the fake driver, on small cases: its commands run and its numbers are found
	OUT=$(CURDIR)/build/rehearsal PYTHON=$(PYTHON) $(FAKE_ENV) FAKECUDA_GUARD=0 bench/gpu_check.sh --rehearse

cuda-clock: gpu-bin $(FAKE) build/cuda/libtimedcuda.so ## how long a GPU would stand still, on a driver that computes nothing and takes a GPU's time
	PYTHON=$(PYTHON) $(FAKE_ENV) CUDA_DRIVER_LIB=$(CURDIR)/build/cuda/libtimedcuda.so bench/cuda_clock.sh $(RUNS)
