package tutorials

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/revocation"
)

// The first tutorial: sign in, get a token for a day, and send it in Authorization
// without a scheme. The single-page app has another origin.
func bareToken(secret []byte) http.Handler {
	const app = "http://localhost:3000"
	type claims struct {
		Username string `json:"username"`
		jwt.RegisteredClaims
	}
	auth := must(jwthttp.New[claims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			// The tokens have neither claim. That is safe only because the secret
			// is used for nothing else.
			Name:        jwthttp.Any,
			Audience:    []string{jwthttp.Any},
			Algorithms:  []string{"HS256"},
			Keys:        jwthttp.StaticKey(secret),
			MaxTokenAge: 24 * time.Hour, // also if "exp" is later
		}},
		Extractor: jwthttp.FromHeader("Authorization", ""),
	}))

	mux := http.NewServeMux()
	mux.HandleFunc("POST /signin", func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Username, Password string }
		if !decode(w, r, &body) || !signedIn(w, body.Username, body.Password) {
			return
		}
		now := time.Now()
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{body.Username, jwt.RegisteredClaims{
			IssuedAt:  jwt.NewNumericDate(now),
			ExpiresAt: jwt.NewNumericDate(now.Add(24 * time.Hour)),
		}}).SignedString(secret)
		reply(w, map[string]string{"token": token}, err)
	})
	mux.Handle("GET /todos", auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := jwthttp.MustClaims[claims](r.Context())
		reply(w, map[string]any{"username": c.Username, "todos": []string{"buy milk"}}, nil)
	})))

	// CORS goes around the middleware, because a preflight request has no token,
	// and so that the app can read a 401.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Origin")
		if r.Header.Get("Origin") == app {
			w.Header().Set("Access-Control-Allow-Origin", app)
			if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
				w.Header().Set("Access-Control-Allow-Methods", "GET, POST")
				w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
				w.WriteHeader(http.StatusNoContent)
				return
			}
		}
		mux.ServeHTTP(w, r)
	})
}

func TestBareToken(t *testing.T) {
	secret := newSecret()
	c := serve(t, bareToken(secret))
	const app = "http://localhost:3000"

	c.do("GET", "/todos", "").want(401, "missing", `Bearer realm="restricted"`)
	c.do("POST", "/signin", `{"username":"alice","password":"guess"}`).want(401, "wrong name or password", "")
	token := c.do("POST", "/signin", `{"username":"alice","password":"open sesame"}`).want(200, "token", "").field("token")

	c.do("GET", "/todos", "", "Authorization", token).want(200, `"alice"`, "")
	c.do("GET", "/todos", "", "Authorization", tamper(token)).want(401, "signature", `error="invalid_token"`)
	c.do("GET", "/todos", "", "Authorization", promote(token, "alice", "admin")).want(401, "signature", `error="invalid_token"`)
	c.do("GET", "/todos", "", "Authorization", "Bearer "+token).want(400, "malformed", `error="invalid_request"`)
	c.do("GET", "/todos", "", "Authorization", sign(t, nil, jwt.MapClaims{"username": "alice", "iat": ago(0), "exp": ago(-time.Hour)})).
		want(401, "algorithm", `error="invalid_token"`)
	c.do("GET", "/todos", "", "Authorization", sign(t, secret, jwt.MapClaims{"username": "alice", "iat": ago(25 * time.Hour), "exp": ago(time.Hour)})).
		want(401, "expired", `error="invalid_token"`)
	c.do("GET", "/todos", "", "Authorization", sign(t, secret, jwt.MapClaims{"username": "alice", "iat": ago(25 * time.Hour), "exp": ago(-time.Hour)})).
		want(401, "too old", `error="invalid_token"`)
	c.do("GET", "/todos", "", "Authorization", sign(t, secret, jwt.MapClaims{"username": "alice", "iat": ago(0)})).
		want(401, "malformed", `error="invalid_token"`) // without exp

	preflight := c.do("OPTIONS", "/todos", "", "Origin", app, "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization")
	preflight.want(204, "", "").header("Access-Control-Allow-Origin", app).header("Access-Control-Allow-Headers", "Authorization, Content-Type")
	c.do("GET", "/todos", "", "Origin", app).want(401, "missing", "Bearer").header("Access-Control-Allow-Origin", app)
	c.do("GET", "/todos", "", "Origin", "https://evil.example", "Authorization", token).want(200, "", "").header("Access-Control-Allow-Origin", "")
}

