/**
 * Which of the source's settings a restored cluster takes over. It is a list of what may, because a setting that names a file, a host, another
 * server or an archive does harm in a copy.
 */
import type { Settings } from './configuration-file.ts';
import { librariesIn, libraryIsInstalled } from './libraries.ts';

const carriedNames: ReadonlySet<string> = new Set(
  `max_connections superuser_reserved_connections reserved_connections max_worker_processes max_wal_senders max_replication_slots
  max_prepared_transactions max_locks_per_transaction max_pred_locks_per_transaction max_pred_locks_per_relation max_pred_locks_per_page
  max_files_per_process shared_buffers temp_buffers work_mem hash_mem_multiplier maintenance_work_mem autovacuum_work_mem
  logical_decoding_work_mem max_stack_depth temp_file_limit vacuum_buffer_usage_limit effective_cache_size effective_io_concurrency
  maintenance_io_concurrency io_combine_limit io_method io_workers backend_flush_after max_parallel_workers
  max_parallel_workers_per_gather max_parallel_maintenance_workers parallel_leader_participation parallel_setup_cost parallel_tuple_cost
  min_parallel_table_scan_size min_parallel_index_scan_size synchronous_commit wal_compression wal_buffers wal_writer_delay
  wal_writer_flush_after wal_log_hints wal_init_zero wal_recycle commit_delay commit_siblings checkpoint_timeout
  checkpoint_completion_target checkpoint_flush_after checkpoint_warning max_wal_size min_wal_size seq_page_cost random_page_cost
  cpu_tuple_cost cpu_index_tuple_cost cpu_operator_cost default_statistics_target constraint_exclusion cursor_tuple_fraction
  from_collapse_limit join_collapse_limit plan_cache_mode recursive_worktable_factor track_activities track_activity_query_size
  track_counts track_functions track_io_timing track_wal_io_timing track_commit_timestamp stats_fetch_consistency compute_query_id
  datestyle intervalstyle timezone lc_monetary lc_numeric lc_time icu_validation_level default_text_search_config extra_float_digits
  client_encoding default_tablespace temp_tablespaces default_table_access_method default_toast_compression default_transaction_isolation
  default_transaction_deferrable search_path row_security bytea_output xmlbinary xmloption gin_pending_list_limit gin_fuzzy_search_limit
  statement_timeout lock_timeout idle_in_transaction_session_timeout idle_session_timeout transaction_timeout deadlock_timeout
  array_nulls backslash_quote escape_string_warning standard_conforming_strings lo_compat_privileges quote_all_identifiers
  synchronize_seqscans transform_null_equals password_encryption scram_iterations authentication_timeout tcp_keepalives_idle
  tcp_keepalives_interval tcp_keepalives_count tcp_user_timeout client_connection_check_interval bgwriter_delay bgwriter_lru_maxpages
  bgwriter_lru_multiplier bgwriter_flush_after old_snapshot_threshold log_checkpoints log_connections log_disconnections log_duration
  log_lock_waits log_temp_files log_min_duration_statement log_min_messages log_min_error_statement log_statement log_line_prefix
  log_autovacuum_min_duration log_error_verbosity`.split(/\s+/),
);
const carriedPrefixes = ['autovacuum_', 'vacuum_', 'enable_', 'geqo', 'jit'];

/** Background workers of these act on the data, or outside, by themselves: jobs of the source must not run in a copy. */
const schedulerLibraries: ReadonlySet<string> = new Set([
  'pg_cron',
  'pg_partman_bgw',
  'pg_timetable',
  'pg_net',
  'pgl_ddl_deploy',
  'pglogical',
]);

/** The split of the source's settings; names only, because a value may hold a password (primary_conninfo). */
export interface CarriedSettings {
  readonly carried: Settings;
  readonly notCarried: readonly string[];
}

/** What of this host decides. */
interface CarryingHost {
  /** Where the server's programs are: a library to preload has to be installed there too. */
  readonly binDirectory: string;
  /** A larger shared_buffers is not carried: the server would not start. */
  readonly memoryBytes: number;
}

/** Decides for each setting of the source. */
export async function carrySettings(source: Settings, { binDirectory, memoryBytes }: CarryingHost): Promise<CarriedSettings> {
  const carried = new Map<string, string>();
  const notCarried: string[] = [];
  const libraries = await splitLibraries(librariesIn(source.get('shared_preload_libraries') ?? ''), binDirectory);
  if (libraries.present.length > 0) carried.set('shared_preload_libraries', libraries.present.join(', '));
  notCarried.push(...libraries.absent.map((library) => `shared_preload_libraries: ${library}`));
  for (const [name, value] of source) {
    if (name === 'shared_preload_libraries') continue;
    const isTooLarge = name === 'shared_buffers' && (bytesOfBuffers(value) ?? 0) >= memoryBytes;
    if (isCarried(name, libraries.present) && !isTooLarge) carried.set(name, value);
    else notCarried.push(name);
  }
  return { carried, notCarried };
}

const unitBytes: Readonly<Record<string, number>> = { '': 8192, B: 1, kB: 1024, MB: 1024 ** 2, GB: 1024 ** 3, TB: 1024 ** 4 };

/** A number of pages, or a size with a unit (manual, section 20.1.1 "Parameter Names and Values"); undefined for what PostgreSQL does not take either. */
function bytesOfBuffers(value: string): number | undefined {
  const [, number, unit = ''] = /^\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*$/.exec(value) ?? [];
  const factor = unitBytes[unit];
  return number === undefined || factor === undefined ? undefined : Number(number) * factor;
}

function isCarried(name: string, libraries: readonly string[]): boolean {
  const [library = '', option] = name.split('.');
  if (option !== undefined) return libraries.includes(library);
  return carriedNames.has(name) || carriedPrefixes.some((prefix) => name.startsWith(prefix));
}

/** Which libraries a restored cluster preloads, and which it does without: those that are not installed, and those that would run jobs of the source. */
export async function splitLibraries(names: readonly string[], binDirectory: string): Promise<{ present: string[]; absent: string[] }> {
  const present: string[] = [];
  const absent: string[] = [];
  for (const name of names) {
    const usable = !schedulerLibraries.has(name) && (await libraryIsInstalled(name, binDirectory));
    (usable ? present : absent).push(name);
  }
  return { present, absent };
}
