/** One .deb from a tree and a description of it. dpkg-deb writes the archive: sorted, owned by root, no file newer than the commit. */
import { chmodSync, lutimesSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import type { Release } from './release.ts';
import type { Tree } from './tree.ts';

export type Compression = 'xz' | 'gzip' | 'none';

export interface Package {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  readonly depends: readonly string[];
  readonly recommends?: readonly string[];
  readonly suggests?: readonly string[];
  readonly summary: string;
  /** Paragraphs. */
  readonly description: readonly string[];
  /** Run by dpkg, with the files that hold them. */
  readonly scripts?: Readonly<Partial<Record<'preinst' | 'postinst' | 'prerm' | 'postrm' | 'triggers', string>>>;
  readonly tree: Tree;
}

export const MAINTAINER = 'The Berth authors <berth@packages.invalid>';

const isConfig = (file: string): boolean => file.startsWith('/etc/');

/** @returns the path of the .deb. */
export async function writeDeb(
  p: Package,
  release: Release,
  outDir: string,
  compression: Compression,
): Promise<string> {
  p.tree.writeCompressed(`/usr/share/doc/${p.name}/changelog`, changelog(p, release));
  const files = p.tree.seal(release.epoch);
  const control: Record<string, string> = {
    control: controlFile(p, p.tree.sizeKib(files)),
    // what people are to change is not checked for changes
    md5sums: p.tree.sums(files.filter((file) => !isConfig(file))),
    conffiles: files
      .filter(isConfig)
      .map((file) => `${file}\n`)
      .join(''),
  };
  for (const [name, file] of Object.entries(p.scripts ?? {})) control[name] = readFileSync(file, 'utf8');
  writeControl(join(p.tree.root, 'DEBIAN'), control, release.epoch);
  const out = join(outDir, `${p.name}_${p.version}_${p.architecture}.deb`);
  const options = ['--root-owner-group', `-Z${compression}`, ...(compression === 'gzip' ? ['-z1'] : [])];
  await execa('dpkg-deb', [...options, '--build', p.tree.root, out], {
    env: { SOURCE_DATE_EPOCH: String(release.epoch) },
  });
  return out;
}

function writeControl(dir: string, texts: Readonly<Record<string, string>>, epoch: number): void {
  mkdirSync(dir);
  for (const [name, text] of Object.entries(texts)) {
    if (text === '') continue;
    writeFileSync(join(dir, name), text);
    chmodSync(join(dir, name), text.startsWith('#!') ? 0o755 : 0o644);
    lutimesSync(join(dir, name), epoch, epoch);
  }
  chmodSync(dir, 0o755);
  lutimesSync(dir, epoch, epoch);
}

/** Pure. */
export function controlFile(p: Omit<Package, 'tree' | 'scripts'>, installedKib: number): string {
  const fields: [string, string][] = [
    ['Package', p.name],
    ['Version', p.version],
    ['Architecture', p.architecture],
    ['Maintainer', MAINTAINER],
    ['Installed-Size', String(installedKib)],
    ['Depends', p.depends.join(', ')],
    ['Recommends', (p.recommends ?? []).join(', ')],
    ['Suggests', (p.suggests ?? []).join(', ')],
    ['Section', 'admin'],
    ['Priority', 'optional'],
    [
      'Description',
      [p.summary, ...p.description.flatMap((text, i) => [...(i > 0 ? ['.'] : []), ...wrap(text)])].join('\n '),
    ],
  ];
  return fields
    .filter(([, value]) => value !== '')
    .map(([key, value]) => `${key}: ${value}\n`)
    .join('');
}

function wrap(text: string): string[] {
  const lines = [''];
  for (const word of text.split(/\s+/)) {
    const line = lines.at(-1) ?? '';
    if (line.length + word.length > 76) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines;
}

/** What Debian wants to find; what changed for people is in CHANGELOG.md. */
function changelog(p: Package, release: Release): string {
  const date = new Date(release.epoch * 1000).toUTCString().replace('GMT', '+0000');
  return `${p.name} (${p.version}) stable; urgency=medium\n\n  * What changed is told in /usr/share/doc/berth/CHANGELOG.md.gz.\n\n -- ${MAINTAINER}  ${date}\n`;
}
