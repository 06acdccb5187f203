package dpop

import (
	"strings"
	"unicode/utf8"
)

// Target is an absolute URI of http or https in the normal form of RFC 3986 §6.2.2
// and §6.2.3, without query and fragment. Equal Targets name the same resource.
// A Target of ParseTarget has a path that begins with a slash.
type Target struct{ scheme, host, port, path string }

// ParseTarget returns the normal form of a URI. It returns false for what is not
// an absolute URI of http or https, and if it has a user.
func ParseTarget(uri string) (Target, bool) { return parseTarget(uri, "?#") }

func parseTarget(uri, end string) (t Target, ok bool) {
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok || strings.ContainsFunc(uri, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return Target{}, false
	}
	t.scheme = strings.ToLower(scheme)
	if t.scheme != "https" && t.scheme != "http" {
		return Target{}, false
	}
	if i := strings.IndexAny(rest, end); i >= 0 {
		rest = rest[:i]
	}
	authority, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	if !t.setAuthority(authority) {
		return Target{}, false
	}
	t.path, ok = normalPath(path)
	return t, ok
}

func (t *Target) setAuthority(authority string) (ok bool) {
	// Outside ASCII, lower case makes another name of some hosts.
	if strings.ContainsFunc(authority, func(r rune) bool { return r == '@' || r >= utf8.RuneSelf }) {
		return false
	}
	host, port := authority, ""
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		host, port = authority[:i], authority[i+1:]
	}
	name, isAddress := strings.CutPrefix(host, "[") // IPv6
	if isAddress {
		name, isAddress = strings.CutSuffix(name, "]")
	} else {
		isAddress = !strings.Contains(name, ":")
	}
	if !isAddress || name == "" || strings.ContainsAny(name, "[]") || strings.Trim(port, "0123456789") != "" {
		return false
	}
	if t.scheme == "https" && port == "443" || t.scheme == "http" && port == "80" {
		port = ""
	}
	t.port = port
	host, ok = normalPercent(host)
	t.host = strings.ToLower(host)
	return ok
}

// hasPath reports whether url is the base t, which ends without a slash, followed
// by path. A base alone stands for its root: a proxy that removes the base has to
// send a path.
func (t Target) hasPath(url Target, path string) bool {
	rest, ok := strings.CutPrefix(url.path, t.path)
	return ok && (rest == path || rest == "" && path == "/") && url.scheme == t.scheme && url.host == t.host && url.port == t.port
}

// pathOf returns the normal form of the path of a request target: in origin form,
// or in absolute form (RFC 9112 §3.2), of which the authority does not count. A
// base comes before it afterwards, so that no dot segment leaves the base.
func pathOf(target string) (string, bool) {
	if !strings.HasPrefix(target, "/") {
		t, ok := parseTarget(target, "?")
		return t.path, ok
	}
	path, _, _ := strings.Cut(target, "?")
	return normalPath(path)
}

// normalPath returns the normal form of an absolute or empty path.
func normalPath(path string) (string, bool) {
	path, ok := normalPercent(path)
	if path == "" {
		return "/", ok
	}
	return removeDots(path), ok
}

// normalPercent decodes what need not be encoded, and writes the other escapes in
// upper case (RFC 3986 §6.2.2). It returns false for an invalid escape.
func normalPercent(s string) (string, bool) {
	if !strings.Contains(s, "%") {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if len(s)-i < 3 {
			return "", false
		}
		high, ok := hexDigit(s[i+1])
		low, ok2 := hexDigit(s[i+2])
		if !ok || !ok2 {
			return "", false
		}
		i += 2
		if c := high<<4 | low; isUnreserved(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', upperHex[high], upperHex[low])
		}
	}
	return string(b), true
}

const upperHex = "0123456789ABCDEF"

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// isUnreserved is for RFC 3986 §2.3.
func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// removeDots applies RFC 3986 §5.2.4 to an absolute path.
func removeDots(path string) string {
	if !strings.Contains(path, "/.") {
		return path
	}
	segments := strings.Split(path[1:], "/")
	kept := segments[:0]
	for i, segment := range segments {
		switch segment {
		case "..":
			kept = kept[:max(len(kept)-1, 0)]
		case ".":
		default:
			kept = append(kept, segment)
			continue
		}
		if i == len(segments)-1 { // a folder
			kept = append(kept, "")
		}
	}
	return "/" + strings.Join(kept, "/")
}

// String returns the URI.
func (t Target) String() string {
	port := t.port
	if port != "" {
		port = ":" + port
	}
	return t.scheme + "://" + t.host + port + t.path
}
