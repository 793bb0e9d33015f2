/** Definitions of every theme: golden XML, and the way back from it. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectGolden } from '@berth/test/harness/golden.ts';
import { describeDomain, type DomainDescription } from '../describe.ts';
import { readMark } from '../metadata.ts';
import { checkDomainSpec, specHash, type DomainSpec } from '../spec.ts';
import { arbitrarySpec } from './arbitrary.fixture.ts';
import { definitionHash, domainXml } from './definition.ts';
import type { DomainHost } from './host.ts';
import { host, images, THEMES, volumesOf } from './themes.fixture.ts';

const metadataIn = (xml: string): string => /<metadata>([\s\S]*)<\/metadata>/.exec(xml)?.[1] ?? '';
const back = (spec: DomainSpec, on: DomainHost = host, xml = domainXml(spec, on)): DomainDescription =>
  describeDomain({ xml, mark: readMark(metadataIn(xml))!, volumes: volumesOf(spec), images, host: on });

describe.each(Object.entries(THEMES))('a definition: %s', (name, theme) => {
  const spec = checkDomainSpec(theme);

  it('becomes this XML', () => expectGolden(import.meta.url, `${name}.golden.xml`, domainXml(spec, host)));

  it('is read back from it', () => {
    const { changes, ...found } = back(spec);
    expect(changes).toEqual([]);
    // a default that was spelt out is not said any more
    expect(definitionHash(found.spec, host)).toBe(definitionHash(spec, host));
    if (name !== 'everything') expect(found.spec).toEqual(spec);
  });
});

const kvm: DomainHost = { ...host, domainType: 'kvm', directIo: false };

describe('any definition', () => {
  it('comes back as it was said, with emulation and with KVM', () => {
    fc.assert(
      fc.property(arbitrarySpec, fc.constantFrom(host, kvm), (spec, on) => {
        const wanted = checkDomainSpec(spec);
        const found = back(wanted, on);
        expect(found.changes).toEqual([]);
        expect(found.foreign).toEqual([]);
        expect(found.spec).toEqual(wanted);
      }),
      { numRuns: 100 },
    );
  });

  it('has a hash that tells nothing of its passwords', () => {
    const screen = (password: string): DomainSpec => ({
      ...checkDomainSpec(THEMES['screens']!),
      hardware: { graphics: [{ type: 'vnc', password }] },
    });
    expect(specHash(screen('a'))).toBe(specHash(screen('b')));
    expect(definitionHash(screen('a'), host)).toBe(definitionHash(screen('b'), host));
    expect(domainXml(screen('a'), host)).toContain('passwd="a"');
  });
});

describe('what libvirt 9.0 keeps of a definition', () => {
  const dumped = (name: string): string => readFileSync(join(import.meta.dirname, 'dumped', `${name}.xml`), 'utf8');
  const names = readdirSync(join(import.meta.dirname, 'dumped')).map((n) => n.replace('.xml', ''));

  it.each(names)('comes back as it was said: %s', (name) => {
    const spec = checkDomainSpec(THEMES[name]!);
    const found = back(spec, host, dumped(name));
    expect(found.changes).toEqual([]);
    expect(definitionHash(found.spec, host)).toBe(definitionHash(spec, host));
  });

  it('and what somebody put in is told, each by itself', () => {
    const xml = dumped('devices')
      .replace(
        "<rng model='virtio'>",
        `<filesystem type='mount'><source dir='/srv'/><target dir='x'/></filesystem><rng model='virtio'>`,
      )
      .replace('</devices>', "<vsock model='virtio'><cid auto='yes'/></vsock></devices>")
      .replace('<os>', '<blkiotune><weight>500</weight></blkiotune><os>');
    const { changes, foreign } = back(checkDomainSpec(THEMES['devices']!), host, xml);
    expect(changes).toEqual([
      'its mount filesystem device is none that Berth makes',
      'its vsock device is none that Berth makes',
      'it has a <blkiotune>, which Berth knows nothing of',
    ]);
    expect(foreign.map((f) => f.device?.name ?? f.element?.name)).toEqual(['filesystem', 'vsock', 'blkiotune']);
  });
});
