//! What the API promises in its descriptors: names that every language can say, one name for one noun, and the
//! annotations that tools go by. Those who add to the proto files read here what is expected of a name.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, Value,
};

use super::{DESCRIPTORS, required_verb, v1};

const PACKAGE: &str = "longshore.v1";
const TIMESTAMP: &str = "google.protobuf.Timestamp";
const DURATION: &str = "google.protobuf.Duration";

/// Reserved words by language, with those that are reserved in some places only, if these are places where a
/// generator writes a name.
const KEYWORDS: [(&str, &str); 10] = [
    (
        "Python",
        "False None True and as assert async await break class continue def del elif else except finally for from \
         global if import in is lambda match nonlocal not or pass raise return try while with yield",
    ),
    (
        "Java",
        "abstract assert boolean break byte case catch char class const continue default do double else enum extends \
         false final finally float for goto if implements import instanceof int interface long native new null \
         package private protected public return short static strictfp super switch synchronized this throw throws \
         transient true try void volatile while",
    ),
    (
        "Kotlin",
        "as break class continue do else false for fun if in interface is null object package return super this \
         throw true try typealias typeof val var when while",
    ),
    (
        "Go",
        "break case chan const continue default defer else fallthrough for func go goto if import interface map \
         package range return select struct switch type var",
    ),
    (
        "C#",
        "abstract as base bool break byte case catch char checked class const continue decimal default delegate do \
         double else enum event explicit extern false finally fixed float for foreach goto if implicit in int \
         interface internal is lock long namespace new null object operator out override params private protected \
         public readonly ref return sbyte sealed short sizeof stackalloc static string struct switch this throw true \
         try typeof uint ulong unchecked unsafe ushort using virtual void volatile while",
    ),
    (
        "C++",
        "alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl concept const \
         consteval constexpr constinit const_cast continue co_await co_return co_yield decltype default delete do \
         double dynamic_cast else enum explicit export extern false float for friend goto if inline int long mutable \
         namespace new noexcept not not_eq nullptr operator or or_eq private protected public register \
         reinterpret_cast requires return short signed sizeof static static_assert static_cast struct switch template \
         this thread_local throw true try typedef typeid typename union unsigned using virtual void volatile wchar_t \
         while xor xor_eq errno stdin stdout stderr assert major minor",
    ),
    (
        "JavaScript and TypeScript",
        "arguments await break case catch class const continue debugger default delete do else enum eval export \
         extends false finally for function if implements import in instanceof interface let new null package private \
         protected public return static super switch this throw true try typeof undefined var void while with yield",
    ),
    (
        "Ruby",
        "BEGIN END alias and begin break case class def defined do else elsif end ensure false for if in module next \
         nil not or redo rescue retry return self super then true undef unless until when while yield",
    ),
    (
        "Swift",
        "any as associatedtype async await break case catch class continue default defer deinit do else enum \
         extension fallthrough false fileprivate for func guard if import in init inout internal is let nil open \
         operator precedencegroup private protocol public repeat rethrows return self some static struct subscript \
         super switch throw throws true try typealias var where while",
    ),
    (
        "Rust",
        "Self as async await break const continue crate dyn else enum extern false fn for gen if impl in let loop \
         match mod move mut pub ref return self static struct super trait true try type unsafe use where while yield \
         abstract become box do final macro override priv typeof unsized virtual",
    ),
];

/// Methods that every message, or every object, of a language has already; a field that is called so hides one or
/// does not compile. In the spelling of proto fields.
const METHODS: [(&str, &str); 6] = [
    (
        "Java (getClass, …)",
        "all_fields class default_instance_for_type descriptor_for_type initialization_error_string parser_for_type \
         serialized_size unknown_fields",
    ),
    ("Kotlin and Java objects", "copy equals hash_code notify to_builder to_byte_array to_string wait"),
    ("C#", "calculate_size clone descriptor equals get_hash_code get_type merge_from parser to_string write_to"),
    ("C++", "cached_size default_instance descriptor internal_swap new_ swap unknown_fields"),
    ("JavaScript", "constructor prototype serialize_binary to_json to_object to_string value_of"),
    ("Ruby", "class clone dup freeze hash inspect method methods object_id send to_a to_h to_s"),
];

