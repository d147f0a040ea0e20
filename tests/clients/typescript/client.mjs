// The official TypeScript client, headless: it registers, asks for a sign-in, calls a tool, and calls it again later.
//
//   node client.mjs SERVER_URL REDIRECT_URI TOOL ARGUMENTS
//
// Talks to the test line by line in JSON. Out: {event: "authorize", url}, {event: "called", text}, {event: "end", …}.
// In: {callback: "http://…?code=…"}, then {call: true} as often as wanted, then {end: true}. A call that needs more rights says
// "authorize" again; if its callback is an error, the call ends as {event: "refused", message}.
import { createInterface } from 'node:readline';

import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';

const [serverUrl, redirectUri, tool, toolArguments] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const requests = [];

function say(message) {
    process.stdout.write(`${JSON.stringify(message)}\n`);
}

async function hear() {
    const { value, done } = await lines.next();
    if (done) throw new Error('the test has gone');
    return JSON.parse(value);
}

async function recordingFetch(url, init) {
    const response = await fetch(url, init);
    const grantType = new URLSearchParams(init?.body instanceof URLSearchParams ? init.body : '').get('grant_type');
    requests.push({ method: init?.method ?? 'GET', path: new URL(url).pathname, grantType, status: response.status });
    return response;
}

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
    await first.finishAuth(callback);
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
while ((await hear()).call) await callTool(connection);
say({ event: 'end', requests, tokens: provider.kept });
await connection.client.close();
process.exit(0);
