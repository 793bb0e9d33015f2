import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { Context } from '../core/context.ts';
import { fields, remark, renderEach, renderList } from './render.ts';
import { tableLines } from './table.ts';

interface Row {
  readonly name: string;
  readonly bytes: bigint;
}

/** What a rendering wrote to standard output and standard error. */
async function written(
  render: (ctx: Context) => void | Promise<void>,
  columns?: number,
): Promise<{ out: string; err: string }> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  if (columns !== undefined) Object.assign(stdout, { isTTY: true, columns });
  await render({ stdout, stderr } as unknown as Context);
  return { out: String(stdout.read() ?? ''), err: String(stderr.read() ?? '') };
}

const rows: Row[] = [
  { name: 'web', bytes: 5n },
  { name: 'db', bytes: 70n },
];
const list = (output: string, some = rows) =>
  written((ctx) =>
    renderList(
      ctx,
      { output },
      { rows: some, columns: [{ title: 'NAME', cell: (r) => r.name }], name: (r) => r.name, empty: 'none' },
    ),
  );
const each = (output: string, names: string[]) =>
  written((ctx) =>
    renderEach(
      ctx,
      { output },
      {
        names,
        get: async (name) => rows.find((r) => r.name === name) ?? { name, bytes: 0n },
        name: (r) => r.name,
        lines: (r) => [`name ${r.name}`],
      },
    ),
  );

describe('lists', () => {
  it('come as the person wants them', async () => {
    expect((await list('table')).out).toBe('NAME\nweb\ndb\n');
    expect((await list('name')).out).toBe('web\ndb\n');
    expect((await list('yaml')).out).toBe('- name: web\n  bytes: 5\n- name: db\n  bytes: 70\n');
    expect(JSON.parse((await list('json')).out)).toEqual([
      { name: 'web', bytes: 5 },
      { name: 'db', bytes: 70 },
    ]);
  });
  it('fit the terminal, unless everything is wanted or it goes into a pipe', async () => {
    const on = async (output: string, terminal?: number) => {
      const columns = [
        { title: 'NAME', cell: (r: Row) => r.name },
        { title: 'ADDRESS', cell: () => 'h1.example.org:7444', spare: 1 },
      ];
      const o = { rows: rows.slice(0, 1), columns, name: (r: Row) => r.name, empty: 'none' };
      return (await written((ctx) => renderList(ctx, { output }, o), terminal)).out;
    };
    expect(await on('table', 20)).toBe('NAME\nweb\n');
    expect(await on('table', 80)).toContain('h1.example.org');
    expect(await on('wide', 20)).toContain('h1.example.org');
    expect(await on('table')).toContain('h1.example.org');
  });
  it('say that they are empty where it does not disturb a pipe', async () => {
    expect(await list('table', [])).toEqual({ out: '', err: 'none\n' });
    expect(await list('json', [])).toEqual({ out: '[]\n', err: '' });
  });
  it('refuse a format that they do not know', () => expect(list('xml')).rejects.toThrow(/-o xml: known are table/));
});

describe('objects in full', () => {
  it('stand one below the other', async () => {
    expect((await each('table', ['web', 'db'])).out).toBe('name web\n\nname db\n');
    expect((await each('name', ['web', 'db'])).out).toBe('web\ndb\n');
  });
  it('are one document as data', async () => {
    expect(JSON.parse((await each('json', ['web'])).out)).toEqual({ name: 'web', bytes: 5 });
    expect(JSON.parse((await each('json', ['web', 'db'])).out)).toHaveLength(2);
  });
  it('leave out what is not known', () => {
    expect(
      fields([
        ['name', 'web'],
        ['address', ''],
        ['run policy', 'manual'],
      ]),
    ).toEqual(['name:        web', 'run policy:  manual']);
  });
});

describe('remarks', () => {
  it('have a column only where there is one', () => {
    const name = { title: 'NAME', cell: (r: Row) => r.name };
    expect(remark(rows, () => '')).toEqual([]);
    const some = remark(rows, (r) => (r.name === 'db' ? 'h1 unreachable for 12 s' : ''));
    expect(tableLines([name, ...some], rows, false)).toEqual(['NAME', 'web', 'db    h1 unreachable for 12 s']);
  });
});
