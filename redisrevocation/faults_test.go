package redisrevocation_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/seed450a7203/jwthttp/internal/storetest"
	"github.com/seed450a7203/jwthttp/redisrevocation"
)

// Acknowledged changes survive kill -9 of a Redis with appendfsync always, and
// connections that are cut, slow or dead.
func TestStore_faults(t *testing.T) {
	faults := 30
	if os.Getenv("CI") == "true" {
		faults = 100
	}
	srv := newServer(t)
	proxies := make([]*storetest.Proxy, 3)
	for i := range proxies {
		proxies[i] = storetest.NewProxy(t, srv.addr)
	}
	storetest.RunFaults(t, storetest.FaultTest{
		Proxies: proxies,
		Open: func(ctx context.Context, i int, maxStale time.Duration) (storetest.Store, error) {
			s, err := open(ctx, proxies[i].Addr(), redisrevocation.Options{MaxStale: maxStale}, func(o *redis.Options) {
				// Three ways of using the client: one tries again, one fails
				// at once, one heeds the deadline and speaks RESP2.
				switch i {
				case 1:
					o.MaxRetries = -1
				case 2:
					o.ContextTimeoutEnabled, o.Protocol = true, 2
				}
			})
			if err != nil {
				return nil, err
			}
			return s, nil
		},
		Kill:     srv.kill,
		Restart:  srv.start,
		Faults:   faults,
		Recovery: soon,
	})
}
