import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { createExec } from './exec.ts';
import { describeReal, exec, tempDir } from './fixture/real.ts';

const failure = (p: Promise<unknown>): Promise<Error> =>
  p.then(
    () => new Error('did not fail'),
    (e: Error) => e,
  );

describeReal('starting a program', [], () => {
  it('gives its output, and none of our environment', async () => {
    const { stdout } = await exec.run('env', []);
    expect(stdout).toMatch(/^LC_ALL=C.UTF-8$/m);
    expect(stdout).not.toMatch(/NODE|VITEST|npm/);
  });

  it('passes arguments as they are, never through a shell', async () => {
    expect((await exec.run('echo', ['$(id)', '; rm', '*'])).stdout).toBe('$(id) ; rm *\n');
  });

  it('fails with one line: what was done, which program, why, its last word', async () => {
    const e = await failure(
      exec.run('sh', ['-c', 'echo first >&2; echo "the reason" >&2; exit 3'], { what: 'making x' }),
    );
    expect(e).toMatchObject({ reason: 'INTERNAL', message: 'making x: sh failed with code 3 (the reason)' });
  });

  it('gives output as it comes, until the program ends, or nobody reads, or the signal says so', async () => {
    const stop = new AbortController();
    const read = async (script: string, signal = stop.signal) => {
      let all = '';
      for await (const piece of exec.stream('sh', ['-c', script], { signal, what: 'reading x' })) all += piece;
      return all;
    };
    expect(await read('echo one; echo two')).toBe('one\ntwo\n');
    expect(await failure(read('echo no >&2; exit 3'))).toMatchObject({
      message: expect.stringMatching(/^reading x: /),
    });
    const pid = async (signal: AbortSignal) => {
      for await (const piece of exec.stream('sh', ['-c', 'echo $$; exec sleep 1000'], { signal })) return piece.trim();
      return '';
    };
    const left = await pid(stop.signal);
    await expect.poll(() => existsSync(`/proc/${left}/exe`), { timeout: 10_000 }).toBe(false);
    const ending = read('echo begun; exec sleep 1000');
    stop.abort();
    expect(['', 'begun\n']).toContain(await ending);
  });

  it('takes other exit codes for success where asked', async () => {
    expect((await exec.run('sh', ['-c', 'exit 2'], { okCodes: [2] })).exitCode).toBe(2);
  });

  it('names the package of a program that is missing, also when confined', async () => {
    const message = 'no-such-tool is not installed on this host; install it on this host';
    expect(await failure(exec.run('no-such-tool', []))).toMatchObject({ reason: 'UNSUPPORTED', message });
    expect(await failure(exec.runConfined('no-such-tool', []))).toMatchObject({ reason: 'UNSUPPORTED', message });
    const there = join(tempDir(), 'log');
    expect(await failure(exec.launch('no-such-tool', [], { logFile: there }))).toMatchObject({ reason: 'UNSUPPORTED' });
  });

  it('ends a program that takes too long, prints too much, or is not wanted any more', async () => {
    expect(await failure(exec.run('sleep', ['60'], { timeoutMs: 50 }))).toMatchObject({ reason: 'DEADLINE_EXCEEDED' });
    expect(await failure(exec.run('yes', [], { maxOutputBytes: 1_000 }))).toMatchObject({ reason: 'INTERNAL' });
    for (const run of [exec.run, exec.runConfined])
      expect(await failure(run('sleep', ['60'], { signal: AbortSignal.timeout(50) }))).toMatchObject({
        reason: 'CANCELLED',
      });
  });

  it('tells a full disk', async () => {
    const e = await failure(exec.run('sh', ['-c', 'echo "write error: No space left on device" >&2; exit 1']));
    expect(e).toMatchObject({ reason: 'DISK_FULL' });
  });

  it('refuses to confine without an unprivileged user', async () => {
    for (const unprivilegedUser of ['no-such-user', 'root'])
      expect(await failure(createExec({ unprivilegedUser }).runConfined('true', []))).toMatchObject({
        reason: 'UNSUPPORTED',
        message: expect.stringContaining('adduser') as string,
      });
  });
});

