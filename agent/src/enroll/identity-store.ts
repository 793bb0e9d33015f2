/**
 * The agent's key and certificate on disk: `identity/key.pem`, made here and never sent anywhere, and `identity/identity.json`
 * with everything that the controller gave. Each file is replaced as a whole, so there is never half an identity.
 */
import { chmod, mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { badState } from '@berth/shared/errors/cluster-error.ts';
import { z } from 'zod';

const Stored = z.strictObject({
  hostId: z.string().min(1),
  hostName: z.string().min(1),
  installationId: z.string().min(1),
  certPem: z.string().min(1),
  caPem: z.string().min(1),
});
export type StoredIdentity = Readonly<z.infer<typeof Stored>>;

const directoryOf = (dataDir: string): string => join(dataDir, 'identity');
const keyFile = (dataDir: string): string => join(directoryOf(dataDir), 'key.pem');
const identityFile = (dataDir: string): string => join(directoryOf(dataDir), 'identity.json');

/** The data directory may be passed through by the account that disk tools run as; the identity may not. */
export async function prepareIdentityDir(dataDir: string): Promise<void> {
  const dir = directoryOf(dataDir);
  await onDisk(dir, async () => {
    await mkdir(dataDir, { recursive: true, mode: 0o711 });
    await mkdir(dir, { recursive: true, mode: 0o700 });
    await chmod(dir, 0o700);
  });
}

export const findKey = (dataDir: string): Promise<string | undefined> => readIfThere(keyFile(dataDir));

export const saveKey = (dataDir: string, keyPem: string): Promise<void> => replaceFile(keyFile(dataDir), keyPem);

export const saveIdentity = (dataDir: string, identity: StoredIdentity): Promise<void> =>
  replaceFile(identityFile(dataDir), `${JSON.stringify(identity, undefined, 2)}\n`);

/** @throws BAD_STATE when this host was not enrolled yet. */
export async function loadIdentity(dataDir: string): Promise<StoredIdentity & { readonly keyPem: string }> {
  const [text, keyPem] = await Promise.all([readIfThere(identityFile(dataDir)), findKey(dataDir)]);
  if (text === undefined || keyPem === undefined)
    throw badState(
      `this host is not enrolled (nothing in ${directoryOf(dataDir)}): make a token with "berth host add NAME ADDRESS" and give it to "berth-agent enroll"`,
    );
  try {
    return { ...Stored.parse(JSON.parse(text)), keyPem };
  } catch {
    throw badState(`${identityFile(dataDir)} is damaged: enrol this host again with a new token`);
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
  const temporary = `${file}.new`;
  return onDisk(file, async () => {
    const handle = await open(temporary, 'w', 0o600);
    try {
      await handle.chmod(0o600);
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  });
}

/** What the disk or its permissions refuse is for people to mend: one line. */
async function onDisk<T>(path: string, fn: () => Promise<T>): Promise<T> {
  try {
    return await fn();
  } catch (e) {
    throw badState(`the identity of this host in ${path} cannot be used: ${(e as Error).message}`);
  }
}
