package lookup_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed450a7203/jwthttp/internal/lookup"
)

// finder counts the calls of find, and answers as its fields say.
type finder struct {
	mu     sync.Mutex
	asked  []string
	answer func(ctx context.Context, name string) (*string, error)
}

func (f *finder) find(ctx context.Context, name string) (*string, error) {
	f.mu.Lock()
	f.asked = append(f.asked, name)
	answer := f.answer
	f.mu.Unlock()
	return answer(ctx, name)
}

// becomes changes what is answered.
func (f *finder) becomes(answer func(ctx context.Context, name string) (*string, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

func (f *finder) calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

// said returns what a Table says in one word.
func said(ctx context.Context, t *lookup.Table[string], name string) string {
	value, err := t.Get(ctx, name, time.Now())
	switch {
	case value != nil && err != nil:
		return "both"
	case err != nil:
		return err.Error()
	case value == nil:
		return "none"
	}
	return *value
}

func text(s string) *string { return &s }

const late = "no answer within 1s: context deadline exceeded"

func TestTable_Get(t *testing.T) {
	found := func(context.Context, string) (*string, error) { return text("found"), nil }
	none := func(context.Context, string) (*string, error) { return nil, nil }
	broken := func(context.Context, string) (*string, error) { return text("ignored"), errors.New("broken") }
	slow := func(ctx context.Context, _ string) (*string, error) { <-ctx.Done(); return nil, ctx.Err() }
	deaf := func(context.Context, string) (*string, error) {
		time.Sleep(1001 * time.Millisecond)
		return text("late"), nil
	}
	for _, tt := range []struct {
		name   string
		first  func(context.Context, string) (*string, error)
		want   string
		pause  time.Duration // until it is asked again, and answers "found"
		again  string
		called int
	}{
		{"a value is remembered", found, "found", 59 * time.Second, "found", 1},
		{"a value is looked up again after the TTL", found, "found", time.Minute, "found", 2},
		{"that there is none is remembered", none, "none", 59 * time.Second, "none", 1},
		{"that there is none is looked up again after the TTL", none, "none", time.Minute, "found", 2},
		{"an error is remembered for a second", broken, "broken", 999 * time.Millisecond, "broken", 1},
		{"an error is forgotten after a second", broken, "broken", time.Second, "found", 2},
		{"the deadline is one second", slow, "context deadline exceeded", 0, "context deadline exceeded", 1},
		{"an answer after the deadline is an error", deaf, late, 0, late, 1},
		{"an error counts from its end", slow, "context deadline exceeded", 999 * time.Millisecond, "context deadline exceeded", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &finder{answer: tt.first}
				table := lookup.New(f.find, time.Minute, 10, 100)
				if got := said(t.Context(), table, "a"); got != tt.want {
					t.Errorf("first %q, want %q", got, tt.want)
				}
				f.becomes(found)
				time.Sleep(tt.pause)
				if got := said(t.Context(), table, "a"); got != tt.again {
					t.Errorf("then %q, want %q", got, tt.again)
				}
				if f.calls() != tt.called {
					t.Errorf("%d calls, want %d", f.calls(), tt.called)
				}
			})
		})
	}
}

// A value that is gone, or cannot be looked up, is not the answer any more.
func TestTable_Get_afterTTL(t *testing.T) {
	for _, tt := range []struct {
		name  string
		value *string
		err   error
		want  string
	}{
		{"another value", text("other"), nil, "other"},
		{"no value", nil, nil, "none"},
		{"an error", nil, errors.New("broken"), "broken"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &finder{answer: func(context.Context, string) (*string, error) { return text("old"), nil }}
				table := lookup.New(f.find, time.Minute, 10, 100)
				said(t.Context(), table, "a")
				f.becomes(func(context.Context, string) (*string, error) { return tt.value, tt.err })
				time.Sleep(time.Minute)
				for range 2 {
					if got := said(t.Context(), table, "a"); got != tt.want {
						t.Errorf("%q, want %q", got, tt.want)
					}
				}
				f.becomes(func(context.Context, string) (*string, error) { return text("new"), nil })
				time.Sleep(time.Minute)
				if got := said(t.Context(), table, "a"); got != "new" {
					t.Errorf("%q after it came back", got)
				}
			})
		})
	}
}

// A TTL below a second holds for errors, too.
func TestTable_Get_shortTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &finder{answer: func(context.Context, string) (*string, error) { return nil, errors.New("broken") }}
		table := lookup.New(f.find, time.Millisecond, 10, 100)
		said(t.Context(), table, "a")
		time.Sleep(time.Millisecond)
		said(t.Context(), table, "a")
		if f.calls() != 2 {
			t.Errorf("%d calls", f.calls())
		}
	})
}

func TestTable_Get_concurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		f := &finder{answer: func(context.Context, string) (*string, error) { <-release; return text("found"), nil }}
		table := lookup.New(f.find, time.Minute, 10, 100)
		for range 100 {
			go func() {
				if got := said(context.Background(), table, "a"); got != "found" {
					t.Errorf("got %q", got)
				}
			}()
		}
		synctest.Wait()
		if f.calls() != 1 {
			t.Errorf("%d calls at a time", f.calls())
		}
		go said(context.Background(), table, "b")
		synctest.Wait()
		if f.calls() != 2 {
			t.Error("another name waits")
		}
		close(release)
		synctest.Wait()
	})
}

