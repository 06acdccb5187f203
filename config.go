package jwthttp

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/seed450a7203/jwthttp/internal/cache"
	"github.com/seed450a7203/jwthttp/internal/claims"
	"github.com/seed450a7203/jwthttp/internal/clientcert"
	"github.com/seed450a7203/jwthttp/internal/dpop"
	"github.com/seed450a7203/jwthttp/internal/keyset"
	"github.com/seed450a7203/jwthttp/internal/lookup"
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
	maxIssuerTTL         = 24 * time.Hour
	maxIssuers           = 1 << 24
)

// maxIssuerName is the maximum length in bytes of a name for FindIssuer.
const maxIssuerName = 512

// replayEntries is the size of a ReplayCache by default.
const replayEntries = 1 << 19

// meanCachedSize is the mean size in bytes of the tokens in a full cache.
const meanCachedSize = 2 << 10

// config is what New makes of Options. A Middleware and all that are derived
// from it share one. It is immutable.
type config struct {
	issuers    map[string][]*issuer  // by "iss"
	anyIssuer  *issuer               // for every "iss", or nil
	found      *lookup.Table[issuer] // of FindIssuer, or nil
	algorithms map[string]bool       // of all issuers; not used with FindIssuer
	padding    bool                  // of any issuer

	opts      Options                 // with defaults, and Leeway without its special values
	proofs    *dpop.Rules             // or nil
	cache     *cache.Cache[*verified] // or nil
	claims    *claims.Type
	claimsKey any // of the claims in a context
}

// issuer is the compiled form of an Issuer.
type issuer struct {
	Issuer  // Audience nil: any; Types without "application/"
	found   bool
	methods keyset.Methods
	keys    keyset.Keys
}

