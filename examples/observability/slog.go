package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/seed450a7203/jwthttp"
)

// logDecisions returns an Options.Observer. It logs the route instead of the URL,
// which is chosen by the client and may contain other secrets. It logs the cause
// as an attribute, so that slog's handlers escape what the cause quotes of a
// token.
func logDecisions(log *slog.Logger) func(context.Context, jwthttp.Event) {
	return func(ctx context.Context, e jwthttp.Event) {
		level := levelOf(e)
		if !log.Enabled(ctx, level) {
			return
		}
		attrs := []slog.Attr{slog.Duration("took", e.Took)}
		if e.Request != nil { // nil for Middleware.Verify
			attrs = append(attrs, slog.String("route", e.Request.Pattern))
		}
		if e.Token != nil { // its signature was verified
			// "sub" is personal data. If the log need not say who it was, leave
			// "sub" out; "jti" still identifies the token.
			attrs = append(attrs, slog.String("sub", e.Token.Subject), slog.String("jti", e.Token.ID))
		}
		message := "admitted"
		switch {
		case !e.Admitted:
			message = "refused"
		case e.Unchecked:
			message = "admitted, not checked for revocation"
		case e.Err != nil:
			message = "admitted without the token" // AllowAnonymous
		}
		if e.Err != nil {
			attrs = append(attrs, slog.String("reason", string(e.Err.Reason)), slog.Int("status", e.Err.Status))
			if e.Err.Err != nil {
				attrs = append(attrs, slog.String("cause", e.Err.Err.Error()))
			}
		}
		log.LogAttrs(ctx, level, message, attrs...)
	}
}

// levelOf returns Error for failures of the server, Warn for what an attacker may
// have caused, and Info for other refusals.
func levelOf(e jwthttp.Event) slog.Level {
	switch {
	case e.Unchecked:
		return slog.LevelWarn
	case e.Admitted && e.Err == nil:
		return slog.LevelDebug // the access log has it already
	case e.Err.Reason == jwthttp.ReasonCanceled:
		return slog.LevelDebug // the client hung up
	case e.Err.Status >= http.StatusInternalServerError:
		return slog.LevelError
	}
	switch e.Err.Reason {
	case jwthttp.ReasonSignature, jwthttp.ReasonAlgorithm, jwthttp.ReasonCrossOrigin:
		return slog.LevelWarn // an honest client gets none of these
	}
	return slog.LevelInfo
}

// logKeyErrors returns a jwks.Options.OnError.
func logKeyErrors(log *slog.Logger) func(error) {
	return func(err error) {
		if errors.Is(err, context.Canceled) { // the program ends
			log.Info("the key set is no longer fetched", "cause", err)
			return
		}
		log.Error("the key set cannot be fetched", "cause", err)
	}
}
