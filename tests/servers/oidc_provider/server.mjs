// An authorization server and a resource for the tests, on a free port of 127.0.0.1.
//
// Run as `node server.mjs CONFIG`: CONFIG is a JSON file with `clients`, the metadata of oidc-provider's, each with
// its tokens' `lifetime` in seconds, and `users`, passwords by name. It writes its URL as one line to standard
// output when it is ready, and ends when its standard input does.
import fs from 'node:fs';
import http from 'node:http';
import { Provider, errors } from 'oidc-provider';

const { clients, users } = JSON.parse(fs.readFileSync(process.argv[2]));
const lifetimes = new Map(clients.map((client) => [client.client_id, client.lifetime]));
const SCOPES = 'openid offline_access';
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token';

const server = http.createServer();
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const url = `http://127.0.0.1:${server.address().port}`;
const lifetime = (ctx, token, client) => lifetimes.get(client.clientId);

const provider = new Provider(url, {
  clients: clients.map(({ lifetime: _, ...client }) => ({ redirect_uris: [], response_types: [], ...client })),
  scopes: [...SCOPES.split(' '), 'api:read'],
  clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt', 'none'],
  rotateRefreshToken: true,
  ttl: { ClientCredentials: lifetime, AccessToken: lifetime, RefreshToken: 3600, Grant: 3600 },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: true }, // the pages on which a person signs in, with any password, and agrees
    deviceFlow: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    revocation: { enabled: true, allowedPolicy: () => true },
  },
  findAccount: async (ctx, sub) => ({ accountId: sub, claims: async () => ({ sub }) }),
  cookies: { keys: ['for the tests'] },
});

// These two grants are not built in; registerGrantType is the documented way to add one.
async function issue(ctx, accountId, gty, extra = {}) {
  const { client, params } = ctx.oidc;
  const scope = params.scope || SCOPES;
  const grant = new provider.Grant({ accountId, clientId: client.clientId });
  grant.addOIDCScope(scope);
  const grantId = await grant.save();
  const common = { accountId, client, grantId, gty, scope, expiresWithSession: false };
  const token = new provider.AccessToken(common);
  const access_token = await token.save();
  const refresh_token = await new provider.RefreshToken({ ...common, rotations: 0 }).save();
  ctx.body = { access_token, refresh_token, token_type: 'Bearer', expires_in: token.expiration, scope, ...extra };
}

provider.registerGrantType('password', async (ctx) => {
  const { username, password } = ctx.oidc.params;
  if (users[username] !== password) throw new errors.InvalidGrant('wrong password');
  await issue(ctx, username, 'password');
}, ['username', 'password', 'scope']);

async function subjectOf(value, type) {
  const token = type === ACCESS_TOKEN_TYPE && await provider.AccessToken.find(value);
  if (!token) throw new errors.InvalidGrant('not a token of ours');
  return token.accountId;
}

provider.registerGrantType(EXCHANGE, async (ctx) => {
  const { subject_token, subject_token_type, actor_token, actor_token_type } = ctx.oidc.params;
  const subject = await subjectOf(subject_token, subject_token_type);
  const actor = actor_token ? await subjectOf(actor_token, actor_token_type) : undefined;
  await issue(ctx, actor ? `${subject} by ${actor}` : subject, 'exchange', { issued_token_type: ACCESS_TOKEN_TYPE });
}, ['subject_token', 'subject_token_type', 'actor_token', 'actor_token_type', 'requested_token_type', 'scope']);

let revoked = 0; // grants that were ended, as after the reuse of a refresh token
provider.on('grant.revoked', () => { revoked += 1; });

provider.use(async (ctx, next) => {
  if (ctx.path === '/revoked-grants') {
    ctx.body = String(revoked);
    return undefined;
  }
  if (ctx.path !== '/resource') return next();
  const value = /^Bearer (.+)$/.exec(ctx.get('authorization'))?.[1];
  const token = value && (await provider.ClientCredentials.find(value) || await provider.AccessToken.find(value));
  if (token) {
    ctx.body = { client: token.clientId, subject: token.accountId };
    return undefined;
  }
  ctx.status = 401;
  ctx.set('WWW-Authenticate', `Bearer realm="api"${value ? ', error="invalid_token"' : ''}`);
  return undefined;
});

server.on('request', provider.callback());
process.stdin.on('end', () => process.exit(0)).resume();
console.log(url);
