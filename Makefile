# contraflow: every target explains itself in make help.

GO ?= go
STATICCHECK = $(GO) tool staticcheck

.PHONY: bench-compare help build static demo test test-arm64 race golden soak soak-data fuzz check lint cross generate coverage

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

build: ## the contraflow binary, without cgo
	CGO_ENABLED=0 $(GO) build -o contraflow ./cmd/contraflow

static: ## the same binary without libraries of the system, for musl and empty containers: without libjpeg-turbo
	CGO_ENABLED=0 $(GO) build -tags static -o contraflow ./cmd/contraflow

demo: ## draw a data set, train on it, judge the encoder, write build/demo/run-seed1*/report.html
	$(GO) run ./cmd/contraflow demo --out build/demo

test: ## all tests
	$(GO) test -timeout 30m -parallel 4 ./... # runs wait for disks, so four go at once

race: ## the graph and its stages under the race detector (needs gcc)
	$(GO) test -race . ./stages/...

golden: ## the numbers of the original system, with a table
	$(GO) test ./flows -run Golden -v

soak: ## every method killed 30 times over 200 steps, 10 times inside a save: the same bytes as uninterrupted (minutes)
	SOAK=30 $(GO) test ./flows -run TestSoak -v -count=1 -timeout 2h

soak-data: ## 200,000 generated samples, one in a hundred broken: the right count, constant memory, no goroutine left (a minute)
	SOAK_DATA=200000 $(GO) test ./flows -run TestSoakData -v -count=1 -timeout 1h

FUZZTIME ?= 10m
fuzz: ## every fuzz target of the tree for FUZZTIME each
	@grep -rn --include='*_test.go' '^func Fuzz' . | sed -E 's|/[^/]*_test.go:[0-9]+:func (Fuzz[A-Za-z0-9]*).*|:\1|' | sort | while IFS=: read -r pkg target; do \
		echo "== $$pkg $$target"; \
		$(GO) test $$pkg -run '^$$' -fuzz="^$$target\$$" -fuzztime=$(FUZZTIME) -fuzzminimizetime=20x </dev/null || exit 1; \
	done

coverage: ## coverage of the graph package
	$(GO) test -cover .

lint: ## formatting, vet, staticcheck
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "not formatted:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(STATICCHECK) ./...

# What is only compiled, never run, needs neither optimising nor debug information, which take a third of the time. For Linux most is
# compiled for the tests already.
COMPILE = -gcflags='all=-N -l -dwarf=false'

cross: ## builds without cgo, without assembly, for arm64, macOS and Windows
	CGO_ENABLED=0 $(GO) build ./...
	CGO_ENABLED=0 $(GO) build -tags purego ./...
	CGO_ENABLED=0 GOARCH=arm64 $(GO) vet ./...
	CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 $(GO) build $(COMPILE) ./...
	CGO_ENABLED=0 GOOS=windows GOARCH=amd64 $(GO) vet $(COMPILE) ./...

QEMU_ARM64 ?= qemu-aarch64-static

test-arm64: ## what is assembly on arm64, and the reference's numbers, in an emulator (Debian: qemu-user-static)
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 $(GO) test -count=1 -tags static -exec $(QEMU_ARM64) ./ops/pixel ./io/jpeg ./stages
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 $(GO) test -count=1 -tags static -exec $(QEMU_ARM64) ./ops/cpu -run 'Kernel|Conform$$|ConformThreads'
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 $(GO) test -count=1 -tags static -exec $(QEMU_ARM64) ./flows -run 'Golden(Blocks|Conv|BatchNorm|Misc|NCE|Optim|Colour|Mixture)'

PYTHON ?= /usr/bin/python3

bench-compare: build ## this machine against PyTorch, oneDNN and C, in turn; ROWS="cmc:alexnet:32:1" for some steps only
	$(PYTHON) bench/compare.py step $(ROWS)
	$(PYTHON) bench/compare.py scaling
	$(PYTHON) bench/compare.py conv
	$(PYTHON) bench/compare.py bank
	sh bench/assemble

generate: ## write the generated assembly again
	$(GO) generate ./ops/cpu ./ops/pixel ./io/jpeg

check: lint cross test race ## what CI runs, but for the check that generated files are current

include ops/cuda/cuda.mk
