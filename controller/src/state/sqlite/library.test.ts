/** Which SQLite a version of Node gets. That it works is shown by every other test here. */
import { expect, test } from 'vitest';
import { Sqlite, sqlitePackage } from './library.ts';

test('Node 20 gets the last release for it, later ones the release on Node-API', () => {
  expect(sqlitePackage('20.20.2')).toBe('better-sqlite3');
  expect(sqlitePackage('22.4.0')).toBe('better-sqlite3-napi');
  expect(sqlitePackage('24.21.0')).toBe('better-sqlite3-napi');
});

test('databases and statements that nobody holds any more are collected without harm', () => {
  const db = new Sqlite(':memory:');
  for (let i = 0; i < 20_000; i++) expect(db.prepare('SELECT 1 AS one').get()).toEqual({ one: 1 });
  expect(db.close().open).toBe(false);
});
