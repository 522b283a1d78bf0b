/** As `process.ts`, for hosts that have no long-lived process. */

export function attend(): void {}

export function follow(): void {}

export const environment = (env: object | undefined) => env;

export function warn(message: string): void {
  console.warn(message);
}

export const flushOnSignals = () => () => {};
