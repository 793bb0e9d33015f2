/**
 * What the simulated hypervisor reads from domain XML: enough to list a domain and to let it boot. Strict about form, as
 * libvirt is; everything that it doesn't know is kept, not judged.
 */
import { XMLParser, XMLValidator } from 'fast-xml-parser';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { METADATA_NAMESPACE } from '../hypervisor.ts';

const parser = new XMLParser({ parseTagValue: false, processEntities: false });
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const UNITS: Readonly<Record<string, number>> = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, b: 1, bytes: 1 };

/** Who it is. INVALID_ARGUMENT for what is no definition of a domain. */
export function identityOf(xml: string): { readonly uuid: string; readonly name: string } {
  const valid = XMLValidator.validate(xml);
  if (valid !== true) throw invalidArgument(`the domain's XML is malformed: ${valid.err.msg} (line ${valid.err.line})`);
  const { domain } = parser.parse(xml) as { domain?: { uuid?: unknown; name?: unknown } };
  if (typeof domain !== 'object') throw invalidArgument("the domain's XML has no <domain> element");
  const { uuid, name } = domain;
  if (typeof name !== 'string' || name === '') throw invalidArgument("the domain's XML has no name");
  if (typeof uuid !== 'string' || !UUID.test(uuid)) throw invalidArgument(`the XML of domain ${name} has no UUID`);
  return { uuid: uuid.toLowerCase(), name };
}

const text = (xml: string, tag: string): string => new RegExp(`<${tag}[^>]*>([^<]*)</${tag}>`).exec(xml)?.[1] ?? '';

export interface SimSizes {
  readonly memoryBytes: number;
  readonly vcpus: number;
  /** Up to which they may be raised while it runs. */
  readonly mostMemoryBytes: number;
  readonly mostVcpus: number;
}

export function sizesOf(xml: string): SimSizes {
  const mostMemoryBytes = bytesIn(xml, 'memory');
  const mostVcpus = Number(text(xml, 'vcpu')) || 1;
  const current = /<vcpu [^>]*current=['"](\d+)['"]/.exec(xml)?.[1];
  return {
    memoryBytes: bytesIn(xml, 'currentMemory') || mostMemoryBytes,
    vcpus: current === undefined ? mostVcpus : Number(current),
    ...{ mostMemoryBytes, mostVcpus },
  };
}

function bytesIn(xml: string, tag: string): number {
  const unit = new RegExp(`<${tag} unit=['"](\\w+)['"]`).exec(xml)?.[1] ?? 'KiB';
  return Number(text(xml, tag)) * (UNITS[unit] ?? 1024);
}

/** Our own element, as libvirt would give it back. */
export function metadataOf(xml: string): string | undefined {
  const inner = /<metadata>([\s\S]*?)<\/metadata>/.exec(xml)?.[1]?.trim();
  return inner?.includes(METADATA_NAMESPACE) ? inner : undefined;
}

export const serialLogOf = (xml: string): string | undefined => /<log file=['"]([^'"]+)['"]/.exec(xml)?.[1];
