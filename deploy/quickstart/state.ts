/** What the quickstart remembers between runs, in .quickstart/ of the checkout: process ids and which kind of hosts it made. */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findRoot } from '../setup/root.js';

export interface QuickstartState {
  readonly simulate: boolean;
  controllerPid: number | undefined;
  /** Of simulated hosts. */
  agentPids: readonly number[];
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

export const removeState = (): void => rmSync(stateDir, { recursive: true, force: true });
