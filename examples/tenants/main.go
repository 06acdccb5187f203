// Tenants is an API whose tenants are rows of a SQLite table. Each tenant has an
// identity provider. Tenants are added and dropped while the program runs.
//
//	go run -C examples ./tenants
//
// It prints its address and lines to paste into a shell. The address serves a page
// that adds and drops tenants, and shows at which hosts the token of each of them is
// accepted. The identity providers are small ones, served by the program itself. The
// tenants and keys are new at each start, and the users are made up.
package main

import (
	"context"
	"flag"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/seed450a7203/jwthttp/examples/internal/demo"
	"github.com/seed450a7203/jwthttp/examples/internal/server"
)

func main() {
	ttl := flag.Duration("ttl", 5*time.Second, "how long the API uses what it has read from the table")
	server.Main(func(ctx context.Context, url string) (http.Handler, string, error) {
		s, err := newSite(ctx, config{url: url, users: demo.NewUsers(), ttl: *ttl, tenants: 8})
		if err != nil {
			return nil, "", err
		}
		if err := s.providers.start("stranger"); err != nil { // a provider that is no tenant's
			return nil, "", err
		}
		for _, name := range []string{"acme", "globex"} {
			if err := s.add(ctx, name); err != nil {
				return nil, "", err
			}
		}
		return s.handler(), greeting(url, *ttl), nil
	})
}

// greeting returns lines to paste into a shell. Each prints the status and the
// expected status.
func greeting(url string, ttl time.Duration) string {
	return strings.NewReplacer("URL", url, "TTL", strconv.FormatFloat((ttl+100*time.Millisecond).Seconds(), 'f', -1, 64)).Replace(`Open URL in a browser, or paste this into a shell:

token() { curl -s -d 'username=alice&password=down-the-rabbit-hole' "URL/issuers/$1/token" | sed 's/.*"access_token":"\([^"]*\)".*/\1/'; }
hello() { curl -s -o /dev/null -w "%{http_code}, $3\n" -H "Authorization: Bearer $1" -H "Host: $2.example" URL/hello; }
change() { curl -s -o /dev/null -w "%{http_code}, $3\n" -d "name=$2" "URL/$1"; }
ACME=$(token acme); GLOBEX=$(token globex)
hello "$ACME" acme 'expected 200: the token of acme at its host'
hello "$GLOBEX" globex 'expected 200: the token of globex at its host'
hello "$ACME" globex 'expected 403: the token of acme at the host of globex'
change add initech 'expected 303: a tenant is added'
INITECH=$(token initech)
hello "$INITECH" initech 'expected 200: its token'
change drop initech 'expected 303: the tenant is dropped'
sleep TTL
hello "$INITECH" initech 'expected 401: its token, after the TTL'
hello "$(token stranger)" acme 'expected 401: a good token of an issuer that is no tenant'
hello "$ACME" acme 'expected 200: other tenants notice nothing'
`)
}
