/**
 * Which version the packages are, and which time their files bear: both come from the commit, so that the same commit gives the
 * same bytes on every machine. Pure, but for asking git.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { VERSION } from '@berth/shared/version.ts';

export interface Release {
  /** As Debian compares it: `0.2.0`, or `0.2.0+git20260102030405.1a2b3c4` between releases. */
  readonly version: string;
  /** Seconds since 1970. */
  readonly epoch: number;
}

export interface Commit {
  readonly hash: string;
  readonly epoch: number;
  /** Of this very commit. */
  readonly tags: readonly string[];
  /** Files differ from it. */
  readonly changed: boolean;
}

/** A release has its tag; what comes after it sorts after it, and before the next. */
export function releaseOf(version: string, commit: Commit | undefined, fallbackEpoch: number): Release {
  if (commit === undefined) return { version, epoch: fallbackEpoch };
  const { hash, epoch, tags, changed } = commit;
  if (tags.includes(`v${version}`) && !changed) return { version, epoch };
  const at = new Date(epoch * 1000).toISOString().replace(/\D/g, '').slice(0, 14);
  return { version: `${version}+git${at}.${hash.slice(0, 7)}${changed ? '.changed' : ''}`, epoch };
}

/** @param epoch is taken in place of the commit's time. A source without git has the time of its package.json. */
export async function findRelease(root: string, epoch: number | undefined): Promise<Release> {
  const commit = await readCommit(root);
  const found = releaseOf(VERSION, commit, Math.floor(statSync(join(root, 'package.json')).mtimeMs / 1000));
  return { ...found, epoch: epoch ?? found.epoch };
}

async function readCommit(root: string): Promise<Commit | undefined> {
  const git = (...args: string[]) => execa('git', ['-C', root, ...args], { reject: false });
  const head = await git('log', '-1', '--format=%H %ct');
  const [hash, seconds] = head.exitCode === 0 ? head.stdout.split(' ') : [];
  if (hash === undefined || seconds === undefined) return undefined;
  const tags = (await git('tag', '--points-at', 'HEAD')).stdout.split('\n').filter(Boolean);
  const changed = (await git('status', '--porcelain', '--untracked-files=no')).stdout !== '';
  return { hash, epoch: Number(seconds), tags, changed };
}
