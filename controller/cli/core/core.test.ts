import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { labels } from './command.ts';
import { configStore } from './config.ts';
import { errorText, exitCode } from './exit.ts';
import { shortDigest, vmStateWord } from './words.ts';

describe('exit codes', () => {
  it('tell scripts what kind of failure it was', () => {
    expect(exitCode(new ClusterError('NOT_FOUND', 'x'))).toBe(3);
    expect(exitCode(new ClusterError('RESOURCE_BUSY', 'x'))).toBe(4);
    expect(exitCode(new ClusterError('HOST_UNREACHABLE', 'x'))).toBe(5);
    expect(exitCode(new ClusterError('PERMISSION_DENIED', 'x'))).toBe(6);
    expect(exitCode(new ClusterError('NO_CAPACITY', 'x'))).toBe(1);
    expect(exitCode(new TypeError('x'))).toBe(1);
  });
  it('go with one line and its causes, never a stack', () => {
    expect(errorText(new ClusterError('INTERNAL', 'a', {}, { cause: new Error('b') }))).toBe('a: b');
  });
});

describe('the configuration file', () => {
  let dir: string;
  const saved = { ...process.env };
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'berth-cli-'));
    process.env['BERTH_CONFIG'] = join(dir, 'config.yaml');
    delete process.env['BERTH_CONTEXT'];
  });
  afterEach(() => {
    process.env = { ...saved };
    rmSync(dir, { recursive: true, force: true });
  });
  const endpoint = { controller: '127.0.0.1:7443', ca: 'CA', token: 'token-1.secret' };

  it('is found as if variables that are empty were not set', () => {
    const store = configStore(undefined);
    store.save({ current: 'a', contexts: { a: endpoint } });
    process.env['BERTH_CONTEXT'] = '';
    expect(configStore(undefined).current()).toBe('a');
    Object.assign(process.env, { BERTH_CONFIG: '', XDG_CONFIG_HOME: dir });
    expect(configStore(undefined).path).toBe(join(dir, 'berth', 'config.yaml'));
    process.env['XDG_CONFIG_HOME'] = '';
    expect(configStore(undefined).path).toBe(join(homedir(), '.config', 'berth', 'config.yaml'));
  });

  it('is read back, and readable by its owner only', () => {
    const store = configStore(undefined);
    store.save({ current: 'a', contexts: { a: endpoint } });
    expect(configStore(undefined).endpoint()).toEqual(endpoint);
    expect(statSync(store.path).mode & 0o777).toBe(0o600);
  });
  it('keeps a client certificate with its key and the time of its renewal', () => {
    const client = { certificate: 'CERT\n', key: 'KEY\n', renewsAtMs: 1_800_000_000_000 };
    const store = configStore(undefined);
    const contexts = {
      a: { controller: 'c:1', ca: 'CA', client },
      b: { controller: 'c:1', ca: 'CA', client: { ...client, renewsAtMs: undefined } },
    };
    store.save({ current: 'a', contexts });
    expect(store.load().contexts).toEqual(contexts);
  });
  it.each([
    ['neither', '{ controller: c, ca: x }', /contexts: a: either token or client is needed/],
    ['both', '{ controller: c, ca: x, token: t, client: {} }', /contexts: a: either token or client is needed/],
    ['half a pair', '{ controller: c, ca: x, client: { key: k } }', /contexts: a: client: certificate: a text/],
    ['no time', '{ controller: c, ca: x, client: { key: k, certificate: c, renewsAt: soon } }', /renewsAt: a time/],
  ])('with %s to show is refused', (_, text, words) => {
    writeFileSync(join(dir, 'config.yaml'), `contexts: { a: ${text} }`);
    expect(() => configStore(undefined).load()).toThrow(words);
  });
  it('gives the context that was asked for, or says which ones there are', () => {
    configStore(undefined).save({ current: 'a', contexts: { a: endpoint } });
    expect(() => configStore('b').endpoint()).toThrow(/no context b.*Known: a/);
    process.env['BERTH_CONTEXT'] = 'c';
    expect(() => configStore(undefined).endpoint()).toThrow(/no context c/);
  });
  it('tells how to log in when there is none', () => {
    expect(() => configStore(undefined).endpoint()).toThrow(/not logged in/);
  });
  it('is not trusted when it is broken', () => {
    writeFileSync(join(dir, 'config.yaml'), 'contexts: [1]');
    expect(() => configStore(undefined).load()).toThrow(
      /not a valid configuration \(contexts: .*\); mend or remove it$/,
    );
  });
});

describe('words', () => {
  it('come from enums without their prefix', () => expect(vmStateWord(4)).toBe('running'));
  it('shorten digests', () => expect(shortDigest(`sha256:9f2c${'0'.repeat(58)}e1`)).toBe('sha256:9f2c…e1'));
  it('read labels', () => {
    expect(labels({ label: ['zone=b', 'tier=web=1'] })).toEqual({ zone: 'b', tier: 'web=1' });
    expect(() => labels({ label: ['zone'] })).toThrow(/key=value/);
  });
});
