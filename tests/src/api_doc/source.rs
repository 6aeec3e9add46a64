//! Reads the API out of its source: the trait's methods, and the types of what goes in and out as serde writes and
//! reads them. Whatever it doesn't understand it refuses, so that nothing is documented wrongly.
use std::collections::BTreeMap;
use std::path::Path;

use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Attribute, Fields, FnArg, GenericArgument, Item, LitStr, PathArguments, Token, TraitItem, Type};

use super::attributes::{Rules, doc_of};

/// The API.
#[derive(Debug)]
pub(super) struct Api {
    /// In the order of the trait.
    pub(super) methods: Vec<Method>,
    /// By name; a generic one has its parameter in it, as in `Choice<T>`.
    pub(super) types: BTreeMap<String, Object>,
}

/// A method of the trait.
#[derive(Debug)]
pub(super) struct Method {
    /// Its name on the wire.
    pub(super) name: String,
    /// What it does.
    pub(super) doc: String,
    /// The type of its parameters.
    pub(super) params: String,
    /// The type of its result; of a subscription: of what is sent.
    pub(super) result: String,
    /// Its notifications' name and the method that ends it, if it is a subscription.
    pub(super) subscription: Option<(String, String)>,
}

/// A type that goes over the wire.
#[derive(Debug)]
pub(super) struct Object {
    /// What it is.
    pub(super) doc: String,
    /// How it is written.
    pub(super) shape: Shape,
}

/// How a type is written in JSON.
#[derive(Debug)]
pub(super) enum Shape {
    /// An object. Members that it doesn't have are refused if it is `closed`.
    Members { members: Vec<Member>, closed: bool },
    /// An object with exactly one of these members.
    OneMember(Vec<Member>),
    /// One of these words.
    Words(Vec<Word>),
    /// A value of any of these types.
    AnyOf(Vec<(String, Value)>),
    /// A string: bytes in base64.
    Base64,
    /// A list of names of members of the torrent object.
    FieldNames,
    /// The torrent object with those members that were asked for.
    Row,
    /// Any object.
    Free,
}

/// A member of an object.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Its name on the wire.
    pub(super) name: String,
    /// What it means.
    pub(super) doc: String,
    /// What it may be.
    pub(super) value: Value,
    /// It may be left out when a call is made.
    pub(super) has_default: bool,
    /// It is left out of an answer where it would be `null`.
    pub(super) skipped: bool,
    /// Its members stand in its place.
    pub(super) flat: bool,
}

/// A word that stands for something.
#[derive(Debug)]
pub(super) struct Word {
    /// As it is on the wire.
    pub(super) word: String,
    /// What it means.
    pub(super) doc: String,
    /// It is what an absent parameter means.
    pub(super) is_default: bool,
}

/// What a member may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A string.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number from 0 to this.
    Count(u64),
    /// A whole number.
    Whole,
    /// A number.
    Number,
    /// Anything.
    Any,
    /// A list.
    List(Box<Value>),
    /// An object with any number of members, whose names and values these are.
    Map(Box<Value>, Box<Value>),
    /// That, or `null`.
    Maybe(Box<Value>),
    /// A type of the API.
    Named(String),
    /// A generic type of the API, and its argument.
    Of(String, Box<Value>),
    /// The parameter of a generic type.
    Parameter,
}

/// The type whose declaration is a macro.
pub(super) const TORRENT: &str = "Torrent";

/// Says how a type is written, by its declaration.
type Describe = fn(&syn::DeriveInput) -> Shape;

/// Types whose serde code is written by hand, or goes by another type; a test of this module compares.
const BY_HAND: &[(&str, Describe)] = &[
    ("Part", |_| Shape::Base64),
    ("Fields", |_| Shape::FieldNames),
    ("Row", |_| Shape::Row),
    ("OpenRpc", |_| Shape::Free),
    ("Source", one_member),
];

/// The names of those types.
#[cfg(test)]
pub(super) fn by_hand() -> Vec<&'static str> {
    BY_HAND.iter().map(|(name, _)| *name).collect()
}

impl Api {
    /// Reads the source in `folder`.
    pub(super) fn read(folder: &Path) -> Api {
        let mut api = Api { methods: Vec::new(), types: BTreeMap::new() };
        api.read_folder(folder);
        assert!(!api.methods.is_empty(), "no trait `Api` below {}", folder.display());
        api
    }

