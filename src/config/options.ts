/** The options of walkback.yaml as a list, read from the schema: for the environment, for hints, and for the docs. */
import { z } from 'zod';
import { configurationSchema } from './schema.ts';

/** One option. */
export interface ConfigurationOption {
  /** From the root of the file; `*` stands for the name of a cluster. */
  readonly path: readonly string[];
  readonly kind: 'text' | 'number' | 'boolean' | 'list';
  readonly default: unknown;
  readonly description: string;
}

/** All options, in the order of the schema. */
export const configurationOptions: readonly ConfigurationOption[] = optionsBelow(configurationSchema, []);

/** The names known below a path: sections, options, or undefined where names are free (below `clusters`) or there are none. */
export function knownNamesAt(path: readonly PropertyKey[]): readonly string[] | undefined {
  let schema: z.ZodType = configurationSchema;
  for (const name of path) {
    const inner = unwrap(schema);
    if (inner instanceof z.ZodObject) schema = (inner.shape as Record<string, z.ZodType>)[String(name)] ?? z.never();
    else if (inner instanceof z.ZodRecord) schema = inner.valueType as z.ZodType;
    else return undefined;
  }
  const inner = unwrap(schema);
  return inner instanceof z.ZodObject ? Object.keys(inner.shape) : undefined;
}

function optionsBelow(schema: z.ZodType, path: readonly string[]): readonly ConfigurationOption[] {
  const inner = unwrap(schema);
  if (inner instanceof z.ZodRecord) return optionsBelow(inner.valueType as z.ZodType, [...path, '*']);
  if (inner instanceof z.ZodObject) {
    return Object.entries(inner.shape as Record<string, z.ZodType>).flatMap(([name, option]) => optionsBelow(option, [...path, name]));
  }
  return [{ path, kind: kindOf(inner), default: schema.safeParse(undefined).data, description: schema.description ?? '' }];
}

function kindOf(schema: z.ZodType): ConfigurationOption['kind'] {
  if (schema instanceof z.ZodNumber) return 'number';
  if (schema instanceof z.ZodBoolean) return 'boolean';
  return schema instanceof z.ZodArray ? 'list' : 'text';
}

/** The schema itself, without its default, its `optional` and what is done after it. */
function unwrap(schema: z.ZodType): z.ZodType {
  if (schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault || schema instanceof z.ZodOptional) {
    return unwrap(schema.unwrap() as z.ZodType);
  }
  return schema instanceof z.ZodPipe ? unwrap(schema.in as z.ZodType) : schema;
}
