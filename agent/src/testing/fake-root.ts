/** A root directory with files as the kernel would show them, for tests of what reads them. */
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

export class FakeRoot {
  private constructor(readonly dir: string) {}

  static async make(): Promise<FakeRoot> {
    return new FakeRoot(await mkdtemp(join(tmpdir(), 'berth-root-')));
  }

  /** Path → content; `-> target` makes a link, below the root when it is absolute. */
  async put(files: Readonly<Record<string, string>>): Promise<void> {
    for (const [path, content] of Object.entries(files)) {
      const at = join(this.dir, path);
      await mkdir(dirname(at), { recursive: true });
      const target = /^-> (.*)$/.exec(content)?.[1];
      if (target === undefined) await writeFile(at, content);
      else await symlink(target.startsWith('/') ? join(this.dir, target) : target, at);
    }
  }

  /** Several files of one directory; a line each, as the kernel writes them. */
  async putIn(dir: string, files: Readonly<Record<string, string>>): Promise<void> {
    const line = (content: string) => (content.startsWith('-> ') || content.endsWith('\n') ? content : `${content}\n`);
    await this.put(Object.fromEntries(Object.entries(files).map(([name, c]) => [join(dir, name), line(c)])));
  }

  remove(): Promise<void> {
    return rm(this.dir, { recursive: true, force: true });
  }
}
