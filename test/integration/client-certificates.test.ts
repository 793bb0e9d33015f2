/**
 * Certificates of the command line as people meet them: real processes, certificates that live for seconds, streams that are
 * open meanwhile, and what strangers may try with them.
 */
import { copyFileSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:http2';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { execa } from 'execa';
import { decodeLoginLine } from '@berth/shared/trust/lines.ts';
import { parseYaml } from '@berth/shared/yaml/parse.ts';
import { Cluster } from '../harness/cluster.ts';
import { makeCa } from '../harness/pki.ts';
import { eventually, PROGRAMS } from '../harness/processes.ts';

interface Stored {
  readonly contexts: Readonly<
    Record<string, { token?: string; ca: string; client?: { certificate: string; key: string; renewsAt?: string } }>
  >;
}
interface Listed {
  readonly serial: string;
  readonly subject: string;
  readonly purpose: string;
  readonly state: string;
}

const LIFE_S = 12;
let c: Cluster;
const children: { kill(): unknown }[] = [];
beforeAll(async () => {
  c = await Cluster.start('127.0.0.1', { config: `certificates: { clientLifetime: ${LIFE_S}s }\n` });
  keepToken(c.configFile);
});
afterAll(async () => {
  for (const child of children) child.kill();
  await c?.stop();
});

/** A context as it was before there were certificates; it does not run out while a test waits. */
function keepToken(file: string): void {
  const { token } = decodeLoginLine(readFileSync(join(c.dataDir, 'admin-token'), 'utf8'));
  const { ca } = stored(c.configFile);
  const contexts = { default: { controller: c.address, ca, token } };
  writeFileSync(file, JSON.stringify({ current: 'default', contexts }));
}

const fileOf = (who: string): string => join(c.dir, `${who}.yaml`);
const as = (who: string, ...args: string[]) => c.berthWith({ env: { BERTH_CONFIG: fileOf(who) } }, ...args);
const stored = (file: string) => (parseYaml(readFileSync(file, 'utf8')) as Stored).contexts['default']!;
const login = (who: string) => as(who, 'login', '--token-file', join(c.dataDir, 'admin-token'));
const clients = async () =>
  (await c.json<Listed[]>('cert', 'list', '--all')).filter(
    (row) => row.purpose === 'client' && row.state !== 'expired',
  );

function watch(who: string) {
  const options = { reject: false, stdin: 'ignore', buffer: false, env: { BERTH_CONFIG: fileOf(who) } } as const;
  const child = execa(process.execPath, [PROGRAMS.berth, 'event', 'watch'], options);
  const it = { out: '', err: '', code: undefined as number | undefined, kill: () => child.kill('SIGKILL') };
  child.stdout.on('data', (d: Buffer) => (it.out += d.toString()));
  child.stderr.on('data', (d: Buffer) => (it.err += d.toString()));
  void child.then((r) => (it.code = r.exitCode ?? -1));
  children.push(it);
  return it;
}

/** One call over a connection that shows this certificate and no token. @returns the gRPC status and its words. */
function callWith(pair: { certificate: string; key: string }, path: string): Promise<{ code: number; words: string }> {
  const { ca } = stored(c.configFile);
  const session = connect(`https://${c.address}`, {
    ...{ ca, cert: pair.certificate, key: pair.key, checkServerIdentity: () => undefined },
  });
  return new Promise((resolve, reject) => {
    session.on('error', reject);
    const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' };
    const stream = session.request(headers);
    const hear = (h: Record<string, unknown>) => {
      if (h['grpc-status'] === undefined) return;
      resolve({ code: Number(h['grpc-status']), words: decodeURIComponent(String(h['grpc-message'] ?? '')) });
    };
    stream.on('response', hear).on('trailers', hear).on('error', reject);
    stream.on('close', () => session.close());
    stream.resume();
    stream.end(Buffer.alloc(5));
  });
}
const SELF = '/berth.v1.UserService/GetSelf';

describe('a login', () => {
  it('keeps a certificate and no token, for its owner only, and says so', async () => {
    expect((await login('ann')).code).toBe(0);
    expect(statSync(fileOf('ann')).mode & 0o777).toBe(0o600);
    const { token, client } = stored(fileOf('ann'));
    expect([token, Date.parse(client?.renewsAt ?? '')]).toEqual([undefined, expect.any(Number)]);
    expect((await as('ann', 'whoami')).out).toMatch(/^certificate: +[0-9a-f]{16}…, renewed in [\d.]+ s$/m);
    const [{ token: secret } = { token: '' }] = [decodeLoginLine(readFileSync(join(c.dataDir, 'admin-token'), 'utf8'))];
    expect(readFileSync(fileOf('ann'), 'utf8')).not.toContain(secret.split('.')[1]);
  });

  it('that takes the place of another ends that', async () => {
    await login('bob');
    const first = fileOf('bob-first');
    copyFileSync(fileOf('bob'), first);
    await login('bob');
    expect((await as('bob', 'whoami')).code).toBe(0);
    expect(await as('bob-first', 'whoami')).toMatchObject({
      code: 6,
      err: expect.stringMatching(/revoked: log in again/),
    });
  });

  it('ends at logout, also where it was copied to, and the token that it came from does not', async () => {
    await login('cid');
    copyFileSync(fileOf('cid'), fileOf('cid-copy'));
    expect((await as('cid', 'logout')).code).toBe(0);
    expect(await as('cid-copy', 'vm', 'list')).toMatchObject({ code: 6 });
    expect((await login('cid')).code).toBe(0);
  });

  it('of before, with a token, still works', async () => {
    keepToken(fileOf('old'));
    expect((await as('old', 'whoami')).out).not.toMatch(/certificate/);
    expect((await as('old', 'vm', 'list')).code).toBe(0);
  });
});

describe(`certificates that live for ${LIFE_S} seconds`, () => {
  it(
    'are renewed while a command runs that is longer than their life, and it notices nothing',
    { timeout: 120_000 },
    async () => {
      await login('dan');
      const first = stored(fileOf('dan')).client?.certificate;
      const stream = watch('dan');
      const seen = new Set([first]);
      await eventually(
        'three renewals',
        async () => seen.add(stored(fileOf('dan')).client?.certificate).size > 3,
        LIFE_S * 6_000,
      );
      await as('dan', 'token', 'create', 'somebody');
      await eventually('the stream still tells what happens', async () => stream.out.includes('somebody'));
      expect([stream.code, stream.err]).toEqual([undefined, '']);
      expect(statSync(fileOf('dan')).mode & 0o777).toBe(0o600);
      stream.kill();
    },
  );

  it('are renewed by the next command, also when many find it due at once', { timeout: 60_000 }, async () => {
    await login('eve');
    const { client } = stored(fileOf('eve'));
    const dueMs = Date.parse(client?.renewsAt ?? '');
    await eventually('it is due', async () => Date.now() > dueMs, LIFE_S * 2_000);
    const said = await Promise.all(Array.from({ length: 4 }, () => as('eve', 'vm', 'list')));
    expect(said.map((r) => r.code)).toEqual([0, 0, 0, 0]);
    expect(stored(fileOf('eve')).client?.certificate).not.toBe(client?.certificate);
    expect((await as('eve', 'vm', 'list')).code).toBe(0);
  });

  it('that ran out say so, and what to do', { timeout: 60_000 }, async () => {
    await login('fay');
    const renewsAt = Date.parse(stored(fileOf('fay')).client?.renewsAt ?? '');
    await eventually('its end', async () => Date.now() > renewsAt + LIFE_S * 600, LIFE_S * 3_000);
    const r = await as('fay', 'vm', 'list');
    expect([r.code, r.err]).toEqual([6, expect.stringMatching(/your client certificate ran out .* ago: log in again/)]);
  });
});

it('a certificate that is revoked ends what is open within seconds, and opens nothing more', async () => {
  await login('gus');
  const stream = watch('gus');
  const { certificateSerial } = await self('gus');
  await as('gus', 'token', 'create', 'other');
  await eventually('the stream is open', async () => stream.out.includes('other'));
  await c.ok('cert', 'revoke', certificateSerial);
  const revokedAt = Date.now();
  await eventually('the end of the stream', async () => stream.code !== undefined);
  expect(Date.now() - revokedAt).toBeLessThan(20_000);
  expect([stream.code, stream.err]).toEqual([6, expect.stringMatching(/revoked: log in again/)]);
  expect((await as('gus', 'vm', 'list')).code).toBe(6);
  const rows = await clients();
  expect(rows.find((row) => row.serial === certificateSerial)).toMatchObject({ subject: 'admin', state: 'revoked' });
  const audit = await c.json<{ method: string; object: string; outcome: string }[]>('audit', 'list');
  const told = audit.filter((row) => row.object === certificateSerial).map((row) => `${row.method} ${row.outcome}`);
  expect(told).toEqual(['CertificateService.IssueCertificate done', 'CertificateService.RevokeCertificates done']);
});

const self = async (who: string) =>
  JSON.parse((await as(who, 'whoami', '-o', 'json')).out) as { certificateSerial: string };

it('a caller without a token and without a certificate of ours is nobody', async () => {
  await c.addSimulated('h1');
  await c.waitUp('h1');
  await login('hal');
  const { client } = stored(fileOf('hal'));
  expect(await callWith(client!, SELF)).toMatchObject({ code: 0 });
  const credentials = JSON.parse(readFileSync(join(c.dir, 'h1', 'identity/credentials.json'), 'utf8')) as {
    control: { keyPem: string; certPem: string };
  };
  const ofHost = { certificate: credentials.control.certPem, key: credentials.control.keyPem };
  expect(await callWith(ofHost, SELF)).toMatchObject({
    code: 16,
    words: expect.stringMatching(/certificate of a host/) as string,
  });
  const forged = await (await makeCa()).issue({ uri: 'urn:berth:client:login-1', commonName: 'admin' });
  expect(await callWith({ certificate: forged.certPem, key: forged.keyPem }, SELF)).toMatchObject({
    code: 16,
    words: expect.stringMatching(/no token/) as string,
  });
});

it('replacing the CAs takes command lines along, and what is open', { timeout: 120_000 }, async () => {
  await login('ida');
  const stream = watch('ida');
  const before = stored(fileOf('ida'));
  const job = (await c.ok('cert', 'rotate-ca', '--overlap', '5s')).trim();
  await eventually(
    'its end',
    async () => {
      await as('ida', 'vm', 'list');
      return (await c.json<{ state: string }>('job', 'show', job)).state === 'succeeded';
    },
    60_000,
  );
  expect((await as('ida', 'vm', 'list')).code).toBe(0);
  expect(stored(fileOf('ida')).ca).not.toContain(before.ca.trim());
  expect((await as('ida', 'vm', 'list')).code).toBe(0);
  expect(stream.code).toBeUndefined();
  stream.kill();
});
