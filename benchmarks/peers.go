package benchmarks

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/http"
	"time"

	ginjwt "github.com/appleboy/gin-jwt/v2"
	auth0v2 "github.com/auth0/go-jwt-middleware/v2"
	validatorv2 "github.com/auth0/go-jwt-middleware/v2/validator"
	auth0v3 "github.com/auth0/go-jwt-middleware/v3"
	validatorv3 "github.com/auth0/go-jwt-middleware/v3/validator"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/jwtauth/v5"
	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	jwtv4 "github.com/golang-jwt/jwt/v4"
	"github.com/golang-jwt/jwt/v5"
	echojwt "github.com/labstack/echo-jwt/v4"
	"github.com/labstack/echo/v4"
	jwxv2 "github.com/lestrrat-go/jwx/v2/jwt"
	"github.com/lestrrat-go/jwx/v3/jwa"
	jwxv3 "github.com/lestrrat-go/jwx/v3/jwt"
	"github.com/modelcontextprotocol/go-sdk/auth"
)

func peers() []Contender {
	return []Contender{
		{Name: Auth0, Guard: auth0V2},
		{Name: Auth0V3, Guard: auth0V3},
		{Name: "chi/jwtauth", Guard: chiJWTAuth},
		{Name: "echo-jwt", Guard: echoJWT},
		{Name: "gin-jwt", Guard: ginJWT},
		// StaticKeySet has public keys only.
		{Name: "go-oidc", Lacks: []string{"HS256"}, Guard: goOIDC},
		{Name: "jwx-v3", Guard: jwxRequest},
		{Name: "go-jose-v4", Guard: goJOSE},
		{Name: "MCP-go-sdk", Guard: mcpSDK},
	}
}

// ownClaims is Own with the method that auth0's validators require.
type ownClaims struct{ Own }

func (*ownClaims) Validate(context.Context) error { return nil }

func auth0V2(f *Fixture, next http.Handler) (http.Handler, error) {
	v, err := validatorv2.New(
		func(context.Context) (any, error) { return f.Verifying, nil },
		validatorv2.SignatureAlgorithm(f.Alg), IssuerName, []string{audienceName},
		validatorv2.WithCustomClaims(func() validatorv2.CustomClaims { return &ownClaims{} }),
	)
	if err != nil {
		return nil, err
	}
	return auth0v2.New(v.ValidateToken).CheckJWT(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims := r.Context().Value(auth0v2.ContextKey{}).(*validatorv2.ValidatedClaims)
		expect(claims.CustomClaims.(*ownClaims).Role, role, next, w, r)
	})), nil
}

func auth0V3Validator(f *Fixture) (*validatorv3.Validator, error) {
	return validatorv3.New(
		validatorv3.WithKeyFunc(func(context.Context) (any, error) { return f.Verifying, nil }),
		validatorv3.WithAlgorithm(validatorv3.SignatureAlgorithm(f.Alg)),
		validatorv3.WithIssuer(IssuerName),
		validatorv3.WithAudience(audienceName),
		validatorv3.WithCustomClaims(func() *ownClaims { return &ownClaims{} }),
	)
}

func auth0V3(f *Fixture, next http.Handler) (http.Handler, error) {
	v, err := auth0V3Validator(f)
	if err != nil {
		return nil, err
	}
	m, err := auth0v3.New(auth0v3.WithValidator(v))
	if err != nil {
		return nil, err
	}
	return m.CheckJWT(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims := auth0v3.MustGetClaims[*validatorv3.ValidatedClaims](r.Context())
		expect(claims.CustomClaims.(*ownClaims).Role, role, next, w, r)
	})), nil
}

func chiJWTAuth(f *Fixture, next http.Handler) (http.Handler, error) {
	var verifying any
	if f.Alg != "HS256" {
		verifying = f.Verifying
	}
	ja := jwtauth.New(f.Alg, f.Verifying, verifying,
		jwxv2.WithIssuer(IssuerName), jwxv2.WithAudience(audienceName), jwxv2.WithRequiredClaim(jwxv2.ExpirationKey))
	inner := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, claims, _ := jwtauth.FromContext(r.Context())
		got, _ := claims["role"].(string)
		expect(got, role, next, w, r)
	})
	return jwtauth.Verifier(ja)(jwtauth.Authenticator(ja)(inner)), nil
}

// checkedClaims checks issuer and audience in a method that golang-jwt's
// validator calls, because echo-jwt has no options for them.
type checkedClaims struct{ Claims }

func (c *checkedClaims) Validate() error {
	switch {
	case c.ExpiresAt == nil:
		return jwt.ErrTokenRequiredClaimMissing
	case c.Issuer != IssuerName:
		return jwt.ErrTokenInvalidIssuer
	case len(c.Audience) != 1 || c.Audience[0] != audienceName:
		return jwt.ErrTokenInvalidAudience
	}
	return nil
}

