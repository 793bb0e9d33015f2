/** Which devices guests get by their names, with and without libosinfo's data. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { Guests } from './guests.ts';
import { readOsinfo } from './osinfo.ts';

const dir = mkdtempSync(join(tmpdir(), 'berth-osinfo-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe('without more data', () => {
  const guests = new Guests();
  it.each([
    ['rhel4', 'ide', 'rtl8139', 'pc'],
    ['centos5.8', 'virtio', 'virtio', 'pc'],
    ['rhel6', 'virtio', 'virtio', 'pc'],
    ['rhel7', 'virtio', 'virtio', undefined],
    ['rhel9.2', 'virtio', 'virtio', undefined],
    ['debian12', 'virtio', 'virtio', undefined],
    ['ubuntu22.04', 'virtio', 'virtio', undefined],
    ['winxp', 'ide', 'rtl8139', 'pc'],
    ['win10', 'sata', 'e1000e', undefined],
    ['win11', 'sata', 'e1000e', 'q35'],
    ['freebsd14', 'virtio', 'virtio', undefined],
    ['generic', 'sata', 'e1000', undefined],
  ])('%s has disks on %s, a %s card and machine %s', (name, diskBus, nicModel, machine) => {
    const found = guests.devices(name);
    expect(found).toMatchObject({ diskBus, nicModel });
    expect(found.hardware.machine).toBe(machine);
  });

  it('each that is offered is known', () => {
    for (const { name } of guests.list()) expect(guests.devices(name)).toBeDefined();
  });

  it('any other is refused with those that are spelt nearly so', () => {
    expect(() => guests.devices('widnows10')).toThrow(/no guest that is known here/);
    expect(() => guests.devices('debain12')).toThrow(/Did you mean debian12/);
  });
});

it("libosinfo's data adds names, memory, and what has no drivers for virtio", async () => {
  mkdirSync(join(dir, 'os', 'haiku.org'), { recursive: true });
  const os = (id: string, name: string, more: string) =>
    writeFileSync(
      join(dir, 'os', 'haiku.org', `${name}.xml`),
      `<libosinfo version="0.0.1"><os id="${id}"><short-id>${name}</short-id><name>Haiku ${name}</name><name xml:lang="de">H</name>
       <family>haiku</family>${more}</os></libosinfo>`,
    );
  const device = (id: string) => `<device id="http://pcisig.com/pci/${id}"/>`;
  const ram =
    '<resources arch="all"><minimum><ram>268435456</ram></minimum><recommended><ram>2147483648</ram></recommended></resources>';
  os('http://haiku/1', 'haiku1', `<devices>${device('8086/100e')}</devices>${ram}`);
  os(
    'http://haiku/2',
    'haiku2',
    `<derives-from id="http://haiku/1"/><devices>${device('1af4/1001')}${device('1af4/1000')}</devices>`,
  );
  os('http://haiku/3', 'debian12', `<devices>${device('8086/10d3')}</devices>`);
  writeFileSync(join(dir, 'os', 'broken.xml'), '<libosinfo><os');
  const guests = new Guests();
  guests.learn(await readOsinfo(dir));
  expect(guests.devices('haiku1')).toMatchObject({ diskBus: 'sata', nicModel: 'e1000', memoryBytes: 2 ** 31 });
  expect(guests.devices('haiku2')).toMatchObject({ diskBus: 'virtio', nicModel: 'virtio' });
  expect(guests.devices('debian12')).toMatchObject({ diskBus: 'sata', nicModel: 'e1000e' });
  expect(guests.list().find((g) => g.name === 'haiku1')).toEqual({
    name: 'haiku1',
    title: 'Haiku haiku1',
    family: 'haiku',
  });
  expect(await readOsinfo(join(dir, 'nowhere'))).toEqual(new Map());
});
