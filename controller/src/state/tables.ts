/** Which tables there are, their keys and indexes, and what is unique. How a table works is table.ts's. */
import type { CleanupDebt, JoinToken, Token, User } from '@berth/shared/model/access.ts';
import type { Certificate } from '@berth/shared/model/certificate.ts';
import type { Alarm } from '@berth/shared/model/alarm.ts';
import { ClaimSums, type Claim } from '@berth/shared/model/claim.ts';
import type { Cluster } from '@berth/shared/model/cluster.ts';
import type { Host } from '@berth/shared/model/host.ts';
import type { HostId, ImageId } from '@berth/shared/model/ids.ts';
import { imageCopyKey, latestOf, type Image, type ImageCopy } from '@berth/shared/model/image.ts';
import { familyOf, LATEST, splitImageName } from '@berth/shared/model/image-name.ts';
import type { Network } from '@berth/shared/model/network.ts';
import type { Pool } from '@berth/shared/model/pool.ts';
import type { Review } from '@berth/shared/model/review.ts';
import type { Vm, VmSpec } from '@berth/shared/model/vm.ts';
import type { Volume } from '@berth/shared/model/volume.ts';
import { formatIp, parseIp } from '@berth/shared/net/ip.ts';
import { JobsTable } from './jobs-table.ts';
import type { Journal } from './journal.ts';
import type { TableName, WritableTables } from './state.ts';
import { MemTable, NamedMemTable } from './table.ts';

type J = Journal<TableName>;
const byId = (v: { readonly id: string }): string => v.id;

class HostsTable extends NamedMemTable<Host> {
  constructor(journal: J) {
    const address = {
      of: (h: Host) => [h.address],
      taken: (a: string, by: Host) => `address ${a} is taken by host ${by.name}`,
    };
    super('hosts', byId, [{ of: (h) => [h.name], taken: (n) => `host ${n} already exists` }, address], journal);
  }
}

/** A card that it runs with keeps its address until it is gone. */
const macsOf = ({ spec, live, before }: Vm): string[] => [
  ...new Set([spec, live, before?.spec, before?.live].flatMap((s) => (s?.nics ?? []).map((n) => n.mac))),
];

/** Below its disks, and in its drives: of what it shall have, of what it runs with, and of what it may go back to. */
const imagesOf = ({ spec, live, before }: Vm): (ImageId | undefined)[] => [
  ...new Set(
    [spec, live, before?.spec, before?.live].flatMap((s) =>
      [...(s?.disks ?? []), ...(s?.cdroms ?? [])].map((d) => d.imageId),
    ),
  ),
];

/** `br0 10.0.0.5`: an address belongs to its network, and a bridge is all that is known of that. */
export const addressKey = (bridge: string, address: string): string | undefined => {
  const ip = parseIp(address.split('/')[0] ?? '');
  return ip && `${bridge} ${formatIp(ip)}`;
};
const addressesOf = ({ spec }: Vm): (string | undefined)[] =>
  spec.nics.map((n) => (n.address === undefined ? undefined : addressKey(n.bridge, n.address)));

/** Of its host, which its screens listen on. */
export const portsOf = ({ hardware }: Pick<VmSpec, 'hardware'>): number[] =>
  (hardware?.graphics ?? []).flatMap((g) => g.port ?? []);
const allPortsOf = ({ spec, live }: Vm): string[] => [
  ...new Set([...portsOf(spec), ...(live ? portsOf(live) : [])].map(String)),
];

/** Where its disks lie, of what it shall have and of what it may go back to; pool `local` aside. */
const poolsOf = ({ spec, live, before }: Vm): (string | undefined)[] => [
  ...new Set([spec, live, before?.spec, before?.live].flatMap((s) => (s?.disks ?? []).map((d) => d.poolId))),
];

/** Of what it shall have, of what it runs with and of what it may go back to, with the memory of a snapshot too. */
const networksOf = ({ spec, live, before, snapshots = [] }: Vm): (string | undefined)[] => {
  const kept = snapshots.flatMap((s) => (s.memory ? [s.spec] : []));
  const all = [spec, live, before?.spec, before?.live, ...kept];
  return [...new Set(all.flatMap((s) => (s?.nics ?? []).map((n) => n.networkId)))];
};

/** One that is being detached is its, until that is done. */
const volumesOf = ({ spec, before }: Vm): string[] => [
  ...new Set([...spec.disks, ...(before?.spec.disks ?? [])].map((d) => d.volumeId)),
];

