/** An OVA, or an OVF with its files beside it: which disks are to be imported, what they must hash to, and what machine they are of. */
import { existsSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { VmDefinition } from '@berth/shared/hardware/definition.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { listTar } from '@berth/shared/disk/tar.ts';
import { readText } from '../core/files.ts';
import { readOvf, type Ovf } from './ovf.ts';
import { fileSource, slice, verified, type ByteSource, type Wanted } from './source/source.ts';

export interface Appliance {
  readonly name: string;
  readonly disks: readonly ByteSource[];
  readonly defaults: VmDefinition;
}

const TAR_MAGIC_AT = 257;
const LONGEST_TEXT = 4 * 2 ** 20;

/** Undefined when it is neither. @param path of a local file, where its files may lie beside it */
export async function readAppliance(source: ByteSource, path: string | undefined): Promise<Appliance | undefined> {
  const start = Buffer.from(await source.read(0, 64 * 1024));
  if (start.subarray(TAR_MAGIC_AT, TAR_MAGIC_AT + 5).toString('latin1') === 'ustar') return readOva(source);
  const text = start.toString('utf8');
  if (!/^\uFEFF?\s*<(\?xml|([\w-]+:)?Envelope)/.test(text) || !/<([\w-]+:)?Envelope[\s>]/.test(text)) return undefined;
  if (path === undefined)
    throw refuse(
      source,
      'is an OVF, whose disks are other files. Fetch them all, and import the .ovf from there; or take an .ova',
    );
  return readUnpacked(source, path);
}

/** Its files lie beside it, the manifest too, if there is one. */
async function readUnpacked(source: ByteSource, path: string): Promise<Appliance> {
  const manifest = path.replace(/\.ovf$/i, '.mf');
  const sums = manifest !== path && existsSync(manifest) ? readManifest(source, readText(manifest)) : NO_SUMS;
  const open: ByteSource[] = [];
  const beside = async (name: string): Promise<ByteSource> => {
    insistBeside(source, path, name);
    const file = await fileSource(join(dirname(path), name));
    open.push(file);
    return checkedBy(sums, file);
  };
  const text = await textOf(source, checkedBy(sums, source));
  return appliance(source.name, readOvf(source.name, text), beside, async () => {
    for (const file of open) await file.close();
  });
}

/** Who made the folder could have put a link into it, to a disk that is not theirs to read. What is missing is told when it is opened. */
function insistBeside(source: ByteSource, path: string, name: string): void {
  const [folder, file] = [realpathSync(dirname(path)), join(dirname(path), name)];
  if (!existsSync(file) || dirname(realpathSync(file)) === folder) return;
  throw refuse(source, `names ${name}, a link that leads elsewhere. If it is meant, put the file itself there`);
}

const refuse = (source: ByteSource, why: string): ClusterError =>
  new ClusterError('UNSAFE_IMAGE', `${source.name} ${why}`, { subject: source.name });

/** @param part of the source, in which the text is. */
async function textOf(source: ByteSource, part: ByteSource): Promise<string> {
  if (part.sizeBytes > LONGEST_TEXT) throw refuse(source, 'has a description that is too long');
  const all: Buffer[] = [];
  for await (const bytes of part.stream()) all.push(bytes);
  return Buffer.concat(all).toString('utf8');
}

const NO_SUMS: ReadonlyMap<string, Wanted> = new Map();

/** A file that comes to its end only when it is what the manifest says, if that names it. */
function checkedBy(sums: ReadonlyMap<string, Wanted>, file: ByteSource): ByteSource {
  const wanted = sums.get(file.name);
  return wanted ? verified(file, wanted, 'its manifest') : file;
}

async function readOva(source: ByteSource): Promise<Appliance> {
  const members = await listTar(source);
  const member = (name: string): ByteSource | undefined => {
    const found = members.find((m) => m.name === name);
    return found && slice(source, name, found.offset, found.sizeBytes);
  };
  const [first] = members.filter((m) => /\.ovf$/i.test(m.name));
  const description = first && member(first.name);
  if (!description) throw refuse(source, 'is a tar archive without an OVF in it. Unpack it first: tar -xf');
  const manifest = member(first.name.replace(/\.ovf$/i, '.mf'));
  const sums = manifest ? readManifest(source, await textOf(source, manifest)) : NO_SUMS;
  const text = await textOf(source, checkedBy(sums, description));
  const open = async (name: string): Promise<ByteSource> => {
    const found = member(name);
    if (!found) throw refuse(source, `lacks ${name}, which its description names. Copy it again, whole`);
    return checkedBy(sums, found);
  };
  return appliance(source.name, readOvf(source.name, text), open, () => source.close());
}

async function appliance(
  file: string,
  ovf: Ovf,
  open: (name: string) => Promise<ByteSource>,
  onFault: () => Promise<void>,
): Promise<Appliance> {
  try {
    if (ovf.disks.length === 0)
      throw new ClusterError('UNSAFE_IMAGE', `${file} describes a machine without a disk in it`, { subject: file });
    const disks = [];
    for (const d of ovf.disks) disks.push(await open(d.file));
    return { name: ovf.name, disks, defaults: ovf.defaults };
  } catch (e) {
    await onFault();
    throw e;
  }
}

/** `SHA256(disk.vmdk)= 9f2c…`, one line each. @throws UNSAFE_IMAGE for what can't be read: nobody could say what it vouches for */
export function readManifest(source: Pick<ByteSource, 'name'>, text: string): Map<string, Wanted> {
  const sums = new Map<string, Wanted>();
  for (const line of text.split(/\r?\n/).filter((l) => l.trim() !== '')) {
    const [, name = '', file = '', digest = ''] =
      /^(SHA1|SHA256|SHA512)\s*\((.+)\)\s*=\s*([0-9a-fA-F]+)\s*$/i.exec(line) ?? [];
    const algorithm = name.toLowerCase() as Wanted['algorithm'];
    if (digest.length !== ({ sha1: 40, sha256: 64, sha512: 128 } as Record<string, number>)[algorithm])
      throw new ClusterError(
        'UNSAFE_IMAGE',
        `${source.name} has a manifest that cannot be read: ${line.slice(0, 80)}`,
        {
          subject: source.name,
        },
      );
    sums.set(file, { algorithm, digest });
  }
  return sums;
}
