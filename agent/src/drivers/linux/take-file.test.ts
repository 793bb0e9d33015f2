import { chownSync, existsSync } from 'node:fs';
import { chmod, link, lstat, mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { describeReal, exec, tempDir } from './fixture/real.ts';
import { openSocket, takeFile } from './take-file.ts';

describeReal('what a confined program has made', [], () => {
  async function folder(): Promise<{ dir: string; secret: string }> {
    const top = tempDir();
    const [dir, secret] = [join(top, 'theirs'), join(top, 'secret')];
    await mkdir(dir);
    await writeFile(secret, 'root', { mode: 0o600 });
    const { uid, gid } = await exec.sandboxUser();
    chownSync(dir, uid, gid);
    return { dir, secret };
  }
  const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;

  it('becomes root’s with the folder that it lies in', async () => {
    const { dir } = await folder();
    const path = join(dir, 'file');
    await writeFile(path, 'x');
    const { uid, gid } = await exec.sandboxUser();
    chownSync(path, uid, gid);
    await takeFile(path, 0o660, gid);
    expect(await stat(path)).toMatchObject({ uid: 0, gid, mode: 0o100660 });
    expect(await stat(dir)).toMatchObject({ uid: 0, gid: 0, mode: 0o40711 });
  });

  it('is refused when it is a link to somebody else’s file, of either kind, or no file at all', async () => {
    const { dir, secret } = await folder();
    const notMade = {
      reason: 'INTERNAL',
      message: expect.stringContaining('is not what a program was to make') as string,
    };
    await symlink(secret, join(dir, 'soft'));
    await link(secret, join(dir, 'hard'));
    await mkdir(join(dir, 'dir'));
    await exec.run('mkfifo', [join(dir, 'pipe')]);
    for (const name of ['soft', 'hard', 'dir', 'pipe'])
      await expect(takeFile(join(dir, name), 0o666), name).rejects.toMatchObject(notMade);
    await expect(openSocket(join(dir, 'soft'))).rejects.toMatchObject(notMade);
    expect(await modeOf(secret)).toBe(0o600);
    expect(await readFile(secret, 'utf8')).toBe('root');
  });

  it('may be connected to when it is a socket, and nothing can take its place', async () => {
    const { dir } = await folder();
    const path = join(dir, 's');
    const server = createServer();
    await new Promise<void>((done) => server.listen(path, done));
    await chmod(path, 0o600);
    await openSocket(path);
    expect((await lstat(path)).mode & 0o777).toBe(0o666);
    const { exitCode } = await exec.runConfined('rm', ['-f', path], { okCodes: [1] });
    expect([exitCode, existsSync(path)]).toEqual([1, true]);
    server.close();
  });
});
