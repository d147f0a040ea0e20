// The official TypeScript client, headless: it registers, asks for a sign-in, calls a tool, and calls it again later.
//
//   node client.mjs [--dpop] SERVER_URL REDIRECT_URI TOOL ARGUMENTS [METADATA_URL [KEY_FILE]]
//
// With --dpop its tokens are bound to a key of its own (RFC 9449).
// With the URL of a metadata document it is known by that, and with a key it signs its token requests (private_key_jwt).
// Talks to the test line by line in JSON. Out: {event: "authorize", url}, {event: "called", text}, {event: "end", …}.
// In: {callback: "http://…?code=…"}, then {call: true} as often as wanted ({call: true, tokens: true} shows the tokens first),
// then {end: true}. A call that needs more rights says "authorize" again; if its callback is an error, the call ends as
// {event: "refused", message}.
import { readFileSync } from 'node:fs';

import { Client, createPrivateKeyJwtAuth, DpopSession, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';

import { hear, recordingFetch, requests, say } from './lines.mjs';

const [flags, words] = [true, false].map((flag) => process.argv.slice(2).filter((word) => word.startsWith('--') === flag));
const [serverUrl, redirectUri, tool, toolArguments, clientMetadataUrl, keyFile] = words;
const session = flags.includes('--dpop') ? await DpopSession.create() : undefined;

class MemoryProvider {
    #state = crypto.randomUUID();

    get redirectUrl() {
        return redirectUri;
    }

    get clientMetadata() {
        return {
            client_name: 'Portcullis tests (TypeScript)',
            redirect_uris: [redirectUri],
            grant_types: ['authorization_code', 'refresh_token'],
            response_types: ['code'],
            token_endpoint_auth_method: 'none',
        };
    }

    // the document says which method the client uses
    clientMetadataUrl = clientMetadataUrl;

    addClientAuthentication = keyFile
        ? createPrivateKeyJwtAuth({
              issuer: clientMetadataUrl,
              subject: clientMetadataUrl,
              privateKey: readFileSync(keyFile, 'utf8'),
              alg: 'ES256',
          })
        : undefined;

    dpop = session && (() => session);

    state() {
        return this.#state;
    }

    checkState(callback) {
        if (callback.get('state') !== this.#state) throw new Error('the state is not ours');
    }

    clientInformation() {
        return this.registered;
    }

    saveClientInformation(information) {
        this.registered = information;
    }

    tokens() {
        return this.kept;
    }

    saveTokens(tokens) {
        this.kept = tokens;
    }

    invalidateCredentials(kind) {
        if (kind === 'all' || kind === 'client') this.registered = undefined;
        if (kind === 'all' || kind === 'tokens') this.kept = undefined;
    }

    redirectToAuthorization(url) {
        say({ event: 'authorize', url: url.href });
    }

    saveCodeVerifier(verifier) {
        this.verifier = verifier;
    }

    codeVerifier() {
        return this.verifier;
    }

    saveDiscoveryState(state) {
        this.discovered = state;
    }

    discoveryState() {
        return this.discovered;
    }
}

async function connect(provider) {
    const newTransport = () =>
        new StreamableHTTPClientTransport(new URL(serverUrl), { authProvider: provider, fetch: recordingFetch });
    const newClient = () => new Client({ name: 'portcullis-tests', version: '1' }, { versionNegotiation: { mode: 'auto' } });
    const first = newTransport();
    try {
        await newClient().connect(first);
        throw new Error('let in without a token');
    } catch (error) {
        if (!(error instanceof UnauthorizedError)) throw error;
    }
    const callback = new URL((await hear()).callback).searchParams;
    provider.checkState(callback);
    try {
        await first.finishAuth(callback);
    } catch (error) {
        say({ event: 'refused', message: String(error) });
        say({ event: 'end', requests });
        process.exit(0);
    }
    const client = newClient();
    const transport = newTransport();
    await client.connect(transport);
    return { client, transport };
}

async function callTool({ client, transport }) {
    try {
        const result = await client.callTool({ name: tool, arguments: JSON.parse(toolArguments) });
        say({ event: 'called', text: result.content[0].text });
    } catch (error) {
        if (!(error instanceof UnauthorizedError)) throw error;
        await stepUp({ client, transport });
    }
}

async function stepUp(connection) {
    const callback = new URL((await hear()).callback).searchParams;
    provider.checkState(callback);
    try {
        await connection.transport.finishAuth(callback);
    } catch (error) {
        say({ event: 'refused', message: String(error) });
        return;
    }
    await callTool(connection);
}

const provider = new MemoryProvider();
const connection = await connect(provider);
await callTool(connection);
for (let said = await hear(); said.call; said = await hear()) {
    if (said.tokens) say({ event: 'tokens', tokens: provider.kept });
    await callTool(connection);
}
say({ event: 'end', requests, tokens: provider.kept });
await connection.client.close();
process.exit(0);
