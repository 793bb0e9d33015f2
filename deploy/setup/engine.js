/**
 * A Docker engine for the lab: the one that answers, or else one that is started here, detached. An engine that somebody
 * else started is never stopped, configured or replaced.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { call, engineAnswers } from './docker-api.js';
import { SetupError, lastWords, run } from './process.js';

/** What a machine without an engine needs. cgroupfs-mount only where nothing has mounted control groups. */
export function engineTools() {
  const engine = { package: 'docker.io', command: 'dockerd' };
  return cgroupsMounted() ? [engine] : [engine, { package: 'cgroupfs-mount', command: 'cgroupfs-mount' }];
}

/** Tried in this order; undefined is the engine's own choice. */
const STORAGE_DRIVERS = [undefined, 'fuse-overlayfs', 'vfs'];

/** Starts dockerd with a storage driver that works and waits until it answers. Answers the driver. */
export async function startEngine({ socketPath, stateDir, args = [] }) {
  mkdirSync(stateDir, { recursive: true });
  await mountCgroups();
  let why = '';
  for (const driver of STORAGE_DRIVERS) {
    const log = path.join(stateDir, 'dockerd.log');
    rmSync(log, { force: true });
    const daemon = launch(dockerdArguments(socketPath, driver, args), log);
    if (await answersBeforeItEnds(daemon, socketPath)) {
      writeFileSync(pidFile(stateDir), `${daemon.process.pid}\n`);
      return driver ?? 'default';
    }
    why = lastWords(readFileSync(log, 'utf8'));
    if (!/graphdriver|overlay|storage.driver|snapshotter/i.test(readFileSync(log, 'utf8'))) break;
  }
  throw new SetupError(`dockerd does not start: ${why} (log: ${path.join(stateDir, 'dockerd.log')})`);
}

/** Pure. */
export function dockerdArguments(socketPath, driver, extra) {
  const storage = driver === undefined ? [] : [`--storage-driver=${driver}`];
  return ['-H', `unix://${socketPath}`, ...storage, ...extra];
}

/** Ends the engine that `startEngine` started, if it still runs and nothing runs in it. Answers whether it did. */
export async function stopOwnEngine({ socketPath, stateDir }) {
  const pid = ownEnginePid(stateDir);
  if (pid === undefined) return false;
  const { body } = await call(socketPath, 'GET', '/containers/json');
  if (JSON.parse(body.toString()).length > 0) return false;
  process.kill(pid, 'SIGTERM');
  while (isDockerd(pid)) await sleep(100);
  rmSync(pidFile(stateDir), { force: true });
  return true;
}

function ownEnginePid(stateDir) {
  if (!existsSync(pidFile(stateDir))) return undefined;
  const pid = Number(readFileSync(pidFile(stateDir), 'utf8'));
  return isDockerd(pid) ? pid : undefined;
}

function isDockerd(pid) {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'dockerd';
  } catch {
    return false;
  }
}

function launch(args, log) {
  const fd = openSync(log, 'a');
  const started = spawn('dockerd', args, { detached: true, stdio: ['ignore', fd, fd] });
  const daemon = { process: started, ended: false };
  started.on('exit', () => (daemon.ended = true));
  started.on('error', (error) => {
    writeFileSync(log, `dockerd: ${error.message}\n`);
    daemon.ended = true;
  });
  started.unref();
  return daemon;
}

async function answersBeforeItEnds(daemon, socketPath) {
  for (let waitedMs = 0; waitedMs < 60_000 && !daemon.ended; waitedMs += 100) {
    if (await engineAnswers(socketPath)) return true;
    await sleep(100);
  }
  if (!daemon.ended) daemon.process.kill('SIGKILL');
  return false;
}

/** A machine without systemd may have no control groups mounted, and then dockerd has nothing to work with. */
async function mountCgroups() {
  if (!cgroupsMounted()) await run('cgroupfs-mount', []);
}

function cgroupsMounted() {
  return existsSync('/sys/fs/cgroup/cgroup.controllers') || existsSync('/sys/fs/cgroup/devices');
}

function pidFile(stateDir) {
  return path.join(stateDir, 'dockerd.pid');
}
