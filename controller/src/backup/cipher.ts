/**
 * A stream under a passphrase: scrypt makes the key, AES-256-GCM seals pieces of 64 KiB. Each piece carries its number and
 * whether it is the last one in its nonce, so that pieces can't be left out, swapped or cut off. Nothing of a piece is given
 * out before it has been checked.
 */
import { createCipheriv, createDecipheriv, randomBytes, scrypt } from 'node:crypto';
import { badState, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { ByteReader } from './byte-reader.ts';

export const SEALED_MAGIC = 'BERTHBK1';
const PIECE = 64 * 1024;
const TAG = 16;
const SALT = 16;
const PREFIX = 7;
const HEADER = SEALED_MAGIC.length + 3 + SALT + PREFIX;
/** 128 MiB and some tenths of a second for each guess. */
const COST = { logN: 17, r: 8, p: 1 } as const;
/** What a file may ask for: more would be an attack on whoever reads it. */
const MOST = { logN: 20, r: 16, p: 4 } as const;

interface Sealing {
  readonly header: Buffer;
  readonly key: Buffer;
}

export async function* seal(plain: AsyncIterable<Uint8Array>, passphrase: string): AsyncGenerator<Uint8Array> {
  const cost = Buffer.from([COST.logN, COST.r, COST.p]);
  const header = Buffer.concat([Buffer.from(SEALED_MAGIC), cost, randomBytes(SALT + PREFIX)]);
  const sealing = { header, key: await keyOf(header, passphrase) };
  yield header;
  const reader = new ByteReader(plain);
  for (let n = 0; ; n++) {
    const piece = await reader.upTo(PIECE);
    const last = await reader.atEnd();
    const cipher = createCipheriv('aes-256-gcm', sealing.key, nonce(sealing, n, last)).setAAD(header);
    yield Buffer.concat([cipher.update(piece), cipher.final(), cipher.getAuthTag()]);
    if (last) return;
  }
}

/** BAD_STATE when the passphrase is another one, or the file was changed or cut. */
export async function* unseal(sealed: ByteReader, passphrase: string): AsyncGenerator<Uint8Array> {
  const header = Buffer.from(await sealed.exactly(HEADER));
  const sealing = { header, key: await keyOf(header, passphrase) };
  for (let n = 0; ; n++) {
    const piece = await sealed.upTo(PIECE + TAG);
    const last = await sealed.atEnd();
    if (piece.length < TAG) throw badState('it ends too early: it is not whole');
    yield open(sealing, piece, n, last);
    if (last) return;
  }
}

function open(sealing: Sealing, piece: Uint8Array, n: number, last: boolean): Uint8Array {
  const body = piece.subarray(0, -TAG);
  const decipher = createDecipheriv('aes-256-gcm', sealing.key, nonce(sealing, n, last)).setAAD(sealing.header);
  decipher.setAuthTag(piece.subarray(-TAG));
  try {
    return Buffer.concat([decipher.update(body), decipher.final()]);
  } catch {
    throw badState(n === 0 ? 'the passphrase is not the right one, or it is damaged' : 'it was changed or cut');
  }
}

function nonce({ header }: Sealing, n: number, last: boolean): Buffer {
  const out = Buffer.alloc(12);
  header.copy(out, 0, HEADER - PREFIX);
  out.writeUInt32BE(n, PREFIX);
  out.writeUInt8(last ? 1 : 0, PREFIX + 4);
  return out;
}

function keyOf(header: Buffer, passphrase: string): Promise<Buffer> {
  if (passphrase === '') throw invalidArgument('the passphrase is empty');
  const at = SEALED_MAGIC.length;
  const [logN, r, p] = [header[at]!, header[at + 1]!, header[at + 2]!];
  const sane = logN >= 10 && logN <= MOST.logN && r >= 1 && r <= MOST.r && p >= 1 && p <= MOST.p;
  if (!sane) throw badState('it is damaged, or of a newer version of Berth');
  const salt = header.subarray(at + 3, at + 3 + SALT);
  const cost = { N: 2 ** logN, r, p, maxmem: 256 * 2 ** logN * r };
  return new Promise((resolve, reject) =>
    scrypt(passphrase, salt, 32, cost, (e, key) => (e ? reject(e) : resolve(key))),
  );
}
