/**
 * The files of one package while it is put together: a folder whose modes and times depend on nothing but what was asked for.
 * Owners are root's, which dpkg-deb sees to.
 */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { constants, gzipSync } from 'node:zlib';

export class Tree {
  constructor(readonly root: string) {
    mkdirSync(root, { recursive: true });
  }

  /** @param path as on the host, from `/`. */
  write(path: string, content: string | Buffer, mode = 0o644): void {
    writeFileSync(this.place(path), content);
    chmodSync(this.at(path), mode);
  }

  /** As documents are kept: packed, without name and time. */
  writeCompressed(path: string, content: string | Buffer): void {
    this.write(`${path}.gz`, gzipSync(content, { level: constants.Z_BEST_COMPRESSION }));
  }

  copy(from: string, path: string, mode = 0o644): void {
    cpSync(from, this.place(path), { dereference: true });
    chmodSync(this.at(path), mode);
  }

  link(path: string, target: string): void {
    symlinkSync(target, this.place(path));
  }

  /** Gives everything its final mode and time. @returns files (links included) in a fixed order, from `/`. */
  seal(epoch: number): string[] {
    const found: string[] = [];
    const visit = (path: string) => {
      const stat = lstatSync(this.at(path));
      if (stat.isDirectory()) {
        for (const name of readdirSync(this.at(path)).sort()) visit(join(path, name));
        chmodSync(this.at(path), 0o755);
      } else found.push(path);
      lutimesSync(this.at(path), epoch, epoch);
    };
    visit('/');
    return found;
  }

  /** As DEBIAN/md5sums has it. @param files from `seal`. */
  sums(files: readonly string[]): string {
    return files
      .filter((file) => lstatSync(this.at(file)).isFile())
      .map(
        (file) =>
          `${createHash('md5')
            .update(readFileSync(this.at(file)))
            .digest('hex')}  ${file.slice(1)}\n`,
      )
      .join('');
  }

  /** KiB, as Installed-Size counts. */
  sizeKib(files: readonly string[]): number {
    return files.reduce((sum, file) => sum + Math.ceil(lstatSync(this.at(file)).size / 1024), 0);
  }

  private at(path: string): string {
    return join(this.root, path);
  }

  private place(path: string): string {
    mkdirSync(dirname(this.at(path)), { recursive: true });
    return this.at(path);
  }
}
