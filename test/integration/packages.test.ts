/**
 * The .debs as `npm run package` makes them: lintian finds no error, the same input gives the same bytes, and what is inside is
 * whole. How they are installed, upgraded and removed is seen in the lab.
 */
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { execa } from 'execa';
import { findRoot } from '@berth/deploy/setup/root.js';
import { PROGRAMS } from '../harness/processes.ts';

const NAMES = ['berth-agent', 'berth-controller', 'berth-runtime', 'berth'];

describe('the packages', () => {
  const dir = mkdtempSync(join(tmpdir(), 'berth-debs-'));
  const out = (name: string) => join(dir, name);
  afterAll(() => rmSync(dir, { recursive: true }));

  /** From the same checkout, with all else that could show in them made different. */
  async function make(to: string, umask: string, ...more: string[]): Promise<string> {
    const script = join(findRoot(), 'deploy/package.js');
    const line = `umask ${umask}; exec "$@"`;
    const args = ['-c', line, 'sh', process.execPath, script, '--out', out(to), '--compress', 'gzip', ...more];
    return (
      await execa('sh', args, { cwd: umask === '077' ? '/' : dir, env: { TZ: umask === '077' ? 'Asia/Tokyo' : 'UTC' } })
    ).stdout;
  }
  const debs = (in_: string) => readdirSync(out(in_)).sort();
  const deb = (name: string) => join(out('a'), debs('a').find((file) => file.startsWith(`${name}_`)) ?? name);

  beforeAll(async () => {
    await make('a', '022');
    for (const name of NAMES) await execa('dpkg-deb', ['-x', deb(name), out(`x-${name}`)]);
  }, 240_000);

  it('are four, and the same bytes when they are made again', async () => {
    expect(debs('a').map((file) => file.split('_')[0])).toEqual(NAMES);
    await make('b', '077');
    expect(debs('b')).toEqual(debs('a'));
    for (const file of debs('a'))
      expect(readFileSync(join(out('b'), file)).equals(readFileSync(join(out('a'), file))), file).toBe(true);
  }, 240_000);

  it('bring a controller that needs nothing of the checkout, and of npm packages only SQLite beside it', async () => {
    const lib = join(out('x-berth-controller'), 'usr/lib/berth/controller');
    const beside = readdirSync(join(lib, 'node_modules'));
    expect(beside.filter((name) => !/^(better-sqlite3|bindings|file-uri-to-path|node-addon-api)/.test(name))).toEqual(
      [],
    );
    const args = [join(lib, 'berth-controller.js'), 'init', '--data-dir', out('data'), '--address', '127.0.0.1:1'];
    expect((await execa(process.execPath, args)).stdout).toMatch(/^installation installation-\w+ made in /);
    const libraries = readFileSync(join(out('x-berth-controller'), 'usr/share/doc/berth-controller/copyright'), 'utf8');
    for (const inside of ['zod', '@grpc/grpc-js', 'better-sqlite3']) expect(libraries).toContain(`${inside} `);
  });

  it.each(NAMES)('%s has the right sums of all its files but those that people change', async (name) => {
    const inside = out(`x-${name}`);
    const sums = (await execa('dpkg-deb', ['-I', deb(name), 'md5sums'])).stdout;
    await execa('md5sum', ['--check', '--strict', '--quiet'], { cwd: inside, input: `${sums}\n` });
    const there = (
      await execa('find', ['.', '-type', 'f', '!', '-path', './etc/*', '-printf', '%P\\n'], { cwd: inside })
    ).stdout;
    const sorted = (lines: string) => lines.split('\n').sort();
    expect(sorted(sums.replaceAll(/^.{34}/gm, ''))).toEqual(sorted(there));
  });

  it('have no error for lintian', async () => {
    const said = await execa(
      'lintian',
      ['--allow-root', '--fail-on', 'error', ...debs('a').map((f) => join(out('a'), f))],
      {
        reject: false,
      },
    );
    expect(said.stdout.split('\n').filter((line) => line.startsWith('E:'))).toEqual([]);
    expect(said.exitCode, said.stderr).toBe(0);
  }, 240_000);

  it('have pages of manual that groff understands, one for each noun', async () => {
    const help = (await execa(process.execPath, [PROGRAMS.berth, '--help'])).stdout;
    const pages = readdirSync(join(out('x-berth'), 'usr/share/man/man1'));
    const nouns = /Commands:\n([\s\S]*?)\n\n/.exec(help)?.[1]?.match(/^ {2}\w+(?= \[?)/gm) ?? [];
    expect(nouns.length).toBeGreaterThan(10);
    expect(pages).toContain('berth-vm.1.gz');
    expect(pages.length).toBe(nouns.filter((n) => pages.includes(`berth-${n.trim()}.1.gz`)).length + 1);
  });

  it.each([
    ['berth-agent', 'etc/berth/agent.yaml', PROGRAMS.agent],
    ['berth-controller', 'etc/berth/controller.yaml', PROGRAMS.controller],
  ])(
    '%s comes with a configuration that is right, and whose comments are the defaults',
    async (name, file, program) => {
      const path = join(out(`x-${name}`), file);
      const print = async (config: string) => {
        writeFileSync(out('config.yaml'), config);
        return (await execa(process.execPath, [program, '--print-config', '--config', out('config.yaml')])).stdout;
      };
      const text = readFileSync(path, 'utf8');
      const all = text.replace(/^#(?=[a-zA-Z]+: )/gm, '');
      expect(all).not.toBe(text);
      expect((await print(all)).split('\n').filter((l) => !l.startsWith('httpListen'))).toEqual(
        (await print(text)).split('\n'),
      );
    },
  );

  it('can be numbered, and made one by one; what they cannot be is said in a line', async () => {
    await make('c', '022', '--version', '9.9.9', '--only', 'berth-agent');
    expect(debs('c')).toEqual(['berth-agent_9.9.9_all.deb']);
    await expect(make('c', '022', '--only', 'berth-console')).rejects.toThrow(
      /there is no package berth-console\. There are/,
    );
    await expect(make('c', '022', '--version', '../9')).rejects.toThrow(/is no version/);
  });
});
