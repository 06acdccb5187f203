package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	mcpauth "github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// runClient calls the tools of the MCP server at endpoint, and needs to know
// nothing else of it.
func runClient(ctx context.Context, endpoint string, out io.Writer) error {
	session, err := connect(ctx, endpoint, out)
	if err != nil {
		return err
	}
	defer session.Close()
	tools, err := session.ListTools(ctx, nil)
	if err != nil {
		return err
	}
	for _, tool := range tools.Tools {
		fmt.Fprintf(out, "tool: %s: %s\n", tool.Name, tool.Description)
	}
	for _, call := range []*mcp.CallToolParams{
		{Name: "whoami", Arguments: nothing{}},
		{Name: "create_order", Arguments: order{Item: "tea"}}, // needs another scope, which the client goes and gets
		{Name: "whoami", Arguments: nothing{}},
	} {
		result, err := session.CallTool(ctx, call)
		if err != nil {
			return err
		}
		if result.IsError {
			text, _ := json.Marshal(result.Content) // which came as JSON
			return fmt.Errorf("%s: %s", call.Name, text)
		}
		text, err := json.Marshal(result.StructuredContent)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %s\n", call.Name, text)
	}
	return nil
}

// connect opens a session. All of the authorization is the SDK's.
func connect(ctx context.Context, endpoint string, out io.Writer) (*mcp.ClientSession, error) {
	const redirect = "http://127.0.0.1/callback" // nobody goes there, see visit
	handler, err := mcpauth.NewAuthorizationCodeHandler(&mcpauth.AuthorizationCodeHandlerConfig{
		DynamicClientRegistrationConfig: &mcpauth.DynamicClientRegistrationConfig{
			Metadata: &oauthex.ClientRegistrationMetadata{
				ClientName:              "example",
				RedirectURIs:            []string{redirect},
				GrantTypes:              []string{"authorization_code", "refresh_token"},
				TokenEndpointAuthMethod: "none", // it could keep no secret
			},
		},
		AuthorizationCodeFetcher: func(ctx context.Context, args *mcpauth.AuthorizationArgs) (*mcpauth.AuthorizationResult, error) {
			fmt.Fprintln(out, "authorize:", args.URL)
			return visit(ctx, args.URL)
		},
	})
	if err != nil {
		return nil, err
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "example", Version: "1.0.0"}, nil)
	return client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: endpoint, OAuthHandler: handler}, nil)
}

// visit is the user with a browser. A real client opens the URL in the user's,
// and listens at the redirect URI for what this reads from the redirect.
func visit(ctx context.Context, url string) (*mcpauth.AuthorizationResult, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultTransport.RoundTrip(r) // which follows no redirects
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	back, err := resp.Location()
	if err != nil {
		return nil, fmt.Errorf("no redirect: %s", resp.Status)
	}
	q := back.Query()
	if code := q.Get("error"); code != "" {
		return nil, errors.New(code)
	}
	return &mcpauth.AuthorizationResult{Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss")}, nil
}
