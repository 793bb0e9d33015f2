/** The parts of a package that are reckoned: version, dependencies, control file, libraries. The packages themselves are looked at in test/. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { execa } from 'execa';
import { findRoot } from '../setup/root.js';
import { copyrightFile } from './copyright.ts';
import { controlFile } from './deb.ts';
import { closure, type Lock } from './libraries.ts';
import { releaseOf } from './release.ts';
import { inspectRuntime, libraryNeeds, nodeLicence, runtimeDependency } from './runtime.ts';
import { shippedFiles } from './ship.ts';
import { Tree } from './tree.ts';

let dir: string;
beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'berth-packages-test-'))));
afterEach(() => rmSync(dir, { recursive: true }));

describe('the version of a package', () => {
  const commit = { hash: '1a2b3c4d5e6f', epoch: 1_767_323_045, tags: [], changed: false };

  it('is that of the release where the commit has its tag', () => {
    expect(releaseOf('0.2.0', { ...commit, tags: ['v0.2.0'] }, 0)).toEqual({ version: '0.2.0', epoch: commit.epoch });
  });

  it('names the commit between releases, and says when files differ from it', () => {
    expect(releaseOf('0.2.0', commit, 0).version).toBe('0.2.0+git20260102030405.1a2b3c4');
    const changed = { ...commit, tags: ['v0.2.0'], changed: true };
    expect(releaseOf('0.2.0', changed, 0).version).toBe('0.2.0+git20260102030405.1a2b3c4.changed');
  });

  it('is the plain one in a source without git', () => {
    expect(releaseOf('0.2.0', undefined, 7)).toEqual({ version: '0.2.0', epoch: 7 });
  });

  it('sorts after the release that it follows, and before the next', async () => {
    const between = releaseOf('0.2.0', commit, 0).version;
    const compare = (a: string, b: string) => execa('dpkg', ['--compare-versions', a, 'lt', b], { reject: false });
    expect((await compare('0.2.0', between)).exitCode).toBe(0);
    expect((await compare(between, '0.2.1')).exitCode).toBe(0);
  });
});

describe('the Node that is packed', () => {
  it('is refused when it is none that Berth is tested with, for a machine without packages, or not in one piece', () => {
    const file = join(dir, 'node');
    writeFileSync(file, 'ELF\0libnode.so.108\0');
    expect(() => inspectRuntime('21.7.3', file, 'x64')).toThrow(/Node 21\.7\.3 .* Build with one of 20, 22, 24/);
    expect(() => inspectRuntime('20.20.2', file, 'mips')).toThrow(/no packages for mips/);
    expect(() => inspectRuntime('20.20.2', file, 'x64')).toThrow(/not in one piece: it needs libnode/);
  });

  it('is not passed on without its licence', () => {
    mkdirSync(join(dir, 'bin'));
    writeFileSync(join(dir, 'bin/node'), '');
    expect(() => nodeLicence({ version: '20.20.2', file: join(dir, 'bin/node') })).toThrow(/licence of Node is not in/);
    writeFileSync(join(dir, 'LICENSE'), 'Node.js is licensed\n');
    expect(nodeLicence({ version: '20.20.2', file: join(dir, 'bin/node') })).toMatch(/Node.js is licensed\n$/);
  });

  it('asks for the libraries whose symbols it names', () => {
    const elf = Buffer.from('\0GLIBC_2.17\0GLIBC_2.28\0GLIBC_2.9\0GLIBCXX_3.4.25\0GLIBCXX_3.4.9\0');
    expect(libraryNeeds(elf)).toEqual(['libc6 (>= 2.28)', 'libgcc-s1', 'libstdc++6 (>= 8)']);
  });

  it('serves programs of the same major release', () => {
    expect(runtimeDependency('20.20.2')).toBe('berth-runtime (>= 20.20.2), berth-runtime (<< 21)');
  });
});

it('a control file has folded paragraphs, and no empty fields', () => {
  const text = controlFile(
    {
      ...{ name: 'berth-x', version: '1', architecture: 'all', depends: ['a', 'b (>= 2)'] },
      ...{ summary: 'an x', description: [`${'word '.repeat(20)}end`, 'second'] },
    },
    12,
  );
  expect(text).toContain('Depends: a, b (>= 2)\nSection: admin\n');
  expect(text).toMatch(/\nDescription: an x\n word (word )+word\n word word.* end\n \.\n second\n$/);
});

describe('the libraries of a program', () => {
  const lock: Lock = {
    agent: { dependencies: { '@berth/shared': '0.0.0', a: '1', '@types/a': '1' } },
    'node_modules/a': { version: '1.0.0', license: 'MIT', dependencies: { b: '1' } },
    'node_modules/a/node_modules/b': { version: '1.0.0', license: 'ISC', dependencies: { a: '1' } },
    'node_modules/b': { version: '2.0.0', license: 'MIT' },
    'node_modules/@types/a': { version: '1.0.0', license: 'MIT' },
  };
  it('are found as Node finds them, each once, without those that have no code', () => {
    const found = closure(lock, ['agent'], []);
    expect(found.map((l) => [l.path, l.version])).toEqual([
      ['node_modules/a', '1.0.0'],
      ['node_modules/a/node_modules/b', '1.0.0'],
    ]);
    expect(closure(lock, ['agent'], ['b']).map((l) => l.name)).toEqual(['a']);
  });

  it('are named with their licences, each text once', () => {
    const file = copyrightFile(closure(lock, ['agent'], []), (l) => (l.name === 'a' ? ['Copyright (c) A'] : []));
    expect(file).toMatch(/^Berth[\s\S]*a 1\.0\.0\n\nLicence: MIT\n\nCopyright \(c\) A\n/);
    expect(file).toMatch(/b 1\.0\.0\n\nLicence: ISC\n\nIt brings no text/);
  });

  it('are shipped as code and licences: without types, maps, sources of C, and packages inside', () => {
    for (const file of ['a.js', 'a.d.ts', 'a.js.map', 'LICENSE', 'deps/x.js', 'lib/deps/x.js', 'node_modules/b/b.js']) {
      mkdirSync(join(dir, file, '..'), { recursive: true });
      writeFileSync(join(dir, file), '');
    }
    expect(shippedFiles(dir)).toEqual(['LICENSE', 'a.js', 'lib/deps/x.js']);
  });
});

it('a tree has the modes that were asked for, whatever the umask', () => {
  const before = process.umask(0o077);
  try {
    const tree = new Tree(join(dir, 'tree'));
    tree.write('/etc/x.yaml', 'x');
    tree.write('/usr/bin/x', '#!/bin/sh\n', 0o755);
    expect(tree.seal(7)).toEqual(['/etc/x.yaml', '/usr/bin/x']);
    expect(tree.sums(['/etc/x.yaml'])).toBe('9dd4e461268c8034f5c8564e155c67a6  etc/x.yaml\n');
  } finally {
    process.umask(before);
  }
});

describe('a purge of the agent', () => {
  /** The script as dpkg runs it, on a folder of the test's. */
  async function purge(...files: readonly string[]): Promise<string[]> {
    const data = join(dir, 'data');
    for (const file of ['identity/key.pem', 'run/helper.sock', ...files]) {
      mkdirSync(join(data, file, '..'), { recursive: true });
      writeFileSync(join(data, file), '');
    }
    const script = readFileSync(join(findRoot(), 'deploy/packages/scripts/berth-agent.postrm'), 'utf8')
      .replaceAll('/var/lib/berth', data)
      .replaceAll(/\/(run|etc)\/systemd/g, join(dir, 'none'));
    writeFileSync(join(dir, 'postrm'), script);
    await execa('sh', [join(dir, 'postrm'), 'purge']);
    return (await execa('find', [dir, '-path', `${data}/*`, '-type', 'f', '-printf', '%P\n'])).stdout
      .split('\n')
      .map((file) => file.replace(/^data\//, ''))
      .sort();
  }

  it('leaves nothing where no guest has a disk', async () => {
    expect(await purge('pools/pool-1.json', 'networks/network-1.json')).toEqual(['']);
  });

  it('keeps the records of disks in pools, which nobody else has, and what guests with such disks need', async () => {
    const kept = ['pools/pool-1.json', 'pools/volumes/volume-1.json'];
    expect(await purge(...kept)).toEqual([...kept, 'run/helper.sock']);
  });
});
