/** As `process.ts`, for hosts that have no long-lived process. */

import { hostsKeeper } from "./hosts.js";
import { registerFlush, type Recorder } from "./register.js";

export function attend(): void {}

export function follow(): void {}

export const recorded = (client: Recorder) => registerFlush(client, hostsKeeper());

export const environment = (env: object | undefined) => env;

export function warn(message: string): void {
  console.warn(message);
}

export const send = (url: string, init: RequestInit) => fetch(url, init);

export const flushOnSignals = () => () => {};
