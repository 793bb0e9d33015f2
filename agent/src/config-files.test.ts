import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { parseConfig } from './config.ts';
import { checkFiles } from './config-files.ts';

let dir: string;
beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'berth-config-files-'))));
afterEach(() => rmSync(dir, { recursive: true }));

const check = (metrics: string) =>
  checkFiles(parseConfig(metrics === '' ? '' : `metrics: {${metrics}}`, 'a.yaml'), 'a.yaml');
const file = (name: string, text: string): string => {
  writeFileSync(join(dir, name), text);
  return join(dir, name);
};

it('finds nothing wrong where no file is named, or all are there', () => {
  check('');
  check(`listen: "0.0.0.0:7446", tokenFile: ${file('token', 'a token of enough length\n')}`);
});

it('tells of every file with which the agent would not start', () => {
  const pair = `certificateFile: ${dir}/none, keyFile: ${file('key', '\n')}`;
  const all = () => check(`listen: "0.0.0.0:7446", tokenFile: ${file('token', 'short')}, ${pair}`);
  expect(all).toThrow(/a\.yaml: metrics\.tokenFile: .*\/token holds no token/);
  expect(all).toThrow(/\na\.yaml: metrics\.certificateFile: .*\/none can't be read: ENOENT/);
  expect(all).toThrow(/\na\.yaml: metrics\.keyFile: .*\/key is empty/);
});
