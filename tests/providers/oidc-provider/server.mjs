// npm's certified `oidc-provider`, with its own sign-in and consent pages, on loopback. STORE is a file that survives a restart;
// without it everything is in memory, as the package has it.
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import Provider from 'oidc-provider';

const { ISSUER, PORT, CLIENT_SECRET, REDIRECT_URI, USERS_FILE, STORE, COOKIE_KEY } = process.env;

/** An adapter on one file. What it keeps never expires: no test runs that long. */
class FileAdapter {
    static kept = STORE && existsSync(STORE) ? JSON.parse(readFileSync(STORE, 'utf8')) : {};

    constructor(model) {
        this.model = model;
    }

    #write(id, payload) {
        FileAdapter.kept[`${this.model}:${id}`] = payload;
        writeFileSync(STORE, JSON.stringify(FileAdapter.kept));
    }

    #search(name, value) {
        return Object.values(FileAdapter.kept).find((payload) => payload?.[name] === value);
    }

    async find(id) {
        return FileAdapter.kept[`${this.model}:${id}`];
    }

    async findByUid(uid) {
        return this.#search('uid', uid);
    }

    async upsert(id, payload) {
        this.#write(id, payload);
    }

    async consume(id) {
        this.#write(id, { ...(await this.find(id)), consumed: Math.floor(Date.now() / 1000) });
    }

    async destroy(id) {
        this.#write(id, undefined);
    }

    async revokeByGrantId(grantId) {
        for (const [key, payload] of Object.entries(FileAdapter.kept)) {
            if (payload?.grantId === grantId) {
                FileAdapter.kept[key] = undefined;
            }
        }
        writeFileSync(STORE, JSON.stringify(FileAdapter.kept));
    }
}

/** The signing key: a new one at each start, or the one that is kept. */
function signingKey() {
    const made = FileAdapter.kept.signingKey ?? generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });
    FileAdapter.kept.signingKey = made;
    return made;
}

const provider = new Provider(ISSUER, {
    ...(STORE && { adapter: FileAdapter }),
    clients: [
        {
            client_id: 'portcullis',
            client_secret: CLIENT_SECRET,
            redirect_uris: [REDIRECT_URI],
            grant_types: ['authorization_code', 'refresh_token'],
        },
    ],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'preferred_username'], groups: ['groups'] },
    features: { revocation: { enabled: true } },
    jwks: { keys: [signingKey()] },
    cookies: { keys: [COOKIE_KEY] },
    // read anew each time: a user who is removed from the file is gone
    findAccount(_context, id) {
        const user = JSON.parse(readFileSync(USERS_FILE, 'utf8'))[id];
        return user && { accountId: id, claims: async () => ({ sub: id, ...user }) };
    },
});
provider.on('server_error', (_context, error) => console.error(error));
provider.listen(Number(PORT), '127.0.0.1', () => console.log('listening'));
