import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkNames, judgeNames, lookUp, parseAhosts, type NameSeen } from './name-checks.ts';

const AHOSTS = `10.0.0.1        STREAM h1.example.org
10.0.0.1        DGRAM
10.0.0.1        RAW
fd00::1         STREAM
fd00::1         DGRAM
`;
const seen = (name: string, ...addresses: string[]): NameSeen => ({ name, canonical: name, addresses });
const words = (own: NameSeen, others: NameSeen[] = []) => judgeNames(own, others).map((c) => c.detail);

describe('the names of hosts', () => {
  it('are read as the resolver tells them, each address once', () => {
    expect(parseAhosts('h1', AHOSTS)).toEqual({
      name: 'h1',
      canonical: 'h1.example.org',
      addresses: ['10.0.0.1', 'fd00::1'],
    });
    expect(parseAhosts('h1', '')).toEqual({ name: 'h1', canonical: '', addresses: [] });
  });

  it('are shown with their domain and addresses, or said to be unknown', () => {
    expect(words(parseAhosts('h1', AHOSTS))).toEqual([
      'h1.example.org is 10.0.0.1, fd00::1',
      'the other hosts are known by their addresses',
    ]);
    expect(words(seen('h1', '127.0.1.1'))[0]).toBe(
      'h1 is 127.0.1.1, which only this host can reach, a name without a domain',
    );
    const [own] = judgeNames(seen('h1'), []);
    expect(own).toMatchObject({ ok: false, fatal: false });
    expect(own?.detail).toMatch(/^this host does not know its own name h1: .*\/etc\/hosts/);
  });

  it('of others that are not known here are named, the first five of many', () => {
    const [, one] = judgeNames(seen('h1', '10.0.0.1'), [seen('h2', '10.0.0.2'), seen('h3')]);
    expect(one).toMatchObject({ name: 'other-names', ok: false });
    expect(one?.detail).toMatch(/^not known here: h3; /);
    const many = Array.from({ length: 7 }, (_, i) => seen(`h${i}`));
    expect(words(seen('h1', '10.0.0.1'), many)[1]).toContain('h4 and 2 more');
    expect(words(seen('h1', '10.0.0.1'), [seen('h2', '10.0.0.2')])[1]).toBe('the name of the other host is known');
  });

  it('that are no names, or too many, are refused before anybody is asked', () => {
    for (const bad of ['', '-h', 'a b', 'a/b', '$(id)', 'x'.repeat(300)])
      expect(() => checkNames([bad])).toThrow(/is not the name of a host/);
    expect(() => checkNames(Array.from({ length: 33 }, (_, i) => `h${i}`))).toThrow(/too many/);
    expect(checkNames(['h1', 'h1.example.org', 'my_host'])).toHaveLength(3);
  });

  it('are not known when the resolver fails or does not end', async () => {
    const exec = { run: () => Promise.reject(new Error('timed out')) };
    expect(await lookUp(exec, 'h9')).toEqual({ name: 'h9', canonical: '', addresses: [] });
  });

  it('whatever the resolver says, no line of it becomes more than an address', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        for (const a of parseAhosts('h1', text).addresses) expect(a).toMatch(/^[0-9a-zA-Z:.%]+$/);
      }),
    );
  });
});
