/**
 * Where a quickstart lives, and what it remembers there between runs. Which processes run is looked up, never remembered.
 */
import { createHash } from 'node:crypto';
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

/** One quickstart among several on this machine. */
export interface Place {
  /** Of the context in the person's configuration. */
  readonly context: string;
  /** Of the lab, its containers and its network: no other checkout on this Docker engine has the same. */
  readonly label: string;
  /** In the checkout; everything that is not in a container. */
  readonly stateDir: string;
  /** What the commands that are printed need to mean this one; begins with a space, or is empty. */
  readonly flags: string;
}

/** @param name what --name said; undefined is the one without a name. */
export function placeOf(name: string | undefined): Place {
  const context = name === undefined ? 'quickstart' : `quickstart-${name}`;
  const checkout = createHash('sha256').update(root).digest('hex').slice(0, 6);
  return {
    context,
    label: `${context}-${checkout}`,
    stateDir: join(root, `.${context}`),
    flags: name === undefined ? '' : ` --name ${name}`,
  };
}

const fileOf = (place: Place): string => join(place.stateDir, 'state.json');

export function loadState(place: Place): QuickstartState | undefined {
  const file = fileOf(place);
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as QuickstartState) : undefined;
}

export function saveState(place: Place, state: QuickstartState): void {
  const file = fileOf(place);
  mkdirSync(place.stateDir, { recursive: true, mode: 0o700 });
  writeFileSync(`${file}.new`, JSON.stringify(state));
  renameSync(`${file}.new`, file);
}

/** Whoever removes holds the lock, and goes on to hold it. */
export const LOCK = 'lock';

export function removeState({ stateDir }: Place): void {
  const names = existsSync(stateDir) ? readdirSync(stateDir) : [];
  for (const name of names) if (name !== LOCK) rmSync(join(stateDir, name), { recursive: true, force: true });
}
