import type { Image } from '@berth/shared/model/image.ts';
import type { ImageId } from '@berth/shared/model/ids.ts';
import { describe, expect, it } from 'vitest';
import type { Tables } from '../state/state.ts';
import { Guests } from '../guests/guests.ts';
import { newVm, type CloneVm, type CreateVm } from './vm-request.ts';

const from = {
  tables: { clusters: new Map(), vms: { byMac: () => undefined } } as unknown as Tables,
  random: { next: () => 0 },
  nowMs: 1_700_000_000_000,
  guests: new Guests(),
  imageOf: () => image,
};
const image: Image = {
  id: 'image-1' as ImageId,
  name: 'base',
  state: 'available',
  digest: 'sha256:x',
  sourceDigest: 'x',
  virtualSizeBytes: 2 ** 30,
  createdAtMs: 0,
};
const request = (over: Partial<CloneVm> = {}): CreateVm & Partial<CloneVm> => ({
  name: 'web',
  vcpus: 0,
  memoryBytes: 0,
  diskSizeBytes: 0,
  host: '',
  bridge: '',
  mac: '',
  labels: {},
  dryRun: false,
  ...over,
});
const refused = (over: Partial<CloneVm>): string => {
  try {
    newVm(from, request(over), image);
    return 'accepted';
  } catch (e) {
    return (e as Error).message;
  }
};

describe('a request for a VM', () => {
  it('gets the defaults for what it leaves out', () => {
    const vm = newVm(from, request(), image);
    expect(vm).toMatchObject({ name: 'web', phase: 'creating', desiredPower: 'off' });
    expect(vm.spec).toMatchObject({ vcpus: 1, memoryBytes: 512 * 2 ** 20, runPolicy: 'manual' });
    expect(vm.spec.disks[0]).toMatchObject({ target: 'vda', sizeBytes: 2 ** 30, imageId: 'image-1' });
    expect(vm.spec.nics[0]).toMatchObject({ mac: '52:54:00:00:00:00', bridge: 'br0', model: 'virtio' });
    expect(vm.spec.seedVolumeId).toMatch(/^volume-/);
    expect(newVm(from, request(), undefined).spec.seedVolumeId).toBeUndefined();
  });

  it('says whether it is started again by itself', () => {
    expect(newVm(from, request({ runPolicy: 'always' }), image).spec.runPolicy).toBe('always');
    expect(refused({ runPolicy: 'sometimes' })).toBe('"sometimes" is no run policy: manual, restartOnFailure, always');
  });

  it('is refused with one line that says what is wrong with which field', () => {
    expect([
      refused({ name: '' }),
      refused({ name: '../web' }),
      refused({ name: 'Web' }),
      refused({ name: 'x'.repeat(64) }),
      refused({ name: 'vm-01hf7yat00aa0000000000' }),
      refused({ vcpus: 5000 }),
      refused({ memoryBytes: -1 }),
      refused({ diskSizeBytes: 1000 }),
      refused({ diskSizeBytes: 2 ** 50 }),
      refused({ bridge: 'br0; rm' }),
      refused({ address: '10.0.0.1' }),
      refused({ address: '10.0.0.1/33' }),
      refused({ gateway: 'gw' }),
      refused({ dns: ['8.8.8.8', 'x'] }),
      refused({ sshKeys: ['hello'] }),
      refused({ userData: 'x'.repeat(65_537) }),
      refused({ labels: { 'a b': 'c' } }),
    ]).toMatchInlineSnapshot(`
      [
        "a vm needs a name",
        ""../web" cannot be the name of a vm: use up to 63 small letters, digits and hyphens, with a letter or digit at both ends (like web-01)",
        ""Web" cannot be the name of a vm: use up to 63 small letters, digits and hyphens, with a letter or digit at both ends (like web-01)",
        ""xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" cannot be the name of a vm: use up to 63 small letters, digits and hyphens, with a letter or digit at both ends (like web-01)",
        "accepted",
        "vCPUs must be between 1 and 1024, not 5000",
        "memory must be between 16 MiB and 64 TiB, not -1 B",
        "a disk of 1000 B is too small for image base: it needs 1 GiB or more",
        "the disk size must be between 1 MiB and 64 TiB, not 1 PiB",
        ""br0; rm" is not the name of a bridge",
        ""10.0.0.1" is not an address with a prefix: write it like 10.0.0.11/24",
        ""10.0.0.1/33" is not an address with a prefix: write it like 10.0.0.11/24",
        "the gateway must be an IP address, not "gw"",
        "a DNS server must be an IP address, not "x"",
        ""hello" is not an SSH public key (ssh-ed25519 AAAA…)",
        "user-data is 65537 bytes long; 65536 are allowed",
        ""a b=c" is not a label: write it like zone=b",
      ]
    `);
  });
});
