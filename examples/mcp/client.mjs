// A client with the MCP SDK for TypeScript. It calls the tools of the server at a
// URL, and knows only this URL:
//
//	npm ci
//	node mcp/client.mjs http://127.0.0.1:8080/mcp
//
// It does not register the grant type refresh_token. While this SDK has a refresh
// token, it does not get another scope: the 403 of create_order makes it refresh, the
// new token has the same scopes, and the call fails. The argument "refresh" shows
// that, unless the server was started with -all-scopes.
import { randomUUID } from 'node:crypto';
import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const [endpoint, refresh] = process.argv.slice(2);

// The SDK does all of the authorization, but for the user's browser and for storing
// what it gets.
class Login {
  redirectUrl = 'http://127.0.0.1/callback'; // redirectToAuthorization does not follow it
  clientMetadata = {
    client_name: 'example',
    redirect_uris: [this.redirectUrl],
    grant_types: refresh ? ['authorization_code', 'refresh_token'] : ['authorization_code'],
    token_endpoint_auth_method: 'none', // it cannot keep a secret
  };
  state() { return (this.expected = randomUUID()); }
  clientInformation() { return this.client; }
  saveClientInformation(client) { this.client = client; }
  tokens() { return this.saved; }
  saveTokens(tokens) { this.saved = tokens; }
  codeVerifier() { return this.verifier; }
  saveCodeVerifier(verifier) { this.verifier = verifier; }

  // A real client opens the URL in a browser and listens at the redirect URI.
  async redirectToAuthorization(url) {
    console.log('authorize:', url.href);
    const response = await fetch(url, { redirect: 'manual' });
    const back = new URL(response.headers.get('location')).searchParams;
    if (back.get('state') !== this.expected) throw new Error('state does not match');
    if (back.has('error')) throw new Error(back.get('error'));
    this.code = back.get('code');
  }
}

const login = new Login();
const client = new Client({ name: 'example', version: '1.0.0' });
let transport;

// authorized does something. If that needs the user, it is done again with the new
// token.
async function authorized(something) {
  try {
    return await something();
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error;
    await transport.finishAuth(login.code);
    return await something();
  }
}

await authorized(() => {
  transport = new StreamableHTTPClientTransport(new URL(endpoint), { authProvider: login });
  return client.connect(transport);
});
for (const { name, description } of (await client.listTools()).tools) {
  console.log(`tool: ${name}: ${description}`);
}
const calls = [
  { name: 'whoami', arguments: {} },
  { name: 'create_order', arguments: { item: 'tea' } }, // needs another scope
  { name: 'whoami', arguments: {} },
];
try {
  for (const call of calls) {
    const result = await authorized(() => client.callTool(call));
    if (result.isError) throw new Error(JSON.stringify(result.content));
    console.log(`${call.name}: ${JSON.stringify(result.structuredContent)}`);
  }
} catch (error) {
  console.log('error:', error.message);
  process.exitCode = 1;
}
await transport.terminateSession();
await client.close();
