package docs_test

// The Go blocks of providers.md, in its order. TestProviders_page compares them.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwks"
)

func auth0(ctx context.Context) (*jwthttp.Middleware, error) {
	const issuer = "https://example.eu.auth0.com/" // ends in a slash
	keys, err := jwks.Discover(ctx, issuer, jwks.Options{})
	if err != nil {
		return nil, err
	}
	return jwthttp.New[jwt.RegisteredClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name:       issuer,
		Audience:   []string{"https://api.example"}, // the identifier of the API
		Algorithms: []string{"RS256"},
		Keys:       keys,
	}}})
}

func okta(ctx context.Context) (*jwthttp.Middleware, error) {
	const issuer = "https://example.okta.com/oauth2/default" // no slash at the end
	keys, err := jwks.Discover(ctx, issuer, jwks.Options{})
	if err != nil {
		return nil, err
	}
	return jwthttp.New[jwt.RegisteredClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name:       issuer,
		Audience:   []string{"api://default"}, // of the authorization server
		Algorithms: []string{"RS256"},
		Keys:       keys,
	}}})
}

func entraID(ctx context.Context) (*jwthttp.Middleware, error) {
	const issuer = "https://login.microsoftonline.com/aaaabbbb-0000-cccc-1111-dddd2222eeee/v2.0"
	keys, err := jwks.Discover(ctx, issuer, jwks.Options{})
	if err != nil {
		return nil, err
	}
	return jwthttp.New[jwt.RegisteredClaims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name:       issuer,
			Audience:   []string{"00001111-aaaa-2222-bbbb-3333cccc4444"}, // the client ID of the API
			Algorithms: []string{"RS256"},
			Keys:       keys,
		}},
		MaxTokenSize: 32 << 10, // 200 groups
	})
}

// findTenant returns a tenant ID as it is stored, or "".
func entraTenants(ctx context.Context, findTenant func(ctx context.Context, id string) (string, error)) (*jwthttp.Middleware, error) {
	const host = "https://login.microsoftonline.com/"
	keys, err := jwks.New(ctx, host+"common/discovery/v2.0/keys", jwks.Options{})
	if err != nil {
		return nil, err
	}
	return jwthttp.New[jwt.RegisteredClaims](jwthttp.Options{
		FindIssuer: func(ctx context.Context, name string) (*jwthttp.Issuer, error) {
			rest, begins := strings.CutPrefix(name, host)
			id, ends := strings.CutSuffix(rest, "/v2.0")
			if !begins || !ends || id == "" {
				return nil, nil
			}
			if stored, err := findTenant(ctx, id); err != nil || stored != id {
				return nil, err
			}
			return &jwthttp.Issuer{
				Name:       name,
				Audience:   []string{"00001111-aaaa-2222-bbbb-3333cccc4444"},
				Algorithms: []string{"RS256"},
				Keys:       keys,
			}, nil
		},
		MaxIssuers:   10_000, // not less than the tenants in use
		MaxTokenSize: 32 << 10,
	})
}

func google(ctx context.Context) (*jwthttp.Middleware, error) {
	const issuer = "https://accounts.google.com"
	keys, err := jwks.Discover(ctx, issuer, jwks.Options{})
	if err != nil {
		return nil, err
	}
	return jwthttp.New[jwt.RegisteredClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name:       issuer,
		Audience:   []string{"1234987819200.apps.googleusercontent.com"}, // your client ID
		Algorithms: []string{"RS256"},
		Keys:       keys,
	}}})
}

func firebase(ctx context.Context) (*jwthttp.Middleware, error) {
	const project = "example-project"
	const url = "https://www.googleapis.com/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com"
	keys, err := jwks.New(ctx, url, jwks.Options{})
	if err != nil {
		return nil, err
	}
	return jwthttp.New[jwt.RegisteredClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name:       "https://securetoken.google.com/" + project,
		Audience:   []string{project},
		Algorithms: []string{"RS256"},
		Keys:       keys,
	}}})
}

