package clientcert_test

import (
	"bytes"
	"encoding/base64"
	"net/netip"
	"strings"
	"testing"

	"github.com/seed450a7203/jwthttp/internal/clientcert"
)

// The example of RFC 9440, appendix A.
const example = "MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBB" +
	"dXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVkaWF0ZSBDQTAeFw0yMDAx" +
	"MTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZI" +
	"zj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p" +
	"5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIw" +
	"ADAfBgNVHSMEGDAWgBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMC" +
	"BsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1w" +
	"bGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMje" +
	"SkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk="

// Rule 50
func TestRead(t *testing.T) {
	good := ":" + example + ":"
	full := ":" + strings.Repeat("AAAA", 4095) + ":"
	for _, tt := range []struct {
		name   string
		fields []string
		peer   string
		want   string // base64; empty: none
		ok     bool
	}{
		{"the example", []string{good}, "10.0.0.1:1234", example, true},
		{"spaces around it", []string{"  " + good + " "}, "10.0.0.1:1234", example, true},
		{"the largest field", []string{full + "  "}, "10.0.0.1:1", full[1 : len(full)-1], true},
		{"an IPv6 proxy", []string{good}, "[2001:db8::1]:1234", example, true},
		{"an IPv6 proxy with a zone", []string{good}, "[2001:db8::1%eth0]:1234", example, true},
		{"IPv4 in IPv6", []string{good}, "[::ffff:10.0.0.1]:1234", example, true},
		{"no field", nil, "10.0.0.1:1234", "", true},
		{"no field and no address", nil, "@", "", true},
		{"another peer", []string{good}, "10.1.0.1:1234", "", true},
		{"another peer with two fields", []string{good, good}, "10.1.0.1:1234", "", true},
		{"an IPv6 peer", []string{good}, "[2001:db9::1]:1234", "", true},
		{"a unix socket", []string{good}, "@", "", false},
		{"no address", []string{good}, "", "", false},
		{"two fields", []string{good, good}, "10.0.0.1:1234", "", false},
		{"two items", []string{good + ", " + good}, "10.0.0.1:1234", "", false},
		{"a parameter", []string{good + ";a=1"}, "10.0.0.1:1234", "", false},
		{"no colons", []string{example}, "10.0.0.1:1234", "", false},
		{"one colon", []string{":" + example}, "10.0.0.1:1234", "", false},
		{"a colon alone", []string{":"}, "10.0.0.1:1234", "", false},
		{"nothing between the colons", []string{"::"}, "10.0.0.1:1234", "", false},
		{"an empty field", []string{""}, "10.0.0.1:1234", "", false},
		{"the other alphabet", []string{":_-8=:"}, "10.0.0.1:1234", "", false},
		{"no padding", []string{":AAA:"}, "10.0.0.1:1234", "", false},
		{"trailing bits", []string{":AAB=:"}, "10.0.0.1:1234", "", false},
		{"a line break", []string{":AAAA\r\nAAAA:"}, "10.0.0.1:1234", "", false},
		{"a space inside", []string{":AAAA AAAA:"}, "10.0.0.1:1234", "", false},
		{"PEM", []string{"-----BEGIN CERTIFICATE-----"}, "10.0.0.1:1234", "", false},
		{"more than 16 KiB", []string{":" + strings.Repeat("AAAA", 4096) + ":"}, "10.0.0.1:1234", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := clientcert.Read(tt.fields, tt.peer, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("2001:db8::/32")})
			want, _ := base64.StdEncoding.DecodeString(tt.want)
			if (err == nil) != tt.ok || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, error %v", len(got), err)
			}
			if err != nil && strings.Contains(err.Error(), "MII") {
				t.Errorf("error %q shows the field", err)
			}
		})
	}
}
