/**
 * libosinfo's data, where its package (osinfo-db) is installed: names of guest systems, whether they have drivers for virtio,
 * how much memory they want. It is read from the operating system's own place and never shipped with Berth.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { XMLParser } from 'fast-xml-parser';

export interface OsRecord {
  /** rhel7.9 */
  readonly name: string;
  readonly title: string;
  /** linux, winnt, freebsd, … */
  readonly family: string;
  /** Devices by libosinfo's ids, its own and those of what it derives from. */
  readonly devices: ReadonlySet<string>;
  readonly memoryBytes: number | undefined;
}

interface Read extends Omit<OsRecord, 'devices'> {
  readonly id: string;
  readonly derives: string | undefined;
  readonly devices: readonly string[];
  readonly removed: readonly string[];
}

const LARGEST_FILE = 1 << 20;
const DEEPEST = 40;

const parser = new XMLParser({
  ...{ ignoreAttributes: false, attributeNamePrefix: '@', parseTagValue: false, processEntities: false },
  isArray: (name) => ['os', 'device', 'resources', 'short-id', 'derives-from', 'clones', 'name'].includes(name),
});

/** All that can be read under `dir` (/usr/share/osinfo); empty where there is none. A file that is no such file is left out. */
export async function readOsinfo(dir: string): Promise<ReadonlyMap<string, OsRecord>> {
  const all = new Map<string, Read>();
  for (const file of await filesOf(join(dir, 'os'))) for (const os of await readOs(file)) all.set(os.id, os);
  return new Map([...all.values()].map((os) => [os.name, { ...os, devices: devicesOf(os, all) }]));
}

async function filesOf(dir: string): Promise<readonly string[]> {
  const found = await readdir(dir, { withFileTypes: true, recursive: true }).catch(() => []);
  return found.filter((e) => e.isFile() && e.name.endsWith('.xml')).map((e) => join(e.parentPath, e.name));
}

async function readOs(file: string): Promise<readonly Read[]> {
  try {
    if ((await stat(file)).size > LARGEST_FILE) return [];
    return parseOs(await readFile(file, 'utf8'));
  } catch {
    return []; // somebody else's file: what can't be read is as if it were not there
  }
}

type Node = Readonly<Record<string, unknown>>;
const nodes = (v: unknown): readonly Node[] => (Array.isArray(v) ? v : v === undefined ? [] : [v]) as Node[];
const text = (v: unknown): string =>
  typeof v === 'string' ? v : typeof v === 'object' && v !== null ? text((v as Node)['#text']) : '';

function parseOs(xml: string): readonly Read[] {
  const { libosinfo } = parser.parse(xml) as { libosinfo?: Node };
  return nodes(libosinfo?.['os']).flatMap((os): Read[] => {
    const name = text(nodes(os['short-id'])[0]);
    if (name === '') return [];
    const devices = nodes((os['devices'] as Node | undefined)?.['device']);
    const removed = devices.filter((d) => text(d['@removed']) === 'true').map((d) => text(d['@id']));
    const parent = nodes(os['derives-from'])[0] ?? nodes(os['clones'])[0];
    return [
      {
        ...{ id: text(os['@id']), name, title: titleOf(os) || name, family: text(os['family']) },
        derives: parent && text(parent['@id']),
        devices: devices.map((d) => text(d['@id'])).filter((id) => !removed.includes(id)),
        removed,
        memoryBytes: memoryOf(os),
      },
    ];
  });
}

const titleOf = (os: Node): string =>
  text(nodes(os['name']).find((n) => typeof n === 'string' || n['@xml:lang'] === undefined));

/** What is recommended, or else the least; of any architecture, or of x86_64. */
function memoryOf(os: Node): number | undefined {
  const fitting = nodes(os['resources']).filter((r) => ['all', 'x86_64'].includes(text(r['@arch'])));
  for (const kind of ['recommended', 'minimum'])
    for (const r of fitting) {
      const n = Number(text((r[kind] as Node | undefined)?.['ram']));
      if (Number.isSafeInteger(n) && n > 0) return Math.ceil(n / 2 ** 20) * 2 ** 20;
    }
  return undefined;
}

function devicesOf(os: Read, all: ReadonlyMap<string, Read>): ReadonlySet<string> {
  const found = new Set<string>();
  const gone = new Set<string>();
  for (let at: Read | undefined = os, n = 0; at && n < DEEPEST; n++) {
    for (const id of at.devices) if (!gone.has(id)) found.add(id);
    for (const id of at.removed) gone.add(id);
    at = at.derives === undefined ? undefined : all.get(at.derives);
  }
  return found;
}
