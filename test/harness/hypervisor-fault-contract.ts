/**
 * What a Hypervisor driver must survive: a daemon that is killed, a QEMU that is frozen. For real hosts only; see
 * hypervisor-contract.ts for the cases that hold everywhere.
 */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { EVENTUALLY, withBench } from './hypervisor-contract.ts';
import type { Bench, HypervisorFixture } from './hypervisor-contract.ts';

/** Faults that only a real host can have. */
export interface FaultyFixture extends HypervisorFixture {
  /** SIGKILL; guests go on. Resolves when the daemon is gone. */
  killDaemon(): Promise<void>;
  /** Unless it runs. */
  startDaemon(): Promise<void>;
  /** SIGSTOP for the QEMU of this domain. */
  freezeGuest(name: string): Promise<void>;
  /** Tells one run of a guest's QEMU from another. */
  guestProcess(name: string): Promise<string>;
}

/** Registers the cases that need a daemon to kill and a QEMU to freeze. */
export function hypervisorFaultContract(name: string, make: () => Promise<FaultyFixture>): void {
  describe(`${name} when things break`, () => {
    const s = withBench(make);
    afterEach(() => s.fixture.startDaemon()); // runs before the clean-up, which needs it
    daemonDeath(s);
    frozenGuest(s);
  });
}

/** So long a QEMU is waited for: who does it takes longer, however fast the machine. */
const SILENT_MS = 3_000;

interface Broken {
  readonly fixture: FaultyFixture;
  readonly bench: Bench;
}

async function restartDaemon({ fixture, bench }: Broken): Promise<void> {
  await fixture.killDaemon();
  await vi.waitFor(() => expect(bench.events.at(-1)).toMatchObject({ type: 'disconnected' }), EVENTUALLY);
  bench.events.length = 0;
  await fixture.startDaemon();
  await vi.waitFor(() => expect(bench.events).toContainEqual({ type: 'connected' }), EVENTUALLY);
}

function daemonDeath(s: Broken): void {
  it('comes back after SIGKILL of the daemon, with the guest that ran on, and hears events again', async () => {
    const g = await s.bench.running();
    const process = await s.fixture.guestProcess(g.name);
    await restartDaemon(s);
    expect(await s.bench.seen(g)).toMatchObject({ power: 'running', persistent: true });
    expect(await s.fixture.guestProcess(g.name)).toBe(process);
    s.bench.events.length = 0;
    await s.bench.hypervisor.destroy(g.uuid);
    // a slow host is seen on its way there, too
    const stopped = { type: 'domain', uuid: g.uuid, seen: { power: 'stopped' } };
    await vi.waitFor(() => expect(s.bench.events.at(-1)).toMatchObject(stopped), EVENTUALLY);
  });

  it('refuses calls while the daemon is away, saying that nothing was done', async () => {
    const g = await s.bench.defined();
    await s.fixture.killDaemon();
    await vi.waitFor(() => expect(s.bench.events.at(-1)).toMatchObject({ type: 'disconnected' }), EVENTUALLY);
    const nothingDone = { reason: 'HYPERVISOR_UNAVAILABLE', meta: { phase: 'before-send' } };
    await expect(s.bench.hypervisor.start(g.uuid)).rejects.toMatchObject(nothingDone);
    await expect(s.bench.hypervisor.list()).rejects.toMatchObject(nothingDone);
    await s.fixture.startDaemon();
    await vi.waitFor(async () => expect(await s.bench.seen(g)).toMatchObject({ power: 'stopped' }), EVENTUALLY);
  });

  it('calls a start unknown, not failed, when the daemon dies under it, and settles afterwards', async () => {
    const g = await s.bench.running(); // so that the connection for starts is open already
    await s.bench.hypervisor.destroy(g.uuid);
    let settled = false;
    const outcome = s.bench.hypervisor
      .start(g.uuid)
      .then(
        () => 'started',
        (e: unknown) => (e as { meta?: { phase?: string } }).meta?.phase ?? String(e),
      )
      .finally(() => (settled = true));
    // a libvirtd 9.0 that is killed between its fork and QEMU's beginning shows the domain as paused afterwards, and keeps a lock on it
    await vi.waitFor(
      async () => expect(settled || (await s.fixture.guestProcess(g.name)) !== '').toBe(true),
      EVENTUALLY,
    );
    await s.fixture.killDaemon();
    expect(['started', 'unknown']).toContain(await outcome);
    await s.fixture.startDaemon();
    await vi.waitFor(async () => {
      await s.bench.hypervisor.start(g.uuid);
      expect(await s.bench.seen(g)).toMatchObject({ power: 'running' });
    }, EVENTUALLY);
  });

  it('ends an open console with "unknown" when the daemon dies', async () => {
    const g = await s.bench.running();
    const console = await s.bench.hypervisor.openConsole(g.uuid, false);
    const failed = new Promise((resolve) => console.once('error', resolve));
    console.resume();
    await restartDaemon(s);
    expect(await failed).toMatchObject({ reason: 'HYPERVISOR_UNAVAILABLE' });
  });
}

function frozenGuest(s: Broken): void {
  it('neither lists nor statistics wait for a frozen QEMU, and it can be forced off', async () => {
    const [well, frozen] = [await s.bench.running(), await s.bench.running()];
    await s.fixture.freezeGuest(frozen.name);
    const uuids = async (): Promise<string[]> => (await s.bench.hypervisor.stats(SILENT_MS)).map((x) => x.uuid);
    const first = await timed(uuids);
    expect(first.value).toContain(well.uuid);
    expect(first.value).not.toContain(frozen.uuid);
    expect(first.ms).toBeLessThan(SILENT_MS + 7_000);
    const second = await timed(uuids);
    expect(second.value).toContain(well.uuid);
    expect(second.ms).toBeLessThan(SILENT_MS); // it is not asked again
    expect((await timed(() => s.bench.hypervisor.list())).ms).toBeLessThan(SILENT_MS);
    await s.bench.hypervisor.destroy(frozen.uuid);
    await s.bench.hypervisor.start(frozen.uuid);
    await vi.waitFor(async () => expect(await uuids()).toContain(frozen.uuid), EVENTUALLY);
  });
}

async function timed<T>(act: () => Promise<T>): Promise<{ value: T; ms: number }> {
  const start = performance.now();
  const value = await act();
  return { value, ms: performance.now() - start };
}
