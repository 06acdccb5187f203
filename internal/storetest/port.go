package storetest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// FreeAddr returns a free loopback address for a server that a test starts again and
// again. Its port is below those that systems give to outgoing connections, one of
// which could take it while the server is down. Port and 10,000 more, which a Redis
// Cluster uses as well, are below 2^16.
func FreeAddr(t testing.TB) string {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", 12000+rand.IntN(20000))
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}
