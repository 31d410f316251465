import { describe, expect, it } from 'vitest';
import { engineStep, parsed } from './api';

describe('a step of the engine', () => {
  it('is found by the id of a run’s step, whatever its name holds', () => {
    expect(engineStep('do:charge-1')).toEqual({ type: 'do', name: 'charge', count: 1 });
    expect(engineStep('2/wait_for_event:let in: a-b-12')).toEqual({ type: 'wait_for_event', name: 'let in: a-b', count: 12 });
    expect(engineStep('do:2/do:x-1-3')).toEqual({ type: 'do', name: '2/do:x-1', count: 3 });
  });

  it('is none where the id is somebody else’s', () => {
    expect(engineStep('00f067aa0ba902b7')).toBeNull();
    expect(engineStep('do:charge')).toBeNull();
  });
});

describe('what somebody typed', () => {
  it('is read as JSON, nothing as null', () => {
    expect(parsed(' {"a": [1]} ')).toEqual({ a: [1] });
    expect(parsed('  ')).toBeNull();
  });

  it('is refused with the remedy', () => {
    expect(() => parsed('Ada')).toThrow(/not JSON.*quotes/);
  });
});
