package jwthttp

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/internal/cache"
	"github.com/seed450a7203/jwthttp/internal/jwk"
	"github.com/seed450a7203/jwthttp/internal/problems"
	"github.com/seed450a7203/jwthttp/internal/syntax"
)

// Limits of the options.
const (
	maxLeeway            = 5 * time.Minute
	maxTokenSize         = 1 << 20
	maxRevocationTimeout = time.Minute
	maxTokenAge          = 10 * 365 * 24 * time.Hour
	maxCacheSize         = 1 << 24
)

// meanCachedSize is the mean size in bytes of the tokens in a full cache.
const meanCachedSize = 2 << 10

// config is what New makes of Options. A Middleware and all that are derived
// from it share one. It is immutable.
type config struct {
	issuers    map[string][]*issuer // by "iss"
	anyIssuer  *issuer              // for every "iss", or nil
	algorithms map[string]bool      // of all issuers
	padding    bool                 // of any issuer

	extractor         Extractor
	leeway            time.Duration
	maxTokenSize      int
	revoked           RevokedFunc
	revocationTimeout time.Duration
	failOpen          bool
	crossOrigin       *http.CrossOriginProtection
	realm             string
	metadataURL       string
	errorHandler      func(http.ResponseWriter, *http.Request, *Error)
	observer          func(context.Context, Event)

	cache  *cache.Cache[*verified] // or nil
	claims *claimsType
}

// issuer is the compiled form of an Issuer.
type issuer struct {
	name        string
	audience    []string // nil: any
	clients     []string // nil: any
	methods     map[string]jwt.SigningMethod
	keys        keys
	types       []string // without "application/"; "": no "typ"
	maxTokenAge time.Duration
	noExpiry    bool
	padding     bool
}

func newConfig(o Options) (*config, error) {
	p := problems.List{Prefix: "jwthttp: "}
	c := &config{
		extractor:         o.Extractor,
		leeway:            max(o.Leeway, 0),
		maxTokenSize:      o.MaxTokenSize,
		revoked:           o.Revoked,
		revocationTimeout: o.RevocationTimeout,
		failOpen:          o.RevocationFailOpen,
		crossOrigin:       o.CrossOrigin,
		realm:             o.Realm,
		metadataURL:       o.ResourceMetadataURL,
		errorHandler:      o.ErrorHandler,
		observer:          o.Observer,
	}
	checkRange(&p, "Leeway", max(o.Leeway, 0), maxLeeway)
	checkRange(&p, "MaxTokenSize", o.MaxTokenSize, maxTokenSize)
	checkRange(&p, "RevocationTimeout", o.RevocationTimeout, maxRevocationTimeout)
	checkRange(&p, "CacheSize", o.CacheSize, maxCacheSize)
	if o.RevocationFailOpen && o.Revoked == nil {
		p.Add("RevocationFailOpen", true, "has no effect without Revoked")
	}
	if !syntax.FitsQuotedString(o.Realm) {
		p.Add("Realm", o.Realm, "want printable ASCII without double quote and backslash")
	}
	if o.ResourceMetadataURL != "" {
		if _, err := syntax.ParsePublicURL(o.ResourceMetadataURL); err != nil {
			p.AddHidden("ResourceMetadataURL", "%w", err)
		}
	}
	c.addIssuers(&p, o.Issuers)
	if err := p.Err(); err != nil {
		return nil, err
	}
	c.setDefaults(o)
	return c, nil
}

func checkRange[N int | time.Duration](p *problems.List, field string, n, most N) {
	if n < 0 || n > most {
		p.Add(field, n, "want 0 to %v", most)
	}
}

func (c *config) setDefaults(o Options) {
	if c.extractor == nil {
		c.extractor = FromHeader("Authorization", "Bearer")
	}
	if o.Leeway == 0 {
		c.leeway = 30 * time.Second
	}
	if c.maxTokenSize == 0 {
		c.maxTokenSize = 8 << 10
	}
	if c.revocationTimeout == 0 {
		c.revocationTimeout = time.Second
	}
	if c.crossOrigin == nil {
		c.crossOrigin = http.NewCrossOriginProtection()
	}
	if c.realm == "" {
		c.realm = defaultRealm
	}
	if o.CacheSize > 0 {
		c.cache = cache.New[*verified](o.CacheSize, int64(o.CacheSize)*meanCachedSize)
	}
}

