/** The `berth-agent` command, and the only file that chooses between real and simulated drivers. */
import { readFile } from 'node:fs/promises';
import { logVerbosity, setLogVerbosity } from '@grpc/grpc-js';
import { Command } from 'commander';
import { chain, invalidArgument, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Reason } from '@berth/shared/errors/reasons.ts';
import { createLog, type Log } from '@berth/shared/log/log.ts';
import { LogRing } from '@berth/shared/log/ring.ts';
import { systemClock, type Clock } from '@berth/shared/runtime/clock.ts';
import { systemRandom } from '@berth/shared/runtime/random.ts';
import { VERSION } from '@berth/shared/version.ts';
import { createAgent } from './agent.ts';
import {
  DEFAULT_CONFIG_FILE,
  findLibvirtSocket,
  networkSocket,
  storageSocket,
  libvirtSockets,
  loadConfig,
  printConfig,
  type AgentConfig,
} from './config.ts';
import { checkFiles } from './config-files.ts';
import { createLibvirtStorage } from './drivers/libvirt/storage.ts';
import { createLibvirtNetworks } from './drivers/libvirt/virtual-networks.ts';
import { createLibvirtHypervisor } from './drivers/libvirt/hypervisor.ts';
import { createBridges } from './drivers/linux/bridges.ts';
import { claimDataDir } from './drivers/linux/data-dir.ts';
import { createDisks } from './drivers/linux/disks.ts';
import { createExec } from './drivers/linux/exec.ts';
import { createGuestDisks } from './drivers/linux/guestfs/guest-disks.ts';
import { createHostLogs } from './drivers/linux/logs/host-logs.ts';
import { createMachine } from './drivers/linux/machine.ts';
import { createExtendVolume } from './drivers/linux/lvm.ts';
import { createMeans } from './drivers/linux/means.ts';
import { createRunOutside } from './drivers/linux/outside.ts';
import { createReplaceFile } from './drivers/linux/replace-file.ts';
import type { Drivers, Machine } from './drivers/machine.ts';
import { checkHost } from './host/checks.ts';
import { createMeters, type Meters } from './metrics/meters.ts';
import { openIdentity } from './enroll/open-identity.ts';
import { loadIdentity } from './enroll/identity-store.ts';

interface RunFlags {
  readonly config?: string;
  readonly simulate?: boolean;
  readonly checkConfig?: boolean;
  readonly printConfig?: boolean;
}

const EXIT_CODES: Partial<Record<Reason, number>> = {
  INVALID_ARGUMENT: 2,
  NOT_FOUND: 3,
  ALREADY_EXISTS: 4,
  BAD_STATE: 4,
  CONTROLLER_UNREACHABLE: 5,
  UNAUTHENTICATED: 6,
  PERMISSION_DENIED: 6,
};

function realDrivers(config: AgentConfig, log: Log, ring: LogRing, meters: Meters): Drivers {
  const { dataDir, unprivilegedUser } = config;
  const clock = systemClock;
  const machine = realMachine(config);
  return {
    hypervisor: createLibvirtHypervisor({
      socketPath: () => findLibvirtSocket(config),
      clock,
      random: systemRandom,
      log,
      onCall: meters.libvirt.told,
    }),
    means: createMeans(() => machine.inventory()),
    disks: createDisks({ dataDir, unprivilegedUser, clock, log }),
    guestDisks: createGuestDisks({ ...config, clock }),
    machine,
    bridges: createBridges({ exec: createExec(config), unchanged: { clock: systemClock } }),
    logs: createHostLogs({ exec: createExec(config), clock, ring }),
    storage: createLibvirtStorage({ ...storageSocket(config), clock, ...storageTools(config) }),
    networks: createLibvirtNetworks({ ...networkSocket(config), clock }),
  };
}

/** For what libvirt has no call for. */
function storageTools(config: AgentConfig) {
  const run = createRunOutside(createExec(config));
  return { extend: createExtendVolume(run), replace: createReplaceFile(run) };
}

/** Its code is loaded only for a simulated host. */
async function simulatedDrivers(options: {
  name: string;
  runDir: string;
  clock: Clock;
  ring: LogRing;
}): Promise<Drivers> {
  const { createSimDrivers } = await import('./drivers/sim/sim-drivers.ts');
  return createSimDrivers(options);
}

function realMachine(config: AgentConfig): Machine {
  const { dataDir, domainType } = config;
  return createMachine({ exec: createExec(config), dataDir, domainType, libvirtSockets: libvirtSockets(config) });
}

function sayIsGood(config: AgentConfig, file: string): void {
  checkFiles(config, file);
  process.stdout.write(`${file}: no mistakes found\n`);
}

