/** The script for bash, run by bash: what is completed, and that nothing in a name is run. */
import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { SCRIPTS } from './scripts.ts';

/** @param offered what `berth completion words` says. @returns COMPREPLY, and what the command was asked. */
function completed(line: string, ...offered: string[]): { reply: string[]; asked: string[] } {
  const script = `berth() { shift 2; printf '?%s\\n' "$@" >&2; printf '%s\\n' "\${OFFERED[@]}"; }
OFFERED=("\${@:2}"); COMP_LINE=$1; COMP_POINT=\${#1}
${SCRIPTS.bash.replaceAll('2>/dev/null', '')}
_berth
printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = spawnSync('bash', ['-c', script, 'bash', line, ...offered], { encoding: 'utf8' });
  const lines = (text: string) => text.split('\n').filter(Boolean);
  return { reply: lines(stdout), asked: lines(stderr).map((l) => l.slice(1)) };
}

it('offers what begins as what was typed', () => {
  expect(completed('berth vm start w', 'web', 'db', 'web2')).toEqual({
    reply: ['web', 'web2'],
    asked: ['vm', 'start', 'w'],
  });
  expect(completed('berth vm start ', 'web', 'db').reply).toEqual(['web', 'db']);
});

it('runs nothing that stands in a name, and expands nothing', () => {
  const names = ['$(echo gone)', '`echo gone`', '~', '*', '$HOME', 'a b'];
  expect(completed('berth vm start ', ...names).reply).toEqual(names);
});

it('understands quotes, tags and equals signs', () => {
  expect(completed(`berth vm start 'we`, 'web', 'db').reply).toEqual(['web']);
  expect(completed('berth vm clone debian:1', 'debian:12', 'debian:13').reply).toEqual(['12', '13']);
  expect(completed('berth vm clone base web --host=h', '--host=h1').reply).toEqual(['h1']);
});