// Who comes during a call does not get an answer that is older than the TTL.
func TestTable_Get_slowerThanTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(value string) func(context.Context, string) (*string, error) {
			return func(context.Context, string) (*string, error) {
				time.Sleep(500 * time.Millisecond)
				return text(value), nil
			}
		}
		f := &finder{answer: slow("old")}
		table := lookup.New(f.find, 10*time.Millisecond, 10, 100)
		go func() {
			if got := said(t.Context(), table, "a"); got != "old" {
				t.Errorf("who has asked: %q", got)
			}
		}()
		time.Sleep(100 * time.Millisecond)
		f.becomes(slow("new"))
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if got := said(t.Context(), table, "a"); got != "new" {
					t.Errorf("who came later: %q", got)
				}
			})
		}
		all.Wait()
		if f.calls() != 2 {
			t.Errorf("%d calls", f.calls())
		}
	})
}

// Those who wait have their own contexts, and the same deadline as the one who asks.
func TestTable_Get_waiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &finder{answer: func(context.Context, string) (*string, error) { time.Sleep(time.Hour); return text("late"), nil }}
		table := lookup.New(f.find, 2*time.Hour, 10, 100)
		start := time.Now()
		go said(t.Context(), table, "a")
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if got := said(short, table, "a"); got != "context deadline exceeded" || time.Since(start) != 10*time.Millisecond {
			t.Errorf("%q after %v", got, time.Since(start))
		}
		for range 2 { // the second while the call hangs
			if got := said(t.Context(), table, "a"); got != late || time.Since(start) != time.Second {
				t.Errorf("%q after %v", got, time.Since(start))
			}
		}
		if f.calls() != 1 {
			t.Errorf("%d calls", f.calls())
		}
		time.Sleep(time.Hour) // until the call ends
	})
}

// A client that hangs up does not end what others wait for.
func TestTable_Get_hangup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		f := &finder{answer: func(ctx context.Context, _ string) (*string, error) {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(time.Millisecond):
				return text(fmt.Sprint(ctx.Value(key{}))), nil
			}
		}}
		table := lookup.New(f.find, time.Minute, 10, 100)
		first, hangUp := context.WithCancel(context.WithValue(t.Context(), key{}, "the first's value"))
		go said(first, table, "a")
		synctest.Wait()
		hangUp()
		if got := said(t.Context(), table, "a"); got != "the first's value" {
			t.Error(got)
		}
	})
}

func TestTable_Get_panic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &finder{answer: func(context.Context, string) (*string, error) { time.Sleep(time.Millisecond); panic("mine") }}
		table := lookup.New(f.find, time.Minute, 10, 100)
		for range 3 { // who waits asks again, and panics
			go func() {
				defer func() {
					if p := recover(); p != "mine" {
						t.Errorf("recovered %v", p)
					}
				}()
				said(t.Context(), table, "a")
			}()
		}
		time.Sleep(time.Second)
		f.becomes(func(context.Context, string) (*string, error) { return text("found"), nil })
		if got := said(t.Context(), table, "a"); got != "found" || f.calls() != 4 {
			t.Errorf("%q after %d calls", got, f.calls())
		}
	})
}

// Invented names displace no value, and are bounded.
func TestTable_Get_bounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &finder{answer: func(_ context.Context, name string) (*string, error) {
			switch name[0] {
			case 't':
				return &name, nil
			case 'e':
				return nil, errors.New("broken")
			}
			return nil, nil
		}}
		table := lookup.New(f.find, time.Minute, 10, 100)
		for i := range 10 {
			said(t.Context(), table, fmt.Sprint("tenant ", i))
		}
		for i := range 1000 {
			said(t.Context(), table, fmt.Sprint("invented ", i))
			said(t.Context(), table, fmt.Sprint("error ", i))
		}
		f.asked = nil
		for i := range 10 {
			said(t.Context(), table, fmt.Sprint("tenant ", i))
		}
		if f.calls() != 0 {
			t.Errorf("asked for %d tenants again", f.calls())
		}
		said(t.Context(), table, "invented 0")
		said(t.Context(), table, "tenant 10")
		for i := range 11 {
			said(t.Context(), table, fmt.Sprint("tenant ", i))
		}
		if want := []string{"invented 0", "tenant 10"}; len(f.asked) < 3 || !slices.Equal(f.asked[:2], want) {
			t.Errorf("asked for %q, want %q and a tenant that was displaced", f.asked, want)
		}
		long := strings.Repeat("t", 1001) // more than all names together may have
		said(t.Context(), table, long)
		if got := said(t.Context(), table, long); got != long {
			t.Error(got)
		}
	})
}

// A name is a part of a token, which is not kept with it.
func TestTable_Get_memory(t *testing.T) {
	memory := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const names, size = 50, 1 << 20
	table := lookup.New(func(_ context.Context, name string) (*string, error) {
		if strings.HasSuffix(name, "0") {
			return &name, nil // as FindIssuer does
		}
		return nil, nil
	}, time.Hour, names, 100)
	before := memory()
	for i := range names {
		token := strings.Repeat("x", size) + fmt.Sprint(i)
		said(t.Context(), table, token[size:])
	}
	if more := memory() - min(before, memory()); more > 3*size {
		t.Errorf("%d bytes for %d names", more, names)
	}
	runtime.KeepAlive(table)
}

func BenchmarkTable_Get(b *testing.B) {
	table := lookup.New(func(context.Context, string) (*string, error) { return text("found"), nil }, time.Hour, 10, 100)
	b.Run("found", func(b *testing.B) {
		for b.Loop() {
			if _, err := table.Get(b.Context(), "a", time.Now()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("time.Now, to compare", func(b *testing.B) {
		for b.Loop() {
			_ = time.Now()
		}
	})
}
