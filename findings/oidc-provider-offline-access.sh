#!/usr/bin/env bash
# npm's oidc-provider 9.13.3 drops the scope `offline_access` from an authorization request without `prompt=consent`, and says so
# nowhere: sign-in and code exchange succeed, without a refresh token. OpenID Connect Core 11 allows that, but most clients never send
# `prompt`. Its ID token holds no claims of the scopes `profile` and `email` unless `conformIdTokenClaims` is false: they are at the
# userinfo endpoint.
#
# Seen on 2026-11-30 (confidential client, its own pages for sign-in and consent, scope openid email offline_access):
#   without prompt: 200, scope 'openid email', refresh token: false, e-mail in the ID token: false, at userinfo: true
#   prompt=consent: 200, scope 'openid email offline_access', refresh token: true, e-mail in the ID token: false, at userinfo: true
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/flow.mjs" <<'JS'
import Provider from 'oidc-provider';

console.warn = () => {};
console.info = () => {};
const callback = 'http://127.0.0.1:9/callback';
const server = (await import('node:http')).createServer().listen(0, '127.0.0.1');
await new Promise((resolve) => server.once('listening', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(issuer, {
    clients: [{ client_id: 'c', client_secret: 's', redirect_uris: [callback], grant_types: ['authorization_code', 'refresh_token'] }],
    claims: { openid: ['sub'], email: ['email'] },
    pkce: { required: () => false },
    cookies: { keys: ['only here'] },
    findAccount: (_, id) => ({ accountId: id, claims: async () => ({ sub: id, email: 'a@example.com' }) }),
});
server.on('request', provider.callback());

async function signIn(prompt) {
    const cookies = new Map();
    const ask = async (url, form) => {
        const headers = { cookie: [...cookies].map((pair) => pair.join('=')).join('; ') };
        const answer = await fetch(new URL(url, issuer), {
            redirect: 'manual', headers, ...(form && { method: 'POST', body: new URLSearchParams(form) }),
        });
        for (const cookie of answer.headers.getSetCookie()) {
            const [, name, value] = cookie.match(/^([^=]+)=([^;]*)/);
            cookies.set(name, value);
        }
        return answer;
    };
    const asked = { client_id: 'c', redirect_uri: callback, response_type: 'code', scope: 'openid email offline_access', ...prompt };
    let answer = await ask(`/auth?${new URLSearchParams(asked)}`);
    for (;;) {
        const target = answer.headers.get('location');
        if (target?.startsWith(callback)) {
            return new URL(target).searchParams.get('code');
        }
        if (target) {
            answer = await ask(target);
        } else {
            const page = await answer.text();
            const form = page.includes('name="login"') ? { prompt: 'login', login: 'alice', password: 'p' } : { prompt: 'consent' };
            answer = await ask(page.match(/action="([^"]+)"/)[1], form);
        }
    }
}

for (const [label, prompt] of [['without prompt', {}], ['prompt=consent', { prompt: 'consent' }]]) {
    const form = { grant_type: 'authorization_code', code: await signIn(prompt), redirect_uri: callback };
    const headers = { authorization: `Basic ${btoa('c:s')}` };
    const answer = await fetch(`${issuer}/token`, { method: 'POST', headers, body: new URLSearchParams(form) });
    const tokens = await answer.json();
    const claims = JSON.parse(atob(tokens.id_token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/')));
    const about = await (await fetch(`${issuer}/me`, { headers: { authorization: `Bearer ${tokens.access_token}` } })).json();
    console.log(`${label}: ${answer.status}, scope '${tokens.scope}', refresh token: ${'refresh_token' in tokens}, `
        + `e-mail in the ID token: ${'email' in claims}, at userinfo: ${'email' in about}`);
}
process.exit(0);
JS
(cd "$folder" && npm init -y >/dev/null && npm install --silent --no-audit --no-fund oidc-provider@9.13.3)
seen=$(cd "$folder" && node flow.mjs 2>"$folder/log") || { cat "$folder/log" >&2; exit 1; }
echo "$seen"
[ "$seen" = "without prompt: 200, scope 'openid email', refresh token: false, e-mail in the ID token: false, at userinfo: true
prompt=consent: 200, scope 'openid email offline_access', refresh token: true, e-mail in the ID token: false, at userinfo: true" ]
