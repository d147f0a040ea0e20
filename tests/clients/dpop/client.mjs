// A client with DPoP (RFC 9449) by oauth4webapi, headless: it registers, asks for a sign-in, calls, refreshes, and then does what a
// thief of its tokens could do.
//
//   node client.mjs SERVER_URL REDIRECT_URI ALGORITHM
//
// Talks to the test line by line in JSON. Out: {event: "authorize", url}, {event: "end", …}. In: {callback: "http://…?code=…"}.
import { createInterface } from 'node:readline';

import * as oauth from 'oauth4webapi';

const [serverUrl, redirectUri, algorithm] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const seen = [];

async function recordingFetch(url, init) {
    const response = await fetch(url, init);
    const { pathname } = new URL(url);
    seen.push({ method: init.method, path: pathname, status: response.status });
    return response;
}

const options = { [oauth.allowInsecureRequests]: true, [oauth.customFetch]: recordingFetch };

function say(message) {
    process.stdout.write(`${JSON.stringify(message)}\n`);
}

async function hear() {
    const { value, done } = await lines.next();
    if (done) throw new Error('the test has gone');
    return JSON.parse(value);
}

/** The library leaves the one retry with a nonce to its caller. */
async function retried(request) {
    try {
        return await request();
    } catch (error) {
        if (!oauth.isDPoPNonceError(error)) throw error;
        return request();
    }
}

const resource = await oauth.processResourceDiscoveryResponse(
    new URL(serverUrl),
    await oauth.resourceDiscoveryRequest(new URL(serverUrl), options),
);
const issuer = new URL(resource.authorization_servers[0]);
const server = await oauth.processDiscoveryResponse(
    issuer,
    await oauth.discoveryRequest(issuer, { ...options, algorithm: 'oauth2' }),
);
if (!server.dpop_signing_alg_values_supported.includes(algorithm)) throw new Error(`${algorithm} is not announced`);

const client = await oauth.processDynamicClientRegistrationResponse(
    await oauth.dynamicClientRegistrationRequest(
        server,
        {
            client_name: 'Portcullis tests (DPoP)',
            redirect_uris: [redirectUri],
            grant_types: ['authorization_code', 'refresh_token'],
            token_endpoint_auth_method: 'none',
            dpop_bound_access_tokens: true,
        },
        options,
    ),
);
const keyed = async () => ({ ...options, DPoP: oauth.DPoP(client, await oauth.generateKeyPair(algorithm)) });
const owner = await keyed();

const verifier = oauth.generateRandomCodeVerifier();
const state = oauth.generateRandomState();
const authorization = new URL(server.authorization_endpoint);
authorization.search = new URLSearchParams({
    client_id: client.client_id,
    redirect_uri: redirectUri,
    response_type: 'code',
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    resource: serverUrl,
    dpop_jkt: await owner.DPoP.calculateThumbprint(),
});
say({ event: 'authorize', url: authorization.href });
const callback = oauth.validateAuthResponse(server, client, new URL((await hear()).callback), state);

/** What the gateway says, or the error that the library makes of it. */
async function outcome(request) {
    try {
        return (await retried(request)).token_type ?? 'answered';
    } catch (error) {
        return error.error ?? error.cause?.[0]?.parameters?.error ?? String(error);
    }
}

const redeem = (held) => async () =>
    oauth.processAuthorizationCodeResponse(
        server,
        client,
        await oauth.authorizationCodeGrantRequest(server, client, oauth.None(), callback, redirectUri, verifier, held),
    );
const refresh = (token, held) => async () =>
    oauth.processRefreshTokenResponse(
        server,
        client,
        await oauth.refreshTokenGrantRequest(server, client, oauth.None(), token, held),
    );
const MESSAGE = {
    jsonrpc: '2.0',
    id: 1,
    method: 'initialize',
    params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'dpop', version: '1' } },
};
const call = (token, held) => async () => {
    const headers = new Headers({
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
    });
    const response = await oauth.protectedResourceRequest(
        token,
        'POST',
        new URL(serverUrl),
        headers,
        JSON.stringify(MESSAGE),
        held,
    );
    if (response.status !== 200) throw new Error(`status ${response.status}`);
    return { text: await response.text() };
};

const thief = await keyed();
const stolenCode = await outcome(redeem(thief));
const first = await retried(redeem(owner));
const called = await retried(call(first.access_token, owner));
const stolen = {
    code: stolenCode,
    bearer: await outcome(call(first.access_token, options)),
    call: await outcome(call(first.access_token, thief)),
    refresh: await outcome(refresh(first.refresh_token, thief)),
    refresh_without_proof: await outcome(refresh(first.refresh_token, options)),
};
const second = await retried(refresh(first.refresh_token, owner));
await retried(call(second.access_token, owner));
say({
    event: 'end',
    required: resource.dpop_bound_access_tokens_required ?? false,
    registered: client.dpop_bound_access_tokens,
    types: [first.token_type, second.token_type],
    answered: called.text.includes('"serverInfo"'),
    stolen,
    tokens: [first.access_token, first.refresh_token, second.access_token, second.refresh_token],
    requests: seen,
});
process.exit(0);
