/** The launcher of the command line: with its compiled code, and without it, the same command. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Script } from 'node:vm';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeCommand } from './command.js';

/** Answers its arguments; long enough to have something to compile. */
const SOURCE = `const say = (words) => 'said ' + words.join(' ');
const { basename } = require('node:path');
console.log(say(process.argv.slice(2)), basename(__filename));`;

let dir: string;
beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'berth-command-'))));
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const run = async (): Promise<string> =>
  (await execa(process.execPath, [join(dir, 'hello.js'), 'a', 'b'], { cwd: '/' })).stdout;
const named = (end: string): string[] => readdirSync(dir).filter((n) => n.startsWith('hello-') && n.endsWith(end));

describe('the command line as one file', () => {
  it('runs, and V8 takes the compiled code that lies beside it', async () => {
    writeCommand(dir, 'hello', SOURCE);
    const [bundle = '', cache = ''] = [...named('.js'), ...named('.v8')];
    expect(await run()).toBe(`said a b ${bundle}`);
    const wrapped = `(function (exports, require, module, __filename, __dirname) { ${SOURCE}\n})`;
    expect(new Script(wrapped, { cachedData: readFileSync(join(dir, cache)) }).cachedDataRejected).toBe(false);
  });

  it('is compiled also where its commands take longer than one of them waits before it ends its process', async () => {
    writeCommand(dir, 'hello', `${SOURCE}\nsetTimeout(() => process.exit(3), 1).unref();\nsetTimeout(() => {}, 20);`);
    expect(named('.v8')).toHaveLength(1);
  });

  it('runs as well when the compiled code is of another Node, cut off, or gone', async () => {
    writeCommand(dir, 'hello', SOURCE);
    const cache = join(dir, named('.v8')[0] ?? '');
    const foreign = readFileSync(cache);
    foreign[4] = (foreign[4] ?? 0) ^ 0xff; // V8's version
    writeFileSync(cache, foreign);
    expect(await run()).toContain('said a b');
    truncateSync(cache, 100);
    expect(await run()).toContain('said a b');
    rmSync(cache);
    expect(await run()).toContain('said a b');
  });

  it('never meets the compiled code of another source, and leaves nothing of earlier builds', async () => {
    writeCommand(dir, 'hello', SOURCE);
    const before = readdirSync(dir);
    writeCommand(dir, 'hello', SOURCE.replace("'said '", "'told '"));
    expect(await run()).toContain('told a b');
    expect(readdirSync(dir)).toHaveLength(before.length);
    expect(named('.v8').filter((n) => before.includes(n))).toEqual([]);
  });
});
