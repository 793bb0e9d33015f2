/**
 * Holds a definition against its host before libvirt is asked, and explains a start that failed because another guest has the
 * disk. What is wrong is the pure files' beside this one; here is what has to be looked at for it.
 */
import { join } from 'node:path';
import { badState, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Hypervisor, MachineAbilities } from '../../drivers/hypervisor.ts';
import type { Inventory } from '@berth/shared/model/inventory.ts';
import type { Means } from '../../drivers/means.ts';
import { hardwareIn } from '../describe.ts';
import { fileOf } from '../xml/read-drives.ts';
import { find, findAll, parseXml, type XmlElement } from '../xml/tree.ts';
import { readHostDevice } from '../xml/devices.ts';
import type { Asked, Host, Neighbour } from './asked.ts';
import { devicesLacking, taken } from './devices.ts';
import { notOffered, pagesLacking } from './offered.ts';

export interface MeansDeps {
  readonly hypervisor: Pick<Hypervisor, 'info' | 'list' | 'machineAbilities' | 'getXml' | 'getRunningXml'>;
  readonly means: Means;
  readonly abilities: () => Promise<{ readonly domainType: 'kvm' | 'qemu' }>;
  readonly hostName: string;
  readonly bootDir: string;
}

const NOT_LOOKED_AT: Inventory = {
  ...{ cpu: { model: '', sockets: 0, cores: 0, threads: 0 }, numa: [], nics: [], disks: [], pci: [], usb: [] },
};

/** A machine with many devices takes a while to read. */
const looksAtMachine = ({ hardware: h }: Asked): boolean =>
  (h?.hostDevices ?? []).length > 0 ||
  h?.cpu?.pinning !== undefined ||
  h?.cpu?.numa !== undefined ||
  h?.cpu?.emulatorCpus !== undefined;

const ON: ReadonlySet<string> = new Set(['running', 'paused', 'stopping', 'suspended']);

export class MeansCheck {
  constructor(private readonly deps: MeansDeps) {}

  /** @throws BAD_STATE: this host can't give what is asked for, and how it could. Plain definitions are not looked at. */
  async beforeDefine(vm: Asked): Promise<void> {
    if (vm.hardware === undefined) return;
    const host = await this.host(vm);
    refuse(vm, [...notOffered(vm, host), ...devicesLacking(vm, host), ...(await this.kernels(vm))]);
  }

  /** Of the stored definition; as well what others may have taken since. */
  async beforeStart(uuid: string): Promise<void> {
    const vm = hardwareIn(await this.deps.hypervisor.getXml(uuid), this.deps.bootDir);
    // the machine is there in any case: libvirt says which one
    if (vm.hardware === undefined || Object.keys(vm.hardware).every((key) => key === 'machine')) return;
    const host = await this.host(vm);
    const alone = (vm.hardware.hostDevices ?? []).length > 0 || vm.hardware.graphics?.some((g) => g.port !== undefined);
    const held = alone ? ([await this.neighbours(uuid), await this.deps.means.listeningPorts()] as const) : undefined;
    refuse(vm, [
      ...notOffered(vm, host),
      ...pagesLacking(vm, host),
      ...devicesLacking(vm, host),
      ...(await this.kernels(vm)),
      ...(held ? taken(vm, ...held, this.deps.hostName) : []),
    ]);
  }

  /** Better words for a start that failed, where there are. */
  async explain(vm: { readonly name: string; readonly uuid: string }, cause: unknown): Promise<unknown> {
    if (!isClusterError(cause)) return cause;
    const { hostName } = this.deps;
    if (/\btc (qdisc|class|filter)\b/.test(cause.message))
      return badState(
        `vm ${vm.name} limits the bandwidth of a network card, which the kernel of ${hostName} cannot do ` +
          `(it lacks sch_htb, sch_sfq, cls_u32 or act_police): load them there, or take the limit away`,
        {},
        cause,
      );
    if (!/\block\b|in use/i.test(cause.message)) return cause;
    const files = filesIn(parseXml(await this.deps.hypervisor.getXml(vm.uuid).catch(() => '')));
    const others = await this.neighbours(vm.uuid);
    const holder = others.find((n) => n.files.some((f) => files.includes(f)));
    const file = holder ? holder.files.find((f) => files.includes(f)) : undefined;
    const who = holder ? `${holder.name}, another guest on ${hostName}` : `another program on ${hostName}`;
    const what = file ?? 'a disk of it';
    return badState(`vm ${vm.name} cannot start: ${what} is in use by ${who}. Stop that first`, {}, cause);
  }

  private async host(vm: Asked): Promise<Host> {
    const { hypervisor, means, abilities, hostName } = this.deps;
    const { domainType } = await abilities();
    return {
      ...{ hostName, domainType },
      libvirtVersion: (await hypervisor.info()).libvirtVersion,
      inventory: looksAtMachine(vm) ? await means.inventory() : NOT_LOOKED_AT,
      abilities: await this.abilitiesOf(vm.hardware?.machine ?? 'q35', domainType),
      hugePages: await means.hugePages(),
    };
  }

  private async abilitiesOf(machine: string, domainType: string): Promise<MachineAbilities | undefined> {
    try {
      return await this.deps.hypervisor.machineAbilities(machine, domainType);
    } catch (e) {
      if (isClusterError(e, 'INVALID_ARGUMENT')) return undefined;
      throw e;
    }
  }

  private async kernels({ hardware }: Asked): Promise<readonly string[]> {
    const { bootDir, means, hostName } = this.deps;
    const { kernel, initrd } = hardware?.kernel ?? {};
    const faults = await Promise.all(
      [kernel, initrd].map(async (name) => {
        if (name === undefined) return [];
        const path = join(bootDir, name);
        const why = await means.whyNotBootable(path);
        return why === undefined ? [] : [`boots ${path} of ${hostName}, which ${why}`];
      }),
    );
    return faults.flat();
  }

  /** One that ends at this moment holds nothing. */
  private async neighbours(uuid: string): Promise<readonly Neighbour[]> {
    const { hypervisor } = this.deps;
    const others = (await hypervisor.list()).filter((d) => d.uuid !== uuid && ON.has(d.power));
    const read = async (d: { uuid: string; name: string }): Promise<Neighbour[]> => {
      const xml = await hypervisor.getRunningXml(d.uuid).catch(() => undefined);
      return xml === undefined ? [] : [neighbour(d.name, parseXml(xml))];
    };
    return (await Promise.all(others.map(read))).flat();
  }
}

function refuse({ name }: Asked, faults: readonly string[]): void {
  if (faults.length > 0) throw badState(faults.map((f) => `vm ${name} ${f}`).join('\n'));
}

const filesIn = (domain: XmlElement): readonly string[] =>
  findAll(find(domain, 'devices'), 'disk')
    .filter((d) => find(d, 'readonly') === undefined)
    .map(fileOf)
    .filter((f) => f !== '');

function neighbour(name: string, domain: XmlElement): Neighbour {
  const devices = find(domain, 'devices');
  const pci = findAll(devices, 'hostdev').flatMap((d) => {
    const device = readHostDevice(d);
    return device && 'pci' in device ? [device.pci] : [];
  });
  const ports = findAll(devices, 'graphics')
    .map((g) => Number(g.attributes['port']))
    .filter((p) => p > 0);
  return { name, pci, ports, files: filesIn(domain) };
}
