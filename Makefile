# All targets need Go and make; test also needs a C compiler for -race.
# CONTRIBUTING.md lists the programs without which tests are skipped. The targets
# work in a git clone and in an unpacked archive. A module is a folder with a go.mod file.
MODULES = $(or $(sort $(patsubst ./%go.mod,./%,$(shell find . -name go.mod -not -path '*/.*' -not -path '*/testdata/*' -not -path '*/node_modules/*'))),$(error no go.mod file found; run make in the top folder of the repository))
ACTIONLINT := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
# A number of runs: when a duration ends, go test may report "context deadline exceeded" (golang/go#75804).
FUZZTIME ?= 150000x
FAULTTIME ?= 1m
ENTRIES ?= 100000,1000000
BENCHFLAGS ?= -rounds 10 -benchtime 20ms
BENCHSTAT := golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da
# Each contender is a column; more of them do not fit on a screen.
BENCHSTAT_FILTER := /case:admitted .unit:sec/op \
	/by:(hand OR jwthttp OR jwthttp-cached OR auth0-v2 OR auth0-v3 OR chi-jwtauth OR echo-jwt)

.PHONY: help test lint cover size trace fuzz faults bench bench-check bench-revocations examples release-check

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: ## run all tests of all modules, and list the skipped ones
	@SCREENSHOTS="$(CURDIR)/screenshots" go run ./scripts/testall $(MODULES)

lint: ## run actionlint, and gofmt, go vet, staticcheck and go mod tidy -diff in all modules
	@modules='$(MODULES)'; out=$$(gofmt -l .); test -z "$$out" || { echo "gofmt: $$out"; exit 1; }; \
	go run $(ACTIONLINT) .github/workflows/*.yml || exit; \
	set -e; GOBIN='$(CURDIR)/bin' go install $(STATICCHECK); for m in $$modules; do echo "== $$m"; \
		(cd $$m && export GOFLAGS="$$GOFLAGS -race" && go vet ./... && '$(CURDIR)/bin/staticcheck' ./... && go mod tidy -diff); done # -race: built once for lint and test

cover: ## fail if the tests cover less than 97 % of the root package
	@go test -coverprofile=cover.out .
	@go tool cover -func=cover.out | awk '$$3 != "100.0%"; END { sub("%", "", $$3); exit $$3 + 0 < 97 }'

size: ## print lines of code and the longest function of each package, and check the limits
	@go test -count=1 -v -run 'TestSize|TestImports' ./internal/layout

trace: ## print the functions that one admitted request calls
	@go test -count=1 -v -run TestTrace ./internal/layout

fuzz: ## run each fuzz test for FUZZTIME
	@set -e; for p in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for f in $$(grep -ho '^func Fuzz[A-Za-z_]*' $$p/*_test.go | cut -c6-); do \
			echo "== $$p $$f"; (cd $$p && go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 500ms .); done; done

faults: ## run each fault test for FAULTTIME: a failing key server; stores with losses, missing rights, wrong clocks, slow disks
	@set -e; for p in $$(grep -rl --include='*_test.go' 'flag.*"faults"' . | xargs -n1 dirname | sort -u); do \
		(cd $$p && go test -count=1 -timeout 0 -run '(?i)faults|right|clocks' -v . -faults $(FAULTTIME)); done

bench: ## measure all contenders on an idle machine; writes results.md and benchstat.txt in benchmarks
	@go run -C benchmarks ./report $(BENCHFLAGS) -table results.md -samples samples.out
	@cd benchmarks && go run $(BENCHSTAT) -col /by -row /alg -filter '$(BENCHSTAT_FILTER)' samples.out >benchstat.txt

bench-check: ## measure what has a limit, and fail if one is exceeded; takes about two minutes
	@go run -C benchmarks ./report $(BENCHFLAGS) -check

bench-revocations: ## measure the stores with ENTRIES, and what others do with a million; needs redis-server and PostgreSQL
	@for m in redisrevocation sqlrevocation; do \
		go test -C $$m -count=1 -run '^$$' -bench Figures -benchtime 1x -timeout 0 . -entries $(ENTRIES) || exit; done
	@go test -C benchmarks -count=1 -run '^$$' -bench Ways -benchtime 20000x -timeout 0 ./revocations -entries 1000000

examples: ## start each example, send it valid and invalid requests, and stop it
	@set -e; for p in $$(go list -C examples -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' ./...); do \
		out=$$(go test -C examples -count=1 -run 'Program|README' $$p) || { echo "$$out"; exit 1; }; \
		echo "$$out"; case $$out in *"no tests"*) exit 1; esac; done

release-check: ## check a release before its tags are pushed; with VERSION=v0.1.0, the commit to be tagged
	@scripts/release-check $(VERSION)
