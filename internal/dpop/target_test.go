package dpop_test

import (
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed450a7203/jwthttp/internal/dpop"
)

// Rule 53
func TestRules_Parse_target(t *testing.T) {
	const api, prefix = "https://api.example", "https://api.example/v1"
	for _, tt := range []struct {
		name, base, htu, target string
		ok                      bool
	}{
		{"equal", api, api + "/a/b", "/a/b", true},
		{"a query in the request", api, api + "/a", "/a?x=1", true},
		{"a query in htu", api, api + "/a?y=2", "/a?x=1", true},
		{"a fragment in htu", api, api + "/a#f", "/a", true},
		{"an empty path", api, api, "/", true},
		{"an empty path with a query", api, api + "?x", "/?y", true},
		{"scheme and host in upper case", api, "HTTPS://API.Example/a", "/a", true},
		{"the default port", api, "https://api.example:443/a", "/a", true},
		{"an empty port", api, "https://api.example:/a", "/a", true},
		{"the base's default port", "https://api.example:443", api + "/a", "/a", true},
		{"another port", "https://api.example:8443", "https://api.example:8443/a", "/a", true},
		{"the default port of http", "http://127.0.0.1", "http://127.0.0.1:80/a", "/a", true},
		{"IPv6", "http://[::1]:8080", "http://[::1]:8080/a", "/a", true},
		{"IPv6 without a port", "http://[::1]", "http://[::1]/a", "/a", true},
		{"an unreserved escape in htu", api, api + "/%7Ea%2e%41", "/~a.A", true},
		{"an unreserved escape in the request", api, api + "/~a", "/%7ea", true},
		{"escapes by case", api, api + "/%c3%a9", "/%C3%A9", true},
		{"an escape in the host", api, "https://%61pi.example/a", "/a", true},
		{"dot segments in htu", api, api + "/x/../a/./b", "/a/b", true},
		{"encoded dot segments in htu", api, api + "/x/%2E%2e/a", "/a", true},
		{"dot segments in the request", api, api + "/a", "/x/../a", true},
		{"dots at the end", api, api + "/a/b/..", "/a/", true},
		{"a dot at the end", api, api + "/a/.", "/a/", true},
		{"dots above the root", api, api + "/../../a", "/a", true},
		{"segments that begin with dots", api, api + "/.well-known/..a", "/.well-known/..a", true},
		{"what a browser leaves as it is", api, api + "/a|b^c", "/a|b^c", true},
		{"absolute form", api, api + "/a", "http://other.example/a?x", true},
		{"absolute form without a path", api, api + "/", "http://other.example", true},
		{"a base with a slash", api + "/", api + "/a", "/a", true},
		{"a prefix", prefix, prefix + "/a", "/a", true},
		{"a prefix alone", prefix, prefix, "/", true},
		{"a prefix and a slash", prefix, prefix + "/", "/?x", true},
		{"a prefix with a slash, alone", prefix + "/", prefix, "/", true},
		{"a prefix with a slash", prefix + "/", prefix + "/a", "/a", true},
		{"a prefix to normalize", api + "/%7e1", api + "/~1" + "/a", "/a", true},

		{"another path", api, api + "/b", "/a", false},
		{"a path by case", api, api + "/A", "/a", false},
		{"a longer path", api, api + "/ab", "/a", false},
		{"a shorter path", api, api + "/a", "/ab", false},
		{"another host", api, "https://evil.example/a", "/a", false},
		{"a host that is the same in lower case only by Unicode", "https://kite.example", "https://\u212aite.example/a", "/a", false},
		{"that host, encoded", "https://kite.example", "https://%E2%84%AAite.example/a", "/a", false},
		{"a host that is not ASCII", api, "https://\u00e4pi.example/a", "/a", false},
		{"a backslash after the host", api, `https://api.example\a`, "/a", false},
		{"a host after a backslash", api, `https://evil.example\api.example/a`, "/a", false},
		{"a scheme by Unicode", api, "http\u017f://api.example/a", "/a", false},
		{"a longer host", api, "https://api.example.evil/a", "/a", false},
		{"another scheme", api, "http://api.example/a", "/a", false},
		{"the default port of the other scheme", api, "https://api.example:80/a", "/a", false},
		{"a port with a zero", api, "https://api.example:0443/a", "/a", false},
		{"another port in htu", api, "https://api.example:8443/a", "/a", false},
		{"a port that is no number", api, "https://api.example:x/a", "/a", false},
		{"an open bracket", "http://[::1]", "http://[::1/a", "/a", false},
		{"brackets around nothing", "http://[::1]", "http://[]/a", "/a", false},
		{"two ports", api, "https://api.example:443:443/a", "/a", false},
		{"a trailing slash in htu", api, api + "/a/", "/a", false},
		{"a trailing slash in the request", api, api + "/a", "/a/", false},
		{"a double slash in htu", api, api + "//a", "/a", false},
		{"a double slash in the request", api, api + "/a", "//a", false},
		{"an encoded slash in htu", api, api + "/a%2Fb", "/a/b", false},
		{"an encoded slash in the request", api, api + "/a/b", "/a%2fb", false},
		{"an encoded question mark", api, api + "/a%3Fx", "/a?x", false},
		{"an escape of an escape", api, api + "/%2541", "/A", false},
		{"a user", api, "https://api.example@api.example/a", "/a", false},
		{"a user and password", api, "https://u:p@api.example/a", "/a", false},
		{"an empty user", api, "https://@api.example/a", "/a", false},
		{"an invalid escape in htu", api, api + "/%zz", "/%zz", false},
		{"a cut escape", api, api + "/%4", "/%4", false},
		{"a space", api, api + "/a b", "/a b", false},
		{"a space at the start", api, " " + api + "/a", "/a", false},
		{"a line break", api, api + "/a\n", "/a", false},
		{"a relative htu", api, "/a", "/a", false},
		{"htu without a scheme", api, "//api.example/a", "/a", false},
		{"htu without a host", api, "https:///a", "/a", false},
		{"another kind of URI", api, "urn:a", "/a", false},
		{"an empty htu", api, "", "/a", false},
		{"a raw fragment in the request", api, api + "/a", "/a#b", false},
		{"a raw fragment in absolute form", api, api + "/a", "http://api.example/a#b", false},
		{"asterisk form", api, api + "/", "*", false},
		{"authority form", api, api + "/", "api.example:443", false},
		{"no target", api, api + "/", "", false},
		{"without the prefix", prefix, api + "/a", "/a", false},
		{"the prefix twice", prefix, prefix + "/v1/a", "/a", false},
		{"a longer prefix", prefix, api + "/v12/a", "/a", false},
		{"a longer prefix alone", prefix, api + "/v12", "/", false},
		{"a prefix alone, for another path", prefix, prefix, "/a", false},
		{"a prefix alone, for two slashes", prefix, prefix, "//", false},
		{"another host and the prefix alone", prefix, "https://evil.example/v1", "/", false},
		{"dots out of the prefix", prefix, api + "/a", "/../a", false},
		{"dots into the prefix", prefix, prefix + "/a", "/../v1/a", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				header, claims := change(t, nil, object{"htu": tt.htu})
				_, err := newRules(t, tt.base).Parse([]string{header + "." + claims + rfcSignature}, "GET", tt.target)
				if (err == nil) != tt.ok {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}

// Rule 53
func TestParseTarget(t *testing.T) {
	for _, tt := range []struct{ name, uri, want string }{ // "": invalid
		{"the normal form", "https://api.example/a", "https://api.example/a"},
		{"everything", "HTTPS://API.example:443/x/../%7e%2f?x#y", "https://api.example/~%2F"},
		{"a port", "http://api.example:8080", "http://api.example:8080/"},
		{"another scheme", "ftp://api.example/", ""},
		{"a user", "https://u@api.example/", ""},
		{"a user that looks like a host", "https://api.example:443@evil.example/", ""},
		{"an empty user", "https://@api.example/", ""},
	} {
		got, ok := dpop.ParseTarget(tt.uri)
		if ok != (tt.want != "") || ok && got.String() != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.name, got, ok, tt.want)
		}
	}
}

// FuzzParseTarget checks that a URI and its normal form are the same for net/url,
// which neither removes dots nor knows default ports.
func FuzzParseTarget(f *testing.F) {
	for _, seed := range []string{"https://api.example/a/../%7e?x#y", "HTTP://[::1]:80/%2e/.//", "https://a:443", "https://a/%2F%zz", "http://a/.../..a/.."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		got, ok := dpop.ParseTarget(uri)
		if !ok {
			return
		}
		if again, ok := dpop.ParseTarget(got.String()); !ok || again != got {
			t.Fatalf("%q is %q, which is %q, %v", uri, got, again, ok)
		}
		u, err := url.Parse(uri)
		if err != nil {
			return
		}
		normal, err := url.Parse(got.String())
		if err != nil {
			t.Fatalf("%q is %q: %v", uri, got, err)
		}
		dotted := withoutDots(strings.NewReplacer("%2e", ".", "%2E", ".").Replace(u.EscapedPath()))
		want, err := url.PathUnescape(dotted)
		if err != nil {
			return
		}
		if normal.Path != want {
			t.Errorf("%q: path %q, want %q", uri, normal.Path, want)
		}
		port := u.Port()
		if u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
			port = ""
		}
		if normal.Scheme != u.Scheme || normal.Port() != port || u.User != nil ||
			normal.Hostname() != strings.ToLower(u.Hostname()) && !strings.Contains(u.Host, "%") && !strings.Contains(uri, "%") {
			t.Errorf("%q is %q", uri, got)
		}
	})
}

