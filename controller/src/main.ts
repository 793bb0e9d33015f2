/** `berth-controller`: reads the command line, starts what it asks for, and says in one line what became of it. */
import { Command, CommanderError } from 'commander';
import { chain, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { createLog, type Log } from '@berth/shared/log/log.ts';
import { LogRing } from '@berth/shared/log/ring.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { systemRandom } from '@berth/shared/runtime/random.ts';
import { VERSION } from '@berth/shared/version.ts';
import { diskTrouble } from './state/disk-trouble.ts';
import { StateFailed } from './state/store.ts';
import { backupCommands } from './backup/commands.ts';
import { lifetimesOf, loadConfig, printConfig, type Config } from './config.ts';
import { actAsOwner } from './owner.ts';
import { initialise, renewAdminToken, setAddresses } from './trust/init.ts';

interface Flags {
  readonly config?: string;
  readonly dataDir?: string;
  readonly listen?: string;
  readonly httpListen?: string;
  readonly logLevel?: string;
}

/** Beside the bundle; given explicitly because shared code may end up in a chunk elsewhere. */
const workerFile = new URL('./sqlite-worker.js', import.meta.url);
const NAME = 'berth-controller';

const readConfig = (f: Flags): Config =>
  loadConfig(f.config, { dataDir: f.dataDir, listen: f.listen, httpListen: f.httpListen, logLevel: f.logLevel });

const say = (line: string): void => void process.stdout.write(`${line}\n`);

async function init(flags: Flags & { readonly address: readonly string[] }): Promise<void> {
  const config = readConfig(flags);
  const log = createLog(NAME, config.logLevel);
  const { dataDir } = config;
  actAsOwner(dataDir);
  const lifetimes = lifetimesOf(config);
  const made = await onDiskOf(
    dataDir,
    initialise({ dataDir, addresses: flags.address, clock: systemClock, log, lifetimes, workerFile }),
  );
  say(`installation ${made.installationId} made in ${dataDir}`);
  say(`start it: ${NAME} run --data-dir ${dataDir}`);
  say(`log in:   berth login --token-file ${made.adminTokenFile}`);
}

async function adminToken(flags: Flags): Promise<void> {
  const config = readConfig(flags);
  const log = createLog(NAME, config.logLevel);
  const { dataDir } = config;
  actAsOwner(dataDir);
  const file = await onDiskOf(dataDir, renewAdminToken({ dataDir, clock: systemClock, log, workerFile }));
  say(`log in: berth login --token-file ${file}`);
}

async function setAddress(flags: Flags & { readonly address: readonly string[] }): Promise<void> {
  const config = readConfig(flags);
  const log = createLog(NAME, config.logLevel);
  const { dataDir } = config;
  actAsOwner(dataDir);
  await onDiskOf(dataDir, setAddresses({ dataDir, addresses: flags.address, clock: systemClock, log, workerFile }));
  say('the next start of the controller makes a certificate for them; who was logged in logs in again: berth login');
}

async function run(flags: Flags): Promise<void> {
  const config = readConfig(flags);
  actAsOwner(config.dataDir);
  const ring = new LogRing();
  const log = createLog(NAME, config.logLevel, ring);
  await trace(config);
  const startedAt = systemClock.monotonic();
  // the other commands need nothing of it
  const { createController } = await import('./controller.ts');
  const controller = createController({
    dataDir: config.dataDir,
    config,
    clock: systemClock,
    random: systemRandom,
    log,
    ring,
    version: VERSION,
    workerFile,
    onFatal: (e) => fail(new StateFailed(`the controller had to stop: ${chain(e)}`)),
  });
  const { port, httpPort, hosts, installationId } = await onDiskOf(config.dataDir, controller.start());
  const tookMs = Math.round(systemClock.monotonic() - startedAt);
  say(
    `${NAME} ready on ${config.listen.replace(/:0$/, `:${port}`)} in ${tookMs} ms (${installationId}, ${hosts} hosts, ${httpPort === undefined ? 'no HTTPS' : `HTTPS on ${httpPort}`})`,
  );
  stopOnSignals(log, () => controller.stop());
}

/** Its code is loaded only where it is on. */
async function trace({ tracing }: Config): Promise<void> {
  if (tracing === undefined) return;
  const { startDaemonTracing } = await import('@berth/shared/trace/start.ts');
  startDaemonTracing(tracing, { service: NAME, version: VERSION, clock: systemClock });
}

/** A full disk gets words that help, wherever it was met. */
const onDiskOf = <T>(dataDir: string, work: Promise<T>): Promise<T> =>
  work.catch((e: unknown) => {
    throw diskTrouble(e, dataDir) ?? e;
  });

/** The first signal stops cleanly; the second one at once. */
function stopOnSignals(log: Log, stop: () => Promise<void>): void {
  let stopping = false;
  const onSignal = (signal: NodeJS.Signals) => {
    if (stopping) process.exit(1);
    stopping = true;
    log.info({ signal }, 'stopping');
    stop().then(
      () => process.exit(0),
      (e: unknown) => fail(e),
    );
  };
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
}

function fail(e: unknown): never {
  const code = (e as NodeJS.ErrnoException).code;
  const ours = isClusterError(e) || code !== undefined;
  const words = e instanceof StateFailed ? e.message : e instanceof Error && !ours ? (e.stack ?? e.message) : chain(e);
  process.stderr.write(`${NAME}: ${words}\n`);
  process.exit(1);
}

const oneLine = (usageError: string): string =>
  usageError
    .trim()
    .replace(/^error: /, '')
    .replace(/\s*\n\s*/g, ' ')
    .replace(/\.+$/, '');

function program(): Command {
  const shared = (c: Command): Command =>
    c
      .option('--config <file>', 'configuration file (default: /etc/berth/controller.yaml, where there is one)')
      .option('--data-dir <dir>', 'database, keys and tokens')
      .option('--log-level <level>', 'trace, debug, info, warn, error or silent');
  // before any subcommand is made: they take these two from here
  const command = new Command(NAME)
    .exitOverride()
    .configureOutput({
      outputError: (text, write) => write(`${NAME}: ${oneLine(text)}. See: ${NAME} --help\n`),
    })
    .description('The controller of a Berth installation.')
    .version(VERSION);
  shared(command)
    .option('--check-config', 'check the configuration and exit')
    .option('--print-config', 'print the configuration with its defaults and exit')
    .action((flags: Flags & { checkConfig?: boolean; printConfig?: boolean }, self: Command) => {
      if (flags.printConfig) return void process.stdout.write(printConfig(readConfig(flags)));
      if (!flags.checkConfig) return self.help({ error: true });
      readConfig(flags);
      say('the configuration is good');
    });
  shared(command.command('init'))
    .description('make a new installation in an empty directory')
    .requiredOption(
      '--address <host:port...>',
      'how agents and people reach this controller; the first goes into tokens',
    )
    .action((_: unknown, self: Command) => init(self.optsWithGlobals()));
  shared(command.command('set-address'))
    .description('give an installation other addresses; the controller must be stopped')
    .requiredOption('--address <host:port...>', 'all of them, as of init; the first goes into tokens')
    .action((_: unknown, self: Command) => setAddress(self.optsWithGlobals()));
  shared(command.command('run'))
    .description('run the controller')
    .option('--listen <host:port>', 'where the gRPC API listens')
    .option('--http-listen <host:port>', 'where the JSON API listens (HTTPS); off: nowhere')
    .action((_: unknown, self: Command) => run(self.optsWithGlobals()));
  shared(command.command('admin-token'))
    .description("make a new administrator's token; the controller must be stopped")
    .action((_: unknown, self: Command) => adminToken(self.optsWithGlobals()));
  backupCommands(command, shared, {
    name: NAME,
    version: VERSION,
    clock: systemClock,
    workerFile,
    readConfig,
    log: (config) => createLog(NAME, config.logLevel),
    say,
  });
  return command;
}

try {
  await program().parseAsync();
} catch (e) {
  if (e instanceof CommanderError) process.exit(e.exitCode === 0 ? 0 : 2);
  fail(e);
}
