/**
 * What every Hypervisor driver must do: the same cases for the simulated one and for a real libvirt. Needs guests without
 * disks only. Where the hypervisor comes from is the caller's business (`make`); nothing here knows the lab.
 */
import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { DomainSeen, Hypervisor, HypervisorEvent } from '@berth/agent/drivers/hypervisor.ts';

export interface HypervisorFixture {
  readonly hypervisor: Hypervisor;
  dispose(): Promise<void>;
}

interface Guest {
  readonly uuid: string;
  readonly name: string;
}

export const EVENTUALLY = { timeout: 30_000, interval: 50 };

const newGuest = (): Guest => {
  const uuid = randomUUID();
  return { uuid, name: `contract-${uuid.slice(0, 8)}` };
};

const VIDEO = `<video><model type='vga'/></video>`;

/** A guest that gets as far as its firmware and says so on the serial port. */
export const firmwareGuestXml = ({ uuid, name }: Guest, memoryMib = 64, disks = ''): string => `<domain type='qemu'>
  <name>${name}</name>
  <uuid>${uuid}</uuid>
  <metadata><b:vm xmlns:b='urn:berth:vm:1'><b:mark>${name}</b:mark></b:vm></metadata>
  <memory unit='MiB'>${memoryMib}</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><bios useserial='yes'/></os>
  <features><acpi/></features>
  <devices>${disks}<serial type='pty'/><console type='pty'/>${VIDEO}</devices>
</domain>`;

/** A hypervisor under test, what it told, and the guests to clear away. */
export class Bench {
  readonly events: HypervisorEvent[] = [];
  readonly #guests: Guest[] = [];
  readonly #unsubscribe: () => void;

  constructor(readonly hypervisor: Hypervisor) {
    this.#unsubscribe = hypervisor.subscribe((e) => this.events.push(e));
  }

  guest(): Guest {
    const g = newGuest();
    this.#guests.push(g);
    return g;
  }

  async defined(): Promise<Guest> {
    const g = this.guest();
    await this.hypervisor.define(firmwareGuestXml(g));
    return g;
  }

  async running(): Promise<Guest> {
    const g = await this.defined();
    await this.hypervisor.start(g.uuid);
    return g;
  }

  async seen(g: Guest): Promise<DomainSeen | undefined> {
    return (await this.hypervisor.list()).find((d) => d.uuid === g.uuid);
  }