fn pool() -> DescriptorPool {
    DescriptorPool::decode(DESCRIPTORS).unwrap()
}

fn messages(pool: &DescriptorPool) -> Vec<MessageDescriptor> {
    pool.all_messages().filter(|message| message.package_name() == PACKAGE && !message.is_map_entry()).collect()
}

fn fields(pool: &DescriptorPool) -> Vec<FieldDescriptor> {
    messages(pool).iter().flat_map(|message| message.fields().collect::<Vec<_>>()).collect()
}

fn enums(pool: &DescriptorPool) -> Vec<EnumDescriptor> {
    pool.all_enums().filter(|of| of.package_name() == PACKAGE).collect()
}

fn methods(pool: &DescriptorPool) -> Vec<MethodDescriptor> {
    let ours = pool.services().filter(|service| service.package_name() == PACKAGE);
    ours.flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

/// `camelCase` of a `snake_case` name.
fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |camel, word| camel + &capitalised(word))
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + letters.as_str())
}

/// The words of a `PascalCase` name, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for letter in name.chars() {
        if letter.is_uppercase() || words.is_empty() {
            words.push(String::new());
        }
        words.last_mut().unwrap().extend(letter.to_lowercase());
    }
    words
}

fn singular(word: &str) -> String {
    match (word.strip_suffix("ies"), word.strip_suffix('s')) {
        (Some(stem), _) => format!("{stem}y"),
        (None, Some(stem)) if !stem.ends_with('s') => stem.to_owned(),
        _ => word.to_owned(),
    }
}

/// The languages in which this name is a reserved word, as it is or as generators spell it.
fn reserved(name: &str) -> Vec<&'static str> {
    let spellings = [name.to_owned(), camel(name), name.to_lowercase()];
    let is_reserved = |words: &str| words.split_whitespace().any(|word| spellings.iter().any(|name| name == word));
    KEYWORDS.iter().filter(|(_, words)| is_reserved(words)).map(|(language, _)| *language).collect()
}

fn hidden_methods(name: &str) -> Vec<&'static str> {
    METHODS.iter().filter(|(_, all)| all.split_whitespace().any(|one| one == name)).map(|(of, _)| *of).collect()
}

