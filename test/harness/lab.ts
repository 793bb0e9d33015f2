/**
 * Labs for tests: `describeLab` starts real hosts before a suite and removes them after it, whatever happened. When the
 * lab cannot run, the suite is skipped and says why; with LAB_REQUIRED=1 it fails instead.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { labRequired } from '@berth/deploy/lab/config.ts';
import type { LabHost } from '@berth/deploy/lab/host.ts';
import { AGENT_LOG } from '@berth/deploy/lab/host.ts';
import type { Lab, LabOptions } from '@berth/deploy/lab/lab.ts';
import { listLabs, removeLab, startLab } from '@berth/deploy/lab/lab.ts';
import { labUnready } from '@berth/deploy/lab/readiness.ts';
import { findRoot } from '@berth/deploy/setup/root.js';

const STARTUP_MS = 120_000;
const LOGS = [AGENT_LOG, '/var/log/libvirt/libvirtd.log'];

const unready = await labUnready();
let suites = 0;

/** The suite gets a function that answers the lab; call it inside tests and hooks only. */
export function describeLab(title: string, options: Omit<LabOptions, 'label'>, suite: (lab: () => Lab) => void): void {
  describeWhereLabsRun(title, () => (unready === undefined ? withLab(options, suite) : suite(noLab)));
}

/** For a suite that makes its lab itself: call `removeLeftovers` first, and take a label of `ownLabel`. */
export function describeWhereLabsRun(title: string, suite: () => void): void {
  if (unready === undefined) describe(title, suite);
  else if (!labRequired()) describe.skip(`${title} (skipped: ${unready})`, suite);
  else
    describe(title, () => {
      it('has a lab', () => {
        throw new Error(`LAB_REQUIRED is set, but the lab cannot run: ${unready}`);
      });
    });
}

/** Names the process that made a lab, so that one whose process is gone can be removed. */
export const ownLabel = (): string => `test-${process.pid}-${++suites}`;

function withLab(options: Omit<LabOptions, 'label'>, suite: (lab: () => Lab) => void): void {
  const label = ownLabel();
  let lab: Lab | undefined;
  beforeAll(async () => {
    await removeLeftovers();
    lab = await startLab({ ...options, label });
  }, STARTUP_MS);
  afterAll(async (finished) => {
    const failed = 'tasks' in finished && finished.tasks.some((task) => task.result?.state === 'fail');
    if (failed && lab !== undefined) await keepLogs(lab);
    await removeLab(label);
  }, STARTUP_MS);
  suite(() => lab ?? noLab());
}

function noLab(): never {
  throw new Error('the lab exists only while tests and hooks run');
}

/** Labs whose test process is gone: it was killed before it could clean up. */
export async function removeLeftovers(): Promise<void> {
  for (const label of await listLabs()) {
    const pid = /^(?:quickstart-)?test-(\d+)-\d+(?:-[0-9a-f]{6})?$/.exec(label)?.[1];
    if (pid !== undefined && !isAlive(Number(pid))) await removeLab(label);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function keepLogs(lab: Lab): Promise<void> {
  const dir = path.join(findRoot(), '.test-logs', lab.label);
  await mkdir(dir, { recursive: true });
  await Promise.all(lab.hosts.map((host) => keepHostLogs(host, dir)));
}

/** A host that a test left dead or frozen has no logs to give; that must not hide the test's own failure. */
async function keepHostLogs(host: LabHost, dir: string): Promise<void> {
  try {
    await host.unpause();
    for (const file of LOGS)
      await writeFile(path.join(dir, `${host.name}-${path.basename(file)}`), (await host.exec(['cat', file])).stdout);
  } catch (error) {
    await writeFile(path.join(dir, `${host.name}-no-logs.txt`), String(error));
  }
}
