// The program that every runtime runs: a trace with all that an observation can say, flushed once.

/** Where an observation of another process would be. */
const ELSEWHERE = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" };
const RECORDS = 13;

/**
 * Runs with what the package exports; tells how far it came, and why not further. Never fails. Where the process is to flush
 * by itself, it `isLeft` to do so.
 */
export async function program({ Langfuse }, options, isLeft = false) {
  const passed = ["loads"];
  try {
    const langfuse = new Langfuse({ ...options, environment: "production", release: "2026.1" });
    record(langfuse);
    passed.push("records");
    const report = isLeft ? { ok: true, delivered: RECORDS } : await langfuse.flush();
    if (!report.ok || report.delivered !== RECORDS) throw new Error(JSON.stringify(report));
    passed.push("flushes");
    return { passed };
  } catch (error) {
    return { passed, error: error.stack ?? String(error) };
  }
}

function record(langfuse) {
  const workflow = langfuse.startObservation("workflow ✓", {
    input: { question: "Où est l'été? 夏はどこ? 🏝️", tags: ["a", "b"], nested: { deep: [1, 2.5, null, true] } },
    metadata: { text: "plain", number: 1.5, flag: false, list: [1, "two"], object: { clé: "välue" }, "ключ": "значение" },
    version: "1.2.3",
    environment: "staging",
  });
  const agent = workflow.startObservation("agent", {}, { asType: "agent" });
  const chain = agent.startObservation("chain", { input: ["a list"] }, { asType: "chain" });

  const generation = chain.startObservation(
    "generation",
    {
      input: [{ role: "user", content: "日本語 \"quoted\" \\ \n\t \u0001" }],
      model: "gpt-4o",
      modelParameters: { temperature: 0.25, max_tokens: 100, stop: "END" },
      prompt: { name: "greeting", version: 4 },
    },
    { asType: "generation", startTime: new Date("2026-01-02T03:04:05.250Z") },
  );
  generation.update({
    output: "early",
    completionStartTime: new Date("2026-01-02T03:04:05.678Z"),
    usageDetails: { input: 5, output: 7, input_cached_tokens: 2 },
    costDetails: { input: 0.001, output: 0.0025 },
  });
  generation.update({ output: { answer: "42 🎉", ok: true }, metadata: { later: "added" } });
  generation.end(Date.UTC(2026, 0, 2, 3, 4, 6, 500));

  const embedding = chain.startObservation("embedding", { model: "e5", usageDetails: { input: 3 } }, { asType: "embedding" });
  embedding.end();
  const retriever = chain.startObservation("retriever", { input: "query", output: [{ id: 1, score: 0.9 }] }, { asType: "retriever" });
  retriever.end();
  chain.end();

  const tool = agent.startObservation("tool", { input: { path: "/tmp" }, level: "DEBUG" }, { asType: "tool" });
  tool.update({ level: "ERROR", statusMessage: "Datei nicht gefunden: «übung.txt»" });
  tool.end();
  agent.startObservation("event", { input: 0, metadata: { at: "once" } }, { asType: "event" });
  agent.end();

  workflow.startObservation("guardrail", { output: false }, { asType: "guardrail" }).end();
  workflow.startObservation("evaluator", { output: 0.75, level: "WARNING", statusMessage: "low" }, { asType: "evaluator" }).end();
  const large = workflow.startObservation("large", { input: "ä€🎉".repeat(10_000) });
  large.end();
  workflow.update({ output: "done" });
  workflow.end();

  langfuse.startObservation("continued", { input: "from elsewhere" }, { parentSpanContext: ELSEWHERE }).end();
  langfuse.score.create({ name: "satisfaction ✓", value: 0.75, sessionId: "session-1", comment: "gut so" });

  for (const [what, id, digits] of [["id", workflow.id, 16], ["trace id", workflow.traceId, 32]]) {
    if (!new RegExp(`^[0-9a-f]{${digits}}$`).test(id)) throw new Error(`the ${what} is ${id}`);
  }
}
