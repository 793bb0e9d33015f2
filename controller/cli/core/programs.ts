/** Programs of the person's own machine: an ssh client, a viewer. The only file of the command line that starts processes. */
import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { constants as system } from 'node:os';
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
