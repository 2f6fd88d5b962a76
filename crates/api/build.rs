//! Compiles the proto files without `protoc`, keeps their descriptors for reflection, and writes what they say
//! as code: which methods and enums there are, which verb a method requires, and which fields are not shown.

use std::error::Error;
use std::fmt::Write as _;

// As prost names what it generates.
use heck::{ToSnakeCase as _, ToUpperCamelCase as _};
use protox::prost_reflect::{
    DescriptorPool, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, OneofDescriptor,
};

const PROTO: &str = "../../proto";
const PACKAGE: &str = "longshore.v1";

fn main() -> Result<(), Box<dyn Error>> {
    const FILES: [&str; 3] =
        ["longshore/v1/run_service.proto", "longshore/v1/server_service.proto", "google/rpc/error_details.proto"];
    println!("cargo:rerun-if-changed={PROTO}");
    let mut compiler = protox::Compiler::new([PROTO])?;
    // With the comments: they become the documentation of the code, and reflection serves them.
    compiler.include_imports(true).include_source_info(true).open_files(FILES)?;
    // The copy for reflection keeps custom options (`field_behavior`, `http`), which
    // `file_descriptor_set()` drops.
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    let pool = compiler.descriptor_pool();
    std::fs::write(out.join("required_verb.rs"), required_verb(&pool)?)?;
    std::fs::write(out.join("methods.rs"), format!("{:?}", methods(&pool)))?;
    std::fs::write(out.join("enums.rs"), wire_enums(&pool)?)?;
    let redacted: Vec<_> = pool.all_messages().filter(has_redacted).collect();
    std::fs::write(out.join("redacted.rs"), redacted.iter().map(debug_of_message).collect::<Result<String, _>>()?)?;
    // The codec knows a message by its name.
    let mut prost = tonic_prost_build::Config::new();
    prost.enable_type_names();
    prost.skip_debug(redacted.iter().map(|message| format!(".{}", message.full_name())));
    tonic_prost_build::configure()
        .client_mod_attribute(PACKAGE, "#[cfg(feature = \"client\")]")
        .server_mod_attribute(PACKAGE, "#[cfg(feature = \"server\")]")
        .bytes(".longshore.v1.LogEntry.data")
        // Which every gRPC library has.
        .extern_path(".google.rpc", "::tonic_types")
        .codec_path("crate::codec::Codec")
        .compile_fds_with_config(compiler.file_descriptor_set(), prost)?;
    Ok(())
}

/// A `match` on the path of a method, with an arm for each that there is.
///
/// # Errors
/// A method that does not say what it requires.
fn required_verb(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let option = pool.get_extension_by_name("longshore.v1.required_verb").ok_or("there is no option required_verb")?;
    let mut arms = String::from("match path {\n");
    for service in pool.services().filter(|service| service.package_name() == PACKAGE) {
        for method in service.methods() {
            let options = method.options();
            let number = options.get_extension(&option).as_enum_number().filter(|number| *number != 0);
            let verbs = option.kind();
            let verbs = verbs.as_enum().ok_or("required_verb is not an enum")?;
            let verb = number.and_then(|number| verbs.get_value(number));
            let verb = verb.ok_or_else(|| format!("{} lacks the option required_verb", method.full_name()))?;
            let verb = verb.name().strip_prefix("VERB_").unwrap_or_default().to_upper_camel_case();
            writeln!(arms, "\"/{}/{}\" => Some(v1::Verb::{verb}),", service.full_name(), method.name())?;
        }
    }
    arms.push_str("_ => None,\n}\n");
    Ok(arms)
}

/// Paths of the API's methods.
fn methods(pool: &DescriptorPool) -> Vec<String> {
    let services = pool.services().filter(|service| service.package_name() == PACKAGE);
    let path = |method: MethodDescriptor| format!("/{}/{}", method.parent_service().full_name(), method.name());
    services.flat_map(|service| service.methods().map(path).collect::<Vec<_>>()).collect()
}

/// That each enum of the API is one.
fn wire_enums(pool: &DescriptorPool) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    for one in pool.all_enums().filter(|one| one.package_name() == PACKAGE && one.parent_message().is_none()) {
        let (name, unset) = (one.name().to_upper_camel_case(), one.default_value());
        let prefix = unset.name().strip_suffix("UNSPECIFIED").unwrap_or_default();
        writeln!(
            text,
            "impl WireEnum for v1::{name} {{\nconst PREFIX: &'static str = \"{prefix}\";\n\
             fn name(self) -> &'static str {{\nself.as_str_name()\n}}\n}}"
        )?;
    }
    Ok(text)
}

fn has_redacted(message: &MessageDescriptor) -> bool {
    message.package_name() == PACKAGE && !message.is_map_entry() && message.fields().any(|field| is_redacted(&field))
}

fn is_redacted(field: &FieldDescriptor) -> bool {
    let options = field.options();
    options.get_field_by_name("debug_redact").and_then(|value| value.as_bool()).unwrap_or_default()
}

/// `Debug` as prost derives it, without the values of what is redacted; of its oneofs too.
fn debug_of_message(message: &MessageDescriptor) -> Result<String, Box<dyn Error>> {
    let name = message.name();
    let mut text = format!("impl ::core::fmt::Debug for {name} {{\n{FMT}f.debug_struct(\"{name}\")\n");
    let alone = |field: &FieldDescriptor| field.containing_oneof().is_none_or(|oneof| oneof.is_synthetic());
    for field in message.fields().filter(alone) {
        let name = field.name();
        let value = match field.kind() {
            _ if is_redacted(&field) && field.is_map() => {
                format!("self.{name}.keys().map(|key| (key, Redacted)).collect::<::std::collections::BTreeMap<_, _>>()")
            }
            _ if is_redacted(&field) => "Redacted".to_owned(),
            // By its name and not its number.
            Kind::Enum(_) if !field.is_list() => format!("self.{name}()"),
            _ => format!("self.{name}"),
        };
        writeln!(text, ".field(\"{name}\", &{value})")?;
    }
    let oneofs: Vec<_> = message.oneofs().filter(|oneof| !oneof.is_synthetic()).collect();
    for oneof in &oneofs {
        writeln!(text, ".field(\"{0}\", &self.{0})", oneof.name())?;
    }
    text.push_str(".finish()\n}\n}\n");
    oneofs.iter().try_for_each(|oneof| debug_of_oneof(&mut text, oneof))?;
    Ok(text)
}

fn debug_of_oneof(text: &mut String, oneof: &OneofDescriptor) -> Result<(), Box<dyn Error>> {
    let (module, name) = (oneof.parent_message().name().to_snake_case(), oneof.name().to_upper_camel_case());
    writeln!(text, "impl ::core::fmt::Debug for {module}::{name} {{\n{FMT}match self {{")?;
    for field in oneof.fields() {
        let variant = field.name().to_upper_camel_case();
        let (bound, shown) = if is_redacted(&field) { ("_", "&Redacted") } else { ("value", "value") };
        writeln!(text, "Self::{variant}({bound}) => f.debug_tuple(\"{variant}\").field({shown}).finish(),")?;
    }
    text.push_str("}\n}\n}\n");
    Ok(())
}

const FMT: &str = "fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {\n";
