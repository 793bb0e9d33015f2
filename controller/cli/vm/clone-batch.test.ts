import { PassThrough } from 'node:stream';
import { expect, it } from 'vitest';
import { CloneVmsResponse } from '@berth/proto/v1/batch.ts';
import { CloneVmRequest } from '@berth/proto/v1/vm.ts';
import type { Context } from '../core/context.ts';
import { cloneMany } from './clone-batch.ts';

const vms = ['web-01', 'web-02'].map((name, i) => ({
  ...{ name, host: 'host-of-a-long-name', address: `10.0.0.1${i}/24`, mac: `52:54:00:00:00:0${i}`, vncPort: 5900 + i },
  thereAlready: i === 1,
}));

/** What a dry run prints on a terminal of so many columns; undefined: into a pipe. */
async function dryRun(columns: number | undefined): Promise<readonly string[]> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  if (columns !== undefined) Object.assign(stdout, { isTTY: true, columns });
  const api = { call: async () => CloneVmsResponse.fromPartial({ vms }) };
  const ctx = { stdout, stderr, api: async () => api } as unknown as Context;
  await cloneMany(ctx, {
    ...{ said: 'base', names: ['web-01', 'web-02'], flags: { dryRun: true, fromImage: true } },
    requestOf: () => CloneVmRequest.fromPartial({}),
  });
  return String(stdout.read()).trimEnd().split('\n');
}

it('shows in a dry run what fits the terminal, all of it elsewhere', async () => {
  const whole = await dryRun(undefined);
  expect(whole[0]).toMatch(/^NAME +HOST +ADDRESS +MAC +VNC +NOTE$/);
  expect(await dryRun(200)).toEqual(whole);
  for (const columns of [80, 60, 50]) {
    const lines = await dryRun(columns);
    expect(Math.max(...lines.map((l) => l.length)), String(columns)).toBeLessThanOrEqual(columns);
    for (const said of ['web-02', 'host-of-a-long-name', '10.0.0.11/24', 'is there already'])
      expect(lines.join('\n')).toContain(said);
  }
});
