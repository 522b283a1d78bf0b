#!/usr/bin/env node
// A scripted stand-in for an OpenAI-compatible endpoint. Its answers depend on nothing but the request, so that
// a run of the demo can be compared with a committed expectation.
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const MAX_BODY_BYTES = 1024 * 1024;

/**
 * @param {{ port?: number, failSubject?: string, onCall?: (name: string) => Promise<void> }} [options] requests about a mail
 *   whose subject contains `failSubject` are answered 500; `onCall` is awaited before a prompt of the workflow is answered
 * @returns {Promise<{ url: string, requests: () => number, close: () => Promise<void> }>}
 */
export async function startLlmEndpoint({ port = 0, failSubject, onCall } = {}) {
  let requests = 0;
  const server = createServer((request, response) => {
    requests += 1;
    answer(request, response, failSubject, onCall).catch((error) =>
      fail(response, error.status ?? 500, error.type ?? "server_error", error.message),
    );
  });
  await new Promise((resolve, reject) => server.once("error", reject).listen(port, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/v1`,
    requests: () => requests,
    close: () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  };
}

async function answer(request, response, failSubject, onCall) {
  if (!/^Bearer \S+/.test(request.headers.authorization ?? "")) {
    request.resume();
    return fail(response, 401, "invalid_request_error", "You didn't provide an API key.");
  }
  if (request.method !== "POST" || request.url !== "/v1/chat/completions") {
    request.resume();
    return fail(response, 404, "invalid_request_error", `Unknown request URL: ${request.method} ${request.url}`);
  }
  const body = await readJson(request);
  if (typeof body.model !== "string" || !Array.isArray(body.messages)) throw invalid("model and messages are required");
  const system = textOf(body.messages, "system");
  const user = textOf(body.messages, "user");
  if (failSubject && subjectOf(user).includes(failSubject)) {
    return fail(response, 500, "server_error", "The server had an error while processing your request.");
  }
  const prompt = PROMPTS.find(({ begins }) => system.includes(begins));
  if (!prompt) throw invalid("this scripted endpoint knows the prompts of the email workflow only");
  await onCall?.(prompt.name);
  const content = prompt.write(user, system);
  const usage = usageOf(`${system}${user}`, content);
  const common = { id: "chatcmpl-scripted", created: 0, model: body.model };
  if (!body.stream) {
    return sendJson(response, 200, {
      ...common,
      object: "chat.completion",
      choices: [{ index: 0, message: { role: "assistant", content, refusal: null }, finish_reason: "stop", logprobs: null }],
      usage,
    });
  }
  response.writeHead(200, { "content-type": "text/event-stream" });
  const send = (chunk) => response.write(`data: ${JSON.stringify({ ...common, object: "chat.completion.chunk", ...chunk })}\n\n`);
  for (const part of content.match(/.{1,24}/gsu) ?? []) {
    send({ choices: [{ index: 0, delta: { content: part }, finish_reason: null }] });
  }
  send({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] });
  if (body.stream_options?.include_usage) send({ choices: [], usage });
  response.end("data: [DONE]\n\n");
}

/** The four prompts of the email workflow. */
const PROMPTS = [
  { name: "classify", begins: "You triage", write: (user) => JSON.stringify(triage(user)) },
  { name: "plan", begins: "You plan", write: (user) => JSON.stringify({ steps: plan(user) }) },
  { name: "write_reply", begins: "You write", write: (user, system) => reply(system, user) },
  { name: "verify", begins: "You verify", write: (user) => JSON.stringify(verify(user)) },
];

const CATEGORIES = [
  ["automatic", /out of office|automatic reply/i],
  ["complaint", /complaint|réclamation|inacceptable/i],
  ["meeting", /\b(meeting|demo)\b/i],
  ["refund", /refund/i],
  ["billing", /invoice|rechnung/i],
  ["order_status", /order|commande|注文/i],
];
const LANGUAGES = [
  ["ja", /[\u3040-\u30ff]/],
  ["ru", /[\u0400-\u04ff]/],
  ["fr", /\b(bonjour|merci)\b/i],
  ["de", /guten tag|grüßen/i],
];

function triage(mail) {
  const category = firstMatch(CATEGORIES, mail) ?? "question";
  const urgency = category === "complaint" ? "high" : category === "automatic" ? "low" : "normal";
  return { category, urgency, language: firstMatch(LANGUAGES, mail) ?? "en" };
}

function plan(user) {
  const category = /^Category: (\w+)/.exec(user)?.[1];
  const mail = user.replace(/^>.*$/gm, "");
  const steps = [];
  if (category === "automatic") return steps;
  for (const [, name] of mail.matchAll(/^Attachment: (.+) \([^()]*\)$/gm)) {
    steps.push({ tool: "summarize_attachment", arguments: { name } });
  }
  const order = /(?:order|commande|注文番号)\s+(\d{4})/i.exec(mail)?.[1];
  if (order) steps.push({ tool: "lookup_order", arguments: { order_number: order } });
  if (category === "refund") steps.push({ tool: "search_faq", arguments: { query: "refund" } });
  if (category === "billing") steps.push({ tool: "search_faq", arguments: { query: "invoice payment" } });
  if (category === "question") steps.push({ tool: "search_faq", arguments: { query: "delivery abroad" } });
  if (/how long does delivery/i.test(mail)) steps.push({ tool: "search_faq", arguments: { query: "delivery" } });
  if (category === "meeting") {
    const [date] = /\d{4}-\d{2}-\d{2}/.exec(mail) ?? [""];
    const [time] = /\b\d{1,2}:\d{2}\b/.exec(mail) ?? [""];
    steps.push({ tool: "create_calendar_entry", arguments: { title: subjectOf(user), date, time } });
  }
  return steps;
}

const GREETINGS = { en: "Hello,", fr: "Bonjour,", de: "Guten Tag,", ru: "Здравствуйте!", ja: "お問い合わせありがとうございます。" };

function reply(system, user) {
  const language = /language "(\w\w)"/.exec(system)?.[1] ?? "en";
  const results = JSON.parse(user.slice(user.lastIndexOf("Tool results:\n") + "Tool results:\n".length));
  const lines = results.map(({ tool, result, error }) => `- ${error ? `Sorry, ${error}.` : sentence(tool, result)}`);
  return [GREETINGS[language] ?? GREETINGS.en, "", ...lines, "", "Example Support"].join("\n");
}

function sentence(tool, result) {
  switch (tool) {
    case "lookup_order":
      return `Order ${result.order_number} is ${result.status}: ${result.detail}.`;
    case "search_faq":
      return result.map(({ answer }) => answer).join(" ") || "We have no ready answer to that.";
    case "summarize_attachment":
      return `We have received ${result.name} (${result.summary}).`;
    case "create_calendar_entry":
      return `"${result.title}" is in our calendar from ${result.start} to ${result.end}.`;
    default:
      return JSON.stringify(result);
  }
}

function verify(user) {
  const [mail, text] = user.split("\n\nReply:\n");
  const issues = [];
  if (triage(mail).urgency === "high") issues.push("An upset customer should be answered by a person.");
  if (!text?.includes("\n- ")) issues.push("The reply says nothing.");
  return { approved: issues.length === 0, issues };
}

const firstMatch = (table, text) => table.find(([, pattern]) => pattern.test(text))?.[0];
const subjectOf = (text) => /^Subject: (.*)$/m.exec(text)?.[1] ?? "";
const textOf = (messages, role) =>
  messages.filter((message) => message?.role === role).map(({ content }) => String(content)).join("\n");

/** One token for four characters, the usual rule of thumb. */
function usageOf(prompt, completion) {
  const tokens = (text) => Math.ceil([...text].length / 4);
  const [prompt_tokens, completion_tokens] = [tokens(prompt), tokens(completion)];
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
}

async function readJson(request) {
  const chunks = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) throw Object.assign(invalid("the request body is too large"), { status: 413 });
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8")) ?? {};
  } catch {
    throw invalid("the request body is not JSON");
  }
}

const invalid = (message) => Object.assign(new Error(message), { status: 400, type: "invalid_request_error" });

function fail(response, status, type, message) {
  sendJson(response, status, { error: { message, type, param: null, code: null } });
}

function sendJson(response, status, body) {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const { values } = parseArgs({
    options: { port: { type: "string", default: "0" }, "fail-subject": { type: "string" }, help: { type: "boolean" } },
  });
  if (values.help) {
    console.log("usage: llm-endpoint.mjs [--port N] [--fail-subject TEXT]");
  } else {
    const endpoint = await startLlmEndpoint({ port: Number(values.port), failSubject: values["fail-subject"] });
    console.log(`OPENAI_BASE_URL=${endpoint.url}`);
  }
}
