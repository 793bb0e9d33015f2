/** `berth-controller backup`, `backup verify` and `restore`: flags, and what they say to whoever ran them. */
import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import { formatAge } from '@berth/shared/units/duration.ts';
import { DEFAULT_FILE, type Config } from '../config.ts';
import { makeBackup, readPassphrase } from './backup.ts';
import type { Manifest } from './manifest.ts';
import { readBackup } from './read-backup.ts';
import { restoreBackup } from './restore.ts';

export interface BackupFlags {
  readonly config?: string;
  readonly dataDir?: string;
  readonly to?: string;
  readonly passphraseFile?: string;
  readonly epoch?: string;
}

export interface CommandDeps {
  readonly name: string;
  readonly version: string;
  readonly clock: Clock;
  readonly workerFile: URL;
  readConfig(flags: BackupFlags): Config;
  log(config: Config): Log;
  say(line: string): void;
}

const PASSPHRASE = ['--passphrase-file <file>', 'encrypt with the passphrase in this file'] as const;

/** @param shared adds the flags that all commands have. */
export function backupCommands(program: Command, shared: (c: Command) => Command, deps: CommandDeps): void {
  const all = (self: Command): BackupFlags => self.optsWithGlobals();
  const backup = program
    .command('backup')
    .description('write database, CA, keys and configuration into one file; the controller may run meanwhile');
  shared(backup)
    .option('--to <file>', 'the new file')
    .option(...PASSPHRASE)
    .action((_: unknown, self: Command) => make(all(self), deps));
  backup
    .command('verify <file>')
    .description('check a backup to its last byte, and tell what is in it')
    .option('--passphrase-file <file>', 'the passphrase that it was encrypted with')
    .action((file: string, _: unknown, self: Command) => verify(file, all(self), deps));
  shared(program.command('restore <file>'))
    .description('make a data directory out of a backup; see `berth host review` afterwards')
    .option('--passphrase-file <file>', 'the passphrase that it was encrypted with')
    .option('--epoch <number>', 'above what hosts have seen; only needed when they refuse the restored controller')
    .action((file: string, _: unknown, self: Command) => restore(file, all(self), deps));
}

async function make(flags: BackupFlags, deps: CommandDeps): Promise<void> {
  const { to } = flags;
  if (to === undefined) throw invalidArgument('where shall the backup go? Give --to with a new file');
  const config = deps.readConfig(flags);
  const configFile = flags.config ?? (existsSync(DEFAULT_FILE) ? DEFAULT_FILE : undefined);
  const passphrase = readPassphrase(flags.passphraseFile);
  const { version, clock } = deps;
  const made = await makeBackup({ dataDir: config.dataDir, to, configFile, passphrase, version, clock });
  deps.say(`backup ${to}: ${contents(made.manifest)}, ${formatBytes(made.bytes)}, read back and checked`);
  deps.say(
    passphrase === undefined
      ? 'It holds the keys of the CA, not encrypted: whoever reads it commands every host. Keep it where only you can, or use --passphrase-file.'
      : 'It is encrypted. Without the passphrase nobody can restore it, you neither: keep that apart from it, and from here.',
  );
}

async function verify(file: string, flags: BackupFlags, deps: CommandDeps): Promise<void> {
  const manifest = await readBackup(file, readPassphrase(flags.passphraseFile));
  const { installationId, schema, revision } = manifest.database;
  const age = formatAge(Math.max(0, deps.clock.now() - manifest.createdAtMs));
  deps.say(`backup ${file} is whole: ${contents(manifest)}`);
  deps.say(`made ${age} ago by Berth ${manifest.version}, ${installationId}, schema ${schema}, revision ${revision}`);
}

async function restore(file: string, flags: BackupFlags, deps: CommandDeps): Promise<void> {
  if (flags.dataDir === undefined) throw invalidArgument('where shall it go? Give --data-dir with a new folder');
  const config = deps.readConfig(flags);
  const done = await restoreBackup({
    file,
    dataDir: flags.dataDir,
    passphrase: readPassphrase(flags.passphraseFile),
    epoch: flags.epoch === undefined ? undefined : Number(flags.epoch),
    clock: deps.clock,
    log: deps.log(config),
    workerFile: deps.workerFile,
  });
  const { say, name } = deps;
  say(`restored to ${flags.dataDir}: ${done.hosts} hosts, ${done.vms} VMs, ${done.images} images, epoch ${done.epoch}`);
  for (const job of done.endedJobs) say(`ended, nothing undone: ${job} (it was under way when the backup was made)`);
  if (done.configFile !== undefined) say(`the configuration of then is ${done.configFile}; it is not used from there`);
  say(`start it:  ${name} run --data-dir ${flags.dataDir}`);
  say(
    'Hosts come back by themselves; from then on they refuse the controller that they had, if it still runs anywhere.',
  );
  say('Nothing is started, stopped or removed until you have looked: berth host review, then berth host accept HOST');
}

function contents({ database: { rows }, parts }: Manifest): string {
  const n = (table: string): number => rows[table] ?? 0;
  return `${n('hosts')} hosts, ${n('vms')} VMs, ${n('images')} images, ${n('tokens')} tokens, ${parts.length} files`;
}
