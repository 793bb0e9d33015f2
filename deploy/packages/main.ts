/** `npm run package`: the .debs of this checkout, into one folder. Prints a line for each. */
import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import { sourceDateEpoch } from './config.ts';
import { writeDeb, type Compression, type Package } from './deb.ts';
import { agentPackage, commandPackage, controllerPackage, runtimePackage, type Making } from './programs.ts';
import { findRelease } from './release.ts';
import { inspectRuntime } from './runtime.ts';

export interface Wanted {
  /** The checkout, built. */
  readonly root: string;
  readonly outDir: string;
  readonly compression: Compression;
  /** In place of the one that the commit tells. */
  readonly version?: string;
  /** Only these; all when empty. */
  readonly only: readonly string[];
}

const MAKERS: Readonly<Record<string, (m: Making) => Package | Promise<Package>>> = {
  'berth-runtime': runtimePackage,
  berth: commandPackage,
  'berth-controller': controllerPackage,
  'berth-agent': agentPackage,
};
export const PACKAGE_NAMES = Object.keys(MAKERS);

/** @returns the paths of the .debs. @throws INVALID_ARGUMENT when this Node can't be packed. */
export async function makePackages(wanted: Wanted, say: (line: string) => void): Promise<string[]> {
  const found = await findRelease(wanted.root, sourceDateEpoch());
  const release = { ...found, version: wanted.version ?? found.version };
  const runtime = inspectRuntime(process.versions.node, process.execPath, process.arch);
  mkdirSync(wanted.outDir, { recursive: true });
  const work = mkdtempSync(join(tmpdir(), 'berth-packages-'));
  const made: string[] = [];
  try {
    for (const name of wanted.only.length > 0 ? wanted.only : PACKAGE_NAMES) {
      const p = await MAKERS[name]?.({ root: wanted.root, release, runtime, work });
      if (p === undefined) continue;
      const file = await writeDeb(p, release, wanted.outDir, wanted.compression);
      say(` ✔ ${basename(file)}  ${formatBytes(statSync(file).size)}`);
      made.push(file);
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return made;
}
