// Package migrating has, for each library that docs/migrating.md is about, an
// API guarded by it and the same API guarded by jwthttp. Its test asks both the
// same questions, and keeps the document equal to the programs and the answers.
package migrating

import (
	"errors"
	"log/slog"
	"net/http"

	"github.com/seed450a7203/jwthttp"
)

// Shadow logs which requests auth would refuse, and refuses none. It belongs
// inside the middleware that still decides, on the same routes.
func Shadow(auth *jwthttp.Middleware, log *slog.Logger) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := auth.Authenticate(r)
			if refused := (*jwthttp.Error)(nil); errors.As(err, &refused) {
				log.WarnContext(r.Context(), "jwthttp would refuse", "reason", refused.Reason, "method", r.Method, "path", r.URL.Path)
			}
			next.ServeHTTP(w, r)
		})
	}
}
