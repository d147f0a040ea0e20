// How the clients here talk to the test: lines of JSON on standard output and input. Their requests are recorded.
import { createInterface } from 'node:readline';

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

export const requests = [];

export function say(message) {
    process.stdout.write(`${JSON.stringify(message)}\n`);
}

export async function hear() {
    const { value, done } = await lines.next();
    if (done) throw new Error('the test has gone');
    return JSON.parse(value);
}

export async function recordingFetch(url, init) {
    const response = await fetch(url, init);
    const form = new URLSearchParams(init?.body instanceof URLSearchParams ? init.body : '');
    const headers = new Headers(init?.headers);
    requests.push({
        method: init?.method ?? 'GET',
        path: new URL(url).pathname,
        grantType: form.get('grant_type'),
        signed: form.has('client_assertion'),
        scheme: headers.get('authorization')?.split(' ')[0],
        proof: headers.has('dpop'),
        status: response.status,
        error: form.has('grant_type') && !response.ok ? (await response.clone().json()).error : undefined,
    });
    return response;
}
