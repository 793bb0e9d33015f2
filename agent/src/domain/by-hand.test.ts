/** What people do to a VM with virsh and rm: each is told in one line with the VM, the reason and the way out. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLog, logTo } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { createSimDrivers, type SimDrivers } from '../drivers/sim/sim-drivers.ts';
import { Ledger } from '../operations/ledger.ts';
import type { OperationKind } from '../operations/operation.ts';
import { Operations } from '../operations/operations.ts';
import { Domains } from './domains.ts';
import type { DomainSpec } from './spec.ts';

const spec: DomainSpec = {
  vmId: 'vm-1',
  uuid: '6f1c9a52-6f0e-4c7b-9a57-0c5a4c1f7d10',
  name: 'web',
  vcpus: 1,
  memoryBytes: 512 * 2 ** 20,
  disks: [{ target: 'vda', volumeId: 'volume-1' }],
  nics: [],
  seedVolumeId: undefined,
  generation: 1,
};
const IMAGE = `sha256:${'5f'.repeat(32)}`;
const log = createLog('test', 'silent');

describe('a VM that somebody had in their hands', () => {
  let dir: string;
  let drivers: SimDrivers;
  let operations: Operations;
  let domains: Domains;
  let ledger: Ledger;
  let operation = 0;
  /** What the domain is defined with; another version of the agent may define it otherwise. */
  const abilities = { domainType: 'qemu' as const, emulatorPath: '/usr/bin/qemu', directIo: true };
  let offered = abilities;
  const host = {
    ...{ hostName: 'h1', bootDir: '/var/lib/berth/boot', log, abilities: async () => offered },
    guestDisks: { unfinished: async () => [] },
    get means() {
      return drivers.means;
    },
  };

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'berth-by-hand-'));
    drivers = createSimDrivers({ name: 'h1', runDir: dir, clock: systemClock, bootMs: 1 });
    ledger = await Ledger.open(dir, { clock: systemClock, log });
    operations = new Operations(ledger, systemClock, log);
    const { hypervisor, disks } = drivers;
    offered = abilities;
    domains = new Domains({ hypervisor, disks, operations, ...host });
    drivers.sim.images.set(IMAGE, { digest: IMAGE, virtualSizeBytes: 2 ** 20, fileBytes: 1 });
    await disks.ensureVolume({ volumeId: 'volume-1', vmId: 'vm-1', imageDigest: IMAGE, sizeBytes: 2 ** 20 });
    expect(await tried(domains.ensure, spec)).toBeUndefined();
  });
  afterEach(async () => {
    await operations.stop();
    await ledger.close();
    await drivers.close();
    await rm(dir, { recursive: true });
  });

  /** The line that people get, or undefined. */
  async function tried<R>(kind: OperationKind<R>, request: R): Promise<string | undefined> {
    const view = await operations.run(kind, `job-1.${++operation}`, request);
    if (view.state === 'succeeded') return undefined;
    expect(view.failure?.message).not.toMatch(/libvirt could not|\n/);
    return view.failure?.message;
  }
  const start = async () => (await tried(domains.ensure, spec)) ?? (await tried(domains.start, spec));
  const xml = () => drivers.sim.get(spec.uuid).xml;

  it('has lost a disk', async () => {
    drivers.sim.volumes.delete('volume-1');
    expect(await start()).toBe(
      'vm web has lost its disk vda: /var/lib/berth/volumes/volume-1.qcow2 is not on h1 any more, somebody removed it there. ' +
        'Put the file back, or give the vm up: berth vm delete web',
    );
  });

  it('has lost its image', async () => {
    drivers.sim.images.delete(IMAGE);
    expect(await start()).toMatch(
      /^vm web has lost its image: \S+5f\.qcow2 is not on h1 any more.* berth vm delete web$/,
    );
  });

  it('was renamed', async () => {
    drivers.sim.domains.set(spec.uuid, { ...drivers.sim.get(spec.uuid), name: 'other' });
    expect(await start()).toBe(
      'vm web is called other in libvirt on h1: somebody renamed its domain. Name it back there: virsh domrename other web',
    );
  });

  it('was undefined: a start defines it again, anything else says so', async () => {
    drivers.sim.undefine(spec.uuid);
    expect(await tried(domains.shutdown, spec)).toMatch(/^vm-1 is not defined on h1: .* A start defines it anew$/);
    expect(await start()).toBeUndefined();
    expect(drivers.sim.get(spec.uuid).power).toBe('running');
  });

  /** What is defined when the VM is wanted otherwise. */
  async function redefined(over: Partial<DomainSpec>, edit: (text: string) => string): Promise<string> {
    drivers.sim.domains.set(spec.uuid, { ...drivers.sim.get(spec.uuid), xml: edit(xml()) });
    expect(await tried(domains.ensure, { ...spec, generation: 2, ...over })).toBeUndefined();
    return xml();
  }
  const card = (n: number) => ({ mac: `52:54:00:00:00:0${n}`, bridge: 'br0', model: 'virtio' });

  it('was given devices that no spec can say: they stay when it is defined anew', async () => {
    const text = await redefined({ vcpus: 2 }, (t) =>
      t.replace('<on_poweroff>', '<blkiotune><weight>500</weight></blkiotune><on_poweroff>').replace(
        '</devices>',
        `<filesystem type='mount'><source dir='/srv'/><target dir='a &amp; b'/></filesystem>
          <disk type='file' device='disk'><source file='/srv/mine.img'/><target dev='vdc' bus='virtio'/><address type='pci' bus='0x09'/></disk>
          <interface type='user'><mac address='52:54:00:00:00:09'/><alias name='net0'/></interface></devices>`,
      ),
    );
    expect(text).toContain('<vcpu placement="static">2</vcpu>');
    for (const kept of [
      '<weight>500<',
      '<source dir="/srv"/>',
      'a &amp; b',
      '/srv/mine.img',
      '<interface type="user">',
    ])
      expect(text).toContain(kept);
    expect(text).not.toMatch(/bus="0x09"|net0/);
    // and the time after
    const later = await redefined({ vcpus: 3, generation: 3 }, (t) => t);
    expect(later.match(/mine\.img/g)).toHaveLength(1);
  });

  it('loses a card that is not wanted any more, unless somebody may have put it in', async () => {
    expect(await redefined({ nics: [card(1), card(2)] }, (t) => t)).toContain(card(2).mac);
    expect(await redefined({ nics: [card(1)], generation: 3 }, (t) => t)).not.toContain(card(2).mac);
    const own = `<interface type='bridge'><mac address='${card(3).mac}'/><source bridge='br0'/><model type='virtio'/></interface></devices>`;
    const text = await redefined({ nics: [], generation: 4 }, (t) => t.replace('</devices>', own));
    expect(text).toContain(card(3).mac);
  });

  it('was turned into something that no spec can be read from: what is foreign in it stays all the same', async () => {
    const text = await redefined({}, (t) =>
      t.replace(/<vcpu[^>]*>1</, '<vcpu>many<').replace('</devices>', "<vsock model='virtio'/></devices>"),
    );
    expect(text).toContain('<vsock model="virtio"/>');
    expect(text).toContain('<vcpu placement="static">1</vcpu>');
  });

  it('has a password that neither a log nor a refusal tells', async () => {
    const { hypervisor } = drivers;
    const lines: string[] = [];
    const told = new Domains({
      ...{ disks: drivers.disks, operations: new Operations(ledger, systemClock, log), ...host },
      log: logTo({ write: (line: string) => void lines.push(line) }, 'test', 'trace'),
      hypervisor: { ...hypervisor, define: () => Promise.reject(new Error('libvirt does not want it')) },
    });
    const secret: DomainSpec = {
      ...spec,
      generation: 2,
      hardware: { graphics: [{ type: 'vnc', password: 'hunter2' }] },
    };
    const failure: unknown = await told.ensure.run(secret, undefined as never).then(
      () => undefined,
      (e: unknown) => e,
    );
    expect(String(failure)).toContain('does not want it');
    expect(`${lines.join()}${inspect(failure, { depth: 9 })}`).not.toContain('hunter2');
  });

  it('was undefined at this very moment', async () => {
    const { hypervisor } = drivers;
    const gone = { ...hypervisor, start: async (uuid: string) => (drivers.sim.undefine(uuid), hypervisor.start(uuid)) };
    domains = new Domains({
      ...{ disks: drivers.disks, ...host },
      hypervisor: gone,
      operations: new Operations(ledger, systemClock, log),
    });
    const kind = domains.start;
    await expect(kind.run(spec, undefined as never)).rejects.toThrow(
      /^the domain of vm web was removed from h1 just now, by somebody else\. A new start .* berth vm start web$/,
    );
  });

  it('was undefined while it runs: it is kept for good when it is wanted again', async () => {
    const { hypervisor } = drivers;
    const defined: string[] = [];
    const transient = {
      ...hypervisor,
      list: async () => (await hypervisor.list()).map((d) => ({ ...d, persistent: false })),
      define: (text: string) => (defined.push(text), hypervisor.define(text)),
    };
    const { ensure } = new Domains({
      ...{ disks: drivers.disks, ...host },
      hypervisor: transient,
      operations: new Operations(ledger, systemClock, log),
    });
    await ensure.run(spec, undefined as never);
    expect(defined).toHaveLength(1);
  });

  it('was defined by another version of Berth: a start defines it anew, but never while it runs', async () => {
    expect(await start()).toBeUndefined();
    const before = xml();
    offered = { ...abilities, directIo: false };
    expect(await start()).toBeUndefined();
    expect(xml()).toBe(before);
    drivers.sim.destroy(spec.uuid);
    expect(await start()).toBeUndefined();
    expect(xml()).not.toBe(before);
    const now = xml();
    drivers.sim.destroy(spec.uuid);
    expect(await start()).toBeUndefined();
    expect(xml()).toBe(now);
  });
});
