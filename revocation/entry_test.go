package revocation_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed450a7203/jwthttp/revocation"
)

func TestKind_text(t *testing.T) {
	for _, tt := range []struct {
		kind revocation.Kind
		text string
	}{
		{revocation.ByID, "id"},
		{revocation.ByFingerprint, "fingerprint"},
		{revocation.BySubject, "subject"},
		{revocation.BySession, "session"},
		{revocation.ByClient, "client"},
		{revocation.ByIssuer, "issuer"},
	} {
		if tt.kind.String() != tt.text {
			t.Errorf("String of %d is %q", tt.kind, tt.kind)
		}
		text, err := json.Marshal(tt.kind)
		if err != nil || string(text) != `"`+tt.text+`"` {
			t.Errorf("%v in JSON is %s, %v", tt.kind, text, err)
		}
		var back revocation.Kind
		if err := json.Unmarshal(text, &back); err != nil || back != tt.kind {
			t.Errorf("%s is %v, %v", text, back, err)
		}
	}
	for _, kind := range []revocation.Kind{0, revocation.ByIssuer + 1, 255} {
		if _, err := kind.MarshalText(); err == nil || !strings.HasPrefix(kind.String(), "Kind(") {
			t.Errorf("%v has a text", kind)
		}
	}
	for _, text := range []string{"", "ID", "Kind(0)", "everyone"} {
		kind := revocation.BySubject
		if err := kind.UnmarshalText([]byte(text)); err == nil || kind != revocation.BySubject {
			t.Errorf("%q is %v, %v", text, kind, err)
		}
	}
}

func TestEntry_literals(t *testing.T) {
	if f := reflect.TypeFor[revocation.Entry]().Field(0); f.Name != "_" {
		t.Errorf("the first field is %q: unkeyed literals compile", f.Name)
	}
}

// Rule 42.
func TestEntry_errors(t *testing.T) {
	expiring := func(e revocation.Entry, expires time.Time) revocation.Entry {
		e.Expires = expires
		return e
	}
	fingerprint := strings.Repeat("a", 64)
	for _, tt := range []struct {
		name  string
		entry revocation.Entry
		want  string // part of the error; "": none
	}{
		{"zero", revocation.Entry{}, "Kind"},
		{"no kind", revocation.Entry{Issuer: issuerName, Value: "x", IssuedUntil: at(0)}, "Kind"},
		{"unknown kind", revocation.Entry{Kind: 7, Issuer: issuerName, Value: "x", IssuedUntil: at(0)}, "Kind"},
		{"no issuer", revocation.Entry{Kind: revocation.ByID, Value: "x"}, "Issuer"},
		{"no value", bySubject("", at(0)), "Value"},
		{"issuer with a value", revocation.Entry{Kind: revocation.ByIssuer, Issuer: issuerName, Value: issuerName, IssuedUntil: at(0)}, "Value"},
		{"issuer", revocation.Entry{Kind: revocation.ByIssuer, Issuer: issuerName, IssuedUntil: at(0)}, ""},
		{"no issuer, said so", revocation.Entry{Kind: revocation.ByID, Issuer: revocation.NoIssuer, Value: "x"}, ""},
		{"fingerprint", revocation.Entry{Kind: revocation.ByFingerprint, Issuer: issuerName, Value: fingerprint}, ""},
		{"fingerprint in upper case", revocation.Entry{Kind: revocation.ByFingerprint, Issuer: issuerName, Value: strings.ToUpper(fingerprint)}, "Value"},
		{"fingerprint that is too short", revocation.Entry{Kind: revocation.ByFingerprint, Issuer: issuerName, Value: fingerprint[2:]}, "Value"},
		{"no IssuedUntil", bySubject("alice", time.Time{}), "IssuedUntil"},
		{"IssuedUntil 5 minutes ahead", bySubject("alice", at(5*time.Minute)), ""},
		{"IssuedUntil a moment more than 5 minutes ahead", bySubject("alice", at(5*time.Minute+1)), "IssuedUntil"},
		{"Expires now", expiring(byID("x"), at(0)), "Expires"},
		{"Expires in a moment", expiring(byID("x"), at(1)), ""},
		{"Expires at IssuedUntil", expiring(bySubject("alice", at(time.Minute)), at(time.Minute)), "Expires"},
		{"Expires a moment after IssuedUntil", expiring(bySubject("alice", at(time.Minute)), at(time.Minute+1)), ""},
		{"Expires between now and IssuedUntil", expiring(bySubject("alice", at(time.Minute)), at(1)), "Expires"},
		{"Expires in the past after IssuedUntil", expiring(bySubject("alice", at(-time.Hour)), at(-time.Minute)), "Expires"},
		{"not UTF-8", byID("\xff"), "UTF-8"},
		{"issuer not UTF-8", revocation.Entry{Kind: revocation.ByID, Issuer: "\xff", Value: "x"}, "UTF-8"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var list revocation.List
			err := list.Revoke(t.Context(), tt.entry)
			switch {
			case tt.want == "" && (err != nil || list.Len() != 1):
				t.Errorf("error %v, %d entries", err, list.Len())
			case tt.want != "" && (err == nil || list.Len() != 0):
				t.Errorf("no error, %d entries", list.Len())
			case tt.want != "" && (!strings.HasPrefix(err.Error(), "revocation: ") || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("error %q, want %q in it", err, tt.want)
			}
		})
	}
}

// A Remove that cannot mean any tokens is a mistake that must not pass silently.
func TestList_Remove_errors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list revocation.List
		if err := list.Remove(t.Context(), bySubject("", at(0))); err == nil {
			t.Error("no error for an empty value")
		}
		if err := list.Remove(t.Context(), bySubject("alice", at(time.Hour))); err != nil {
			t.Errorf("times are not ignored: %v", err)
		}
	})
}
