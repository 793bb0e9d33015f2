import { describe, expect, it } from 'vitest';
import { readCapabilities, versionText } from './capabilities.ts';
import { deadlinePassed, fromRemote, hasCode, isDeadline, neverSent } from './errors.ts';
import { isActive, powerOf } from './power.ts';
import { statsOf } from './stats-reply.fixture.ts';
import type { RemoteError, TypedValue } from './types.ts';

describe('errors', () => {
  const remote = (code: number, int1 = 0): RemoteError => ({
    code,
    domain: 10,
    message: 'why',
    level: 2,
    dom: undefined,
    str1: undefined,
    str2: undefined,
    str3: undefined,
    int1,
    int2: 0,
    net: undefined,
  });

  it.each([
    [42, 'NOT_FOUND'],
    [55, 'BAD_STATE'],
    [27, 'INVALID_ARGUMENT'],
    [67, 'UNSUPPORTED'],
    [88, 'PERMISSION_DENIED'],
    [1, 'INTERNAL'],
    [9_999, 'INTERNAL'],
  ])('number %d is %s', (code, reason) => {
    expect(fromRemote(remote(code), 'start domain web')).toMatchObject({
      reason,
      message: 'libvirt could not start domain web: why',
    });
  });

  it('tells a full disk from other system errors', () => {
    expect(fromRemote(remote(38, 28), 'x').reason).toBe('DISK_FULL');
    expect(fromRemote(remote(38, 5), 'x').reason).toBe('INTERNAL');
  });

  it('keeps the number for code that must tell one refusal from another', () => {
    expect(hasCode(fromRemote(remote(42), 'x'), 55, 42)).toBe(true);
    expect(hasCode(neverSent('x', 'y'), 42)).toBe(false);
    expect(isDeadline(deadlinePassed('x', 5))).toBe(true);
  });
});

describe('power states', () => {
  it.each([
    [1, 1, 'running', 'booted'],
    [2, 0, 'running', 'none'],
    [3, 5, 'paused', 'io-error'],
    [3, 8, 'stopping', 'shutdown'],
    [4, 1, 'stopping', 'user'],
    [5, 1, 'stopped', 'shutdown'],
    [5, 2, 'stopped', 'destroyed'],
    [5, 3, 'crashed', 'crashed'],
    [5, 5, 'stopped', 'other'],
    [6, 1, 'crashed', 'crashed'],
    [7, 0, 'suspended', 'none'],
    [99, 0, 'unknown', 'none'],
  ])('state %d with reason %d is %s, %s', (state, reason, power, why) => {
    expect(powerOf(state, reason)).toEqual({ power, reason: why });
  });

  it('counts a domain as active while a QEMU stands behind it', () => {
    expect(
      ['running', 'paused', 'stopping', 'suspended', 'stopped', 'crashed', 'unknown'].filter((p) =>
        isActive(p as never),
      ),
    ).toEqual(['running', 'paused', 'stopping', 'suspended']);
  });
});

describe('statistics', () => {
  const L = (value: bigint): TypedValue => ({ type: 'ullong', value });
  const came = { atMs: 5, nowMs: 1_000_000 };
  /** Of what QEMU was asked for. */
  const read = (fields: Record<string, TypedValue>) =>
    statsOf(Object.entries({ 'balloon.rss': L(2n), ...fields }), came);

  it('adds up all disks and all interfaces', () => {
    const stats = read({
      'cpu.time': L(5n),
      'balloon.rss': L(2n),
      'block.0.rd.bytes': L(1n),
      'block.10.rd.bytes': L(10n),
      'block.0.wr.bytes': L(3n),
      'block.0.rd.reqs': L(4n),
      'block.10.rd.reqs': L(5n),
      'block.0.fl.times': L(6n),
      'net.0.rx.bytes': L(7n),
      'net.1.rx.bytes': L(70n),
      'net.1.tx.bytes': L(8n),
      'net.0.rx.drop': L(1n),
      'net.1.tx.errs': L(2n),
      'block.count': { type: 'uint', value: 2 },
    });
    expect(stats).toMatchObject({
      uuid: '11111111-2222-4333-8444-555555555555',
      cpuTimeNs: 5n,
      memoryUsedBytes: 2048,
      blockReadBytes: 11n,
      blockWriteBytes: 3n,
      netReceiveBytes: 77n,
      netTransmitBytes: 8n,
      more: { atMs: 5, blockReads: 9, blockWrites: 0, blockFlushNs: 6, netErrors: 3, guestTotalBytes: 0 },
    });
  });

  it('takes the memory of a guest from its balloon, unless it told long ago or never', () => {
    const of = (fields: Record<string, TypedValue>) => read(fields)?.more;
    const told = { 'balloon.current': L(9n), 'balloon.available': L(8n), 'balloon.usable': L(3n) };
    const known = { balloonBytes: 9216, guestTotalBytes: 8192, guestUsableBytes: 3072 };
    expect(of({ ...told, 'balloon.last-update': L(990n) })).toMatchObject(known);
    expect(of({ ...told, 'balloon.last-update': L(900n) })).toMatchObject({ guestTotalBytes: 0, guestUsableBytes: 0 });
    expect(of({ 'balloon.current': L(9n) })).toMatchObject({ balloonBytes: 9216, guestTotalBytes: 0 });
  });

  it('takes counters that are no counts for nothing', () => {
    const odd = {
      'block.0.rd.bytes': { type: 'llong', value: -1n },
      'net.0.tx.bytes': { type: 'double', value: NaN },
      'net.1.tx.bytes': { type: 'string', value: 'many' },
    } as const;
    expect(read(odd)).toMatchObject({ blockReadBytes: 0n, netTransmitBytes: 0n });
  });

  it('knows an answer for which QEMU was not asked', () => {
    expect(statsOf([['cpu.time', L(5n)]])).toBeUndefined();
    expect(statsOf([['balloon.rss', L(5n)]])).toMatchObject({ memoryUsedBytes: 5120 });
  });
});

describe('capabilities', () => {
  const guest = (arch: string, types: string[]): string =>
    `<guest><os_type>hvm</os_type><arch name='${arch}'><wordsize>64</wordsize><emulator>/usr/bin/qemu-system-${arch}</emulator>${types.map((t) => `<domain type='${t}'/>`).join('')}</arch></guest>`;

  it('names the domain types of the host’s own architecture, kvm first', () => {
    const xml = `<capabilities><host><cpu><arch>x86_64</arch><model>Skylake</model></cpu></host>${guest('i686', ['qemu'])}${guest('x86_64', ['qemu', 'kvm'])}</capabilities>`;
    expect(readCapabilities(xml)).toEqual({
      domainTypes: ['kvm', 'qemu'],
      emulatorPath: '/usr/bin/qemu-system-x86_64',
      cpuModel: 'Skylake',
    });
  });

  it('finds nothing where there is nothing', () => {
    expect(readCapabilities('<capabilities/>')).toEqual({ domainTypes: [], emulatorPath: '', cpuModel: '' });
  });

  it('writes versions as people do', () => expect(versionText(7_002_022n)).toBe('7.2.22'));
});
