//! What stands in the parentheses of an attribute.

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Error, Expr, Ident, LitStr, Result, Token, parenthesized};

const KNOWN: &str = "name, kind, as_type, skip, skip_all, rename, skip_output, client, stream, flush";
const KINDS: [(&str, &str); 9] = [
    ("span", "Span"),
    ("generation", "Generation"),
    ("agent", "Agent"),
    ("tool", "Tool"),
    ("chain", "Chain"),
    ("retriever", "Retriever"),
    ("evaluator", "Evaluator"),
    ("embedding", "Embedding"),
    ("guardrail", "Guardrail"),
];

#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    /// The variant of `ObservationKind`.
    pub(crate) kind: Option<Ident>,
    pub(crate) skipped: Vec<Ident>,
    pub(crate) skips_all: bool,
    pub(crate) renamed: Vec<(Ident, LitStr)>,
    pub(crate) skips_output: bool,
    pub(crate) client: Option<Expr>,
    pub(crate) stream: Option<Span>,
    /// How a step flushes.
    pub(crate) flush: Option<Expr>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        while !input.is_empty() {
            options.parse_one(input)?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

impl Options {
    fn parse_one(&mut self, input: ParseStream<'_>) -> Result<()> {
        let option: Ident = input.parse().map_err(|error| Error::new(error.span(), unknown("this")))?;
        match option.to_string().as_str() {
            "name" => self.name = Some(text(input)?),
            "kind" | "as_type" => self.kind = Some(kind(&text(input)?)?),
            "skip" => {
                let names;
                parenthesized!(names in input);
                self.skipped.extend(names.parse_terminated(Ident::parse_any, Token![,])?);
            }
            "skip_all" => self.skips_all = true,
            "rename" => {
                let names;
                parenthesized!(names in input);
                let pair = |input: ParseStream<'_>| Ok((input.call(Ident::parse_any)?, text(input)?));
                self.renamed.extend(names.parse_terminated(pair, Token![,])?);
            }
            "skip_output" => self.skips_output = true,
            "client" => {
                input.parse::<Token![=]>()?;
                self.client = Some(input.parse()?);
            }
            "flush" => {
                input.parse::<Token![=]>()?;
                self.flush = Some(input.parse()?);
            }
            "stream" => self.stream = Some(option.span()),
            other => return Err(Error::new(option.span(), unknown(other))),
        }
        Ok(())
    }
}

fn unknown(option: &str) -> String {
    format!("there is no option `{option}`; there are {KNOWN}")
}

fn text(input: ParseStream<'_>) -> Result<LitStr> {
    input.parse::<Token![=]>()?;
    input.parse()
}

fn kind(name: &LitStr) -> Result<Ident> {
    let known = name.value();
    if known == "event" {
        return Err(Error::new(
            name.span(),
            "an event is a point in time and has no function: call `langfuse_edge::observe(…).kind(…).record()` within one",
        ));
    }
    match KINDS.iter().find(|(kind, _)| *kind == known) {
        Some((_, variant)) => Ok(Ident::new(variant, name.span())),
        None => {
            let kinds = KINDS.map(|(kind, _)| kind).join(", ");
            Err(Error::new(name.span(), format!("there is no kind `{known}`; there are {kinds}")))
        }
    }
}

impl Options {
    /// What an argument is called in the input, if it is recorded.
    pub(crate) fn recorded_name(&self, argument: &Ident) -> Option<String> {
        let is_left_out = self.skips_all || self.skipped.contains(argument);
        if is_left_out {
            return None;
        }
        let renamed = self.renamed.iter().find(|(known, _)| known == argument).map(|(_, name)| name.value());
        let own = argument.to_string();
        let own = own.strip_prefix("r#").unwrap_or(&own);
        renamed.or_else(|| (!own.starts_with('_')).then(|| own.to_owned()))
    }

    /// An option may name arguments that there are only.
    pub(crate) fn check(&self, arguments: &[Ident]) -> Result<()> {
        let named = self.skipped.iter().chain(self.renamed.iter().map(|(name, _)| name));
        for name in named {
            if name == "self" {
                return Err(Error::new(name.span(), "`self` is never recorded, so it need not be named"));
            }
            if !arguments.contains(name) {
                let there_are = match arguments {
                    [] => "it has none".to_owned(),
                    _ => format!(
                        "it has {}",
                        arguments.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
                    ),
                };
                return Err(Error::new(
                    name.span(),
                    format!("`{name}` is no argument of this function: {there_are}"),
                ));
            }
        }
        match (&self.client, self.skips_all, self.renamed.first()) {
            (_, true, Some((name, _))) => Err(Error::new(
                name.span(),
                "with `skip_all` no argument is recorded, so none can be renamed",
            )),
            (Some(client), ..) if matches!(client, Expr::Reference(_)) => {
                Err(Error::new(client.span(), "the client is borrowed by itself: leave out the `&`"))
            }
            _ => Ok(()),
        }
    }
}