class VmsTable extends NamedMemTable<Vm> {
  constructor(journal: J) {
    super(
      'vms',
      byId,
      [
        { of: (v) => [v.name], taken: (n) => `vm ${n} already exists` },
        { of: (v) => [v.uuid], taken: (u, by) => `uuid ${u} is taken by vm ${by.name}` },
        { of: macsOf, taken: (m, by) => `mac address ${m} is taken by vm ${by.name}` },
        { of: (v) => [v.hostId] },
        { of: imagesOf },
        { of: volumesOf },
        { of: addressesOf },
        { of: allPortsOf },
        { of: poolsOf },
        { of: networksOf },
      ],
      journal,
    );
  }
  byUuid = (uuid: string): Vm | undefined => this.findOne(1, uuid);
  byMac = (mac: string): Vm | undefined => this.findOne(2, mac);
  byHost = (hostId: HostId): readonly Vm[] => this.find(3, hostId);
  byImage = (imageId: ImageId): readonly Vm[] => this.find(4, imageId);
  byVolume = (volumeId: string): Vm | undefined => this.findOne(5, volumeId);
  byAddress(bridge: string, address: string): readonly Vm[] {
    const key = addressKey(bridge, address);
    return key === undefined ? [] : this.find(6, key);
  }
  byPort = (port: number): readonly Vm[] => this.find(7, String(port));
  byPool = (poolId: string): readonly Vm[] => this.find(8, poolId);
  byNetwork = (networkId: string): readonly Vm[] => this.find(9, networkId);
}

class ImagesTable extends NamedMemTable<Image> {
  constructor(journal: J) {
    super(
      'images',
      byId,
      [
        { of: (i) => [i.name], taken: (n) => `image ${n} already exists` },
        { of: (i) => [i.digest] },
        { of: (i) => [familyOf(i.name)] },
      ],
      journal,
    );
  }
  byDigest = (digest: string): readonly Image[] => this.find(1, digest);
  /** All versions of it. @param name without a version. */
  versions = (name: string): readonly Image[] => this.find(2, name);
  /** By its name with its version, by a tag, or the version that its name alone means. */
  override byName(ref: string): Image | undefined {
    const { name, version } = splitImageName(ref);
    if (version === '' || version === LATEST) return latestOf(this.versions(name));
    return this.findOne(0, ref) ?? this.versions(name).find((i) => i.tags?.includes(version));
  }
}

/** What they may grow to is promised of their hosts, as the disks of VMs are. */
class VolumesTable extends NamedMemTable<Volume> {
  constructor(
    journal: J,
    private readonly claims: Pick<ClaimsTable, 'sums' | 'promise'>,
  ) {
    super(
      'volumes',
      byId,
      [
        { of: (v) => [v.name], taken: (n) => `volume ${n} already exists` },
        { of: (v) => [v.hostId] },
        { of: (v) => [v.imageId] },
        { of: (v) => [v.poolId] },
      ],
      journal,
    );
  }
  protected override onChange(before: Volume | undefined, after: Volume | undefined): void {
    super.onChange(before, after);
    this.#count(before, -1);
    this.#count(after, 1);
  }
  #count(v: Volume | undefined, sign: 1 | -1): void {
    for (const at of [v, v?.coming]) {
      if (v === undefined || at?.hostId === undefined) continue;
      if (at.poolId === undefined) this.claims.sums(at.hostId).diskBytes += sign * v.sizeBytes;
      else this.claims.promise(at.hostId, at.poolId, sign * v.sizeBytes);
    }
  }
  byHost = (hostId: HostId): readonly Volume[] => this.find(1, hostId);
  byImage = (imageId: ImageId): readonly Volume[] => this.find(2, imageId);
  byPool = (poolId: string): readonly Volume[] => this.find(3, poolId);
}

class PoolsTable extends NamedMemTable<Pool> {
  constructor(journal: J) {
    super('pools', byId, [{ of: (p) => [p.name], taken: (n) => `pool ${n} already exists` }], journal);
  }
}

class NetworksTable extends NamedMemTable<Network> {
  constructor(journal: J) {
    super('networks', byId, [{ of: (n) => [n.name], taken: (n) => `network ${n} already exists` }], journal);
  }
}

class UsersTable extends NamedMemTable<User> {
  constructor(journal: J) {
    super('users', byId, [{ of: (u) => [u.name], taken: (n) => `user ${n} already exists` }], journal);
  }
}

