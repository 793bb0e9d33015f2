/** How guests learn who they are: what may be asked for when a VM is made, when it is changed, and later. */
import { describe, expect, it } from 'vitest';
import type { ImageId } from '@berth/shared/model/ids.ts';
import type { Image } from '@berth/shared/model/image.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import { Guests } from '../guests/guests.ts';
import { offlineWanted } from '../jobs/offline-identity.ts';
import type { Tables } from '../state/state.ts';
import { checkCustomize, customizeParams, identityOf, type CustomizeVm } from './vm-identity.ts';
import { newVm, type CloneVm } from './vm-request.ts';

const image = {
  id: 'image-1',
  name: 'base',
  state: 'available',
  digest: 'sha256:x',
  virtualSizeBytes: 2 ** 30,
} as unknown as Image;
const from = {
  tables: {
    clusters: new Map(),
    vms: { byMac: () => undefined, byAddress: () => [], byPort: () => [] },
  } as unknown as Tables,
  random: { next: () => 0 },
  nowMs: 1_700_000_000_000,
  guests: new Guests(),
  imageOf: () => image,
};
const clone = (over: Partial<CloneVm>, below: Image | null = image): Vm =>
  newVm(
    from,
    {
      ...{ name: 'web', vcpus: 0, memoryBytes: 0, diskSizeBytes: 2 ** 30, host: '', bridge: '', mac: '' },
      ...{ labels: {}, dryRun: false },
      ...over,
    },
    below ?? undefined,
  );
const SCRIPT = '#!/bin/sh\necho hi\n';
const key = 'ssh-ed25519 AAAA me';

describe('a VM that is made', () => {
  it('is told who it is by a seed, unless something else is said', () => {
    const { spec } = clone({});
    expect(spec.seedVolumeId).toBeDefined();
    expect(spec).not.toHaveProperty('identity');
    expect(offlineWanted(clone({}))).toBeUndefined();
    expect(clone({ identity: 'cloud-init' }).spec.seedVolumeId).toBeDefined();
  });

  it('has no seed when it is told on its disk: name, addresses, keys, script, and nothing of its template', () => {
    const vm = clone({
      identity: 'offline',
      firstBoot: SCRIPT,
      address: '10.0.0.7/24',
      gateway: '10.0.0.1',
      sshKeys: [key],
    });
    expect(vm.spec).toMatchObject({ identity: 'offline', seedVolumeId: undefined });
    expect(offlineWanted(vm)).toMatchObject({
      volumeId: vm.spec.disks[0]?.volumeId,
      domainUuid: vm.uuid,
      actions: {
        ...{ hostname: 'web', sshKeys: [key], firstBoot: SCRIPT, newMachineId: true, newHostKeys: true },
        nics: [{ mac: vm.spec.nics[0]?.mac, address: '10.0.0.7/24', gateway: '10.0.0.1', dns: [] }],
      },
    });
  });

  it('is told nothing when nothing is wanted', () => {
    const vm = clone({ identity: 'none' });
    expect(vm.spec).toMatchObject({ identity: 'none', seedVolumeId: undefined });
    expect(offlineWanted(vm)).toBeUndefined();
  });

  it('takes it from its definition, and from what is said beside it first', () => {
    expect(clone({ definition: { identity: 'offline' } }).spec.identity).toBe('offline');
    expect(clone({ definition: { identity: 'offline' }, identity: 'none' }).spec.identity).toBe('none');
  });

  it.each([
    [{ identity: 'magic' }, /no way to an identity: cloud-init, offline, none/],
    [{ firstBoot: SCRIPT }, /goes with identity offline/],
    [{ identity: 'none', firstBoot: SCRIPT }, /goes with identity offline/],
    [{ identity: 'offline', userData: '#cloud-config' }, /read by cloud-init alone/],
    [{ identity: 'offline', firstBoot: 'echo' }, /first line/],
  ])('%o is refused', (over, words) => {
    expect(() => clone(over)).toThrow(words);
  });

  it('cannot be told on a disk that has no guest', () => {
    expect(() => clone({ identity: 'offline' }, null)).toThrow(/no disk has an image with a guest on it/);
  });
});

describe('a VM that is there', () => {
  const offline = clone({ identity: 'offline' }).spec;

  it('keeps the way that it was told, said again or not', () => {
    expect(identityOf('vm web', {}, offline)).toEqual({ identity: 'offline' });
    expect(identityOf('vm web', { identity: 'offline' }, offline)).toEqual({ identity: 'offline' });
    expect(identityOf('vm web', { identity: 'cloud-init' }, clone({}).spec)).toEqual({});
  });

  it('cannot be told another way, and hears what can be done instead', () => {
    expect(() => identityOf('vm web', { identity: 'none' }, offline)).toThrow(
      /chosen when the vm was made.*berth vm customize/,
    );
  });

  const NOTHING: CustomizeVm = {
    ...{ hostname: '', address: '', gateway: '', dns: [], sshKeys: [], sshUser: '', firstBoot: '' },
    ...{ serialLogin: false, newMachineId: false, newHostKeys: false, generalize: false },
  };

  it.each([
    [{}, /nothing was asked for/],
    [{ gateway: '10.0.0.1' }, /nothing was asked for/],
    [{ hostname: 'x', gateway: '10.0.0.1' }, /go with an address/],
    [{ address: 'dhcp', gateway: '10.0.0.1' }, /by DHCP/],
    [{ address: '10.0.0.7' }, /not an address with a prefix/],
    [{ address: '10.0.0.7/24', gateway: 'x' }, /must be an IP address/],
    [{ firstBoot: 'echo' }, /first line/],
  ])('%o is refused', (over, words) => {
    expect(() => checkCustomize({ ...NOTHING, ...over })).toThrow(words);
  });

  it('gets an address on its first card, by DHCP too, and needs a disk and a card for it', () => {
    const vm = clone({});
    expect(customizeParams(from.tables, vm, { ...NOTHING, address: '10.0.0.7/24' }).network).toMatchObject({
      address: '10.0.0.7/24',
    });
    expect(customizeParams(from.tables, vm, { ...NOTHING, address: 'dhcp' }).network).toMatchObject({ address: '' });
    expect(customizeParams(from.tables, vm, { ...NOTHING, hostname: 'x' })).not.toHaveProperty('network');
    const bare = { ...vm, spec: { ...vm.spec, nics: [] } };
    expect(() => customizeParams(from.tables, bare, { ...NOTHING, address: 'dhcp' })).toThrow(/has no network card/);
    expect(() =>
      customizeParams(from.tables, { ...vm, spec: { ...vm.spec, disks: [] } }, { ...NOTHING, hostname: 'x' }),
    ).toThrow(/has no disk/);
  });

  it('is changed on the disk that has its image', () => {
    const vm = clone({});
    const data = { ...vm.spec.disks[0]!, target: 'vdb', volumeId: 'volume-data' as never, imageId: undefined };
    const two = { ...vm, spec: { ...vm.spec, identity: 'offline' as const, disks: [data, ...vm.spec.disks] } };
    expect(offlineWanted(two)?.volumeId).toBe(vm.spec.disks[0]?.volumeId);
    expect(vm.spec.disks[0]?.imageId).toBe('image-1' as ImageId);
  });
});
