/**
 * Our element in a domain's `<metadata>`: which VM it is, and from which spec it was made. This is how the agent knows its
 * own domains, also after it lost its disk. A domain without it is foreign and is never touched.
 */
import { XMLParser } from 'fast-xml-parser';
import { METADATA_NAMESPACE } from '../drivers/hypervisor.ts';
import { el, textEl } from './xml/text.ts';

export interface DomainMark {
  readonly vmId: string;
  readonly specHash: string;
  readonly generation: number;
  /** Of all else in the definition: another one from the same spec was made by another version, or for another host. */
  readonly definitionHash: string;
  /** Devices whose PCI address was asked for; libvirt gives the others one too. By target, MAC address, or word. */
  readonly fixed: readonly string[];
}

const parser = new XMLParser({
  removeNSPrefix: true,
  parseTagValue: false,
  processEntities: false,
  ignoreDeclaration: true,
});

export const metadataXml = (m: DomainMark): string =>
  el(
    'berth:vm',
    { 'xmlns:berth': METADATA_NAMESPACE },
    textEl('berth:id', {}, m.vmId),
    textEl('berth:spec', {}, m.specHash),
    textEl('berth:generation', {}, m.generation),
    textEl('berth:definition', {}, m.definitionHash),
    m.fixed.length === 0 ? undefined : textEl('berth:fixed', {}, m.fixed.join(' ')),
  );

/** Each look at all domains brings the same few texts: each is read once. */
const known = new Map<string, DomainMark | undefined>();
const MOST_KNOWN = 1_024;
const LONGEST_KNOWN = 2_048;

/** Undefined when it is not ours or can't be read: such a domain is left alone. */
export function readMark(xml: string | undefined): DomainMark | undefined {
  if (xml === undefined || xml.length > LONGEST_KNOWN) return xml === undefined ? undefined : parseMark(xml);
  if (known.has(xml)) return known.get(xml);
  if (known.size >= MOST_KNOWN) known.clear();
  const mark = parseMark(xml);
  known.set(xml, mark);
  return mark;
}

function parseMark(xml: string): DomainMark | undefined {
  const root = parse(xml);
  const vm = isRecord(root?.['vm']) ? root['vm'] : root;
  const [vmId, specHash, generation] = [vm?.['id'], vm?.['spec'], vm?.['generation']];
  if (typeof vmId !== 'string' || !/^vm-[a-z0-9-]{1,60}$/.test(vmId)) return undefined;
  const text = (v: unknown): string => (typeof v === 'string' ? v : '');
  return {
    vmId,
    specHash: text(specHash),
    generation: Number(generation) || 0,
    definitionHash: text(vm?.['definition']),
    fixed: text(vm?.['fixed'])
      .split(' ')
      .filter((key) => key !== ''),
  };
}

function parse(xml: string): Record<string, unknown> | undefined {
  try {
    const parsed: unknown = parser.parse(xml);
    return isRecord(parsed) ? parsed : undefined;
  } catch {
    return undefined;
  }
}

const isRecord = (v: unknown): v is Record<string, unknown> => typeof v === 'object' && v !== null;