func cognito(ctx context.Context) (*jwthttp.Middleware, error) {
	const issuer = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_EXAMPLE"
	keys, err := jwks.Discover(ctx, issuer, jwks.Options{})
	if err != nil {
		return nil, err
	}
	return jwthttp.New[jwt.RegisteredClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name:       issuer,
		Audience:   []string{jwthttp.Any},
		Clients:    []string{"1h57kf5cpq17m0eml12EXAMPLE"}, // app clients, in client_id
		Algorithms: []string{"RS256"},
		Keys:       keys,
	}}})
}

type keycloakClaims struct {
	jwt.RegisteredClaims
	Type  string `json:"typ"`
	Realm struct {
		Roles []string `json:"roles"`
	} `json:"realm_access"`
}

func (c keycloakClaims) Validate() error {
	if c.Type != "Bearer" && c.Type != "DPoP" {
		return fmt.Errorf("typ %q", c.Type)
	}
	return nil
}

func keycloak(ctx context.Context) (*jwthttp.Middleware, error) {
	const issuer = "https://login.example/realms/shop"
	keys, err := jwks.Discover(ctx, issuer, jwks.Options{})
	if err != nil {
		return nil, err
	}
	return jwthttp.New[keycloakClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name:       issuer,
		Audience:   []string{"orders-api"}, // by an audience mapper
		Algorithms: []string{"RS256"},
		Keys:       keys,
	}}})
}

// findRealm returns the name of a realm as it is stored, or "".
func keycloakRealms(ctx context.Context, findRealm func(ctx context.Context, realm string) (string, error)) (*jwthttp.Middleware, error) {
	const server, most = "https://login.example/realms/", 10_000
	pool, err := jwks.NewPool(ctx, jwks.PoolOptions{MaxSets: most})
	if err != nil {
		return nil, err
	}
	return jwthttp.New[keycloakClaims](jwthttp.Options{
		FindIssuer: func(ctx context.Context, name string) (*jwthttp.Issuer, error) {
			realm, ok := strings.CutPrefix(name, server)
			if !ok || realm == "" {
				return nil, nil
			}
			if stored, err := findRealm(ctx, realm); err != nil || stored != realm {
				return nil, err
			}
			return &jwthttp.Issuer{
				Name:       name,
				Audience:   []string{"orders-api"},
				Algorithms: []string{"RS256"},
				Keys:       pool.Discover(name),
			}, nil
		},
		MaxIssuers: most,
	})
}

type zitadelClaims struct {
	jwt.RegisteredClaims
	Roles map[string]map[string]string `json:"urn:zitadel:iam:org:project:roles"`
}

func (c zitadelClaims) Validate() error {
	if c.ID == "" {
		return errors.New("no jti: an ID token")
	}
	return nil
}

func zitadel(ctx context.Context) (*jwthttp.Middleware, error) {
	const issuer = "https://example-a1b2c3.zitadel.cloud"
	keys, err := jwks.Discover(ctx, issuer, jwks.Options{})
	if err != nil {
		return nil, err
	}
	return jwthttp.New[zitadelClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name:       issuer,
		Audience:   []string{"221394289413267457"}, // the project ID
		Algorithms: []string{"RS256"},
		Keys:       keys,
	}}})
}

func hydra(ctx context.Context) (*jwthttp.Middleware, error) {
	const issuer = "https://hydra.example/" // as urls.self.issuer is
	keys, err := jwks.Discover(ctx, issuer, jwks.Options{})
	if err != nil {
		return nil, err
	}
	return jwthttp.New[jwt.RegisteredClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name:       issuer,
		Audience:   []string{jwthttp.Any},
		Clients:    []string{"web-client"},
		Algorithms: []string{"RS256"},
		Keys:       keys,
	}}})
}

func dex(ctx context.Context) (*jwthttp.Middleware, error) {
	const issuer = "https://login.example/dex" // as "issuer" in the configuration is
	keys, err := jwks.Discover(ctx, issuer, jwks.Options{})
	if err != nil {
		return nil, err
	}
	return jwthttp.New[jwt.RegisteredClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name:       issuer,
		Audience:   []string{"web-client"}, // client IDs
		Algorithms: []string{"RS256"},
		Keys:       keys,
	}}})
}

type duendeClaims struct {
	jwt.RegisteredClaims
	Roles jwt.ClaimStrings `json:"role"` // a string if there is one role
}

