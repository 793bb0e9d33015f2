/** What a domain's disks are on: read from XML, that of a running guest as well. Pure. */
import { fileOf, isDrive, targetOf } from './read-drives.ts';
import { attributeAt, find, findAll, parseXml } from './tree.ts';

export interface DiskChain {
  readonly target: string;
  readonly file: string;
  /** UNIX socket that it reads its image through; undefined: it is on files alone. */
  readonly socket: string | undefined;
  /** A live copy of it runs. */
  readonly copying: boolean;
  /** The file that it goes to. */
  readonly copyTo?: string | undefined;
}

export const diskChains = (xml: string): readonly DiskChain[] =>
  findAll(find(parseXml(xml), 'devices'), 'disk')
    .filter((d) => !isDrive(d))
    .map((d) => ({
      target: targetOf(d),
      file: fileOf(d),
      socket: attributeAt(d, 'socket', 'backingStore', 'source', 'host'),
      copying: find(d, 'mirror') !== undefined,
      copyTo: attributeAt(d, 'file', 'mirror', 'source') ?? attributeAt(d, 'dev', 'mirror', 'source'),
    }));
