# `make help` lists the targets.

GO     ?= go
PYTHON ?= /usr/bin/python3
APT     = DEBIAN_FRONTEND=noninteractive apt-get

.DEFAULT_GOAL := help
.PHONY: help build test check fuzz long bench growth soak bench-compare performance benchmarks reference recording clean needs

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/amphost
	$(GO) build -trimpath -o bin/amphost ./cmd/amphost

test: needs check ## everything that checks the project: check, then every test with the race detector
	$(GO) test -race -timeout 10m ./...
	$(GO) test -run $(FRUGAL) ./amp
	cd bench && $(GO) test ./...

# What is allocated and what is resident is another matter under the race detector: those tests are not built with it.
FRUGAL = 'Allocate|Memory'

check: ## gofmt, go vet and staticcheck, no tests
	@unformatted=$$(gofmt -l .) && { [ -z "$$unformatted" ] || { echo "not gofmt'ed:" $$unformatted >&2; exit 1; }; }
	$(GO) vet ./...
	GOOS=darwin $(GO) vet ./...
	GOOS=windows $(GO) vet ./...
	$(GO) tool staticcheck ./...
	cd bench && $(GO) vet ./... && $$(cd .. && $(GO) tool -n staticcheck) ./...

FUZZTIME ?= 60s

fuzz: ## run every fuzz target for FUZZTIME (60s)
	@$(GO) list ./... | while read -r pkg; do \
		for target in $$($(GO) test -list '^Fuzz' "$$pkg" | grep '^Fuzz'); do \
			echo "$$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$pkg" || exit 1; \
		done; \
	done

long: needs ## the tests with many more rounds, then the fuzz targets, one of them for half an hour
	AMPHOST_LONG=1 $(GO) test -race -timeout 60m -count 1 ./...
	AMPHOST_LONG=1 $(GO) test -count 1 -v -run $(FRUGAL) ./amp
	AMPHOST_LONG=1 $(GO) test -count 1 -v -timeout 60m -run TestHostileScriptsCostOthersLittle ./scripting
	AMPHOST_LONG=1 $(GO) test -count 1 -v -run 'TestPipelineBesideOthers|TestIdleConnections' ./cmd/amphost
	$(MAKE) fuzz
	$(GO) test -run '^$$' -fuzz '^FuzzBindings$$' -fuzztime 30m ./scripting

bench: ## measure amphost beside Twisted, Node.js and others (8 minutes; BENCH='-h' lists flags)
	cd bench && $(GO) run . contenders $(BENCH)

growth: ## measure how cost grows, and write it into docs/performance.md
	cd bench && $(GO) run . growth $(GROWTH)

soak: ## five minutes of reloads, connects, disconnects and calls: does anything get lost, or pile up?
	cd bench && $(GO) run . soak $(SOAK)

bench-compare: ## measure this tree beside the revision BASE, in pairs; fails if something takes 20 % longer
	cd bench && $(GO) run . compare -base '$(BASE)' $(COMPARE)

performance: ## all three, and write docs/performance.md
	cd bench && $(GO) run . contenders -doc ../docs/performance.md $(BENCH)
	$(MAKE) growth soak

benchmarks: ## run Go's benchmarks; compare two runs with benchstat
	$(GO) test -run '^$$' -bench . -benchmem ./...

reference: ## write docs/reference.md, which says what amphost.d.ts says
	$(GO) run ./docs/reference > docs/reference.md.new && mv docs/reference.md.new docs/reference.md

recording: ## write docs/reload.svg, a terminal that shows a reload under load
	$(GO) run ./docs/recording docs/reload.svg

clean: ## remove what build made; the store stays
	rm -rf bin

# What the tests need besides Go: a C compiler for the race detector, Twisted
# for the programs on the other end, strace and ext4 for disks that fail, ip for
# networks that do, npm for packages and the TypeScript compiler, editors for the ways they save. Root gets them from Debian; without them those tests are skipped, and fail when CI
# is set.
needs:
	@missing=; \
	command -v "$$($(GO) env CC)" >/dev/null || missing="gcc libc6-dev"; \
	$(PYTHON) -c 'import twisted' 2>/dev/null || missing="$$missing python3-twisted"; \
	command -v strace >/dev/null || missing="$$missing strace"; \
	command -v mkfs.ext4 >/dev/null || [ -x /sbin/mkfs.ext4 ] || missing="$$missing e2fsprogs"; \
	command -v ip >/dev/null || missing="$$missing iproute2"; \
	command -v npm >/dev/null || missing="$$missing nodejs npm"; \
	for editor in vim nano; do command -v $$editor >/dev/null || missing="$$missing $$editor"; done; \
	command -v emacs >/dev/null || missing="$$missing emacs-nox"; \
	[ -n "$$missing" ] || exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		$(APT) -q update && $(APT) install -q -y --no-install-recommends $$missing; \
	elif [ -n "$$CI" ]; then \
		echo "the tests need $$missing: apt-get install $$missing" >&2; exit 1; \
	else \
		echo "some tests will not run without $$missing: apt-get install $$missing" >&2; \
	fi
