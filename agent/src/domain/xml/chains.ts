/** What a domain's disks are on: read from XML, that of a running guest as well. Pure. */
import { fileOf, isDrive, targetOf } from './read-drives.ts';
import { attributeAt, find, findAll, parseXml, type XmlElement } from './tree.ts';

export interface DiskChain {
  readonly target: string;
  readonly file: string;
  /** UNIX socket that it reads its image through; undefined: it is on files alone. */
  readonly socket: string | undefined;
  /** The guest's QEMU passes by the host's cache (O_DIRECT). */
  readonly directIo: boolean;
  /** A live copy of it runs. */
  readonly copying: boolean;
  /** The file, or what stands for it, that it goes to. */
  readonly copyTo?: string | undefined;
}

export const diskChains = (xml: string): readonly DiskChain[] =>
  findAll(find(parseXml(xml), 'devices'), 'disk')
    .filter((d) => !isDrive(d))
    .map((d) => ({
      target: targetOf(d),
      file: fileOf(d),
      socket: attributeAt(d, 'socket', 'backingStore', 'source', 'host'),
      directIo: DIRECT.includes(attributeAt(d, 'cache', 'driver') ?? ''),
      ...mirrorOf(find(d, 'mirror')),
    }));

const DIRECT: readonly string[] = ['none', 'directsync'];

const mirrorOf = (mirror: XmlElement | undefined): Pick<DiskChain, 'copying' | 'copyTo'> => ({
  copying: mirror !== undefined,
  copyTo: (mirror && fileOf(mirror)) || undefined,
});
