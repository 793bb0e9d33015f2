/**
 * Reading XML as a tree of elements in their order, and writing one back: for what libvirt prints and wants to see again
 * with one thing changed. What our own specs become is written by the files beside this one, without a tree.
 */
import { XMLParser } from 'fast-xml-parser';
import { el, textEl } from './text.ts';

export interface XmlElement {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly XmlElement[];
  /** Its own text, without that of its children. */
  readonly text: string;
}

const ATTRIBUTES = ':@';
const TEXT = '#text';
const parser = new XMLParser({
  preserveOrder: true,
  ignoreAttributes: false,
  attributeNamePrefix: '',
  parseTagValue: false,
  parseAttributeValue: false,
  processEntities: true,
  ignoreDeclaration: true,
  ignorePiTags: true,
});

const NOTHING: XmlElement = { name: '', attributes: {}, children: [], text: '' };

/** The root; of what is no XML, an element without name and content. */
export function parseXml(xml: string): XmlElement {
  try {
    return elements(parser.parse(xml) as unknown)[0] ?? NOTHING;
  } catch {
    return NOTHING;
  }
}

const isRecord = (v: unknown): v is Record<string, unknown> => typeof v === 'object' && v !== null;

function elements(list: unknown): XmlElement[] {
  if (!Array.isArray(list)) return [];
  return list.filter(isRecord).flatMap((node) => {
    const name = Object.keys(node).find((k) => k !== ATTRIBUTES);
    if (name === undefined || name === TEXT) return [];
    const attributes = (node[ATTRIBUTES] ?? {}) as Record<string, string>;
    return [{ name, attributes, children: elements(node[name]), text: textOf(node[name]) }];
  });
}

const textOf = (list: unknown): string =>
  Array.isArray(list)
    ? list
        .filter(isRecord)
        .map((n) => (typeof n[TEXT] === 'string' ? n[TEXT] : ''))
        .join('')
    : '';

export const printXml = (e: XmlElement): string =>
  e.children.length === 0 && e.text !== ''
    ? textEl(e.name, e.attributes, e.text)
    : el(e.name, e.attributes, ...e.children.map(printXml));

/** The first element at this path below `e`. */
export function find(e: XmlElement | undefined, ...path: readonly string[]): XmlElement | undefined {
  const [name, ...rest] = path;
  if (name === undefined || e === undefined) return e;
  return find(
    e.children.find((c) => c.name === name),
    ...rest,
  );
}

export const findAll = (e: XmlElement | undefined, name: string): readonly XmlElement[] =>
  (e?.children ?? []).filter((c) => c.name === name);

/** An attribute of the element at this path; undefined when either is missing. */
export const attributeAt = (e: XmlElement | undefined, name: string, ...path: readonly string[]): string | undefined =>
  find(e, ...path)?.attributes[name];

/** Text of the element at this path; empty when there is none. */
export const textAt = (e: XmlElement | undefined, ...path: readonly string[]): string => find(e, ...path)?.text ?? '';

export const leaf = (name: string, attributes: Readonly<Record<string, string>> = {}): XmlElement => ({
  ...{ name, attributes, children: [] },
  text: '',
});

/** The same without its children of these names, and with others at its end. */
export const withChildren = (e: XmlElement, without: readonly string[], add: readonly XmlElement[]): XmlElement => ({
  ...e,
  children: [...e.children.filter((c) => !without.includes(c.name)), ...add],
});
