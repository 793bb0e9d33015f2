/** The quickstart's controller: initialised once, run in the background, reached as its first administrator. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createApi, type Api } from '@berth/controller/cli/core/api.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { decodeLoginLine } from '@berth/shared/trust/lines.ts';
import { fetchPinnedCa } from '@berth/shared/trust/pin.ts';
import { endDaemons, ensureDaemon, freePort, lastLine, runCommand, runs, settles, type Argv } from './processes.ts';
import { root, type Place } from './state.ts';

const API_PORT = 7443;
const HTTP_PORT = 7480;
const PROGRAM = join(root, 'controller', 'dist', 'berth-controller.js');
const dataDirOf = (place: Place): string => join(place.stateDir, 'controller');

export interface RunningController {
  readonly address: string;
  readonly endpoint: { readonly controller: string; readonly ca: string; readonly token: string };
  readonly api: Api;
}

/** @param address where it listens: one address that both this machine and the hosts reach. */
export async function ensureController(place: Place, address: string): Promise<RunningController> {
  const [dataDir, logFile] = [dataDirOf(place), join(place.stateDir, 'controller.log')];
  if (!existsSync(join(dataDir, 'admin-token'))) await init(dataDir, address);
  const line = decodeLoginLine(readFileSync(join(dataDir, 'admin-token'), 'utf8'));
  const argv: Argv = [process.execPath, PROGRAM, 'run', '--data-dir', dataDir, '--listen', line.controller];
  ensureDaemon(argv, logFile);
  let ca: string | undefined;
  await settles(async () => {
    ca = await fetchPinnedCa(line.controller, line.caPin, 1_000).catch(() => undefined);
    return ca !== undefined || !runs(argv);
  }, 30_000);
  if (ca === undefined) throw new Error(`the controller does not start: ${lastLine(logFile)} (all of it: ${logFile})`);
  const endpoint = { controller: line.controller, ca, token: line.token };
  return { address: line.controller, endpoint, api: createApi(endpoint, () => systemClock.now()) };
}

async function init(dataDir: string, address: string): Promise<void> {
  mkdirSync(dirname(dataDir), { recursive: true, mode: 0o700 });
  const port = await freePorts(address);
  await runCommand([process.execPath, PROGRAM, 'init', '--data-dir', dataDir, '--address', `${address}:${port}`]);
}

/** The API's port, where the one for HTTPS, which follows from it, is free as well. */
async function freePorts(address: string): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const port = await freePort(address, attempt === 0 ? API_PORT : 0);
    const https = port + HTTP_PORT - API_PORT;
    if (https < 65_536 && (await freePort(address, https)) === https) return port;
  }
  throw new Error(`no two ports are free at ${address}, ${HTTP_PORT - API_PORT} apart, for the controller`);
}

export const stopController = ({ stateDir }: Place): Promise<number> => endDaemons(PROGRAM, stateDir);
