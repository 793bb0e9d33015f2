/** What libvirt numbers per device is put together again, whatever else it tells. */
import { expect, it } from 'vitest';
import { statsOf } from './stats-reply.fixture.ts';
import type { TypedValue } from './types.ts';

const ull = (n: number): TypedValue => ({ type: 'ullong', value: BigInt(n) });
const text = (value: string): TypedValue => ({ type: 'string', value });

it('reads disks, cards and what vCPUs waited for one by one, and adds them up as before', () => {
  const stats = statsOf(
    Object.entries({
      ...{ 'cpu.time': ull(10), 'cpu.user': ull(6), 'cpu.system': ull(4), 'balloon.rss': ull(1) },
      ...{ 'vcpu.0.delay': ull(5), 'vcpu.0.wait': ull(99), 'vcpu.1.delay': ull(7) },
      ...{
        'block.count': ull(2),
        'block.0.name': text('vda'),
        'block.0.rd.bytes': ull(100),
        'block.0.capacity': ull(1000),
      },
      ...{ 'block.1.name': text('vdb'), 'block.1.rd.bytes': ull(11), 'block.1.fl.times': ull(3) },
      ...{ 'net.0.name': text('vnet3'), 'net.0.rx.bytes': ull(20), 'net.0.rx.drop': ull(1), 'net.0.tx.drop': ull(2) },
    }),
  );
  expect(stats?.blockReadBytes).toBe(111n);
  expect(stats?.more).toMatchObject({ cpuUserNs: 6, cpuSystemNs: 4, vcpuDelayNs: 12, netErrors: 3, blockFlushNs: 3 });
  expect(stats?.more?.disks).toMatchObject([
    { target: 'vda', readBytes: 100, capacityBytes: 1000, flushNs: 0 },
    { target: 'vdb', readBytes: 11, flushNs: 3 },
  ]);
  expect(stats?.more?.nics).toMatchObject([{ name: 'vnet3', receiveBytes: 20, drops: 3, errors: 0 }]);
});

it('takes what has no name, or an absurd number, for no device', () => {
  const more = statsOf([
    ['balloon.rss', ull(1)],
    ['block.7.rd.bytes', ull(1)],
    ['net.4000000000.name', text('x')],
  ])?.more;
  expect([more?.disks, more?.nics, more?.vcpuDelayNs]).toEqual([[], [], undefined]);
});