#[test]
fn no_name_is_a_reserved_word_of_a_language() {
    let pool = pool();
    let mut wrong = Vec::new();
    let mut check = |full: &str, name: &str| {
        let languages = reserved(name);
        if !languages.is_empty() {
            wrong.push(format!("`{full}` is a reserved word: {}", languages.join(", ")));
        }
    };
    for message in messages(&pool) {
        check(message.full_name(), message.name());
        message.fields().for_each(|field| check(field.full_name(), field.name()));
        // C# has no use for a oneof's name by itself: `event` becomes `EventCase`.
        let oneofs = message.oneofs().filter(|oneof| reserved(oneof.name()) != ["C#"]);
        oneofs.for_each(|oneof| check(oneof.full_name(), oneof.name()));
    }
    for of in enums(&pool) {
        check(of.full_name(), of.name());
        // Whole, with its prefix: generators that cut that off put the rest behind a dot, where any word may stand.
        of.values().for_each(|value| check(value.full_name(), value.name()));
    }
    methods(&pool).iter().for_each(|method| check(method.full_name(), method.name()));
    for field in fields(&pool) {
        for of in hidden_methods(field.name()) {
            wrong.push(format!("`{}` hides a method: {of}", field.full_name()));
        }
        let pascal = capitalised(&camel(field.name()));
        if pascal == field.parent_message().name() {
            wrong.push(format!("`{}` is called as its message, which C# renames", field.full_name()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_check_of_names_knows_what_was_wrong_once() {
    for name in ["class", "end", "operator", "default", "object", "in", "None"] {
        assert!(!reserved(name).is_empty(), "{name}");
    }
    for name in ["class", "descriptor", "serialized_size", "hash", "to_string"] {
        assert!(!hidden_methods(name).is_empty(), "{name}");
    }
    assert_eq!((reserved("failure_class"), hidden_methods("failure_class")), (vec![], vec![]));
}

#[test]
fn a_name_shows_whether_it_is_a_time_or_a_duration() {
    let mut wrong = Vec::new();
    for field in fields(&pool()) {
        let of = match field.kind() {
            Kind::Message(message) => message.full_name().to_owned(),
            _ => String::new(),
        };
        let name = field.name();
        if (of == TIMESTAMP) != name.ends_with("_time") {
            wrong.push(format!("`{}`: a Timestamp, and nothing else, is called `…_time`", field.full_name()));
        }
        if name.ends_with("_timeout") && of != DURATION {
            wrong.push(format!("`{}`: a timeout is a Duration", field.full_name()));
        }
        for unit in ["ms", "millis", "seconds", "secs", "minutes", "timestamp", "at", "date"] {
            if name.split('_').next_back() == Some(unit) {
                wrong.push(format!("`{}`: use a Timestamp or a Duration and not `{unit}`", field.full_name()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Words that would be a second name for something that has one: the word, and what it is called here.
const SYNONYMS: [(&str, &str); 16] = [
    ("position", "offset"),
    ("pos", "offset"),
    ("length", "…_bytes"),
    ("checksum", "sha256"),
    ("hash", "sha256"),
    ("status", "state"),
    ("phase", "state"),
    ("return", "exit_code"),
    ("rc", "exit_code"),
    ("description_text", "message"),
    ("explanation", "message"),
    ("deleted", "removed"),
    ("begin", "start"),
    ("finished", "finish_time"),
    ("token_id", "request_id"),
    ("template", "profile"),
];

#[test]
fn one_noun_has_one_name() {
    let mut wrong = Vec::new();
    for field in fields(&pool()) {
        for (word, wanted) in SYNONYMS {
            let is_synonym = field.name() == word || field.name().split('_').any(|part| part == word);
            if is_synonym {
                wrong.push(format!("`{}`: `{word}` is called `{wanted}` here", field.full_name()));
            }
        }
        let of = match field.kind() {
            Kind::Message(message) if message.package_name() == PACKAGE && !message.is_map_entry() => {
                words(message.name())
            }
            Kind::Enum(of) if of.package_name() == PACKAGE => words(of.name()),
            _ => continue,
        };
        // A field is called by words of its type: `failure_class` or `class` of FailureClass, `effective_spec` of
        // RunSpec.
        let of: Vec<String> = of.iter().map(|word| singular(word)).collect();
        let name: Vec<String> = field.name().split('_').map(singular).collect();
        if !of.windows(name.len()).any(|part| part == name) && name.last() != of.last() {
            wrong.push(format!("`{}` is not called by its type, {}", field.full_name(), of.join(" ")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_name_means_one_kind_of_value_everywhere() {
    // `mode` of a file is its permission bits; `kind` of an object or an isolation is a word that the backend chooses;
    // a run is in a container, or is one that the caller describes; `resources` of an Isolation is whether they are
    // enforced; a reason is a sentence where a person gives it, and a word where Kubernetes does.
    let allowed = ["container", "kind", "mode", "reason", "resources"];
    let mut kinds: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for field in fields(&pool()) {
        let kind = match field.kind() {
            Kind::Message(_) => "message",
            Kind::Enum(_) => "enum",
            Kind::String => "string",
            Kind::Bytes => "bytes",
            Kind::Bool => "bool",
            _ => "number",
        };
        kinds.entry(field.name().to_owned()).or_default().insert(kind);
    }
    let several: Vec<_> =
        kinds.iter().filter(|(name, kinds)| kinds.len() > 1 && !allowed.contains(&name.as_str())).collect();
    assert!(several.is_empty(), "{several:?}");
}

/// An option of an element, by the name of its extension.
fn option<'a>(options: &'a DynamicMessage, pool: &DescriptorPool, name: &str) -> Option<std::borrow::Cow<'a, Value>> {
    let extension = pool.get_extension_by_name(name).unwrap();
    options.has_extension(&extension).then(|| options.get_extension(&extension))
}

fn behaviours(field: &FieldDescriptor, pool: &DescriptorPool) -> BTreeSet<String> {
    let options = field.options();
    let Some(values) = option(&options, pool, "google.api.field_behavior") else { return BTreeSet::new() };
    let names = pool.get_enum_by_name("google.api.FieldBehavior").unwrap();
    let of = |value: &Value| names.get_value(value.as_enum_number().unwrap()).unwrap().name().to_owned();
    values.as_list().unwrap().iter().map(of).collect()
}

/// The messages of ours that these lead to, themselves included.
fn reached(roots: Vec<MessageDescriptor>) -> BTreeMap<String, MessageDescriptor> {
    let mut reached = BTreeMap::new();
    let mut left = roots;
    while let Some(message) = left.pop() {
        if message.package_name() != PACKAGE
            || reached.insert(message.full_name().to_owned(), message.clone()).is_some()
        {
            continue;
        }
        left.extend(message.fields().filter_map(|field| field.kind().as_message().cloned()));
    }
    reached.retain(|_, message| !message.is_map_entry());
    reached
}

#[test]
fn every_field_of_a_request_and_of_a_resource_says_who_sets_it() {
    let pool = pool();
    let requests = reached(methods(&pool).iter().map(MethodDescriptor::input).collect());
    let mut wrong = Vec::new();
    for field in requests.values().flat_map(MessageDescriptor::fields) {
        let behaviours = behaviours(&field, &pool);
        if !behaviours.contains("REQUIRED") && !behaviours.contains("OPTIONAL") {
            wrong.push(format!("`{}`: neither REQUIRED nor OPTIONAL", field.full_name()));
        }
        let comment = comment(&pool, field.full_name());
        if comment.contains("Required") != behaviours.contains("REQUIRED") {
            wrong.push(format!("`{}`: its comment does not say what its annotation says", field.full_name()));
        }
    }
    let named = |name: &str| pool.get_message_by_name(&format!("{PACKAGE}.{name}")).unwrap();
    let resources = reached(vec![named("Run"), named("RunnerProfile")]);
    let only_read = resources.values().filter(|message| !requests.contains_key(message.full_name()));
    for field in only_read.flat_map(MessageDescriptor::fields) {
        let wanted = match field.full_name().strip_prefix("longshore.v1.").unwrap() {
            "Run.name" | "Attempt.name" | "RunnerProfile.name" => "IDENTIFIER",
            "Run.spec" => "IMMUTABLE",
            _ => "OUTPUT_ONLY",
        };
        if !behaviours(&field, &pool).contains(wanted) {
            wrong.push(format!("`{}`: not {wanted}", field.full_name()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn resources_are_described_and_referred_to() {
    let pool = pool();
    for (name, pattern) in [
        ("Run", "namespaces/{namespace}/runs/{run}"),
        ("Attempt", "namespaces/{namespace}/runs/{run}/attempts/{attempt}"),
    ] {
        let message = pool.get_message_by_name(&format!("{PACKAGE}.{name}")).unwrap();
        let options = message.options();
        let resource = option(&options, &pool, "google.api.resource").unwrap();
        let resource = resource.as_message().unwrap();
        assert_eq!(
            resource.get_field_by_name("type").unwrap().as_str(),
            Some(format!("longshore.dev/{name}").as_str())
        );
        assert_eq!(resource.get_field_by_name("pattern").unwrap().as_list().unwrap()[0].as_str(), Some(pattern));
    }
    for method in methods(&pool) {
        for field in method.input().fields().filter(|field| ["name", "parent"].contains(&field.name())) {
            let options = field.options();
            assert!(option(&options, &pool, "google.api.resource_reference").is_some(), "{}", field.full_name());
        }
    }
}

#[test]
fn every_call_has_a_path_for_gateways() {
    let pool = pool();
    let mut paths = BTreeSet::new();
    for method in methods(&pool) {
        let options = method.options();
        let rule = option(&options, &pool, "google.api.http").unwrap_or_else(|| panic!("{}", method.full_name()));
        let rule = rule.as_message().unwrap();
        let verbs = ["get", "post", "delete"].map(|verb| (verb, rule.get_field_by_name(verb).unwrap().into_owned()));
        let (verb, path) = verbs.iter().find(|(_, path)| path.as_str() != Some("")).unwrap();
        let path = path.as_str().unwrap();
        assert!(path.starts_with("/v1/"), "{path}");
        assert!(paths.insert(format!("{verb} {path}")), "{path} stands twice");
        let has_body = rule.get_field_by_name("body").unwrap().as_str() == Some("*");
        assert_eq!(has_body, *verb == "post", "{path}");
        for variable in path.split('{').skip(1).filter_map(|rest| rest.split_once('=')) {
            assert!(method.input().get_field_by_name(variable.0).is_some(), "{path}");
        }
    }
}

/// The methods by the verb that they require, as the descriptors have it.
fn methods_by_verb(pool: &DescriptorPool) -> BTreeMap<String, Vec<String>> {
    let mut methods_by_verb: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for method in methods(pool) {
        let options = method.options();
        let verb = option(&options, pool, "longshore.v1.required_verb");
        let verb = verb.unwrap_or_else(|| panic!("{} does not say which verb it requires", method.full_name()));
        let verb = v1::Verb::try_from(verb.as_enum_number().unwrap()).unwrap();
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        assert_eq!(required_verb(&path), Some(verb), "{path}");
        let verb = verb.as_str_name().strip_prefix("VERB_").unwrap().to_lowercase();
        methods_by_verb.entry(verb).or_default().push(method.name().to_owned());
    }
    methods_by_verb
}

#[test]
fn every_method_says_which_verb_it_requires_and_the_page_says_the_same() {
    let pool = pool();
    let mut methods_by_verb = methods_by_verb(&pool);
    assert_eq!(required_verb("/grpc.health.v1.Health/Check"), None);
    let free = methods_by_verb.remove("none").unwrap();

    let page = include_str!("../../../docs/authentication.md");
    let names: Vec<_> = methods(&pool).iter().map(|method| method.name().to_owned()).collect();
    let named = |text: &str| {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_owned);
        words.filter(|word| names.contains(word)).collect::<Vec<_>>()
    };
    let table = page.split("| verb | calls |\n| --- | --- |\n").nth(1).unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|')).map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        (cells[0].trim_matches('`').to_owned(), named(cells[1]))
    });
    assert_eq!(rows.collect::<BTreeMap<_, _>>(), methods_by_verb);
    let sentence = page.lines().find(|line| line.contains(" takes no right")).unwrap();
    assert_eq!(named(sentence.split(" takes no right").next().unwrap()), free);
}

fn is_redacted(field: &FieldDescriptor) -> bool {
    field.options().get_field_by_name("debug_redact").is_some_and(|value| value.as_bool() == Some(true))
}

/// A message in which every field is set: what is redacted to the first text or its bytes, other texts to the second.
/// Of a oneof the field with this number modulo theirs.
fn filled(message: &MessageDescriptor, [hidden, shown]: [&str; 2], of_oneof: usize) -> DynamicMessage {
    let mut filled_message = DynamicMessage::new(message.clone());
    for field in message.fields() {
        if let Some(oneof) = field.containing_oneof().filter(|oneof| !oneof.is_synthetic()) {
            let fields: Vec<_> = oneof.fields().collect();
            if fields[of_oneof % fields.len()] != field {
                continue;
            }
        }
        let text = if is_redacted(&field) { hidden } else { shown };
        let value = |kind: Kind| match kind {
            Kind::String => Value::String(text.to_owned()),
            Kind::Bytes => Value::Bytes(text.to_owned().into()),
            Kind::Message(inner) => Value::Message(filled(&inner, [hidden, shown], of_oneof)),
            other => Value::default_value(&other),
        };
        let value = match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                let key = prost_reflect::MapKey::String(shown.to_owned());
                Value::Map([(key, value(entry.map_entry_value_field().kind()))].into())
            }
            kind if field.is_list() => Value::List(vec![value(kind)]),
            kind => value(kind),
        };
        filled_message.set_field(&field, value);
    }
    filled_message
}

#[test]
fn what_is_redacted_is_in_no_debug_output() {
    let pool = pool();
    let redacted: BTreeSet<_> =
        fields(&pool).into_iter().filter(is_redacted).map(|field| field.name().to_owned()).collect();
    assert_eq!(redacted.iter().collect::<Vec<_>>(), ["data", "json", "raw", "secret_env", "text"]);
    let message = pool.get_message_by_name("longshore.v1.SubmitRunRequest").unwrap();
    for of_oneof in 0..2 {
        let filled = filled(&message, ["hidden", "shown"], of_oneof).encode_to_vec();
        assert!(filled.windows(6).any(|part| part == b"hidden"));
        let request = v1::SubmitRunRequest::decode(filled.as_slice()).unwrap();
        let debug = format!("{request:?}");
        assert!(!debug.contains("hidden") && !debug.contains(&format!("{:?}", b"hidden")), "{debug}");
        for shown in
            ["parent: \"shown\"", "secret_env: {\"shown\": ***}", "queue_name: \"shown\"", "run_timeout: Some("]
        {
            assert!(debug.contains(shown), "no {shown} in {debug}");
        }
        let content = ["content: Some(Json(***))", "content: Some(Raw(***))"][of_oneof];
        assert!(debug.contains(content), "{debug}");
    }
}

/// The comment that stands before an element, or nothing.
fn comment(pool: &DescriptorPool, full_name: &str) -> String {
    comments(pool).remove(full_name).unwrap_or_default()
}

/// Comments by the full names of what they are about.
fn comments(pool: &DescriptorPool) -> BTreeMap<String, String> {
    let mut comments = BTreeMap::new();
    for file in pool.files().filter(|file| file.package_name() == PACKAGE) {
        let encoded = file.encode_to_vec();
        let raw = prost_types::FileDescriptorProto::decode(encoded.as_slice()).unwrap();
        let located: BTreeMap<Vec<i32>, String> = raw
            .source_code_info
            .iter()
            .flat_map(|info| &info.location)
            .map(|location| (location.path.clone(), location.leading_comments().to_owned()))
            .collect();
        let mut note = |path: &[i32], name: String| {
            comments.insert(format!("{PACKAGE}.{name}"), located.get(path).cloned().unwrap_or_default());
        };
        for (m, message) in (0..).zip(&raw.message_type) {
            note(&[4, m], message.name().to_owned());
            for (f, field) in (0..).zip(&message.field) {
                note(&[4, m, 2, f], format!("{}.{}", message.name(), field.name()));
            }
        }
        for (e, of) in (0..).zip(&raw.enum_type) {
            note(&[5, e], of.name().to_owned());
            for (v, value) in (0..).zip(&of.value) {
                note(&[5, e, 2, v], format!("{}.{}", of.name(), value.name()));
            }
        }
        for (s, service) in (0..).zip(&raw.service) {
            note(&[6, s], service.name().to_owned());
            for (r, method) in (0..).zip(&service.method) {
                note(&[6, s, 2, r], format!("{}.{}", service.name(), method.name()));
            }
        }
    }
    comments
}

#[test]
fn reflection_has_a_comment_for_everything() {
    let comments = comments(&pool());
    let bare: Vec<_> = comments.iter().filter(|(_, text)| text.trim().is_empty()).map(|(name, _)| name).collect();
    assert!(comments.len() > 300, "{}", comments.len());
    assert!(bare.is_empty(), "{bare:#?}");
}
