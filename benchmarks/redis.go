package benchmarks

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/redisrevocation/redisreplay"
)

// StartRedis starts a redis-server on loopback, which writes nothing to its disk,
// and returns a client of it. stop ends both. If it is not installed, the error is
// exec.ErrNotFound.
func StartRedis() (client *redis.Client, stop func(), err error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	address := listener.Addr().String()
	_ = listener.Close()
	_, port, _ := net.SplitHostPort(address)
	cmd := exec.Command(program, "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", os.TempDir())
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	client = redis.NewClient(&redis.Options{Addr: address, ContextTimeoutEnabled: true})
	stop = func() {
		_ = client.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	for start := time.Now(); client.Ping(context.Background()).Err() != nil; {
		if time.Since(start) > time.Minute {
			stop()
			return nil, nil, fmt.Errorf("redis-server does not answer at %s", address)
		}
	}
	return client, stop, nil
}

// redis is DPoP with a nonce and with the used proofs in Redis.
func (b *bound) redis(client redis.UniversalClient) (BoundHandler, error) {
	return b.withProofs(BoundRedis, [][]byte{make([]byte, 32)}, func() jwthttp.ReplayFunc {
		return redisreplay.New(client, rand.Text()).Fresh
	})
}
