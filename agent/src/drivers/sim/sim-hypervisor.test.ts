import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { firmwareGuestXml, hypervisorContract } from '@berth/test/harness/hypervisor-contract.ts';
import { snapshotContract } from '@berth/test/harness/snapshot-contract.ts';
import { expect, it } from 'vitest';
import { createSimDrivers } from './sim-drivers.ts';

const make = async () => {
  const runDir = await mkdtemp(join(tmpdir(), 'berth-sim-'));
  const drivers = createSimDrivers({ name: 'h1', runDir, clock: systemClock, bootMs: 1 });
  return {
    hypervisor: drivers.hypervisor,
    async dispose() {
      await drivers.hypervisor.close();
      await drivers.close();
      await rm(runDir, { recursive: true });
    },
  };
};
hypervisorContract('a simulated host', make);
snapshotContract('a simulated host', async () => ({
  ...(await make()),
  blankDisks: async (names) => names.map((n) => `/simulated/${n}.qcow2`),
  snapshotsIn: async () => undefined,
}));

const guest = { uuid: '6a1c1f0e-0000-4000-8000-000000000001', name: 'web' };
const drivers = (clock = new SimClock()) => ({
  clock,
  ...createSimDrivers({ name: 'h1', runDir: tmpdir(), clock, bootMs: 2_000 }),
});

it('a guest that is asked to shut down does so after a while, unless it is deaf', async () => {
  const { clock, sim, hypervisor } = drivers();
  await hypervisor.define(firmwareGuestXml(guest));
  await hypervisor.start(guest.uuid);
  sim.faults.deafGuests = true;
  await hypervisor.shutdown(guest.uuid);
  await clock.advance(10_000);
  expect((await hypervisor.list())[0]).toMatchObject({ power: 'running' });
  sim.faults.deafGuests = false;
  await hypervisor.shutdown(guest.uuid);
  await clock.advance(10_000);
  expect((await hypervisor.list())[0]).toMatchObject({ power: 'stopped', reason: 'shutdown' });
});

it('a hypervisor that is down answers nothing, not even an empty list', async () => {
  const { sim, hypervisor } = drivers();
  await hypervisor.define(firmwareGuestXml(guest));
  sim.faults.hypervisorDown = true;
  const away = { reason: 'HYPERVISOR_UNAVAILABLE' };
  await expect(hypervisor.list()).rejects.toMatchObject(away);
  await expect(hypervisor.info()).rejects.toMatchObject(away);
  await expect(hypervisor.stats(1_000)).rejects.toMatchObject(away);
  await expect(hypervisor.start(guest.uuid)).rejects.toMatchObject(away);
  sim.faults.hypervisorDown = false;
  expect(await hypervisor.list()).toHaveLength(1);
});

it('a guest that dies on its own is seen as crashed', async () => {
  const { sim, hypervisor } = drivers();
  await hypervisor.define(firmwareGuestXml(guest));
  await hypervisor.start(guest.uuid);
  sim.crash(guest.uuid);
  expect((await hypervisor.list())[0]).toMatchObject({ power: 'crashed', reason: 'crashed' });
});

it('a guest shows its display to as many as want it, each until it stops', async () => {
  const { hypervisor } = drivers();
  await hypervisor.define(firmwareGuestXml(guest).replace('<video>', `<graphics type='vnc'/><video>`));
  await hypervisor.start(guest.uuid);
  const viewers = await Promise.all(
    [1, 2].map(async () => {
      const display = await hypervisor.openDisplay(guest.uuid, 'vnc');
      expect(String(await new Promise((heard) => display.once('data', heard)))).toBe('RFB 003.008\n');
      return { over: new Promise((over) => display.once('close', over)) };
    }),
  );
  await hypervisor.destroy(guest.uuid);
  await Promise.all(viewers.map((v) => v.over));
});
