/**
 * One guestfish, talked to through its standard input: a confined process that boots a small appliance with the guest's disk, and
 * nothing else of the host, in it. Whatever is wrong with the disk happens inside the appliance. Knows no guests.
 */
import type { Readable, Writable } from 'node:stream';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { newSecret } from '@berth/shared/runtime/random.ts';
import type { Exec } from '../exec.ts';

export interface GuestfishOptions {
  /** Where it keeps its sockets and caches: the unprivileged user's. */
  readonly dir: string;
  /** Made by appliance.ts. */
  readonly appliance: string;
  /** A qcow2 that the unprivileged user may write to. */
  readonly disk: string;
  /** Group of /dev/kvm where guests have KVM; undefined: it emulates. */
  readonly kvmGroup: number | undefined;
  readonly signal: AbortSignal;
  /** Begins the text of errors. */
  readonly what: string;
}

/** Under emulation on a busy machine a minute passes until it is there. */
const LIMIT_MS = 15 * 60_000;
const CPU_SECONDS = 15 * 60;
const APPLIANCE_MIB = 512;
/** Of one answer. */
const MAX_ANSWER_BYTES = 4 * 2 ** 20;
/** What an edit may write, its own caches included. */
const MAX_FILE_BYTES = 2 ** 30;

export class Guestfish {
  private heard = Buffer.alloc(0);
  private wake: () => void = () => undefined;
  private stdin!: Writable;
  private readonly mark = `berth-${newSecret().slice(0, 20)}`;
  private readonly ended: Promise<unknown>;
  private over = false;
  private readonly enough = new AbortController();

  constructor(exec: Exec, o: GuestfishOptions) {
    const accelerated = o.kvmGroup !== undefined;
    this.ended = exec
      .runConfined('guestfish', [], {
        signal: AbortSignal.any([o.signal, this.enough.signal]),
        timeoutMs: LIMIT_MS,
        what: o.what,
        env: environment(o, accelerated),
        converse: (stdin, stdout) => this.connect(stdin, stdout),
        limits: {
          cpuSeconds: CPU_SECONDS,
          fileBytes: MAX_FILE_BYTES,
          ...(o.kvmGroup !== undefined && { groups: [o.kvmGroup] }),
        },
      })
      .finally(() => {
        this.over = true;
        this.wake();
      });
    this.ended.catch(() => undefined);
  }

  /** @param commands each one line; one that begins with - may fail. Answers what they print. */
  async ask(...commands: readonly string[]): Promise<Buffer> {
    await this.say(`${[...commands, `echo ${this.mark}`].join('\n')}\n`);
    const end = Buffer.from(`${this.mark}\n`);
    for (;;) {
      const at = this.heard.indexOf(end);
      if (at >= 0) {
        const answer = this.heard.subarray(0, at);
        this.heard = this.heard.subarray(at + end.length);
        return answer;
      }
      if (this.heard.length > MAX_ANSWER_BYTES)
        throw new ClusterError('BAD_STATE', 'the guest has a file that is too large');
      if (this.over) {
        await this.ended;
        throw new ClusterError('INTERNAL', 'guestfish ended before its time');
      }
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
  }

  async lines(command: string): Promise<string[]> {
    return (await this.ask(command))
      .toString('utf8')
      .split('\n')
      .filter((l) => l !== '');
  }

  /** What was written is on the disk, and the appliance is down. */
  async end(): Promise<void> {
    await this.ask('sync', 'umount-all', 'shutdown');
    this.stdin.end();
    await this.ended;
  }

  /** Kills it, whatever it does. */
  abandon(): Promise<void> {
    this.enough.abort();
    return this.ended.then(
      () => undefined,
      () => undefined,
    );
  }

  private connect(stdin: Writable, stdout: Readable): void {
    this.stdin = stdin;
    // it may end at any time; `ended` says why
    stdin.on('error', () => undefined);
    stdout.on('data', (piece: Buffer | string) => {
      this.heard = Buffer.concat([this.heard, Buffer.from(piece)]);
      this.wake();
    });
  }

  /** The process is started in a moment of its own. */
  private async say(text: string): Promise<void> {
    while (this.stdin === undefined && !this.over) await new Promise((resolve) => setImmediate(resolve));
    this.stdin?.write(text);
  }
}

const environment = (o: GuestfishOptions, accelerated: boolean): Record<string, string> => ({
  HOME: o.dir,
  TMPDIR: o.dir,
  XDG_RUNTIME_DIR: o.dir,
  LIBGUESTFS_CACHEDIR: o.dir,
  LIBGUESTFS_PATH: o.appliance,
  LIBGUESTFS_BACKEND: 'direct',
  LIBGUESTFS_BACKEND_SETTINGS: accelerated ? '' : 'force_tcg',
  LIBGUESTFS_MEMSIZE: String(APPLIANCE_MIB),
});

/** A word of guestfish's language: whatever is in it means itself. */
export function quote(text: string): string {
  if (text.includes('\0')) throw new ClusterError('INVALID_ARGUMENT', 'text for a guest has zero bytes in it');
  const escapes: Readonly<Record<string, string>> = { '\\': '\\\\', '"': '\\"', '\n': '\\n', '\r': '\\r', '\t': '\\t' };
  return `"${text.replace(/[\\"\n\r\t]/g, (c) => escapes[c]!)}"`;
}
