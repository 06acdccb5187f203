package main

import (
	"log/slog"
	"net/http"

	"github.com/seed450a7203/jwthttp"
)

// logDecisions is an Options.Observer. It logs the route and not the URL, which
// is the client's text and may hold a token; and the cause as an attribute, not
// in the message, so that slog's handlers escape what it quotes of a token.
func logDecisions(log *slog.Logger) func(*http.Request, jwthttp.Event) {
	return func(r *http.Request, e jwthttp.Event) {
		level := levelOf(e)
		if !log.Enabled(r.Context(), level) {
			return
		}
		attrs := []slog.Attr{slog.String("route", r.Pattern), slog.Duration("took", e.Took)}
		if e.Token != nil { // it is verified, so this is what the issuer says
			// A choice: "sub" is personal data. Where the log need not answer
			// "who?", leave it out; "jti" still finds the one token.
			attrs = append(attrs, slog.String("sub", e.Token.Subject), slog.String("jti", e.Token.ID))
		}
		message := "admitted"
		switch {
		case e.Unchecked:
			message = "admitted, not checked for revocation"
		case e.Err != nil:
			message = "refused"
			attrs = append(attrs, slog.String("reason", string(e.Err.Reason)), slog.Int("status", e.Err.Status))
			if e.Err.Err != nil {
				attrs = append(attrs, slog.String("cause", e.Err.Err.Error()))
			}
		}
		log.LogAttrs(r.Context(), level, message, attrs...)
	}
}

// levelOf tells our own trouble from what clients do.
func levelOf(e jwthttp.Event) slog.Level {
	switch {
	case e.Unchecked:
		return slog.LevelWarn
	case e.Err == nil:
		return slog.LevelDebug // an access log has them already
	case e.Err.Status >= http.StatusInternalServerError:
		return slog.LevelError
	}
	switch e.Err.Reason {
	case jwthttp.ReasonSignature, jwthttp.ReasonAlgorithm, jwthttp.ReasonCrossOrigin:
		return slog.LevelWarn // nobody gets here by waiting too long
	}
	return slog.LevelInfo
}

// logKeyErrors is a JWKSOptions.OnError.
func logKeyErrors(log *slog.Logger) func(error) {
	return func(err error) { log.Error("the key set cannot be fetched", "cause", err) }
}
