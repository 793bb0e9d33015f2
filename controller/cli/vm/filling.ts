/** How much of the image below a disk is on the VM's host, in words. */
import type { DiskFilling, Vm } from '@berth/proto/v1/vm.ts';

export const shareOf = ({ localBytes, totalBytes }: DiskFilling): number =>
  totalBytes === 0n ? 0 : Math.floor(Number((localBytes * 100n) / totalBytes));

/** `37 % of base is here, rest from h2`. */
export const fillingWords = (f: DiskFilling, image: string): string =>
  `${shareOf(f)} % of ${image} is here, ${f.from === '' ? `the rest does not come: ${f.waiting}` : `rest from ${f.from}`}`;

/** Of the disk of which least is there; empty when all is. */
export function localWord({ spec }: Pick<Vm, 'spec'>): string {
  const shares = (spec?.disks ?? []).flatMap((d) => (d.filling ? [shareOf(d.filling)] : []));
  return shares.length === 0 ? '' : `${Math.min(...shares)} %`;
}
