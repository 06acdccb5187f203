# Everything runs from a clean clone with Go and make. Modules: the root and
# those in folders with a go.mod of their own.
MODULES := $(sort $(dir $(shell git ls-files 'go.mod' '*/go.mod')))
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME ?= 20s
BENCHFLAGS ?= -rounds 10 -benchtime 20ms
LOADFLAGS ?= -rounds 5 -duration 2s
BENCHSTAT := golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da
# A column each: more would not fit on a screen. The tables have everyone.
BENCHSTAT_FILTER := /case:admitted .unit:sec/op \
	/by:(hand OR jwthttp OR jwthttp-Token OR jwthttp-cached OR auth0-v2 OR auth0-v3 OR chi-jwtauth OR echo-jwt)

.PHONY: help test lint cover fuzz faults bench bench-check examples release-check

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: ## run all tests of all modules
	@set -e; for m in $(MODULES); do echo "== $$m"; (cd $$m && SCREENSHOTS="$(CURDIR)/screenshots" go test -race -shuffle=on ./...); done

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

faults: ## let a key server fail in many ways for a minute, and print figures
	@go test -count=1 -run Set_faults -v -faults 1m ./jwks | grep -v '^==='

bench: ## all contenders on an idle machine; writes results.md, chart.svg and benchstat.txt in benchmarks
	@go run -C benchmarks ./report $(BENCHFLAGS) -table results.md -chart chart.svg -samples samples.out
	@cd benchmarks && go run $(BENCHSTAT) -col /by -row /alg -filter '$(BENCHSTAT_FILTER)' samples.out >benchstat.txt
	@go run -C benchmarks ./load $(LOADFLAGS) -append results.md

bench-check: ## compare with the limits; writes files that git ignores, benchmarks/check.*
	@go run -C benchmarks ./report $(BENCHFLAGS) -table check.md -chart check.svg -samples check.out -check

examples: ## start each example, ask it something good and something bad, and end it
	@set -e; for p in $$(go list -C examples -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' ./...); do \
		out=$$(go test -C examples -count=1 -run 'Program|README' $$p) || { echo "$$out"; exit 1; }; \
		echo "$$out"; case $$out in *"no tests"*) exit 1; esac; done

release-check: ## what can be checked before tags are pushed; VERSION=v0.1.0 checks the commit to be tagged
	@scripts/release-check $(VERSION)
