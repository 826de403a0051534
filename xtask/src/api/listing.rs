//! The public API, read from the source: declarations without bodies, private fields and documentation.
//!
//! From the syntax alone, so that any toolchain makes the same list; rustdoc's JSON is unstable and changes with it. Hence
//! names are resolved by what this crate does and no further: a private module's items are public where its parent
//! re-exports them by name, and an implementation belongs to the public module whose file, or a file below it, holds it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use syn::{Attribute, Fields, ImplItem, Item, ItemImpl, Meta, TraitItem, Type, UseTree, Visibility};

/// Of the library at `root`.
pub(crate) fn of(root: &Path) -> Result<String, String> {
    let top = Module::read("wgccl".to_owned(), &root.join("src/lib.rs"), &root.join("src"))?;
    let mut text = String::new();
    top.list(&mut text);
    Ok(text)
}

/// A file of the source.
struct Module {
    path: String,
    public: bool,
    items: Vec<Item>,
    children: Vec<Module>,
}

impl Module {
    fn read(path: String, file: &Path, dir: &Path) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let text = std::fs::read_to_string(file).map_err(|error| failed(&error))?;
        let mut module = Self { path, public: true, items: Vec::new(), children: Vec::new() };
        for item in syn::parse_file(&text).map_err(|error| failed(&error))?.items {
            match item {
                // It promises nothing.
                Item::Mod(of) if is_hidden(&of.attrs) || of.ident == "low_level" => {}
                Item::Mod(of) if of.content.is_none() => {
                    let name = of.ident.to_string();
                    let below: PathBuf = dir.join(&name);
                    let file = below.with_extension("rs");
                    let mut child = Self::read(format!("{}::{name}", module.path), &file, &below)?;
                    child.public = is_public(&of.vis);
                    module.children.push(child);
                }
                item => module.items.push(item),
            }
        }
        Ok(module)
    }

    fn list(&self, text: &mut String) {
        if !self.public {
            return;
        }
        let mut items = self.declared(None);
        let names: BTreeSet<String> = items.iter().filter_map(name).collect();
        items.extend(self.implementations(&names));
        if !items.is_empty() {
            let file = syn::File { shebang: None, attrs: Vec::new(), items };
            text.push_str(&format!("// {}\n\n{}\n", self.path, prettyplease::unparse(&file)));
        }
        self.children.iter().for_each(|child| child.list(text));
    }

    /// Public items, those that a private child gives included; of a child, only those `wanted`.
    fn declared(&self, wanted: Option<&BTreeSet<String>>) -> Vec<Item> {
        let mut found = Vec::new();
        let is_wanted = |name: &str| wanted.is_none_or(|wanted| wanted.contains(name));
        for item in &self.items {
            if let Item::Use(of) = item
                && is_public(&of.vis)
            {
                let mut exports = Vec::new();
                leaves(&of.tree, &mut Vec::new(), &mut exports);
                for (from, name) in exports.into_iter().filter(|(_, name)| is_wanted(name)) {
                    let child = self
                        .children
                        .iter()
                        .find(|child| from.len() == 1 && child.path.ends_with(&format!("::{}", from[0])));
                    match child {
                        Some(child) if !child.public => found.extend(child.declared(Some(&BTreeSet::from([name])))),
                        // Of a public child, or of another crate.
                        _ => found.extend(syn::parse_str::<Item>(&format!("pub use {}::{name};", from.join("::")))),
                    }
                }
                continue;
            }
            let Some(item) = stripped(item) else { continue };
            if name(&item).is_some_and(|name| is_wanted(&name)) {
                found.push(item);
            }
        }
        found
    }

    /// Implementations for types of these names, here and in private children.
    fn implementations(&self, names: &BTreeSet<String>) -> Vec<Item> {
        let here = self.items.iter().filter_map(|item| match item {
            Item::Impl(of) => implementation(of, names).map(Item::Impl),
            // Of enums with names, whose names are what scripts use.
            Item::Macro(of) if of.ident.is_none() && of.mac.path.is_ident("named") => Some(item.clone()),
            _ => None,
        });
        let mut found: Vec<Item> = here.collect();
        let private = self.children.iter().filter(|child| !child.public);
        private.for_each(|child| found.extend(child.implementations(names)));
        found
    }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Not there for users: tests, and what documentation leaves out.
fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string() == "test",
        Meta::List(list) if list.path.is_ident("doc") => list.tokens.to_string() == "hidden",
        _ => false,
    })
}

/// What changes how an item can be used.
fn attributes(of: &mut Vec<Attribute>) {
    const KEPT: [&str; 6] = ["non_exhaustive", "derive", "must_use", "cfg", "error", "deprecated"];
    of.retain(|attribute| KEPT.iter().any(|kept| attribute.path().is_ident(kept)));
    // The words of an error are no promise.
    of.retain(|attribute| !attribute.path().is_ident("error"));
}