class TokensTable extends MemTable<Token> {
  constructor(journal: J) {
    super('tokens', byId, [{ of: (t) => [t.user] }], journal);
  }
  byUser = (name: string): readonly Token[] => this.find(0, name);
}

class ImageCopiesTable extends MemTable<ImageCopy> {
  constructor(journal: J) {
    super('imageCopies', imageCopyKey, [{ of: (c) => [c.imageId] }, { of: (c) => [c.hostId] }], journal);
  }
  byImage = (imageId: ImageId): readonly ImageCopy[] => this.find(0, imageId);
  byHost = (hostId: HostId): readonly ImageCopy[] => this.find(1, hostId);
}

/** A table of things that belong to a host. */
class HostedTable<V extends { readonly hostId: HostId }> extends MemTable<V> {
  constructor(name: TableName, keyOf: (v: V) => string, journal: J) {
    super(name, keyOf, [{ of: (v) => [v.hostId] }], journal);
  }
  byHost = (hostId: HostId): readonly V[] => this.find(0, hostId);
}

class CertificatesTable extends MemTable<Certificate> {
  constructor(journal: J) {
    const revoked = { of: (c: Certificate) => (c.state === 'revoked' && c.client === undefined ? ['revoked'] : []) };
    const login = { of: (c: Certificate) => (c.client === undefined ? [] : [c.client.loginId]) };
    const token = { of: (c: Certificate) => (c.client === undefined ? [] : [c.client.tokenId]) };
    super('certificates', (c) => c.serial, [{ of: (c) => [c.hostId] }, revoked, login, token], journal);
  }
  byHost = (hostId: HostId | ''): readonly Certificate[] => this.find(0, hostId);
  revoked = (): readonly Certificate[] => this.find(1, 'revoked');
  byLogin = (loginId: string): readonly Certificate[] => this.find(2, loginId);
  byToken = (tokenId: string): readonly Certificate[] => this.find(3, tokenId);
}

/** Keeps the sums of each host with every change, also with those that an update takes back. */
class ClaimsTable extends HostedTable<Claim> {
  readonly #sums = new Map<HostId, ClaimSums>();
  readonly #everywhere = new ClaimSums();

  constructor(journal: J) {
    super('claims', (c) => c.vmId, journal);
  }
  sums(hostId: HostId): ClaimSums {
    const known = this.#sums.get(hostId);
    if (known) return known;
    const made = new ClaimSums();
    this.#sums.set(hostId, made);
    return made;
  }
  /** To a volume in a pool that stands alone, which has no claim. */
  promise(hostId: HostId, poolId: string, bytes: number): void {
    for (const sums of [this.sums(hostId), this.#everywhere])
      sums.poolBytes.set(poolId, (sums.poolBytes.get(poolId) ?? 0) + bytes);
  }
  poolBytes = (poolId: string): number => this.#everywhere.poolBytes.get(poolId) ?? 0;
  protected override onChange(before: Claim | undefined, after: Claim | undefined): void {
    if (before?.poolBytes) this.#everywhere.add(before, -1);
    if (after?.poolBytes) this.#everywhere.add(after, 1);
    if (before) this.sums(before.hostId).add(before, -1);
    if (after) this.sums(after.hostId).add(after, 1);
  }
}

export const makeTables = (journal: J, claims = new ClaimsTable(journal)) => ({
  hosts: new HostsTable(journal),
  images: new ImagesTable(journal),
  pools: new PoolsTable(journal),
  networks: new NetworksTable(journal),
  clusters: new MemTable<Cluster>('clusters', (c) => c.name, [], journal),
  vms: new VmsTable(journal),
  volumes: new VolumesTable(journal, claims),
  imageCopies: new ImageCopiesTable(journal),
  claims,
  jobs: new JobsTable(journal),
  users: new UsersTable(journal),
  tokens: new TokensTable(journal),
  joinTokens: new HostedTable<JoinToken>('joinTokens', byId, journal),
  debts: new HostedTable<CleanupDebt>('debts', byId, journal),
  alarms: new MemTable<Alarm>('alarms', byId, [], journal),
  reviews: new HostedTable<Review>('reviews', (r) => r.hostId, journal),
  certificates: new CertificatesTable(journal),
});

export type MemTables = ReturnType<typeof makeTables>;
/** Compile-time proof that the tables are what the contract says. */
export const asContract = (t: MemTables): WritableTables => t;
