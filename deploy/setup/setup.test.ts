/** The pure pieces of the set-up: what is missing, what is stale, what people read. */
import { describe, expect, it } from 'vitest';
import { installArguments, missingTools } from './apt.js';
import { dockerSocket } from './docker-api.js';
import { dockerdArguments } from './engine.js';
import { dependencyStamp, headersDirectory, sameVersions } from './npm.js';
import type { SetupEvent } from './phases.js';
import { durationText, phaseLine, reporter } from './phases.js';
import { SetupError, lastWords } from './process.js';

describe('missing tools', () => {
  const docker = { package: 'docker.io', command: 'dockerd' };
  const make = { package: 'make', command: 'make' };

  it('are judged by their command, in the search path and in the system directories', () => {
    const has = (...files: string[]) => missingTools([docker, make], '/usr/bin:', (file) => files.includes(file));
    expect(has('/usr/bin/make')).toEqual([docker]);
    expect(has('/usr/sbin/dockerd', '/usr/bin/make')).toEqual([]);
    expect(has()).toEqual([docker, make]);
  });

  it('that are no commands are judged by a file', () => {
    const grpc = { package: 'python3-grpcio', file: '/usr/lib/grpc.py' };
    const lacks = (there: boolean) =>
      missingTools(
        [grpc],
        '/usr/bin',
        () => false,
        () => there,
      );
    expect([lacks(true), lacks(false)]).toEqual([[], [grpc]]);
  });

  it('are installed without recommendations, and a held lock is waited for', () => {
    expect(installArguments(['a', 'b']).join(' ')).toBe(
      'install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 a b',
    );
  });
});

describe('dependencies', () => {
  it('are stale when the lock file or the Node they were compiled for changes', () => {
    expect(dependencyStamp('lock', '115')).toBe(dependencyStamp('lock', '115'));
    expect(dependencyStamp('lock', '115')).not.toBe(dependencyStamp('lock 2', '115'));
    expect(dependencyStamp('lock', '115')).not.toBe(dependencyStamp('lock', '127'));
  });

  it('that somebody installed by hand count when every required version agrees', () => {
    const wanted = {
      '': {},
      'node_modules/a': { version: '1.0.0' },
      'node_modules/b': { version: '2.0.0', optional: true },
      'node_modules/@berth/shared': { link: true },
    };
    expect(sameVersions(wanted, { 'node_modules/a': { version: '1.0.0' } })).toBe(true);
    expect(sameVersions(wanted, { 'node_modules/a': { version: '1.0.1' } })).toBe(false);
    expect(sameVersions(wanted, {})).toBe(false);
  });

  it('are compiled against the headers that came with Node, where they are', () => {
    const exists = (path: string) => path === '/usr/include/node/node.h';
    expect(headersDirectory('/usr/bin/node', exists)).toBe('/usr');
    expect(headersDirectory('/opt/node/bin/node', exists)).toBeUndefined();
  });
});

describe('the Docker engine', () => {
  it('must be on this machine', () => {
    expect(dockerSocket(undefined)).toBe('/var/run/docker.sock');
    expect(dockerSocket('unix:///run/user/1000/docker.sock')).toBe('/run/user/1000/docker.sock');
    expect(() => dockerSocket('tcp://far:2375')).toThrow(SetupError);
  });

  it('chooses its own storage driver first', () => {
    expect(dockerdArguments('/s', undefined, [])).toEqual(['-H', 'unix:///s']);
    expect(dockerdArguments('/s', 'vfs', ['--debug'])).toEqual(['-H', 'unix:///s', '--storage-driver=vfs', '--debug']);
  });
});

describe('phases', () => {
  async function eventsOf(satisfied: boolean, work: () => Promise<string>): Promise<SetupEvent[]> {
    const events: SetupEvent[] = [];
    let now = 0;
    const phases = reporter(
      (event) => events.push(event),
      () => (now += 1500),
    );
    await phases.phase('build', 'building', satisfied, work).catch(() => undefined);
    return events;
  }

  it('are announced, then done with their duration', async () => {
    const events = await eventsOf(false, async () => 'two programs');
    expect(events.map(({ state, detail, ms }) => [state, detail, ms])).toEqual([
      ['start', 'building', 0],
      ['done', 'two programs', 1500],
    ]);
  });

  it('with nothing to do are done without an announcement', async () => {
    const events = await eventsOf(true, async () => 'never');
    expect(events.map(({ state, detail }) => [state, detail])).toEqual([['done', 'up to date']]);
  });

  it('that fail say why in one line', async () => {
    const events = await eventsOf(false, async () => {
      throw new Error('no disk\nat somewhere');
    });
    expect(events.at(-1)).toMatchObject({ state: 'fail', detail: 'no disk' });
  });

  it('are shown in columns, with durations for people', () => {
    expect(phaseLine({ title: 'host image', state: 'done', detail: 'about 370 MB', ms: 33_000 })).toBe(
      ` ✔ host image                 ${'about 370 MB'.padEnd(42)} 33 s`,
    );
    expect([400, 9940, 41_000, 72_000].map(durationText)).toEqual(['0.4 s', '9.9 s', '41 s', '1 m 12 s']);
  });
});

describe('the words of a failed tool', () => {
  it('are the line that tells most', () => {
    expect(lastWords('Reading…\nE: Unable to locate package x\nbye\n')).toBe('E: Unable to locate package x');
    expect(lastWords('npm error code E404\nnpm error 404 no such\nnpm error A complete log: x')).toBe(
      'npm error 404 no such',
    );
    expect(lastWords('a\nb\n\n')).toBe('b');
    expect(lastWords('')).toBe('no output');
  });
});
