/** What the doctor has found, for people and for programs. */

import type { Variable } from "./doctor-environment.js";

const MARKS = { ok: "✓", failed: "✗", not_run: "–" } as const;

/** How a check ended, why, and what to do about it. */
export interface Verdict {
  readonly status: keyof typeof MARKS;
  readonly reason: string;
  readonly fix?: string;
}

export const ok = (reason: string): Verdict => ({ status: "ok", reason });
export const failed = (reason: string, fix: string): Verdict => ({ status: "failed", reason, fix });
export const notRun = (reason: string): Verdict => ({ status: "not_run", reason });

export class Report {
  readonly #checks: { check: string; verdict: Verdict }[] = [];

  constructor(
    readonly server: string | undefined,
    readonly variables: readonly Variable[],
  ) {}

  add(check: string, verdict: Verdict): void {
    this.#checks.push({ check, verdict });
  }

  skip(checks: readonly string[], why: string): void {
    for (const check of checks) this.add(check, notRun(why));
  }

  get failures(): number {
    return this.#checks.filter(({ verdict }) => verdict.status === "failed").length;
  }

  text(version: string): string {
    const lines = [`langfuse-edge doctor ${version}: ${this.server ?? "no server"}`, ""];
    for (const { check, verdict } of this.#checks) {
      lines.push(`${MARKS[verdict.status]} ${check.padEnd(11)}  ${printable(verdict.reason)}`);
      if (verdict.fix) lines.push(`${" ".repeat(13)}  → ${printable(verdict.fix)}`);
      if (check === "environment") {
        for (const { name, state, note } of this.variables) {
          lines.push(`    ${name.padEnd(28)}  ${state.padEnd(6)}  ${printable(note)}`.trimEnd());
        }
      }
    }
    const { failures } = this;
    const end = failures ? `${failures} ${failures === 1 ? "check" : "checks"} failed.` : "All is well.";
    return [...lines, "", end, ""].join("\n");
  }

  json(version: string): string {
    const checks = this.#checks.map(({ check, verdict: { status, reason, fix } }) => ({
      check,
      fix: fix === undefined ? null : printable(fix),
      reason: printable(reason),
      status,
    }));
    const variables = this.variables.map(({ name, state, note }) => ({ name, note: printable(note), state }));
    const report = { checks, ok: !this.failures, server: this.server ?? null, variables, version };
    return `${JSON.stringify(report, null, 2)}\n`;
  }
}

/** What a server says is shown, and does not steer the terminal. */
function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, " ");
}
