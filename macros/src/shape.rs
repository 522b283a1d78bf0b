//! What a function gives, as far as its signature says.

use proc_macro2::Span;
use syn::punctuated::Punctuated;
use syn::visit_mut::{self, VisitMut};
use syn::{
    AngleBracketedGenericArguments, GenericArgument, Ident, Path, PathArguments, ReturnType, Signature,
    Token, Type, TypeInfer, TypeParamBound,
};

/// What a function gives.
pub(crate) enum Shape {
    /// A value, at once or by being async.
    Value,
    /// A future of this output, if it says so.
    Future { is_boxed: bool, output: Option<Box<Type>> },
    /// A stream.
    Stream { is_boxed: bool, is_in_result: bool },
}

impl Shape {
    pub(crate) fn of(signature: &Signature, stream: Option<Span>) -> Self {
        let ReturnType::Type(_, returned) = &signature.output else {
            return if stream.is_some() {
                Self::Stream { is_boxed: true, is_in_result: false }
            } else {
                Self::Value
            };
        };
        let in_result = generic_of(returned, &["Result"], 0);
        for (given, is_in_result) in [(Some(&**returned), false), (in_result, true)] {
            if let Some((is_boxed, _)) = given.and_then(|given| poll(given, "Stream")) {
                return Self::Stream { is_boxed, is_in_result };
            }
        }
        if stream.is_some() {
            return Self::Stream { is_boxed: true, is_in_result: in_result.is_some() };
        }
        match poll(returned, "Future") {
            Some((is_boxed, output)) if signature.asyncness.is_none() => {
                Self::Future { is_boxed, output: output.map(Box::new) }
            }
            _ => Self::Value,
        }
    }
}

/// Whether a type is `impl Future`, or one that is boxed and pinned; and its output, if it says so. Of streams alike.
fn poll(ty: &Type, name: &str) -> Option<(bool, Option<Type>)> {
    match ty {
        Type::ImplTrait(opaque) => Some((false, bound(&opaque.bounds, name)?)),
        Type::Path(_) => {
            let boxed = [format!("Box{name}"), format!("LocalBox{name}")];
            if let Some(path) = named(ty, &[&boxed[0], &boxed[1]]) {
                return Some((true, types(path).next().cloned()));
            }
            match generic_of(generic_of(ty, &["Pin"], 0)?, &["Box"], 0)? {
                Type::TraitObject(object) => Some((true, bound(&object.bounds, name)?)),
                _ => None,
            }
        }
        Type::Paren(inner) => poll(&inner.elem, name),
        _ => None,
    }
}

/// The bound of this name, and what it says its output or item is.
fn bound(bounds: &Punctuated<TypeParamBound, Token![+]>, name: &str) -> Option<Option<Type>> {
    bounds.iter().find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else { return None };
        let last = bound.path.segments.last().filter(|segment| segment.ident == name)?;
        let PathArguments::AngleBracketed(arguments) = &last.arguments else { return Some(None) };
        Some(arguments.args.iter().find_map(|argument| match argument {
            GenericArgument::AssocType(assigned) => Some(assigned.ty.clone()),
            _ => None,
        }))
    })
}

fn generic_of<'a>(ty: &'a Type, names: &[&str], place: usize) -> Option<&'a Type> {
    types(named(ty, names)?).nth(place)
}

fn named<'a>(ty: &'a Type, names: &[&str]) -> Option<&'a Path> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    names.iter().any(|name| last.ident == name).then_some(&path.path)
}

/// The types that the last segment of a path is given.
fn types(path: &Path) -> impl Iterator<Item = &Type> {
    let arguments = path.segments.last().and_then(|segment| match &segment.arguments {
        PathArguments::AngleBracketed(AngleBracketedGenericArguments { args, .. }) => Some(args),
        _ => None,
    });
    arguments.into_iter().flatten().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

/// A type as a `let` may have it, with `_` for what is opaque.
pub(crate) fn nameable(ty: &Type) -> Type {
    struct Hide;
    impl VisitMut for Hide {
        fn visit_type_mut(&mut self, ty: &mut Type) {
            match ty {
                Type::ImplTrait(_) => {
                    *ty = TypeInfer { underscore_token: Token![_](Span::call_site()) }.into();
                }
                _ => visit_mut::visit_type_mut(self, ty),
            }
        }
    }
    let mut ty = ty.clone();
    Hide.visit_type_mut(&mut ty);
    ty
}

/// The names that a function's arguments bind.
pub(crate) fn arguments(signature: &Signature) -> Vec<Ident> {
    let mut names = Vec::new();
    for input in &signature.inputs {
        if let syn::FnArg::Typed(argument) = input {
            bind(&argument.pat, &mut names);
        }
    }
    names
}

fn bind(pattern: &syn::Pat, names: &mut Vec<Ident>) {
    use syn::Pat;
    match pattern {
        Pat::Ident(bound) => {
            names.push(bound.ident.clone());
            if let Some((_, within)) = &bound.subpat {
                bind(within, names);
            }
        }
        Pat::Reference(reference) => bind(&reference.pat, names),
        Pat::Paren(paren) => bind(&paren.pat, names),
        Pat::Type(typed) => bind(&typed.pat, names),
        Pat::Tuple(tuple) => tuple.elems.iter().for_each(|pattern| bind(pattern, names)),
        Pat::TupleStruct(tuple) => tuple.elems.iter().for_each(|pattern| bind(pattern, names)),
        Pat::Slice(slice) => slice.elems.iter().for_each(|pattern| bind(pattern, names)),
        Pat::Struct(fields) => fields.fields.iter().for_each(|field| bind(&field.pat, names)),
        _ => (),
    }
}
