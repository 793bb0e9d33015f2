/** PowerService over a real gRPC pair and simulated drivers: done once per id, refused in words, another VM's left alone. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { OperationState } from '@berth/proto/agent/v1/operation.ts';
import type { TakeScreenshotResponse } from '@berth/proto/agent/v1/power.ts';
import { AgentWorld, call, context } from './testing/world.ts';

const UUID = '6f1c9a52-6f0e-4c7b-9a57-0c5a4c1f7d10';
const ref = { uuid: UUID, vmId: 'vm-1' };
let w: AgentWorld;

beforeEach(async () => {
  w = await AgentWorld.start();
  const sizes = {
    vcpus: 1,
    memoryBytes: 512n * 2n ** 20n,
    disks: [],
    nics: [],
    cdroms: [],
    seedVolumeId: '',
    generation: 1n,
  };
  const { domain } = w.clients;
  await call(domain, domain.ensureDomain, {
    context: context('job-1.define'),
    spec: { ...ref, name: 'web', ...sizes },
  });
  await call(domain, domain.startDomain, { context: context('job-1.start'), ...ref });
});
afterEach(() => w.end());

const power = () => w.drivers.sim.get(UUID).power;
const verb = async (
  name: 'suspendDomain' | 'resumeDomain' | 'saveDomain' | 'resetDomain' | 'injectNmi',
  id: string,
) => {
  for (;;) {
    const { state } = await call(w.clients.power, w.clients.power[name], { context: context(id), ...ref });
    if (state !== OperationState.RUNNING) return OperationState[state];
  }
};

it('does each request once, also when the agent was started anew in between', async () => {
  expect(await verb('injectNmi', 'job-2.a')).toBe('SUCCEEDED');
  await w.down();
  await w.up();
  expect(await verb('injectNmi', 'job-2.a')).toBe('SUCCEEDED');
  expect(w.drivers.sim.pokes).toEqual(['web nmi']);
});

it('suspends, resumes and saves; a late repeat of an earlier request changes nothing', async () => {
  expect(await verb('suspendDomain', 'job-2.a')).toBe('SUCCEEDED');
  expect(power()).toBe('paused');
  await verb('resumeDomain', 'job-3.a');
  expect(await verb('suspendDomain', 'job-2.a')).toBe('SUCCEEDED');
  expect(power()).toBe('running');
  expect(await verb('saveDomain', 'job-4.a')).toBe('SUCCEEDED');
  expect(w.drivers.sim.get(UUID)).toMatchObject({ power: 'stopped', reason: 'saved' });
  expect(await verb('saveDomain', 'job-5.a')).toBe('SUCCEEDED');
  expect(await verb('resetDomain', 'job-6.a')).toBe('FAILED');
});

it("leaves another VM's domain alone, and refuses chords that are none", async () => {
  const { power: client } = w.clients;
  const other = await call(client, client.resetDomain, { context: context('job-2.a'), uuid: UUID, vmId: 'vm-2' });
  expect(other.errorMessage).toMatch(/belongs to vm-1, not to vm-2; it is left alone/);
  for (const chords of [[], [{ codes: [] }], [{ codes: [0] }], [{ codes: [256] }], Array(65).fill({ codes: [30] })])
    await expect(call(client, client.sendKeys, { context: context('job-3.a'), ...ref, chords })).rejects.toMatchObject({
      reason: 'INVALID_ARGUMENT',
    });
  await call(client, client.sendKeys, { context: context('job-3.b'), ...ref, chords: [{ codes: [29, 56, 111] }] });
  expect(w.drivers.sim.pokes).toEqual(['web keys 29-56-111']);
});

it('sends a picture of the screen as PNG', async () => {
  const parts: Uint8Array[] = [];
  for await (const m of w.clients.power.takeScreenshot(ref)) parts.push((m as TakeScreenshotResponse).data);
  const png = Buffer.concat(parts);
  expect([png.toString('latin1', 1, 4), png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual(['PNG', 64, 40]);
});
