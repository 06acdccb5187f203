// Package cookie finds cookies of one name. Unlike net/http, it does not ignore a
// cookie with invalid characters in its value.
package cookie

import "strings"

// Values returns the values of all cookies called name in the lines of a Cookie
// field, and how many cookies there are in total. Double quotes around a value
// are removed (RFC 6265 §4.1.1).
func Values(lines []string, name string) (values []string, total int) {
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			total++
			key, value, _ := strings.Cut(pair, "=")
			if strings.Trim(key, " \t") == name {
				values = append(values, unquote(strings.Trim(value, " \t")))
			}
		}
	}
	return values, total
}

func unquote(value string) string {
	if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
		return value[1 : len(value)-1]
	}
	return value
}
