# What can be made here; "make check" is what a change must pass.

GO        ?= go
SEED      ?=
SEEDS     ?=
FROM      ?=
FUZZTIME  ?= 10s
PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64

# A small static binary that says in "circuit version" what it was built from.
BUILD := CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w'

.PHONY: build check fmt vet staticcheck archtest test race sim sim-soak sim-long e2e netns demo fuzz cross generate generated vuln bench bench-check clean help

build: ## the program, as ./circuit
	$(BUILD) -o circuit ./cmd/circuit

check: fmt vet staticcheck archtest generated race sim e2e bench-check ## everything that a change must pass

fmt: ## fail where gofmt would change something
	@files=$$(gofmt -l $$(find . -name '*.go' -not -path './.git/*' -not -path './dist/*')); \
	if [ -n "$$files" ]; then echo "gofmt -w needed:"; echo "$$files"; exit 1; fi

vet: ## go vet, for both systems
	GOOS=linux $(GO) vet ./...
	GOOS=darwin $(GO) vet ./...
	$(GO) vet -tags simlong ./internal/sim

staticcheck: ## staticcheck, as pinned in tools/go.mod, for both systems
	@mkdir -p dist/tools
	cd tools && $(GO) build -o ../dist/tools/ honnef.co/go/tools/cmd/staticcheck
	GOOS=linux dist/tools/staticcheck ./...
	GOOS=darwin dist/tools/staticcheck ./...
	dist/tools/staticcheck -tags simlong ./internal/sim
	cd bench && ../dist/tools/staticcheck ./...

archtest: ## the rules of docs/architecture.md
	$(GO) test -count=1 ./internal/archtest

test: ## all tests
	$(GO) test ./...

race: ## all tests but the end-to-end ones and the simulator's, of one goroutine, under the race detector; one package at a time, for they look at the clock
	CGO_ENABLED=1 $(GO) test -race -p 1 $$($(GO) list ./... | grep -v -e /test$$ -e /internal/archtest$$ -e /internal/sim$$)

sim: ## the simulated circuit; SEED=n repeats one story and tells it, SEEDS=n runs that many new ones, from seed FROM on if given
	$(if $(SEED),SIM_SEED=$(SEED)) $(if $(SEEDS),SIM_SEEDS=$(SEEDS)) $(if $(FROM),SIM_FROM=$(FROM)) $(GO) test -count=1 ./internal/sim -timeout 0 $(if $(SEED)$(SEEDS),-run TestSoak -v)

sim-soak: ## a thousand new stories of the simulated circuit
	@$(MAKE) --no-print-directory sim SEEDS=1000

sim-long: ## large simulated circuits, and many hours, which takes hours; HOURS=n and SERVERS=n for less, RUN=TestLongLoss for one of them
	$(if $(HOURS),SIM_HOURS=$(HOURS)) $(if $(SERVERS),SIM_SERVERS=$(SERVERS)) GOGC=400 GOMEMLIMIT=8GiB $(GO) test -tags simlong -count=1 ./internal/sim -timeout 0 -v -run '$(or $(RUN),TestLong)'
	SIM_GRAPH=1000000 $(GO) test -count=1 ./internal/sim -timeout 0 -v -run TestRings

e2e: ## the real program, end to end; CIRCUIT_LONG=1 for the long ones, too
	$(GO) test -count=1 ./test/...

netns: ## the end-to-end tests in network namespaces, with cut and lossy links; needs root, ip and iptables
	CIRCUIT_NETNS=1 $(GO) test -count=1 -timeout 15m -v -run '^TestNamespaces' ./test

demo: ## the tour
	$(GO) run ./cmd/circuit demo

fuzz: ## every fuzz target for FUZZTIME each
	@./tools/fuzz.sh $(FUZZTIME)

cross: ## the program for every platform, in dist/
	@mkdir -p dist
	@for p in $(PLATFORMS); do \
		echo "dist/circuit-$${p%/*}-$${p#*/}"; \
		GOOS=$${p%/*} GOARCH=$${p#*/} $(BUILD) -o dist/circuit-$${p%/*}-$${p#*/} ./cmd/circuit || exit 1; \
	done

generate: ## the Go code of api/circuit/v1; needs protoc
	./tools/generate.sh

generated: ## fail where the generated code is not current; skipped without protoc
	@if command -v protoc >/dev/null; then ./tools/generate.sh --check; \
	else echo "generated: SKIPPED, there is no protoc to generate with"; fi

vuln: ## known vulnerabilities in what is used; needs vuln.go.dev
	$(GO) tool -modfile=tools/go.mod govulncheck ./...

bench: ## the figures, measured on this machine
	cd bench && $(GO) run .

bench-check: ## fail where the measuring program does not build or pass its tests
	cd bench && $(GO) vet ./... && $(GO) test ./...

clean: ## remove what make made
	rm -rf circuit dist

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1	\2/p' Makefile | expand -t 14
