package main

// greetingDPoP is for -dpop. curl makes no proofs.
const greetingDPoP = `An MCP server at URL/mcp, whose tokens are bound to the key of the client (DPoP). A client in Go is in dpop_test.go:

curl -si -w '%{http_code}, expected 401: no token, and the DPoP challenge\n' URL/mcp
curl -s -w '%{http_code}, expected 200: dpop_bound_access_tokens_required\n' URL/.well-known/oauth-protected-resource/mcp
curl -s -w '%{http_code}, expected 200: dpop_signing_alg_values_supported\n' ISSUER/.well-known/oauth-authorization-server

`

// greeting has lines that do the steps of a client.
const greeting = `An MCP server at URL/mcp. Run a client with: go run -C examples ./mcp -client URL/mcp. Or paste its steps into a shell:

curl -si -w '%{http_code}, expected 401: no token, and resource_metadata in the challenge\n' URL/mcp
curl -s -w '%{http_code}, expected 200: the resource, and its authorization server\n' URL/.well-known/oauth-protected-resource/mcp
curl -s -w '%{http_code}, expected 200: the metadata of the authorization server\n' ISSUER/.well-known/oauth-authorization-server
CLIENT=$(curl -s -H 'Content-Type: application/json' -d '{"redirect_uris": ["http://127.0.0.1/callback"], "token_endpoint_auth_method": "none"}' ISSUER/register | sed 's/.*"client_id":"\([^"]*\)".*/\1/')
VERIFIER=$(openssl rand -hex 32)
CHALLENGE=$(printf %s "$VERIFIER" | openssl dgst -binary -sha256 | openssl base64 -A | tr '+/' '-_' | tr -d '=')
code() { curl -s -o /dev/null -w '%{redirect_url}' -G -d response_type=code -d "client_id=$CLIENT" -d redirect_uri=http://127.0.0.1/callback -d "code_challenge=$CHALLENGE" -d code_challenge_method=S256 -d resource=URL/mcp --data-urlencode "scope=$1" ISSUER/authorize | sed 's/.*[?&]code=\([^&]*\).*/\1/'; }
token() { curl -s -d grant_type=authorization_code -d "code=$(code "$1")" -d "code_verifier=$VERIFIER" -d redirect_uri=http://127.0.0.1/callback -d "client_id=$CLIENT" -d resource=URL/mcp ISSUER/token | sed 's/.*"access_token":"\([^"]*\)".*/\1/'; }
mcp() { curl -s -H "Authorization: Bearer $TOKEN" -H "Mcp-Session-Id: $SESSION" -H 'MCP-Protocol-Version: 2025-11-25' -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' "$@" URL/mcp; }
TOKEN=$(token tools:use)
SESSION=$(mcp -D - -o /dev/null -d '{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "curl", "version": "1"}}}' | tr -d '\r' | sed -n 's/^Mcp-Session-Id: //p')
mcp -w '%{http_code}, expected 202: a session\n' -d '{"jsonrpc": "2.0", "method": "notifications/initialized"}'
mcp -w '%{http_code}, expected 200: who I am\n' -d '{"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "whoami", "arguments": {}}}'
mcp -i -w '%{http_code}, expected 403: the challenge names the scopes\n' -d '{"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "create_order", "arguments": {"item": "tea"}}}'
TOKEN=$(token 'tools:use orders:write')
mcp -w '%{http_code}, expected 200: with another token, in the same session\n' -d '{"jsonrpc": "2.0", "id": 4, "method": "tools/call", "params": {"name": "create_order", "arguments": {"item": "tea"}}}'

`
