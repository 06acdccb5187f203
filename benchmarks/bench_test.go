package benchmarks

import (
	"net/http"
	"testing"
)

var nothing = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

// BenchmarkServe times each contender with each request. The name of a
// subbenchmark is case/algorithm/contender.
func BenchmarkServe(b *testing.B) {
	for _, name := range Cases() {
		eachContender(b, name, func(b *testing.B, h http.Handler, f *Fixture) {
			r := f.Request(name)
			var w Discard
			w.Reset()
			// A cache must not find the string that it keeps, because requests of
			// a server do not share strings.
			h.ServeHTTP(&w, f.Request(name))
			for b.Loop() {
				w.Reset()
				h.ServeHTTP(&w, r)
			}
			if refused := w.Status >= 400; refused == (name == Admitted) {
				b.Fatalf("status %d", w.Status)
			}
		})
	}
}

// BenchmarkParallel times the admitted request on GOMAXPROCS goroutines.
func BenchmarkParallel(b *testing.B) {
	eachContender(b, Admitted, func(b *testing.B, h http.Handler, f *Fixture) {
		b.RunParallel(func(pb *testing.PB) {
			r := f.Request(Admitted)
			var w Discard
			for pb.Next() {
				w.Reset()
				h.ServeHTTP(&w, r)
			}
		})
	})
}

func eachContender(b *testing.B, name string, run func(*testing.B, http.Handler, *Fixture)) {
	for _, alg := range Algorithms() {
		f := newFixture(b, alg)
		for _, c := range Timed(name) {
			if !c.Knows(alg) {
				continue
			}
			h, err := c.Guard(f, nothing)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(name+"/"+alg+"/"+c.Name, func(b *testing.B) {
				b.ReportAllocs()
				run(b, h, f)
			})
		}
	}
}

// BenchmarkBound times requests with tokens that are bound to a key.
func BenchmarkBound(b *testing.B) {
	client := startRedis(b)
	for _, alg := range BoundAlgorithms() {
		handlers, err := Bound(newFixture(b, alg), nothing, client)
		if err != nil {
			b.Fatal(err)
		}
		for _, h := range handlers {
			b.Run(alg+"/"+h.Name, func(b *testing.B) {
				b.ReportAllocs()
				var w Discard
				for b.Loop() {
					w.Reset()
					h.ServeHTTP(&w, nil)
					if w.Status != http.StatusOK {
						b.Fatalf("status %d", w.Status)
					}
				}
			})
		}
	}
}

// BenchmarkCall times unary calls of gRPC.
func BenchmarkCall(b *testing.B) {
	for _, alg := range CallAlgorithms() {
		calls, end, err := Calls(newFixture(b, alg), Admitted)
		if err != nil {
			b.Fatal(err)
		}
		for _, c := range calls {
			b.Run(alg+"/"+c.Name, func(b *testing.B) {
				b.ReportAllocs()
				var w Discard
				for b.Loop() {
					w.Reset()
					c.ServeHTTP(&w, nil)
					if w.Status != http.StatusOK {
						b.Fatalf("status %d", w.Status)
					}
				}
			})
		}
		end()
	}
}
