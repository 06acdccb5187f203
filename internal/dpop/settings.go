package dpop

import (
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/internal/jwk"
	"github.com/seed450a7203/jwthttp/internal/problems"
	"github.com/seed450a7203/jwthttp/internal/syntax"
)

// Settings are the options of a server. The zero values stand for defaults.
type Settings struct {
	BaseURLs       []string
	Algorithms     []string
	MaxAge, Leeway time.Duration
	NonceSecrets   [][]byte
}

// Limits of the settings.
const (
	maxMaxAge = 5 * time.Minute
	maxLeeway = time.Minute
	minSecret = 32
)

// algorithms is the default list.
var algorithms = []string{"ES256", "ES384", "ES512", "EdDSA", "Ed25519", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"}

// NewRules compiles settings. It adds what is wrong to p.
func NewRules(p *problems.List, s Settings) *Rules {
	r := &Rules{MaxAge: s.MaxAge, Leeway: s.Leeway, Algorithms: map[string]jwt.SigningMethod{}}
	if len(s.BaseURLs) == 0 {
		p.AddHidden("DPoP.BaseURLs", `want what clients put before the path of a request, such as "https://api.example"`)
	}
	for _, base := range s.BaseURLs {
		r.addBase(p, base)
	}
	if s.Algorithms == nil {
		s.Algorithms = algorithms
	}
	if len(s.Algorithms) == 0 {
		p.AddHidden("DPoP.Algorithms", "want nil for the default, or at least one")
	}
	for _, alg := range s.Algorithms {
		method := jwk.Method(alg)
		if method == nil || jwk.IsHMAC(method) {
			p.Add("DPoP.Algorithms", alg, "want a public-key algorithm")
		}
		r.Algorithms[alg] = method
	}
	r.AlgorithmList = strings.Join(s.Algorithms, " ")
	setDuration(p, "DPoP.MaxAge", &r.MaxAge, time.Minute, maxMaxAge)
	setDuration(p, "DPoP.Leeway", &r.Leeway, 10*time.Second, maxLeeway)
	if s.NonceSecrets != nil && len(s.NonceSecrets) == 0 {
		p.AddHidden("DPoP.NonceSecrets", "want nil for no nonces, or at least one")
	}
	for i, secret := range s.NonceSecrets {
		if len(secret) < minSecret {
			p.AddHidden(fmt.Sprintf("DPoP.NonceSecrets[%d]", i), "has %d bytes, want at least %d", len(secret), minSecret)
		}
	}
	if len(s.NonceSecrets) > 0 {
		r.Nonces = NewNonces(s.NonceSecrets)
	}
	return r
}

func (r *Rules) addBase(p *problems.List, base string) {
	u, err := syntax.ParsePublicURL(base)
	if err != nil {
		p.AddHidden("DPoP.BaseURLs", "%w", err)
		return
	}
	target, ok := ParseTarget(base)
	if !ok {
		p.Add("DPoP.BaseURLs", base, "invalid host")
	}
	if u.RawQuery != "" || u.ForceQuery {
		p.Add("DPoP.BaseURLs", base, "want no query")
	}
	target.path = strings.TrimSuffix(target.path, "/")
	r.Bases = append(r.Bases, target)
}

func setDuration(p *problems.List, field string, d *time.Duration, zero, most time.Duration) {
	if *d < 0 || *d > most {
		p.Add(field, *d, "want 0 to %v", most)
	}
	if *d == 0 {
		*d = zero
	}
}
