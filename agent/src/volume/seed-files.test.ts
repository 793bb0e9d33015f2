/** The files of a seed (golden), and what a seed may hold. */
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { expectGolden } from '@berth/test/harness/golden.ts';
import { seedFiles, type Seed } from './seed-files.ts';

const seed: Seed = {
  instanceId: 'vm-web',
  hostname: 'web',
  nics: [
    { mac: '52:54:00:0A:0B:0C', address: '10.77.0.11/24', gateway: '10.77.0.1', dns: ['10.77.0.1', '9.9.9.9'] },
    { mac: '52:54:00:0a:0b:0d', address: '', gateway: '', dns: [] },
    { mac: '52:54:00:0a:0b:0e', address: 'fd00::11/64', gateway: 'fd00::1', dns: [] },
  ],
  sshKeys: ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8 ops@example: "quoted"'],
  userData: '',
};
const all = (s: Seed): string =>
  Object.entries(seedFiles(s))
    .map(([name, text]) => `==> ${name}\n${text}`)
    .join('\n');

describe('a NoCloud seed', () => {
  it('is what it was', () => expectGolden(import.meta.url, 'seed.golden.txt', all(seed)));

  it('carries user-data as it was given, and the keys beside it', () => {
    const userData = '#!/bin/sh\necho "  hi"\n';
    const files = seedFiles({ ...seed, userData });
    expect(files['user-data']).toBe(userData);
    expect(parse(files['meta-data'] ?? '')).toMatchObject({ 'public-keys': seed.sshKeys });
  });

  it('is YAML that says what it was told', () => {
    const files = seedFiles(seed);
    expect(parse(files['meta-data'] ?? '')).toEqual({ 'instance-id': 'vm-web', 'local-hostname': 'web' });
    expect(parse(files['user-data'] ?? '')).toMatchObject({ ssh_authorized_keys: seed.sshKeys });
  });

  const nic = { mac: '52:54:00:0a:0b:0c', address: '', gateway: '', dns: [] };
  it.each([
    { hostname: 'a b' },
    { hostname: '../x' },
    { hostname: 'a\nruncmd: [x]' },
    { instanceId: '' },
    { sshKeys: ['ssh-rsa AAAA\nssh-rsa BBBB'] },
    { nics: [{ ...nic, mac: 'zz' }] },
    { nics: [{ ...nic, address: '10.0.0.1' }] },
    { nics: [{ ...nic, address: '10.0.0.1/33' }] },
    { nics: [{ ...nic, gateway: 'gw' }] },
    { userData: 'x'.repeat(2 ** 20 + 1) },
  ])('is refused with %j', (over) => expect(() => seedFiles({ ...seed, ...over })).toThrow());
});
