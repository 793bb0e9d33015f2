import { expect, it } from 'vitest';
import { isUserData } from './user-data.ts';

it('is what cloud-init heeds', () => {
  const known = [
    '',
    '#cloud-config\na: b\n',
    '#!/bin/sh\n',
    '## template: jinja\n#cloud-config\n',
    'Content-Type: multipart/mixed',
  ];
  expect(known.filter((t) => !isUserData(t))).toEqual([]);
  expect(['hostname: web\n', '# cloud-config\n', '#cloud-configs', '{}'].filter(isUserData)).toEqual([]);
});
