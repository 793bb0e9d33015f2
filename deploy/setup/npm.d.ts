/** Types of npm.js. */
import type { Tool } from './apt.js';

export const COMPILERS: readonly Tool[];
export function dependencyStamp(lockFile: string | Uint8Array, nodeAbi: string): string;
export function dependenciesFresh(root: string): boolean;
export function installDependencies(root: string, log: string): Promise<void>;
export function headersDirectory(execPath: string, exists?: (path: string) => boolean): string | undefined;
export function sameVersions(
  wanted: Readonly<Record<string, LockEntry>>,
  installed: Readonly<Record<string, LockEntry>>,
): boolean;

export interface LockEntry {
  readonly version?: string;
  readonly link?: boolean;
  readonly optional?: boolean;
  readonly peer?: boolean;
}
