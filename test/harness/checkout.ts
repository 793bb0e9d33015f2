/**
 * A copy of this checkout, built, in a folder of its own whose name has a space: where the quickstart is run as a person
 * would, without touching one that runs here. Copies only; what is run in it is the test's.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { findRoot } from '@berth/deploy/setup/root.js';
import type { Said } from './processes.ts';

const NEEDED = [
  'package.json',
  'package-lock.json',
  'node_modules',
  'proto',
  'controller',
  'agent',
  'shared',
  'deploy',
  'test',
];
const NOBODY = 65_534;

/** What takes long to make; logs and process ids of this checkout stay here. */
function guestImages(): string[] {
  const lab = join(findRoot(), '.lab');
  const names = existsSync(lab) ? readdirSync(lab) : [];
  return names.filter((name) => name.startsWith('guest-')).map((name) => join('.lab', name));
}

export class Checkout {
  readonly root: string;
  readonly home: string;

  private constructor(
    private readonly dir: string,
    private readonly identity: { readonly uid?: number; readonly gid?: number },
  ) {
    this.root = join(dir, 'a checkout');
    this.home = join(dir, 'home');
  }

  /** @param user `nobody` is meant where there are users to choose from: neither root nor in the group docker. */
  static async make(user: 'nobody' | 'myself'): Promise<Checkout> {
    const other = user === 'nobody' && process.getuid?.() === 0;
    const dir = mkdtempSync(join(tmpdir(), 'berth-checkout-'));
    const checkout = new Checkout(dir, other ? { uid: NOBODY, gid: NOBODY } : {});
    mkdirSync(checkout.home);
    mkdirSync(checkout.root);
    await execa('cp', ['-a', ...NEEDED.map((name) => join(findRoot(), name)), checkout.root]);
    for (const guest of guestImages())
      await execa('cp', ['-a', '--parents', guest, checkout.root], { cwd: findRoot() });
    if (other) await execa('chown', ['-R', `${NOBODY}:${NOBODY}`, dir]);
    return checkout;
  }

  /** A process in it. */
  start(program: string, ...args: readonly string[]) {
    return execa(process.execPath, [join(this.root, program), ...args], {
      cwd: this.root,
      reject: false,
      stdin: 'ignore',
      timeout: 180_000,
      killSignal: 'SIGKILL',
      extendEnv: false,
      env: { PATH: process.env['PATH'] ?? '', HOME: this.home },
      ...this.identity,
    });
  }

  async run(program: string, ...args: readonly string[]): Promise<Said> {
    const r = await this.start(program, ...args);
    return { code: r.exitCode ?? -1, out: String(r.stdout), err: String(r.stderr) };
  }

  quickstart = (...args: readonly string[]): Promise<Said> => this.run('deploy/quickstart.js', ...args);

  /** `npx berth` as it is after `npm ci`. */
  berth = (...args: readonly string[]): Promise<Said> => this.run('node_modules/.bin/berth', ...args);

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}
