import { expect, it } from 'vitest';
import { Guest } from '@berth/proto/v1/guest.ts';
import { VmNic, VmSpec } from '@berth/proto/v1/vm.ts';
import { addressOf } from './address.ts';

const MAC = '52:54:00:00:00:01';
const address = (given: string, ...said: string[]) =>
  addressOf({
    spec: VmSpec.fromPartial({ nics: [VmNic.fromPartial({ mac: MAC, address: given })] }),
    guest: Guest.fromPartial({ interfaces: [{ name: 'eth0', mac: MAC.toUpperCase(), addresses: said }] }),
  });

it('is what the VM was given, unless its guest has others there', () => {
  expect(address('10.0.0.5/24')).toBe('10.0.0.5');
  expect(address('10.0.0.5/24', 'fe80::1/64', '10.0.0.5/24')).toBe('10.0.0.5');
  expect(address('10.0.0.5/24', '10.0.0.9/24')).toBe('10.0.0.9');
});

it('is what its guest reports where none was given: IPv4 before IPv6, none that counts only on its link', () => {
  expect(address('', 'fd00::5/64', '10.0.0.9/24')).toBe('10.0.0.9');
  expect(address('', 'fe80::1/64', 'fd00::5/64')).toBe('fd00::5');
  expect(address('', '127.0.0.1/8', '169.254.3.4/16')).toBeUndefined();
});

it('is not that of another card', () => {
  const guest = Guest.fromPartial({
    interfaces: [{ name: 'docker0', mac: '02:42:00:00:00:01', addresses: ['172.17.0.1/16'] }],
  });
  expect(addressOf({ spec: VmSpec.fromPartial({ nics: [VmNic.fromPartial({ mac: MAC })] }), guest })).toBeUndefined();
});
