import { assert, dictionary, property, string, stringMatching } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseConfiguration, quoteHbaName, quoteValue, renderConfiguration } from '../../src/postgres/configuration-file.ts';

describe('parseConfiguration', () => {
  it('parseConfiguration gives back what renderConfiguration wrote when values hold apostrophes, backslashes or hashes', () => {
    const value = string({ unit: 'grapheme' }).filter((text) => !/\p{Cc}/u.test(text));
    const name = stringMatching(/^[a-z_][a-z0-9_]{0,20}$/).filter((text) => !text.startsWith('include'));
    assert(
      property(dictionary(name, value), (settings) => {
        const entries = new Map(Object.entries(settings));
        expect(parseConfiguration(renderConfiguration('x', entries)).settings).toEqual(entries);
      }),
    );
  });

  it('parseConfiguration reads the forms when a person wrote the file', () => {
    const text = `# comment\nPort = 5432 # why\nwork_mem 4MB\nlog_line_prefix='it''s \\'x\\' '\n\nport = 5433\ninclude_dir 'conf.d'\n  include_if_exists='x.conf'\nnonsense here too\npg_stat_statements.max = 100`;
    const parsed = parseConfiguration(text);
    expect(Object.fromEntries(parsed.settings)).toEqual({
      port: '5433',
      work_mem: '4MB',
      log_line_prefix: "it's 'x' ",
      'pg_stat_statements.max': '100',
    });
    expect(parsed.includes).toEqual(["include_dir 'conf.d'", "include_if_exists 'x.conf'"]);
  });
});

describe('quoteValue', () => {
  it('quoteValue refuses a value when it would begin another line', () => {
    expect(() => quoteValue("x'\narchive_command = 'evil")).toThrow(/control character/);
  });
});

describe('quoteHbaName', () => {
  it('quoteHbaName keeps special words plain when a role is called so', () => {
    expect(quoteHbaName('all')).toBe('"all"');
    expect(quoteHbaName('a"b')).toBe('"a""b"');
    expect(() => quoteHbaName('/^x')).toThrow(/slash/);
  });
});
