/** Search attributes of our workflows: what an operator filters by in the Temporal UI. Never encrypted, so never a secret. */
export const searchAttributeTypes = {
  /** The source of a restore, or the cluster that is backed up. */
  WalkbackCluster: 'KEYWORD',
  WalkbackHost: 'KEYWORD',
  /** `restore`, `base-backup`, `enable`, `verify`, `prune`, `mark`, `list`, `undo`, `baseline`. */
  WalkbackOperation: 'KEYWORD',
  WalkbackPhase: 'KEYWORD',
  /** The instant a restore was asked for. */
  WalkbackTarget: 'DATETIME',
} as const;
