//! An OpenAI-compatible endpoint, each call of which is a generation.

use std::time::Duration;

use langfuse_edge::{LlmCall, ObservationKind, observe};
use serde_json::{Value, json};

const TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) struct Llm {
    http: reqwest::Client,
    url: String,
    key: Option<String>,
    model: String,
}

pub(crate) struct Prompt {
    pub(crate) system: String,
    pub(crate) user: String,
}

impl Llm {
    /// `OPENAI_API_KEY`, `OPENAI_BASE_URL`, `OPENAI_MODEL`.
    pub(crate) fn from_env() -> Result<Self, reqwest::Error> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let base_url = variable("OPENAI_BASE_URL").unwrap_or_else(|| "https://api.openai.com/v1".to_owned());
        Ok(Self {
            http: reqwest::Client::builder().timeout(TIMEOUT).build()?,
            url: format!("{}/chat/completions", base_url.trim_end_matches('/')),
            key: variable("OPENAI_API_KEY"),
            model: variable("OPENAI_MODEL").unwrap_or_else(|| "gpt-4o-mini".to_owned()),
        })
    }

    /// An answer that is one JSON object.
    pub(crate) async fn ask_for_json(&self, name: &str, prompt: &Prompt) -> Result<Value, String> {
        let mut request = self.request(prompt);
        request["response_format"] = json!({ "type": "json_object" });
        let text = self.generate(name, &request, async |_| self.whole(&request).await).await?;
        let answer: Value =
            serde_json::from_str(&text).map_err(|_| format!("{name}: the model's answer is not JSON"))?;
        if answer.is_object() {
            Ok(answer)
        } else {
            Err(format!("{name}: the model's answer is not a JSON object"))
        }
    }

    /// An answer in prose, streamed.
    pub(crate) async fn ask_for_text(&self, name: &str, prompt: &Prompt) -> Result<String, String> {
        let mut request = self.request(prompt);
        request["stream"] = true.into();
        request["stream_options"] = json!({ "include_usage": true });
        self.generate(name, &request, async |call| self.streamed(&request, call).await).await
    }

    fn request(&self, Prompt { system, user }: &Prompt) -> Value {
        json!({
            "model": self.model,
            "messages": [{ "role": "system", "content": system }, { "role": "user", "content": user }],
            "temperature": 0,
            "max_tokens": 400,
        })
    }

    /// Records what `ask` gives, which is a response as the API has it.
    async fn generate(
        &self,
        name: &str,
        request: &Value,
        ask: impl AsyncFnOnce(&LlmCall) -> Result<Value, String>,
    ) -> Result<String, String> {
        let call = LlmCall::start(observe(name).kind(ObservationKind::Generation), request);
        match ask(&call).await {
            Ok(response) => {
                call.end(&response);
                Ok(response["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned())
            }
            Err(error) => {
                let error = format!("{name}: {error}");
                call.error(&error);
                Err(error)
            }
        }
    }

    async fn whole(&self, request: &Value) -> Result<Value, String> {
        let text = self.post(request).await?.text().await.map_err(explain)?;
        serde_json::from_str(&text).map_err(|_| "the LLM endpoint's answer is not JSON".to_owned())
    }

    async fn streamed(&self, request: &Value, call: &LlmCall) -> Result<Value, String> {
        let mut response = self.post(request).await?;
        let (mut text, mut about) = (String::new(), json!({}));
        let mut unread = Vec::new();
        while let Some(bytes) = response.chunk().await.map_err(explain)? {
            unread.extend_from_slice(&bytes);
            while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = unread.drain(..=end).collect();
                let Some(data) = line.strip_prefix(b"data: ") else { continue };
                // The last one is no JSON: `[DONE]`.
                let Ok(chunk) = serde_json::from_slice::<Value>(data) else { continue };
                if let Some(delta) = chunk["choices"][0]["delta"]["content"].as_str() {
                    call.first_token();
                    text += delta;
                }
                if chunk["usage"].is_object() {
                    about = chunk;
                }
            }
        }
        about["choices"] = json!([{ "message": { "role": "assistant", "content": text } }]);
        Ok(about)
    }

    async fn post(&self, request: &Value) -> Result<reqwest::Response, String> {
        let key = self.key.as_ref().ok_or("OPENAI_API_KEY is not set")?;
        let request = self
            .http
            .post(&self.url)
            .bearer_auth(key)
            .header("content-type", "application/json")
            .body(request.to_string());
        let response = request.send().await.map_err(explain)?;
        let status = response.status();
        if status.is_success() { Ok(response) } else { Err(format!("the LLM endpoint answered {status}")) }
    }
}

fn explain(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "the LLM endpoint did not answer in time".to_owned();
    }
    "the LLM endpoint cannot be reached".to_owned()
}
