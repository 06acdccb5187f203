// Package jws takes a compact token apart: strict base64url (RFC 7515 §2), the
// header, and the claims that a server needs. It verifies nothing.
package jws

import (
	"errors"
	"slices"
	"strings"

	"github.com/seed450a7203/jwthttp/internal/base64url"
	"github.com/seed450a7203/jwthttp/internal/strictjson"
)

// Token is a compact token taken apart. Nothing in it is verified.
type Token struct {
	Header
	Signed    string // header and payload as sent, which the signature covers
	Payload   string // JSON
	Signature []byte
	Padded    bool // a segment ends in padding
}

// Header has the members of a header that are read.
type Header struct {
	Algorithm string // "alg"
	KeyID     string // "kid"
	Type      string // "typ"; empty if it is missing
	HasKeyID  bool   // there is a "kid", which may be empty
}

// Errors of Parse. None of them quotes the token.
var (
	errSegments   = errors.New("not three base64url segments")
	errAlgorithm  = errors.New(`"alg" is missing or not a string`)
	errExtension  = errors.New(`header has "crit", "b64", "enc" or "zip"`)
	errHeaderType = errors.New("header parameter of the wrong type")
)

// Parse splits a token in compact serialization (RFC 7515 §7.1), and reads its
// header. With padding, segments may end in "=".
func Parse(text string, padding bool) (Token, error) {
	var values [headerMembers]strictjson.Value
	return ParseHeader(text, padding, headerNames, values[:])
}

// ParseHeader is like Parse, but stores the values of names, which begin with
// HeaderNames, in values.
func ParseHeader(text string, padding bool, names *strictjson.Names, values []strictjson.Value) (t Token, err error) {
	header, rest, ok := strings.Cut(text, ".")
	payload, signature, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || strings.Contains(signature, ".") {
		return Token{}, errSegments
	}
	t.Signed = text[:len(header)+1+len(payload)]
	if padding {
		size := len(header) + len(payload) + len(signature)
		header, payload, signature = trimPadding(header), trimPadding(payload), trimPadding(signature)
		t.Padded = size != len(header)+len(payload)+len(signature)
	}
	headerJSON, payloadJSON, ok := decodeTexts(header, payload)
	t.Payload = payloadJSON
	if t.Signature, ok2 = decodeBytes(signature); !ok || !ok2 {
		return Token{}, errSegments
	}
	if t.Header, err = parseHeader(headerJSON, names, values); err != nil {
		return Token{}, err
	}
	return t, nil
}

// trimPadding removes the padding of a segment of the right length (RFC 4648 §3.2).
func trimPadding(segment string) string {
	if len(segment)%4 != 0 {
		return segment
	}
	segment = strings.TrimSuffix(segment, "=")
	return strings.TrimSuffix(segment, "=")
}

// decodeTexts decodes two segments that are text.
func decodeTexts(header, payload string) (string, string, bool) {
	var stack [1 << 10]byte
	buffer := stack[:]
	split := base64url.DecodedLen(len(header))
	if n := split + base64url.DecodedLen(len(payload)); n > len(buffer) {
		buffer = make([]byte, n)
	}
	first, ok := base64url.Decode(buffer[:split], header)
	second, ok2 := base64url.Decode(buffer[split:], payload)
	if !ok || !ok2 {
		return "", "", false
	}
	text := string(buffer[:len(first)+len(second)]) // of a strict encoding, nothing is between them
	return text[:len(first)], text[len(first):], true
}

func decodeBytes(segment string) ([]byte, bool) {
	return base64url.Decode(make([]byte, base64url.DecodedLen(len(segment))), segment)
}

// Indexes of the members of a header.
const (
	headerAlg = iota
	headerKid
	headerTyp
	headerCrit
	headerMembers = headerCrit + 4
)

// HeaderNames returns the names of the header parameters that ParseHeader reads,
// in the order of the values it takes.
func HeaderNames() []string { return []string{"alg", "kid", "typ", "crit", "b64", "enc", "zip"} }

var headerNames = strictjson.NewNames(HeaderNames(), nil)

func parseHeader(text string, names *strictjson.Names, values []strictjson.Value) (h Header, err error) {
	if err := strictjson.Parse(text, names, values); err != nil {
		return Header{}, wrap("header", err)
	}
	// RFC 7515 §4.1.11: an extension that is not understood must be refused.
	// None is understood here, and "b64", "enc" and "zip" would change what the
	// signature covers.
	if slices.ContainsFunc(values[headerCrit:headerMembers], func(v strictjson.Value) bool { return v.Kind != strictjson.Absent }) {
		return Header{}, errExtension
	}
	var ok bool
	if h.Algorithm, ok = values[headerAlg].Unquote(); !ok {
		return Header{}, errAlgorithm
	}
	if kid := values[headerKid]; kid.Kind != strictjson.Absent {
		if h.KeyID, h.HasKeyID = kid.Unquote(); !h.HasKeyID || strings.ContainsFunc(h.KeyID, isControl) {
			return Header{}, errHeaderType
		}
	}
	if typ := values[headerTyp]; typ.Kind != strictjson.Absent {
		if h.Type, ok = typ.Unquote(); !ok || h.Type == "" {
			return Header{}, errHeaderType // RFC 7515 §4.1.9: a media type
		}
	}
	return h, nil
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }

// Segment decodes a segment of a token that Parse has accepted: 0 is the header,
// 1 the payload.
func Segment(text string, i int) []byte {
	parts := strings.SplitN(text, ".", 3)
	if i >= len(parts) {
		return nil
	}
	decoded, _ := decodeBytes(strings.TrimRight(parts[i], "="))
	return decoded
}