func (c *config) addIssuers(p *problems.List, issuers []Issuer) {
	if len(issuers) == 0 {
		p.AddHidden("Issuers", "want at least one")
	}
	c.issuers = make(map[string][]*issuer, len(issuers))
	c.algorithms = make(map[string]bool)
	for i, o := range issuers {
		field := fmt.Sprintf("Issuers[%d].", i)
		iss := newIssuer(p, field, o)
		if o.Name == Any && len(issuers) > 1 {
			p.Add(field+"Name", o.Name, "Any must be the only issuer")
		}
		for _, other := range c.issuers[o.Name] {
			for alg := range other.methods {
				if iss.methods[alg] != nil {
					p.Add(field+"Algorithms", alg, "another issuer named %q has this algorithm", o.Name)
				}
			}
		}
		c.issuers[o.Name] = append(c.issuers[o.Name], iss)
		if o.Name == Any {
			c.anyIssuer = iss
		}
		c.padding = c.padding || iss.padding
		for alg := range iss.methods {
			c.algorithms[alg] = true
		}
	}
}

func newIssuer(p *problems.List, field string, o Issuer) *issuer {
	iss := &issuer{name: o.Name, maxTokenAge: o.MaxTokenAge, noExpiry: o.NoExpiry, padding: o.PaddedSegments}
	if o.Name == "" {
		p.AddHidden(field+"Name", `want the exact "iss" of the tokens, or Any`)
	}
	iss.setAudience(p, field+"Audience", o.Audience)
	iss.setClients(p, field+"Clients", o.Clients)
	iss.setTypes(p, field+"Types", o.Types)
	iss.setMethods(p, field+"Algorithms", o.Algorithms)
	checkRange(p, field+"MaxTokenAge", o.MaxTokenAge, maxTokenAge)
	iss.keys = newKeys(p, field+"Keys", o.Keys, iss)
	return iss
}

func (iss *issuer) setAudience(p *problems.List, field string, audience []string) {
	const want = "want the names of this service, or Any alone"
	if len(audience) == 0 {
		p.AddHidden(field, want)
	}
	if slices.Equal(audience, []string{Any}) {
		return
	}
	for _, name := range audience {
		if name == "" || name == Any {
			p.Add(field, name, want)
		}
	}
	iss.audience = slices.Clone(audience)
}

func (iss *issuer) setClients(p *problems.List, field string, clients []string) {
	if clients != nil && len(clients) == 0 {
		p.AddHidden(field, "want nil for any client, or at least one")
	}
	for _, client := range clients {
		if client == "" || client == Any {
			p.Add(field, client, "want client IDs")
		}
	}
	iss.clients = slices.Clone(clients)
}

func (iss *issuer) setTypes(p *problems.List, field string, types []string) {
	if types == nil {
		// For access tokens: it rejects logout tokens and DPoP proofs of the
		// same issuer.
		types = []string{"", "JWT", "at+jwt"}
	}
	if len(types) == 0 {
		p.AddHidden(field, `want nil for the default, or at least one "typ"`)
	}
	for _, typ := range types {
		if !syntax.FitsQuotedString(typ) {
			p.Add(field, typ, "want a media type")
		}
		iss.types = append(iss.types, cutApplication(typ))
	}
}

// cutApplication removes the prefix that a media type may be written without
// (RFC 7515 §4.1.9).
func cutApplication(typ string) string {
	const prefix = "application/"
	if len(typ) > len(prefix) && strings.EqualFold(typ[:len(prefix)], prefix) {
		return typ[len(prefix):]
	}
	return typ
}

func (iss *issuer) setMethods(p *problems.List, field string, algorithms []string) {
	if len(algorithms) == 0 {
		p.AddHidden(field, `want the accepted values of "alg"`)
	}
	iss.methods = make(map[string]jwt.SigningMethod, len(algorithms))
	var secret, public bool
	for _, alg := range algorithms {
		method := jwk.Method(alg)
		if method == nil {
			p.Add(field, alg, "unknown algorithm")
			continue
		}
		iss.methods[alg] = method
		secret = secret || jwk.IsHMAC(method)
		public = public || !jwk.IsHMAC(method)
	}
	if secret && public {
		// RFC 8725 §2.1: a public key must never be tried as a secret.
		p.Add(field, strings.Join(algorithms, " "), "HMAC and public-key algorithms need an Issuer each")
	}
}

// algorithms returns the sorted names of the methods.
func (iss *issuer) algorithms() []string { return slices.Sorted(maps.Keys(iss.methods)) }

// isNil reports whether an interface holds nothing or a nil.
func isNil(v any) bool {
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Map, reflect.Func, reflect.Interface, reflect.Slice:
		return r.IsNil()
	}
	return false
}
