import { expect, it } from 'vitest';
import { parseListen } from './display.ts';

it.each([
  ['127.0.0.1', { host: '127.0.0.1', port: 0 }],
  ['5901', { host: '127.0.0.1', port: 5901 }],
  ['0.0.0.0:5901', { host: '0.0.0.0', port: 5901 }],
  ['[::1]:5901', { host: '::1', port: 5901 }],
  ['[::1]', { host: '::1', port: 0 }],
  ['localhost:0', { host: 'localhost', port: 0 }],
])('listens on %s', (given, at) => {
  expect(parseListen(given)).toEqual(at);
});

it.each(['', ':5901', '127.0.0.1:65536', '::1', 'a b', '127.0.0.1:', '99999'])('does not listen on "%s"', (given) => {
  expect(() => parseListen(given)).toThrow(/--listen/);
});
