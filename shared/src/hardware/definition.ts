/**
 * A VM's definition as it is asked for and shown: with the names of images, and with whatever was left unsaid left out. Its
 * schema, its form for people and its form on the wire. What Berth makes of it (ids, defaults, targets) is the controller's.
 */
import * as z from 'zod';
import { IDENTITIES, RUN_POLICIES } from '../model/vm.ts';
import { CDROM_BUSES, diskOptionsSchema, hardwareSchema, NIC_MODELS, nicOptionsSchema, type Frozen } from './schema.ts';
import { bytes, memory, MOST_VCPUS, oneOf, whole, word } from './values.ts';

const MIB = 2 ** 20;
const TIB = 2 ** 40;

const name = z.string().max(120);
const target = z.string().max(8).optional();

const diskSchema = z.strictObject({
  target,
  sizeBytes: bytes(MIB, 64 * TIB).optional(),
  image: name.optional(),
  pool: name.optional(),
  ...diskOptionsSchema.shape,
});
const nicSchema = z.strictObject({
  mac: name.optional(),
  bridge: name.optional(),
  network: name.optional(),
  model: oneOf(NIC_MODELS).optional(),
  address: name.optional(),
  gateway: name.optional(),
  dns: z.array(name).max(8).optional(),
  ...nicOptionsSchema.shape,
});
const cdromSchema = z.strictObject({ target, bus: oneOf(CDROM_BUSES).optional(), image: name.optional() });

const graphics = hardwareSchema.shape.graphics.unwrap();
/** In answers it is told that there is a password; false takes it away. */
const graphicsSchema = graphics.element.extend({ passwordSet: z.boolean().optional() });

export const definitionSchema = z.strictObject({
  vcpus: whole(1, MOST_VCPUS).optional(),
  memoryBytes: memory.optional(),
  runPolicy: oneOf(RUN_POLICIES).optional(),
  osVariant: word().optional(),
  identity: oneOf(IDENTITIES).optional(),
  disks: z.array(diskSchema).max(25).optional(),
  cdroms: z.array(cdromSchema).max(8).optional(),
  nics: z.array(nicSchema).max(25).optional(),
  sshKeys: z.array(z.string().max(16_384)).max(100).optional(),
  userData: z.string().optional(),
  firstBoot: z.string().max(65_536).optional(),
  ...hardwareSchema.shape,
  graphics: z.array(graphicsSchema).max(2).optional(),
});

export type VmDefinition = Frozen<z.output<typeof definitionSchema>>;
export type DiskDefinition = NonNullable<VmDefinition['disks']>[number];
export type NicDefinition = NonNullable<VmDefinition['nics']>[number];
export type CdromDefinition = NonNullable<VmDefinition['cdroms']>[number];

/** Of a definition, what its hardware is. */
export const HARDWARE_FIELDS: readonly string[] = Object.keys(hardwareSchema.shape);

/** `{a: undefined}` is `{}`: what is not said is not there. */
export function said<T extends object>(o: T): T {
  return Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined)) as T;
}

/** @param keep which fields. */
export function pick(o: object, keep: (key: string) => boolean): Record<string, unknown> {
  return Object.fromEntries(Object.entries(o).filter(([k, v]) => v !== undefined && keep(k)));
}
