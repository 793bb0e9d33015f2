/**
 * Writes a file of the kernel. The agent's own unit may not (ProtectKernelTunables), and no unit should get all of /sys for this:
 * where systemd runs, it is asked to write the one file, in a unit of a moment.
 */
import { open } from 'node:fs/promises';
import type { Exec } from './exec.ts';
import { systemdRuns } from './outside.ts';
import type { RootFiles } from './root-files.ts';
import type { WriteKernel } from './tuning.ts';

const WRITE_MS = 60_000;
const REFUSED = ['EROFS', 'EACCES', 'EPERM'];

/** @param systemd whether it runs here. */
export function createWriteKernel(exec: Pick<Exec, 'run'>, files: RootFiles, systemd = systemdRuns): WriteKernel {
  return async (path, text) => {
    const at = files.path(path);
    try {
      // neither made nor cut: it is no file of ours
      const file = await open(at, 'r+');
      await file.write(text).finally(() => file.close());
    } catch (e) {
      if (!REFUSED.includes((e as NodeJS.ErrnoException).code ?? '') || !systemd()) throw e;
      await exec.run('systemd-run', unitArgs(at, text), { timeoutMs: WRITE_MS, what: `writing ${path}` });
    }
  };
}

/** Bytes in base64: systemd-run takes no text here. */
const unitArgs = (path: string, text: string): string[] => [
  '--quiet',
  '--collect',
  '--wait',
  '--description=Berth sets the kernel',
  ...[
    'StandardInput=data',
    `StandardInputData=${Buffer.from(`${text}\n`).toString('base64')}`,
    'StandardOutput=null',
    'NoNewPrivileges=yes',
    'PrivateNetwork=yes',
  ].flatMap((p) => ['-p', p]),
  '--',
  'tee',
  path,
];
