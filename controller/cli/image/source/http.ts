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

/** Of any kind, also of those that nothing here fetches. */
export const looksLikeUrl = (text: string): boolean => /^[a-z][a-z\d+.-]*:\/\//i.test(text);

/** The last part of its path. @throws INVALID_ARGUMENT when it is no URL */
export function nameOfUrl(text: string): string {
  const { hostname, pathname } = parse(text);
  const name = decoded(pathname.split('/').at(-1) ?? '');
  return name === '' ? hostname : name.slice(0, 120);
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export async function httpSource(text: string, o: HttpOptions): Promise<ByteSource> {
  const url = parse(text);
  const silence = new Silence(o);
  try {
    return await opened(url, nameOfUrl(text), o, silence);
  } catch (e) {
    throw o.signal.aborted || !isBreak(e, silence) ? e : brokeOff(url, silence.cameBytes, e);
  } finally {
    silence.end();
  }
}

/** What fetch says of a connection is a TypeError with a cause. */
const isBreak = (e: unknown, silence: Silence): boolean =>
  silence.signal.aborted || (e instanceof TypeError && e.cause !== undefined);

async function opened(url: URL, name: string, o: HttpOptions, silence: Silence): Promise<ByteSource> {
  const first = await ask(url, silence, `bytes=0-${FIRST_PIECE - 1}`);
  if (first.status === 200) return whole(url, first, { name, o, silence });
  if (first.status === 416) throw invalidArgument(`${url.pathname} on ${url.host} is empty (0 bytes)`);
  const total = Number(/^bytes 0-\d+\/(\d+)$/.exec(first.headers.get('content-range') ?? '')?.[1] ?? NaN);
  if (first.status !== 206 || !Number.isSafeInteger(total)) throw refused(url, first);
  if (total > LARGEST) throw tooLarge(url, total);
  const begin = await beginning(first, Math.min(FIRST_PIECE, total), silence);
  const file = new RemoteFile(url, o, { total, begin, version: versionOf(first) });
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

interface Whole {
  readonly name: string;
  readonly o: HttpOptions;
  readonly silence: Silence;
}

/** Of a server that knows no ranges. */
async function whole(url: URL, r: Response, { name, o, silence }: Whole): Promise<ByteSource> {
  if (!r.body) throw invalidArgument(`nothing came from ${url.host}`);
  const announced = Number(r.headers.get('content-length') ?? NaN);
  async function* heard(): AsyncGenerator<Uint8Array> {
    for await (const bytes of r.body as unknown as AsyncIterable<Uint8Array>) {
      silence.heard(bytes.length);
      if (silence.cameBytes > LARGEST) throw tooLarge(url, silence.cameBytes);
      yield bytes;
    }
    const came = silence.cameBytes;
    if (!Number.isNaN(announced) && announced !== came) throw brokeOff(url, came, new Error('the connection ended'));
  }
  return spooled(heard(), name, o.signal);
}

/** Ends a request from which no byte comes any more. */
class Silence {
  readonly #over = new AbortController();
  readonly signal: AbortSignal;
  cameBytes = 0;
  #timer: { cancel(): void };

  constructor(private readonly o: HttpOptions) {
    this.signal = AbortSignal.any([o.signal, this.#over.signal]);
    this.#timer = this.#begin();
  }

  heard(bytes: number): void {
    this.cameBytes += bytes;
    this.#timer.cancel();
    this.#timer = this.#begin();
  }

  end(): void {
    this.#timer.cancel();
    this.#over.abort();
  }

  #begin = (): { cancel(): void } =>
    this.o.clock.after(SILENCE_MS, () => this.#over.abort(new Error(`no byte came for ${SILENCE_MS / 1000} s`)));
}

/** At most so many bytes of it, whatever the server goes on to send. */
async function beginning(r: Response, most: number, silence: Silence): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const bytes of (r.body ?? []) as AsyncIterable<Uint8Array>) {
    silence.heard(bytes.length);
    parts.push(bytes);
    if (silence.cameBytes >= most) break;
  }
  return Buffer.concat(parts).subarray(0, most);
}

/** What a server says by which two answers can be known to be of one file. */
interface Version {
  readonly etag: string | null;
  readonly modified: string | null;
}
interface Known {
  readonly total: number;
  readonly begin: Buffer;
  readonly version: Version;
}

const versionOf = ({ headers }: Response): Version => ({
  etag: headers.get('etag'),
  modified: headers.get('last-modified'),
});

/** Of two files, where both answers say it: some mirrors know one word more than others. */
const differ = (a: Version, b: Version): boolean =>
  a.etag !== null && b.etag !== null
    ? a.etag !== b.etag
    : a.modified !== null && b.modified !== null && a.modified !== b.modified;

/** For If-Range, which takes nothing weak. */
const validatorOf = ({ etag, modified }: Version): string =>
  etag === null ? (modified ?? '') : etag.startsWith('W/') ? '' : etag;

/** @throws PEER_UNAVAILABLE: this part is not of the file that was begun */
function insistSame(url: URL, r: Response, { total, version }: Known, at: number): void {
  const [, from, of] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(r.headers.get('content-range') ?? '') ?? [];
  const same = Number(from) === at && (of === '*' || Number(of) === total);
  if (!same || differ(version, versionOf(r))) throw changed(url);
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
    const silence = new Silence(this.o);
    try {
      const r = await ask(this.url, silence, `bytes=${at}-${end - 1}`, validatorOf(this.known.version));
      if (r.status === 200 || r.status === 412 || r.status === 416) throw changed(this.url);
      if (r.status >= 500 || r.status === 429) throw new Error(`the server answers ${r.status}`);
      if (r.status !== 206 || !r.body) throw refused(this.url, r);
      insistSame(this.url, r, this.known, at);
      let left = end - at;
      for await (const bytes of r.body as unknown as AsyncIterable<Uint8Array>) {
        silence.heard(bytes.length);
        const part = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, left));
        left -= part.length;
        yield part;
        if (left === 0) return;
      }
    } finally {
      silence.end();
    }
  }

  #gaveUp = (e: unknown, at: number): unknown => (e instanceof ClusterError ? e : brokeOff(this.url, at, e));
}

