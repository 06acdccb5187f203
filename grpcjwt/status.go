package grpcjwt

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/seed450a7203/jwthttp"
)

// domain is that of the ErrorInfo details.
const domain = "jwthttp"

// Status returns the status of a call that was refused with err, such as an error of
// [jwthttp.Middleware.Authenticate]. It has the text that an HTTP client would get, and
// one google.rpc.ErrorInfo, whose reason is the error code, or the Reason if there is no
// code. The metadata of the ErrorInfo has the Reason as "reason".
//
// The HTTP statuses 400 and 401 are Unauthenticated, 403 is PermissionDenied, 503 is
// Unavailable with a google.rpc.RetryInfo, and 499 is Canceled. Those of rules are:
// 404 NotFound, 409 Aborted, 429 ResourceExhausted, and others up to 499
// PermissionDenied. Everything else is Internal, an err that is not a [*jwthttp.Error]
// included. The status of nil is OK.
func Status(err error) *status.Status {
	if err == nil {
		return status.New(codes.OK, "")
	}
	return answerTo(err).status
}

// answer is what a refused client gets.
type answer struct {
	status   *status.Status
	metadata metadata.MD
}

// answerTo returns what an HTTP client would get, in terms of gRPC.
func answerTo(err error) answer {
	var e *jwthttp.Error
	if errors.As(err, &e) && e != nil && e.Reason == jwthttp.ReasonCanceled {
		return answer{status: status.New(codes.Canceled, "request canceled")}
	}
	w := recorder{header: make(http.Header)}
	jwthttp.WriteError(&w, err)
	var body struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
		Reason      string `json:"reason"`
	}
	_ = json.Unmarshal(w.body.Bytes(), &body) // it is JSON
	info := &errdetails.ErrorInfo{Reason: body.Error, Domain: domain}
	if body.Reason != "" {
		info.Metadata = map[string]string{"reason": body.Reason}
	}
	details := []protoadapt.MessageV1{info}
	if seconds, err := strconv.Atoi(w.header.Get("Retry-After")); err == nil {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(time.Duration(seconds) * time.Second)})
	}
	a := answer{status: status.New(codeOf(w.status), body.Description), metadata: metadata.MD{}}
	if detailed, err := a.status.WithDetails(details...); err == nil { // not if a rule's text is no UTF-8
		a.status = detailed
	}
	for _, name := range [...]string{"Www-Authenticate", "Dpop-Nonce"} {
		if values := w.header[name]; len(values) > 0 {
			a.metadata.Set(name, values...)
		}
	}
	return a
}

// end ends a stream. A challenge is no trailer (RFC 9110 §6.5.1), and net/http sends none,
// unless the header has been sent.
func (a answer) end(ss grpc.ServerStream) error {
	if ss.SetHeader(a.metadata) != nil {
		ss.SetTrailer(a.metadata)
	}
	return a.status.Err()
}

// codeOf returns the code of an HTTP status.
func codeOf(status int) codes.Code {
	switch status {
	case http.StatusBadRequest, http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusNotFound:
		return codes.NotFound
	case http.StatusConflict:
		return codes.Aborted
	case http.StatusTooManyRequests:
		return codes.ResourceExhausted
	case http.StatusServiceUnavailable:
		return codes.Unavailable
	}
	if status < http.StatusInternalServerError {
		return codes.PermissionDenied
	}
	return codes.Internal
}

// recorder is the http.ResponseWriter of a refusal.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header                { return w.header }
func (w *recorder) WriteHeader(status int)             { w.status = status }
func (w *recorder) Write(text []byte) (n int, _ error) { return w.body.Write(text) }
