/**
 * The agent's keys and certificates on disk, in one file that is replaced as a whole: `identity/credentials.json`. A key and
 * its certificate are never apart, so a crash leaves the old pair or the new one. What they are used for is
 * host-identity.ts's.
 */
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { badState, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import * as z from 'zod';

const Pair = z.strictObject({ keyPem: z.string().min(1), certPem: z.string().min(1) });
export type Pair = Readonly<z.infer<typeof Pair>>;

const Pending = z.strictObject({ attempt: z.string(), keyPem: z.string().min(1) });

const Stored = z.strictObject({
  version: z.literal(2),
  hostId: z.string().min(1),
  hostName: z.string().min(1),
  installationId: z.string().min(1),
  /** Of the join token that made this identity. */
  tokenId: z.string(),
  control: Pair,
  /** The pair before `control`, until the controller has met the new one. */
  formerControl: Pair.optional(),
  /** Absent on a host that was enrolled before there was one; the controller gives it with the first renewal. */
  transfer: Pair.optional(),
  pending: z.strictObject({ control: Pending.optional(), transfer: Pending.optional() }),
  trust: z.strictObject({
    control: z.array(z.string()).min(1),
    transfer: z.array(z.string()),
    /** Serials, lower-case hex. */
    revoked: z.array(z.string()),
  }),
});
export type StoredIdentity = Readonly<z.infer<typeof Stored>>;

/** As agents before 0.1 kept it: the key in a file of its own. */
const Legacy = z.strictObject({
  hostId: z.string().min(1),
  hostName: z.string().min(1),
  installationId: z.string().min(1),
  certPem: z.string().min(1),
  caPem: z.string().min(1),
});

const directoryOf = (dataDir: string): string => join(dataDir, 'identity');
const fileOf = (dataDir: string): string => join(directoryOf(dataDir), 'credentials.json');
const enrollingFile = (dataDir: string): string => join(directoryOf(dataDir), 'enrolling.json');
const legacyIdentity = (dataDir: string): string => join(directoryOf(dataDir), 'identity.json');
const legacyKey = (dataDir: string): string => join(directoryOf(dataDir), 'key.pem');

/** Keys that were made for a join token, until it is known what became of it. */
const Enrolling = z.strictObject({ tokenId: z.string(), controlKeyPem: z.string(), transferKeyPem: z.string() });
export type EnrollingKeys = Readonly<z.infer<typeof Enrolling>>;

/** The data directory may be passed through by the account that disk tools run as; the identity may not. */
export async function prepareIdentityDir(dataDir: string): Promise<void> {
  const dir = directoryOf(dataDir);
  await onDisk(dir, async () => {
    await mkdir(dataDir, { recursive: true, mode: 0o711 });
    await mkdir(dir, { recursive: true, mode: 0o700 });
    await chmod(dir, 0o700);
  });
}

export async function findEnrolling(dataDir: string): Promise<EnrollingKeys | undefined> {
  const text = await readIfThere(enrollingFile(dataDir));
  const read = text === undefined ? undefined : Enrolling.safeParse(parseJson(text));
  return read?.success ? read.data : undefined;
}

export const saveEnrolling = (dataDir: string, keys: EnrollingKeys): Promise<void> =>
  replaceFile(enrollingFile(dataDir), JSON.stringify(keys));

/** On disk when it resolves; what it replaces (also files of older agents) is gone then. */
export async function saveIdentity(dataDir: string, identity: StoredIdentity): Promise<void> {
  await replaceFile(fileOf(dataDir), `${JSON.stringify(identity, undefined, 2)}\n`);
  for (const old of [enrollingFile(dataDir), legacyIdentity(dataDir), legacyKey(dataDir)])
    await onDisk(old, () => rm(old, { force: true }));
}

/** @throws BAD_STATE when this host was not enrolled yet. */
export async function loadIdentity(dataDir: string): Promise<StoredIdentity> {
  const text = await readIfThere(fileOf(dataDir));
  if (text === undefined) return loadLegacy(dataDir);
  const read = Stored.safeParse(parseJson(text));
  if (read.success) return read.data;
  throw badState(`${fileOf(dataDir)} is damaged: enrol this host again (on the controller: berth host re-enroll NAME)`);
}

/** Undefined when there is none. */
export async function findIdentity(dataDir: string): Promise<StoredIdentity | undefined> {
  try {
    return await loadIdentity(dataDir);
  } catch (e) {
    if (isClusterError(e, 'BAD_STATE')) return undefined;
    throw e;
  }
}

/** Changes whenever another process has replaced the identity. */
export async function identityStamp(dataDir: string): Promise<string> {
  try {
    const { ino, mtimeMs } = await stat(fileOf(dataDir));
    return `${ino} ${mtimeMs}`;
  } catch {
    return '';
  }
}

async function loadLegacy(dataDir: string): Promise<StoredIdentity> {
  const [text, keyPem] = await Promise.all([readIfThere(legacyIdentity(dataDir)), readIfThere(legacyKey(dataDir))]);
  if (text === undefined || keyPem === undefined)
    throw badState(
      `this host is not enrolled (nothing in ${directoryOf(dataDir)}): make a token with "berth host add NAME ADDRESS" and give it to "berth-agent enroll"`,
    );
  const read = Legacy.safeParse(parseJson(text));
  if (!read.success) throw badState(`${legacyIdentity(dataDir)} is damaged: enrol this host again with a new token`);
  const { certPem, caPem, ...names } = read.data;
  return {
    version: 2,
    ...names,
    tokenId: '',
    control: { keyPem, certPem },
    pending: {},
    trust: { control: [caPem], transfer: [], revoked: [] },
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function readIfThere(file: string): Promise<string | undefined> {
  return onDisk(file, () =>
    readFile(file, 'utf8').catch((e: NodeJS.ErrnoException) => {
      if (e.code === 'ENOENT') return undefined;
      throw e;
    }),
  );
}

function replaceFile(file: string, content: string): Promise<void> {
  // each writer has its own: `berth-agent enroll` writes while the agent may be renewing
  const temporary = `${file}.${randomBytes(6).toString('hex')}.new`;
  return onDisk(file, async () => {
    try {
      await writeWhole(temporary, content);
      await rename(temporary, file);
    } finally {
      await rm(temporary, { force: true });
    }
    const dir = await open(join(file, '..'), 'r');
    await dir.sync().finally(() => dir.close());
  });
}

async function writeWhole(file: string, content: string): Promise<void> {
  const handle = await open(file, 'wx', 0o600);
  try {
    await handle.chmod(0o600);
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** What the disk or its permissions refuse is for people to mend: one line. */
async function onDisk<T>(path: string, fn: () => Promise<T>): Promise<T> {
  try {
    return await fn();
  } catch (e) {
    throw badState(`the identity of this host in ${path} cannot be used: ${(e as Error).message}`);
  }
}
