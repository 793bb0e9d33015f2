/**
 * A file behind a URL, fetched by this command, with the rights of who runs it: no host of Berth's opens an address that somebody
 * names. Read in pieces where the server can, so that a break is gone over; else it is saved here first.
 */
import { ClusterError, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { formatFileBytes } from '@berth/shared/units/bytes.ts';
import { spooled } from './spool.ts';
import type { ByteSource } from './source.ts';

export interface HttpOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Without a byte for so long, a try is given up. */
const SILENCE_MS = 30_000;
const MOST_TRIES = 6;
const FIRST_PIECE = 128 * 1024;
const LARGEST = 16 * 1024 ** 4;

export const isUrl = (text: string): boolean => /^https?:\/\//i.test(text);

/** The last part of its path. */
export function nameOfUrl(text: string): string {
  const name = decodeURIComponent(new URL(text).pathname.split('/').at(-1) ?? '');
  return name === '' ? new URL(text).hostname : name.slice(0, 120);
}

export async function httpSource(text: string, o: HttpOptions): Promise<ByteSource> {
  const url = parse(text);
  const first = await ask(url, o, `bytes=0-${FIRST_PIECE - 1}`);
  const name = nameOfUrl(text);
  if (first.status === 200) return whole(first, name, o);
  const total = Number(/^bytes 0-\d+\/(\d+)$/.exec(first.headers.get('content-range') ?? '')?.[1] ?? NaN);
  if (first.status !== 206 || !Number.isSafeInteger(total)) throw refused(url, first);
  if (total > LARGEST) throw invalidArgument(`${text} is ${formatFileBytes(total)} large: too large for an image`);
  const begin = Buffer.from(await first.arrayBuffer());
  const validator = first.headers.get('etag') ?? first.headers.get('last-modified') ?? '';
  const file = new RemoteFile(url, o, { total, begin, validator: validator.startsWith('W/') ? '' : validator });
  return {
    ...{ name, sizeBytes: total, allocatedBytes: total },
    read: (offset, length) => file.read(offset, length),
    stream: () => file.stream(),
    close: async () => undefined,
  };
}

function parse(text: string): URL {
  try {
    const url = new URL(text);
    if (url.username === '' && url.password === '') return url;
  } catch {
    throw invalidArgument(`${text.slice(0, 200)} is no URL`);
  }
  throw invalidArgument(
    'a password in a command line can be seen by everybody here: fetch it first, then import the file',
  );
}

/** A server that knows no ranges. */
async function whole(r: Response, name: string, o: HttpOptions): Promise<ByteSource> {
  if (!r.body) throw invalidArgument(`nothing came from ${r.url}`);
  const announced = Number(r.headers.get('content-length') ?? NaN);
  const file = await spooled(r.body as unknown as AsyncIterable<Uint8Array>, name, o.signal);
  if (Number.isNaN(announced) || announced === file.sizeBytes) return file;
  await file.close();
  throw new ClusterError('PEER_UNAVAILABLE', `${r.url} broke off after ${formatFileBytes(file.sizeBytes)}. Try again`);
}

interface Known {
  readonly total: number;
  readonly begin: Buffer;
  readonly validator: string;
}

class RemoteFile {
  constructor(
    private readonly url: URL,
    private readonly o: HttpOptions,
    private readonly known: Known,
  ) {}

  async read(offset: number, length: number): Promise<Buffer> {
    const { begin, total } = this.known;
    const end = Math.min(offset + length, total);
    if (end <= offset) return Buffer.alloc(0);
    if (end <= begin.length) return begin.subarray(offset, end);
    const parts: Buffer[] = [];
    for await (const bytes of this.#from(offset, end)) parts.push(bytes);
    return Buffer.concat(parts);
  }

  stream = (): AsyncIterable<Buffer> => this.#from(0, this.known.total);

  /** Goes on where it broke off; gives up when nothing comes any more. */
  async *#from(begin: number, end: number): AsyncGenerator<Buffer> {
    let at = begin;
    for (let failed = 0; at < end;) {
      try {
        for await (const bytes of this.#once(at, end)) {
          at += bytes.length;
          failed = 0;
          yield bytes;
        }
        if (at < end) throw new Error('the connection ended');
      } catch (e) {
        this.o.signal.throwIfAborted();
        if (e instanceof ClusterError || ++failed >= MOST_TRIES) throw this.#gaveUp(e, at);
        await this.o.clock.sleep(Math.min(10_000, 250 * 2 ** failed), this.o.signal);
      }
    }
  }

  async *#once(at: number, end: number): AsyncGenerator<Buffer> {
    const over = new AbortController();
    const silent = (): unknown => this.o.clock.after(SILENCE_MS, () => over.abort(new Error('no bytes came')));
    let timer = silent() as { cancel(): void };
    try {
      const r = await ask(
        this.url,
        { ...this.o, signal: AbortSignal.any([this.o.signal, over.signal]) },
        `bytes=${at}-${end - 1}`,
        this.known.validator,
      );
      if (r.status === 200 || r.status === 412 || r.status === 416) throw changed(this.url);
      if (r.status >= 500 || r.status === 429) throw new Error(`the server answers ${r.status}`);
      if (r.status !== 206 || !r.body) throw refused(this.url, r);
      if (!r.headers.get('content-range')?.startsWith(`bytes ${at}-`)) throw changed(this.url);
      let left = end - at;
      for await (const bytes of r.body as unknown as AsyncIterable<Uint8Array>) {
        timer.cancel();
        timer = silent() as { cancel(): void };
        const part = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, left));
        left -= part.length;
        yield part;
        if (left === 0) return;
      }
    } finally {
      timer.cancel();
      over.abort();
    }
  }

  #gaveUp(e: unknown, at: number): unknown {
    if (e instanceof ClusterError) return e;
    const why = e instanceof Error ? e.message : String(e);
    return new ClusterError(
      'PEER_UNAVAILABLE',
      `${this.url.host} broke off after ${formatFileBytes(at)} (${why}). Import it again`,
    );
  }
}

const changed = (url: URL): ClusterError =>
  new ClusterError('PEER_UNAVAILABLE', `${url.pathname} on ${url.host} changed while it was read. Import it again`);

const refused = (url: URL, r: Response): ClusterError =>
  new ClusterError(
    r.status === 404 ? 'NOT_FOUND' : 'PEER_UNAVAILABLE',
    `${url.host} does not give ${url.pathname}: it answers ${r.status} ${r.statusText}`.trimEnd(),
  );

async function ask(url: URL, { signal }: HttpOptions, range: string, validator = ''): Promise<Response> {
  // the bytes of the file itself are counted, so none that were packed on the way
  const headers = { range, 'accept-encoding': 'identity', ...(validator !== '' && { 'if-range': validator }) };
  try {
    const r = await fetch(url, { headers, signal });
    if (url.protocol === 'https:' && !r.url.startsWith('https:'))
      throw invalidArgument(
        `${url.host} leads to ${new URL(r.url).host} without encryption: name that address yourself`,
      );
    return r;
  } catch (e) {
    if (e instanceof ClusterError || signal.aborted) throw e;
    const { cause, message } = e as Error & { cause?: Error };
    if (range.startsWith('bytes=0-') && validator === '')
      throw new ClusterError('NOT_FOUND', `${url.host} cannot be reached: ${cause?.message || message}`);
    throw new Error(cause?.message || message, { cause: e });
  }
}