func duende(ctx context.Context) (*jwthttp.Middleware, error) {
	const issuer = "https://identity.example"
	keys, err := jwks.Discover(ctx, issuer, jwks.Options{})
	if err != nil {
		return nil, err
	}
	return jwthttp.New[duendeClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name:       issuer,
		Audience:   []string{"orders"}, // the name of an ApiResource
		Algorithms: []string{"RS256"},
		Keys:       keys,
		Types:      []string{"at+jwt"},
	}}})
}

func spring(ctx context.Context) (*jwthttp.Middleware, error) {
	const issuer = "https://auth.example"
	keys, err := jwks.Discover(ctx, issuer, jwks.Options{})
	if err != nil {
		return nil, err
	}
	auth, err := jwthttp.New[jwt.RegisteredClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name:       issuer,
		Audience:   []string{"web-client"}, // client IDs
		Algorithms: []string{"RS256"},
		Keys:       keys,
	}}})
	if err != nil {
		return nil, err
	}
	return auth.RequireScopes("orders.read"), nil // an ID token has no scope
}

func supabase(ctx context.Context, secret []byte) (*jwthttp.Middleware, error) {
	const issuer = "https://abcdefghijklmnopqrst.supabase.co/auth/v1"
	keys, err := jwks.New(ctx, issuer+"/.well-known/jwks.json", jwks.Options{})
	if err != nil {
		return nil, err
	}
	before := jwthttp.Issuer{
		Name:       issuer,
		Audience:   []string{"authenticated"},
		Algorithms: []string{"HS256"},
		Keys:       jwthttp.StaticKey(secret), // the text of the JWT secret; do not decode it
	}
	after := before
	after.Algorithms, after.Keys = []string{"ES256"}, keys
	return jwthttp.New[jwt.RegisteredClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{before, after}})
}

type clerkClaims struct {
	jwt.RegisteredClaims
	Session string `json:"sid"`
	Status  string `json:"sts"`
}

func (c clerkClaims) Validate() error {
	if c.Session == "" || c.Status == "pending" {
		return errors.New("not the token of an active session")
	}
	return nil
}

func clerk(ctx context.Context) (*jwthttp.Middleware, error) {
	const issuer = "https://clerk.shop.example" // the Frontend API URL
	keys, err := jwks.New(ctx, issuer+"/.well-known/jwks.json", jwks.Options{})
	if err != nil {
		return nil, err
	}
	return jwthttp.New[clerkClaims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name:       issuer,
			Audience:   []string{jwthttp.Any},
			Clients:    []string{"https://shop.example"}, // origins, in azp
			Algorithms: []string{"RS256"},
			Keys:       keys,
		}},
		Extractor: jwthttp.FirstOf(jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromCookie("__session")),
	})
}

type shopifyClaims struct {
	jwt.RegisteredClaims
	Shop string `json:"dest"` // https://{shop}.myshopify.com
}

func (c shopifyClaims) Validate() error {
	if c.Issuer != c.Shop+"/admin" {
		return fmt.Errorf("dest %q is not the shop of iss %q", c.Shop, c.Issuer)
	}
	return nil
}

// findShop returns the name of a shop that has installed the app as it is stored, or "".
func shopify(clientID string, secret []byte, findShop func(ctx context.Context, shop string) (string, error)) (*jwthttp.Middleware, error) {
	keys := jwthttp.StaticKey(secret) // the text of the client secret; do not decode it
	return jwthttp.New[shopifyClaims](jwthttp.Options{
		FindIssuer: func(ctx context.Context, name string) (*jwthttp.Issuer, error) {
			rest, begins := strings.CutPrefix(name, "https://")
			shop, ends := strings.CutSuffix(rest, ".myshopify.com/admin")
			if !begins || !ends || shop == "" {
				return nil, nil
			}
			if stored, err := findShop(ctx, shop); err != nil || stored != shop {
				return nil, err
			}
			return &jwthttp.Issuer{
				Name:       name,
				Audience:   []string{clientID},
				Algorithms: []string{"HS256"},
				Keys:       keys,
			}, nil
		},
		MaxIssuers: 10_000,
		Leeway:     10 * time.Second, // tokens are valid for a minute
	})
}

