import { describe, expect, it } from 'vitest';
import { BridgeStatus } from '@berth/proto/agent/v1/host.ts';
import { DomainPower, DomainStatus } from '@berth/proto/agent/v1/domain.ts';
import { VolumeStatus } from '@berth/proto/agent/v1/volume.ts';
import { Statistics, type WatchMessage } from '@berth/proto/agent/v1/watch.ts';
import { LIMITS } from './limits.ts';
import { HostRecord } from './record.ts';

type Message = NonNullable<WatchMessage['message']>;
const begin: Message = { $case: 'begin', value: { hostId: 'h', hostBootId: 'b', agentInstanceId: 'a' } };
const end = (...complete: string[]): Message => ({ $case: 'end', value: { sources: { complete } } });
const domain = (uuid: string, power = DomainPower.RUNNING): Message => ({
  $case: 'domain',
  value: DomainStatus.fromPartial({ uuid, power, vmId: 'vm-1' }),
});
const feed = (r: HostRecord, ...messages: Message[]) => messages.map((m) => r.apply(m, 1)).at(-1)!;

describe('the record of a host', () => {
  it('applies a snapshot as a whole: nothing of it shows before its end', () => {
    const r = new HostRecord();
    feed(r, begin, domain('u1'), end('domains'));
    feed(r, begin, domain('u2'));
    expect([...r.domains.keys()]).toEqual(['u1']);
    feed(r, end('domains'));
    expect([...r.domains.keys()]).toEqual(['u2']);
  });

  it('keeps what it had when a snapshot breaks off', () => {
    const r = new HostRecord();
    feed(r, begin, domain('u1'), end('domains'), begin, domain('u2'));
    r.abandonSnapshot();
    feed(r, domain('u3'));
    expect([...r.domains.keys()]).toEqual(['u1', 'u3']);
  });

  it('tells what a snapshot changed, also what is gone', () => {
    const r = new HostRecord();
    feed(r, begin, domain('u1'), domain('u2'), end('domains'));
    const { domains } = feed(r, begin, domain('u2', DomainPower.STOPPED), end('domains'));
    expect(domains.map((d) => [d.before?.power, d.after?.power])).toEqual([
      ['running', undefined],
      ['running', 'stopped'],
    ]);
  });

  it('keeps at most so many objects, tells it once, and no longer takes that source for complete', () => {
    const r = new HostRecord();
    const volumes = Array.from({ length: LIMITS.volumes + 50 }, (_, i): Message => ({
      $case: 'volume',
      value: VolumeStatus.fromPartial({ volumeId: `v${i}`, allocatedBytes: 1n }),
    }));
    const overflows = [begin, ...volumes, end('volumes', 'domains')].flatMap((m) => r.apply(m, 1).overflow);
    expect(r.views.volumeIds.size).toBe(LIMITS.volumes);
    expect([...r.complete]).toEqual(['domains']);
    expect(new Set(overflows)).toEqual(new Set(['volumes']));
  });

  it('cuts long texts and lists', () => {
    const r = new HostRecord();
    const value = BridgeStatus.fromPartial({ name: 'b'.repeat(5000), ports: Array.from({ length: 5000 }, () => 'p') });
    feed(r, begin, { $case: 'bridge', value }, end());
    expect(r.views.bridges[0]?.name).toHaveLength(64);
    expect(r.views.bridges[0]?.ports).toHaveLength(LIMITS.list);
  });

  it('keeps statistics of known domains only', () => {
    const r = new HostRecord();
    const one = { cpuUsed: 0.5, memoryUsedBytes: 7n };
    const value = Statistics.fromPartial({
      domains: [
        { uuid: 'u1', ...one },
        { uuid: 'lie', ...one },
      ],
    });
    feed(r, begin, domain('u1'), end('domains'));
    feed(r, { $case: 'statistics', value });
    expect(r.vmStatistics.size).toBe(1);
    expect(r.vmStatistics.get('u1')).toMatchObject({ cpuUsed: 0.5, memoryUsedBytes: 7, overMs: 0 });
  });
});