// The second tutorial: a client gets a token at a token endpoint and sends it in
// the header field "token". Only the customer who placed an order can see it.
func tokenEndpoint(secret []byte) http.Handler {
	const me = "https://shop.example"
	owners := map[string]string{"1001": "alice", "1002": "bob"}
	auth := must(jwthttp.New[jwt.RegisteredClaims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name:       me,
			Audience:   []string{me},
			Algorithms: []string{"HS512"},
			Keys:       jwthttp.StaticKey(secret),
		}},
		Extractor: jwthttp.FromHeader("token", ""),
		Realm:     "shop",
	}))
	// The rule is on the route, where {id} is known. An order that does not exist
	// gets the same answer, which therefore does not tell which orders exist.
	owner := auth.Require(jwthttp.Rule(func(r *http.Request, c jwt.RegisteredClaims) error {
		if id := r.PathValue("id"); c.Subject == "" || owners[id] != c.Subject {
			return fmt.Errorf("order %q does not belong to %q", id, c.Subject)
		}
		return nil
	}))

	mux := http.NewServeMux()
	mux.HandleFunc("POST /auth/token", func(w http.ResponseWriter, r *http.Request) {
		if !signedIn(w, r.PostFormValue("username"), r.PostFormValue("password")) {
			return
		}
		const lifetime = 10 * time.Minute
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS512, jwt.RegisteredClaims{
			Issuer:    me,
			Audience:  jwt.ClaimStrings{me},
			Subject:   r.PostFormValue("username"),
			ExpiresAt: jwt.NewNumericDate(time.Now().Add(lifetime)),
		}).SignedString(secret)
		reply(w, map[string]any{"access_token": token, "expires_in": lifetime / time.Second}, err)
	})
	mux.Handle("GET /orders", auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := jwthttp.MustClaims[jwt.RegisteredClaims](r.Context())
		mine := []string{}
		for id, owner := range owners {
			if owner == c.Subject {
				mine = append(mine, id)
			}
		}
		reply(w, mine, nil)
	})))
	mux.Handle("GET /orders/{id}", owner.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reply(w, map[string]string{"order": r.PathValue("id")}, nil)
	})))
	return mux
}

func TestTokenEndpoint(t *testing.T) {
	secret := newSecret()
	c := serve(t, tokenEndpoint(secret))
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}

	c.do("POST", "/auth/token", "username=alice&password=guess", form...).want(401, "wrong name or password", "")
	alice := c.do("POST", "/auth/token", "username=alice&password=open+sesame", form...).want(200, `"expires_in":600`, "").field("access_token")
	bob := c.do("POST", "/auth/token", "username=bob&password=open+sesame", form...).field("access_token")

	c.do("GET", "/orders", "", "token", alice).want(200, `["1001"]`, "")
	c.do("GET", "/orders/1001", "", "token", alice).want(200, `"1001"`, "")
	c.do("GET", "/orders/1002", "", "token", bob).want(200, `"1002"`, "")
	c.do("GET", "/orders/1002", "", "token", alice).want(403, "forbidden", "")
	c.do("GET", "/orders/9999", "", "token", alice).want(403, "forbidden", "")
	c.do("GET", "/orders/1001", "").want(401, "missing", `Bearer realm="shop"`)
	c.do("GET", "/orders/1001", "", "Authorization", "Bearer "+alice).want(401, "missing", `Bearer realm="shop"`)
	c.do("GET", "/orders/1001", "", "token", "Bearer "+alice).want(400, "malformed", `error="invalid_request"`)
	c.do("GET", "/orders/1001", "", "token", tamper(alice)).want(401, "signature", `error="invalid_token"`)
	c.do("GET", "/orders/1001", "", "token", sign(t, secret, jwt.MapClaims{"sub": "alice", "exp": ago(-time.Hour)})).
		want(401, "algorithm", `error="invalid_token"`) // HS256
	r := c.request("GET", "/orders/1001", "")
	r.Header["Token"] = []string{alice, bob}
	c.send(r).want(400, "more than one token", `error="invalid_request"`)
}

