package main

import (
	"bufio"
	"io"
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"
	"github.com/labstack/echo/v5"

	"github.com/seed450a7203/jwthttp"
)

// A handler behind the adapters of echo and gin can stream: the first line arrives
// before the handler continues.
func TestAdapters_streaming(t *testing.T) {
	auth := mustAuth(t)
	next := make(chan struct{})
	stream := func(w http.ResponseWriter) {
		_, _ = io.WriteString(w, "one\n")
		w.(http.Flusher).Flush()
		<-next
		_, _ = io.WriteString(w, "two\n")
	}
	ofEcho := echo.New()
	ofEcho.GET("/", func(c *echo.Context) error {
		stream(c.Response())
		return nil
	}, echo.WrapMiddleware(auth.Handler))
	ofGin := gin.New()
	ofGin.GET("/", ginAuth(auth), func(c *gin.Context) { stream(c.Writer) })
	for name, handler := range map[string]http.Handler{"echo": ofEcho, "gin": ofGin} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), "GET", serve(t, handler), nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", token(t, nil))
			resp, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body := bufio.NewReader(resp.Body)
			if line, err := body.ReadString('\n'); line != "one\n" {
				t.Errorf("%q, %v", line, err)
			}
			next <- struct{}{} // the handler continues only now
			if rest, err := io.ReadAll(body); string(rest) != "two\n" || err != nil {
				t.Errorf("%q, %v", rest, err)
			}
		})
	}
}

// The comment of fiberAuth says why it does not use these adaptors.
func TestFiberAdaptors_claims(t *testing.T) {
	auth := mustAuth(t)
	seen := make(chan bool, 1)
	handler := func(c fiber.Ctx) error {
		_, inContext := jwthttp.ClaimsFromContext[Claims](c.Context())
		_, inRequest := jwthttp.ClaimsFromContext[Claims](c.RequestCtx())
		seen <- inContext || inRequest
		return nil
	}
	inside, outside := fiber.New(), fiber.New()
	inside.Get("/", adaptor.HTTPMiddleware(auth.Handler), handler)
	outside.Get("/", handler)
	for name, url := range map[string]string{
		"adaptor.HTTPMiddleware":               listen(t, inside),
		"auth.Handler around adaptor.FiberApp": serve(t, auth.Handler(adaptor.FiberApp(outside))),
	} {
		if got := ask(t, "GET", url+"/"); got.status != 401 || got.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %d %v without a token", name, got.status, got.header)
		}
		if got := ask(t, "GET", url+"/", token(t, nil)); got.status != 200 {
			t.Errorf("%s: %d", name, got.status)
		} else if <-seen {
			t.Errorf("%s: the claims arrive now, so fiber.go can be simpler", name)
		}
	}
}

func TestFiberAuth_queryToken(t *testing.T) {
	auth, err := jwthttp.New[Claims](jwthttp.Options{
		Extractor: jwthttp.FromQuery("token"),
		Issuers: []jwthttp.Issuer{{
			Name: issuer, Audience: []string{audience}, Algorithms: []string{"HS256"}, Keys: jwthttp.StaticKey(secret),
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	app := fiber.New()
	app.Get("/", fiberAuth(auth), func(c fiber.Ctx) error {
		return c.SendString(c.OriginalURL() + " " + c.Query("token") + greet(c.Context()))
	})
	url := listen(t, app)
	secretQuery := "?a=b&token=" + token(t, nil)[len("Bearer "):] + "&c=d"
	if got := ask(t, "GET", url+"/"+secretQuery); got.status != 200 || got.body != "/?a=b&c=d alice of acme\n" {
		t.Errorf("%d %q", got.status, got.body)
	}
	if got := ask(t, "GET", url+"/?token=no"); got.status != 401 {
		t.Errorf("%d %q", got.status, got.body)
	}
}

// Later requests do not overwrite a Token that a handler of fiber keeps.
func TestFiberAuth_keptToken(t *testing.T) {
	kept := make(chan *jwthttp.Token, 1)
	app := fiber.New()
	app.Get("/", fiberAuth(mustAuth(t)), func(c fiber.Ctx) error {
		found, _ := jwthttp.TokenFromContext(c.Context())
		select {
		case kept <- found:
		default:
		}
		return nil
	})
	url := listen(t, app)
	first := token(t, nil)
	if got := ask(t, "GET", url+"/", first); got.status != 200 {
		t.Fatalf("status %d", got.status)
	}
	found := <-kept
	kept <- nil
	for range 20 {
		ask(t, "GET", url+"/", token(t, func(c *Claims) { c.Subject = "mallory" }))
	}
	if "Bearer "+found.Raw() != first {
		t.Error("it was overwritten")
	}
}

// Fiber's adaptor keeps the last field of a name, while a proxy may use the first.
func TestFiberAuth_repeatedFields(t *testing.T) {
	good := token(t, nil)[len("Bearer "):]
	for _, tt := range []struct {
		name      string
		extractor jwthttp.Extractor
		field     string
		values    []string
		want      int
	}{
		{"one", jwthttp.FromHeader("X-Token", ""), "X-Token", []string{good}, 200},
		{"a bad one before a good one", jwthttp.FromHeader("X-Token", ""), "X-Token", []string{"junk", good}, 400},
		{"a good one before a bad one", jwthttp.FromHeader("X-Token", ""), "X-Token", []string{good, "junk"}, 400},
		{"a cookie", jwthttp.FromCookie("t"), "Cookie", []string{"a=b; t=" + good}, 200},
		{"a cookie twice", jwthttp.FromCookie("t"), "Cookie", []string{"t=junk; t=" + good}, 400},
		{"no field at all", jwthttp.FromCookie("t"), "X-Token", []string{good}, 401},
	} {
		auth, err := jwthttp.New[Claims](jwthttp.Options{
			Extractor: tt.extractor,
			Issuers: []jwthttp.Issuer{{
				Name: issuer, Audience: []string{audience}, Algorithms: []string{"HS256"}, Keys: jwthttp.StaticKey(secret),
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		app := fiber.New()
		app.Get("/", fiberAuth(auth), func(c fiber.Ctx) error { return c.SendString(greet(c.Context())) })
		r, err := http.NewRequestWithContext(t.Context(), "GET", listen(t, app)+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header[tt.field] = tt.values
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.want {
			t.Errorf("%s: status %d, want %d", tt.name, resp.StatusCode, tt.want)
		}
	}
}
