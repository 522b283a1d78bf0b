import { step } from "langfuse-edge";

import type { Env } from "./env";
import { askForJson, askForText } from "./llm";
import { describeMail, readMail } from "./mail";
import type { IncomingMessage, Mail } from "./mail";
import { composeReply } from "./reply";
import { TOOLS } from "./tools";
import type { Arguments } from "./tools";

const MAX_TOOL_STEPS = 6;

interface Triage {
  category: string;
  urgency: string;
  language: string;
}
interface ToolResult {
  tool: string;
  result?: unknown;
  error?: string;
}
interface Answer {
  results: ToolResult[];
  reply: string;
}
interface Verdict {
  approved: boolean;
  issues: string[];
}
export interface Decision {
  category: string;
  tools: number;
  failedTools: string[];
  approved: boolean;
  outcome: string;
}

/** Is told of a step what has come of it. */
export type Callback = (step: string, what: string) => void;

/** What every step of a run may use. */
interface Run {
  env: Env;
  callback: Callback;
}

/** One message from arrival to answer: the root of its trace. */
export function handleEmail(message: IncomingMessage, env: Env, callback: Callback = () => {}): Promise<Decision> {
  const run = { env, callback };
  return step(
    "handle_email",
    async (root): Promise<Decision> => {
      const mail = await readMail(message);
      root.update({ input: { from: mail.from, subject: mail.subject, text: mail.text.slice(0, 500) } });
      const triage = await triageEmail(mail, run);
      const answer = await executePlan(mail, triage, run);
      const verdict = await verifyResponse(mail, answer, run);
      const { outcome } = await sendResults(message, mail, answer, verdict, run);
      return {
        category: triage.category,
        tools: answer.results.length,
        failedTools: answer.results.filter(({ error }) => error !== undefined).map(({ tool }) => tool),
        approved: verdict.approved,
        outcome,
      };
    },
    { asType: "agent", input: { from: message.from, to: message.to, bytes: message.rawSize } },
  );
}

function triageEmail(mail: Mail, { env, callback }: Run): Promise<Triage> {
  return step(
    "triage_email",
    async () => {
      const answer = await askForJson("classify", env, {
        system:
          "You triage the mail of an online shop. Answer with JSON: category (order_status, refund, billing, complaint, meeting, question or automatic), urgency (low, normal or high), language (two letters).",
        user: describeMail(mail),
      });
      const { category, urgency, language } = answer;
      if (typeof category !== "string") throw new Error("classify: the answer has no category");
      const triage = { category, urgency: String(urgency ?? "normal"), language: String(language ?? "en") };
      callback("triage_email", `${triage.category}, ${triage.urgency}`);
      return triage;
    },
    { asType: "chain", input: { subject: mail.subject, attachments: mail.attachments } },
  );
}

function executePlan(mail: Mail, triage: Triage, run: Run): Promise<Answer> {
  const { env } = run;
  return step(
    "execute_plan",
    async (observation): Promise<Answer> => {
      const plan = await askForJson("plan", env, {
        system: `You plan the answer to a mail. Answer with JSON: steps, a list of {tool, arguments}. Tools: ${Object.keys(TOOLS).join(", ")}.`,
        user: `Category: ${triage.category}\n${describeMail(mail)}`,
      });
      const results: ToolResult[] = [];
      for (const { tool, args } of plannedSteps(plan)) results.push(await runTool(tool, args, mail, run));

      const failed = results.filter(({ error }) => error !== undefined);
      if (failed.length > 0) {
        observation.update({
          level: "WARNING",
          statusMessage: `${failed.length} of ${results.length} tool steps failed: ${failed.map(({ error }) => error).join("; ")}`,
        });
      }
      const reply = mail.automatic
        ? ""
        : await askForText("write_reply", env, {
            system: `You write the reply to a mail, in the language "${triage.language}", from what the tools found. Say plainly what could not be found.`,
            user: `${describeMail(mail)}\n\nTool results:\n${JSON.stringify(results)}`,
          });
      return { results, reply };
    },
    { asType: "chain", input: triage },
  );
}

/** A tool that fails costs its own result only: the reply says what is missing. */
async function runTool(name: string, args: Arguments, mail: Mail, { callback }: Run): Promise<ToolResult> {
  try {
    const result = await step(
      name,
      () => {
        const tool = Object.hasOwn(TOOLS, name) ? TOOLS[name] : undefined;
        if (!tool) throw new Error(`there is no tool "${name}"`);
        return tool(args, mail);
      },
      { asType: "tool", input: args },
    );
    callback("execute_plan", `${name}: ok`);
    return { tool: name, result };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    callback("execute_plan", `${name}: ${message}`);
    return { tool: name, error: message };
  }
}

function plannedSteps(plan: Record<string, unknown>): { tool: string; args: Arguments }[] {
  if (!Array.isArray(plan.steps)) throw new Error("plan: the answer has no list of steps");
  return plan.steps.slice(0, MAX_TOOL_STEPS).map((planned) => {
    if (typeof planned?.tool !== "string") throw new Error("plan: a step names no tool");
    return { tool: planned.tool, args: planned.arguments ?? {} };
  });
}

function verifyResponse(mail: Mail, answer: Answer, { env, callback }: Run): Promise<Verdict> {
  return step(
    "verify_response",
    async (observation): Promise<Verdict> => {
      if (answer.reply === "") return { approved: false, issues: ["there is nobody to answer"] };
      const { approved, issues } = await askForJson("verify", env, {
        system:
          "You verify a reply before it is sent. Answer with JSON: approved (true or false), issues (a list of sentences).",
        user: `${describeMail(mail)}\n\nReply:\n${answer.reply}`,
      });
      const verdict = { approved: approved === true, issues: Array.isArray(issues) ? issues.map(String) : [] };
      if (!verdict.approved) {
        observation.update({ level: "WARNING", statusMessage: `not approved: ${verdict.issues.join("; ")}` });
      }
      callback("verify_response", verdict.approved ? "approved" : "not approved");
      return verdict;
    },
    { asType: "evaluator", input: { reply: answer.reply } },
  );
}

const HOLDING_REPLY = "Thank you for your message. A colleague will read it and answer you personally.";

function sendResults(message: IncomingMessage, mail: Mail, answer: Answer, verdict: Verdict, { callback }: Run): Promise<{ outcome: string }> {
  const text = verdict.approved ? answer.reply : HOLDING_REPLY;
  return step(
    "send_results",
    async () => {
      if (mail.automatic) return { outcome: "not answered: sent by a machine" };
      await message.reply(mail.from, composeReply(mail, message.to, text));
      const outcome = verdict.approved ? "replied" : "holding reply sent, a person takes over";
      callback("send_results", outcome);
      return { outcome };
    },
    { input: { to: mail.from, text } },
  );
}
