/**
 * The unit of a moment in which changes are put into a volume that lies in a pool: the agent's own unit may write to no pool. The program
 * in it is nobody in particular, and may write to this one file though it is another's, because it sees no other: an empty root with the
 * files that it is to have, and the system's programs. On a file server that does not help: there it is the file's owner, and may do
 * nothing to other programs of that account. Builds arguments only; overlay.ts runs them.
 */
import { createHash } from 'node:crypto';
import { CONFINED } from '../helper-unit.ts';

export interface CommitUnit {
  readonly volumeId: string;
  readonly dataDir: string;
  /** Name or number. */
  readonly user: string;
  readonly reads: readonly string[];
  readonly writes: readonly string[];
  /** The largest file that it may write. */
  readonly fileBytes: number;
}

/** Another try of the same volume has the same; of two agents on one machine (tests) each has its own. */
export const commitUnitName = ({ volumeId, dataDir }: Pick<CommitUnit, 'volumeId' | 'dataDir'>): string =>
  `berth-${createHash('sha256').update(dataDir).digest('hex').slice(0, 6)}-commit-${volumeId}`;

/** What a program needs to run at all. What is absent is passed over. */
const SYSTEM = ['/usr', '-/lib', '-/lib64', '-/bin', '-/etc/ld.so.cache'];
/** What one program may do to another of the same account. */
const TO_OTHERS = [
  ...['kill', 'tkill', 'tgkill', 'pidfd_send_signal', 'rt_sigqueueinfo', 'rt_tgsigqueueinfo'],
  ...['pidfd_getfd', 'process_vm_readv', 'process_vm_writev'],
];
const CPU_SECONDS = 3_600;
const MEMORY_BYTES = 2 ** 30;

/** @returns arguments of `systemd-run` that run `argv` and wait for its end. */
export function commitUnitArgs(unit: CommitUnit, argv: readonly string[]): string[] {
  const properties = [
    `User=${unit.user}`,
    'AmbientCapabilities=CAP_DAC_OVERRIDE',
    'CapabilityBoundingSet=CAP_DAC_OVERRIDE',
    'TemporaryFileSystem=/:ro',
    ...SYSTEM.map((path) => `BindReadOnlyPaths=${path}`),
    ...unit.reads.map((path) => `BindReadOnlyPaths=${quoted(path)}`),
    ...unit.writes.map((path) => `BindPaths=${quoted(path)}`),
    'PrivateNetwork=yes',
    `LimitFSIZE=${unit.fileBytes}`,
    `LimitCPU=${CPU_SECONDS}`,
    `MemoryMax=${MEMORY_BYTES}`,
    'Nice=10',
    'OOMScoreAdjust=500',
    'RestrictNamespaces=yes',
    ...CONFINED,
    // takes away from what CONFINED allows
    `SystemCallFilter=~${TO_OTHERS.join(' ')}`,
  ];
  return [
    ...['--quiet', '--collect', '--wait', '--pipe', `--unit=${commitUnitName(unit)}`],
    `--description=Berth changes the guest on volume ${unit.volumeId}`,
    ...properties.flatMap((p) => ['-p', p]),
    ...['--', ...argv],
  ];
}

/** Of a path: before and after a colon are two. */
const quoted = (path: string): string => `"${path.replace(/[\\":]/g, (c) => `\\${c}`)}"`;
