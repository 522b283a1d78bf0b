//! What the workflow needs of a message, and the reply to it.

use mail_builder::MessageBuilder;
use mail_builder::headers::raw::Raw;
use mail_parser::{Message, MessageParser, MimeHeaders as _};
use serde::Serialize;

const MOST_BYTES: usize = 10 * 1024 * 1024;
const MOST_CHARACTERS: usize = 8_000;

pub(crate) struct Mail {
    pub(crate) from: String,
    pub(crate) subject: String,
    pub(crate) text: String,
    message_id: Option<String>,
    references: Vec<String>,
    /// Sent by a machine (RFC 3834): nobody waits for an answer, and answering can start a mail loop.
    pub(crate) is_automatic: bool,
    pub(crate) attachments: Vec<Attachment>,
}

#[derive(Serialize)]
pub(crate) struct Attachment {
    pub(crate) name: String,
    pub(crate) r#type: String,
    pub(crate) bytes: usize,
}

impl Mail {
    /// The form in which the prompts show a message.
    pub(crate) fn describe(&self) -> String {
        let mut lines = vec![format!("Subject: {}", self.subject), format!("From: {}", self.from)];
        lines.extend(
            self.attachments.iter().map(|Attachment { name, r#type, bytes }| {
                format!("Attachment: {name} ({type}, {bytes} bytes)")
            }),
        );
        lines.extend([String::new(), self.text.clone()]);
        lines.join("\n")
    }
}

/// An error is a sentence for the sender.
pub(crate) fn read_mail(raw: &[u8]) -> Result<Mail, String> {
    if raw.is_empty() {
        return Err("the message is empty".to_owned());
    }
    if raw.len() > MOST_BYTES {
        return Err(format!("the message has {} bytes, at most {MOST_BYTES} are read", raw.len()));
    }
    let message = MessageParser::default().parse(raw);
    let from = message.as_ref().and_then(|message| message.from()?.first()?.address());
    let (Some(message), Some(from)) = (&message, from.filter(|from| from.contains('@'))) else {
        return Err("not an RFC 5322 message: it has no From header with an address".to_owned());
    };
    let text = text(message);
    let attachments: Vec<_> = message.attachments().enumerate().map(attachment).collect();
    if text.is_empty() && attachments.is_empty() {
        return Err("the message has neither text nor attachments".to_owned());
    }
    let subject = message.subject().unwrap_or_default().trim();
    let submitted = message.header("Auto-Submitted").and_then(|header| header.as_text());
    let references = message.references().as_text_list();
    Ok(Mail {
        from: from.to_owned(),
        subject: if subject.is_empty() { "(no subject)".to_owned() } else { subject.to_owned() },
        text: text.chars().take(MOST_CHARACTERS).collect(),
        message_id: message.message_id().map(str::to_owned),
        references: references.unwrap_or_default().iter().map(ToString::to_string).collect(),
        is_automatic: submitted.is_some_and(|submitted| !submitted.eq_ignore_ascii_case("no")),
        attachments,
    })
}

/// The plain text, else that of the HTML.
fn text(message: &Message<'_>) -> String {
    let plain = message.text_bodies().find(|part| part.is_text() && !part.is_text_html());
    if let Some(plain) =
        plain.and_then(|part| part.text_contents()).map(str::trim).filter(|text| !text.is_empty())
    {
        return plain.replace("\r\n", "\n");
    }
    let html = message.body_text(0).unwrap_or_default();
    let lines = html.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

fn attachment((index, part): (usize, &mail_parser::MessagePart<'_>)) -> Attachment {
    let name = part.attachment_name().map(str::to_owned);
    let r#type = part.content_type().map(|content| match content.subtype() {
        Some(subtype) => format!("{}/{subtype}", content.ctype()),
        None => content.ctype().to_owned(),
    });
    Attachment {
        name: name.unwrap_or_else(|| format!("attachment-{}", index + 1)),
        r#type: r#type.unwrap_or_else(|| "application/octet-stream".to_owned()),
        bytes: part.contents().len(),
    }
}

/// A reply that stands below the message in mail programs, and what its file may be called.
pub(crate) fn compose_reply(mail: &Mail, from: &str, text: &str) -> Result<(String, Vec<u8>), String> {
    let id = mail.message_id.as_deref().ok_or("the message has no Message-ID, a reply could not name it")?;
    let is_reply = mail.subject.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("re:"));
    let subject = if is_reply { mail.subject.clone() } else { format!("Re: {}", mail.subject) };
    let mut references = mail.references.clone();
    references.push(id.to_owned());
    let reply = MessageBuilder::new()
        .from(from)
        .to(mail.from.as_str())
        .subject(subject)
        .in_reply_to(id)
        .references(references)
        .header("Auto-Submitted", Raw::new("auto-replied"))
        .text_body(text)
        .write_to_vec()
        .map_err(|error| format!("the reply cannot be written: {error}"))?;
    let name = id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' });
    Ok((format!("re-{}.eml", name.collect::<String>()), reply))
}
