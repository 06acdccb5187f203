# Everything runs from a clean clone with Go and make. Modules: the root and
# those in folders with a go.mod of their own.
MODULES := $(sort $(dir $(shell git ls-files 'go.mod' '*/go.mod')))
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME ?= 20s
BENCH ?= .

.PHONY: help test lint cover fuzz faults bench bench-check examples

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: ## run all tests of all modules
	@set -e; for m in $(MODULES); do echo "== $$m"; (cd $$m && go test -race -shuffle=on ./...); done

lint: ## gofmt, go vet, staticcheck, go mod tidy -diff
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "gofmt: $$out"; exit 1; }
	@set -e; for m in $(MODULES); do echo "== $$m"; (cd $$m && go vet ./... && go run $(STATICCHECK) ./... && go mod tidy -diff); done

cover: ## fail below 97 % of the root package's statements
	@go test -coverprofile=cover.out .
	@go tool cover -func=cover.out | awk '$$3 != "100.0%"; END { sub("%", "", $$3); exit $$3 < 97 }'

fuzz: ## run each fuzz test for FUZZTIME
	@set -e; for p in $$(git grep -l '^func Fuzz' -- '*_test.go' | xargs -n1 dirname | sort -u); do \
		for f in $$(grep -ho '^func Fuzz[A-Za-z]*' $$p/*_test.go | cut -c6-); do \
			echo "== ./$$p $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 500ms ./$$p; done; done

faults: ## torment a key server for a minute, and print what came of it
	@go test -count=1 -run Faults -v -faults 1m . | grep -v '^==='

bench: ## run the benchmarks: jwthttp beside a handler written by hand
	@go test -run '^$$' -bench '$(BENCH)' -benchmem .

bench-check: ## compare with the peers and with the limits; writes benchmarks/results.md and chart.svg
	@go run -C benchmarks ./report -rounds 10 -benchtime 20ms -check

examples: ## start each example and ask it once
	@set -e; for e in quickstart login sso; do echo "== examples/$$e"; go test -C examples -count=1 -run 'Program|README' ./$$e; done
