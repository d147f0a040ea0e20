// The official TypeScript client without a user: client_credentials with private_key_jwt.
//
//   node machine.mjs SERVER_URL ISSUER CLIENT_ID KEY_FILE
//
// Out: {event: "called", text} or {event: "refused", message}, then {event: "end", requests, tokens}. In: {call: true} as often
// as wanted, then {end: true}.
import { readFileSync } from 'node:fs';

import { Client, PrivateKeyJwtProvider, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

import { hear, recordingFetch, requests, say } from './lines.mjs';

const [serverUrl, expectedIssuer, clientId, keyFile] = process.argv.slice(2);
const privateKey = readFileSync(keyFile, 'utf8');
const provider = new PrivateKeyJwtProvider({ clientId, privateKey, algorithm: 'ES256', expectedIssuer });
const transport = new StreamableHTTPClientTransport(new URL(serverUrl), { authProvider: provider, fetch: recordingFetch });
const client = new Client({ name: 'portcullis-tests', version: '1' }, { versionNegotiation: { mode: 'auto' } });

async function callTool() {
    const result = await client.callTool({ name: 'echo', arguments: { message: 'hello' } });
    say({ event: 'called', text: result.content[0].text });
}

try {
    await client.connect(transport);
    await callTool();
    while ((await hear()).call) await callTool();
} catch (error) {
    say({ event: 'refused', message: String(error) });
}
say({ event: 'end', requests, tokens: provider.tokens() });
process.exit(0);