function brokeOff(url: URL, at: number, e: unknown): ClusterError {
  const why = e instanceof Error ? ((e.cause as Error | undefined)?.message ?? e.message) : String(e);
  return new ClusterError(
    'PEER_UNAVAILABLE',
    `${url.host} broke off after ${formatFileBytes(at)} of ${url.pathname} (${why}). Import it again`,
  );
}

const tooLarge = ({ href }: URL, bytes: number): ClusterError =>
  invalidArgument(`${href} is ${formatFileBytes(bytes)} large: too large for an image`);

const changed = (url: URL): ClusterError =>
  new ClusterError('PEER_UNAVAILABLE', `${url.pathname} on ${url.host} changed while it was read. Import it again`);

const refused = (url: URL, r: Response): ClusterError =>
  new ClusterError(
    r.status === 404 ? 'NOT_FOUND' : 'PEER_UNAVAILABLE',
    `${url.host} does not give ${url.pathname}: it answers ${r.status} ${r.statusText}`.trimEnd(),
  );

/** @throws INVALID_ARGUMENT: nobody else may read it on its way, and its own bytes must be what comes */
function insistPlain(url: URL, r: Response): void {
  const packed = r.headers.get('content-encoding') ?? 'identity';
  if (r.ok && packed !== 'identity')
    throw invalidArgument(
      `${url.host} packs ${url.pathname} on the way (${packed.slice(0, 20)}), so that its bytes cannot be counted: fetch it first, then import the file`,
    );
  if (url.protocol === 'https:' && !r.url.startsWith('https:'))
    throw invalidArgument(`${url.host} leads to ${new URL(r.url).host} without encryption: name that address yourself`);
}

async function ask(
  url: URL,
  { signal }: { readonly signal: AbortSignal },
  range: string,
  validator = '',
): Promise<Response> {
  // the bytes of the file itself are counted, so none that were packed on the way
  const headers = { range, 'accept-encoding': 'identity', ...(validator !== '' && { 'if-range': validator }) };
  try {
    const r = await fetch(url, { headers, signal });
    insistPlain(url, r);
    return r;
  } catch (e) {
    if (e instanceof ClusterError || signal.aborted) throw e;
    const { cause, message } = e as Error & { cause?: Error };
    if (range.startsWith('bytes=0-') && validator === '')
      throw new ClusterError('NOT_FOUND', `${url.host} cannot be reached: ${cause?.message || message}`);
    throw new Error(cause?.message || message, { cause: e });
  }
}