// The third tutorial: a site with a cookie. The token has a role and permissions. A
// browser without a token is redirected to the login.
func roleSite(secret []byte) http.Handler {
	const me = "https://intranet.example"
	type claims struct {
		Role        string   `json:"role"`
		Permissions []string `json:"permissions"`
		jwt.RegisteredClaims
	}
	staff := map[string]claims{
		"alice": {Role: "editor", Permissions: []string{"articles:read", "articles:write"}},
		"bob":   {Role: "reader", Permissions: []string{"articles:read"}},
		"ada":   {Role: "admin"},
	}
	site := must(jwthttp.New[claims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name:       me,
			Audience:   []string{me},
			Algorithms: []string{"HS256"},
			Keys:       jwthttp.StaticKey(secret),
		}},
		Extractor: jwthttp.FromCookie("session"),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, e *jwthttp.Error) {
			if e.Status == http.StatusUnauthorized && strings.Contains(r.Header.Get("Accept"), "text/html") {
				http.Redirect(w, r, "/login", http.StatusSeeOther)
				return
			}
			jwthttp.WriteError(w, e)
		},
	}))
	role := func(want string) func(*http.Request) error {
		return jwthttp.Rule(func(_ *http.Request, c claims) error {
			if c.Role != want {
				return fmt.Errorf("role is %q, not %q", c.Role, want)
			}
			return nil
		})
	}
	permission := func(want string) func(*http.Request) error {
		return jwthttp.Rule(func(_ *http.Request, c claims) error {
			if !slices.Contains(c.Permissions, want) {
				return fmt.Errorf("no permission %q", want)
			}
			return nil
		})
	}
	page := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, text) })
	}

	// The rule for the prefix /admin/ also applies to routes that are added later.
	admin := http.NewServeMux()
	admin.Handle("GET /admin/users", page("all users"))
	admin.Handle("GET /admin/audit", page("the audit log"))

	// The whole site needs a token; two routes and the prefix need more. The token
	// is verified once per request.
	private := http.NewServeMux()
	private.Handle("GET /{$}", page("the front page"))
	private.Handle("GET /articles", site.Require(permission("articles:read")).Handler(page("articles")))
	private.Handle("POST /articles", site.Require(permission("articles:write")).Handler(page("written")))
	private.Handle("/admin/", site.Require(role("admin")).Handler(admin))

	// Public routes are registered outside of the middleware.
	public := http.NewServeMux()
	public.Handle("/", site.Handler(private))
	public.Handle("GET /login", page("please sign in"))
	public.Handle("POST /login", http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.PostFormValue("user")
		if !signedIn(w, name, r.PostFormValue("password")) {
			return
		}
		c := staff[name]
		c.RegisteredClaims = jwt.RegisteredClaims{
			Issuer:    me,
			Subject:   name,
			Audience:  jwt.ClaimStrings{me},
			ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
		}
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(secret)
		if err != nil {
			reply(w, nil, err)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "session", Value: token, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})))
	return public
}

func TestRoleSite(t *testing.T) {
	secret := newSecret()
	c := serve(t, roleSite(secret))
	signIn := func(name string) (field, cookie string) {
		a := c.do("POST", "/login", "user="+name+"&password=open+sesame", "Content-Type", "application/x-www-form-urlencoded").want(303, "", "")
		return "Cookie", a.cookie("session")
	}
	const accept, html = "Accept", "text/html"

	c.do("GET", "/login", "").want(200, "please sign in", "")
	for _, path := range []string{"/", "/articles", "/admin/users", "/added/later"} {
		c.do("GET", path, "", accept, html).want(303, "", "").header("Location", "/login")
		c.do("GET", path, "", accept, "application/json").want(401, "missing", "Bearer")
	}

	cookie, alice := signIn("alice")
	_, bob := signIn("bob")
	_, ada := signIn("ada")
	c.do("GET", "/", "", cookie, bob).want(200, "front page", "")
	c.do("GET", "/articles", "", cookie, bob).want(200, "articles", "")
	c.do("POST", "/articles", "", cookie, bob).want(403, "forbidden", "")
	c.do("POST", "/articles", "", cookie, alice).want(200, "written", "")
	c.do("POST", "/articles", "", cookie, alice, "Sec-Fetch-Site", "cross-site").want(403, "cross_origin", "")
	c.do("GET", "/articles", "", cookie, ada).want(403, "forbidden", "") // the role has no permissions
	for _, path := range []string{"/admin/users", "/admin/audit", "/admin/added/later"} {
		c.do("GET", path, "", cookie, alice, accept, html).want(403, "forbidden", "") // no redirect, because another login would not help
	}
	c.do("GET", "/admin/users", "", cookie, ada).want(200, "all users", "")
	c.do("GET", "/admin/audit", "", cookie, ada).want(200, "audit", "")

	elsewhere := sign(t, secret, jwt.MapClaims{"iss": "https://other.example", "aud": "https://intranet.example", "role": "admin", "exp": ago(-time.Hour)})
	c.do("GET", "/admin/users", "", cookie, "session="+elsewhere).want(401, "issuer", `error="invalid_token"`)
	c.do("GET", "/admin/users", "", cookie, "session="+elsewhere, accept, html).want(303, "", "").header("Location", "/login")
	c.do("GET", "/admin/users", "", cookie, "session="+promote(strings.TrimPrefix(alice, "session="), "editor", "admin")).want(401, "signature", `error="invalid_token"`)
}

