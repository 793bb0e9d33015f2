import { describe, expect, it } from 'vitest';
import { commandsFor, NOUNS } from '../commands.ts';
import { candidates } from './candidates.ts';

const nouns = Object.keys(NOUNS);
const commands = await commandsFor(nouns);
const at = (...words: string[]) => candidates(commands, nouns, words);

describe('completion', () => {
  it('offers nouns, then verbs', () => {
    expect(at('').words).toContain('vm');
    expect(at('').words).toContain('login');
    expect(at('vm', '').words).toContain('clone');
    expect(at('vm', 'cl').words).toContain('clone');
  });
  it('offers names of objects where they fit', () => {
    expect(at('vm', 'start', '').kind).toBe('vm');
    expect(at('vm', 'start', 'web', '').kind).toBe('vm');
    expect(at('vm', 'clone', '').kind).toBe('image');
    expect(at('vm', 'clone', 'base', '').kind).toBeUndefined();
    expect(at('image', 'import', '').kind).toBe('file');
  });
  it('offers flags, and what their values may be', () => {
    expect(at('vm', 'clone', '--d').words).toContain('--disk-size');
    expect(at('vm', 'clone', 'base', 'web', '--host', '').kind).toBe('host');
    expect(at('vm', 'list', '-o', '').words).toContain('json');
  });
  it('offers values behind an equals sign, too', () => {
    expect(at('vm', 'clone', 'base', 'web', '--host=h')).toEqual({ words: [], kind: 'host', prefix: '--host=' });
    expect(at('vm', 'clone', '--no-wait=').prefix).toBeUndefined();
  });
  it('offers the words that an argument may be', () => {
    expect(at('user', 'grant', 'ann', '').words).toEqual(['metrics', 'viewer', 'operator', 'admin']);
    expect(at('completion', '').words).toEqual(['bash', 'zsh', 'fish']);
  });
  it('offers contexts, and goes on after one', () => {
    expect(at('--context', '').kind).toBe('context');
    expect(at('--context', 'lab', 'vm', 'start', '').kind).toBe('vm');
    expect(at('--context', 'lab', '').words).toContain('vm');
  });
  it('does not count the values of flags as names', () => {
    expect(at('vm', 'clone', '--host', 'h1', '').kind).toBe('image');
  });
  it('offers nothing for what does not exist', () => {
    expect(at('nonsense', 'x', '')).toEqual({ words: [] });
  });
});