func echoJWT(f *Fixture, next http.Handler) (http.Handler, error) {
	m, err := echojwt.Config{
		SigningKey:    f.Verifying,
		SigningMethod: f.Alg,
		NewClaimsFunc: func(echo.Context) jwt.Claims { return &checkedClaims{} },
	}.ToMiddleware()
	if err != nil {
		return nil, err
	}
	e := echo.New()
	e.Use(m)
	e.GET("/", func(c echo.Context) error {
		claims := c.Get("user").(*jwt.Token).Claims.(*checkedClaims)
		expect(claims.Role, role, next, c.Response(), c.Request())
		return nil
	})
	return e, nil
}

// ginJWT decodes into a map and checks methods and times. The Authorizator checks
// issuer and audience.
func ginJWT(f *Fixture, next http.Handler) (http.Handler, error) {
	m, err := ginjwt.New(&ginjwt.GinJWTMiddleware{
		KeyFunc:      func(*jwtv4.Token) (any, error) { return f.Verifying, nil },
		ParseOptions: []jwtv4.ParserOption{jwtv4.WithValidMethods([]string{f.Alg})},
		Authorizator: func(_ any, c *gin.Context) bool {
			claims := jwtv4.MapClaims(ginjwt.ExtractClaims(c))
			return claims.VerifyIssuer(IssuerName, true) && claims.VerifyAudience(audienceName, true)
		},
	})
	if err != nil {
		return nil, err
	}
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.Use(m.MiddlewareFunc())
	e.GET("/", func(c *gin.Context) {
		got, _ := ginjwt.ExtractClaims(c)["role"].(string)
		expect(got, role, next, c.Writer, c.Request)
	})
	return e, nil
}

func goOIDC(f *Fixture, next http.Handler) (http.Handler, error) {
	v := oidc.NewVerifier(IssuerName,
		&oidc.StaticKeySet{PublicKeys: []crypto.PublicKey{f.Verifying}},
		&oidc.Config{ClientID: audienceName, SupportedSigningAlgs: []string{f.Alg}})
	return guard(func(ctx context.Context, token string) (*Claims, error) {
		verified, err := v.Verify(ctx, token)
		if err != nil {
			return nil, err
		}
		var claims Claims
		return &claims, verified.Claims(&claims)
	}, next), nil
}

type jwxKey struct{}

func jwxRequest(f *Fixture, next http.Handler) (http.Handler, error) {
	alg, ok := jwa.LookupSignatureAlgorithm(f.Alg)
	if !ok {
		return nil, fmt.Errorf("jwx: unknown algorithm %q", f.Alg)
	}
	options := []jwxv3.ParseOption{
		jwxv3.WithKey(alg, f.Verifying), jwxv3.WithIssuer(IssuerName), jwxv3.WithAudience(audienceName),
		jwxv3.WithRequiredClaim(jwxv3.ExpirationKey), jwxv3.WithTypedClaim("permissions", []string{}),
	}
	inner := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := r.Context().Value(jwxKey{}).(jwxv3.Token)
		var got string
		_ = token.Get("role", &got)
		expect(got, role, next, w, r)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := jwxv3.ParseRequest(r, options...)
		if err != nil {
			http.Error(w, "bad token", http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), jwxKey{}, token)))
	}), nil
}

// joseClaims combines go-jose's registered claims with Own.
type joseClaims struct {
	josejwt.Claims
	Own
}

func goJOSE(f *Fixture, next http.Handler) (http.Handler, error) {
	algorithms := []jose.SignatureAlgorithm{jose.SignatureAlgorithm(f.Alg)}
	inner := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, _ := r.Context().Value(claimsKey{}).(*joseClaims)
		expect(claims.Role, role, next, w, r)
	})
	verify := func(token string) (*joseClaims, error) {
		parsed, err := josejwt.ParseSigned(token, algorithms)
		if err != nil {
			return nil, err
		}
		var claims joseClaims
		if err := parsed.Claims(f.Verifying, &claims); err != nil {
			return nil, err
		}
		if claims.Expiry == nil {
			return nil, errors.New("missing exp")
		}
		return &claims, claims.ValidateWithLeeway(josejwt.Expected{
			Issuer: IssuerName, AnyAudience: josejwt.Audience{audienceName}, Time: time.Now(),
		}, 0)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := bearer(r)
		if !ok {
			http.Error(w, "no token", http.StatusUnauthorized)
			return
		}
		claims, err := verify(token)
		if err != nil {
			http.Error(w, "bad token", http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), claimsKey{}, claims)))
	}), nil
}

func mcpSDK(f *Fixture, next http.Handler) (http.Handler, error) {
	parse := handParse(f)
	verify := func(ctx context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
		claims, err := parse(ctx, token)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", auth.ErrInvalidToken, err)
		}
		return &auth.TokenInfo{
			UserID: claims.Subject, Expiration: claims.ExpiresAt.Time, Extra: map[string]any{"claims": claims},
		}, nil
	}
	return auth.RequireBearerToken(verify, nil)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims := auth.TokenInfoFromContext(r.Context()).Extra["claims"].(*Claims)
		expect(claims.Role, role, next, w, r)
	})), nil
}