// The fourth tutorial: a Bearer token from /login, and a route /validate that
// checks it.
func bearerValidate(secret []byte) http.Handler {
	const me = "https://auth.example"
	auth := must(jwthttp.New[jwt.MapClaims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name:       me,
			Audience:   []string{me},
			Algorithms: []string{"HS256"},
			Keys:       jwthttp.StaticKey(secret),
		}},
	}))
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Email, Password string }
		if !decode(w, r, &body) {
			return
		}
		name, ok := strings.CutSuffix(body.Email, "@example.com")
		if !ok {
			name = "" // no user
		}
		if !signedIn(w, name, body.Password) {
			return
		}
		now := time.Now()
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
			"iss": me, "aud": me, "sub": name, "email": body.Email, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		}).SignedString(secret)
		reply(w, map[string]string{"access_token": token, "token_type": "Bearer"}, err)
	})
	mux.Handle("GET /validate", auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := jwthttp.MustClaims[jwt.MapClaims](r.Context())
		token, _ := jwthttp.TokenFromContext(r.Context())
		reply(w, map[string]any{"valid": true, "email": c["email"], "seconds": int(time.Until(token.ExpiresAt).Seconds())}, nil)
	})))
	return mux
}

func TestBearerValidate(t *testing.T) {
	secret := newSecret()
	c := serve(t, bearerValidate(secret))
	const field = "Authorization"

	c.do("POST", "/login", `{"email":"alice@example.com","password":"guess"}`).want(401, "wrong name or password", "")
	c.do("POST", "/login", `{"email":"alice@evil.example","password":"open sesame"}`).want(401, "wrong name or password", "")
	c.do("POST", "/login", `{`).want(400, "bad request", "")
	token := c.do("POST", "/login", `{"email":"alice@example.com","password":"open sesame"}`).want(200, `"Bearer"`, "").field("access_token")

	c.do("GET", "/validate", "", field, "Bearer "+token).want(200, `"valid":true`, "")
	c.do("GET", "/validate", "", field, "bearer "+token).want(200, "alice@example.com", "") // RFC 9110 §11.1
	c.do("GET", "/validate", "").want(401, "missing", `Bearer realm="restricted"`)
	c.do("GET", "/validate", "", field, "Basic YWxpY2U6eA==").want(401, "missing", `Bearer realm="restricted"`)
	c.do("GET", "/validate", "", field, "Bearer").want(400, "malformed", `error="invalid_request"`)
	c.do("GET", "/validate", "", field, "Bearer "+token+" "+token).want(400, "malformed", `error="invalid_request"`)
	c.do("GET", "/validate", "", field, "Bearer not.a.token").want(401, "malformed", `error="invalid_token"`)
	c.do("GET", "/validate", "", field, "Bearer "+tamper(token)).want(401, "signature", `error="invalid_token"`)
	good := jwt.MapClaims{"iss": "https://auth.example", "aud": "https://auth.example", "exp": ago(-time.Hour)}
	c.do("GET", "/validate", "", field, "Bearer "+sign(t, secret, good)).want(200, `"valid":true`, "")
	c.do("GET", "/validate", "", field, "Bearer "+sign(t, newSecret(), good)).want(401, "signature", `error="invalid_token"`)
	c.do("GET", "/validate", "", field, "Bearer "+sign(t, nil, good)).want(401, "algorithm", `error="invalid_token"`)
	good["exp"] = ago(time.Minute)
	c.do("GET", "/validate", "", field, "Bearer "+sign(t, secret, good)).want(401, "expired", `error="invalid_token"`)
}

