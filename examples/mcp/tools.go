package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/seed450a7203/jwthttp"
)

// scopeUse is for the whole endpoint, and scopes are those that a tool needs
// besides.
const scopeUse = "tools:use"

var scopes = map[string]string{"create_order": "orders:write"}

type (
	nothing  struct{}
	identity struct {
		Subject string   `json:"subject"`
		Client  string   `json:"client"`
		Scopes  []string `json:"scopes"`
	}
	order struct {
		Item string `json:"item"`
	}
	receipt struct {
		Ordered string `json:"ordered"`
		For     string `json:"for"`
	}
)

func newTools() *mcp.Server {
	tools := mcp.NewServer(&mcp.Implementation{Name: "orders", Version: "1.0.0"}, nil)
	mcp.AddTool(tools, &mcp.Tool{Name: "whoami", Description: "Says who is calling."}, whoami)
	mcp.AddTool(tools, &mcp.Tool{Name: "create_order", Description: "Orders an item."}, createOrder)
	return tools
}

// caller returns the claims of the token that came with this very call.
//
// They are in req.Extra. Not so in the context: that is the one of the request
// which opened the session, and [jwthttp.TokenFromContext] finds that request's
// token there, which may have expired since, or had other scopes.
func caller(req *mcp.CallToolRequest) (who claims, granted []string, err error) {
	if req.Extra == nil || req.Extra.TokenInfo == nil {
		return who, nil, fmt.Errorf("%s: not authenticated", req.Params.Name)
	}
	who, ok := req.Extra.TokenInfo.Extra["claims"].(claims)
	if !ok {
		return who, nil, fmt.Errorf("%s: no claims", req.Params.Name)
	}
	if scope := scopes[req.Params.Name]; scope != "" && !slices.Contains(req.Extra.TokenInfo.Scopes, scope) {
		return who, nil, fmt.Errorf("%s: the token lacks the scope %s", req.Params.Name, scope)
	}
	return who, req.Extra.TokenInfo.Scopes, nil
}

func whoami(_ context.Context, req *mcp.CallToolRequest, _ nothing) (*mcp.CallToolResult, identity, error) {
	who, granted, err := caller(req)
	return nil, identity{Subject: who.Subject, Client: who.ClientID, Scopes: granted}, err
}

func createOrder(_ context.Context, req *mcp.CallToolRequest, in order) (*mcp.CallToolResult, receipt, error) {
	who, _, err := caller(req)
	if err != nil {
		return nil, receipt{}, err
	}
	return nil, receipt{Ordered: in.Item, For: who.Subject}, nil
}

// stepUp answers a call that lacks the tool's scope with the 403 that names it,
// for the client to come back with another token: an error of the tool itself
// is for the language model, and no client acts on it. This is a courtesy. The
// tool is what protects itself, whatever form a call comes in.
func stepUp(r *http.Request) error {
	if r.Method != http.MethodPost {
		return nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, mcp.DefaultMaxRequestBodyBytes))
	if err != nil {
		return &jwthttp.Error{Status: http.StatusRequestEntityTooLarge, Err: err} // or the client is gone
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var call struct {
		Method string
		Params struct{ Name string }
	}
	if json.Unmarshal(body, &call) != nil || call.Method != "tools/call" {
		return nil // the SDK says what is wrong with it, if anything is
	}
	token, _ := jwthttp.TokenFromContext(r.Context())
	if scope := scopes[call.Params.Name]; scope != "" && !slices.Contains(token.Scopes, scope) {
		return &jwthttp.Error{
			Status: http.StatusForbidden, Code: "insufficient_scope", Reason: jwthttp.ReasonScope,
			Scopes: []string{scopeUse, scope}, // all that the new token needs
		}
	}
	return nil
}
