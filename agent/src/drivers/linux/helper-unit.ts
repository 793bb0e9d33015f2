/**
 * The unit of its own in which systemd starts a helper: so it outlives the agent, and, because it is then no child of the
 * agent's unit, gets a sandbox of its own. Builds the arguments of systemd-run only; helpers.ts runs it.
 */
import { createHash } from 'node:crypto';

export interface HelperUnit {
  /** Of the helper. */
  readonly name: string;
  readonly dataDir: string;
  readonly logFile: string;
  /** By which it is found again. */
  readonly env: Readonly<Record<string, string>>;
  /** The command takes every privilege from itself and reads what a stranger wrote. */
  readonly confined: boolean;
}

/** What confine.ts needs for taking all of it away, and for the end of its parent to be the end of the program. */
const CAPABILITIES = ['CAP_SYS_ADMIN', 'CAP_SETUID', 'CAP_SETGID', 'CAP_SETPCAP', 'CAP_KILL'];

/** @returns arguments of `systemd-run` that start `argv`. */
export function helperUnitArgs(unit: HelperUnit, argv: readonly string[]): string[] {
  // two agents on one machine (tests) have units of their own
  const installation = createHash('sha256').update(unit.dataDir).digest('hex').slice(0, 6);
  const properties = [
    `StandardOutput=append:${unit.logFile}`,
    `StandardError=append:${unit.logFile}`,
    ...(unit.confined ? sandbox(unit.dataDir) : []),
  ];
  return [
    '--quiet',
    '--collect',
    // answers when the program runs, and so can be found by its environment
    '--service-type=exec',
    `--unit=berth-${installation}-${unit.name}`,
    `--description=Berth helper ${unit.name}`,
    ...Object.entries(unit.env).map(([key, value]) => `--setenv=${key}=${value}`),
    ...properties.flatMap((p) => ['-p', p]),
    '--',
    ...argv,
  ];
}

/** What no program that reads a stranger's bytes needs. */
export const CONFINED: readonly string[] = [
  'PrivateDevices=yes',
  'NoNewPrivileges=yes',
  'ProtectKernelTunables=yes',
  'ProtectKernelModules=yes',
  'ProtectKernelLogs=yes',
  'ProtectControlGroups=yes',
  'ProtectClock=yes',
  'ProtectHostname=yes',
  'LockPersonality=yes',
  'RestrictRealtime=yes',
  'RestrictSUIDSGID=yes',
  'RestrictAddressFamilies=AF_UNIX',
  'SystemCallFilter=@system-service',
  'SystemCallErrorNumber=EPERM',
  'SystemCallArchitectures=native',
  'UMask=0077',
  'LimitCORE=0',
  'KeyringMode=private',
];

/** Network and processes are taken away by the command itself (confine.ts). */
const sandbox = (dataDir: string): readonly string[] => [
  'ProtectSystem=strict',
  `ReadWritePaths="${dataDir}"`,
  'ProtectHome=read-only',
  `CapabilityBoundingSet=${CAPABILITIES.join(' ')}`,
  'RestrictNamespaces=net pid',
  ...CONFINED,
];
