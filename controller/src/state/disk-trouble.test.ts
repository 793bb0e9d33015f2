import { describe, expect, it } from 'vitest';
import { badState } from '@berth/shared/errors/cluster-error.ts';
import { diskTrouble } from './disk-trouble.ts';

const coded = (code: string, message = 'x') => Object.assign(new Error(message), { code });

describe('a disk in trouble', () => {
  it.each(['ENOSPC', 'EDQUOT', 'SQLITE_FULL'])('is full, in words (%s)', (code) => {
    const said = diskTrouble(badState('wrapped', {}, coded(code)), '/var/lib/berth');
    expect(said?.reason).toBe('DISK_FULL');
    expect(said?.message).toMatch(
      /^no room is left on the disk of \/var\/lib\/berth: make room there .*then start again/,
    );
  });
  it('is broken, in words', () => {
    const said = diskTrouble(coded('SQLITE_IOERR_WRITE', 'disk I/O error'), '/var/lib/berth');
    expect(said?.message).toMatch(/can't be read or written \(disk I\/O error, SQLITE_IOERR_WRITE\)/);
  });
  it('is not blamed for anything else', () => expect(diskTrouble(coded('EACCES'), '/x')).toBeUndefined());
});