type githubClaims struct {
	jwt.RegisteredClaims
	OwnerID    string `json:"repository_owner_id"`
	Repository string `json:"repository"`
	Ref        string `json:"ref"`
}

func (c githubClaims) Validate() error {
	if c.OwnerID != "65" || c.Repository != "octo-org/octo-repo" || c.Ref != "refs/heads/main" {
		return fmt.Errorf("repository %q of owner %q, ref %q", c.Repository, c.OwnerID, c.Ref)
	}
	return nil
}

func github(ctx context.Context) (*jwthttp.Middleware, error) {
	const issuer = "https://token.actions.githubusercontent.com"
	keys, err := jwks.Discover(ctx, issuer, jwks.Options{})
	if err != nil {
		return nil, err
	}
	return jwthttp.New[githubClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name:       issuer,
		Audience:   []string{"https://api.example"}, // what the workflow asks for
		Algorithms: []string{"RS256"},
		Keys:       keys,
	}}})
}

type gitlabClaims struct {
	jwt.RegisteredClaims
	ProjectID string `json:"project_id"`
	Protected string `json:"ref_protected"`
}

func (c gitlabClaims) Validate() error {
	if c.ProjectID != "22" || c.Protected != "true" {
		return fmt.Errorf("project %q, protected ref %q", c.ProjectID, c.Protected)
	}
	return nil
}

func gitlab(ctx context.Context) (*jwthttp.Middleware, error) {
	const issuer = "https://gitlab.com" // or your own host
	keys, err := jwks.Discover(ctx, issuer, jwks.Options{})
	if err != nil {
		return nil, err
	}
	return jwthttp.New[gitlabClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name:       issuer,
		Audience:   []string{"https://api.example"}, // "aud" in id_tokens of .gitlab-ci.yml
		Algorithms: []string{"RS256"},
		Keys:       keys,
	}}})
}

type kubernetesClaims struct {
	jwt.RegisteredClaims
	Kubernetes struct {
		Namespace string `json:"namespace"`
	} `json:"kubernetes.io"`
}

// client is what rest.HTTPClientFor of k8s.io/client-go returns.
func kubernetes(ctx context.Context, client *http.Client) (*jwthttp.Middleware, error) {
	keys, err := jwks.New(ctx, "https://kubernetes.default.svc/openid/v1/jwks", jwks.Options{Client: client})
	if err != nil {
		return nil, err
	}
	return jwthttp.New[kubernetesClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name:       "https://kubernetes.default.svc.cluster.local", // --service-account-issuer
		Audience:   []string{"https://api.example"},                // of the projected volume
		Algorithms: []string{"RS256"},
		Keys:       keys,
	}}})
}

type spiffeClaims struct{ jwt.RegisteredClaims }

func (c spiffeClaims) Validate() error {
	if !strings.HasPrefix(c.Subject, "spiffe://example.org/") {
		return fmt.Errorf("%q is not in the trust domain", c.Subject)
	}
	return nil
}

func spiffe(ctx context.Context) (*jwthttp.Middleware, error) {
	keys, err := jwks.New(ctx, "https://spire.example/bundle", jwks.Options{})
	if err != nil {
		return nil, err
	}
	return jwthttp.New[spiffeClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name:       jwthttp.Any, // "iss" is optional
		Audience:   []string{"spiffe://example.org/orders"},
		Algorithms: []string{"ES256"},
		Keys:       keys,
		Types:      []string{"", "JWT", "JOSE"},
	}}})
}

func cloudflare(ctx context.Context) (*jwthttp.Middleware, error) {
	const issuer = "https://example.cloudflareaccess.com" // the team
	keys, err := jwks.New(ctx, issuer+"/cdn-cgi/access/certs", jwks.Options{})
	if err != nil {
		return nil, err
	}
	return jwthttp.New[jwt.RegisteredClaims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name:       issuer,
			Audience:   []string{"32eafc7626e974616deaf0dc3ce63d7bcbed58a2731e84d06bc3cdf1b53c4228"}, // AUD tag
			Algorithms: []string{"RS256"},
			Keys:       keys,
		}},
		Extractor: jwthttp.FromProxyHeader("Cf-Access-Jwt-Assertion"),
	})
}

