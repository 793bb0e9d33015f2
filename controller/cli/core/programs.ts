/** Programs of the person's own machine: an ssh client, a viewer. The only file of the command line that starts processes. */
import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { constants as system } from 'node:os';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { unsupported } from '@berth/shared/errors/cluster-error.ts';
import { searchPath } from './config.ts';

/** The first of them that is installed here. */
export function findProgram<T extends { readonly program: string }>(choices: readonly T[]): T | undefined {
  const folders = searchPath();
  return choices.find(({ program }) => folders.some((f) => isProgram(join(f, program))));
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * Runs a program on the person's own terminal, to its end.
 * @param advice how to get it. @returns its exit code, as a shell tells it. @throws UNSUPPORTED when it is not installed.
 */
export function runProgram(program: string, args: readonly string[], advice: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, [...args], { stdio: 'inherit' });
    child.once('error', (e: NodeJS.ErrnoException) =>
      reject(e.code === 'ENOENT' ? unsupported(`${program} is not installed on this machine; ${advice}`) : e),
    );
    child.once('exit', (code, signal) => resolve(code ?? 128 + (signal ? system.signals[signal] : 0)));
  });
}

/**
 * What a program prints, without keeping this process for it. Undefined: it failed, or the signal came first, which kills it.
 * @throws UNSUPPORTED when it is not installed
 */
export function printed(program: string, args: readonly string[], signal: AbortSignal): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, [...args], { stdio: ['ignore', 'pipe', 'ignore'], signal, killSignal: 'SIGKILL' });
    let text = '';
    child.unref();
    (child.stdout as Partial<Socket>).unref?.();
    child.stdout.setEncoding('utf8').on('data', (more: string) => (text += more));
    child.once('error', (e: NodeJS.ErrnoException) =>
      e.code === 'ENOENT' ? reject(unsupported(`${program} is not installed on this machine`)) : resolve(undefined),
    );
    child.once('close', (code) => resolve(code === 0 ? text : undefined));
  });
}