/// Paths and names of a `use`.
fn leaves(tree: &UseTree, from: &mut Vec<String>, found: &mut Vec<(Vec<String>, String)>) {
    match tree {
        UseTree::Path(path) => {
            from.push(path.ident.to_string());
            leaves(&path.tree, from, found);
            from.pop();
        }
        UseTree::Name(name) => found.push((from.clone(), name.ident.to_string())),
        UseTree::Rename(name) => found.push((from.clone(), format!("{} as {}", name.ident, name.rename))),
        UseTree::Glob(_) => found.push((from.clone(), "*".to_owned())),
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, from, found)),
    }
}

fn name(item: &Item) -> Option<String> {
    match item {
        Item::Const(of) => Some(of.ident.to_string()),
        Item::Enum(of) => Some(of.ident.to_string()),
        Item::Fn(of) => Some(of.sig.ident.to_string()),
        Item::Static(of) => Some(of.ident.to_string()),
        Item::Struct(of) => Some(of.ident.to_string()),
        Item::Trait(of) => Some(of.ident.to_string()),
        Item::Type(of) => Some(of.ident.to_string()),
        _ => None,
    }
}

fn empty() -> syn::Block {
    syn::Block { brace_token: Default::default(), stmts: Vec::new() }
}

/// A public item as a user sees it.
fn stripped(item: &Item) -> Option<Item> {
    let mut item = item.clone();
    let (visibility, of) = match &mut item {
        Item::Const(of) => (&of.vis, &mut of.attrs),
        Item::Enum(of) => {
            of.variants.iter_mut().for_each(|variant| {
                attributes(&mut variant.attrs);
                fields(&mut variant.fields, true);
            });
            (&of.vis, &mut of.attrs)
        }
        Item::Fn(of) => {
            *of.block = empty();
            (&of.vis, &mut of.attrs)
        }
        Item::Static(of) => (&of.vis, &mut of.attrs),
        Item::Struct(of) => {
            fields(&mut of.fields, false);
            (&of.vis, &mut of.attrs)
        }
        Item::Trait(of) => {
            for item in &mut of.items {
                match item {
                    TraitItem::Fn(of) => {
                        attributes(&mut of.attrs);
                        of.default = of.default.as_ref().map(|_| empty());
                    }
                    TraitItem::Const(of) => attributes(&mut of.attrs),
                    TraitItem::Type(of) => attributes(&mut of.attrs),
                    _ => {}
                }
            }
            (&of.vis, &mut of.attrs)
        }
        Item::Type(of) => (&of.vis, &mut of.attrs),
        _ => return None,
    };
    if !is_public(visibility) || is_hidden(of) {
        return None;
    }
    attributes(of);
    Some(item)
}

/// Without the private ones; that there are some is the field `_private`.
fn fields(of: &mut Fields, all: bool) {
    let private: Type = syn::parse_quote!(_);
    match of {
        Fields::Named(named) => {
            let count = named.named.len();
            let kept = std::mem::take(&mut named.named).into_iter().filter(|field| all || is_public(&field.vis));
            named.named = kept.collect();
            named.named.iter_mut().for_each(|field| attributes(&mut field.attrs));
            if named.named.len() < count {
                named.named.push(syn::Field {
                    attrs: Vec::new(),
                    vis: Visibility::Inherited,
                    mutability: syn::FieldMutability::None,
                    ident: Some(quote::format_ident!("_private")),
                    colon_token: Some(Default::default()),
                    ty: private,
                });
            }
        }
        Fields::Unnamed(unnamed) => {
            for field in &mut unnamed.unnamed {
                attributes(&mut field.attrs);
                if !all && !is_public(&field.vis) {
                    field.ty = private.clone();
                }
            }
        }
        Fields::Unit => {}
    }
}

/// What of it a user can name.
fn implementation(of: &ItemImpl, names: &BTreeSet<String>) -> Option<ItemImpl> {
    let Type::Path(path) = &*of.self_ty else { return None };
    let name = path.path.segments.last()?.ident.to_string();
    let of_trait = of.trait_.as_ref().and_then(|(_, path, _)| path.segments.last()).map(|last| last.ident.to_string());
    // Of a public trait here for a type of elsewhere, too.
    if is_hidden(&of.attrs) || !(names.contains(&name) || of_trait.is_some_and(|name| names.contains(&name))) {
        return None;
    }
    let mut of = of.clone();
    attributes(&mut of.attrs);
    if of.trait_.is_some() {
        of.items.retain(|item| matches!(item, ImplItem::Type(_)));
        return Some(of);
    }
    of.items.retain_mut(|item| match item {
        ImplItem::Fn(of) if is_public(&of.vis) && !is_hidden(&of.attrs) => {
            attributes(&mut of.attrs);
            of.block = empty();
            true
        }
        ImplItem::Const(of) if is_public(&of.vis) => {
            attributes(&mut of.attrs);
            true
        }
        _ => false,
    });
    (!of.items.is_empty()).then_some(of)
}
