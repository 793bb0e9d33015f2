/**
 * Completion in zsh and fish, run by them; for bash see controller/cli/completion/scripts.test.ts. What zsh does itself with words
 * (compadd, _files) is said by lines; what fits comes from a command in the place of `berth`.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { SCRIPTS } from '@berth/controller/cli/completion/scripts.ts';
import { ensureShellsImage } from '@berth/deploy/lab/managed-image.ts';
import type { LabHost } from '@berth/deploy/lab/host.ts';
import { removeLab, startLab } from '@berth/deploy/lab/lab.ts';
import { describeWhereLabsRun, ownLabel, removeLeftovers } from '../harness/lab.ts';

/** Offers files after a flag or `image import`, names otherwise; some are hostile. */
const BERTH = `#!/bin/sh
case "$*" in
  *--token-file*|*"image import"*) echo :files ;;
  *) printf '%s\\n' web web2 'a b' '$(touch /w/gone)' '*' ;;
esac
`;
const ZSH = `compdef() { : }
compset() { PREFIX=\${PREFIX#*=} }
compadd() { shift; print -rl -- "$@" }
_files() { print -r -- "files $PREFIX" }
words=("\${(@)argv}"); CURRENT=$#words; PREFIX=$words[-1]
source /w/berth.zsh
_berth
`;

describeWhereLabsRun('completion', () => {
  const label = ownLabel();
  let host: LabHost;
  beforeAll(async () => {
    await removeLeftovers();
    const lab = await startLab({ hosts: ['h1'], image: await ensureShellsImage(), label });
    host = lab.host('h1');
    await host.run(['mkdir', '-p', '/w/sub']);
    for (const [name, text] of Object.entries({
      'berth.zsh': SCRIPTS.zsh,
      'drive.zsh': ZSH,
      'berth.fish': SCRIPTS.fish,
    }))
      await host.writeFile(`/w/${name}`, text);
    await host.writeFile('/usr/local/bin/berth', BERTH);
    await host.run(['sh', '-c', 'chmod 755 /usr/local/bin/berth; touch "/w/disk one" /w/sub/in']);
  }, 300_000);
  afterAll(() => removeLab(label));

  const lines = (text: string): string[] => text.split('\n').filter(Boolean);
  const zsh = async (...words: string[]) => lines(await host.run(['zsh', '-f', '/w/drive.zsh', 'berth', ...words]));
  const fish = async (typed: string) => {
    const script = 'cd /w; source berth.fish; complete -C $argv[1]';
    return lines(await host.run(['fish', '--no-config', '-c', script, typed])).map((l) => l.replace(/\t.*/, ''));
  };
  const NAMES = ['web', 'web2', 'a b', '$(touch /w/gone)', '*'];

  it('of names runs and expands nothing', async () => {
    expect(await zsh('vm', 'start', '')).toEqual(NAMES);
    expect(await fish('berth vm start ')).toEqual(expect.arrayContaining(['web', 'web2']));
    expect(await fish('berth vm start w')).toEqual(['web', 'web2']);
    expect((await host.exec(['ls', '/w/gone'])).exitCode).not.toBe(0);
  });

  it('of files also knows those behind an equals sign', async () => {
    expect(await zsh('image', 'import', 'di')).toEqual(['files di']);
    expect(await zsh('host', 'add', 'x', '1', '--token-file=su')).toEqual(['files su']);
    expect(await fish('berth image import di')).toEqual(['disk one']);
    expect(await fish('berth host add x 1 --token-file=sub/')).toEqual(['--token-file=sub/in']);
  });
});
