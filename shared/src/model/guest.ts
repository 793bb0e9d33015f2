/**
 * What a guest says of itself through the guest agent that runs in it, bounded and harmless. Plain data, proven by nothing: it
 * is shown to people, and no decision about the VM rests on it.
 */

/** `absent`: no agent answers, or the VM has no channel for one. `silent`: it is there and hangs. */
export type GuestAgentState = 'connected' | 'absent' | 'silent';

export interface GuestInterface {
  readonly name: string;
  /** Empty: not said. */
  readonly mac: string;
  /** CIDR form. */
  readonly addresses: readonly string[];
}

export interface GuestFileSystem {
  readonly mountPoint: string;
  readonly type: string;
  /** 0: not said. */
  readonly totalBytes: number;
  readonly usedBytes: number;
}

export interface GuestUser {
  readonly name: string;
  /** 0: not said. */
  readonly loginAtMs: number;
}

/** Texts are empty where nothing was said. */
export interface GuestFacts {
  readonly hostname: string;
  readonly os: string;
  readonly kernel: string;
  readonly timeZone: string;
  /** East of UTC. */
  readonly utcOffsetSeconds: number;
  readonly interfaces: readonly GuestInterface[];
  readonly fileSystems: readonly GuestFileSystem[];
  readonly users: readonly GuestUser[];
}

export interface GuestSeen extends GuestFacts {
  readonly agent: GuestAgentState;
  /** When it was last seen to reset; 0: not seen. Of its host's clock, as the others. */
  readonly lastResetAtMs: number;
  /** 0: not frozen by Berth. */
  readonly frozenAtMs: number;
  readonly thawAtMs: number;
  /** Its clock less its host's, where it was asked for. */
  readonly clockOffsetMs?: number | undefined;
}

export const NOTHING_SAID: GuestFacts = {
  ...{ hostname: '', os: '', kernel: '', timeZone: '', utcOffsetSeconds: 0 },
  ...{ interfaces: [], fileSystems: [], users: [] },
};

/** How much of what a guest says is kept. */
export const GUEST_LIMITS = {
  interfaces: 32,
  /** Of one interface. */
  addresses: 16,
  fileSystems: 64,
  users: 64,
  textChars: 128,
  pathChars: 256,
} as const;

/** How long file systems may stay frozen. */
export const FREEZE_DEFAULT_MS = 60_000;
export const FREEZE_LONGEST_MS = 3_600_000;

/** Of a program that is run in a guest. */
export const EXEC_LIMITS = {
  arguments: 256,
  /** Of arguments and environment together. */
  wordsBytes: 64 * 1024,
  inputBytes: 2 ** 20,
  /** Of output, and of error output. */
  outputBytes: 2 ** 20,
  defaultMs: 60_000,
  longestMs: 24 * 3_600_000,
} as const;