func iap(ctx context.Context) (*jwthttp.Middleware, error) {
	keys, err := jwks.New(ctx, "https://www.gstatic.com/iap/verify/public_key-jwk", jwks.Options{})
	if err != nil {
		return nil, err
	}
	return jwthttp.New[jwt.RegisteredClaims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name:       "https://cloud.google.com/iap",
			Audience:   []string{"/projects/123456789012/global/backendServices/9876543210"},
			Algorithms: []string{"ES256"},
			Keys:       keys,
		}},
		Extractor: jwthttp.FromProxyHeader("X-Goog-Iap-Jwt-Assertion"),
	})
}

// issuer is that of the identity provider, as in its section.
func behindALB(issuer jwthttp.Issuer) (*jwthttp.Middleware, error) {
	return jwthttp.New[jwt.RegisteredClaims](jwthttp.Options{
		Issuers:   []jwthttp.Issuer{issuer},
		Extractor: jwthttp.FromProxyHeader("X-Amzn-Oidc-Accesstoken"),
	})
}

// albKeys has the keys of the load balancers of a region. It accepts the header
// of one load balancer, identity provider and client only.
type albKeys struct {
	region, signer, issuer, client string

	keys    sync.Map   // by "kid"
	mu      sync.Mutex // guards fetched
	fetched time.Time
}

func (k *albKeys) KeyfuncCtx(ctx context.Context) jwt.Keyfunc {
	return func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		exp, _ := t.Header["exp"].(float64)
		switch {
		case t.Header["signer"] != k.signer, t.Header["iss"] != k.issuer, t.Header["client"] != k.client:
			return nil, errors.New("another signer, iss or client")
		case exp <= float64(time.Now().Unix()):
			return nil, errors.New("expired")
		case len(kid) != 36 || strings.Trim(kid, "0123456789abcdef-") != "":
			return nil, errors.New("kid is not a UUID") // it becomes a part of a URL
		}
		if key, ok := k.keys.Load(kid); ok {
			return key, nil
		}
		return k.fetch(ctx, kid)
	}
}

func (k *albKeys) fetch(ctx context.Context, kid string) (any, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if key, ok := k.keys.Load(kid); ok {
		return key, nil
	}
	if time.Since(k.fetched) < time.Second { // made-up key IDs must not cause a flood
		return nil, jwthttp.ErrKeysUnavailable
	}
	k.fetched = time.Now()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", "https://public-keys.auth.elb."+k.region+".amazonaws.com/"+kid, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", jwthttp.ErrKeysUnavailable, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<14))
	if err != nil || resp.StatusCode >= 500 {
		return nil, fmt.Errorf("%w: status %d", jwthttp.ErrKeysUnavailable, resp.StatusCode)
	}
	key, err := jwt.ParseECPublicKeyFromPEM(body) // not a key: unknown "kid"
	if err == nil {
		k.keys.Store(kid, key)
	}
	return key, err
}

func alb() (*jwthttp.Middleware, error) {
	keys := &albKeys{
		region: "eu-west-1",
		signer: "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/orders/50dc6c495c0c9188",
		issuer: "https://login.example",
		client: "web-client",
	}
	return jwthttp.New[jwt.RegisteredClaims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name:           jwthttp.Any, // in the header, which albKeys checks
			Audience:       []string{jwthttp.Any},
			NoExpiry:       true,
			Algorithms:     []string{"ES256"},
			Keys:           keys,
			PaddedSegments: true,
		}},
		Extractor: jwthttp.FromProxyHeader("X-Amzn-Oidc-Data"),
	})
}

type appleClaims struct {
	jwt.RegisteredClaims
	Email string `json:"email"`
}

func (c appleClaims) Validate() error {
	if c.Subject == "" {
		return errors.New("no sub: a notification")
	}
	return nil
}

func apple(ctx context.Context) (*jwthttp.Middleware, error) {
	const issuer = "https://appleid.apple.com"
	keys, err := jwks.Discover(ctx, issuer, jwks.Options{})
	if err != nil {
		return nil, err
	}
	return jwthttp.New[appleClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name:       issuer,
		Audience:   []string{"com.example.shop"}, // the App ID or Services ID
		Algorithms: []string{"RS256"},
		Keys:       keys,
	}}})
}
