/**
 * An append-only file of JSON lines. `append` resolves when its lines are on disk; many callers share one write and one
 * fsync. A line that was torn by a crash is dropped when the file is opened. Knows nothing of what the lines mean.
 */
import { constants } from 'node:fs';
import { open, mkdir, readFile, rename, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { badState, ClusterError } from '@berth/shared/errors/cluster-error.ts';

interface Waiting {
  readonly text: string;
  resolve(): void;
  reject(e: unknown): void;
}

export interface JournalOptions {
  /** Replaceable, so that a full disk can be tested. */
  readonly openFile?: (file: string, flags: string | number, mode: number) => Promise<FileHandle>;
}

const toLine = (record: unknown): string => `${JSON.stringify(record)}\n`;

export class Journal {
  private handle: FileHandle | undefined;
  private waiting: Waiting[] = [];
  private notes: string[] = [];
  private busy: Promise<void> = Promise.resolve();
  private running = false;

  private constructor(
    private readonly file: string,
    private size: number,
    private readonly openFile: NonNullable<JournalOptions['openFile']>,
  ) {}

  /** Reads what is there. `damaged` counts unreadable lines before the last one: never normal. */
  static async open(
    file: string,
    options: JournalOptions = {},
  ): Promise<{ journal: Journal; records: unknown[]; damaged: number }> {
    const { records, goodBytes, damaged } = parseLines(await readIfThere(file));
    return { journal: new Journal(file, goodBytes, options.openFile ?? open), records, damaged };
  }

  get bytes(): number {
    return this.size;
  }

  /** @throws DISK_FULL, and then nothing was written. */
  append(...records: unknown[]): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ text: records.map(toLine).join(''), resolve, reject });
      this.wake();
    });
  }

  /** Written together with the next append; lost if the process dies before. */
  note(record: unknown): void {
    this.notes.push(toLine(record));
  }

  /** Replaces the whole file by what `records` gives at the moment of writing. */
  rewrite(records: () => readonly unknown[]): Promise<void> {
    const done = this.busy.then(() => this.replace(records));
    this.busy = done.catch(() => undefined);
    return done;
  }

  async close(): Promise<void> {
    if (this.notes.length > 0) await this.append().catch(() => undefined);
    await this.busy;
    await this.handle?.close();
    this.handle = undefined;
  }

  private wake(): void {
    if (this.running) return;
    this.running = true;
    this.busy = this.busy.then(() => this.drain());
  }

  private async drain(): Promise<void> {
    while (this.waiting.length > 0) {
      const batch = this.waiting.splice(0);
      const notes = this.notes.splice(0);
      try {
        await this.write(notes.join('') + batch.map((w) => w.text).join(''));
        for (const w of batch) w.resolve();
      } catch (e) {
        this.notes.unshift(...notes);
        for (const w of batch) w.reject(e);
      }
    }
    this.running = false;
  }

  private async write(text: string): Promise<void> {
    const bytes = Buffer.from(text);
    try {
      const handle = (this.handle ??= await this.openForWriting());
      for (let done = 0; done < bytes.length;)
        done += (await handle.write(bytes, done, bytes.length - done, this.size + done)).bytesWritten;
      await handle.datasync();
      this.size += bytes.length;
    } catch (e) {
      await this.cutBack();
      throw writeError(this.file, e);
    }
  }

  /** Half-written lines must not stay: what comes next is written over them. */
  private async cutBack(): Promise<void> {
    try {
      await this.handle?.truncate(this.size);
      await this.handle?.datasync();
    } catch {
      // the next write begins at the same place, and reading drops a torn end
    }
  }

  private async openForWriting(): Promise<FileHandle> {
    await mkdir(dirname(this.file), { recursive: true, mode: 0o700 });
    const handle = await this.openFile(this.file, constants.O_RDWR | constants.O_CREAT, 0o600);
    await handle.truncate(this.size);
    await syncDirectory(dirname(this.file));
    return handle;
  }

  private async replace(records: () => readonly unknown[]): Promise<void> {
    const temporary = `${this.file}.new`;
    const bytes = Buffer.from(records().map(toLine).join(''));
    try {
      await mkdir(dirname(this.file), { recursive: true, mode: 0o700 });
      const handle = await this.openFile(temporary, 'w', 0o600);
      try {
        await handle.writeFile(bytes);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(temporary, this.file);
      await syncDirectory(dirname(this.file));
    } catch (e) {
      throw writeError(this.file, e);
    }
    await this.handle?.close();
    this.handle = undefined;
    this.size = bytes.length;
  }
}

async function readIfThere(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === 'ENOENT') return Buffer.alloc(0);
    throw badState(`the agent cannot read its notes of operations: ${(e as Error).message}`);
  }
}

function parseLines(bytes: Buffer): { records: unknown[]; goodBytes: number; damaged: number } {
  const records: unknown[] = [];
  let goodBytes = 0;
  let damaged = 0;
  for (let start = 0, end; (end = bytes.indexOf(0x0a, start)) >= 0; start = end + 1) {
    try {
      records.push(JSON.parse(bytes.toString('utf8', start, end)));
    } catch {
      damaged++;
    }
    goodBytes = end + 1;
  }
  return { records, goodBytes, damaged };
}

function writeError(file: string, e: unknown): ClusterError {
  const code = (e as NodeJS.ErrnoException).code;
  const full = code === 'ENOSPC' || code === 'EDQUOT';
  const why = full ? 'its disk is full; make room and try again' : `${(e as Error).message}`;
  return new ClusterError(
    full ? 'DISK_FULL' : 'INTERNAL',
    `the agent cannot note operations in ${file}: ${why}`,
    {},
    { cause: e },
  );
}

async function syncDirectory(dir: string): Promise<void> {
  const handle = await open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
