/** Rows of a batch whose VM is there already: the same one, or another of that name. Reads tables; writes nothing. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { familyOf } from '@berth/shared/model/image-name.ts';
import type { Image } from '@berth/shared/model/image.ts';
import type { Vm, VmSpec } from '@berth/shared/model/vm.ts';
import { formatIp, parseCidr } from '@berth/shared/net/ip.ts';
import type { Tables } from '../state/state.ts';
import { portsOf } from '../state/tables.ts';
import { outsideRange } from './batch-addresses.ts';
import { portOf, type BatchRow, type CloneMany } from './batch-request.ts';
import type { Conflicts } from './batch-conflicts.ts';
import { normaliseMac } from './macs.ts';

/** By place of the row. What is another VM, or not ready, is noted as a conflict. */
export function findThere(
  tables: Pick<Tables, 'vms' | 'images' | 'jobs'>,
  request: CloneMany,
  image: Image,
  conflicts: Conflicts,
): ReadonlyMap<number, Vm> {
  const there = new Map<number, Vm>();
  for (const [at, row] of request.rows.entries()) {
    const vm = tables.vms.byName(row.name);
    if (vm === undefined || conflicts.has(at)) continue;
    there.set(at, vm);
    const job = tables.jobs.holders(`vm/${vm.id}`)[0]?.id ?? vm.batchId;
    if (vm.phase !== 'ready') {
      const now = vm.phase === 'creating' ? 'made' : 'deleted';
      const wait = job === undefined ? '' : `. Wait for it: berth job watch ${job}`;
      conflicts.add(at, `vm ${vm.name} is being ${now}${wait}`, 'RESOURCE_BUSY');
      continue;
    }
    const other = conflicts.of(at, () => differences(tables, { request, row, at, image }, vm)) ?? [];
    if (other.length > 0) conflicts.add(at, `vm ${vm.name} is there already, with ${other.join(', ')}`);
  }
  return there;
}

interface Wanted {
  readonly request: CloneMany;
  readonly row: BatchRow;
  readonly at: number;
  readonly image: Image;
}

type Is = string | undefined;
type Identity = Readonly<Record<'image' | 'address' | 'gateway' | 'name servers' | 'MAC address' | 'port', Is>>;

function identityOf({ images }: Pick<Tables, 'images'>, { disks: [disk], nics: [nic], hardware }: VmSpec): Identity {
  return {
    image: disk?.imageId && images.get(disk.imageId)?.name,
    address: nic?.address,
    gateway: nic?.gateway,
    'name servers': said(nic?.dns),
    'MAC address': nic?.mac,
    port: said(portsOf({ hardware })),
  };
}

const said = (words: readonly (string | number)[] = []): Is => words.join(' ') || undefined;

/** What is not said can be anything. */
function wantedOf({ request, row, at, image }: Wanted, is: Identity): Identity {
  const port = portOf(request, row, at);
  return {
    image: moves(is.image, request.all.image) ? undefined : image.name,
    address: sameAddress(row.address, is.address) ? undefined : row.address,
    gateway: row.gateway || undefined,
    'name servers': said(row.dns),
    'MAC address': row.mac === '' ? undefined : normaliseMac(row.mac),
    port: said(port === undefined || is.port?.split(' ').includes(String(port)) ? [] : [port]),
  };
}

/** What its identity is instead; what a person may have changed since (memory, say) is none. */
function differences(tables: Pick<Tables, 'images'>, row: Wanted, { spec }: Vm): string[] {
  const is = identityOf(tables, spec);
  const range = row.row.address === '' ? outsideRange(row.request, is.address) : undefined;
  const other = (Object.entries(wantedOf(row, is)) as [keyof Identity, Is][])
    .filter(([what, wanted]) => wanted !== undefined && wanted !== is[what])
    .map(([what, wanted]) => `${what} ${is[what] ?? 'none'} instead of ${wanted}`);
  return range === undefined ? other : [...other, `address ${range}`];
}

/** None is asked for: any will do. */
const sameAddress = (wanted: string, is: Is): boolean => wanted === '' || canonical(wanted) === canonical(is ?? '');

/** A name that moves from version to version asks for none of them. */
const moves = (from: string | undefined, asked: string): boolean =>
  from !== undefined && !asked.includes(':') && familyOf(from) === asked;

function canonical(address: string): string {
  if (address === '') return '';
  const cidr = parseCidr(address);
  if (cidr) return `${formatIp(cidr)}/${cidr.prefix}`;
  throw invalidArgument(
    `${JSON.stringify(address.slice(0, 60))} is not an address with a prefix: write it like 10.0.0.11/24`,
  );
}
