/**
 * The Node that goes into the packages: the one that builds them, because the native modules were compiled for it. Checked before
 * it is packed: supported by its makers and by Berth, and in one piece.
 */
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';

/** Those that every release is tested with: even ones only, which their makers keep for years. */
const SUPPORTED = [20, 22, 24];

export interface Runtime {
  /** `20.20.2`. */
  readonly version: string;
  readonly file: string;
  /** What each ELF file asks for, as Debian's dependencies. */
  readonly needs: readonly string[];
  readonly architecture: 'amd64' | 'arm64';
}

const ARCHITECTURES: Readonly<Record<string, Runtime['architecture']>> = { x64: 'amd64', arm64: 'arm64' };

/** @throws INVALID_ARGUMENT when this Node can't be packed: unsupported, or not in one piece (Debian's own). */
export function inspectRuntime(version: string, file: string, arch: string): Runtime {
  const major = Number(version.split('.')[0]);
  if (!SUPPORTED.includes(major))
    throw invalidArgument(
      `Node ${version} is not one that Berth is packaged with. Build with one of ${SUPPORTED.join(', ')}`,
    );
  const architecture = ARCHITECTURES[arch];
  if (architecture === undefined) throw invalidArgument(`there are no packages for ${arch}, only for x64 and arm64`);
  const bytes = readFileSync(file);
  if (bytes.includes('libnode.so'))
    throw invalidArgument(`${file} is not in one piece: it needs libnode. Build with the Node of nodejs.org`);
  return { version, file, architecture, needs: libraryNeeds(bytes) };
}

/** The native modules are for one major release; a later minor one serves. */
export const runtimeDependency = (version: string): string =>
  `berth-runtime (>= ${version}), berth-runtime (<< ${Number(version.split('.')[0]) + 1})`;

/** GLIBCXX_3.4.N came with this release of GCC, which Debian's libstdc++6 is numbered after. */
const GCC_OF: Readonly<Record<number, number>> = {
  22: 6,
  23: 7,
  24: 7,
  25: 8,
  26: 9,
  27: 9,
  28: 9,
  29: 11,
  30: 12,
  31: 13,
};

/** Read from the names of symbol versions, which stand in an ELF file as text. Pure. */
export function libraryNeeds(elf: Buffer): string[] {
  const text = elf.toString('latin1');
  const highest = (pattern: RegExp, least: number) =>
    Math.max(least, ...[...text.matchAll(pattern)].map((m) => Number(m[1])));
  const libc = highest(/\0GLIBC_2\.(\d+)(?=\0)/g, 17);
  const gcc = GCC_OF[highest(/\0GLIBCXX_3\.4\.(\d+)(?=\0)/g, 22)] ?? 13;
  return [`libc6 (>= 2.${libc})`, `libgcc-s1`, `libstdc++6 (>= ${gcc})`];
}

/** Where installations of Node have its licence, which names all that is built into it. From the folder of the program. */
const LICENCE_PLACES = ['../LICENSE', '../share/doc/node/LICENSE', '../share/doc/nodejs/LICENSE', '../../LICENSE'];

/** The copyright file of the runtime. @throws INVALID_ARGUMENT when it is not beside Node: without it Node must not be passed on. */
export function nodeLicence({ version, file }: Pick<Runtime, 'version' | 'file'>): string {
  const places = LICENCE_PLACES.map((place) => resolve(dirname(realpathSync(file)), place));
  const found = places.find((place) => existsSync(place));
  if (found === undefined)
    throw invalidArgument(`the licence of Node is not in ${places.join(', ')}. Build with the whole of Node's archive`);
  return `Node.js ${version}, as its makers have built it (https://nodejs.org).\n\n${readFileSync(found, 'utf8').trim()}\n`;
}