// FuzzTarget checks that net/url reads the host of the base, and the
// path of the request after that of the base, from each URL that is accepted.
func FuzzTarget(f *testing.F) {
	const base = "https://api.example/v1"
	for _, seed := range [][2]string{{base, "/"}, {base + "/../v1/a", "/a"}, {base + "/%2e/a", "/./a?x"}, {base + "//a", "//a"}, {"HTTPS://API.example:443/v1/a#x", "http://x/a"}, {base + "/a", "/b"}, {base + "/a%2Fb", "/a/b"}, {"https://evil.example/v1/a", "/a"}} {
		f.Add(seed[0], seed[1])
	}
	r := newRules(f, base)
	f.Fuzz(func(t *testing.T, htu, target string) {
		synctest.Test(t, func(t *testing.T) {
			header, claims := change(t, nil, object{"htu": htu})
			if _, err := r.Parse([]string{header + "." + claims + rfcSignature}, "GET", target); err != nil {
				return
			}
			u, err := url.Parse(htu)
			if err != nil {
				return
			}
			if u.Scheme != "https" || u.User != nil || u.Port() != "" && u.Port() != "443" || !strings.EqualFold(u.Hostname(), "api.example") && !strings.Contains(u.Host, "%") {
				t.Errorf("%q is accepted", htu)
			}
			v, err := url.ParseRequestURI(target)
			if err != nil {
				return
			}
			got, want := unescapedPath(t, u), "/v1"+unescapedPath(t, v)
			if got != want && !(got == "/v1" && want == "/v1/") {
				t.Errorf("%q is accepted for %q", htu, target)
			}
		})
	})
}

// unescapedPath returns the path without dot segments.
func unescapedPath(t *testing.T, u *url.URL) string {
	t.Helper()
	path, err := url.PathUnescape(withoutDots(strings.NewReplacer("%2e", ".", "%2E", ".").Replace(u.EscapedPath())))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// withoutDots takes the steps of RFC 3986 §5.2.4 one by one.
func withoutDots(in string) (out string) {
	if in == "" {
		return "/"
	}
	for in != "" {
		switch {
		case strings.HasPrefix(in, "/./"):
			in = in[2:]
		case in == "/.":
			in = "/"
		case strings.HasPrefix(in, "/../"):
			in = in[3:]
			out = out[:max(strings.LastIndexByte(out, '/'), 0)]
		case in == "/..":
			in = "/"
			out = out[:max(strings.LastIndexByte(out, '/'), 0)]
		default:
			end := strings.IndexByte(in[1:], '/') + 1
			if end == 0 {
				end = len(in)
			}
			out, in = out+in[:end], in[end:]
		}
	}
	return out
}