// The fifth tutorial: the token has the IP address of the client and is accepted
// from there only. That stops a thief elsewhere, and also users whose address
// changes. Behind a proxy RemoteAddr is that of the proxy; then take the address
// from a header field that only the proxy can set.
func addressClaim(secret []byte) http.Handler {
	type claims struct {
		IP netip.Addr `json:"ip"`
		jwt.RegisteredClaims
	}
	client := func(r *http.Request) (netip.Addr, error) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			return netip.Addr{}, err
		}
		addr, err := netip.ParseAddr(host)
		return addr.Unmap(), err // IPv4 addresses may be written as IPv6
	}
	auth := must(jwthttp.New[claims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name:       "https://bank.example",
			Audience:   []string{jwthttp.Any},
			Algorithms: []string{"HS256"},
			Keys:       jwthttp.StaticKey(secret),
		}},
	})).Require(jwthttp.Rule(func(r *http.Request, c claims) error {
		addr, err := client(r)
		if err != nil {
			return err
		}
		if !c.IP.IsValid() || c.IP.Unmap() != addr {
			// A 401 rather than a 403: another token of the user may suffice.
			return &jwthttp.Error{Code: "invalid_token", Reason: "address", Description: "token is for another address",
				Err: fmt.Errorf("token for %v, request from %v", c.IP, addr)}
		}
		return nil
	}))

	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/login", func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Login, Password string }
		if !decode(w, r, &body) || !signedIn(w, body.Login, body.Password) {
			return
		}
		addr, err := client(r)
		if err != nil {
			reply(w, nil, err)
			return
		}
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{addr, jwt.RegisteredClaims{
			Issuer:    "https://bank.example",
			Subject:   body.Login,
			ExpiresAt: jwt.NewNumericDate(time.Now().Add(5 * time.Minute)),
		}}).SignedString(secret)
		reply(w, map[string]string{"jwt": token}, err)
	})
	mux.Handle("GET /api/balance", auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reply(w, map[string]int{"balance": 42}, nil)
	})))
	return mux
}

func TestAddressClaim(t *testing.T) {
	secret := newSecret()
	c := serve(t, addressClaim(secret))
	token := c.do("POST", "/api/login", `{"login":"alice","password":"open sesame"}`).want(200, "jwt", "").field("jwt")

	c.do("GET", "/api/balance", "").want(401, "missing", "Bearer")
	c.do("GET", "/api/balance", "", "Authorization", "Bearer "+token).want(200, "42", "")
	// A header field of the client changes nothing.
	for ip, status := range map[string]int{"127.0.0.1": 200, "::ffff:127.0.0.1": 200, "127.0.0.2": 401, "127.0.0.10": 401, "": 401} {
		token := sign(t, secret, jwt.MapClaims{"iss": "https://bank.example", "ip": ip, "exp": ago(-time.Hour)})
		c.do("GET", "/api/balance", "", "Authorization", "Bearer "+token, "X-Forwarded-For", "127.0.0.2").want(status, "", "")
	}
	notAnAddress := sign(t, secret, jwt.MapClaims{"iss": "https://bank.example", "ip": "here", "exp": ago(-time.Hour)})
	c.do("GET", "/api/balance", "", "Authorization", "Bearer "+notAnAddress).want(401, "claims", `error="invalid_token"`)
	c.do("GET", "/api/balance", "", "Authorization", "Bearer "+promote(token, "127.0.0.1", "127.0.0.2")).want(401, "signature", `error="invalid_token"`)

	if runtime.GOOS != "linux" {
		t.Skip("only Linux has all of 127.0.0.0/8: no request from another address")
	}
	thief := *c
	transport := &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	thief.transport = transport
	thief.do("GET", "/api/balance", "", "Authorization", "Bearer "+token).want(401, "invalid_token", `error="invalid_token"`)
	own := thief.do("POST", "/api/login", `{"login":"bob","password":"open sesame"}`).want(200, "jwt", "").field("jwt")
	thief.do("GET", "/api/balance", "", "Authorization", "Bearer "+own).want(200, "42", "")
	c.do("GET", "/api/balance", "", "Authorization", "Bearer "+own).want(401, "invalid_token", `error="invalid_token"`)
}

