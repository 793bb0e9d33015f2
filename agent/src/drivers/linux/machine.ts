/** What this machine is and how busy it is, from procfs and sysfs. Looks only; procfs.ts reads the texts, host-checks.ts judges. */
import { constants, readFileSync } from 'node:fs';
import { access, mkdir, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { hostname, release } from 'node:os';
import { join } from 'node:path';
import { systemClock, type Clock } from '@berth/shared/runtime/clock.ts';
import type { Machine, MachineFacts } from '../machine.ts';
import type { Exec } from './exec.ts';
import { lookAtCare, readHugePages } from './care-look.ts';
import { readInventory } from './hardware/inventory.ts';
import { findParts } from './guestfs/appliance.ts';
import { createLoad } from './load.ts';
import { judge, PROGRAMS, type DomainTypeSetting, type HostSeen } from './host-checks.ts';
import { checkNames, judgeNames, lookUp } from './name-checks.ts';
import { parseCgroups, parseCpu, parseMemory, parseOsName, parseStartTicks } from './procfs.ts';
import { RootFiles } from './root-files.ts';
import { seldom } from './seldom.ts';
import { createTuning } from './tuning.ts';
import { AGENT_UNIT, UNIT_DATA_DIR, UNIT_PROPERTIES, unitMayWrite } from './unit-paths.ts';
import { createWriteKernel } from './write-kernel.ts';

export interface MachineOptions {
  readonly exec: Pick<Exec, 'run'>;
  readonly dataDir: string;
  readonly domainType: DomainTypeSetting;
  /** Where libvirt may listen. */
  readonly libvirtSockets: readonly string[];
  /** Where the files of the machine are looked for; default `/`. */
  readonly root?: string;
  /** Default: the system's. */
  readonly clock?: Pick<Clock, 'monotonic'>;
}

/** Where most are comes first. */
const BIN_DIRS = ['/usr/bin', '/usr/sbin', '/usr/local/sbin', '/usr/local/bin', '/sbin', '/bin'];

export function createMachine(options: MachineOptions): Machine {
  const look = new Look(options);
  const files = new RootFiles(options.root);
  return {
    facts: () => look.facts(),
    checks: async ({ mayBeOld = false } = {}) => judge(await look.seen(mayBeOld)),
    async nameChecks(others) {
      const { exec } = options;
      const asked = [hostname(), ...checkNames(others)].map((name) => lookUp(exec, name));
      const [own, ...rest] = await Promise.all(asked);
      return own === undefined ? [] : judgeNames(own, rest);
    },
    largePages: () => readHugePages(files),
    tuning: createTuning(files, createWriteKernel(options.exec, files)),
    inventory: () => readInventory(files),
    load: createLoad(options.root ?? '/'),
  };
}

class Look {
  private readonly root: string;
  private readonly files: RootFiles;
  private readonly clock: (mayBeOld: boolean) => Promise<HostSeen['clock']>;
  private readonly unitMayWrite: (mayBeOld: boolean) => Promise<boolean>;
  private readonly missingPrograms: (mayBeOld: boolean) => Promise<string[]>;

  constructor(private readonly options: MachineOptions) {
    this.root = options.root ?? '/';
    this.files = new RootFiles(this.root);
    const { clock = systemClock } = options;
    this.clock = seldom(
      () => this.askClock(),
      (c) => c !== 'not-synchronised',
      clock,
    );
    this.unitMayWrite = seldom(
      () => this.askUnit(),
      (may) => may,
      clock,
    );
    this.missingPrograms = seldom(
      () => this.lookForPrograms(),
      (missing) => missing.length === 0,
      clock,
    );
  }

  /** Of the kernel's memory, which does not wait: all of it, because machines have hundreds of processors. */
  private text(path: string): string {
    return readFileSync(join(this.root, path), 'utf8');
  }

  async facts(): Promise<MachineFacts> {
    const cpu = parseCpu(this.text('/proc/cpuinfo'));
    return {
      hostname: hostname(),
      os: parseOsName(await readFile(join(this.root, '/etc/os-release'), 'utf8').catch(() => '')),
      kernel: release(),
      cpuModel: cpu.model,
      cpuThreads: cpu.threads,
      memoryBytes: parseMemory(this.text('/proc/meminfo')).totalBytes,
      bootId: this.bootId(),
    };
  }

  /** The kernel's boot id and the start of process 1: where the host is a container, only that changes when it starts anew. */
  private bootId(): string {
    const kernel = this.text('/proc/sys/kernel/random/boot_id').trim();
    return `${kernel}-${parseStartTicks(this.textOr('/proc/1/stat'))}`;
  }

  async seen(mayBeOld: boolean): Promise<HostSeen> {
    const { domainType, dataDir } = this.options;
    return {
      domainType,
      dataDir,
      cpuFlags: parseCpu(this.text('/proc/cpuinfo')).flags,
      kvm: await this.kvm(),
      nestedPaging: this.nestedPaging(),
      cgroups: parseCgroups(this.textOr('/proc/self/mountinfo')),
      clock: await this.clock(mayBeOld),
      missingPrograms: await this.missingPrograms(mayBeOld),
      libvirtSocket: await this.libvirtSocket(),
      dataDirFault: await writeFault(dataDir),
      unitMayWrite: await this.unitMayWrite(mayBeOld),
      bridgeModule: await this.exists('/sys/module/bridge'),
      tun: await this.exists('/dev/net/tun'),
      whyNoCustomize: await findParts(this.root).then((p) => (typeof p === 'string' ? p : undefined)),
      care: await lookAtCare(this.files, (program) => this.isInstalled(program)),
    };
  }

  private async kvm(): Promise<HostSeen['kvm']> {
    try {
      const device = await open(join(this.root, '/dev/kvm'), constants.O_RDWR);
      await device.close();
      return 'usable';
    } catch (e) {
      return (e as NodeJS.ErrnoException).code === 'ENOENT' ? 'absent' : 'denied';
    }
  }

  private nestedPaging(): boolean | undefined {
    const intel = this.textOr('/sys/module/kvm_intel/parameters/ept');
    const text = intel || this.textOr('/sys/module/kvm_amd/parameters/npt');
    return text === '' ? undefined : /^[Y1]/.test(text);
  }

  /** systemd knows on most hosts, chrony on others; without both nobody here does. */
  private async askClock(): Promise<HostSeen['clock']> {
    const systemd = await this.ask('timedatectl', ['show', '--property=NTPSynchronized', '--value']);
    if (/^(yes|no)\b/.test(systemd)) return systemd.startsWith('yes') ? 'synchronised' : 'not-synchronised';
    const leap = /^Leap status\s*: (.*)$/m.exec(await this.ask('chronyc', ['-n', 'tracking']))?.[1];
    if (leap === undefined) return 'unknown';
    return leap.trim() === 'Not synchronised' ? 'not-synchronised' : 'synchronised';
  }

  /** Told also to who runs `berth-agent check` by hand, outside the unit. */
  private async askUnit(): Promise<boolean> {
    const { dataDir } = this.options;
    if (dataDir === UNIT_DATA_DIR) return true;
    const wanted = UNIT_PROPERTIES.map((p) => `--property=${p}`);
    return unitMayWrite(await this.ask('systemctl', ['show', ...wanted, AGENT_UNIT]), dataDir);
  }

  /** Empty when it cannot be asked. */
  private async ask(program: string, args: readonly string[]): Promise<string> {
    return this.options.exec.run(program, args, { timeoutMs: 5_000 }).then(
      (r) => r.stdout,
      () => '',
    );
  }

  private async lookForPrograms(): Promise<string[]> {
    const missing = await Promise.all(
      PROGRAMS.map(async (program) => ((await this.isInstalled(program)) ? [] : [program])),
    );
    return missing.flat();
  }

  private async isInstalled(program: string): Promise<boolean> {
    for (const dir of BIN_DIRS) if (await this.executable(join(dir, program))) return true;
    return false;
  }

  private async libvirtSocket(): Promise<string | undefined> {
    for (const path of this.options.libvirtSockets)
      if ((await stat(join(this.root, path)).catch(() => undefined))?.isSocket()) return path;
    return undefined;
  }

  /** Empty when it cannot be read. */
  private textOr(path: string): string {
    try {
      return this.text(path);
    } catch {
      return '';
    }
  }

  private async exists(path: string): Promise<boolean> {
    return (await stat(join(this.root, path)).catch(() => undefined)) !== undefined;
  }

  private async executable(path: string): Promise<boolean> {
    return access(join(this.root, path), constants.X_OK).then(
      () => true,
      () => false,
    );
  }
}

/** Permissions tell root nothing about a read-only or full disk; a file does. */
async function writeFault(dir: string): Promise<string | undefined> {
  const probe = join(dir, '.berth-write-check');
  try {
    await mkdir(dir, { recursive: true });
    await writeFile(probe, 'ok');
    return undefined;
  } catch (e) {
    return e instanceof Error ? e.message : String(e);
  } finally {
    await rm(probe, { force: true }).catch(() => undefined);
  }
}