  async cleanUp(): Promise<void> {
    this.#unsubscribe();
    if (this.#guests.length > 0) await vi.waitFor(() => this.hypervisor.list(), EVENTUALLY);
    for (const g of this.#guests) {
      await this.hypervisor.destroy(g.uuid);
      await this.hypervisor.undefine(g.uuid);
    }
  }
}

/** Makes a fixture for each test, connected, and clears it away. */
export function withBench<F extends HypervisorFixture>(make: () => Promise<F>): { fixture: F; bench: Bench } {
  const state = {} as { fixture: F; bench: Bench };
  beforeEach(async () => {
    state.fixture = await make();
    state.bench = new Bench(state.fixture.hypervisor);
    await vi.waitFor(() => expect(state.bench.events).toContainEqual({ type: 'connected' }), EVENTUALLY);
  });
  afterEach(async () => {
    await state.bench.cleanUp();
    await state.fixture.dispose();
  });
  return state;
}

/** Registers the cases that hold for every driver. */
export function hypervisorContract(name: string, make: () => Promise<HypervisorFixture>): void {
  describe(`${name} as a hypervisor`, () => {
    const s = withBench(make);
    definitions(s);
    powerCases(s);
    guestCases(s);
    liveCases(s);
    readings(s);
  });
}

function definitions(s: { bench: Bench }): void {
  it('shows a defined domain as stopped, with its sizes and our metadata', async () => {
    const g = s.bench.guest();
    const seen = await s.bench.hypervisor.define(firmwareGuestXml(g));
    expect(seen).toMatchObject({ ...g, power: 'stopped', persistent: true, vcpus: 1, memoryBytes: 64 * 2 ** 20 });
    expect(seen.metadataXml).toContain(g.name);
    expect(await s.bench.seen(g)).toEqual(seen);
  });

  it('defines twice as once, and takes a changed definition', async () => {
    const g = await s.bench.defined();
    await s.bench.hypervisor.define(firmwareGuestXml(g));
    expect(await s.bench.hypervisor.define(firmwareGuestXml(g, 96))).toMatchObject({ memoryBytes: 96 * 2 ** 20 });
    expect((await s.bench.hypervisor.list()).filter((d) => d.uuid === g.uuid)).toHaveLength(1);
  });

  it('refuses XML that is none, and leaves nothing behind', async () => {
    const before = await s.bench.hypervisor.list();
    await expect(s.bench.hypervisor.define('<domain>')).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
    expect(await s.bench.hypervisor.list()).toEqual(before);
  });

  it('refuses a name that another domain has', async () => {
    const g = await s.bench.defined();
    const other = { ...s.bench.guest(), name: g.name };
    await expect(s.bench.hypervisor.define(firmwareGuestXml(other))).rejects.toMatchObject({
      reason: 'ALREADY_EXISTS',
    });
    expect(await s.bench.seen(other)).toBeUndefined();
  });

  it('removes a definition, says so, and does not mind a second time', async () => {
    const g = await s.bench.defined();
    await s.bench.hypervisor.undefine(g.uuid);
    expect(await s.bench.seen(g)).toBeUndefined();
    await vi.waitFor(
      () => expect(s.bench.events).toContainEqual({ type: 'domain', uuid: g.uuid, seen: undefined }),
      EVENTUALLY,
    );
    await s.bench.hypervisor.undefine(g.uuid);
  });

  it('does not remove a running domain', async () => {
    const g = await s.bench.running();
    await expect(s.bench.hypervisor.undefine(g.uuid)).rejects.toMatchObject({ reason: 'BAD_STATE' });
    expect(await s.bench.seen(g)).toMatchObject({ power: 'running', persistent: true });
  });

  it('tells a listener that comes late that it is connected', () => {
    const heard: HypervisorEvent[] = [];
    s.bench.hypervisor.subscribe((e) => heard.push(e))();
    expect(heard).toEqual([{ type: 'connected' }]);
  });
}

function powerCases(s: { bench: Bench }): void {
  it('shows a domain as running when start returns, and starts twice as once', async () => {
    const g = await s.bench.running();
    expect(await s.bench.seen(g)).toMatchObject({ power: 'running', reason: 'booted' });
    await s.bench.hypervisor.start(g.uuid);
    await vi.waitFor(() => {
      const seen = s.bench.events.flatMap((e) => (e.type === 'domain' && e.uuid === g.uuid ? [e.seen?.power] : []));
      expect(seen).toContain('running');
    }, EVENTUALLY);
  });

  it('starts the same domain twice at the same time as once', async () => {
    const g = await s.bench.defined();
    await Promise.all([s.bench.hypervisor.start(g.uuid), s.bench.hypervisor.start(g.uuid)]);
    expect(await s.bench.seen(g)).toMatchObject({ power: 'running' });
  });

  it('cannot start what is not there', async () => {
    await expect(s.bench.hypervisor.start(randomUUID())).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  });

  it('forces off, says why it stopped, and does not mind what is stopped or absent', async () => {
    const g = await s.bench.running();
    await s.bench.hypervisor.destroy(g.uuid);
    expect(await s.bench.seen(g)).toMatchObject({ power: 'stopped', reason: 'destroyed' });
    await s.bench.hypervisor.destroy(g.uuid);
    await s.bench.hypervisor.destroy(randomUUID());
  });

  it('does not mind shutting down what is stopped', async () => {
    const g = await s.bench.defined();
    await s.bench.hypervisor.shutdown(g.uuid);
    expect(await s.bench.seen(g)).toMatchObject({ power: 'stopped' });
  });
}

function guestCases(s: { bench: Bench }): void {
  it('suspends a guest and lets it go on, twice as once', async () => {
    const g = await s.bench.running();
    for (const again of [false, true]) {
      await s.bench.hypervisor.suspend(g.uuid);
      expect(await s.bench.seen(g), String(again)).toMatchObject({ power: 'paused', reason: 'user' });
    }
    await expect(s.bench.hypervisor.start(g.uuid)).rejects.toMatchObject({ reason: 'BAD_STATE' });
    for (const again of [false, true]) {
      await s.bench.hypervisor.resume(g.uuid);
      expect(await s.bench.seen(g), String(again)).toMatchObject({ power: 'running', reason: 'user' });
    }
    await vi.waitFor(() => {
      const told = s.bench.events.flatMap((e) => (e.type === 'domain' && e.uuid === g.uuid ? [e.seen?.power] : []));
      expect(told.join()).toMatch(/running,.*paused,.*running/);
    }, EVENTUALLY);
  });

  it('forces off a suspended guest, and does not remove it before', async () => {
    const g = await s.bench.running();
    await s.bench.hypervisor.suspend(g.uuid);
    await expect(s.bench.hypervisor.undefine(g.uuid)).rejects.toMatchObject({ reason: 'BAD_STATE' });
    await s.bench.hypervisor.destroy(g.uuid);
    expect(await s.bench.seen(g)).toMatchObject({ power: 'stopped', reason: 'destroyed' });
  });

  it('resets a guest, which goes on running, or stays suspended', async () => {
    const g = await s.bench.running();
    await s.bench.hypervisor.reset(g.uuid);
    expect(await s.bench.seen(g)).toMatchObject({ power: 'running' });
    await s.bench.hypervisor.suspend(g.uuid);
    await s.bench.hypervisor.reset(g.uuid);
    expect(await s.bench.seen(g)).toMatchObject({ power: 'paused' });
  });

  it('asks a guest to reboot; one without ears goes on as it was', async () => {
    const g = await s.bench.running();
    await s.bench.hypervisor.reboot(g.uuid);
    expect(await s.bench.seen(g)).toMatchObject({ power: 'running' });
  });

  it('saves a guest to disk, starts it from there, and can give up what was saved', async () => {
    const { hypervisor } = s.bench;
    const g = await s.bench.running();
    const never = new AbortController().signal;
    await hypervisor.save(g.uuid, never);
    expect(await s.bench.seen(g)).toMatchObject({ power: 'stopped', reason: 'saved' });
    await expect(hypervisor.save(g.uuid, never)).rejects.toMatchObject({ reason: 'BAD_STATE' });
    await hypervisor.start(g.uuid);
    expect(await s.bench.seen(g)).toMatchObject({ power: 'running' });
    await hypervisor.save(g.uuid, never);
    for (const again of [false, true]) {
      await hypervisor.discardSaved(g.uuid);
      expect((await s.bench.seen(g))?.reason, String(again)).not.toBe('saved');
    }
    await hypervisor.start(g.uuid);
    expect(await s.bench.seen(g)).toMatchObject({ power: 'running', reason: 'booted' });
  });

  it('removes a saved domain with what was saved', async () => {
    const g = await s.bench.running();
    await s.bench.hypervisor.save(g.uuid, new AbortController().signal);
    await s.bench.hypervisor.undefine(g.uuid);
    await s.bench.hypervisor.define(firmwareGuestXml(g));
    expect((await s.bench.seen(g))?.reason).not.toBe('saved');
  });

  it('gives keys and NMIs to a guest that runs, and to no other', async () => {
    const [on, off] = [await s.bench.running(), await s.bench.defined()];
    await s.bench.hypervisor.injectNmi(on.uuid);
    await s.bench.hypervisor.sendKeys(on.uuid, [29, 56, 111]);
    expect(await s.bench.seen(on)).toMatchObject({ power: 'running' });
    await expect(s.bench.hypervisor.injectNmi(off.uuid)).rejects.toMatchObject({ reason: 'BAD_STATE' });
    await expect(s.bench.hypervisor.sendKeys(off.uuid, [28])).rejects.toMatchObject({ reason: 'BAD_STATE' });
  });

  it('takes a picture of a screen, also while the guest is suspended', async () => {
    const g = await s.bench.running();
    await s.bench.hypervisor.suspend(g.uuid);
    const parts: Buffer[] = [];
    for await (const part of await s.bench.hypervisor.screenshot(g.uuid)) parts.push(part as Buffer);
    expect(Buffer.concat(parts).toString('latin1')).toMatch(/^(P6\s|\x89PNG)/);
  });

  it('takes no picture of what is off, or has no screen', async () => {
    const off = await s.bench.defined();
    const blind = s.bench.guest();
    await s.bench.hypervisor.define(firmwareGuestXml(blind).replace(VIDEO, ''));
    await s.bench.hypervisor.start(blind.uuid);
    await expect(s.bench.hypervisor.screenshot(off.uuid)).rejects.toMatchObject({ reason: 'BAD_STATE' });
    await expect(s.bench.hypervisor.screenshot(blind.uuid)).rejects.toMatchObject({
      reason: 'BAD_STATE',
      message: expect.stringContaining(`vm ${blind.name} has no screen`),
    });
  });

  it.each(['reboot', 'reset', 'suspend', 'resume'] as const)('cannot %s what is stopped or absent', async (verb) => {
    const g = await s.bench.defined();
    await expect(s.bench.hypervisor[verb](g.uuid)).rejects.toMatchObject({ reason: 'BAD_STATE' });
    expect(await s.bench.seen(g)).toMatchObject({ power: 'stopped' });
    await expect(s.bench.hypervisor[verb](randomUUID())).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  });
}

/** It may grow, and has an empty drive. */
const growingGuestXml = (g: Guest): string =>
  firmwareGuestXml(g)
    .replace('<vcpu>1</vcpu>', `<currentMemory unit='MiB'>32</currentMemory><vcpu current='1'>2</vcpu>`)
    .replace(
      '</devices>',
      `<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><target dev='hdc' bus='ide'/><readonly/></disk>
      <memballoon model='virtio'/></devices>`,
    );

function liveCases(s: { bench: Bench }): void {
  const growing = async (): Promise<Guest> => {
    const g = s.bench.guest();
    await s.bench.hypervisor.define(growingGuestXml(g));
    return g;
  };

  it('gives a guest that runs vCPUs up to its maximum, and its definition none', async () => {
    const { hypervisor } = s.bench;
    const g = await growing();
    await hypervisor.start(g.uuid);
    expect(await s.bench.seen(g)).toMatchObject({ vcpus: 1 });
    await hypervisor.setVcpus(g.uuid, 2);
    expect(await s.bench.seen(g)).toMatchObject({ vcpus: 2 });
    await expect(hypervisor.setVcpus(g.uuid, 3)).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
    await hypervisor.destroy(g.uuid);
    expect(await s.bench.seen(g)).toMatchObject({ vcpus: 1 });
  });

  it('asks the balloon of a guest that runs, up to its maximum', async () => {
    const { hypervisor } = s.bench;
    const g = await growing();
    await hypervisor.start(g.uuid);
    await hypervisor.setMemory(g.uuid, 48 * 2 ** 20);
    await expect(hypervisor.setMemory(g.uuid, 96 * 2 ** 20)).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
  });

  it('puts a medium into a drive that is there, and takes it out; the definition stays', async () => {
    const { hypervisor } = s.bench;
    const g = await growing();
    await hypervisor.start(g.uuid);
    const { emulatorPath } = await hypervisor.info();
    const drive = (source: string, target = 'hdc'): string =>
      `<disk type="file" device="cdrom"><driver name="qemu" type="raw"/>${source}<target dev="${target}" bus="ide"/><readonly/></disk>`;
    const source = `<source file="${emulatorPath}"><seclabel model="dac" relabel="no"/></source>`;
    await hypervisor.updateDevice(g.uuid, drive(source), true);
    expect(await hypervisor.getRunningXml(g.uuid)).toMatch(new RegExp(`<source file=['"]${emulatorPath}`));
    expect(await hypervisor.getXml(g.uuid)).not.toContain('<source');
    await hypervisor.updateDevice(g.uuid, drive(''), true);
    expect(await hypervisor.getRunningXml(g.uuid)).not.toContain(`file='${emulatorPath}`);
    await expect(hypervisor.updateDevice(g.uuid, drive(source, 'hdd'), true)).rejects.toThrow();
  });

  it('changes nothing of what is stopped or absent', async () => {
    const { hypervisor } = s.bench;
    const off = (await growing()).uuid;
    for (const [uuid, reason] of [
      [off, 'BAD_STATE'],
      [randomUUID(), 'NOT_FOUND'],
    ] as const) {
      await expect(hypervisor.setVcpus(uuid, 2)).rejects.toMatchObject({ reason });
      await expect(hypervisor.setMemory(uuid, 48 * 2 ** 20)).rejects.toMatchObject({ reason });
      await expect(hypervisor.getRunningXml(uuid)).rejects.toMatchObject({ reason });
      await expect(hypervisor.updateDevice(uuid, '<disk><target dev="hdc"/></disk>', false)).rejects.toThrow();
    }
  });
}

function readings(s: { bench: Bench }): void {
  it('describes itself', async () => {
    const info = await s.bench.hypervisor.info();
    expect(info.domainTypes).toContain('qemu');
    expect(info.emulatorPath).toContain('qemu');
    expect(info.libvirtVersion).toMatch(/^\d+\.\d+\.\d+$/);
  });

  it('gives back the XML of a domain', async () => {
    const g = await s.bench.defined();
    expect(await s.bench.hypervisor.getXml(g.uuid)).toContain(g.uuid);
    await expect(s.bench.hypervisor.getXml(randomUUID())).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  });

  it('counts running domains only', async () => {
    const [on, off] = [await s.bench.running(), await s.bench.defined()];
    const uuids = (await s.bench.hypervisor.stats(5_000)).map((x) => x.uuid);
    expect(uuids).toContain(on.uuid);
    expect(uuids).not.toContain(off.uuid);
  });

  it('opens a console for one reader at a time; force takes it over', async () => {
    const g = await s.bench.running();
    const first = await s.bench.hypervisor.openConsole(g.uuid, false);
    first.on('error', () => undefined);
    const refused = s.bench.hypervisor.openConsole(g.uuid, false);
    await expect(refused).rejects.toMatchObject({ reason: 'RESOURCE_BUSY' });
    const second = await s.bench.hypervisor.openConsole(g.uuid, true);
    second.destroy();
    first.destroy();
    await vi.waitFor(async () => (await s.bench.hypervisor.openConsole(g.uuid, false)).destroy(), EVENTUALLY);
  });

  it('ends a console when its domain stops', async () => {
    const g = await s.bench.running();
    const console = await s.bench.hypervisor.openConsole(g.uuid, false);
    let over = false;
    console.on('close', () => (over = true)).resume();
    await s.bench.hypervisor.destroy(g.uuid);
    await vi.waitFor(() => expect(over).toBe(true), EVENTUALLY);
  });

  it('has no display of a kind that it was not given, and none while it is stopped', async () => {
    const { hypervisor } = s.bench;
    const g = s.bench.guest();
    const vnc = `<graphics type='vnc'><listen type='socket'/></graphics>`;
    await hypervisor.define(firmwareGuestXml(g).replace(VIDEO, `${vnc}${VIDEO}`));
    await expect(hypervisor.openDisplay(g.uuid, 'vnc')).rejects.toMatchObject({ reason: 'BAD_STATE' });
    await hypervisor.start(g.uuid);
    await expect(hypervisor.openDisplay(g.uuid, 'spice')).rejects.toMatchObject({ reason: 'BAD_STATE' });
    await expect(hypervisor.openDisplay(randomUUID(), 'vnc')).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  });

  it('has no console for a stopped domain', async () => {
    const g = await s.bench.defined();
    await expect(s.bench.hypervisor.openConsole(g.uuid, false)).rejects.toMatchObject({ reason: 'BAD_STATE' });
  });
}
