/** Where a VM can be reached, as far as is known here. */
import type { Vm } from '@berth/proto/v1/vm.ts';

/** Without the length of its network; undefined when none is known. The static address of its first card that has one. */
export const addressOf = (vm: Pick<Vm, 'spec'>): string | undefined =>
  vm.spec?.nics.map((n) => n.address.split('/')[0] ?? '').find((a) => a !== '');
