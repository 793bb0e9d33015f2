import { expect, it } from 'vitest';
import { finding, inWords } from './serial-check.ts';

it.each([
  ['', 'nothing'],
  ['\r\n \r\n', 'nothing'],
  ['SeaBIOS (version 1.16.2)\r\niPXE (http://ipxe.org)\r\nBooting from Hard Disk...\r\n', 'firmware'],
  ['GRUB loading..\r\nWelcome to GRUB!\r\n', 'firmware'],
  ['SeaBIOS (version 1.16.2)\n[    0.000000] Linux version 6.1.0\n[    2.1] random: crng init done\n', 'kernel'],
  ['[    0.000000] Linux version 6.1.0\r\n\r\nDebian GNU/Linux 12 web ttyS0\r\n\r\nweb login: ', 'login'],
  ['[    0.000000] Linux version 6.1.0\r\nroot@web:~# ', 'login'],
  ['web login: root\nPassword:\nSeaBIOS (version 1.16.2)\nLinux version 6.1.0\n[    1.000000] up\n', 'kernel'],
  ['[    0.000000] Linux version 6.1.0\r\nweb# \x1b[6n', 'login'],
  ['berth-guest: web up 2 s\r\n\r\n[me@web ~]$ ', 'login'],
  ['hello from my unikernel\r\n', 'something'],
])('is judged by what was printed since the last boot: %j', (text, expected) => {
  expect(finding(text)).toBe(expected);
});

it('names the files to change where nothing, or no login, was seen', () => {
  expect(inWords('web', '', 0)).toMatch(/never printed.*\n.*console=ttyS0.*\n.*serial-getty@ttyS0.*securetty/);
  expect(inWords('web', '[    0.000000] Linux version 6', 30)).toMatch(/no login was seen.*\n.*serial-getty@ttyS0/);
  expect(inWords('web', '', 0)).toContain('berth vm stop web, then berth vm customize web --serial-login');
  expect(inWords('web', 'web login: ', 11)).toBe(
    'web has printed 11 bytes and shows a login or a shell: berth vm console web',
  );
});
