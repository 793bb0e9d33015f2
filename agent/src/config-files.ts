/** The files that a configuration names: `--check-config` tells of those with which the agent would not start. Keeps nothing of them. */
import { readFileSync } from 'node:fs';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { AgentConfig } from './config.ts';

const FILES = ['tokenFile', 'certificateFile', 'keyFile'] as const;

/** @param from the file of the configuration. @throws INVALID_ARGUMENT whose message has one line per problem. */
export function checkFiles({ metrics = { listen: '' } }: Pick<AgentConfig, 'metrics'>, from: string): void {
  const problems = FILES.flatMap((key) => {
    const why = metrics[key] === undefined ? undefined : problemOf(key, metrics[key]);
    return why === undefined ? [] : [`${from}: metrics.${key}: ${why}`];
  });
  if (problems.length > 0) throw invalidArgument(problems.join('\n'));
}

function problemOf(key: (typeof FILES)[number], file: string): string | undefined {
  try {
    const text = readFileSync(file, 'utf8').trim();
    if (key === 'tokenFile' && text.length < 16) return `${file} holds no token: at least 16 characters are expected`;
    return text === '' ? `${file} is empty` : undefined;
  } catch (e) {
    return `${file} can't be read: ${(e as Error).message}`;
  }
}
