//! The code in the place of a function's body.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Error, ItemFn, Result, ReturnType, Type};

use crate::options::Options;
use crate::shape::{self, Shape};

pub(crate) fn observe(options: &Options, function: ItemFn) -> Result<TokenStream> {
    match &options.flush {
        Some(flush) => Err(Error::new_spanned(flush, "only a step flushes: use `#[step]`")),
        None => expand(options, function, &quote!(run), &quote!()),
    }
}

pub(crate) fn step(options: &Options, function: ItemFn) -> Result<TokenStream> {
    let is_async = function.sig.asyncness.is_some();
    match Shape::of(&function.sig, options.stream) {
        Shape::Future { .. } => (),
        Shape::Value if is_async => (),
        Shape::Stream { .. } => {
            return Err(Error::new_spanned(
                &function.sig.output,
                "a step has ended when its function has, and a stream has not: use `#[observe]`",
            ));
        }
        Shape::Value => {
            return Err(Error::new_spanned(
                function.sig.fn_token,
                "a step flushes when it has ended, so its function must be async: write `async fn`, or use `#[observe]`",
            ));
        }
    }
    let flush = match &options.flush {
        Some(flush) => quote!(#flush),
        None => quote!(::langfuse_edge::StepFlush::default()),
    };
    expand(options, function, &quote!(run_step), &quote!(, #flush))
}

/// `run` is what runs a future; it takes `how` besides.
fn expand(options: &Options, function: ItemFn, run: &TokenStream, how: &TokenStream) -> Result<TokenStream> {
    let ItemFn { attrs, vis, sig, block } = function;
    let arguments = shape::arguments(&sig);
    options.check(&arguments)?;
    if let Some(constness) = &sig.constness {
        return Err(Error::new_spanned(
            constness,
            "a const fn cannot be observed: it runs in the compiler too",
        ));
    }
    let returned = match &sig.output {
        ReturnType::Default => None,
        ReturnType::Type(_, ty) => Some(&**ty),
    };
    if let Some(never @ Type::Never(_)) = returned {
        return Err(Error::new_spanned(
            never,
            "a function that never returns cannot be observed: it never ends",
        ));
    }

    let builder = builder(options, &sig.ident.to_string(), &arguments);
    let body = anchored(returned, quote!(#block));
    let part = part(options);
    let at_part = quote!(|__langfuse_part| (&&&&::langfuse_edge::__private::probe(__langfuse_part)).kind().#part(__langfuse_part));
    let at_error = quote!(|__langfuse_part| (&&&&::langfuse_edge::__private::probe(__langfuse_part))
        .kind()
        .error(__langfuse_part));
    let private = quote!(::langfuse_edge::__private);
    let is_async = sig.asyncness.is_some();

    let call = match Shape::of(&sig, options.stream) {
        Shape::Value if is_async => quote! {
            #private::#run(__langfuse_builder, async move #body, #at_part #how).await
        },
        Shape::Value => quote! {
            #private::call(__langfuse_builder, move || #body, #at_part)
        },
        Shape::Future { is_boxed, output } => {
            let output = output.as_deref().map(shape::nameable).unwrap_or_else(|| syn::parse_quote!(_));
            let future = quote! {
                #private::#run(__langfuse_builder, #private::giving::<#output, _>((move || #body)()), #at_part #how)
            };
            if is_boxed { quote!(::std::boxed::Box::pin(#future)) } else { future }
        }
        Shape::Stream { is_boxed, is_in_result } => {
            let stream = match (is_async, is_in_result) {
                (false, false) => quote!(#private::stream(__langfuse_builder, move || #body, #at_part)),
                (false, true) => {
                    quote!(#private::try_stream(__langfuse_builder, move || #body, #at_error, #at_part))
                }
                (true, false) => {
                    quote!(#private::run_stream(__langfuse_builder, async move #body, #at_part).await)
                }
                (true, true) => quote! {
                    #private::run_try_stream(__langfuse_builder, async move #body, #at_error, #at_part).await
                },
            };
            match (is_boxed, is_in_result) {
                (false, _) => stream,
                (true, false) => quote!(::std::boxed::Box::pin(#stream)),
                (true, true) => quote! {
                    match #stream {
                        ::core::result::Result::Ok(__langfuse_stream) => {
                            ::core::result::Result::Ok(::std::boxed::Box::pin(__langfuse_stream))
                        }
                        ::core::result::Result::Err(__langfuse_error) => {
                            ::core::result::Result::Err(__langfuse_error)
                        }
                    }
                },
            }
        }
    };
    Ok(quote! {
        #(#attrs)*
        #vis #sig {
            #[allow(unused_imports)]
            use ::langfuse_edge::__private::{DebuggedKind as _, DisplayedKind as _, PlainKind as _, SilentKind as _};
            #builder
            #call
        }
    })
}

/// What begins to describe the observation, with the arguments as its input.
fn builder(options: &Options, function: &str, arguments: &[syn::Ident]) -> TokenStream {
    let own = function.strip_prefix("r#").unwrap_or(function);
    let name = options.name.as_ref().map_or_else(|| quote!(#own), |name| quote!(#name));
    let kind = options.kind.as_ref().map_or_else(|| quote!(Span), |kind| quote!(#kind));
    let client = match &options.client {
        Some(client) => quote!(::core::option::Option::Some(&#client)),
        None => quote!(::core::option::Option::None),
    };
    let builder = quote! {
        ::langfuse_edge::__private::builder(#client, #name, ::langfuse_edge::ObservationKind::#kind)
    };
    let added: Vec<_> = arguments
        .iter()
        .filter_map(|argument| {
            let name = options.recorded_name(argument)?;
            // At the argument's place, where the compiler then says what is wrong with it.
            let borrowed = quote_spanned!(argument.span()=> &#argument);
            Some(quote!(__langfuse_arguments.add(#name, #borrowed);))
        })
        .collect();
    if added.is_empty() {
        return quote!(let __langfuse_builder = #builder;);
    }
    quote! {
        let mut __langfuse_arguments = ::langfuse_edge::__private::Arguments::of(#builder);
        #(#added)*
        let __langfuse_builder = __langfuse_arguments.into_builder();
    }
}

fn part(options: &Options) -> TokenStream {
    if options.skips_output { quote!(error) } else { quote!(part) }
}

/// The body, from whose first statement the compiler learns what it gives: a closure or an async block does not say so.
fn anchored(returned: Option<&Type>, body: TokenStream) -> TokenStream {
    let returned = match returned {
        Some(Type::ImplTrait(_)) => return quote!({ #body }),
        Some(ty) => shape::nameable(ty),
        None => syn::parse_quote!(()),
    };
    quote! {
        {
            #[allow(
                unknown_lints,
                unreachable_code,
                clippy::diverging_sub_expression,
                clippy::empty_loop,
                clippy::let_and_return,
                clippy::let_unit_value,
                clippy::let_with_type_underscore,
                clippy::needless_return,
                clippy::unreachable
            )]
            if false {
                let __langfuse_return: #returned = loop {};
                return __langfuse_return;
            }
            #body
        }
    }
}
