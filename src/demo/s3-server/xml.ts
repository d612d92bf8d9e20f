/** The little XML that S3 speaks. */
import { S3Error } from './s3-error.ts';

/** An element: text, children, or the same element several times. Absent values are left out. */
type XmlContent = string | number | boolean | undefined | XmlElements | readonly XmlElements[];

/** Children by name. */
export interface XmlElements {
  readonly [name: string]: XmlContent;
}

const entities: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };
const escapes: Readonly<Record<string, string>> = { '<': '&lt;', '>': '&gt;', '&': '&amp;', '"': '&quot;', "'": '&apos;' };

/** Writes a document. */
export function writeXml(name: string, content: XmlElements): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n${element(name, content)}`;
}

/** Reads every `<name>` of a request with its plain children, such as the parts of CompleteMultipartUpload. @throws S3Error MalformedXML */
export function readXmlList(text: string, name: string): ReadonlyMap<string, string>[] {
  const found: ReadonlyMap<string, string>[] = [];
  for (const [, inner = ''] of text.matchAll(new RegExp(`<${name}>(.*?)</${name}>`, 'gs'))) found.push(childrenOf(inner));
  if (found.length === 0) throw new S3Error('MalformedXML', `The document has no <${name}>.`);
  return found;
}

function childrenOf(inner: string): ReadonlyMap<string, string> {
  return new Map([...inner.matchAll(/<(\w+)>([^<]*)<\/\1>/g)].map(([, name = '', text = '']) => [name, unescapeXml(text)]));
}

function element(name: string, content: XmlContent): string {
  if (content === undefined) return '';
  if (Array.isArray(content)) return content.map((one: XmlElements) => element(name, one)).join('');
  return `<${name}>${inside(content)}</${name}>`;
}

function inside(content: XmlContent): string {
  if (typeof content !== 'object') return String(content).replace(/[<>&"']/g, (character) => escapes[character] ?? character);
  return Object.entries(content)
    .map(([name, child]) => element(name, child))
    .join('');
}

function unescapeXml(text: string): string {
  return text.replace(/&(#x[0-9a-fA-F]+|#\d+|\w+);/g, (whole, entity: string) => {
    if (entity.startsWith('#x')) return String.fromCodePoint(Number.parseInt(entity.slice(2), 16));
    if (entity.startsWith('#')) return String.fromCodePoint(Number(entity.slice(1)));
    return entities[entity] ?? whole;
  });
}
