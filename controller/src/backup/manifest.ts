/** What a backup says of itself: its first file. Shape and check; no files. */
import * as z from 'zod';
import { badState } from '@berth/shared/errors/cluster-error.ts';

/** Of the archive, not of the database. A new meaning of anything in it needs a higher one. */
export const FORMAT = 1;
export const MANIFEST = 'manifest.json';
/** Parts of the data directory are below this; beside it is the configuration. */
export const DATA = 'data/';
export const CONFIG = 'controller.yaml';
/** SHA-256 (hex) of the manifest: the last file, so that a backup without it was cut. */
export const SEAL = 'manifest.sha256';
export const SEAL_BYTES = 64;
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;

const Part = z.object({
  path: z.string(),
  bytes: z.number().int().min(0),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});

const Head = z.object({ format: z.number().int(), kind: z.literal('berth-controller'), version: z.string() });

const Manifest = Head.extend({
  createdAtMs: z.number().int(),
  /** Made while the controller ran. */
  online: z.boolean(),
  database: z.object({
    schema: z.number().int(),
    installationId: z.string(),
    epoch: z.number().int(),
    revision: z.number().int(),
    /** Rows by table. */
    rows: z.record(z.string(), z.number().int()),
  }),
  parts: z.array(Part).max(10_000),
});

export type Manifest = z.output<typeof Manifest>;
export type PartRow = z.output<typeof Part>;
export type DatabaseFacts = Manifest['database'];

/** BAD_STATE for what is none, and for a newer one. */
export function parseManifest(text: string): Manifest {
  let json: unknown;
  try {
    json = JSON.parse(text);
    const head = Head.parse(json);
    if (head.format > FORMAT)
      throw badState(`it was made by Berth ${head.version} in a newer format (${head.format}): use that version`);
    return Manifest.parse(json);
  } catch (e) {
    if (e instanceof SyntaxError || e instanceof z.ZodError) throw badState('its manifest is damaged', {}, e);
    throw e;
  }
}
