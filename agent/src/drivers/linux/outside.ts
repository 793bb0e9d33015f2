/**
 * Runs a tool outside of the agent's own unit, which may open no device and change no file but its data: where systemd runs, it is asked
 * to run the tool, in a unit of a moment. For what libvirt has no call for; what that is, is said by who asks.
 */
import { existsSync } from 'node:fs';
import type { Exec } from './exec.ts';

export interface Outside {
  /** What it is for, as people see the unit. */
  readonly description: string;
  /** Goes before an error's text. */
  readonly what: string;
  readonly timeoutMs: number;
}

export type RunOutside = (argv: readonly [string, ...string[]], about: Outside) => Promise<void>;

export const systemdRuns = (): boolean => existsSync('/run/systemd/system');

/** @param systemd whether it runs here. */
export const createRunOutside =
  (exec: Pick<Exec, 'run'>, systemd = systemdRuns): RunOutside =>
  async ([program, ...args], { description, ...options }) => {
    const unit = ['--quiet', '--collect', '--wait', '--pipe', `--description=${description}`, '--'];
    if (systemd()) await exec.run('systemd-run', [...unit, program, ...args], options);
    else await exec.run(program, args, options);
  };
