import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { Pool } from '@berth/proto/v1/pool.ts';
import type { Api } from '../core/api.ts';
import type { Context } from '../core/context.ts';
import { poolList, poolShow } from './view.ts';

const GIB = 2 ** 30;
const fast = Pool.fromPartial({
  ...{ name: 'fast', id: 'pool-1', state: 'ready', started: true, source: { type: 'dir', targetPath: '/kvm' } },
  ...{ warnPercent: 85, stopPercent: 95, overcommit: 1, hosts: ['h1'] },
  onHosts: [
    {
      host: 'h1',
      state: 'active',
      capacityBytes: BigInt(252 * GIB),
      availableBytes: BigInt(63 * GIB),
      targetPath: '/kvm',
    },
  ],
});

async function said(command: typeof poolShow, pool: Pool, args: readonly string[]): Promise<string> {
  const stdout = new PassThrough();
  const api = {
    call: async () => (args.length > 0 ? pool : { pools: [pool], nextPageToken: '' }),
  } as unknown as Api;
  const ctx = { stdout, clock: { now: () => 0 }, api: async () => api };
  await command.run(ctx as unknown as Context, args, {});
  return String(stdout.read());
}

describe('berth pool', () => {
  it('counts room as berth host show does, in powers of two', async () => {
    expect(await said(poolList, fast, [])).toMatch(/ 252 GiB +63 GiB +75 % /);
    expect(await said(poolShow, fast, ['fast'])).toMatch(/^on h1: +active, 63 GiB of 252 GiB free \(75 % used\)$/m);
  });

  it('shows that there is no room, which is not nothing known', async () => {
    const [on] = fast.onHosts;
    const full = { ...fast, onHosts: [{ ...on!, availableBytes: 0n }] };
    expect(await said(poolList, full, [])).toMatch(/ 252 GiB +0 B +100 % /);
  });

  it('says that no disk is in it, and else what those may grow to', async () => {
    expect(await said(poolShow, fast, ['fast'])).toMatch(/^disks: +none$/m);
    const used = { ...fast, diskCount: 2, promisedBytes: BigInt(3 * GIB) };
    expect(await said(poolShow, used, ['fast'])).toMatch(/^disks: +2, which may grow to 3 GiB$/m);
  });

  it('says how many hosts were not named, and counts them where a shared pool is', async () => {
    const many = (shared: boolean) => ({ ...fast, shared, hostCount: 10_000, activeCount: 10_000 });
    expect(await said(poolList, many(true), [])).toMatch(/ h1 and 9997 more /);
    expect(await said(poolShow, many(false), ['fast'])).toMatch(/9999 of its 10000 hosts are not shown/);
    expect(await said(poolShow, fast, ['fast'])).not.toMatch(/not shown/);
  });
});
