/**
 * Every command of `berth`, in the order in which help shows them. The commands of a noun are loaded only when it is named,
 * so that help and completion answer at once.
 */
import { apply } from './manifest/apply.ts';
import { completion } from './completion/completion.ts';
import type { Command } from './core/command.ts';
import { login } from './login/login.ts';
import { logout } from './login/logout.ts';
import { whoami } from './login/whoami.ts';
import { version } from './version/version.ts';

export interface Noun {
  readonly summary: string;
  load(): Promise<readonly Command[]>;
}

export const NOUNS: Readonly<Record<string, Noun>> = {
  vm: { summary: 'virtual machines', load: async () => (await import('./vm/commands.ts')).vmCommands },
  image: {
    summary: 'disk images that VMs are cloned from',
    load: async () => (await import('./image/commands.ts')).imageCommands,
  },
  volume: {
    summary: 'disks: those of VMs, and those that stand alone',
    load: async () => (await import('./volume/commands.ts')).volumeCommands,
  },
  pool: { summary: 'storage that disks lie in', load: async () => (await import('./pool/commands.ts')).poolCommands },
  network: {
    summary: 'what network cards of VMs are plugged into',
    load: async () => (await import('./network/commands.ts')).networkCommands,
  },
  cluster: {
    summary: 'what holds for all hosts together',
    load: async () => (await import('./cluster/commands.ts')).clusterCommands,
  },
  host: { summary: 'machines that run VMs', load: async () => (await import('./host/commands.ts')).hostCommands },
  job: {
    summary: 'long work: what runs, what failed, what is stuck',
    load: async () => (await import('./job/commands.ts')).jobCommands,
  },
  cert: {
    summary: 'certificates: what expires when, and ending one before its time',
    load: async () => (await import('./cert/cert.ts')).certCommands,
  },
  alarm: { summary: 'what is wrong now', load: async () => (await import('./alarm/alarm.ts')).alarmCommands },
  event: { summary: 'what happened', load: async () => (await import('./event/event.ts')).eventCommands },
  support: {
    summary: 'what somebody who helps needs to see',
    load: async () => (await import('./support/support.ts')).supportCommands,
  },
  user: {
    summary: 'users and service accounts, and what they may do',
    load: async () => (await import('./user/commands.ts')).userCommands,
  },
  token: { summary: 'with what they log in', load: async () => (await import('./token/token.ts')).tokenCommands },
  audit: {
    summary: 'who changed what, and who was refused',
    load: async () => (await import('./audit/audit.ts')).auditCommands,
  },
  context: {
    summary: 'controllers that this command line knows',
    load: async () => (await import('./context/context.ts')).contextCommands,
  },
};

/** Commands without a noun. */
const SINGLE: readonly Command[] = [apply, login, logout, whoami, version, completion];

/** The commands without a noun, and those of the nouns among `words`. */
export async function commandsFor(words: readonly string[]): Promise<Command[]> {
  const nouns = [...new Set(words)].flatMap((w) => NOUNS[w] ?? []);
  return [...SINGLE, ...(await Promise.all(nouns.map((n) => n.load()))).flat()];
}
