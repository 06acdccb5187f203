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

// scopeUse is required for the endpoint. A tool in scopes requires that scope as
// well.
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

// caller returns the claims and scopes of the token that came with this call. They
// are in req.Extra.
//
// The context of a tool is that of the request that opened the session.
// [jwthttp.TokenFromContext] finds that request's token there, which may have
// expired since, or may have other scopes.
func caller(req *mcp.CallToolRequest) (who claims, granted []string, err error) {
	if req.Extra == nil || req.Extra.TokenInfo == nil {
		return who, nil, fmt.Errorf("%s: not authenticated", req.Params.Name)
	}
	who, ok := req.Extra.TokenInfo.Extra["claims"].(claims)
	if !ok {
		return who, nil, fmt.Errorf("%s: no claims", req.Params.Name)
	}
	if scope := scopes[req.Params.Name]; scope != "" && !slices.Contains(req.Extra.TokenInfo.Scopes, scope) {
		return who, nil, fmt.Errorf("%s: scope %s is required", req.Params.Name, scope)
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

// stepUp answers a call without the scope of the tool with a 403 that names the
// scopes, so that the client gets another token. An error of the tool would go to
// the language model, and clients do not act on it. stepUp does not read every
// form of a call, such as a batch. The tool itself checks the scope, too.
func stepUp(r *http.Request) error {
	if r.Method != http.MethodPost {
		return nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, mcp.DefaultMaxRequestBodyBytes))
	if err != nil {
		return &jwthttp.Error{Status: http.StatusRequestEntityTooLarge, Description: "message too long", Err: err}
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var call struct {
		Method string
		Params struct{ Name string }
	}
	if json.Unmarshal(body, &call) != nil || call.Method != "tools/call" {
		return nil // the SDK answers invalid messages
	}
	token, _ := jwthttp.TokenFromContext(r.Context())
	if scope := scopes[call.Params.Name]; scope != "" && !slices.Contains(token.Scopes, scope) {
		return &jwthttp.Error{
			Status: http.StatusForbidden, Code: "insufficient_scope", Reason: jwthttp.ReasonScope,
			Scopes: []string{scopeUse, scope}, // all scopes that the new token needs
		}
	}
	return nil
}
