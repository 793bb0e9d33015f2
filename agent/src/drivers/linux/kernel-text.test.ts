import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { kernelText } from './kernel-text.ts';

it('gives whole texts, each its own, up to 64 KiB, and nothing where there is none', () => {
  const dir = mkdtempSync(join(tmpdir(), 'berth-kernel-'));
  const file = (name: string, text: string): string => (writeFileSync(join(dir, name), text), join(dir, name));
  try {
    const long = kernelText(file('long', 'ä'.repeat(20_000)));
    const short = kernelText(file('short', 'yes\n'));
    expect([long, short, kernelText(file('none', ''))]).toEqual(['ä'.repeat(20_000), 'yes\n', '']);
    expect(kernelText(file('longest', 'x'.repeat(100_000)))).toHaveLength(65_536);
    expect(kernelText(join(dir, 'absent'))).toBeUndefined();
    // a page at a time
    expect(kernelText('/proc/self/smaps')?.length).toBeGreaterThan(8_192);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
