import { expect, it } from 'vitest';
import { isSshKey, sshKeyLines } from './ssh-key.ts';

it('knows keys as ssh-keygen and people write them', () => {
  const keys = [
    'ssh-ed25519 AAAAC3Nz me@home',
    'ecdsa-sha2-nistp256 AAAAE2Vj=',
    'sk-ssh-ed25519@openssh.com AAAAGnNr two words',
    'ssh-ed25519-cert-v01@openssh.com AAAAIHNz',
    'no-pty,from="10.0.0.0/8,!10.0.0.1" ssh-rsa AAAAB3Nz me',
    String.raw`command="echo \"a b\"",restrict ssh-ed25519 AAAAC3Nz`,
  ];
  expect(keys.filter((k) => !isSshKey(k))).toEqual([]);
});

it('takes nothing else for a key', () => {
  const others = [
    '',
    'hello',
    'ssh-ed25519',
    'ssh-ed25519 AA!AA',
    '-----BEGIN OPENSSH PRIVATE KEY-----',
    'ssh-ed25519 AAAA\nssh-ed25519 BBBB',
    'command="open ssh-ed25519 AAAA',
    `ssh-rsa ${'A'.repeat(20_000)}`,
  ];
  expect(others.filter(isSshKey)).toEqual([]);
  expect(isSshKey(`ssh-ed25519 AAAA ${'"'.repeat(10_000)}`)).toBe(true); // and at once
});

it('reads files of keys from any system, with comments in them', () => {
  expect(sshKeyLines('\uFEFFssh-ed25519 AAAA me\r\n# of you\r\n\r\n  ssh-rsa BBBB you\r\n')).toEqual([
    'ssh-ed25519 AAAA me',
    'ssh-rsa BBBB you',
  ]);
  expect(sshKeyLines('# nothing\n')).toEqual(['']);
});