func newConfig(o Options) (*config, error) {
	p := problems.List{Prefix: "jwthttp: "}
	c := &config{opts: o}
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
	checkRange(&p, "IssuerTTL", o.IssuerTTL, maxIssuerTTL)
	checkRange(&p, "MaxIssuers", o.MaxIssuers, maxIssuers)
	if o.FindIssuer == nil && (o.IssuerTTL != 0 || o.MaxIssuers != 0) {
		p.AddHidden("FindIssuer", "IssuerTTL and MaxIssuers have no effect without it")
	}
	c.addIssuers(&p, o.Issuers)
	if d := o.DPoP; d != nil {
		c.proofs = dpop.NewRules(&p, dpop.Settings{BaseURLs: d.BaseURLs, Algorithms: d.Algorithms, MaxAge: d.MaxAge, Leeway: d.Leeway, NonceSecrets: d.NonceSecrets})
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	c.opts.Issuers = nil // the caller's
	c.setDefaults()
	return c, nil
}

func checkRange[N int | time.Duration](p *problems.List, field string, n, most N) {
	if n < 0 || n > most {
		p.Add(field, n, "want 0 to %v", most)
	}
}

func (c *config) setDefaults() {
	o := &c.opts
	if o.Extractor == nil {
		o.Extractor = FromHeader("Authorization", "Bearer")
		if o.DPoP != nil {
			o.Extractor = FirstOf(o.Extractor, FromHeader("Authorization", schemeDPoP))
		}
	}
	if o.DPoP != nil {
		own := *o.DPoP
		if own.Replay == nil {
			own.Replay = NewReplayCache(replayEntries).Fresh
		}
		o.DPoP = &own
	}
	switch {
	case o.Leeway == 0:
		o.Leeway = 30 * time.Second
	case o.Leeway < 0:
		o.Leeway = 0
	}
	if o.MaxTokenSize == 0 {
		o.MaxTokenSize = 8 << 10
	}
	if o.RevocationTimeout == 0 {
		o.RevocationTimeout = time.Second
	}
	if o.CrossOrigin == nil {
		o.CrossOrigin = http.NewCrossOriginProtection()
	}
	if o.ClientCertificate == nil {
		o.ClientCertificate = clientcert.FromTLS
	}
	if o.Realm == "" {
		o.Realm = defaultRealm
	}
	if o.FindIssuer != nil {
		ttl, size := cmp.Or(o.IssuerTTL, time.Minute), cmp.Or(o.MaxIssuers, 1000)
		c.found, c.padding = lookup.New(c.compileFound, ttl, size, maxIssuerName), true
	}
	if o.CacheSize > 0 {
		c.cache = cache.New[*verified](o.CacheSize, int64(o.CacheSize)*meanCachedSize)
	}
}

func (c *config) addIssuers(p *problems.List, issuers []Issuer) {
	if len(issuers) == 0 && c.opts.FindIssuer == nil {
		p.AddHidden("Issuers", "want at least one, or FindIssuer")
	}
	c.issuers = make(map[string][]*issuer, len(issuers))
	c.algorithms = make(map[string]bool)
	for i, o := range issuers {
		field := fmt.Sprintf("Issuers[%d].", i)
		iss := newIssuer(p, field, o)
		if o.Name == Any && (len(issuers) > 1 || c.opts.FindIssuer != nil) {
			p.Add(field+"Name", o.Name, "Any must be the only issuer")
		}
		for _, other := range c.issuers[o.Name] {
			for _, alg := range other.methods.Algorithms() {
				if iss.methods[alg] != nil && o.Name != "" {
					p.Add(field+"Algorithms", alg, "another issuer named %q has this algorithm", o.Name)
				}
			}
		}
		c.issuers[o.Name] = append(c.issuers[o.Name], iss)
		if o.Name == Any {
			c.anyIssuer = iss
		}
		c.padding = c.padding || iss.PaddedSegments
		for alg := range iss.methods {
			c.algorithms[alg] = true
		}
	}
}

// compileFound asks FindIssuer.
func (c *config) compileFound(ctx context.Context, name string) (*issuer, error) {
	o, err := c.opts.FindIssuer(ctx, name)
	if err != nil || o == nil {
		return nil, err
	}
	p := problems.List{Prefix: "FindIssuer: "}
	iss := newIssuer(&p, "", *o)
	if o.Name != name {
		p.Add("Name", o.Name, "want the name asked for")
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	iss.found = true
	return iss, nil
}

func newIssuer(p *problems.List, field string, o Issuer) *issuer {
	iss := &issuer{Issuer: o}
	if o.Name == "" {
		p.AddHidden(field+"Name", `want the exact "iss" of the tokens, or Any`)
	}
	iss.Audience, iss.Clients = slices.Clone(o.Audience), slices.Clone(o.Clients)
	if slices.Equal(o.Audience, []string{Any}) {
		iss.Audience = nil
	} else {
		p.CheckNames(field+"Audience", o.Audience, Any, "want the names of this service, or Any alone")
	}
	if o.Clients != nil {
		p.CheckNames(field+"Clients", o.Clients, Any, "want client IDs, or nil for any client")
	}
	iss.setTypes(p, field+"Types", o.Types)
	iss.methods = keyset.NewMethods(p, field+"Algorithms", o.Algorithms)
	checkRange(p, field+"MaxTokenAge", o.MaxTokenAge, maxTokenAge)
	iss.keys = newKeys(p, field+"Keys", o.Keys, iss)
	return iss
}

func (iss *issuer) setTypes(p *problems.List, field string, types []string) {
	if types == nil {
		// For access tokens: it rejects DPoP proofs, and logout tokens whose
		// "typ" is logout+jwt.
		types = []string{"", "JWT", "at+jwt"}
	}
	if len(types) == 0 {
		p.AddHidden(field, `want nil for the default, or at least one "typ"`)
	}
	iss.Types = nil
	for _, typ := range types {
		if !syntax.FitsQuotedString(typ) {
			p.Add(field, typ, "want a media type")
		}
		iss.Types = append(iss.Types, syntax.CutApplication(typ))
	}
}