// The sixth tutorial: three ways to log out. Deleting the cookie leaves the token
// valid; a list revokes one token; a new secret invalidates all tokens.
func threeEndings() http.Handler {
	const me = "https://notes.example"
	// There is one key at a time, with a new kid each time.
	var current atomic.Pointer[jwthttp.KeySet]
	newKeys := func() { current.Store(&jwthttp.KeySet{rand.Text(): newSecret()}) }
	newKeys()

	var denied revocation.List
	auth := must(jwthttp.New[jwt.RegisteredClaims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name:       me,
			Audience:   []string{me},
			Algorithms: []string{"HS256"},
			// New copies a KeySet. A Keyfunc is called for each request.
			Keys: jwthttp.Keyfunc(func(t *jwt.Token) (any, error) {
				return current.Load().KeyfuncCtx(context.Background())(t)
			}),
		}},
		Extractor: jwthttp.FromCookie("jwt"),
		Revoked:   denied.Revoked,
	}))
	operator := auth.Require(jwthttp.Rule(func(_ *http.Request, c jwt.RegisteredClaims) error {
		if c.Subject != "ada" {
			return errors.New("not the operator")
		}
		return nil
	}))
	setCookie := func(w http.ResponseWriter, token string, maxAge int) {
		http.SetCookie(w, &http.Cookie{Name: "jwt", Value: token, Path: "/", MaxAge: maxAge, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
		w.WriteHeader(http.StatusNoContent)
	}

	mux := http.NewServeMux()
	mux.HandleFunc("POST /session", func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Name, Pass string }
		if !decode(w, r, &body) || !signedIn(w, body.Name, body.Pass) {
			return
		}
		t := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
			Issuer: me, Subject: body.Name, Audience: jwt.ClaimStrings{me}, ID: rand.Text(),
			ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
		})
		for kid, secret := range *current.Load() {
			t.Header["kid"] = kid
			token, err := t.SignedString(secret)
			if err != nil {
				reply(w, nil, err)
				return
			}
			setCookie(w, token, 3600)
		}
	})
	mux.Handle("GET /notes", auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reply(w, []string{"a note"}, nil)
	})))
	mux.HandleFunc("POST /forget", func(w http.ResponseWriter, r *http.Request) { setCookie(w, "", -1) })
	mux.Handle("DELETE /session", auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := jwthttp.TokenFromContext(r.Context())
		if err := denied.RevokeToken(context.WithoutCancel(r.Context()), token); err != nil {
			reply(w, nil, err)
			return
		}
		setCookie(w, "", -1)
	})))
	mux.Handle("POST /secret", operator.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		newKeys()
		w.WriteHeader(http.StatusNoContent)
	})))
	return mux
}

func TestThreeEndings(t *testing.T) {
	c := serve(t, threeEndings())
	signIn := func(name string) string {
		return c.do("POST", "/session", `{"name":"`+name+`","pass":"open sesame"}`).want(204, "", "").cookie("jwt")
	}
	alice, phone, bob, ada := signIn("alice"), signIn("alice"), signIn("bob"), signIn("ada")
	for _, cookie := range []string{alice, phone, bob, ada} {
		c.do("GET", "/notes", "", "Cookie", cookie).want(200, "a note", "")
	}

	// The cookie is deleted, and a copy of the token is still accepted.
	if gone := c.do("POST", "/forget", "", "Cookie", alice).want(204, "", "").cookie("jwt"); gone != "jwt=" {
		t.Errorf("the cookie is %q", gone)
	}
	c.do("GET", "/notes", "", "Cookie", "jwt=").want(401, "missing", "Bearer") // after the deletion
	c.do("GET", "/notes", "", "Cookie", alice).want(200, "a note", "")

	// One token is revoked, another token of the user is not.
	c.do("DELETE", "/session", "", "Cookie", alice, "Origin", "https://evil.example").want(403, "cross_origin", "")
	c.do("DELETE", "/session", "", "Cookie", alice).want(204, "", "")
	c.do("GET", "/notes", "", "Cookie", alice).want(401, "revoked", `error="invalid_token"`)
	c.do("DELETE", "/session", "", "Cookie", alice).want(401, "revoked", `error="invalid_token"`)
	c.do("GET", "/notes", "", "Cookie", phone).want(200, "a note", "")

	// All tokens become invalid, also that of the operator.
	c.do("POST", "/secret", "").want(401, "missing", "Bearer")
	c.do("POST", "/secret", "", "Cookie", bob).want(403, "forbidden", "")
	c.do("POST", "/secret", "", "Cookie", ada).want(204, "", "")
	for _, cookie := range []string{alice, phone, bob, ada} {
		c.do("GET", "/notes", "", "Cookie", cookie).want(401, "unknown token key", `error="invalid_token"`)
	}
	c.do("GET", "/notes", "", "Cookie", signIn("bob")).want(200, "a note", "")
}

