//! Compiles the proto files without `protoc`, and keeps their descriptors for reflection.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    #[cfg(feature = "daemon")]
    generate()?;
    Ok(())
}

#[cfg(feature = "daemon")]
fn generate() -> Result<(), Box<dyn std::error::Error>> {
    const FILES: [&str; 3] =
        ["longshore/v1/run_service.proto", "longshore/v1/server_service.proto", "google/rpc/error_details.proto"];
    let compile = |comments: bool| -> Result<protox::Compiler, protox::Error> {
        let mut compiler = protox::Compiler::new(["proto"])?;
        compiler.include_imports(true).include_source_info(comments).open_files(FILES)?;
        Ok(compiler)
    };
    // The copy for reflection leaves the comments out and keeps custom options (`field_behavior`),
    // which `file_descriptor_set()` would drop.
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), compile(false)?.encode_file_descriptor_set())?;
    // The copy for code generation keeps the comments: they become the documentation.
    tonic_prost_build::configure()
        .bytes(".longshore.v1.LogEntry.data")
        .compile_fds(compile(true)?.file_descriptor_set())?;
    Ok(())
}
