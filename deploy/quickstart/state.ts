/** What the quickstart remembers between runs, in .quickstart/ of the checkout. Which processes run is looked up, never remembered. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findRoot } from '../setup/root.js';

export interface QuickstartState {
  readonly simulate: boolean;
  readonly hosts: number;
  /** The context that was current before ours. */
  readonly previousContext?: string | undefined;
}

export const root = findRoot();
export const stateDir = join(root, '.quickstart');
const file = join(stateDir, 'state.json');

export function loadState(): QuickstartState | undefined {
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as QuickstartState) : undefined;
}

export function saveState(state: QuickstartState): void {
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  writeFileSync(`${file}.new`, JSON.stringify(state));
  renameSync(`${file}.new`, file);
}

/** Whoever removes holds the lock, and goes on to hold it. */
export const LOCK = 'lock';

export function removeState(): void {
  const names = existsSync(stateDir) ? readdirSync(stateDir) : [];
  for (const name of names) if (name !== LOCK) rmSync(join(stateDir, name), { recursive: true, force: true });
}
