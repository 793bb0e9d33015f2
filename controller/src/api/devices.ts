/** Who may give a VM a device of its host. */
import { isDeepStrictEqual } from 'node:util';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Hardware } from '@berth/shared/hardware/schema.ts';
import type { Asker } from './scope.ts';

type Devices = Hardware['hostDevices'];

/**
 * Whoever has a device whole (a disk controller, a network card) has what hangs on it, and past a host without an IOMMU its
 * memory too: that is the host, not one VM of it. What the VM has already may stay. @throws PERMISSION_DENIED
 */
export function insistDevices(asker: Pick<Asker, 'access' | 'user'>, after: Devices = [], before: Devices = []): void {
  const added = after.find((d) => !before.some((b) => isDeepStrictEqual(b, d)));
  if (added === undefined || asker.access.everywhere('admin')) return;
  const what = 'pci' in added ? `PCI device ${added.pci}` : `USB device ${added.usb}`;
  throw new ClusterError(
    'PERMISSION_DENIED',
    `hostDevices: ${what} is the host's own, and whoever has it can reach the host through it: ` +
      `giving it to a VM takes the role admin everywhere, which ${asker.user} does not have. Ask an administrator`,
  );
}
