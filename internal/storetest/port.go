package storetest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// FreeAddr returns a free loopback address for a server that a test starts again and
// again. The system gives neither its port nor 10,000 more, which a Redis Cluster uses
// as well, to an outgoing connection: such a connection could take the port while the
// server is down. No other FreeAddr is 10,000 more.
func FreeAddr(t testing.TB) string {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", 12000+rand.IntN(10000))
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}
