//! Compiles the proto files without `protoc`, and keeps their descriptors for reflection.

const PROTO: &str = "../../proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
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
    // The codec knows a message by its name.
    let mut prost = tonic_prost_build::Config::new();
    prost.enable_type_names();
    tonic_prost_build::configure()
        .client_mod_attribute("longshore.v1", "#[cfg(feature = \"client\")]")
        .server_mod_attribute("longshore.v1", "#[cfg(feature = \"server\")]")
        .bytes(".longshore.v1.LogEntry.data")
        .codec_path("crate::codec::Codec")
        .compile_fds_with_config(compiler.file_descriptor_set(), prost)?;
    Ok(())
}
