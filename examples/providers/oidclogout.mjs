// Starts oidc-provider on a free port of loopback and prints its issuer. It sends
// logout tokens to the URL in the first argument. If the second is true, they have
// a sid, and if the third is true, so have access tokens. It prints how the
// receiver has answered.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

console.info = console.error; // standard output is for the test
const [receiver, sessionRequired, sidInAccessTokens] = process.argv.slice(2);
const server = createServer();
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const issuer = `http://127.0.0.1:${server.address().port}`;

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const provider = new Provider(issuer, {
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: 'RS256' }] },
  scopes: ['openid'],
  clients: [{
    client_id: 'web',
    client_secret: 'secret-of-a-test-client',
    redirect_uris: ['http://127.0.0.1/callback'],
    grant_types: ['authorization_code'],
    backchannel_logout_uri: receiver,
    backchannel_logout_session_required: sessionRequired === 'true',
  }],
  cookies: { keys: [randomUUID()] },
  pkce: { required: () => false },
  // Its own dispatcher sends nothing to loopback.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  extraTokenClaims: (ctx) => (sidInAccessTokens === 'true' ? { sid: ctx.oidc.entities.AuthorizationCode.sid } : {}),
  features: {
    backchannelLogout: { enabled: true },
    resourceIndicators: {
      getResourceServerInfo: () => ({ scope: '', accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } }),
      useGrantedResource: () => true,
    },
  },
});
provider.on('backchannel.success', () => console.log('received'));
provider.on('backchannel.error', (ctx, err) => console.log(err.message));
server.on('request', provider.callback());
console.log(issuer);
process.stdin.resume().on('end', () => process.exit()); // the test has ended
