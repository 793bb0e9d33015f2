/**
 * A small ISO 9660 file system with Joliet names (ECMA-119; Joliet specification), made in memory: what a NoCloud seed needs,
 * one directory with a few small files. Pure and deterministic: the same files give the same bytes. Not for reading, and not
 * for large or nested trees.
 */

const SECTOR = 2048;
/** System area, then the two volume descriptors and their terminator, then four path tables. */
const PRIMARY = 16;
const JOLIET = 17;
const TERMINATOR = 18;
const PATH_TABLES = 19;
const DIRECTORIES = 23;
/** A root directory is all that a path table names. */
const PATH_TABLE_BYTES = 10;

interface FileAt {
  readonly name: string;
  readonly data: Buffer;
  readonly sector: number;
}

type Naming = (name: string) => Buffer;
/** `meta-data` → `META-DATA.;1`; systems without Joliet show it as `meta-data` again. */
const primaryName: Naming = (name) => Buffer.from(`${name.toUpperCase()}${name.includes('.') ? '' : '.'};1`, 'latin1');
const jolietName: Naming = (name) => ucs2(name);

/**
 * @param files file name → content. Names of up to 64 characters of [a-z0-9._-].
 * @param label volume label of up to 16 characters.
 */
export function isoImage(files: Readonly<Record<string, string>>, label: string): Buffer {
  const names = Object.keys(files).sort();
  const directorySectors = sectors(directoryBytes(names, jolietName));
  const at = place(names, files, DIRECTORIES + 2 * directorySectors);
  const end = at.reduce((n, f) => Math.max(n, f.sector + sectors(f.data.length)), DIRECTORIES + 2 * directorySectors);
  const image = Buffer.alloc(end * SECTOR);
  const put = (sector: number, data: Buffer): void => void data.copy(image, sector * SECTOR);
  const volumes = [
    { joliet: false, descriptor: PRIMARY, tables: PATH_TABLES, root: DIRECTORIES, naming: primaryName },
    {
      joliet: true,
      descriptor: JOLIET,
      tables: PATH_TABLES + 2,
      root: DIRECTORIES + directorySectors,
      naming: jolietName,
    },
  ];
  for (const v of volumes) {
    const directory = directoryOf(at, v.root, directorySectors, v.naming);
    put(v.descriptor, descriptor({ ...v, label, sectors: end, directoryBytes: directory.length }));
    put(v.tables, pathTable(v.root, false));
    put(v.tables + 1, pathTable(v.root, true));
    put(v.root, directory);
  }
  put(TERMINATOR, Buffer.concat([Buffer.from([255]), Buffer.from('CD001'), Buffer.from([1])]));
  for (const f of at) put(f.sector, f.data);
  return image;
}

const sectors = (bytes: number): number => Math.ceil(bytes / SECTOR);

function place(names: readonly string[], files: Readonly<Record<string, string>>, first: number): FileAt[] {
  let sector = first;
  return names.map((name) => {
    const data = Buffer.from(files[name] ?? '');
    const at = { name, data, sector };
    sector += sectors(data.length);
    return at;
  });
}

function descriptor(v: {
  joliet: boolean;
  label: string;
  sectors: number;
  tables: number;
  root: number;
  directoryBytes: number;
}): Buffer {
  const d = Buffer.alloc(SECTOR);
  const text = (offset: number, length: number, s: string): void => {
    if (!v.joliet) d.write(s.padEnd(length), offset, length, 'latin1');
    else ucs2(s.padEnd(Math.floor(length / 2))).copy(d, offset);
  };
  d[0] = v.joliet ? 2 : 1;
  d.write('CD001', 1, 'latin1');
  d[6] = 1;
  text(8, 32, '');
  text(40, 32, v.label);
  both32(d, 80, v.sectors);
  if (v.joliet) d.write('%/E', 88, 'latin1'); // UCS-2 level 3
  both16(d, 120, 1);
  both16(d, 124, 1);
  both16(d, 128, SECTOR);
  both32(d, 132, PATH_TABLE_BYTES);
  d.writeUInt32LE(v.tables, 140);
  d.writeUInt32BE(v.tables + 1, 148);
  record(Buffer.from([0]), v.root, v.directoryBytes, true).copy(d, 156);
  text(190, 623, '');
  for (const offset of [813, 830, 847, 864]) d.write('0'.repeat(16), offset, 'latin1'); // no dates: same bytes for same files
  d[881] = 1;
  return d;
}

function pathTable(root: number, bigEndian: boolean): Buffer {
  const t = Buffer.alloc(PATH_TABLE_BYTES);
  t[0] = 1;
  if (bigEndian) t.writeUInt32BE(root, 2);
  else t.writeUInt32LE(root, 2);
  if (bigEndian) t.writeUInt16BE(1, 6);
  else t.writeUInt16LE(1, 6);
  return t;
}

function directoryOf(files: readonly FileAt[], root: number, count: number, naming: Naming): Buffer {
  const bytes = count * SECTOR;
  const records = [
    record(Buffer.from([0]), root, bytes, true),
    record(Buffer.from([1]), root, bytes, true),
    ...files.map((f) => record(naming(f.name), f.sector, f.data.length, false)),
  ];
  const d = Buffer.alloc(bytes);
  let offset = 0;
  for (const r of records) {
    offset = fit(offset, r.length);
    r.copy(d, offset);
    offset += r.length;
  }
  return d;
}

/** What a directory takes; Joliet names are the longer ones. */
function directoryBytes(names: readonly string[], naming: Naming): number {
  return names.reduce((offset, name) => {
    const length = record(naming(name), 0, 0, false).length;
    return fit(offset, length) + length;
  }, 68);
}

/** A record does not cross the end of a sector. */
const fit = (offset: number, length: number): number =>
  (offset % SECTOR) + length > SECTOR ? sectors(offset) * SECTOR : offset;

function record(name: Buffer, sector: number, bytes: number, directory: boolean): Buffer {
  const length = 33 + name.length + (name.length % 2 === 0 ? 1 : 0);
  const r = Buffer.alloc(length);
  r[0] = length;
  both32(r, 2, sector);
  both32(r, 10, bytes);
  Buffer.from([70, 1, 1, 0, 0, 0, 0]).copy(r, 18); // 1970-01-01
  r[25] = directory ? 2 : 0;
  both16(r, 28, 1);
  r[32] = name.length;
  name.copy(r, 33);
  return r;
}

function both32(b: Buffer, offset: number, n: number): void {
  b.writeUInt32LE(n, offset);
  b.writeUInt32BE(n, offset + 4);
}

function both16(b: Buffer, offset: number, n: number): void {
  b.writeUInt16LE(n, offset);
  b.writeUInt16BE(n, offset + 2);
}

/** Big-endian UCS-2, as Joliet wants it. */
const ucs2 = (s: string): Buffer => Buffer.from(s, 'utf16le').swap16();
