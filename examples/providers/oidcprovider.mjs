// Starts oidc-provider on a free port of loopback and prints its issuer. A line on
// standard input makes it sign with new keys; the old ones stay in the key set.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import Provider from 'oidc-provider';

console.info = console.error; // standard output is for the test
const server = createServer();
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const issuer = `http://127.0.0.1:${server.address().port}`;
const keys = [];

function newKey(type, alg, options) {
  const { privateKey } = generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg };
}

// Keys are part of the configuration, so a rotation is a restart.
function restart() {
  keys.unshift(newKey('rsa', 'RS256', { modulusLength: 2048 }), newKey('ed25519', 'Ed25519'));
  const provider = new Provider(issuer, {
    jwks: { keys },
    scopes: ['openid', 'offline_access', 'notes:read'],
    clients: [{
      client_id: 'web',
      client_secret: 'secret-of-a-test-client',
      redirect_uris: ['http://127.0.0.1/callback'],
      grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
    }],
    cookies: { keys: [randomUUID()] },
    pkce: { required: () => false },
    features: {
      clientCredentials: { enabled: true },
      resourceIndicators: {
        // The client names the audience of its access token (RFC 8707). In this
        // program, its path is the algorithm.
        getResourceServerInfo: (_, resource) => ({
          scope: 'notes:read',
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: new URL(resource).pathname.slice(1) } },
        }),
        useGrantedResource: () => true, // so the token request need not name it again
      },
    },
  });
  server.removeAllListeners('request');
  server.on('request', provider.callback());
}

restart();
console.log(issuer);
createInterface({ input: process.stdin })
  .on('line', () => { restart(); console.log('rotated'); })
  .on('close', () => process.exit()); // the test has ended