// The rest is not part of a tutorial.

// signedIn checks a made-up password and answers if it is wrong. See ../login for a
// real check.
func signedIn(w http.ResponseWriter, name, password string) bool {
	known := slices.Contains([]string{"alice", "bob", "ada"}, name)
	if subtle.ConstantTimeCompare([]byte(password), []byte("open sesame")) == 1 && known {
		return true
	}
	http.Error(w, "wrong name or password", http.StatusUnauthorized)
	return false
}

func decode(w http.ResponseWriter, r *http.Request, body any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10)).Decode(body); err != nil {
		http.Error(w, "bad request", http.StatusBadRequest)
		return false
	}
	return true
}

func reply(w http.ResponseWriter, v any, err error) {
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newSecret() []byte {
	secret := make([]byte, 64)
	rand.Read(secret)
	return secret
}

func ago(d time.Duration) int64 { return time.Now().Add(-d).Unix() }

// sign signs a token with secret, or makes an unsigned one if secret is nil.
func sign(t *testing.T, secret []byte, c jwt.MapClaims) string {
	t.Helper()
	var method jwt.SigningMethod = jwt.SigningMethodHS256
	var key any = secret
	if secret == nil {
		method, key = jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType
	}
	token, err := jwt.NewWithClaims(method, c).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// tamper changes the first character of a token's signature.
func tamper(token string) string {
	at := strings.LastIndex(token, ".") + 1
	other := "A"
	if token[at] == 'A' {
		other = "B"
	}
	return token[:at] + other + token[at+1:]
}

// promote changes a word of the payload and keeps the signature.
func promote(token, from, to string) string {
	parts := strings.Split(token, ".")
	payload := must(jwt.NewParser().DecodeSegment(parts[1]))
	changed := strings.ReplaceAll(string(payload), from, to)
	if changed == string(payload) {
		panic(from + " is not in the token")
	}
	parts[1] = (&jwt.Token{}).EncodeSegment([]byte(changed))
	return strings.Join(parts, ".")
}

// client sends requests to one program and does not follow redirects.
type client struct {
	t         *testing.T
	url       string
	transport http.RoundTripper
}

func serve(t *testing.T, h http.Handler) *client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return &client{t, server.URL, server.Client().Transport}
}

func (c *client) request(method, path, body string, fields ...string) *http.Request {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	return r
}

func (c *client) do(method, path, body string, fields ...string) answer {
	c.t.Helper()
	return c.send(c.request(method, path, body, fields...))
}

func (c *client) send(r *http.Request) answer {
	c.t.Helper()
	resp, err := c.transport.RoundTrip(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer{c.t, r.Method + " " + r.URL.Path, resp, string(body)}
}

type answer struct {
	t    *testing.T
	what string
	resp *http.Response
	body string
}

// want checks the status, a part of the body, and a part of the challenge. A 403
// must have no challenge, because the programs use no scopes.
func (a answer) want(status int, body, challenge string) answer {
	a.t.Helper()
	got := a.resp.Header.Get("WWW-Authenticate")
	if a.resp.StatusCode != status || !strings.Contains(a.body, body) {
		a.t.Errorf("%s: got %d %q, want %d with %q", a.what, a.resp.StatusCode, a.body, status, body)
	}
	if !strings.Contains(got, challenge) || challenge == "" && got != "" && status == http.StatusForbidden {
		a.t.Errorf("%s: got challenge %q, want %q in it", a.what, got, challenge)
	}
	return a
}

func (a answer) header(name, want string) answer {
	a.t.Helper()
	if got := a.resp.Header.Get(name); got != want {
		a.t.Errorf("%s: %s is %q, want %q", a.what, name, got, want)
	}
	return a
}

// field returns a member of a JSON answer.
func (a answer) field(name string) string {
	a.t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		a.t.Fatalf("%s: %v in %q", a.what, err, a.body)
	}
	text, _ := v[name].(string)
	return text
}

// cookie returns a cookie of the answer, as a browser sends it back.
func (a answer) cookie(name string) string {
	a.t.Helper()
	for _, c := range a.resp.Cookies() {
		if c.Name == name && c.HttpOnly && c.Secure {
			return c.Name + "=" + c.Value
		}
	}
	a.t.Fatalf("%s: no cookie %s", a.what, name)
	return ""
}
