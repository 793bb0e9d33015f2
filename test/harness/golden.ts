/** Compares text with a file that is kept beside the tests. `UPDATE_GOLDEN=1` writes the file instead. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';

/**
 * @param testFile `import.meta.url` of the test. @param name file in the folder `golden` beside it, with its ending.
 * A golden file that is missing is a failure: it has to be made on purpose and read before it is committed.
 */
export function expectGolden(testFile: string, name: string, actual: string): void {
  const file = join(dirname(fileURLToPath(testFile)), 'golden', name);
  if (process.env['UPDATE_GOLDEN'] === '1') {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, actual);
  }
  if (!existsSync(file)) throw new Error(`${file} is missing: run with UPDATE_GOLDEN=1, read it, commit it`);
  expect(actual, `differs from ${name}; if that is meant, run with UPDATE_GOLDEN=1`).toBe(readFileSync(file, 'utf8'));
}
