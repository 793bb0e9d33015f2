/** Types of engine.js. */
import type { Tool } from './apt.js';

interface Engine {
  readonly socketPath: string;
  readonly stateDir: string;
}

export function engineTools(): Tool[];
export function startEngine(engine: Engine & { readonly args?: readonly string[] }): Promise<string>;
export function dockerdArguments(socketPath: string, driver: string | undefined, extra: readonly string[]): string[];
export function stopOwnEngine(engine: Engine): Promise<boolean>;
