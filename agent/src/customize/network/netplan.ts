/** netplan (Ubuntu, Debian's cloud images): one file of ours for the cards; what the template had for them goes. Pure. */
import { parse, stringify } from 'yaml';
import { unsupported } from '@berth/shared/errors/cluster-error.ts';
import { networkVersion2, type SeedNic } from '../../volume/seed-files.ts';
import { remove, write, type Guest, type Plan } from '../guest.ts';

/** After every other: what stands in several files is taken from the last. */
const OURS = '/etc/netplan/90-berth.yaml';

export function netplan(guest: Guest, nics: readonly SeedNic[]): Plan {
  const files = guest.paths(/^\/etc\/netplan\/[^/]+\.yaml$/).map((path) => ({ path, network: networkOf(guest, path) }));
  const built = files.find(({ network }) => ['bridges', 'bonds', 'vlans', 'wifis'].some((k) => k in network));
  if (built)
    throw unsupported(
      `${built.path} of the guest builds bridges, bonds, VLANs or wireless networks on its cards, which can't be changed from ` +
        'outside: leave the addresses out, and set them up in the guest',
    );
  const renderer = files.map(({ network }) => network['renderer']).find((r) => typeof r === 'string');
  const network = { ...networkVersion2(nics), ...(renderer !== undefined && { renderer }) };
  const old = files.filter(
    ({ path, network: n }) => path !== OURS && ('ethernets' in n || Object.keys(n).length === 0),
  );
  const text = stringify({ network }, { lineWidth: 0, aliasDuplicateObjects: false });
  return { changes: [...old.map(({ path }) => remove(path)), write(OURS, text, 0o600)], words: [] };
}

/** Empty for what can't be read: netplan could not read it either. */
export function networkOf(guest: Guest, path: string): Readonly<Record<string, unknown>> {
  try {
    const read: unknown = parse(guest.text(path) ?? '', { maxAliasCount: 0 });
    const network = isMapping(read) ? read['network'] : undefined;
    return isMapping(network) ? network : {};
  } catch {
    return {};
  }
}

const isMapping = (v: unknown): v is Readonly<Record<string, unknown>> =>
  typeof v === 'object' && v !== null && !Array.isArray(v);
