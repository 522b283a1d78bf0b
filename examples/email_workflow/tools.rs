//! The tools that a plan may name. Each gives what it found, or a sentence about what is missing.

use jiff::ToSpan as _;
use jiff::civil::DateTime;
use serde_json::{Value, json};

use crate::mail::Mail;

pub(crate) const TOOLS: [&str; 4] =
    ["lookup_order", "search_faq", "summarize_attachment", "create_calendar_entry"];

const ORDERS: [(&str, &str, &str); 3] = [
    ("1042", "shipped", "tracking number EX1042EU, expected in two working days"),
    ("1077", "delivered", "delivered yesterday, signed at the door"),
    ("1093", "delivered", "delivered last week, 49.00 EUR paid by card"),
];

const FAQ: [(&str, [&str; 3], &str); 3] = [
    (
        "refund",
        ["refund", "money back", "broken"],
        "A refund is paid within 14 days after we have the item back.",
    ),
    (
        "delivery",
        ["delivery", "shipping", "abroad"],
        "Delivery takes 3 days, abroad 7 days; abroad it costs 12.00 EUR.",
    ),
    (
        "invoice",
        ["invoice", "amount", "payment"],
        "Invoices are payable by bank transfer or card within 30 days; a corrected one is sent the next working day.",
    ),
];

pub(crate) fn call_tool(name: &str, arguments: &Value, mail: &Mail) -> Result<Value, String> {
    let text = |name: &str| match arguments[name].as_str() {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(format!("the plan gives no {name}")),
    };
    match name {
        "lookup_order" => {
            let wanted = text("order_number")?;
            let order = ORDERS.iter().find(|(number, ..)| *number == wanted);
            let (number, status, detail) = order.ok_or_else(|| format!("there is no order {wanted}"))?;
            Ok(json!({ "order_number": number, "status": status, "detail": detail }))
        }
        "search_faq" => {
            let wanted = text("query")?.to_lowercase();
            let hits = FAQ.iter().filter(|(_, words, _)| words.iter().any(|word| wanted.contains(word)));
            Ok(hits.map(|(topic, _, answer)| json!({ "topic": topic, "answer": answer })).collect())
        }
        "summarize_attachment" => {
            let wanted = text("name")?;
            let attachment = mail.attachments.iter().find(|attachment| attachment.name == wanted);
            let attachment =
                attachment.ok_or_else(|| format!("the message has no attachment \"{wanted}\""))?;
            let family = attachment.r#type.split('/').next().unwrap_or("file");
            let family = if family == "application" { "document" } else { family };
            let mut found = json!(attachment);
            found["summary"] = format!("{family} of {} bytes", attachment.bytes).into();
            Ok(found)
        }
        "create_calendar_entry" => {
            let (title, date, time) = (text("title")?, text("date")?, text("time")?);
            let start = format!("{date}T{time:0>5}:00").parse::<DateTime>();
            let start = start.map_err(|_| format!("\"{date} {time}\" is not a date and time"))?;
            let end = start.checked_add(1.hour()).map_err(|error| error.to_string())?;
            let iso = |time: DateTime| format!("{time}.000Z");
            Ok(json!({ "title": title, "start": iso(start), "end": iso(end), "attendee": mail.from }))
        }
        _ => Err(format!("there is no tool \"{name}\"")),
    }
}