async function run(flags: RunFlags): Promise<void> {
  const config = loadConfig(flags.config);
  if (flags.printConfig) return void process.stdout.write(printConfig(config));
  if (flags.checkConfig) return sayIsGood(config, flags.config ?? DEFAULT_CONFIG_FILE);
  const ring = new LogRing();
  const log = createLog('berth-agent', config.logLevel, ring);
  const stored = await loadIdentity(config.dataDir);
  // before any driver looks at the directory: it would sweep up what another agent is working on
  await claimDataDir(config.dataDir, createExec(config));
  const identity = await openIdentity(stored, { dataDir: config.dataDir, clock: systemClock, log });
  const meters = createMeters();
  await trace(config, identity.hostName);
  const drivers = flags.simulate
    ? await simulatedDrivers({ name: identity.hostName, runDir: config.dataDir, clock: systemClock, ring })
    : realDrivers(config, log, ring, meters);
  const agent = createAgent({ drivers, identity, config, clock: systemClock, log, meters });
  const ports = await agent.start();
  log.info(
    { hostId: identity.hostId, name: identity.hostName, ...ports, simulated: flags.simulate === true },
    'the agent is up',
  );
  await untilToldToEnd(log);
  await agent.stop();
  identity.close();
  await drivers.hypervisor.close();
  log.info('the agent has ended; guests and transfers go on');
  process.exit(0);
}

/** Its code is loaded only where it is on. */
async function trace({ tracing }: AgentConfig, host: string): Promise<void> {
  if (tracing === undefined) return;
  const { startDaemonTracing } = await import('@berth/shared/trace/start.ts');
  const attributes = { 'host.name': host };
  // an agent begins no trace of its own
  startDaemonTracing(
    { ...tracing, share: 0 },
    { service: 'berth-agent', version: VERSION, attributes, clock: systemClock },
  );
}

/** A second signal ends the process at once. */
function untilToldToEnd(log: Log): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const)
      process.once(signal, () => {
        log.info({ signal }, 'the agent is ending');
        resolve();
      });
  });
}

async function enrol(flags: { config?: string; tokenFile?: string }): Promise<void> {
  const config = loadConfig(flags.config);
  const token = flags.tokenFile === undefined ? await readStdin() : await readTokenFile(flags.tokenFile);
  // makes certificates, with libraries that an agent at work would only keep in memory
  const { enroll } = await import('./enroll/enroll.ts');
  const identity = await enroll({ dataDir: config.dataDir, token, clock: systemClock });
  process.stdout.write(`enrolled as ${identity.hostName} (${identity.hostId}); now start the agent: berth-agent run\n`);
}

async function readTokenFile(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (e) {
    throw invalidArgument(`cannot read the token file ${file}: ${(e as Error).message}`);
  }
}

async function readStdin(): Promise<string> {
  if (process.stdin.isTTY) process.stderr.write('Paste the join token, then press Ctrl-D:\n');
  let text = '';
  for await (const chunk of process.stdin) {
    text += String(chunk);
    if (text.length > 65_536) throw invalidArgument('what came on standard input is no join token');
  }
  return text;
}

async function check(flags: { config?: string }): Promise<void> {
  const config = loadConfig(flags.config);
  // looks only: an agent may be at work here
  const hypervisor = createLibvirtHypervisor({
    socketPath: () => findLibvirtSocket(config),
    clock: systemClock,
    random: systemRandom,
    log: createLog('berth-agent', 'silent'),
  });
  const checks = await checkHost({ machine: realMachine(config), hypervisor }, []);
  for (const c of checks)
    process.stdout.write(`${c.ok ? '✔' : c.fatal ? '✘' : '!'} ${c.name.padEnd(20)} ${c.detail}\n`);
  process.exit(checks.some((c) => c.fatal && !c.ok) ? 1 : 0);
}

/** One line for what people can act on; the rest is a fault of ours and keeps its stack. */
function fail(e: unknown): void {
  const known = isClusterError(e);
  const text = known ? chain(e) : e instanceof Error ? (e.stack ?? e.message) : String(e);
  process.stderr.write(
    `${text
      .split('\n')
      .map((l) => (known ? `berth-agent: ${l}` : l))
      .join('\n')}\n`,
  );
  process.exit(known ? (EXIT_CODES[e.reason] ?? 1) : 1);
}

const program = new Command('berth-agent')
  .description('The part of Berth that runs on every host.')
  .version(VERSION)
  .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'berth-agent: ')) })
  .exitOverride((e) => process.exit(e.exitCode === 0 ? 0 : 2));
const configOption = ['--config <file>', `configuration file (default: ${DEFAULT_CONFIG_FILE})`] as const;
program
  .command('run', { isDefault: true })
  .description('run the agent')
  .option(...configOption)
  .option('--simulate', 'simulate the host: no root, no libvirt, no disks')
  .option('--check-config', 'read the configuration, tell all mistakes, and end')
  .option('--print-config', 'print the configuration with all defaults, and end')
  .action((flags: RunFlags) => run(flags).catch(fail));
program
  .command('enroll')
  .description('get a certificate for this host with a join token, read from a file or standard input')
  .option(...configOption)
  .option('--token-file <file>', 'file that holds the join token (default: standard input)')
  .action((flags: { config?: string; tokenFile?: string }) => enrol(flags).catch(fail));
program
  .command('check')
  .description('tell what this host lacks')
  .option(...configOption)
  .action((flags: { config?: string }) => check(flags).catch(fail));
// what it has to say comes back as errors, and is told once
setLogVerbosity(logVerbosity.NONE);
await program.parseAsync();
