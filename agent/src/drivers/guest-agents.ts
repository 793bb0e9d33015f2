/**
 * The guest agents of a host's VMs, as drivers offer them: what one can be asked, and what happens to guests that only events
 * tell. What a guest says is as it said it, believed by nobody: agent/src/guest cuts it down. Whoever calls sees to it that one
 * call runs at a time per VM. Every call ends within a deadline, however the guest behaves; errors are noAgent, silentAgent,
 * refusal below, BAD_STATE when the domain is off, and those of hypervisor.ts.
 */
import { badState, ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';

export interface GuestSaid {
  readonly hostname?: string;
  /** As people write it: "Debian GNU/Linux 12 (bookworm)". */
  readonly os?: string;
  readonly kernel?: string;
  readonly timeZone?: string;
  readonly utcOffsetSeconds?: number;
  readonly interfaces?: readonly {
    readonly name: string;
    readonly mac: string;
    readonly addresses: readonly { readonly address: string; readonly prefix: number }[];
  }[];
  readonly fileSystems?: readonly {
    readonly mountPoint: string;
    readonly type: string;
    readonly totalBytes: bigint;
    readonly usedBytes: bigint;
  }[];
  readonly users?: readonly { readonly name: string; readonly loginAtMs: number }[];
}

export type GuestEvent =
  | { readonly type: 'agent'; readonly uuid: string; readonly connected: boolean }
  /** The guest was reset, or rebooted: its firmware runs anew. */
  | { readonly type: 'reset'; readonly uuid: string };

export interface GuestAgents {
  read(uuid: string): Promise<GuestSaid>;
  /** Milliseconds since 1970, by the guest's clock. */
  readTime(uuid: string): Promise<number>;
  setTime(uuid: string, atMs: number): Promise<void>;
  /** All file systems. Gives how many. */
  freeze(uuid: string): Promise<number>;
  /** Gives how many; 0 when none was frozen. */
  thaw(uuid: string): Promise<number>;
  setPassword(uuid: string, user: string, password: string): Promise<void>;
  /** Gives its number in the guest. The output is kept there until it is asked for. */
  run(uuid: string, program: GuestProgram): Promise<number>;
  /** How a program stands; its output when it has ended, once. */
  look(uuid: string, pid: number): Promise<GuestProcess>;
  /** Answers when the agent has taken it. BAD_STATE unless the guest runs. */
  ask(uuid: string, action: 'shutdown' | 'reboot'): Promise<void>;
  subscribe(listener: (e: GuestEvent) => void): () => void;
}

export interface GuestProgram {
  readonly program: string;
  readonly arguments: readonly string[];
  /** NAME=value; none: the agent's own. */
  readonly environment: readonly string[];
  readonly input: Uint8Array;
}

export type GuestProcess =
  | { readonly ended: false }
  | {
      readonly ended: true;
      readonly exitCode: number;
      /** 0: none. */
      readonly signal: number;
      readonly output: Uint8Array;
      readonly errorOutput: Uint8Array;
      /** The agent kept only a part. */
      readonly truncated: boolean;
    };

const KIND = 'guestAgent';
export type AgentTrouble = 'absent' | 'silent' | 'refused';

const INSTALL =
  'Install one in the guest: apt install qemu-guest-agent (Debian, Ubuntu), dnf install qemu-guest-agent (Fedora, RHEL), ' +
  'the guest tools of virtio-win (Windows); it answers when its service runs';

export const noAgent = (vm: string): ClusterError =>
  badState(`no guest agent answers in vm ${vm}. ${INSTALL}`, { [KIND]: 'absent' });

/** @param vm defined before Berth gave VMs a channel, or running since then. */
export const noChannel = (vm: string): ClusterError =>
  badState(
    `vm ${vm} runs without a channel for a guest agent. It gets one when it is next started: berth vm stop ${vm}, berth vm start ${vm}`,
    { [KIND]: 'absent' },
  );

export const silentAgent = (vm: string): ClusterError =>
  new ClusterError(
    'DEADLINE_EXCEEDED',
    `the guest agent of vm ${vm} does not answer: its guest may hang, or be very busy. Nobody can tell whether it did what it was asked`,
    { [KIND]: 'silent' },
  );

/** @param why in the words of the agent or of libvirt. */
export const agentRefused = (
  vm: string,
  what: string,
  why: string,
  reason: 'UNSUPPORTED' | 'BAD_STATE',
): ClusterError =>
  new ClusterError(reason, `the guest agent of vm ${vm} could not ${what}: ${why}`, { [KIND]: 'refused' });

/** Undefined for what is no fault of a guest's agent. */
export function troubleOf(e: unknown): AgentTrouble | undefined {
  return isClusterError(e) ? (e.meta[KIND] as AgentTrouble | undefined) : undefined;
}
