// ms@3.0.0-canary.1 has no "types" in its exports map (sdk-typescript#1668), which makes Temporal's `Duration` silently `any`.
declare module 'ms' {
  type Unit = 'ms' | 's' | 'seconds' | 'm' | 'minute' | 'minutes' | 'h' | 'hour' | 'hours' | 'd' | 'day' | 'days';
  export type StringValue = `${number}` | `${number}${Unit}` | `${number} ${Unit}`;
}