describeReal('a confined program', [], () => {
  const facts = async (): Promise<string> =>
    (await exec.runConfined('sh', ['-c', 'id; cat /proc/self/status /proc/self/limits; cat /proc/net/dev'])).stdout;

  it('is nobody, in no group, without capabilities or a way to get any', async () => {
    const text = await facts();
    expect(text).toMatch(/^uid=65534\(nobody\) gid=65534\(nogroup\) groups=65534\(nogroup\)$/m);
    for (const set of ['Inh', 'Prm', 'Eff', 'Bnd', 'Amb']) expect(text).toMatch(new RegExp(`^Cap${set}:\\t0+$`, 'm'));
    expect(text).toMatch(/^NoNewPrivs:\t1$/m);
  });

  it('is gone when the call is cancelled, at whatever moment of its start', async () => {
    const mark = `61.${process.pid}`;
    for (let round = 0; round < 12; round++) {
      const runs = Array.from({ length: 8 }, (_, i) =>
        failure(exec.runConfined('sleep', [mark], { signal: AbortSignal.timeout(4 + 5 * i) })),
      );
      for (const e of await Promise.all(runs)) expect(e).toMatchObject({ reason: 'CANCELLED' });
    }
    expect((await exec.run('pgrep', ['-f', `sleep ${mark}`], { okCodes: [1] })).stdout).toBe('');
  });

  it('ends in order when it is asked to, and is ended when it does not', async () => {
    const asked = async (script: string, signal?: AbortSignal) => {
      const enough = new AbortController();
      const onOutput = (text: string) => text.includes('begun') && enough.abort();
      return exec.runConfined('sh', ['-c', script], { enough: enough.signal, onOutput, ...(signal && { signal }) });
    };
    const wait = 'echo begun; while :; do sleep 0.02; done';
    expect((await asked(`trap 'echo left; exit 0' TERM; ${wait}`)).stdout).toBe('begun\nleft\n');
    expect(await failure(asked(`trap '' TERM; ${wait}`, AbortSignal.timeout(300)))).toMatchObject({
      reason: 'CANCELLED',
    });
  });

  it('has no network but an idle loopback', async () => {
    const text = await facts();
    expect(text.split('\n').filter((l) => /^ *\w+: /.test(l) && l.includes('   '))).toEqual([
      expect.stringMatching(/^ *lo: +0 /),
    ]);
  });

  it('works under limits on memory, time and files', async () => {
    const text = await facts();
    expect(text).toMatch(/^Max address space +4294967296 /m);
    expect(text).toMatch(/^Max cpu time +3600 /m);
    expect(text).toMatch(/^Max file size +1048576 /m);
    expect(text).toMatch(/^Max core file size +0 /m);
  });

  it('cannot write a larger file than allowed, nor where it has no right', async () => {
    const dir = tempDir();
    const { uid, gid } = await exec.sandboxUser();
    writeFileSync(join(dir, 'out'), '');
    await exec.run('chown', [`${uid}:${gid}`, join(dir, 'out')]);
    const write = ['if=/dev/zero', `of=${join(dir, 'out')}`, 'bs=1M', 'count=3'];
    expect(await failure(exec.runConfined('dd', write))).toMatchObject({
      meta: { stderr: expect.stringContaining('File too large') as string },
    });
    await exec.runConfined('dd', write, { limits: { fileBytes: 3 << 20 } });
    expect(await failure(exec.runConfined('touch', [join(dir, 'new')]))).toMatchObject({ reason: 'INTERNAL' });
    expect(existsSync(join(dir, 'new'))).toBe(false);
  });

  it('leaves no process of its own behind when it ends', async () => {
    await exec.runConfined('sh', ['-c', 'sleep 1234567 >/dev/null 2>&1 & exit 0']);
    const commands = readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map((pid) => {
        try {
          return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        } catch {
          return '';
        }
      });
    expect(commands).not.toContain('sleep\0' + '1234567\0');
  });
});
