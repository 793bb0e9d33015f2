/**
 * The better-sqlite3 that this Node can run: release 12 is the last for Node 20, and dies at random under Node 24.19 and
 * later (a destructor of its old native interface needs what Node has already taken away); release 13 is built on
 * Node-API and wants Node 22. Both have the same interface. Opening a database is connection.ts's.
 */
import { createRequire } from 'node:module';
import type { Database } from 'better-sqlite3';

type Library = new (
  path: string,
  options?: { fileMustExist?: boolean; timeout?: number; readonly?: boolean },
) => Database;

/** @returns the package for this version of Node, as `process.versions.node` says it. */
export const sqlitePackage = (nodeVersion: string): string =>
  Number(nodeVersion.split('.')[0]) >= 22 ? 'better-sqlite3-napi' : 'better-sqlite3';

export const Sqlite = createRequire(import.meta.url)(sqlitePackage(process.versions.node)) as Library;
