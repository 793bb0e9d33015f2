/** The pure pieces of the lab: recipes, addresses, mounts, and what stands in its way. */
import { describe, expect, it } from 'vitest';
import { tmpfs } from './host-container.ts';
import { bridgeAddress } from './lab.ts';
import { hostAddress } from './network.ts';
import { labObstacle } from './obstacle.js';
import { guestImagePath, hostImageTag, mirrorLines, mmdebstrapArguments, readNames, recipeHash } from './recipe.js';

describe('a recipe', () => {
  it('has the same hash whatever the order of its files, and another for any change', () => {
    const hash = recipeHash({ a: '1', b: '2' });
    expect(hash).toMatch(/^[0-9a-f]{12}$/);
    expect(recipeHash({ b: '2', a: '1' })).toBe(hash);
    expect(recipeHash({ a: '1', b: '3' })).not.toBe(hash);
    expect(recipeHash({ a: '12', b: '' })).not.toBe(recipeHash({ a: '1', b: '2' }));
  });

  it('names packages one per line, with comments', () => {
    expect(readNames('# why\nqemu-utils\n\n tini # reaps\n')).toEqual(['qemu-utils', 'tini']);
  });

  it('does not depend on the mirror, which differs between machines', () => {
    expect(mmdebstrapArguments(['deb x bookworm main'])).toEqual([...mmdebstrapArguments(), 'deb x bookworm main']);
    expect(hostImageTag()).toMatch(/^berth-lab-host:[0-9a-f]{12}$/);
    expect(guestImagePath()).toMatch(/\/\.lab\/guest-[0-9a-f]{12}\/base\.qcow2$/);
  });

  it("takes the machine's own mirrors only when they serve the suite", () => {
    const targets = [
      'http://m/debian/ bookworm main Debian',
      'http://m/debian/ bookworm contrib Debian',
      'http://m/debian/ bookworm-backports main Debian',
      'http://m/security/ bookworm-security main Debian',
      'http://other/ nodistro main Other',
    ].join('\n');
    expect(mirrorLines(targets)).toEqual([
      'deb http://m/debian/ bookworm main',
      'deb http://m/security/ bookworm-security main',
    ]);
    expect(mirrorLines('http://m/ubuntu/ noble main Ubuntu\n')).toEqual([]);
  });
});

describe('a host', () => {
  it('has an address of its own behind the ones Docker keeps', () => {
    expect(hostAddress('172.19.0.0/16', 0)).toBe('172.19.0.10');
    expect(hostAddress('192.168.255.0/24', 2)).toBe('192.168.255.12');
    expect(hostAddress('10.0.0.0/8', 246)).toBe('10.0.1.0');
  });

  it('has a bridge address that no other host has', () => {
    expect([0, 1].map(bridgeAddress)).toEqual(['10.77.0.254/24', '10.77.0.253/24']);
  });

  it('loses /run with every boot, and has a small disk only when asked', () => {
    expect(Object.keys(tmpfs({}))).toEqual(['/run']);
    expect(tmpfs({ disk: { limitBytes: 4096 } })['/var/lib/berth']).toContain('size=4096');
    expect(Object.keys(tmpfs({ disk: { limitBytes: 1, path: '/pool' } }))).toContain('/pool');
  });
});

describe('what stands in the way of a lab', () => {
  const linux = { platform: 'linux', arch: 'x64', exists: () => true };

  it('is nothing on a Linux machine with TUN', () => {
    expect(labObstacle(linux)).toBeUndefined();
  });

  it('is told in one line that points to the simulation', () => {
    for (const machine of [{ platform: 'darwin' }, { arch: 'arm64' }, { exists: () => false }]) {
      expect(labObstacle({ ...linux, ...machine })).toMatch(/--simulate$/);
      expect(labObstacle({ ...linux, ...machine })).not.toContain('\n');
    }
  });
});
