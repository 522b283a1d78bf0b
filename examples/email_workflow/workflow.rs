//! One message from arrival to answer: triage, plan, verification, reply.

use std::path::PathBuf;

use langfuse_edge::{
    Level, ObservationBuilder, ObservationKind, StepFlush, Workflow, current_observation, observe,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::llm::{Llm, Prompt};
use crate::mail::{Mail, compose_reply, read_mail};
use crate::tools::{TOOLS, call_tool};

const MOST_TOOL_STEPS: usize = 6;
const HOLDING_REPLY: &str = "Thank you for your message. A colleague will read it and answer you personally.";

/// What a run begins with.
pub(crate) struct EmailData {
    /// The address that it was sent to.
    pub(crate) to: String,
    /// The message.
    pub(crate) raw: Vec<u8>,
}

/// Is told of a step what has come of it.
pub(crate) type Callback = Box<dyn Fn(&str, &str) + Send + Sync>;

pub(crate) struct EmailWorkflow {
    pub(crate) llm: Llm,
    /// Where replies are written.
    pub(crate) outbox: Option<PathBuf>,
    pub(crate) callback: Callback,
}

#[derive(Serialize)]
struct Triage {
    category: String,
    urgency: String,
    language: String,
}

#[derive(Serialize)]
struct ToolResult {
    tool: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct Answer {
    results: Vec<ToolResult>,
    reply: String,
}

#[derive(Serialize)]
struct Verdict {
    approved: bool,
    issues: Vec<String>,
}

#[derive(Serialize)]
pub(crate) struct Decision {
    pub(crate) category: String,
    pub(crate) tools: usize,
    pub(crate) failed_tools: Vec<String>,
    pub(crate) approved: bool,
    pub(crate) outcome: String,
}

impl Workflow<EmailData> for EmailWorkflow {
    type Output = Result<Decision, String>;

    async fn run(&self, email_data: EmailData) -> Self::Output {
        let EmailData { to, raw } = &email_data;
        let root = observe("handle_email")
            .kind(ObservationKind::Agent)
            .input(&json!({ "to": to, "bytes": raw.len() }));
        recorded(root, async {
            let mail = read_mail(raw)?;
            if let Some(root) = current_observation() {
                let text: String = mail.text.chars().take(500).collect();
                root.input(&json!({ "from": mail.from, "subject": mail.subject, "text": text }));
            }
            let triage = self.triage_email(&mail).await?;
            let answer = self.execute_plan(&mail, &triage).await?;
            let verdict = self.verify_response(&mail, &answer).await?;
            let outcome = self.send_results(&mail, to, &answer, &verdict).await?;
            let failed = answer.results.iter().filter(|result| result.error.is_some());
            Ok(Decision {
                category: triage.category,
                tools: answer.results.len(),
                failed_tools: failed.map(|result| result.tool.clone()).collect(),
                approved: verdict.approved,
                outcome,
            })
        })
        .await
    }
}

impl EmailWorkflow {
    async fn triage_email(&self, mail: &Mail) -> Result<Triage, String> {
        let step = observe("triage_email")
            .kind(ObservationKind::Chain)
            .input(&json!({ "subject": mail.subject, "attachments": mail.attachments }));
        recorded(step, async {
            let prompt = Prompt {
                system: "You triage the mail of an online shop. Answer with JSON: category (order_status, refund, \
                    billing, complaint, meeting, question or automatic), urgency (low, normal or high), language \
                    (two letters)."
                    .to_owned(),
                user: mail.describe(),
            };
            let answer = self.llm.ask_for_json("classify", &prompt).await?;
            let text = |name: &str| answer[name].as_str().map(str::to_owned);
            let triage = Triage {
                category: text("category").ok_or("classify: the answer has no category")?,
                urgency: text("urgency").unwrap_or_else(|| "normal".to_owned()),
                language: text("language").unwrap_or_else(|| "en".to_owned()),
            };
            (self.callback)("triage_email", &format!("{}, {}", triage.category, triage.urgency));
            Ok(triage)
        })
        .await
    }

    async fn execute_plan(&self, mail: &Mail, triage: &Triage) -> Result<Answer, String> {
        let step = observe("execute_plan").kind(ObservationKind::Chain).input(triage);
        recorded(step, async {
            let prompt = Prompt {
                system: format!(
                    "You plan the answer to a mail. Answer with JSON: steps, a list of {{tool, arguments}}. Tools: {}.",
                    TOOLS.join(", ")
                ),
                user: format!("Category: {}\n{}", triage.category, mail.describe()),
            };
            let plan = self.llm.ask_for_json("plan", &prompt).await?;
            let mut results = Vec::new();
            for planned in plan["steps"].as_array().ok_or("plan: the answer has no list of steps")?.iter().take(MOST_TOOL_STEPS) {
                let tool = planned["tool"].as_str().ok_or("plan: a step names no tool")?;
                results.push(self.run_tool(tool, &planned["arguments"], mail).await);
            }
            complain_of_failures(&results);
            let reply = if mail.is_automatic { String::new() } else { self.write_reply(mail, triage, &results).await? };
            Ok(Answer { results, reply })
        })
        .await
    }

    /// A tool that fails costs its own result only: the reply says what is missing.
    async fn run_tool(&self, tool: &str, arguments: &Value, mail: &Mail) -> ToolResult {
        let step = observe(tool).kind(ObservationKind::Tool).input(arguments);
        let result = recorded(step, async { call_tool(tool, arguments, mail) }).await;
        (self.callback)(
            "execute_plan",
            &format!("{tool}: {}", result.as_ref().err().map_or("ok", String::as_str)),
        );
        let tool = tool.to_owned();
        match result {
            Ok(result) => ToolResult { tool, result: Some(result), error: None },
            Err(error) => ToolResult { tool, result: None, error: Some(error) },
        }
    }

    async fn write_reply(
        &self,
        mail: &Mail,
        triage: &Triage,
        results: &[ToolResult],
    ) -> Result<String, String> {
        let results = serde_json::to_string(results).map_err(|error| error.to_string())?;
        let prompt = Prompt {
            system: format!(
                "You write the reply to a mail, in the language \"{}\", from what the tools found. Say plainly what \
                    could not be found.",
                triage.language
            ),
            user: format!("{}\n\nTool results:\n{results}", mail.describe()),
        };
        self.llm.ask_for_text("write_reply", &prompt).await
    }

    async fn verify_response(&self, mail: &Mail, answer: &Answer) -> Result<Verdict, String> {
        let step = observe("verify_response")
            .kind(ObservationKind::Evaluator)
            .input(&json!({ "reply": answer.reply }));
        recorded(step, async {
            if answer.reply.is_empty() {
                return Ok(Verdict { approved: false, issues: vec!["there is nobody to answer".to_owned()] });
            }
            let prompt = Prompt {
                system: "You verify a reply before it is sent. Answer with JSON: approved (true or false), issues \
                    (a list of sentences)."
                    .to_owned(),
                user: format!("{}\n\nReply:\n{}", mail.describe(), answer.reply),
            };
            let said = self.llm.ask_for_json("verify", &prompt).await?;
            let issues = said["issues"].as_array().into_iter().flatten();
            let verdict = Verdict {
                approved: said["approved"] == true,
                issues: issues.filter_map(Value::as_str).map(str::to_owned).collect(),
            };
            if !verdict.approved {
                complain(&format!("not approved: {}", verdict.issues.join("; ")));
            }
            (self.callback)("verify_response", if verdict.approved { "approved" } else { "not approved" });
            Ok(verdict)
        })
        .await
    }

    async fn send_results(
        &self,
        mail: &Mail,
        to: &str,
        answer: &Answer,
        verdict: &Verdict,
    ) -> Result<String, String> {
        let text = if verdict.approved { &answer.reply } else { HOLDING_REPLY };
        let step = observe("send_results").input(&json!({ "to": mail.from, "text": text }));
        recorded(step, async {
            if mail.is_automatic {
                return Ok("not answered: sent by a machine".to_owned());
            }
            let (name, reply) = compose_reply(mail, to, text)?;
            if let Some(outbox) = &self.outbox {
                let write = async {
                    tokio::fs::create_dir_all(outbox).await?;
                    tokio::fs::write(outbox.join(name), reply).await
                };
                write.await.map_err(|error| format!("{}: {error}", outbox.display()))?;
            }
            let outcome =
                if verdict.approved { "replied" } else { "holding reply sent, a person takes over" };
            (self.callback)("send_results", outcome);
            Ok(outcome.to_owned())
        })
        .await
    }
}

/// A step that has its result for its output.
async fn recorded<T: Serialize>(
    step: ObservationBuilder,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let work = async {
        let result = work.await?;
        if let Some(observation) = current_observation() {
            observation.output(&result);
        }
        Ok(result)
    };
    step.step(StepFlush::default(), work).await
}

fn complain_of_failures(results: &[ToolResult]) {
    let failed: Vec<_> = results.iter().filter_map(|result| result.error.as_deref()).collect();
    if !failed.is_empty() {
        complain(&format!("{} of {} tool steps failed: {}", failed.len(), results.len(), failed.join("; ")));
    }
}

/// Gives the current observation level WARNING.
fn complain(why: &str) {
    if let Some(observation) = current_observation() {
        observation.level(Level::Warning).status_message(why);
    }
}
