/** The agent's own address for metrics: never without TLS and a token beyond this host, and never more than one path. */
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createLog } from '@berth/shared/log/log.ts';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { makeCa, type TestCa } from '@berth/test/harness/pki.ts';
import type { MetricsConfig } from '../config.ts';
import { MetricsListener } from './listener.ts';

const TOKEN = 'a-token-of-some-length';
let ca: TestCa;
let dir = '';
let listener: MetricsListener | undefined;
const clock = new SimClock();
/** The host's own, and who follows it. */
const own = {
  now: undefined as { certPem: string; keyPem: string } | undefined,
  followers: new Set<() => void>(),
  pair: () => own.now,
  subscribe: (follower: () => void) => (own.followers.add(follower), () => void own.followers.delete(follower)),
};

beforeAll(async () => {
  ca = await makeCa();
});
afterEach(() => {
  listener?.stop();
  rmSync(dir, { recursive: true, force: true });
});

async function start(config: MetricsConfig, text = async () => 'up 1\n'): Promise<number> {
  listener = new MetricsListener({ config, text, identity: own, clock, log: createLog('test', 'silent') });
  return listener.start();
}

/** As it is configured for callers on other hosts. */
async function secured(): Promise<MetricsConfig> {
  dir = mkdtempSync(join(tmpdir(), 'berth-metrics-'));
  const { certPem, keyPem } = await ca.issue({ uri: 'urn:berth:host:h1' });
  const [certificateFile, keyFile, tokenFile] = ['crt', 'key', 'token'].map((f) => join(dir, f)) as [
    string,
    string,
    string,
  ];
  writeFileSync(certificateFile, certPem);
  writeFileSync(keyFile, keyPem);
  writeFileSync(tokenFile, `${TOKEN}\n`);
  return { listen: '0.0.0.0:0', certificateFile, keyFile, tokenFile };
}

interface Reply {
  readonly status: number;
  readonly text: string;
  readonly serial: string;
}

function get(port: number, o: { tls?: boolean; path?: string; token?: string; method?: string }): Promise<Reply> {
  const headers = o.token === undefined ? {} : { authorization: `Bearer ${o.token}` };
  const options = {
    host: '127.0.0.1',
    port,
    path: o.path ?? '/metrics',
    method: o.method ?? 'GET',
    headers,
    agent: false,
  };
  const trusted = { ca: ca.caPem, checkServerIdentity: () => undefined };
  return new Promise((resolve, reject) => {
    const send = o.tls === true ? httpsRequest({ ...options, ...trusted }) : httpRequest(options);
    send.on('error', reject);
    send.on('response', (res) => {
      const socket = res.socket as { getPeerCertificate?: () => { serialNumber: string } };
      const serial = socket.getPeerCertificate?.().serialNumber ?? '';
      let text = '';
      res.on('data', (d: Buffer) => (text += d.toString()));
      res.on('end', () => resolve({ status: res.statusCode ?? 0, text, serial }));
    });
    send.end();
  });
}

describe("the agent's own address for metrics", () => {
  it('answers programs on this host without ado, on one path', async () => {
    const port = await start({ listen: '127.0.0.1:0' });
    expect(await get(port, {})).toMatchObject({ status: 200, text: 'up 1\n' });
    expect((await get(port, { path: '/' })).status).toBe(404);
    expect((await get(port, { method: 'POST' })).status).toBe(405);
  });

  it('takes TLS and the token of its file elsewhere, and a new token at once', async () => {
    const config = await secured();
    const port = await start(config);
    expect((await get(port, { tls: true })).status).toBe(401);
    expect((await get(port, { tls: true, token: 'another' })).status).toBe(401);
    expect(await get(port, { tls: true, token: TOKEN })).toMatchObject({ status: 200, text: 'up 1\n' });
    await expect(get(port, { token: TOKEN })).rejects.toThrow();
    writeFileSync(config.tokenFile ?? '', 'a-token-that-is-new');
    expect((await get(port, { tls: true, token: TOKEN })).status).toBe(401);
    expect((await get(port, { tls: true, token: 'a-token-that-is-new' })).status).toBe(200);
    rmSync(config.tokenFile ?? '');
    expect((await get(port, { tls: true, token: 'a-token-that-is-new' })).status).toBe(401);
  });

  it('takes up a certificate that was renewed, and keeps the one before when the new one is broken', async () => {
    const config = await secured();
    const port = await start(config);
    const serial = async () => (await get(port, { tls: true, token: TOKEN })).serial;
    const first = await serial();
    const later = new Date(Date.now() + 60_000);
    writeFileSync(config.certificateFile ?? '', 'no certificate');
    utimesSync(config.certificateFile ?? '', later, later);
    await clock.advance(61_000);
    expect(await serial()).toBe(first);
    const renewed = await ca.issue({ uri: 'urn:berth:host:h1' });
    writeFileSync(config.certificateFile ?? '', renewed.certPem);
    writeFileSync(config.keyFile ?? '', renewed.keyPem);
    await clock.advance(61_000);
    expect(await serial()).not.toBe(first);
  });

  it("serves with the host's own certificate where none is configured, and follows it", async () => {
    const { tokenFile = '' } = await secured();
    const config = { listen: '0.0.0.0:0', tokenFile };
    await expect(start(config)).rejects.toThrow(/enrol it first/);
    own.now = await ca.issue({ uri: 'urn:berth:host:h1' });
    const port = await start(config);
    const { serial, status } = await get(port, { tls: true, token: TOKEN });
    expect(status).toBe(200);
    own.now = await ca.issue({ uri: 'urn:berth:host:h1' });
    for (const follower of own.followers) follower();
    expect((await get(port, { tls: true, token: TOKEN })).serial).not.toBe(serial);
    listener?.stop();
    expect(own.followers.size).toBe(0);
  });

  it('does not start on files that are missing, nor with a token that anybody could guess', async () => {
    const config = await secured();
    await expect(start({ ...config, keyFile: '/nowhere' })).rejects.toThrow(/\/nowhere can't be read/);
    writeFileSync(config.tokenFile ?? '', 'short');
    await expect(start(config)).rejects.toThrow(/at least 16 characters/);
  });

  it('answers no more than a few at once', async () => {
    let release: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (release = resolve));
    const port = await start({ listen: '127.0.0.1:0' }, () => gate.then(() => 'x\n'));
    const asked = Array.from({ length: 6 }, () => get(port, {}));
    expect((await Promise.race(asked)).status).toBe(503);
    release();
    const statuses = (await Promise.all(asked)).map((r) => r.status);
    // one that came late may have found a place again
    expect(statuses.filter((n) => n === 200).length).toBeGreaterThanOrEqual(4);
  });
});
