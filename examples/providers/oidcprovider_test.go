package providers

import (
	"bufio"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/testprogram"
)

// startOIDCProvider returns a function that starts oidc-provider, a package of npm.
// Its access tokens are signed by algorithm, and its ID tokens by RS256.
func startOIDCProvider(algorithm string, idToken jwthttp.Reason) func(*testing.T) *provider {
	return func(t *testing.T) *provider {
		api, other := "https://api.example/"+algorithm, "https://other.example/"+algorithm
		node := startNode(t, "oidcprovider.mjs")
		issuer := node.line(t)
		service := func(t *testing.T, resource string) string {
			t.Helper()
			return newFlow(t, issuer, "web").token("client_credentials", url.Values{"resource": {resource}, "scope": {scope}}).Access
		}
		return &provider{
			issuer:   issuer,
			accepted: jwthttp.Issuer{Audience: []string{api}, Algorithms: []string{algorithm}, Types: []string{"at+jwt"}},
			new:      jwthttp.New[jwt.RegisteredClaims],
			scopes:   []string{scope},
			login: func(t *testing.T) tokens {
				t.Helper()
				return newFlow(t, issuer, "web").login(url.Values{"resource": {api}, "scope": {"openid offline_access " + scope}, "prompt": {"consent"}},
					url.Values{"login": {"alice"}, "password": {"any"}})
			},
			service: func(t *testing.T) string { return service(t, api) },
			foreign: func(t *testing.T) string { return service(t, other) },
			idToken: idToken,
			rotate: func(t *testing.T) {
				t.Helper()
				fmt.Fprintln(node.in, "rotate")
				if got := node.line(t); got != "rotated" {
					t.Fatal(got)
				}
			},
		}
	}
}

// nodeProgram is a running program of Node.js, which ends when its standard input
// is closed.
type nodeProgram struct {
	in  io.WriteCloser
	out *bufio.Scanner
}

func startNode(t *testing.T, script string, args ...string) *nodeProgram {
	t.Helper()
	cmd := exec.Command(testprogram.Node(t, ".."), append([]string{script}, args...)...)
	cmd.Env = append(os.Environ(), "NODE_NO_WARNINGS=1")
	var log strings.Builder
	cmd.Stderr = &log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", script, err)
		}
		if t.Failed() {
			t.Logf("log of %s:\n%s", script, &log)
		}
	})
	return &nodeProgram{in, bufio.NewScanner(out)}
}

// line returns the next line of the program.
func (p *nodeProgram) line(t *testing.T) string {
	t.Helper()
	if !p.out.Scan() {
		t.Fatalf("the program has ended: %v", p.out.Err())
	}
	return p.out.Text()
}
