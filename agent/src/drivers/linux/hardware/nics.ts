/** Network cards and what is stacked on them (bonds, VLANs), below /sys/class/net. Bridges and the taps of guests are not hardware. */
import { MOST_OF_A_KIND, type NicInventory } from '@berth/shared/model/inventory.ts';
import type { RootFiles } from '../root-files.ts';
import { each } from './each.ts';
import { natural, words } from './numbers.ts';
import { pciAddressIn } from './pci.ts';

const NET = '/sys/class/net';

/** Physical ones first. */
export async function readNics(files: RootFiles): Promise<NicInventory[]> {
  const names = (await files.names(NET)).filter((n) => n !== 'lo').slice(0, MOST_OF_A_KIND.nics);
  const nics = await each(names, (name) => readNic(files, name));
  return [...nics.filter((n) => n.kind === 'physical'), ...nics.filter((n) => n.kind !== 'physical')];
}

async function readNic(files: RootFiles, name: string): Promise<NicInventory | undefined> {
  const at = `${NET}/${name}`;
  const type = /^DEVTYPE=(\w{1,16})$/m.exec(await files.text(`${at}/uevent`))?.[1];
  const mtu = natural(await files.line(`${at}/mtu`));
  const isTap = await files.exists(`${at}/tun_flags`);
  // a file among the interfaces (bonding_masters), a bridge, a guest's tap
  if (mtu === undefined || type === 'bridge' || isTap) return undefined;
  const hasDevice = await files.exists(`${at}/device`);
  return {
    name,
    mac: words(await files.line(`${at}/address`)),
    kind: hasDevice ? 'physical' : (type ?? 'virtual'),
    link: linkOf(await files.line(`${at}/operstate`), await files.line(`${at}/carrier`)),
    // what has no link says -1, or nothing
    speedMbps: natural(await files.line(`${at}/speed`)) ?? 0,
    driver: await files.linkName(`${at}/device/driver`),
    mtu,
    pciAddress: hasDevice ? pciAddressIn(await files.realPath(`${at}/device`)) : '',
  };
}

/** Some drivers never learn their state, but know whether there is a carrier. */
export function linkOf(operstate: string, carrier: string): NicInventory['link'] {
  if (operstate === 'up' || carrier === '1') return 'up';
  return operstate === 'unknown' || operstate === '' ? 'unknown' : 'down';
}
