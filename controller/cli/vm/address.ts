/** Where a VM can be reached, as far as is known here. */
import type { Guest } from '@berth/proto/v1/guest.ts';
import type { Vm, VmNic } from '@berth/proto/v1/vm.ts';

const isOwn = (cidr: string): boolean => /^(127\.|::1\/|fe80:|169\.254\.)/i.test(cidr);
const bare = (cidr: string): string => cidr.split('/')[0] ?? '';

/**
 * Without the length of its network; undefined when none is known. Of its first card that has one: the address that it was
 * given, unless its guest says that it has others there; IPv4 before IPv6. Those that only count on its own link are left out.
 */
export function addressOf({ spec, guest }: Pick<Vm, 'spec' | 'guest'>): string | undefined {
  for (const nic of spec?.nics ?? []) {
    const given = bare(nic.address);
    const said = saidOf(nic, guest);
    if (given !== '' && (said.length === 0 || said.includes(given))) return given;
    const best = said.find((a) => !a.includes(':')) ?? said[0];
    if (best !== undefined) return best;
  }
  return undefined;
}

const saidOf = (nic: VmNic, guest: Guest | undefined): string[] =>
  (guest?.interfaces ?? [])
    .filter((i) => i.mac.toLowerCase() === nic.mac.toLowerCase())
    .flatMap((i) => i.addresses)
    .filter((a) => !isOwn(a))
    .map(bare);
