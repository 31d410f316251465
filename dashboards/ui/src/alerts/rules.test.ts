import { describe, expect, it } from 'vitest';
import { errorsByField, tableOf, valuesOf } from './rules';

const RULE = {
  when: 'error_rate',
  above: 0.2,
  window: '2h',
  match: { workflow: ['billing*', '!*-test'], attributes: { team: 'payments' } },
  labels: { team: 'a=b' },
  severity: 'critical',
};
const TAKES = ['above', 'at_least', 'window'];

describe('a rule in a form', () => {
  it('comes out as it went in', () => {
    expect(tableOf(valuesOf(RULE), TAKES, null)).toEqual(RULE);
  });

  it('leaves out what is empty, and what a rule of its kind does not take', () => {
    const values = { ...valuesOf(RULE), severity: ' ', when: 'run_failed' };
    expect(tableOf(values, [], ['ops'])).toEqual({
      when: 'run_failed',
      match: RULE.match,
      labels: RULE.labels,
      receivers: ['ops'],
    });
  });

  it('hands on what is no number, for the collector to say so', () => {
    expect(tableOf({ when: 'error_rate', above: 'half' }, TAKES, null)).toEqual({ when: 'error_rate', above: 'half' });
  });

  it('shows seconds as a span of time', () => {
    expect(valuesOf({ when: 'stuck', silent_for: 90 })).toEqual({ when: 'stuck', silent_for: '90s' });
  });
});

describe('what is wrong', () => {
  it('is said beside the field, or the one around it', () => {
    const errors = [
      { place: ['match', 'attributes', 'team'], message: 'no pattern' },
      { place: ['when'], message: 'unknown' },
      { place: ['elsewhere'], message: 'odd' },
    ];
    expect(errorsByField(errors, ['when', 'match.attributes'])).toEqual({
      'match.attributes': 'no pattern',
      when: 'unknown',
      '': 'odd',
    });
  });
});