    fn read_folder(&mut self, folder: &Path) {
        let entries = std::fs::read_dir(folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            // The transport has types of its own, and the mock none.
            let is_other = ["server", "client", "mock"]
                .iter()
                .any(|other| path.file_stem().is_some_and(|stem| stem == *other));
            if path.is_dir() && !is_other {
                self.read_folder(&path);
            } else if path.is_file() && !is_other {
                let text = std::fs::read_to_string(&path).unwrap();
                let file = syn::parse_file(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
                file.items.into_iter().for_each(|item| self.read_item(item));
            }
        }
    }

    fn read_item(&mut self, item: Item) {
        match item {
            Item::Trait(api) if api.ident == "Api" => {
                self.methods.extend(api.items.iter().map(|item| match item {
                    TraitItem::Fn(method) => read_method(method),
                    _ => panic!("the trait `Api` has something that is no method"),
                }));
            }
            Item::Macro(item) if item.mac.path.is_ident("torrent") => {
                let fields = Punctuated::<syn::Field, Token![,]>::parse_terminated_with;
                let parse = |input: syn::parse::ParseStream<'_>| fields(input, syn::Field::parse_named);
                let fields = parse.parse2(item.mac.tokens).unwrap_or_else(|why| panic!("`torrent!`: {why}"));
                let members = fields.iter().map(|field| read_member(field, &Rules::default())).collect();
                let doc = "One torrent.".to_owned();
                self.insert(TORRENT, doc, Shape::Members { members, closed: false });
            }
            Item::Struct(item) => self.read_type(item.into()),
            Item::Enum(item) => self.read_type(item.into()),
            _ => {}
        }
    }

    fn read_type(&mut self, item: syn::DeriveInput) {
        let name = item.ident.to_string();
        let by_hand = BY_HAND.iter().find(|(known, _)| *known == name);
        let is_public = matches!(item.vis, syn::Visibility::Public(_));
        if !is_public || (by_hand.is_none() && !derives(&item.attrs, "Serialize")) {
            return;
        }
        let rules = Rules::of(&item.attrs, &name);
        let shape = match (by_hand, &item.data) {
            (Some((_, shape)), _) => shape(&item),
            (None, _) if rules.goes_by_another => panic!("{name} goes by another type: say in BY_HAND how"),
            (None, syn::Data::Struct(data)) => {
                let Fields::Named(fields) = &data.fields else { panic!("{name} has no named fields") };
                let defaults = !rules.default || derives(&item.attrs, "Default");
                assert!(defaults, "{name}: its defaults are not those of its members' types");
                let members = fields.named.iter().map(|field| read_member(field, &rules)).collect();
                Shape::Members { members, closed: rules.closed }
            }
            (None, syn::Data::Enum(data)) if rules.untagged => {
                Shape::AnyOf(data.variants.iter().map(|v| (doc_of(&v.attrs), only_field(v, &name))).collect())
            }
            (None, syn::Data::Enum(data)) => Shape::Words(
                data.variants.iter().filter_map(|variant| read_word(variant, &rules, &name)).collect(),
            ),
            (None, syn::Data::Union(_)) => panic!("{name} is a union"),
        };
        let name = if item.generics.params.is_empty() { name } else { format!("{name}<T>") };
        self.insert(&name, doc_of(&item.attrs), shape);
    }

    fn insert(&mut self, name: &str, doc: String, shape: Shape) {
        let before = self.types.insert(name.to_owned(), Object { doc, shape });
        assert!(before.is_none(), "two types of the API are called {name}");
    }

    /// The type of that name.
    ///
    /// # Panics
    /// When there is none: it isn't public, derives no `Serialize`, or is another crate's.
    pub(super) fn object(&self, name: &str) -> &Object {
        self.types.get(name).unwrap_or_else(|| {
            panic!("{name} is used by the API and is no public type of wgod/api/src that derives `Serialize`")
        })
    }

    /// The members of an object, those of flattened ones in their place.
    pub(super) fn members(&self, name: &str) -> Vec<Member> {
        let Shape::Members { members, .. } = &self.object(name).shape else {
            panic!("{name} has no members")
        };
        let flat = |member: &Member| match (&member.value, member.flat) {
            (Value::Named(name), true) => self.members(name),
            _ => vec![member.clone()],
        };
        members.iter().flat_map(flat).collect()
    }
}

fn derives(attrs: &[Attribute], name: &str) -> bool {
    attrs.iter().filter(|attr| attr.path().is_ident("derive")).any(|attr| {
        let paths = attr.parse_args_with(Punctuated::<syn::Path, Token![,]>::parse_terminated);
        paths.unwrap().iter().any(|path| path.is_ident(name))
    })
}

fn read_method(method: &syn::TraitItemFn) -> Method {
    let doc = doc_of(&method.attrs);
    let params = method.sig.inputs.iter().find_map(|input| match input {
        FnArg::Typed(input) if !matches!(&*input.ty, Type::Reference(_)) => Some(read_value(&input.ty)),
        _ => None,
    });
    let Some(Value::Named(params)) = params else { panic!("{}: no parameters", method.sig.ident) };
    for attr in &method.attrs {
        if attr.path().is_ident("method") {
            let syn::ReturnType::Type(_, result) = &method.sig.output else {
                panic!("a method without result")
            };
            let Some(Value::Named(result)) = first_argument(result).map(read_value) else {
                panic!("{}: its result is no type of the API", method.sig.ident)
            };
            let mut name = None;
            attr.parse_nested_meta(|meta| {
                match meta.path.is_ident("name") {
                    true => name = Some(meta.value()?.parse::<LitStr>()?.value()),
                    false => assert!(meta.path.is_ident("with_extensions"), "{}", method.sig.ident),
                }
                Ok(())
            })
            .unwrap();
            return Method { name: name.unwrap(), doc, params, result, subscription: None };
        }
        if attr.path().is_ident("subscription") {
            return read_subscription(attr, doc, params);
        }
    }
    panic!("{} is neither a method nor a subscription", method.sig.ident)
}

fn read_subscription(attr: &Attribute, doc: String, params: String) -> Method {
    let (mut name, mut notification, mut end, mut item) = (None, None, None, None);
    attr.parse_nested_meta(|meta| {
        let value = meta.value()?;
        if meta.path.is_ident("name") {
            name = Some(value.parse::<LitStr>()?.value());
            value.parse::<Token![=>]>()?;
            notification = Some(value.parse::<LitStr>()?.value());
        } else if meta.path.is_ident("unsubscribe") {
            end = Some(value.parse::<LitStr>()?.value());
        } else if meta.path.is_ident("item") {
            item = Some(value.parse::<syn::Ident>()?.to_string());
        }
        Ok(())
    })
    .unwrap();
    let subscription = Some((notification.unwrap(), end.unwrap()));
    Method { name: name.unwrap(), doc, params, result: item.unwrap(), subscription }
}

fn read_member(field: &syn::Field, of: &Rules) -> Member {
    let name = field.ident.as_ref().expect("a named field").to_string();
    let rules = Rules::of(&field.attrs, &name);
    let value = read_value(&field.ty);
    Member {
        doc: doc_of(&field.attrs),
        has_default: of.default || rules.default || matches!(value, Value::Maybe(_)),
        skipped: rules.skipped,
        flat: rules.flat,
        name: rules.rename.unwrap_or(name),
        value,
    }
}

/// `None` for one that stands for all that isn't known.
fn read_word(variant: &syn::Variant, of: &Rules, name: &str) -> Option<Word> {
    assert!(matches!(variant.fields, Fields::Unit), "{name}::{} has fields", variant.ident);
    let rules = Rules::of(&variant.attrs, name);
    let is_default = variant.attrs.iter().any(|attr| attr.path().is_ident("default"));
    let word = of.renamed(&variant.ident.to_string(), name);
    (!rules.other).then(|| Word { word, doc: doc_of(&variant.attrs), is_default })
}

fn only_field(variant: &syn::Variant, name: &str) -> Value {
    match &variant.fields {
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 => read_value(&fields.unnamed[0].ty),
        _ => panic!("{name}::{} has not exactly one field", variant.ident),
    }
}

/// The variants' names in lowercase are the members.
fn one_member(item: &syn::DeriveInput) -> Shape {
    let syn::Data::Enum(data) = &item.data else { panic!("{} is no enum", item.ident) };
    let member = |variant: &syn::Variant| Member {
        name: variant.ident.to_string().to_lowercase(),
        doc: doc_of(&variant.attrs),
        value: only_field(variant, &item.ident.to_string()),
        has_default: false,
        skipped: false,
        flat: false,
    };
    Shape::OneMember(data.variants.iter().map(member).collect())
}

fn arguments(ty: &Type) -> Vec<&Type> {
    let Type::Path(path) = ty else { return Vec::new() };
    match &path.path.segments.last().expect("a path has an end").arguments {
        PathArguments::AngleBracketed(given) => given
            .args
            .iter()
            .filter_map(|argument| if let GenericArgument::Type(ty) = argument { Some(ty) } else { None })
            .collect(),
        _ => Vec::new(),
    }
}

fn first_argument(ty: &Type) -> Option<&Type> {
    arguments(ty).first().copied()
}

fn read_value(ty: &Type) -> Value {
    let Type::Path(path) = ty else { panic!("a type that is no path") };
    let segments = &path.path.segments;
    let name = segments.last().expect("a path has an end").ident.to_string();
    let inner = || Box::new(read_value(first_argument(ty).expect("it has an argument")));
    match name.as_str() {
        "String" | "PathBuf" | "SocketAddr" => Value::Text,
        "bool" => Value::Flag,
        "u64" => Value::Count(u64::MAX),
        "u32" => Value::Count(u32::MAX.into()),
        "u16" => Value::Count(u16::MAX.into()),
        "u8" => Value::Count(u8::MAX.into()),
        "i64" => Value::Whole,
        "f64" => Value::Number,
        "Value" if segments.len() == 2 => Value::Any,
        "Vec" => Value::List(inner()),
        "Box" => *inner(),
        "Option" => Value::Maybe(inner()),
        "BTreeMap" => match arguments(ty).as_slice() {
            [key, value] => Value::Map(Box::new(read_value(key)), Box::new(read_value(value))),
            _ => panic!("a map has keys and values"),
        },
        "T" => Value::Parameter,
        _ if first_argument(ty).is_some() => Value::Of(format!("{name}<T>"), inner()),
        _ => Value::Named(name),
    }
}
