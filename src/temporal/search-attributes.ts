/** The search attributes as Temporal's typed keys, and their registration. */
import type { Connection } from '@temporalio/client';
import { defineSearchAttributeKey, type SearchAttributePair } from '@temporalio/common';
import { messageOf, WalkbackError } from '../domain/errors.ts';
import { searchAttributeTypes } from '../domain/search-attributes.ts';

const clusterKey = defineSearchAttributeKey('WalkbackCluster', searchAttributeTypes.WalkbackCluster);
const hostKey = defineSearchAttributeKey('WalkbackHost', searchAttributeTypes.WalkbackHost);
const operationKey = defineSearchAttributeKey('WalkbackOperation', searchAttributeTypes.WalkbackOperation);
const targetKey = defineSearchAttributeKey('WalkbackTarget', searchAttributeTypes.WalkbackTarget);

/** What a workflow is about, for the list in the Temporal UI. */
export interface OperationAttributes {
  readonly operation: 'restore' | 'base-backup' | 'enable' | 'restore-point' | 'verify' | 'prune' | 'mark' | 'list' | 'undo' | 'baseline';
  /** Undefined where it is not known yet. */
  readonly cluster?: string;
  readonly host?: string;
  readonly target?: Date;
}

/** The attributes to start a workflow with. */
export function operationAttributes(attributes: OperationAttributes): SearchAttributePair[] {
  return [
    { key: operationKey, value: attributes.operation },
    ...(attributes.cluster === undefined ? [] : [{ key: clusterKey, value: attributes.cluster }]),
    ...(attributes.host === undefined ? [] : [{ key: hostKey, value: attributes.host }]),
    ...(attributes.target === undefined ? [] : [{ key: targetKey, value: attributes.target }]),
  ];
}

/** temporal.api.enums.v1.IndexedValueType */
const indexedValueTypes = { KEYWORD: 2, DATETIME: 6 } as const;

/**
 * Registers the attributes in a namespace; those that exist stay.
 * @throws WalkbackError INVALID_CONFIGURATION where the server does not allow it (Temporal Cloud: create them there by hand)
 */
export async function registerSearchAttributes(connection: Connection, namespace: string): Promise<void> {
  const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
  const missing = Object.entries(searchAttributeTypes).filter(([name]) => !(name in customAttributes));
  if (missing.length === 0) return;
  try {
    await connection.operatorService.addSearchAttributes({
      namespace,
      searchAttributes: Object.fromEntries(missing.map(([name, type]) => [name, indexedValueTypes[type]])),
    });
  } catch (error) {
    const names = missing.map(([name]) => name).join(', ');
    throw new WalkbackError(
      'INVALID_CONFIGURATION',
      `The search attributes ${names} cannot be registered in the namespace ${namespace}: ${messageOf(error)}.`,
      {
        hint: 'Create them with `temporal operator search-attribute create`.',
        cause: error,
      },
    );
  }
}
