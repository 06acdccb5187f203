// Package migrating has an API before and after the move from each library of
// docs/migrating.md to jwthttp. Its tests send the same requests to both, and
// keep the document in step with the programs and their answers.
package migrating

import (
	"errors"
	"log/slog"
	"net/http"

	"github.com/seed450a7203/jwthttp"
)

// Shadow logs the requests that auth would refuse, and admits all of them. Put it
// inside the old middleware, on the same routes.
func Shadow(auth *jwthttp.Middleware, log *slog.Logger) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var refused *jwthttp.Error
			if _, err := auth.Authenticate(r); errors.As(err, &refused) {
				log.WarnContext(r.Context(), "jwthttp would refuse", "reason", refused.Reason, "method", r.Method, "path", r.URL.Path)
			}
			next.ServeHTTP(w, r)
		})
	}
}
