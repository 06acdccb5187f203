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

// runClient calls the tools of the MCP server at endpoint, knowing only this URL.
func runClient(ctx context.Context, endpoint string, client *http.Client, out io.Writer) error {
	session, err := connect(ctx, endpoint, client, out)
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
		{Name: "create_order", Arguments: order{Item: "tea"}}, // needs another scope, which the client asks for
		{Name: "whoami", Arguments: nothing{}},
	} {
		result, err := session.CallTool(ctx, call)
		if err != nil {
			return err
		}
		if result.IsError {
			text, _ := json.Marshal(result.Content) // it was decoded from JSON
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

// connect opens a session. The SDK does all of the authorization.
func connect(ctx context.Context, endpoint string, httpClient *http.Client, out io.Writer) (*mcp.ClientSession, error) {
	const redirect = "http://127.0.0.1/callback" // visit does not follow it
	handler, err := mcpauth.NewAuthorizationCodeHandler(&mcpauth.AuthorizationCodeHandlerConfig{
		DynamicClientRegistrationConfig: &mcpauth.DynamicClientRegistrationConfig{
			Metadata: &oauthex.ClientRegistrationMetadata{
				ClientName:              "example",
				RedirectURIs:            []string{redirect},
				GrantTypes:              []string{"authorization_code", "refresh_token"},
				TokenEndpointAuthMethod: "none", // it cannot keep a secret
			},
		},
		Client: httpClient,
		AuthorizationCodeFetcher: func(ctx context.Context, args *mcpauth.AuthorizationArgs) (*mcpauth.AuthorizationResult, error) {
			fmt.Fprintln(out, "authorize:", args.URL)
			return visit(ctx, args.URL)
		},
	})
	if err != nil {
		return nil, err
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "example", Version: "1.0.0"}, nil)
	return client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: endpoint, HTTPClient: httpClient, OAuthHandler: handler}, nil)
}

// visit stands for the user's browser. A real client opens the URL in a browser
// and listens at the redirect URI.
func visit(ctx context.Context, url string) (*mcpauth.AuthorizationResult, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultTransport.RoundTrip(r) // follows no redirects
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
