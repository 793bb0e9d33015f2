/** Puts one file in the place of another at once: what libvirt cannot do in its pools, and the agent's own unit may not. */
import type { RunOutside } from './outside.ts';

/** Both in one folder. @param target what is there is gone; absent is fine */
export type ReplaceFile = (path: string, target: string) => Promise<void>;

const REPLACE_MS = 60_000;

export const createReplaceFile =
  (run: RunOutside): ReplaceFile =>
  (path, target) =>
    run(['mv', '--force', '--no-target-directory', '--', path, target], {
      ...{ timeoutMs: REPLACE_MS, what: `putting ${path} in the place of ${target}` },
      description: 'Berth puts a new disk in the place of an old one',
    });
